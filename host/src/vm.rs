// SPDX-License-Identifier: MIT OR Apache-2.0
//! The process of one VM: the only one that ever holds a descriptor which programs or the VMM of that VM have sent.
//!
//! It accepts the VM's clients, offers them to the compositor's process, and joins each with the connection that the
//! compositor opens for it. Whatever it does with a stranger's descriptor may take for ever, closing it above all: this
//! process waits then, and its VM with it. Its supervisor sees that, and starts another.

mod connections;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use heraldry_config::UnsealedMemory;
use heraldry_identity::VmName;
use heraldry_rate::{LogBudget, TokenBucket};
use rustix::event::epoll::EventFlags;
use tracing::{debug, error};

use self::connections::Active;
use crate::link::{Link, LinkError};
use crate::listeners;
use crate::orders::{FromVm, Offer, ToVm, VmCounters, VmRules, Word, counted, number};
use crate::part::{PartError, SupervisorLink};
use crate::poller::{Poller, key, unpack};
use crate::splice::Side;
use crate::stand_in::StandIns;

/// What an event is about; the numbers are kinds of keys.
mod kind {
    pub(super) const SUPERVISOR: u64 = crate::part::SUPERVISOR;
    pub(super) const COMPOSITOR: u64 = 1;
    pub(super) const LISTENER: u64 = 2;
    pub(super) const STAND_INS: u64 = 3;
    pub(super) const WAITING: u64 = 4;
    pub(super) const CLIENT: u64 = 5;
    pub(super) const COMPOSITOR_END: u64 = 6;
}

/// Messages that are read at once, so that clients are served in between.
const AT_ONCE: usize = 64;

type CompositorLink = Link<Offer, Word>;

/// A VM, as far as the host sees it.
struct Vm {
    poller: Poller,
    supervisor: SupervisorLink<FromVm, ToVm>,
    compositor: Option<CompositorLink>,
    process: u64,
    name: VmName,
    listener: OwnedFd,
    listens: bool,
    rules: VmRules,
    started: Instant,
    /// What it may still connect now.
    connects: TokenBucket,
    /// Until when the listener is left alone.
    rests_until: Option<Instant>,
    /// The boot instance; `None` while no connection of the VM is open.
    boot: Option<u64>,
    /// Clients that the compositor has not come for.
    waiting: BTreeMap<u64, OwnedFd>,
    active: BTreeMap<u64, Active>,
    /// Connections of which one side has closed, with the time that the other has.
    closing: BTreeMap<u64, Instant>,
    stand_ins: StandIns,
    counters: VmCounters,
    last: u64,
    log: LogBudget,
    over: bool,
}

/// Serves a VM until the supervisor is gone.
pub(crate) fn run(supervisor: OwnedFd) -> Result<(), PartError> {
    let mut supervisor = SupervisorLink::new(supervisor);
    let Some((order, mut fds)) = supervisor.first_order()? else {
        return Ok(());
    };
    let (ToVm::Begin { process, vm }, Some(listener)) = (order, fds.pop()) else {
        return Err(PartError::Order);
    };
    let poller = Poller::new()?;
    supervisor.listen(&poller)?;
    let stand_ins = StandIns::new();
    let mut vm = Vm {
        poller,
        supervisor,
        compositor: None,
        process,
        name: VmName::new(&vm)?,
        listener,
        listens: false,
        // Nothing is accepted before the first rules come.
        rules: VmRules {
            unsealed: false,
            transfers: 0,
            descriptors: 0,
            connections: 0,
            per_second: 1,
        },
        started: Instant::now(),
        connects: TokenBucket::default(),
        rests_until: None,
        boot: None,
        waiting: BTreeMap::new(),
        active: BTreeMap::new(),
        closing: BTreeMap::new(),
        stand_ins,
        counters: VmCounters::default(),
        last: 0,
        log: LogBudget::new(),
        over: false,
    };
    let result = vm.serve();
    vm.hang_up();
    result
}

impl Vm {
    fn serve(&mut self) -> Result<(), PartError> {
        let mut events = Vec::with_capacity(64);
        while !self.over {
            self.poller.wait(&mut events, self.next_deadline())?;
            for event in &events {
                self.event(event.data.u64(), event.flags)?;
            }
            self.expire();
            self.watch_stand_ins();
        }
        Ok(())
    }

    fn event(&mut self, key: u64, flags: EventFlags) -> Result<(), PartError> {
        match unpack(key) {
            (kind::SUPERVISOR, _) => self.hear_supervisor()?,
            (kind::COMPOSITOR, _) => self.hear_compositor(),
            (kind::LISTENER, _) => self.accept_client(),
            (kind::STAND_INS, _) => self.stand_ins.notice(),
            (kind::WAITING, id) => self.withdraw(id, "the client left"),
            (kind::CLIENT, id) => self.splice(id, Side::Client, flags),
            (kind::COMPOSITOR_END, id) => self.splice(id, Side::Compositor, flags),
            _ => {}
        }
        Ok(())
    }

    fn next_deadline(&self) -> Option<Instant> {
        let closing = self.closing.values().copied();
        closing
            .chain(self.rests_until)
            .chain(self.stand_ins.next_deadline())
            .min()
    }

    fn expire(&mut self) {
        let now = Instant::now();
        self.stand_ins.expire(now);
        let over = |(id, deadline): (&u64, &Instant)| (*deadline <= now).then_some(*id);
        let over: Vec<u64> = self.closing.iter().filter_map(over).collect();
        for id in over {
            self.overdue(id);
        }
        if self.rests_until.is_some_and(|until| until <= now) {
            self.wake();
        }
    }

    fn hear_supervisor(&mut self) -> Result<(), PartError> {
        let (orders, over) = self.supervisor.orders(&self.poller)?;
        for (order, fds) in orders {
            self.obey(order, fds)?;
        }
        self.over |= over;
        Ok(())
    }

    fn obey(&mut self, order: ToVm, mut fds: Vec<OwnedFd>) -> Result<(), PartError> {
        match order {
            ToVm::Begin { .. } => return Err(PartError::Order),
            ToVm::Rules { generation, rules } => {
                self.rules = rules;
                self.apply_rules();
                if !self.listens {
                    self.listens = true;
                    listeners::start_listening(&self.listener)?;
                    let key = key(kind::LISTENER, 0);
                    self.poller.add(&self.listener, key, EventFlags::IN)?;
                }
                self.report(&FromVm::Settled { generation })?;
            }
            ToVm::Compositor => {
                let link = fds.pop().ok_or(PartError::Order)?;
                self.meet_compositor(CompositorLink::new(link));
            }
            ToVm::Ask { round } => {
                let counters = VmCounters {
                    connections: self.active.len(),
                    waiting: self.waiting.len(),
                    boot: self.boot.unwrap_or(0),
                    pipes: self.stand_ins.kept(&self.name),
                    ..self.counters
                };
                self.report(&FromVm::Report { round, counters })?;
            }
        }
        Ok(())
    }

    fn report(&mut self, report: &FromVm) -> Result<(), PartError> {
        self.supervisor.report(&self.poller, report)
    }

    /// There is a compositor's process, or another one: it is told of all that wait, and gets its end of what is joined.
    fn meet_compositor(&mut self, link: CompositorLink) {
        if let Some(link) = self.compositor.take() {
            // It is not watched any more in any case.
            let _gone = self.poller.remove(&link);
        }
        if let Err(errno) = self.poller.add(&link, key(kind::COMPOSITOR, 0), EventFlags::IN) {
            error!(vm = %self.name, %errno, "the compositor's process cannot be heard");
            return;
        }
        self.compositor = Some(link);
        let has: Vec<(u64, io::Result<OwnedFd>)> = self
            .active
            .iter()
            .map(|(id, active)| (*id, active.splice.fd(Side::Compositor).try_clone_to_owned()))
            .collect();
        for (id, end) in has {
            let number = number(self.process, id);
            self.tell_with(&Offer::Has { number }, end.into_iter().collect());
        }
        let waiting: Vec<u64> = self.waiting.keys().copied().collect();
        for id in waiting {
            self.offer(id);
        }
    }

    /// The supervisor makes another link.
    fn lose_compositor(&mut self, error: LinkError) {
        let Some(link) = self.compositor.take() else {
            return;
        };
        debug!(vm = %self.name, %error, "the compositor's process is lost");
        // It is not watched any more in any case.
        let _gone = self.poller.remove(&link);
        if self.report(&FromVm::Alone).is_err() {
            self.over = true;
        }
    }

    /// Tells the compositor's process something. One that is gone hears all again from the start.
    fn tell(&mut self, offer: &Offer) {
        self.tell_with(offer, Vec::new());
    }

    fn tell_with(&mut self, offer: &Offer, fds: Vec<OwnedFd>) {
        let Some(link) = &mut self.compositor else {
            return;
        };
        let sent = link.send(offer, fds);
        let interest = link.interest();
        let _watched = self.poller.modify(&*link, key(kind::COMPOSITOR, 0), interest);
        if let Err(error) = sent {
            self.lose_compositor(error);
        }
    }

    fn hear_compositor(&mut self) {
        for _ in 0..AT_ONCE {
            let Some(link) = &mut self.compositor else {
                return;
            };
            let heard = link.flush().and_then(|()| link.receive());
            let _watched = self
                .poller
                .modify(&*link, key(kind::COMPOSITOR, 0), link.interest());
            match heard {
                Ok(Some((word, fds))) => self.heed(word, fds),
                Ok(None) => return,
                Err(error) => self.lose_compositor(error),
            }
        }
    }

    fn heed(&mut self, word: Word, mut fds: Vec<OwnedFd>) {
        match word {
            Word::Join { number } => match fds.pop() {
                Some(compositor) => self.join(counted(number), compositor),
                None => self.withdraw(counted(number), "its connection did not arrive"),
            },
            Word::Withdraw { number, why } => self.withdraw(counted(number), &why),
            Word::Credit {
                number,
                bytes,
                descriptors,
            } => self.credit(counted(number), bytes, descriptors),
        }
    }

    /// Tells everybody that it is over, before anything is closed.
    fn hang_up(&self) {
        for active in self.active.values() {
            active.splice.hang_up();
        }
    }

    fn unsealed(&self) -> UnsealedMemory {
        if self.rules.unsealed {
            UnsealedMemory::Allow
        } else {
            UnsealedMemory::Refuse
        }
    }

    /// Stand-ins are watched while there are some.
    fn watch_stand_ins(&mut self) {
        if let Some(fresh) = self.stand_ins.fresh_events()
            && let Err(errno) = self.poller.add(fresh, key(kind::STAND_INS, 0), EventFlags::IN)
        {
            error!(vm = %self.name, %errno, "stand-ins cannot be watched");
        }
    }
}
