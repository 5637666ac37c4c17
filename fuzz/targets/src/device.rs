// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device's state machine between a guest that sends any command and a host whose sockets do anything.
//!
//! Input: the limits, then steps. Every handle has a number: which one a vfd has, which leave with a message and which come with
//! one is checked, and that none is lost or kept. Every answer is booked, and what goes to a host socket is compared with what was
//! sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::{Rc, Weak};

use arbitrary::{Result, Unstructured};
use heraldry_virtio::device::{
    Command, Driver, Effect, Import, InMessage, Limits, Machine, Made, OutMessage, PipeEnd, Response, Ticket,
    VfdId, VfdKind,
};
use heraldry_virtio::uapi::Fault;
use heraldry_wire::virtwl::MAX_FDS;

/// A descriptor; clones are duplicates of it.
#[derive(Clone, Debug)]
struct Handle(Rc<usize>);

const MOST_STEPS: usize = 400;
/// Commands that a front end takes before their answers; a queue of the device is not longer.
const MOST_TICKETS: usize = 64;
const MOST_DATA: usize = 300;

/// See the module.
pub fn run(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(limits) = limits(&mut u) else { return };
    let mut rig = Rig::new(limits);
    for _ in 0..MOST_STEPS {
        // The end of the input is the end of the run.
        if u.is_empty() || rig.step(&mut u).is_err() {
            break;
        }
        rig.verify();
    }
    rig.close_everything();
}

fn limits(u: &mut Unstructured<'_>) -> Result<Limits> {
    Ok(Limits {
        in_buffers: usize::from(u.arbitrary::<u8>()? % 8) + 1,
        in_data: 40,
        out_bytes: usize::from(u.arbitrary::<u8>()?),
        out_fds: usize::from(u.arbitrary::<u8>()? % 32),
        host_vfds: usize::from(u.arbitrary::<u8>()? % 64),
        memory: 0xffff_f000,
        memory_total: 12 << 30,
        out_total_bytes: 600,
        out_total_fds: 64,
        out_unanswered: 32,
    })
}

/// A SEND that is not written: its ticket and what is left of it.
#[derive(Debug)]
struct Sent {
    ticket: Ticket,
    left: usize,
    /// The handles that go with its first byte.
    handles: Vec<usize>,
    /// The pipes whose far ends are among them.
    pipes: Vec<(VfdId, Ends)>,
}

/// The handles of a vfd.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ends {
    own: usize,
    /// The far end of a guest's pipe that was not sent yet.
    far: Option<usize>,
}

/// How a handle came from the host.
#[derive(Debug, Clone, Copy)]
struct Came {
    by: VfdId,
    at: usize,
}

struct Rig {
    limits: Limits,
    machine: Machine<Handle>,
    driver: Driver,
    /// Every handle that there ever was, by its number.
    handles: Vec<Weak<usize>>,
    /// What the vfds have, as far as the guest knows of them.
    ends: BTreeMap<VfdId, Ends>,
    came: BTreeMap<usize, Came>,
    ticket: Ticket,
    unanswered: BTreeSet<Ticket>,
    /// vfds whose opening waits for the front end.
    opening: Vec<(VfdId, bool)>,
    /// vfds that were announced and not closed.
    announced: BTreeMap<VfdId, VfdKind>,
    sent: BTreeMap<VfdId, VecDeque<Sent>>,
    /// Bytes that host sockets still take.
    window: usize,
    reading: bool,
    /// The guest gave back more buffers than it had.
    cheated: bool,
    hups: usize,
}

impl Rig {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            machine: Machine::new(limits),
            driver: Driver::new(),
            handles: Vec::new(),
            ends: BTreeMap::new(),
            came: BTreeMap::new(),
            ticket: 0,
            unanswered: BTreeSet::new(),
            opening: Vec::new(),
            announced: BTreeMap::new(),
            sent: BTreeMap::new(),
            window: usize::MAX,
            reading: true,
            cheated: false,
            hups: 0,
        }
    }

    fn handle(&mut self) -> Handle {
        let handle = Rc::new(self.handles.len());
        self.handles.push(Rc::downgrade(&handle));
        Handle(handle)
    }

    fn lives(&self, number: usize) -> bool {
        self.handles[number].strong_count() > 0
    }

    /// What a SEND of these vfds takes along, if it is not refused.
    fn taken(&mut self, vfds: &[VfdId]) -> (Vec<usize>, Vec<(VfdId, Ends)>) {
        let (mut handles, mut pipes) = (Vec::new(), Vec::new());
        for id in vfds {
            let Some(ends) = self.ends.get_mut(id) else {
                continue;
            };
            match self.machine.kind(*id) {
                Some(VfdKind::Pipe { .. }) => {
                    pipes.push((*id, *ends));
                    handles.extend(ends.far.take());
                }
                Some(_) => handles.push(ends.own),
                None => {}
            }
        }
        (handles, pipes)
    }

    /// An id: mostly one that is or might be there.
    fn id(&self, u: &mut Unstructured<'_>) -> Result<VfdId> {
        let pick = u.arbitrary::<u8>()?;
        if pick < 16 {
            return u.arbitrary();
        }
        let known: Vec<VfdId> = self.announced.keys().copied().collect();
        match known.len() {
            0 => Ok(u32::from(pick % 8)),
            len if pick < 200 => Ok(known[usize::from(pick) % len]),
            _ => Ok(u32::from(pick % 8)),
        }
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.arbitrary::<u8>()? % 16 {
            0..=6 => {
                let command = self.guest_command(u)?;
                if self.unanswered.len() < MOST_TICKETS {
                    self.command(command);
                }
            }
            7 => self.opened(u)?,
            8..=10 => self.host_sends(u)?,
            11 => {
                let id = self.id(u)?;
                match u.arbitrary::<u8>()? % 3 {
                    0 => self.end(id),
                    1 => {
                        self.machine.unwritable(id);
                        self.sent.remove(&id);
                    }
                    _ => self.machine.writable(id),
                }
            }
            12 | 13 => {
                let id = self.id(u)?;
                self.recv(id, usize::from(u.arbitrary::<u8>()?));
            }
            14 => {
                self.window = usize::from(u.arbitrary::<u16>()?);
                for id in self.sent.keys().copied().collect::<Vec<_>>() {
                    self.machine.writable(id);
                }
            }
            _ => {
                if u.arbitrary::<u8>()? == 0 {
                    self.cheated = true;
                    self.machine.returned(u.arbitrary()?);
                }
            }
        }
        self.pump();
        Ok(())
    }

    fn guest_command(&mut self, u: &mut Unstructured<'_>) -> Result<Command> {
        let id = self.id(u)?;
        let end = if u.arbitrary()? {
            PipeEnd::Read
        } else {
            PipeEnd::Write
        };
        Ok(match u.arbitrary::<u8>()? % 12 {
            0 | 1 => Command::NewContext {
                id,
                name: vec![b'x'; usize::from(u.arbitrary::<u8>()? % 33)],
            },
            2 => Command::NewAlloc {
                id,
                size: u.arbitrary::<u64>()? >> u.int_in_range(0..=63)?,
            },
            3 => Command::NewPipe { id, end },
            4 => Command::NewDmabuf,
            5 => Command::Close { id },
            6 => Command::DmabufSync { id },
            _ => {
                let mut vfds = Vec::new();
                for _ in 0..u.arbitrary::<u8>()?.saturating_sub(220) {
                    vfds.push(self.id(u)?);
                }
                // The data say which SEND they are of.
                let data = vec![self.ticket.to_le_bytes()[0]; usize::from(u.arbitrary::<u16>()?) % MOST_DATA];
                Command::Send { id, vfds, data }
            }
        })
    }

    fn command(&mut self, command: Command) {
        let ticket = self.ticket;
        self.ticket += 1;
        self.unanswered.insert(ticket);
        match &command {
            Command::Send { id, data, vfds } if !data.is_empty() => {
                // Taken out again if it is refused at once.
                let (handles, pipes) = self.taken(vfds);
                let sent = Sent {
                    ticket,
                    left: data.len(),
                    handles,
                    pipes,
                };
                self.sent.entry(*id).or_default().push_back(sent);
            }
            _ => {}
        }
        let closes = if let Command::Close { id } = command {
            Some(id)
        } else {
            None
        };
        self.machine.command(ticket, command);
        if let Some(id) = closes.filter(|id| self.machine.kind(*id).is_none()) {
            self.announced.remove(&id);
            self.ends.remove(&id);
            let closed = self.driver.close(id);
            self.machine.returned(closed.returned);
            for orphan in closed.orphans {
                self.command(Command::Close { id: orphan });
            }
        }
    }

    /// The front end did what it was asked, or failed.
    fn opened(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if self.opening.is_empty() {
            return Ok(());
        }
        let (id, pipe) = self.opening.swap_remove(u.choose_index(self.opening.len())?);
        let failed = u.arbitrary::<u8>()? < 32;
        self.make(id, pipe, failed);
        Ok(())
    }

    fn make(&mut self, id: VfdId, pipe: bool, failed: bool) {
        let near = self.handle();
        let far = pipe.then(|| self.handle());
        let ends = Ends {
            own: *near.0,
            far: far.as_ref().map(|far| *far.0),
        };
        let made = match (failed, far) {
            (true, _) => Made::Failed(Fault::OutOfMemory),
            (false, Some(far)) => Made::Pipe { near, far },
            (false, None) => Made::One(near),
        };
        if !failed {
            self.ends.insert(id, ends);
        }
        self.machine.made(id, made);
    }

    fn host_sends(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let id = self.id(u)?;
        let mut imports = Vec::new();
        for _ in 0..u.arbitrary::<u8>()?.saturating_sub(226) {
            let handle = self.handle();
            let at = imports.len();
            self.came.insert(*handle.0, Came { by: id, at });
            imports.push(match u.arbitrary::<u8>()? % 16 {
                0 => Import::Refused,
                1 => Import::Memory {
                    handle,
                    size: u.arbitrary()?,
                },
                2..=8 => Import::Memory { handle, size: 4096 },
                9..=12 => Import::Pipe {
                    handle,
                    end: PipeEnd::Read,
                },
                _ => Import::Pipe {
                    handle,
                    end: PipeEnd::Write,
                },
            });
        }
        let data = vec![7; usize::from(u.arbitrary::<u8>()? % 42)];
        // A front end reads only when it may.
        if self.reading {
            self.machine.received(id, data, imports);
        }
        Ok(())
    }

    fn end(&mut self, id: VfdId) {
        self.machine.ended(id);
    }

    fn recv(&mut self, id: VfdId, room: usize) {
        use heraldry_virtio::device::RecvOutcome;
        let readable = self.driver.readable(id);
        match self.driver.recv(id, room) {
            RecvOutcome::Data { data, vfds, returned } => {
                assert!(readable && data.len() <= room && vfds.len() <= MAX_FDS);
                for vfd in vfds {
                    // A hostile guest may have closed it before it read of it.
                    let there = self.announced.contains_key(&vfd);
                    assert_eq!(there, self.machine.kind(vfd).is_some());
                }
                self.machine.returned(returned);
            }
            RecvOutcome::NoRoom => assert!(readable && room == 0),
            RecvOutcome::WouldBlock | RecvOutcome::Eof => assert!(!readable),
        }
    }

    fn pump(&mut self) {
        while let Some(effect) = self.machine.next_effect() {
            match effect {
                Effect::Connect { id, name } => {
                    assert!(name.len() <= 32);
                    self.opening.push((id, false));
                }
                Effect::MakeMemory { id, size } => {
                    assert!(size > 0 && size.is_multiple_of(4096) && size <= self.limits.memory);
                    self.opening.push((id, false));
                }
                Effect::MakePipe { id, .. } => self.opening.push((id, true)),
                Effect::Answer { ticket, response } => self.answered(ticket, response),
                Effect::Deliver(message) => self.delivered(message),
                Effect::Flush { id } => self.flush(id),
                Effect::Reading(reading) => {
                    assert_ne!(reading, self.reading);
                    self.reading = reading;
                }
                Effect::Release { id, handle, rest } => {
                    if let Some(ends) = self.ends.get(&id) {
                        assert_eq!(*handle.0, ends.own, "the handle of another vfd");
                    }
                    self.released(id, &rest);
                }
            }
        }
    }

    fn answered(&mut self, ticket: Ticket, response: Response) {
        assert!(self.unanswered.remove(&ticket), "{ticket} was answered twice");
        match response {
            Response::New { id, kind } => {
                assert!((1..0x800).contains(&id), "{id}");
                assert_eq!(self.announced.insert(id, kind), None, "{id} is there twice");
                self.driver.opened(id);
            }
            Response::Ok => {}
            Response::Fault(_) => {
                let mut refused = Vec::new();
                for sent in self.sent.values_mut() {
                    let is_it = |sent: &Sent| sent.ticket == ticket;
                    if let Some(at) = sent.iter().position(is_it) {
                        refused.extend(sent.remove(at));
                    }
                }
                // What was refused at once has taken nothing along; what failed later has.
                for (id, before) in refused.into_iter().flat_map(|sent| sent.pipes) {
                    let far = before.far.filter(|far| self.lives(*far));
                    if let Some(ends) = self.ends.get_mut(&id).filter(|ends| ends.own == before.own) {
                        ends.far = ends.far.or(far);
                    }
                }
            }
        }
    }

    fn delivered(&mut self, message: InMessage) {
        match &message {
            InMessage::New { id, kind } => {
                assert!((0x4000_0000..0x8000_0000).contains(id), "{id:#x}");
                assert_eq!(self.announced.insert(*id, *kind), None, "{id:#x} is there twice");
                if let Some(handle) = self.machine.handle(*id) {
                    let own = *handle.0;
                    assert!(self.came.contains_key(&own), "a handle that no message brought");
                    assert!(
                        self.ends.values().all(|ends| ends.own != own),
                        "two vfds with one handle"
                    );
                    self.ends.insert(*id, Ends { own, far: None });
                }
            }
            InMessage::Recv { id, vfds, data } => {
                for (at, vfd) in vfds.iter().enumerate() {
                    // A hostile guest may have closed it before it read of it.
                    let Some(ends) = self.ends.get(vfd) else { continue };
                    let came = self.came[&ends.own];
                    assert_eq!((came.by, came.at), (*id, at), "another message's handle");
                }
                assert!(data.len() <= self.limits.in_data && vfds.len() <= MAX_FDS);
                assert!(vfds.iter().all(|vfd| *vfd >= 0x4000_0000));
            }
            InMessage::Hup { .. } => self.hups += 1,
        }
        let taken = self.driver.message(message);
        self.machine.returned(taken.returned);
        for orphan in taken.orphans {
            self.command(Command::Close { id: orphan });
        }
        if !self.cheated {
            assert!(
                self.driver.held() <= self.limits.in_buffers,
                "more messages than buffers"
            );
        }
    }

    fn flush(&mut self, id: VfdId) {
        while let Some(out) = self.machine.outgoing(id) {
            let sent = self
                .sent
                .get(&id)
                .and_then(VecDeque::front)
                .expect("something was sent");
            assert_eq!(out.data.len(), sent.left);
            let mark = sent.ticket.to_le_bytes()[0];
            assert!(out.data.iter().all(|byte| *byte == mark), "another SEND's data");
            let handles: Vec<usize> = out.handles.iter().map(|handle| *handle.0).collect();
            assert_eq!(handles, sent.handles, "other handles than were sent");
            assert!(out.handles.len() <= MAX_FDS);
            let count = out.data.len().min(self.window);
            if count == 0 {
                return self.machine.blocked(id);
            }
            self.window -= count;
            self.machine.wrote(id, count);
            let queue = self.sent.entry(id).or_default();
            if let Some(front) = queue.front_mut() {
                front.left -= count;
                front.handles.clear();
            }
            queue.retain(|sent| sent.left > 0);
        }
    }

    /// What was accepted and not written goes with the handle.
    fn released(&mut self, id: VfdId, rest: &[OutMessage<Handle>]) {
        let queue = self.sent.remove(&id).unwrap_or_default();
        for message in rest {
            let mark = message.data.first().copied();
            let handles: Vec<usize> = message.handles.iter().map(|handle| *handle.0).collect();
            let found = queue.iter().any(|sent| {
                let same = sent.left == message.data.len() && sent.handles == handles;
                same && Some(sent.ticket.to_le_bytes()[0]) == mark
            });
            assert!(found, "a rest that was not sent");
        }
    }

    fn verify(&self) {
        let (guest, host) = self.machine.count();
        assert!(guest <= 2047 && host <= self.limits.host_vfds, "{guest} {host}");
        let free = self.machine.free_buffers();
        assert!(free <= self.limits.in_buffers);
        if !self.cheated {
            assert_eq!(
                free + self.driver.held(),
                self.limits.in_buffers,
                "buffers are lost"
            );
        }
        assert_eq!(self.reading, free > 0 && self.machine.waiting() == 0);
        // One unit, and an end for each vfd.
        assert!(self.machine.waiting() <= MAX_FDS + 1 + guest + host + 1);
        for (id, ends) in &self.ends {
            if let Some(handle) = self.machine.handle(*id) {
                assert_eq!(*handle.0, ends.own, "{id:#x} has the handle of another");
            }
            assert!(
                ends.far.is_none_or(|far| self.lives(far)),
                "the far end of {id:#x} is lost"
            );
        }
        for (id, kind) in &self.announced {
            assert_eq!(
                self.machine.kind(*id),
                Some(*kind),
                "the guest knows of {id:#x}, the device does not"
            );
        }
        for (id, queue) in &self.sent {
            let accepted = queue
                .iter()
                .filter(|sent| !self.unanswered.contains(&sent.ticket));
            let bytes: usize = accepted.clone().map(|sent| sent.left).sum();
            let most = self
                .limits
                .out_bytes
                .max(queue.front().map_or(0, |sent| sent.left));
            assert!(bytes <= most, "{bytes} bytes wait for {id:#x}");
        }
    }

    /// Everything is answered and nothing is left when the guest goes.
    fn close_everything(mut self) {
        for (id, pipe) in std::mem::take(&mut self.opening) {
            self.make(id, pipe, false);
            self.pump();
        }
        while let Some(id) = self.announced.keys().next().copied() {
            self.command(Command::Close { id });
            self.pump();
        }
        assert_eq!(self.machine.count(), (0, 0));
        assert_eq!(self.machine.waiting(), 0);
        assert!(
            self.unanswered.is_empty(),
            "{:?} were not answered",
            self.unanswered
        );
        let left = (0..self.handles.len()).filter(|number| self.lives(*number));
        assert_eq!(left.count(), 0, "handles are left");
    }
}
