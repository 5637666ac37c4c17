// SPDX-License-Identifier: MIT OR Apache-2.0
//! A front end of pure fakes drives machine and driver together; after every operation the books must balance.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use heraldry_wire::virtwl::MAX_FDS;
use proptest::prelude::*;

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

#[test]
fn ids_are_2047_and_come_back() {
    let mut rig = Rig::new(Limits::default());
    let ids: Vec<_> = (0..2047)
        .map(|_| rig.new_vfd(|id| Command::NewAlloc { id, size: 1 }).unwrap())
        .collect();
    assert_eq!(ids.first().zip(ids.last()), Some((&1, &2047)));
    assert_eq!(rig.driver.take_id(), None);
    assert_eq!(rig.live.get(), 2047);
    for id in ids {
        rig.close(id);
    }
    assert_eq!((rig.live.get(), rig.driver.ids_in_use()), (0, 0));
    assert_eq!(rig.driver.take_id(), Some(1));
}

#[test]
fn refusals_are_the_device_s() {
    let mut rig = Rig::new(Limits::default());
    let mut fault = |command| {
        let ticket = rig.command(command);
        match rig.answer(ticket) {
            Some(Response::Fault(fault)) => fault,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        fault(Command::NewContext {
            id: 1,
            name: b"none".to_vec()
        }),
        Fault::Err
    );
    assert_eq!(
        fault(Command::NewContext {
            id: 0,
            name: Vec::new()
        }),
        Fault::InvalidId
    );
    assert_eq!(fault(Command::NewAlloc { id: 0x800, size: 1 }), Fault::InvalidId);
    assert_eq!(
        fault(Command::NewAlloc {
            id: HOST_ID_FIRST,
            size: 1
        }),
        Fault::InvalidId
    );
    assert_eq!(fault(Command::NewAlloc { id: 1, size: 0 }), Fault::Err);
    assert_eq!(fault(Command::NewAlloc { id: 1, size: 1 << 32 }), Fault::Err);
    assert_eq!(fault(Command::NewDmabuf), Fault::InvalidCmd);
    assert_eq!(fault(Command::Close { id: 5 }), Fault::InvalidId);
    assert_eq!(fault(Command::DmabufSync { id: 5 }), Fault::InvalidId);
    assert_eq!(
        fault(Command::Send {
            id: 5,
            vfds: vec![],
            data: vec![1]
        }),
        Fault::InvalidId
    );
    let context = rig.context();
    let memory = rig.new_vfd(|id| Command::NewAlloc { id, size: 1 }).unwrap();
    let pipe = rig
        .new_vfd(|id| Command::NewPipe {
            id,
            end: PipeEnd::Write,
        })
        .unwrap();
    let read = rig
        .new_vfd(|id| Command::NewPipe {
            id,
            end: PipeEnd::Read,
        })
        .unwrap();
    let refused = |fault| Some(Response::Fault(fault));
    assert_eq!(rig.send(memory, &[], b"x"), refused(Fault::InvalidType));
    assert_eq!(rig.send(pipe, &[memory], b"x"), refused(Fault::InvalidType));
    assert_eq!(rig.send(read, &[], b"x"), refused(Fault::Err));
    assert_eq!(rig.send(context, &[99], b"x"), refused(Fault::InvalidId));
    assert_eq!(
        rig.send(context, &[memory; MAX_FDS + 1], b"x"),
        refused(Fault::InvalidCmd)
    );
    assert_eq!(
        rig.send(context, &[pipe, pipe], b"x"),
        refused(Fault::InvalidType)
    );
    assert_eq!(rig.send(context, &[pipe], b"x"), Some(Response::Ok));
    assert_eq!(rig.send(context, &[pipe], b"x"), refused(Fault::InvalidType));
    assert_eq!(
        rig.send(context, &[memory, memory, context], b"x"),
        Some(Response::Ok)
    );
    rig.machine.ended(context);
    rig.pump();
    assert_eq!(rig.send(context, &[], b"x"), refused(Fault::InvalidType));
    assert_eq!(rig.recv(context, 9), RecvOutcome::Eof);
}

#[test]
fn a_pipe_from_the_host_cannot_be_sent_on() {
    let mut rig = Rig::new(Limits::default());
    let context = rig.context();
    let handle = rig.handle();
    rig.machine.received(
        context,
        vec![1],
        vec![Import::Pipe {
            handle,
            end: PipeEnd::Write,
        }],
    );
    rig.pump();
    rig.recv(context, 1);
    let pipe = rig.given[0];
    assert_eq!(
        rig.send(context, &[pipe], b"x"),
        Some(Response::Fault(Fault::InvalidType))
    );
    assert_eq!(rig.send(pipe, &[], b"x"), Some(Response::Ok));
}

#[test]
fn an_import_that_fails_ends_its_connection_and_no_other() {
    let mut rig = Rig::new(Limits::default());
    let (one, two) = (rig.context(), rig.context());
    let memory = Import::Memory {
        handle: rig.handle(),
        size: 4096,
    };
    rig.machine
        .received(one, b"lost".to_vec(), vec![memory, Import::Refused]);
    rig.machine.received(two, b"kept".to_vec(), Vec::new());
    rig.pump();
    assert!(rig.driver.hung_up(one) && !rig.driver.readable(one));
    let kept = RecvOutcome::Data {
        data: b"kept".to_vec(),
        vfds: Vec::new(),
        returned: 1,
    };
    assert_eq!(rig.recv(two, 99), kept);
    assert!(!rig.driver.hung_up(two));
    assert_eq!(rig.live.get(), 1);
}

#[test]
fn recv_joins_bytes_and_brings_descriptors_early() {
    let mut rig = Rig::new(Limits::default());
    let context = rig.context();
    rig.host_sends(context, 3, 0);
    rig.host_sends(context, 3, 20);
    rig.host_sends(context, 3, 20);
    let RecvOutcome::Data { data, vfds, returned } = rig.recv(context, 4) else {
        panic!("no data")
    };
    assert_eq!((data.len(), vfds.len(), returned), (4, 28, 1));
    let RecvOutcome::Data { data, vfds, returned } = rig.recv(context, 99) else {
        panic!("no data")
    };
    assert_eq!((data.len(), vfds.len(), returned), (5, 12, 2));
    assert_eq!(rig.recv(context, 99), RecvOutcome::WouldBlock);
    rig.host_sends(context, 3, 0);
    assert_eq!(rig.recv(context, 0), RecvOutcome::NoRoom);
}

#[test]
fn without_buffers_nothing_is_read_and_all_comes_in_order_later() {
    let mut rig = Rig::new(SMALL);
    let (one, two) = (rig.context(), rig.context());
    for _ in 0..4 {
        assert!(rig.reading);
        rig.host_sends(one, 1, 0);
    }
    assert!(!rig.reading);
    rig.host_sends(two, 1, 2);
    rig.machine.ended(two);
    rig.pump();
    assert!(!rig.driver.readable(two) && !rig.driver.hung_up(two));
    rig.recv(one, 1);
    assert!(rig.driver.readable(two) && !rig.driver.hung_up(two));
    rig.recv(one, 1);
    assert!(rig.driver.hung_up(two) && rig.reading);
    rig.verify(&SMALL);
}

#[test]
fn what_waits_for_a_closed_vfd_is_taken_back() {
    let mut rig = Rig::new(SMALL);
    let (one, two) = (rig.context(), rig.context());
    for _ in 0..4 {
        rig.host_sends(one, 1, 0);
    }
    rig.host_sends(two, 1, 3);
    assert_eq!(rig.live.get(), 5);
    rig.close(two);
    assert_eq!((rig.live.get(), rig.machine.waiting()), (1, 0));
    rig.close(one);
    assert_eq!((rig.live.get(), rig.machine.free_buffers()), (0, 4));
    rig.verify(&SMALL);
}

#[test]
fn a_slow_host_delays_answers_beyond_the_bound() {
    let mut rig = Rig::new(SMALL);
    let context = rig.context();
    rig.window = 10;
    assert_eq!(rig.send(context, &[], &[1; 60]), Some(Response::Ok));
    assert_eq!(rig.send(context, &[], &[2; 50]), Some(Response::Ok));
    let waiting = rig.command(Command::Send {
        id: context,
        vfds: Vec::new(),
        data: vec![3; 50],
    });
    assert_eq!(rig.answer(waiting), None);
    rig.window = 50;
    rig.machine.writable(context);
    rig.pump();
    assert_eq!(rig.answer(waiting), Some(Response::Ok));
    let lost = rig.command(Command::Send {
        id: context,
        vfds: Vec::new(),
        data: vec![4; 50],
    });
    rig.machine.ended(context);
    rig.pump();
    assert_eq!(rig.answer(lost), Some(Response::Fault(Fault::Err)));
    let bytes: Vec<u8> = rig.sent.iter().flat_map(|(data, _)| data.clone()).collect();
    assert_eq!(bytes, [1; 60].to_vec());
}

#[test]
fn a_host_that_takes_nothing_any_more_can_still_be_heard() {
    let mut rig = Rig::new(SMALL);
    let context = rig.context();
    rig.window = 0;
    assert_eq!(rig.send(context, &[], &[1; 60]), Some(Response::Ok));
    let waiting = rig.command(Command::Send {
        id: context,
        vfds: Vec::new(),
        data: vec![2; 60],
    });
    rig.machine.unwritable(context);
    rig.pump();
    assert_eq!(rig.answer(waiting), Some(Response::Fault(Fault::Err)));
    rig.host_sends(context, 5, 0);
    assert!(matches!(rig.recv(context, 9), RecvOutcome::Data { .. }));
    assert!(!rig.driver.hung_up(context));
}

#[test]
fn a_connection_that_takes_all_vfds_it_can_get_leaves_some_to_the_next() {
    let mut rig = Rig::new(Limits {
        in_buffers: 256,
        ..SMALL
    });
    let hogs: Vec<_> = (0..3).map(|_| rig.context()).collect();
    let honest = rig.context();
    for hog in &hogs {
        while !rig.driver.hung_up(*hog) {
            rig.host_sends(*hog, 1, 1);
            rig.recv(*hog, 9);
        }
    }
    // Also when they are gone: what they brought is still there.
    for hog in &hogs {
        rig.close(*hog);
        rig.context();
    }
    let (_, taken) = rig.machine.count();
    assert!(taken > 20 && taken < 40, "{taken}");
    for _ in 0..(40 - taken) / 2 {
        rig.host_sends(honest, 1, 1);
    }
    assert!(!rig.driver.hung_up(honest));
}

#[test]
fn the_guest_makes_no_more_memory_than_it_may_have_in_all() {
    let mut rig = Rig::new(Limits {
        memory_total: 100 << 30,
        ..SMALL
    });
    let large = |id| Command::NewAlloc {
        id,
        size: 0xffff_f000,
    };
    let made: Vec<_> = std::iter::from_fn(|| rig.new_vfd(large)).take(100).collect();
    assert_eq!(made.len(), 25, "of nearly 4 GiB each");
    let ticket = rig.command(large(1000));
    assert_eq!(rig.answer(ticket), Some(Response::Fault(Fault::OutOfMemory)));
    rig.close(made[0]);
    rig.new_vfd(large).expect("what was closed is free again");
}

#[test]
fn an_empty_send_loses_no_end_of_a_pipe() {
    let mut rig = Rig::new(SMALL);
    let context = rig.context();
    let end = PipeEnd::Read;
    let pipe = rig.new_vfd(|id| Command::NewPipe { id, end }).unwrap();
    for (data, sent) in [(vec![], vec![]), (vec![1], vec![(vec![1], 1)])] {
        let ticket = rig.command(Command::Send {
            id: context,
            vfds: vec![pipe],
            data,
        });
        assert_eq!(rig.answer(ticket), Some(Response::Ok));
        assert_eq!(rig.sent, sent);
    }
}

#[test]
fn sends_to_slow_sockets_wait_in_bounded_number_and_bytes_and_others_do_not() {
    let mut rig = Rig::new(Limits {
        out_total_bytes: 250,
        out_unanswered: 10,
        ..SMALL
    });
    rig.window = 0;
    let slow: Vec<_> = (0..4).map(|_| rig.context()).collect();
    let mut answers = Vec::new();
    for round in 0..10 {
        for id in &slow {
            let ticket = rig.command(Command::Send {
                id: *id,
                vfds: vec![],
                data: vec![round; 50],
            });
            answers.push(rig.answer(ticket));
        }
    }
    let count = |answer| answers.iter().filter(|other| **other == answer).count();
    assert_eq!(count(Some(Response::Ok)), 5, "250 bytes are taken on");
    assert_eq!(count(None), 10, "so many wait for their answers");
    assert_eq!(count(Some(Response::Fault(Fault::OutOfMemory))), 25);
    // Some room, and all goes on.
    rig.window = usize::MAX;
    for id in &slow {
        rig.machine.writable(*id);
        rig.pump();
    }
    let ticket = rig.command(Command::Send {
        id: slow[0],
        vfds: vec![],
        data: vec![1; 50],
    });
    assert_eq!(rig.answer(ticket), Some(Response::Ok));
    assert_eq!(rig.answers.len(), 4 + 40 + 1, "every one is answered");
}

#[derive(Clone, Debug)]
enum Op {
    Context,
    UnknownContext,
    Alloc,
    Pipe(PipeEnd),
    Send { to: usize, with: Vec<usize>, len: usize },
    HostSends { to: usize, len: usize, memories: usize },
    HostSendsJunk { to: usize },
    HostEnds { to: usize },
    Recv { from: usize, room: usize },
    CloseGuest { which: usize },
    CloseGiven { which: usize },
    Window(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let end = prop_oneof![Just(PipeEnd::Read), Just(PipeEnd::Write)];
    prop_oneof![
        3 => Just(Op::Context),
        1 => Just(Op::UnknownContext),
        2 => Just(Op::Alloc),
        1 => end.prop_map(Op::Pipe),
        4 => (any::<usize>(), prop::collection::vec(any::<usize>(), 0..4), 0..150usize)
            .prop_map(|(to, with, len)| Op::Send { to, with, len }),
        6 => (any::<usize>(), 0..9usize, 0..5usize)
            .prop_map(|(to, len, memories)| Op::HostSends { to, len, memories }),
        1 => any::<usize>().prop_map(|to| Op::HostSendsJunk { to }),
        1 => any::<usize>().prop_map(|to| Op::HostEnds { to }),
        5 => (any::<usize>(), 1..9usize).prop_map(|(from, room)| Op::Recv { from, room }),
        2 => any::<usize>().prop_map(|which| Op::CloseGuest { which }),
        2 => any::<usize>().prop_map(|which| Op::CloseGiven { which }),
        2 => (0..200usize).prop_map(Op::Window),
    ]
}

fn apply(rig: &mut Rig, op: Op) {
    let pick = |from: &[VfdId], index: usize| from.get(index % from.len().max(1)).copied().unwrap_or(77);
    match op {
        Op::Context => drop(rig.new_vfd(|id| Command::NewContext { id, name: Vec::new() })),
        Op::UnknownContext => drop(rig.new_vfd(|id| Command::NewContext {
            id,
            name: b"none".to_vec(),
        })),
        Op::Alloc => drop(rig.new_vfd(|id| Command::NewAlloc { id, size: 5000 })),
        Op::Pipe(end) => drop(rig.new_vfd(|id| Command::NewPipe { id, end })),
        Op::Send { to, with, len } => {
            let all: Vec<_> = rig.open.iter().chain(&rig.given).copied().collect();
            let with: Vec<_> = with.into_iter().map(|index| pick(&all, index)).collect();
            rig.send(pick(&all, to), &with, &vec![1; len]);
        }
        Op::HostSends { to, len, memories } if rig.reading => {
            rig.host_sends(pick(&rig.open, to), len, memories);
        }
        Op::HostSends { .. } => {}
        Op::HostSendsJunk { to } => {
            let id = pick(&rig.open, to);
            rig.machine.received(id, vec![1], vec![Import::Refused]);
        }
        Op::HostEnds { to } => rig.machine.ended(pick(&rig.open, to)),
        Op::Recv { from, room } => drop(rig.recv(pick(&rig.open, from), room)),
        Op::CloseGuest { which } if !rig.open.is_empty() => rig.close(pick(&rig.open, which)),
        Op::CloseGiven { which } if !rig.given.is_empty() => rig.close(pick(&rig.given, which)),
        Op::CloseGuest { .. } | Op::CloseGiven { .. } => {}
        Op::Window(bytes) => {
            rig.window = bytes;
            for id in rig.open.clone() {
                rig.machine.writable(id);
            }
        }
    }
    rig.pump();
}

proptest! {
    #[test]
    fn the_books_balance_after_any_history(ops in prop::collection::vec(op(), 0..120)) {
        let mut rig = Rig::new(SMALL);
        for op in ops {
            apply(&mut rig, op);
            rig.verify(&SMALL);
        }
        rig.window = usize::MAX;
        for id in rig.open.clone().into_iter().chain(rig.given.clone()) {
            rig.close(id);
        }
        rig.verify(&SMALL);
        prop_assert_eq!(rig.live.get(), 0, "handles are lost");
        prop_assert_eq!(rig.machine.count(), (0, 0));
        prop_assert_eq!(rig.machine.free_buffers(), SMALL.in_buffers);
        prop_assert_eq!(rig.answers.len() as u64, rig.ticket, "a command was never answered");
    }
}
