// SPDX-License-Identifier: MIT OR Apache-2.0
//! NEW, SEND and RECV.

use std::os::fd::AsFd as _;

use heraldry_virtio::device::{Command, PipeEnd, RecvOutcome, Response, Ticket, VfdId, VfdKind};
use heraldry_virtio::uapi::{
    IOCTL_DMABUF_SYNC, IOCTL_RECV, IOCTL_SEND, TXN_HEADER, TxnHeader, ioctl_nr, ioctl_size, new_kind,
};
use heraldry_wire::virtwl::{NAME_LEN, PAGE_SIZE};
use rustix::fs::fstat;
use rustix::io::Errno;

use super::native::{Transfer, Wait, is_nonblocking, take_token};
use super::supervisor::{Call, Supervisor};
use super::table::{Found, Slot};
use crate::sys::remote;
use crate::sys::seccomp::{Notification, Reply};

/// A SEND above this never fits the queue of the device: 256 descriptors, one per page.
const MAX_SEND: usize = (1 << 20) - 2 * 4096;

/// Most that one RECV hands over; the device holds no more for all vfds together.
const MAX_RECV: usize = 1 << 20;

impl Supervisor {
    /// An ioctl with a command of type 'w'.
    pub(super) fn ioctl(&mut self, call: &Notification) -> Option<Reply> {
        let [fd, command, argument, ..] = call.args;
        let command = low(command);
        match self.identify(call, fd) {
            Ok(Found::Control) if ioctl_nr(command) == 0 => {
                self.ioctl_new(call, ioctl_size(command), argument)
            }
            Ok(Found::Control) => Some(Reply::Fail(Errno::NOTTY)),
            Ok(Found::Vfd(id)) => match command {
                IOCTL_SEND => self.ioctl_send(call, id),
                IOCTL_RECV => self.ioctl_recv(call, id),
                IOCTL_DMABUF_SYNC => {
                    self.stats.ioctl("dmabuf_sync");
                    // The driver does not look at the device's answer.
                    let mut flags = [0; 4];
                    let read = read_exact(call, argument, &mut flags);
                    let valid = u32::from_ne_bytes(flags) & !7 == 0;
                    Some(match read {
                        Ok(()) if valid => Reply::Value(0),
                        Ok(()) => Reply::Fail(Errno::INVAL),
                        Err(errno) => Reply::Fail(errno),
                    })
                }
                _ => Some(Reply::Fail(Errno::NOTTY)),
            },
            Ok(Found::Other) | Err(_) => Some(Reply::Continue),
        }
    }

    fn ioctl_new(&mut self, call: &Notification, size: usize, argument: u64) -> Option<Reply> {
        let mut request = [0; 48];
        let size = size.min(request.len());
        if let Err(errno) = read_exact(call, argument, request.get_mut(..size).unwrap_or_default()) {
            return Some(Reply::Fail(errno));
        }
        if !self.listener.is_valid(call.id) {
            return None;
        }
        let (kind, body) = (word(&request, 0), request.get(12..).unwrap_or_default());
        let make = match kind {
            new_kind::CTX => NewVfd::Context(Vec::new()),
            new_kind::CTX_NAMED => {
                let name = body.iter().take(NAME_LEN).copied().take_while(|byte| *byte != 0);
                NewVfd::Context(name.collect())
            }
            // The driver rounds up in 32 bits.
            new_kind::ALLOC => {
                let rounded = u64::from(word(&request, 12)).next_multiple_of(PAGE_SIZE);
                NewVfd::Memory(rounded & u64::from(u32::MAX))
            }
            new_kind::PIPE_READ => NewVfd::Pipe(PipeEnd::Read),
            new_kind::PIPE_WRITE => NewVfd::Pipe(PipeEnd::Write),
            new_kind::DMABUF if size == request.len() => NewVfd::Dmabuf,
            _ => return Some(self.refuse_new(Errno::INVAL)),
        };
        self.stats.ioctl(make.name());
        if self.driver.ids_in_use() >= 2047 {
            self.reap();
        }
        let Some(id) = self.driver.take_id() else {
            return Some(self.refuse_new(Errno::NOSPC));
        };
        self.calls.insert(
            call.id,
            Call::New {
                call: *call,
                id,
                request,
                size,
            },
        );
        self.machine.command(call.id, make.command(id));
        None
    }

    fn ioctl_send(&mut self, call: &Notification, id: VfdId) -> Option<Reply> {
        self.stats.ioctl("send");
        let [_, _, argument, ..] = call.args;
        let mut header = [0; TXN_HEADER];
        if let Err(errno) = read_exact(call, argument, &mut header) {
            return Some(self.refuse_send(errno));
        }
        let header = TxnHeader::from_bytes(&header);
        let fds: Vec<i32> = header.fds.iter().copied().take_while(|fd| *fd >= 0).collect();
        let len = header.len as usize;
        if len == 0 && fds.is_empty() {
            return Some(Reply::Value(0));
        }
        if len > MAX_SEND {
            return Some(self.refuse_send(Errno::NOMEM));
        }
        let mut data = vec![0; len];
        if let Err(errno) = read_exact(call, argument + TXN_HEADER as u64, &mut data) {
            return Some(self.refuse_send(errno));
        }
        if !self.listener.is_valid(call.id) {
            return None;
        }
        let mut vfds = Vec::with_capacity(fds.len());
        for fd in fds {
            match self.identify(call, u64::from(fd.unsigned_abs())) {
                Ok(Found::Vfd(vfd)) => vfds.push(vfd),
                Ok(Found::Control) => return Some(self.refuse_send(Errno::INVAL)),
                Ok(Found::Other) | Err(_) => return Some(self.refuse_send(Errno::BADFD)),
            }
        }
        if let Some(Slot::Pipe { end }) = self.table.slot(id) {
            let end = *end;
            if !vfds.is_empty() {
                return Some(self.refuse_send(Errno::INVAL));
            }
            let fd = match self.fetch(call, signed(call.args[0])) {
                Ok(fd) => fd,
                Err(errno) => return Some(self.refuse_send(errno)),
            };
            let reply = self.start(
                end,
                Wait {
                    call: *call,
                    fd,
                    transfer: Transfer::Send { data, done: 0 },
                },
            );
            if let (PipeEnd::Read, Some(Reply::Fail(errno))) = (end, reply) {
                return Some(self.refuse_send(errno));
            }
            return reply;
        }
        self.calls.insert(call.id, Call::Send { call: *call });
        self.machine.command(call.id, Command::Send { id, vfds, data });
        None
    }

    fn ioctl_recv(&mut self, call: &Notification, id: VfdId) -> Option<Reply> {
        self.stats.ioctl("recv");
        let room = match room_of(call) {
            Ok(room) => room,
            Err(errno) => return Some(Reply::Fail(errno)),
        };
        let fd = match self.fetch(call, signed(call.args[0])) {
            Ok(fd) => fd,
            Err(errno) => return Some(Reply::Fail(errno)),
        };
        if !self.listener.is_valid(call.id) {
            return None;
        }
        if let Some(Slot::Pipe { end }) = self.table.slot(id) {
            let end = *end;
            return self.start(
                end,
                Wait {
                    call: *call,
                    fd,
                    transfer: Transfer::Recv { room },
                },
            );
        }
        let reply = self.receive_once(call, id, room);
        if !self.driver.readable(id)
            && let Some(Slot::Token { posted, .. }) = self.table.slot_mut(id)
            && std::mem::take(posted)
        {
            take_token(&fd);
        }
        if reply.is_none() {
            if is_nonblocking(&fd) {
                return Some(Reply::Fail(Errno::AGAIN));
            }
            self.receivers.entry(id).or_default().push_back(*call);
        }
        reply
    }

    /// Answers RECVs that wait, as far as there is something for them.
    pub(super) fn serve_receivers(&mut self, id: VfdId) {
        while let Some(call) = self
            .receivers
            .get(&id)
            .and_then(|waiting| waiting.front())
            .copied()
        {
            let reply = if self.listener.is_valid(call.id) {
                match room_of(&call) {
                    Ok(room) => match self.receive_once(&call, id, room) {
                        Some(reply) => Some(reply),
                        None => return,
                    },
                    Err(errno) => Some(Reply::Fail(errno)),
                }
            } else {
                None
            };
            if let Some(waiting) = self.receivers.get_mut(&id) {
                waiting.pop_front();
            }
            if let Some(reply) = reply {
                self.reply(&call, reply);
            }
        }
        self.receivers.remove(&id);
    }

    fn receive_once(&mut self, call: &Notification, id: VfdId, room: usize) -> Option<Reply> {
        match self.driver.recv(id, room) {
            RecvOutcome::WouldBlock => None,
            RecvOutcome::Eof => Some(self.hand_over(call, &[], &[])),
            RecvOutcome::NoRoom => {
                tracing::warn!("RECV with room for no data; the driver would hang here");
                Some(Reply::Fail(Errno::INVAL))
            }
            RecvOutcome::Data { data, vfds, returned } => {
                self.machine.returned(returned);
                Some(
                    self.install_all(call, &vfds)
                        .map_or_else(Reply::Fail, |fds| self.hand_over(call, &data, &fds)),
                )
            }
        }
    }

    /// Installs the descriptors of vfds in the program. If one cannot be, all that are not are closed, as the driver does.
    fn install_all(&mut self, call: &Notification, vfds: &[VfdId]) -> Result<Vec<i32>, Errno> {
        let mut installed = Vec::with_capacity(vfds.len());
        for (index, id) in vfds.iter().enumerate() {
            match self.install(call, *id) {
                Ok(fd) => installed.push(fd),
                Err(errno) => {
                    tracing::warn!(%errno, "a descriptor could not be handed to the program; a message is lost");
                    for id in vfds.iter().skip(index) {
                        self.close(*id);
                    }
                    return Err(errno);
                }
            }
        }
        Ok(installed)
    }

    fn install(&mut self, call: &Notification, id: VfdId) -> Result<i32, Errno> {
        let kind = self.machine.kind(id).ok_or(Errno::NOENT)?;
        let token = |kind| matches!(kind, VfdKind::Context | VfdKind::Pipe { end: PipeEnd::Write });
        let handle = self.machine.handle(id).cloned();
        let fd = match (kind, handle) {
            (VfdKind::Memory { size }, Some(handle)) => self.table.add_handle(id, &handle, Some(size))?,
            (_, Some(handle)) if handle.fd().is_none() => self.table.add_handle(id, &handle, None)?,
            (kind, _) if token(kind) => self.table.add_token(id, kind == VfdKind::Context)?,
            _ => return Err(Errno::NODEV),
        };
        self.listener.install(call.id, fd.as_fd(), true, false)
    }

    /// Writes data and descriptors into the program's transaction.
    pub(super) fn hand_over(&mut self, call: &Notification, data: &[u8], fds: &[i32]) -> Reply {
        let mut header = TxnHeader {
            len: u32::try_from(data.len()).unwrap_or(u32::MAX),
            ..TxnHeader::empty()
        };
        for (slot, fd) in header.fds.iter_mut().zip(fds) {
            *slot = *fd;
        }
        let mut txn = header.to_bytes().to_vec();
        txn.extend_from_slice(data);
        match remote::write(call.tid, call.args[2], &txn) {
            Ok(()) => Reply::Value(0),
            Err(_) => Reply::Fail(Errno::FAULT),
        }
    }

    /// The device answered a command.
    pub(super) fn answered(&mut self, ticket: Ticket, response: Response) {
        let (call, reply) = match self.calls.remove(&ticket) {
            None => return,
            Some(Call::Send { call }) => {
                let reply = match response {
                    Response::Fault(fault) => self.refuse_send(fault.errno()),
                    Response::Ok | Response::New { .. } => Reply::Value(0),
                };
                (call, reply)
            }
            Some(Call::New {
                call,
                id,
                request,
                size,
            }) => {
                let reply = match response {
                    Response::New { .. } => self.finish_new(&call, id, request, size),
                    Response::Fault(fault) => {
                        self.driver.give_id(id);
                        self.refuse_new(fault.errno())
                    }
                    Response::Ok => Reply::Fail(Errno::PROTO),
                };
                (call, reply)
            }
        };
        self.reply(&call, reply);
    }

    fn finish_new(&mut self, call: &Notification, id: VfdId, mut request: [u8; 48], size: usize) -> Reply {
        self.driver.opened(id);
        let fd = match self.install(call, id) {
            Ok(fd) => fd,
            Err(errno) => {
                self.close(id);
                return self.refuse_new(errno);
            }
        };
        for (to, from) in request.iter_mut().skip(4).zip(fd.to_ne_bytes()) {
            *to = from;
        }
        match remote::write(call.tid, call.args[2], request.get(..size).unwrap_or_default()) {
            Ok(()) => Reply::Value(0),
            Err(_) => Reply::Fail(Errno::FAULT),
        }
    }

    pub(super) fn refuse_send(&mut self, errno: Errno) -> Reply {
        tracing::debug!(%errno, "SEND refused");
        self.stats.refused_send(errno_name(errno));
        Reply::Fail(errno)
    }

    fn refuse_new(&mut self, errno: Errno) -> Reply {
        tracing::debug!(%errno, "NEW refused");
        self.stats.refused_new(errno_name(errno));
        Reply::Fail(errno)
    }

    /// What a descriptor of the program is.
    pub(super) fn identify(&mut self, call: &Notification, fd: u64) -> Result<Found, Errno> {
        let fd = signed(fd);
        if fd < 0 {
            return Err(Errno::BADF);
        }
        let stat = rustix::fs::stat(format!("/proc/{}/fd/{fd}", call.tid)).map_err(|_gone| Errno::BADF)?;
        let mut duplicate = None;
        let found = self.table.find(&stat, || None);
        if found == Found::Other && self.table.has_inode(&stat) {
            duplicate = self.fetch(call, fd).ok().filter(|fd| fstat(fd).is_ok());
        }
        Ok(match duplicate {
            Some(duplicate) => self.table.find(&stat, || Some(duplicate)),
            None => found,
        })
    }
}

/// What NEW asks for.
enum NewVfd {
    Context(Vec<u8>),
    Memory(u64),
    Pipe(PipeEnd),
    Dmabuf,
}

impl NewVfd {
    const fn name(&self) -> &'static str {
        match self {
            Self::Context(_) => "new_context",
            Self::Memory(_) => "new_alloc",
            Self::Pipe(_) => "new_pipe",
            Self::Dmabuf => "new_dmabuf",
        }
    }

    fn command(self, id: VfdId) -> Command {
        match self {
            Self::Context(name) => Command::NewContext { id, name },
            Self::Memory(size) => Command::NewAlloc { id, size },
            Self::Pipe(end) => Command::NewPipe { id, end },
            Self::Dmabuf => Command::NewDmabuf,
        }
    }
}

fn room_of(call: &Notification) -> Result<usize, Errno> {
    let mut header = [0; TXN_HEADER];
    read_exact(call, call.args[2], &mut header)?;
    Ok((TxnHeader::from_bytes(&header).len as usize).min(MAX_RECV))
}

fn read_exact(call: &Notification, address: u64, into: &mut [u8]) -> Result<(), Errno> {
    match remote::read(call.tid, address, into) {
        Ok(count) if count == into.len() => Ok(()),
        _ => Err(Errno::FAULT),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let field = bytes.get(at..).and_then(|bytes| bytes.first_chunk::<4>());
    field.map_or(0, |field| u32::from_ne_bytes(*field))
}

/// The low half of an argument: what the kernel takes for an unsigned int.
pub(super) const fn low(argument: u64) -> u32 {
    let [a, b, c, d, ..] = argument.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The low half of an argument: what the kernel takes for an int.
pub(super) const fn signed(argument: u64) -> i32 {
    low(argument).cast_signed()
}

fn errno_name(errno: Errno) -> String {
    let name = match errno {
        Errno::NODEV => "ENODEV",
        Errno::INVAL => "EINVAL",
        Errno::BADFD => "EBADFD",
        Errno::NOENT => "ENOENT",
        Errno::NOTTY => "ENOTTY",
        Errno::NOMEM => "ENOMEM",
        Errno::NOSPC => "ENOSPC",
        Errno::MFILE => "EMFILE",
        Errno::FAULT => "EFAULT",
        other => return format!("errno {}", other.raw_os_error()),
    };
    name.to_owned()
}
