// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host side of the device.

use std::collections::{BTreeMap, VecDeque};

use heraldry_wire::virtwl::{MAX_FDS, PAGE_SIZE};

use super::out_queue::{Load, OutMessage, OutQueue, Outgoing};
use super::{
    Command, Effect, HOST_ID_END, HOST_ID_FIRST, Import, InMessage, Limits, Made, PipeEnd, Response, Ticket,
    VfdId, VfdKind,
};
use crate::uapi::{Fault, GUEST_ID_END};

/// One vfd: opening (a ticket, no handle) -> open (a handle) -> ended (no handle) -> closed (not in the table).
#[derive(Debug)]
struct Vfd<H> {
    kind: VfdKind,
    opening: Option<Ticket>,
    handle: Option<H>,
    /// The end of a guest's pipe that is still to be sent.
    far: Option<H>,
    out: OutQueue<H>,
    /// No other vfd has or had it: ids come again.
    serial: u64,
    /// The connection that a vfd of the host came by.
    from: Option<u64>,
}

impl<H> Vfd<H> {
    const fn new(serial: u64, kind: VfdKind, opening: Option<Ticket>, handle: Option<H>) -> Self {
        Self {
            kind,
            opening,
            handle,
            far: None,
            out: OutQueue::new(),
            serial,
            from: None,
        }
    }
}

/// A message that waits for a buffer. Messages of one unit belong together.
#[derive(Debug)]
struct Pending {
    owner: VfdId,
    unit: u64,
    message: InMessage,
}

/// The state of one device. See the [module](super) for how to drive it.
#[derive(Debug)]
pub struct Machine<H> {
    limits: Limits,
    vfds: BTreeMap<VfdId, Vfd<H>>,
    next_host: VfdId,
    host_count: usize,
    /// vfds of the host by the connection that they came by, also after its end.
    came_by: BTreeMap<u64, usize>,
    next_serial: u64,
    /// Bytes of memory that the guest has made.
    memory: u64,
    /// What waits for all host sockets.
    queued: Load,
    free_buffers: usize,
    pending: VecDeque<Pending>,
    next_unit: u64,
    /// The unit of which a part was delivered.
    begun: Option<u64>,
    reading: bool,
    effects: VecDeque<Effect<H>>,
}

impl<H: Clone> Machine<H> {
    /// A device without vfds, with all its buffers.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            vfds: BTreeMap::new(),
            next_host: HOST_ID_FIRST,
            host_count: 0,
            came_by: BTreeMap::new(),
            next_serial: 0,
            memory: 0,
            queued: Load::default(),
            free_buffers: limits.in_buffers,
            pending: VecDeque::new(),
            next_unit: 0,
            begun: None,
            reading: true,
            effects: VecDeque::new(),
        }
    }

    /// The next thing to do. Take effects until there are none, after every call of another method.
    pub fn next_effect(&mut self) -> Option<Effect<H>> {
        self.effects.pop_front()
    }

    /// The handle of an open vfd.
    #[must_use]
    pub fn handle(&self, id: VfdId) -> Option<&H> {
        self.vfds.get(&id)?.handle.as_ref()
    }

    /// What a vfd is.
    #[must_use]
    pub fn kind(&self, id: VfdId) -> Option<VfdKind> {
        Some(self.vfds.get(&id)?.kind)
    }

    /// How many vfds there are: made by the guest, made by the host.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        (self.vfds.len() - self.host_count, self.host_count)
    }

    /// How many buffers the guest has given and the device has not used.
    #[must_use]
    pub const fn free_buffers(&self) -> usize {
        self.free_buffers
    }

    /// How many messages wait for a buffer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Executes a command of the guest. Its answer, now or later, is an effect with `ticket`.
    pub fn command(&mut self, ticket: Ticket, command: Command) {
        let refused = match command {
            Command::NewContext { id, name } => {
                self.open(ticket, id, VfdKind::Context, Effect::Connect { id, name })
            }
            Command::NewAlloc { id, size } if size == 0 || size > self.limits.memory => {
                self.check_new(id).and(Err(Fault::Err))
            }
            Command::NewAlloc { id, size } => {
                let size = size.next_multiple_of(PAGE_SIZE);
                self.open_memory(ticket, id, size)
            }
            Command::NewPipe { id, end } => {
                self.open(ticket, id, VfdKind::Pipe { end }, Effect::MakePipe { id, end })
            }
            Command::NewDmabuf => Err(Fault::InvalidCmd),
            Command::Send { id, vfds, data } => self.send(ticket, id, &vfds, data),
            Command::Close { id } => self.close(ticket, id),
            Command::DmabufSync { id } if self.vfds.contains_key(&id) => Err(Fault::InvalidType),
            Command::DmabufSync { .. } => Err(Fault::InvalidId),
        };
        if let Err(fault) = refused {
            self.answer(ticket, Response::Fault(fault));
        }
    }

    /// Reports what became of Connect, MakeMemory or MakePipe.
    pub fn made(&mut self, id: VfdId, made: Made<H>) {
        let Some(vfd) = self.vfds.get_mut(&id) else { return };
        let Some(ticket) = vfd.opening.take() else { return };
        let response = match made {
            Made::One(handle) => {
                vfd.handle = Some(handle);
                Response::New { id, kind: vfd.kind }
            }
            Made::Pipe { near, far } => {
                vfd.handle = Some(near);
                vfd.far = Some(far);
                Response::New { id, kind: vfd.kind }
            }
            Made::Failed(fault) => {
                self.forget(id);
                Response::Fault(fault)
            }
        };
        self.answer(ticket, response);
    }

    /// What to write next to the handle of `id`.
    #[must_use]
    pub fn outgoing(&self, id: VfdId) -> Option<Outgoing<'_, H>> {
        let vfd = self.vfds.get(&id)?;
        let (data, handles) = vfd.out.front()?;
        Some(Outgoing {
            to: vfd.handle.as_ref()?,
            data,
            handles,
        })
    }

    /// `count` bytes of [`Machine::outgoing`] were written, with its handles.
    pub fn wrote(&mut self, id: VfdId, count: usize) {
        let ticket = self.queue(id, |queue| queue.wrote(count));
        if let Some(ticket) = ticket.flatten() {
            self.answer(ticket, Response::Ok);
        }
    }

    /// The handle takes nothing now. Answers what fits the bounds; call [`Machine::writable`] when it takes more.
    pub fn blocked(&mut self, id: VfdId) {
        let (bytes, fds) = (self.limits.out_bytes, self.limits.out_fds);
        let room = (
            self.limits.out_total_bytes.saturating_sub(self.queued.bytes),
            self.limits.out_total_fds.saturating_sub(self.queued.fds),
        );
        let accepted = self.queue(id, |queue| queue.accept(bytes, fds, room));
        for ticket in accepted.unwrap_or_default() {
            self.answer(ticket, Response::Ok);
        }
    }

    /// The handle takes data again.
    pub fn writable(&mut self, id: VfdId) {
        if self.outgoing(id).is_some() {
            self.effects.push_back(Effect::Flush { id });
        }
    }

    /// The handle takes nothing any more; what it gives can still be read. Every SEND that waits fails.
    pub fn unwritable(&mut self, id: VfdId) {
        let tickets = self.queue(id, |queue| queue.close().1);
        for ticket in tickets.unwrap_or_default() {
            self.answer(ticket, Response::Fault(Fault::Err));
        }
    }

    /// Data and descriptors came from the host socket or pipe of `id`: at most [`Limits::in_data`] bytes and 28 descriptors.
    pub fn received(&mut self, id: VfdId, data: Vec<u8>, imports: Vec<Import<H>>) {
        if self.handle(id).is_none() || (data.is_empty() && imports.is_empty()) {
            return;
        }
        let limits = self.limits;
        let importable = |import: &Import<H>| match import {
            Import::Memory { size, .. } => *size > 0 && *size <= limits.memory,
            Import::Pipe { .. } => true,
            Import::Refused => false,
        };
        let fits = imports.len() <= MAX_FDS
            && data.len() <= limits.in_data
            && (imports.is_empty() || self.takes(id, imports.len()));
        if !fits || !imports.iter().all(importable) {
            return self.ended(id);
        }
        let unit = self.unit();
        let mut vfds = Vec::with_capacity(imports.len());
        for import in imports {
            let (kind, handle) = match import {
                Import::Memory { handle, size } => (VfdKind::Memory { size }, handle),
                Import::Pipe { handle, end } => (VfdKind::Pipe { end }, handle),
                Import::Refused => continue,
            };
            let new = self.host_vfd(id, kind, handle);
            vfds.push(new);
            self.pending.push_back(Pending {
                owner: id,
                unit,
                message: InMessage::New { id: new, kind },
            });
        }
        self.pending.push_back(Pending {
            owner: id,
            unit,
            message: InMessage::Recv { id, vfds, data },
        });
        self.deliver();
    }

    /// The host end of `id` is gone, in whatever way. The guest hears of it after what came before.
    pub fn ended(&mut self, id: VfdId) {
        let Some(vfd) = self.vfds.get_mut(&id) else { return };
        let Some(handle) = vfd.handle.take() else { return };
        let tickets = self.queue(id, |queue| queue.close().1);
        for ticket in tickets.unwrap_or_default() {
            self.answer(ticket, Response::Fault(Fault::Err));
        }
        self.effects.push_back(Effect::Release {
            id,
            handle,
            rest: Vec::new(),
        });
        let unit = self.unit();
        self.pending.push_back(Pending {
            owner: id,
            unit,
            message: InMessage::Hup { id },
        });
        self.deliver();
    }

    /// The guest gave `count` buffers back.
    pub fn returned(&mut self, count: usize) {
        self.free_buffers = self
            .free_buffers
            .saturating_add(count)
            .min(self.limits.in_buffers);
        self.deliver();
    }

    fn answer(&mut self, ticket: Ticket, response: Response) {
        self.effects.push_back(Effect::Answer { ticket, response });
    }

    const fn unit(&mut self) -> u64 {
        self.next_unit += 1;
        self.next_unit
    }

    fn check_new(&self, id: VfdId) -> Result<(), Fault> {
        let free = (1..GUEST_ID_END).contains(&id) && !self.vfds.contains_key(&id);
        if free { Ok(()) } else { Err(Fault::InvalidId) }
    }

    fn open_memory(&mut self, ticket: Ticket, id: VfdId, size: u64) -> Result<(), Fault> {
        self.check_new(id)?;
        let total = self.memory.saturating_add(size);
        if total > self.limits.memory_total {
            return Err(Fault::OutOfMemory);
        }
        self.open(
            ticket,
            id,
            VfdKind::Memory { size },
            Effect::MakeMemory { id, size },
        )?;
        self.memory = total;
        Ok(())
    }

    fn open(&mut self, ticket: Ticket, id: VfdId, kind: VfdKind, effect: Effect<H>) -> Result<(), Fault> {
        self.check_new(id)?;
        let serial = self.serial();
        self.vfds.insert(id, Vfd::new(serial, kind, Some(ticket), None));
        self.effects.push_back(effect);
        Ok(())
    }

    fn send(&mut self, ticket: Ticket, id: VfdId, vfds: &[VfdId], data: Vec<u8>) -> Result<(), Fault> {
        if vfds.len() > MAX_FDS {
            return Err(Fault::InvalidCmd);
        }
        let target = self.vfds.get(&id).ok_or(Fault::InvalidId)?;
        if target.handle.is_none() {
            return Err(Fault::InvalidType);
        }
        match target.kind {
            VfdKind::Memory { .. } => return Err(Fault::InvalidType),
            VfdKind::Pipe { .. } if !vfds.is_empty() => return Err(Fault::InvalidType),
            VfdKind::Pipe { end: PipeEnd::Read } => return Err(Fault::Err),
            VfdKind::Pipe { end: PipeEnd::Write } | VfdKind::Context => {}
        }
        for (index, vfd) in vfds.iter().enumerate() {
            self.check_sendable(*vfd, vfds.get(..index).unwrap_or_default())?;
        }
        if data.is_empty() {
            // A sendmsg(2) of no bytes on a stream socket delivers nothing, and no descriptors either: they stay.
            self.answer(ticket, Response::Ok);
            return Ok(());
        }
        if self.queued.unanswered >= self.limits.out_unanswered {
            return Err(Fault::OutOfMemory);
        }
        let handles: Vec<H> = vfds.iter().filter_map(|vfd| self.sendable(*vfd)).collect();
        let push = |queue: &mut OutQueue<H>| {
            let idle = queue.is_empty();
            queue.push(OutMessage { data, handles }, ticket);
            idle
        };
        let idle = self.queue(id, push).ok_or(Fault::InvalidId)?;
        if idle {
            self.effects.push_back(Effect::Flush { id });
        } else {
            self.blocked(id);
        }
        Ok(())
    }

    /// Does something with the queue of a vfd, and counts.
    fn queue<T>(&mut self, id: VfdId, what: impl FnOnce(&mut OutQueue<H>) -> T) -> Option<T> {
        let queue = &mut self.vfds.get_mut(&id)?.out;
        let before = queue.load();
        let done = what(queue);
        self.queued = self.queued.with(before, queue.load());
        Some(done)
    }

    /// What may be sent along (crosvm wl.rs): memory and contexts any number of times, the far end of a guest's pipe once,
    /// a pipe that came from the host never.
    fn check_sendable(&self, id: VfdId, earlier: &[VfdId]) -> Result<(), Fault> {
        let vfd = self.vfds.get(&id).ok_or(Fault::InvalidId)?;
        let sendable = match vfd.kind {
            VfdKind::Context | VfdKind::Memory { .. } => vfd.handle.is_some(),
            VfdKind::Pipe { .. } => vfd.far.is_some() && !earlier.contains(&id),
        };
        if sendable { Ok(()) } else { Err(Fault::InvalidType) }
    }

    fn sendable(&mut self, id: VfdId) -> Option<H> {
        let vfd = self.vfds.get_mut(&id)?;
        match vfd.kind {
            VfdKind::Context | VfdKind::Memory { .. } => vfd.handle.clone(),
            VfdKind::Pipe { .. } => vfd.far.take(),
        }
    }

    fn close(&mut self, ticket: Ticket, id: VfdId) -> Result<(), Fault> {
        if self.vfds.get(&id).ok_or(Fault::InvalidId)?.opening.is_some() {
            return Err(Fault::InvalidId);
        }
        self.forget(id);
        self.take_back(id);
        self.answer(ticket, Response::Ok);
        self.deliver();
        Ok(())
    }

    fn forget(&mut self, id: VfdId) {
        let Some(mut vfd) = self.vfds.remove(&id) else {
            return;
        };
        if id >= HOST_ID_FIRST {
            self.host_count -= 1;
        } else if let VfdKind::Memory { size } = vfd.kind {
            self.memory = self.memory.saturating_sub(size);
        }
        self.left(vfd.from);
        self.queued = self.queued.with(vfd.out.load(), Load::default());
        let (rest, tickets) = vfd.out.close();
        for ticket in tickets {
            self.answer(ticket, Response::Fault(Fault::InvalidType));
        }
        if let Some(handle) = vfd.handle {
            self.effects.push_back(Effect::Release { id, handle, rest });
        }
    }

    /// Takes back what waits for a vfd that is no more, with the vfds that were on their way in it.
    fn take_back(&mut self, owner: VfdId) {
        let begun = self.begun;
        let mut forgotten = Vec::new();
        self.pending.retain(|pending| {
            let keep = pending.owner != owner || Some(pending.unit) == begun;
            if let (false, InMessage::New { id, .. }) = (keep, &pending.message) {
                forgotten.push(*id);
            }
            keep
        });
        for id in forgotten {
            self.forget(id);
        }
    }

    fn deliver(&mut self) {
        while self.free_buffers > 0 {
            let Some(pending) = self.pending.pop_front() else {
                break;
            };
            self.free_buffers -= 1;
            let more = self.pending.front().is_some_and(|next| next.unit == pending.unit);
            self.begun = more.then_some(pending.unit);
            self.effects.push_back(Effect::Deliver(pending.message));
        }
        let reading = self.pending.is_empty() && self.free_buffers > 0;
        if reading != self.reading {
            self.reading = reading;
            self.effects.push_back(Effect::Reading(reading));
        }
    }

    const fn serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }

    /// Whether a connection may bring so many vfds of the host.
    fn takes(&self, id: VfdId, more: usize) -> bool {
        let free = self.limits.host_vfds.saturating_sub(self.host_count);
        let serial = self.vfds.get(&id).map(|vfd| vfd.serial);
        let has = serial.and_then(|serial| self.came_by.get(&serial));
        has.copied().unwrap_or(0).saturating_add(more) <= free
    }

    /// A new vfd of the host, which came by the connection `by`.
    fn host_vfd(&mut self, by: VfdId, kind: VfdKind, handle: H) -> VfdId {
        let (id, serial) = (self.host_id(), self.serial());
        let mut vfd = Vfd::new(serial, kind, None, Some(handle));
        vfd.from = self.vfds.get(&by).map(|vfd| vfd.serial);
        if let Some(from) = vfd.from {
            *self.came_by.entry(from).or_default() += 1;
        }
        self.vfds.insert(id, vfd);
        self.host_count += 1;
        id
    }

    /// A vfd that came by this connection is gone.
    fn left(&mut self, from: Option<u64>) {
        if let Some(from) = from
            && let Some(count) = self.came_by.get_mut(&from)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.came_by.remove(&from);
            }
        }
    }

    fn host_id(&mut self) -> VfdId {
        loop {
            let id = self.next_host;
            self.next_host = if id + 1 < HOST_ID_END {
                id + 1
            } else {
                HOST_ID_FIRST
            };
            if !self.vfds.contains_key(&id) {
                return id;
            }
        }
    }
}
