// SPDX-License-Identifier: MIT OR Apache-2.0
//! The process of the compositor's VM: its sockets, what it is told, the memory that it gets.
//!
//! It holds nothing that an app VM has sent. Each VM's process offers it clients; it tells the compositor, and passes the
//! connection on that the compositor opens for one. Of each connection it keeps that end, so that it can be ended where
//! the process that serves it cannot do so any more.

mod channel;
mod coming;
mod display;
mod waiting;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use heraldry_config::MemfdLimits;
use heraldry_identity::VmName;
use heraldry_rate::LogBudget;
use rustix::event::epoll::EventFlags;
use rustix::net::{Shutdown, shutdown};
use tracing::{debug, info, warn};

use self::channel::Channel;
use self::coming::{Greeting, MemfdPeer};
use self::display::DisplayPeer;
use self::waiting::{Door, DoorError, Waiting};
use crate::link::Link;
use crate::listeners;
use crate::memory::MemoryServer;
use crate::orders::{
    CompositorCounters, CompositorRules, FromCompositor, Offer, ToCompositor, Word, process_of,
};
use crate::part::{PartError, SupervisorLink};
use crate::poller::{Poller, key, unpack};

/// What an event is about; the numbers are kinds of keys.
mod kind {
    pub(super) const SUPERVISOR: u64 = crate::part::SUPERVISOR;
    pub(super) const VM: u64 = 1;
    pub(super) const LISTENER: u64 = 2;
    pub(super) const DISPLAY: u64 = 3;
    pub(super) const GREETING: u64 = 4;
    pub(super) const MEMFD: u64 = 5;
    pub(super) const NAMED: u64 = 6;
    pub(super) const ROLE: u64 = 7;
    pub(super) const STREAMS: u64 = 8;
}

/// The listeners, in the order in which the supervisor gives them.
const DISPLAY: usize = 0;
const CONNECTION: usize = 1;
const MEMFD: usize = 2;
/// For connections of all three kinds, as streams.
const CHANNEL: usize = 3;

/// How long a listener rests when the system has no descriptor or memory for a connection.
const REST: Duration = Duration::from_millis(250);

/// Messages that are read at once from one process.
const AT_ONCE: usize = 64;

/// The process of a VM.
struct VmPeer {
    name: VmName,
    link: Link<Word, Offer>,
    /// The compositor's ends of its connections.
    ends: BTreeMap<u64, OwnedFd>,
    log: LogBudget,
}

/// Everything about the compositor.
struct Compositor {
    poller: Poller,
    supervisor: SupervisorLink<FromCompositor, ToCompositor>,
    folder: PathBuf,
    listeners: [OwnedFd; 4],
    listens: bool,
    rules: CompositorRules,
    /// By number of the process.
    vms: BTreeMap<u64, VmPeer>,
    display: Option<DisplayPeer>,
    waiting: Waiting,
    roles: BTreeMap<u64, Greeting>,
    channels: BTreeMap<u64, Channel>,
    greetings: BTreeMap<u64, Greeting>,
    memfds: BTreeMap<u64, MemfdPeer>,
    memory: MemoryServer,
    resting: Vec<(Instant, usize)>,
    last: u64,
    log: LogBudget,
    over: bool,
}

/// Serves the compositor until the supervisor is gone.
pub(crate) fn run(supervisor: OwnedFd) -> Result<(), PartError> {
    let mut supervisor = SupervisorLink::new(supervisor);
    let Some((order, fds)) = supervisor.first_order()? else {
        return Ok(());
    };
    let ToCompositor::Begin { folder } = order else {
        return Err(PartError::Order);
    };
    let listeners = <[OwnedFd; 4]>::try_from(fds).map_err(|_fewer| PartError::Order)?;
    let poller = Poller::new()?;
    supervisor.listen(&poller)?;
    let mut compositor = Compositor {
        poller,
        supervisor,
        folder,
        listeners,
        listens: false,
        // Nothing is accepted before the first rules come.
        rules: CompositorRules {
            by_name: false,
            withdraw_after_ms: 0,
            bytes_per_vm: 0,
            count_per_vm: 0,
            bytes_for_others: 0,
        },
        vms: BTreeMap::new(),
        display: None,
        waiting: Waiting::default(),
        roles: BTreeMap::new(),
        channels: BTreeMap::new(),
        greetings: BTreeMap::new(),
        memfds: BTreeMap::new(),
        memory: MemoryServer::new(MemfdLimits {
            bytes_per_vm: 0,
            count_per_vm: 0,
            bytes_for_others: 0,
        }),
        resting: Vec::new(),
        last: 0,
        log: LogBudget::new(),
        over: false,
    };
    let result = compositor.serve();
    compositor.hang_up();
    result
}

impl Compositor {
    fn serve(&mut self) -> Result<(), PartError> {
        let mut events = Vec::with_capacity(64);
        while !self.over {
            self.poller.wait(&mut events, self.next_deadline())?;
            for event in &events {
                self.event(event.data.u64())?;
            }
            self.expire();
        }
        Ok(())
    }

    fn event(&mut self, key: u64) -> Result<(), PartError> {
        match unpack(key) {
            (kind::SUPERVISOR, _) => self.hear_supervisor()?,
            (kind::VM, process) => self.hear_vm(process),
            (kind::LISTENER, 0) => self.accept_display(),
            (kind::LISTENER, 1) => self.accept_greeting(),
            (kind::LISTENER, 2) => self.accept_memfd(),
            (kind::LISTENER, _) => self.accept_role(),
            (kind::DISPLAY, _) => {
                self.fill_display();
                self.read_display();
            }
            (kind::GREETING, id) => self.read_greeting(id),
            (kind::MEMFD, id) => self.read_memfd(id),
            (kind::NAMED, order) => self.accept_named(order),
            (kind::ROLE, id) => self.read_role(id),
            (kind::STREAMS, id) => self.serve_channel(id),
            _ => {}
        }
        Ok(())
    }

    fn next_deadline(&self) -> Option<Instant> {
        let nameless = self.roles.values().chain(self.greetings.values());
        let greeting = nameless.map(|greeting| greeting.deadline);
        let resting = self.resting.iter().map(|(until, _)| *until);
        greeting.chain(resting).chain(self.waiting.next_deadline()).min()
    }

    fn expire(&mut self) {
        let now = Instant::now();
        for number in self.waiting.overdue(now) {
            self.withdraw(number, "the compositor did not take it in time");
        }
        self.greetings.retain(|_, greeting| greeting.deadline > now);
        self.roles.retain(|_, role| role.deadline > now);
        self.wake(now);
    }

    fn fresh_id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn withdraw_after(&self) -> Duration {
        Duration::from_millis(self.rules.withdraw_after_ms)
    }

    fn hear_supervisor(&mut self) -> Result<(), PartError> {
        let (orders, over) = self.supervisor.orders(&self.poller)?;
        for (order, fds) in orders {
            self.obey(order, fds)?;
        }
        self.over |= over;
        Ok(())
    }

    fn report(&mut self, report: &FromCompositor) -> Result<(), PartError> {
        self.supervisor.report(&self.poller, report)
    }

    fn obey(&mut self, order: ToCompositor, mut fds: Vec<OwnedFd>) -> Result<(), PartError> {
        match order {
            ToCompositor::Begin { .. } => return Err(PartError::Order),
            ToCompositor::Rules { generation, rules } => {
                self.rules = rules;
                self.memory.set_limits(MemfdLimits {
                    bytes_per_vm: rules.bytes_per_vm,
                    count_per_vm: rules.count_per_vm,
                    bytes_for_others: rules.bytes_for_others,
                });
                self.listen()?;
                self.report(&FromCompositor::Settled { generation })?;
            }
            ToCompositor::Vm { process, vm } => {
                let link = Link::new(fds.pop().ok_or(PartError::Order)?);
                self.poller.add(&link, key(kind::VM, process), EventFlags::IN)?;
                let peer = VmPeer {
                    name: VmName::new(&vm)?,
                    link,
                    ends: BTreeMap::new(),
                    log: LogBudget::new(),
                };
                self.vms.insert(process, peer);
            }
            ToCompositor::Gone { process } => self.vm_gone(process),
            ToCompositor::Ask { round } => {
                let counters = self.counters();
                self.report(&FromCompositor::Report { round, counters })?;
            }
        }
        Ok(())
    }

    fn listen(&mut self) -> Result<(), PartError> {
        if !self.listens {
            self.listens = true;
            for (socket, which) in self.listeners.iter().zip(0..) {
                listeners::start_listening(socket)?;
                self.poller
                    .add(socket, key(kind::LISTENER, which), EventFlags::IN)?;
            }
        }
        Ok(())
    }

    fn counters(&self) -> CompositorCounters {
        let memory = self.memory.used();
        CompositorCounters {
            compositor: self.display.is_some(),
            untold: self.waiting.untold(),
            memory: memory.map(|(vm, used)| (vm.as_str().to_owned(), *used)).collect(),
            memory_for_others: *self.memory.used_by_others(),
        }
    }

    /// Accepts one connection, if there is one.
    fn accept(&mut self, which: usize) -> Option<OwnedFd> {
        let socket = self.listeners.get(which)?;
        match listeners::accept(socket) {
            Ok(accepted) => accepted,
            Err(errno) => {
                if let Some(dropped) = self.log.allow() {
                    warn!(%errno, dropped, "a connection of the compositor cannot be accepted now; it waits");
                }
                let key = key(kind::LISTENER, u64::try_from(which).unwrap_or(0));
                // It would be reported at once again.
                if self.poller.modify(socket, key, EventFlags::empty()).is_ok() {
                    self.resting.push((Instant::now() + REST, which));
                }
                None
            }
        }
    }

    /// Wakes the listeners that have rested.
    fn wake(&mut self, now: Instant) {
        let (awake, resting) = std::mem::take(&mut self.resting)
            .into_iter()
            .partition::<Vec<_>, _>(|(until, _)| *until <= now);
        self.resting = resting;
        for (_, which) in awake {
            if let Some(socket) = self.listeners.get(which) {
                let key = key(kind::LISTENER, u64::try_from(which).unwrap_or(0));
                let _watched = self.poller.modify(socket, key, EventFlags::IN);
            }
        }
    }

    fn hear_vm(&mut self, process: u64) {
        for _ in 0..AT_ONCE {
            let Some(vm) = self.vms.get_mut(&process) else {
                return;
            };
            let heard = vm.link.flush().and_then(|()| vm.link.receive());
            let interest = vm.link.interest();
            let _watched = self.poller.modify(&vm.link, key(kind::VM, process), interest);
            match heard {
                Ok(Some((offer, fds))) => self.heed(process, &offer, fds),
                Ok(None) => return,
                Err(error) => {
                    debug!(vm = %vm.name, %error, "the process of a VM is gone");
                    self.vm_gone(process);
                }
            }
        }
    }

    fn heed(&mut self, process: u64, offer: &Offer, mut fds: Vec<OwnedFd>) {
        let Some(vm) = self.vms.get_mut(&process) else {
            return;
        };
        match *offer {
            // Nobody speaks for another.
            Offer::Client { number, .. } | Offer::Gone { number } | Offer::Has { number }
                if process_of(number) != process => {}
            Offer::Client { number, boot } => {
                if self.display.is_none()
                    && let Some(dropped) = vm.log.allow()
                {
                    info!(vm = %vm.name, dropped, "a client waits: there is no compositor yet");
                }
                let name = vm.name.clone();
                match self.take_in(number, name, boot) {
                    Ok(()) => self.fill_display(),
                    Err(error) => {
                        let error = anyhow::Error::from(error);
                        if let Some(vm) = self.vms.get_mut(&process)
                            && let Some(dropped) = vm.log.allow()
                        {
                            warn!(vm = %vm.name, dropped, "a client cannot be offered: {error:#}");
                        }
                        let why = "it cannot be offered to the compositor".to_owned();
                        self.tell_vm(process, &Word::Withdraw { number, why });
                    }
                }
            }
            Offer::Gone { number } => {
                // The compositor may have come for it at the same time.
                if let Some(end) = vm.ends.remove(&number) {
                    let _closed = shutdown(end, Shutdown::Both);
                }
                self.forget(number);
            }
            Offer::Has { number } => {
                if let Some(end) = fds.pop() {
                    vm.ends.insert(number, end);
                }
            }
            Offer::Ended { number } => drop(vm.ends.remove(&number)),
            Offer::Idle => self.memory.forget(&vm.name),
        }
    }

    /// Puts a client among those that wait.
    fn take_in(&mut self, number: u64, vm: VmName, boot: u64) -> Result<(), DoorError> {
        let door = if self.rules.by_name {
            Door::name(&self.folder)?
        } else {
            Door::token()?
        };
        let order = self.waiting.add(number, vm, boot, door);
        if let Some(socket) = self.waiting.socket(order)
            && let Err(errno) = self.poller.add(socket, key(kind::NAMED, order), EventFlags::IN)
        {
            self.waiting.remove(number);
            return Err(errno.into());
        }
        Ok(())
    }

    /// A client waits no more; the compositor is told if it knows of it.
    fn forget(&mut self, number: u64) {
        let announced = self.waiting.is_announced(number);
        // Its socket is gone before anybody hears of it.
        if self.waiting.remove(number).is_some() && announced {
            self.announce_withdrawal(number);
        }
    }

    /// Takes an announcement back and ends its client.
    fn withdraw(&mut self, number: u64, why: &str) {
        self.forget(number);
        let why = why.to_owned();
        self.tell_vm(process_of(number), &Word::Withdraw { number, why });
    }

    /// The compositor has opened its end of a connection.
    fn join(&mut self, number: u64, end: OwnedFd) {
        let process = process_of(number);
        let Some(vm) = self.vms.get_mut(&process) else {
            return;
        };
        match end.try_clone() {
            Ok(again) => {
                vm.ends.insert(number, end);
                self.send_vm(process, &Word::Join { number }, vec![again]);
            }
            Err(error) => {
                if let Some(dropped) = vm.log.allow() {
                    warn!(vm = %vm.name, %error, dropped, "a connection cannot be passed on");
                }
                let why = "its connection cannot be passed on".to_owned();
                self.tell_vm(process, &Word::Withdraw { number, why });
            }
        }
    }

    fn tell_vm(&mut self, process: u64, word: &Word) {
        self.send_vm(process, word, Vec::new());
    }

    fn send_vm(&mut self, process: u64, word: &Word, fds: Vec<OwnedFd>) {
        let Some(vm) = self.vms.get_mut(&process) else {
            return;
        };
        let sent = match word {
            Word::Credit { number, .. } => vm.link.update(*number, word),
            _ => vm.link.send(word, fds),
        };
        let interest = vm.link.interest();
        let _watched = self.poller.modify(&vm.link, key(kind::VM, process), interest);
        if let Err(error) = sent {
            debug!(vm = %vm.name, %error, "the process of a VM is lost");
            self.vm_gone(process);
        }
    }

    /// A VM's process has ended, or cannot end: the compositor learns of it either way.
    fn vm_gone(&mut self, process: u64) {
        let Some(vm) = self.vms.remove(&process) else {
            return;
        };
        // It is not watched any more in any case.
        let _gone = self.poller.remove(&vm.link);
        for number in self.waiting.of_process(process) {
            self.forget(number);
        }
        self.memory.forget(&vm.name);
        hang_up(&vm);
    }

    /// Tells the compositor that everything is over. A process that cannot end does not.
    fn hang_up(&self) {
        self.vms.values().for_each(hang_up);
    }
}

fn hang_up(vm: &VmPeer) {
    for end in vm.ends.values() {
        // It may be over already.
        let _closed = shutdown(end, Shutdown::Both);
    }
}
