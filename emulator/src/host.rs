// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's side of vfds: sockets, pipes and memory, never waited for.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use heraldry_wire::descriptors::{self, Arrival};
use heraldry_wire::virtwl::{MAX_FDS, MAX_MEMORY};
use rustix::fs::{FileType, MemfdFlags, OFlags, SealFlags, fcntl_add_seals, fcntl_getfl, fstat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::pipe::{PipeFlags, pipe_with};

use heraldry_virtio::device::{Import, PipeEnd};

/// What stands for a host descriptor in the machine.
#[derive(Clone)]
pub(super) enum Handle {
    /// A socket, memory, or the end of a pipe that the supervisor works with.
    Host(Rc<OwnedFd>),
    /// The end of a pipe that the program works with itself. The supervisor has it only until it is installed there.
    Guest(Rc<Cell<Option<OwnedFd>>>),
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host(_) => "Host",
            Self::Guest(_) => "Guest",
        })
    }
}

impl Handle {
    pub(super) fn host(fd: OwnedFd) -> Self {
        Self::Host(Rc::new(fd))
    }

    pub(super) fn guest(fd: OwnedFd) -> Self {
        Self::Guest(Rc::new(Cell::new(Some(fd))))
    }

    /// The descriptor, if the supervisor has it.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Host(fd) => Some(fd.as_fd()),
            Self::Guest(_) => None,
        }
    }
}

/// Connects to the socket at `path`.
pub(super) fn connect_to(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Memory of `size` bytes, as crosvm wl.rs makes it, but sealed against changes of size.
pub(super) fn make_memory(size: u64) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = rustix::fs::memfd_create("virtwl_alloc", flags)?;
    rustix::fs::ftruncate(&memory, size)?;
    fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW)?;
    Ok(memory)
}

/// A pipe; `near` is the end that stays with the supervisor or the program.
pub(super) fn make_pipe(end: PipeEnd) -> Result<(Handle, Handle), Errno> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok(match end {
        PipeEnd::Read => (Handle::guest(read), Handle::host(write)),
        PipeEnd::Write => {
            rustix::fs::fcntl_setfl(&write, OFlags::WRONLY | OFlags::NONBLOCK)?;
            (Handle::host(write), Handle::host(read))
        }
    })
}

/// What a host socket gave.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A message.
    Data(Vec<u8>, Vec<Import<Handle>>),
    /// Nothing now.
    Nothing,
    /// The end, or as good as.
    End,
}

/// Receives at most `room` bytes and 28 descriptors.
pub(super) fn receive(socket: BorrowedFd<'_>, room: usize) -> Incoming {
    let (mut data, mut fds) = (vec![0; room], Vec::new());
    let result = descriptors::receive(socket, &mut data, &mut fds);
    let imports: Vec<_> = fds.into_iter().map(classify).collect();
    match result {
        Ok(message) if message.descriptors != Arrival::Whole => {
            tracing::warn!(
                "a message from the host has more than {MAX_FDS} descriptors; its connection ends"
            );
            Incoming::End
        }
        Ok(message) if message.bytes == 0 && imports.is_empty() => Incoming::End,
        Ok(message) => {
            data.truncate(message.bytes);
            Incoming::Data(data, imports)
        }
        Err(Errno::AGAIN | Errno::INTR) => Incoming::Nothing,
        Err(errno) => {
            tracing::debug!(%errno, "a host socket broke");
            Incoming::End
        }
    }
}

/// What kind of vfd a descriptor from the host becomes. Its size is looked up here and never again.
fn classify(fd: OwnedFd) -> Import<Handle> {
    let (Ok(stat), Ok(flags)) = (fstat(&fd), fcntl_getfl(&fd)) else {
        return Import::Refused;
    };
    if flags.contains(OFlags::PATH) {
        return Import::Refused;
    }
    let write_only = flags & OFlags::ACCMODE == OFlags::WRONLY;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if write_only => Import::Refused,
        FileType::RegularFile => {
            // Fails for memory that allows no seals; then a host program that shrinks it sends the program SIGBUS.
            if fcntl_add_seals(&fd, SealFlags::SHRINK).is_err() {
                tracing::debug!("memory from the host cannot be sealed against shrinking");
            }
            let size = fstat(&fd).map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0));
            if size == 0 || size > MAX_MEMORY {
                tracing::warn!(
                    size,
                    "memory from the host cannot be announced; its connection ends"
                );
                return Import::Refused;
            }
            Import::Memory {
                handle: Handle::host(fd),
                size,
            }
        }
        FileType::Fifo => {
            let write = flags.contains(OFlags::WRONLY) || flags.contains(OFlags::RDWR);
            let end = if write { PipeEnd::Write } else { PipeEnd::Read };
            Import::Pipe {
                handle: Handle::guest(fd),
                end,
            }
        }
        other => {
            tracing::warn!(kind = ?other, "a descriptor from the host is neither memory nor a pipe");
            Import::Refused
        }
    }
}

/// Writes to a socket, or to a pipe, which takes no descriptors.
pub(super) fn transmit(to: BorrowedFd<'_>, data: &[u8], handles: &[Handle]) -> Result<usize, Errno> {
    let is_socket = fstat(to).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket);
    if !is_socket {
        return rustix::io::write(to, data);
    }
    let fds: Vec<_> = handles.iter().filter_map(Handle::fd).collect();
    descriptors::send(to, data, &fds)
}

/// A closed vfd's socket with data that is still to be written.
#[derive(Debug)]
pub(super) struct Lingering {
    pub(super) handle: Handle,
    pub(super) rest: VecDeque<heraldry_virtio::device::OutMessage<Handle>>,
}

impl Lingering {
    /// Writes what the socket takes. True when nothing is left or the socket is broken.
    pub(super) fn flush(&mut self) -> bool {
        let Some(to) = self.handle.fd() else { return true };
        while let Some(message) = self.rest.front_mut() {
            match transmit(to, &message.data, &message.handles) {
                Ok(count) if count == message.data.len() => {
                    self.rest.pop_front();
                }
                Ok(count) => {
                    message.data.drain(..count);
                    message.handles.clear();
                }
                Err(Errno::AGAIN) => return false,
                Err(Errno::INTR) => {}
                Err(_broken) => return true,
            }
        }
        true
    }
}
