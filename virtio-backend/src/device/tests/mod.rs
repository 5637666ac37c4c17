// SPDX-License-Identifier: MIT OR Apache-2.0
//! A front end of pure fakes drives machine and driver together; after every operation the books must balance.

mod history;
mod messages;
mod refusals;
mod shares;
mod slow_host;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use heraldry_wire::virtwl::MAX_FDS;

use super::*;

/// A handle that is counted.
#[derive(Debug)]
struct Fake(Rc<Cell<usize>>);

type Handle = Rc<Fake>;

impl Drop for Fake {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl PartialEq for Fake {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// Machine, driver, and a host that takes `window` more bytes per vfd.
struct Rig {
    machine: Machine<Handle>,
    driver: Driver,
    live: Rc<Cell<usize>>,
    window: usize,
    reading: bool,
    ticket: Ticket,
    answers: BTreeMap<Ticket, Response>,
    open: Vec<VfdId>,
    /// vfds that RECV gave to the guest.
    given: Vec<VfdId>,
    sent: Vec<(Vec<u8>, usize)>,
    ended: BTreeSet<VfdId>,
}

impl Rig {
    fn new(limits: Limits) -> Self {
        Self {
            machine: Machine::new(limits),
            driver: Driver::new(),
            live: Rc::default(),
            window: usize::MAX,
            reading: true,
            ticket: 0,
            answers: BTreeMap::new(),
            open: Vec::new(),
            given: Vec::new(),
            sent: Vec::new(),
            ended: BTreeSet::new(),
        }
    }

    fn handle(&self) -> Handle {
        self.live.set(self.live.get() + 1);
        Rc::new(Fake(self.live.clone()))
    }

    fn command(&mut self, command: Command) -> Ticket {
        self.ticket += 1;
        self.machine.command(self.ticket, command);
        self.pump();
        self.ticket
    }

    fn answer(&self, ticket: Ticket) -> Option<Response> {
        self.answers.get(&ticket).copied()
    }

    fn pump(&mut self) {
        while let Some(effect) = self.machine.next_effect() {
            match effect {
                Effect::Connect { id, name } if name == b"none" => {
                    self.machine.made(id, Made::Failed(Fault::Err));
                }
                Effect::Connect { id, .. } | Effect::MakeMemory { id, .. } => {
                    let handle = self.handle();
                    self.machine.made(id, Made::One(handle));
                }
                Effect::MakePipe { id, .. } => {
                    let (near, far) = (self.handle(), self.handle());
                    self.machine.made(id, Made::Pipe { near, far });
                }
                Effect::Answer { ticket, response } => {
                    assert_eq!(self.answers.insert(ticket, response), None, "answered twice");
                }
                Effect::Deliver(message) => {
                    let taken = self.driver.message(message);
                    self.machine.returned(taken.returned);
                    self.close_all(taken.orphans);
                }
                Effect::Flush { id } => self.flush(id),
                Effect::Reading(reading) => self.reading = reading,
                Effect::Release { id, .. } => {
                    self.ended.insert(id);
                }
            }
        }
    }

    fn flush(&mut self, id: VfdId) {
        while let Some(out) = self.machine.outgoing(id) {
            let count = out.data.len().min(self.window);
            if count == 0 {
                return self.machine.blocked(id);
            }
            self.window -= count;
            self.sent.push((out.data[..count].to_vec(), out.handles.len()));
            self.machine.wrote(id, count);
        }
    }

    fn close_all(&mut self, ids: Vec<VfdId>) {
        for id in ids {
            let closed = self.driver.close(id);
            self.machine.returned(closed.returned);
            self.ticket += 1;
            self.machine.command(self.ticket, Command::Close { id });
            self.close_all(closed.orphans);
        }
    }

    fn new_vfd(&mut self, make: impl FnOnce(VfdId) -> Command) -> Option<VfdId> {
        let id = self.driver.take_id()?;
        let ticket = self.command(make(id));
        match self.answer(ticket) {
            Some(Response::New { id: new, .. }) => {
                assert_eq!(new, id);
                assert!(!self.open.contains(&id), "id {id} given twice");
                self.driver.opened(id);
                self.open.push(id);
                Some(id)
            }
            _ => {
                self.driver.give_id(id);
                None
            }
        }
    }

    fn context(&mut self) -> VfdId {
        self.new_vfd(|id| Command::NewContext {
            id,
            name: b"wayland".to_vec(),
        })
        .unwrap()
    }

    fn close(&mut self, id: VfdId) {
        self.open.retain(|open| *open != id);
        self.given.retain(|given| *given != id);
        let closed = self.driver.close(id);
        self.machine.returned(closed.returned);
        self.command(Command::Close { id });
        self.driver.give_id(id);
        self.close_all(closed.orphans);
        self.pump();
    }

    fn send(&mut self, id: VfdId, vfds: &[VfdId], data: &[u8]) -> Option<Response> {
        let ticket = self.command(Command::Send {
            id,
            vfds: vfds.to_vec(),
            data: data.to_vec(),
        });
        self.answer(ticket)
    }

    fn host_sends(&mut self, id: VfdId, len: usize, memories: usize) {
        let imports = (0..memories)
            .map(|_| Import::Memory {
                handle: self.handle(),
                size: 8192,
            })
            .collect();
        self.machine.received(id, vec![7; len], imports);
        self.pump();
    }

    fn recv(&mut self, id: VfdId, room: usize) -> RecvOutcome {
        let outcome = self.driver.recv(id, room);
        if let RecvOutcome::Data { vfds, returned, .. } = &outcome {
            self.given.extend(vfds);
            self.machine.returned(*returned);
            self.pump();
        }
        outcome
    }

    fn verify(&self, limits: &Limits) {
        let (guest, host) = self.machine.count();
        assert!(guest <= 2047);
        assert_eq!(guest, self.open.len());
        assert_eq!(guest, self.driver.ids_in_use());
        assert!(host <= limits.host_vfds);
        assert!(
            self.given.len() <= host,
            "the guest has vfds that the device does not"
        );
        assert_eq!(
            self.machine.free_buffers() + self.driver.held(),
            limits.in_buffers,
            "buffers are lost"
        );
        let may_read = self.machine.free_buffers() > 0 && self.machine.waiting() == 0;
        assert_eq!(self.reading, may_read);
        let unique: BTreeSet<_> = self.open.iter().chain(&self.given).collect();
        assert_eq!(unique.len(), self.open.len() + self.given.len());
    }
}

const SMALL: Limits = Limits {
    in_buffers: 4,
    in_data: 3968,
    out_bytes: 100,
    out_fds: 8,
    host_vfds: 40,
    memory: 0xffff_f000,
    memory_total: 1 << 20,
    out_total_bytes: 1 << 20,
    out_total_fds: 1024,
    out_unanswered: 1024,
};
