// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors with which whoever gets them has to wait, for as long as their sender likes. For tests of the host.

mod fuse;
mod sys;

pub use fuse::{SERVE, serve};

use std::io::IoSlice;
use std::io::{Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size, set_socket_send_buffer_size};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A TCP socket with unsent data that lingers: close(2) waits.
    Linger,
    /// A file of a file system of the sender's own: its last words are waited for, by close(2) and exit(2).
    Fuse,
    /// Memory that somebody is writing to, from a page that never comes: sealing waits for the writer.
    Memory,
    /// A pipe that somebody is writing to in that way: whatever is asked of it waits.
    Pipe,
}

/// How it comes to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Sent by a client that the compositor has.
    Sent,
    /// Left in the queue of a client that hangs up at once.
    HangUp,
    /// Left in the queues of more clients than are accepted.
    Backlog,
}

/// All kinds, with their names.
pub const KINDS: [(&str, Kind); 4] = [
    ("linger", Kind::Linger),
    ("fuse", Kind::Fuse),
    ("memory", Kind::Memory),
    ("pipe", Kind::Pipe),
];

/// All ways, with their names.
pub const WAYS: [(&str, Way); 3] = [
    ("sent", Way::Sent),
    ("hang-up", Way::HangUp),
    ("backlog", Way::Backlog),
];

/// What the program says when it has done it.
pub const DONE: &str = "it is done";
/// What it says when the system does not let it, with the reason behind.
pub const CANNOT: &str = "not here: ";

/// In this time a client has an answer, unless somebody waits.
const ANSWER: Duration = Duration::from_secs(2);
/// The most clients that send something.
const MOST: usize = 40;
/// How long a socket lingers.
const LINGER: Duration = Duration::from_secs(120);

/// The command line that sends `kind` to a VM's socket.
#[must_use]
pub fn command(kind: Kind, way: Way, socket: &Path) -> Command {
    fn name<T: PartialEq>(all: &[(&'static str, T)], one: &T) -> &'static str {
        all.iter()
            .find(|(_, each)| each == one)
            .map_or("", |(name, _)| name)
    }
    let stuck = crate::rig::program("heraldry-stuck");
    let mut command = if kind == Kind::Linger {
        Command::new(stuck)
    } else {
        // A user of no rights can do this wherever the kernel has user namespaces.
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]).arg(stuck);
        command
    };
    command.args([name(&KINDS, &kind), name(&WAYS, &way)]).arg(socket);
    command
}

/// Sends something of a kind in a way to the socket of a VM, and keeps it alive.
///
/// # Errors
///
/// It could not; why.
pub fn send(kind: Kind, way: Way, socket: &Path) -> Result<(), String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    let count = match (kind, way) {
        (_, Way::Backlog) => 150,
        (Kind::Linger, _) => 8,
        _ => 1,
    };
    let mut folder = (kind != Kind::Linger).then(fuse::start).transpose()?;
    let shared = match (kind, &mut folder) {
        (Kind::Memory | Kind::Pipe, Some(folder)) => Some(written_to(kind, folder)?),
        _ => None,
    };
    let mut clients = Vec::new();
    while clients.len() < count {
        // More may not fit into the queue of those that wait.
        let Ok(client) = UnixStream::connect(socket) else {
            break;
        };
        clients.push(client);
    }
    // Those that came last have not been accepted yet.
    let with = clients.len().saturating_sub(MOST);
    for (client, before) in clients.iter_mut().skip(with).zip(0..) {
        if way == Way::Sent
            && let Err(error) = registry(client)
        {
            if before == 0 {
                return Err(failed("no answer", &error));
            }
            // Whoever would have to answer waits.
            break;
        }
        let fd = match (&shared, &folder) {
            (Some(shared), _) => shared.try_clone().map_err(|error| failed("a copy", &error))?,
            (None, Some(folder)) => folder.open()?,
            (None, None) => lingering().map_err(|error| failed("a socket", &error))?,
        };
        if kind == Kind::Linger {
            let again = client.try_clone().map_err(|error| failed("a copy", &error))?;
            let sent = std::thread::spawn(move || {
                let sent = send_with(&again, &fd);
                // At once: whoever has it last waits, and that should not be us.
                drop(fd);
                sent
            });
            // If it is us, this one waits alone.
            std::thread::sleep(Duration::from_millis(5));
            if sent.is_finished() {
                sent.join()
                    .unwrap_or(Ok(()))
                    .map_err(|error| failed("a client", &error))?;
            }
        } else {
            send_with(client, &fd).map_err(|error| failed("a client", &error))?;
            keep(fd);
        }
    }
    match way {
        Way::Sent => keep(clients),
        Way::HangUp | Way::Backlog => drop(clients),
    }
    Ok(())
}

/// Keeps something for as long as this process lives: closing it could take for ever.
fn keep<T>(kept: T) {
    Box::leak(Box::new(kept));
}

fn send_with(client: &UnixStream, fd: &OwnedFd) -> Result<(), Errno> {
    let fds = [fd.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let bytes = [IoSlice::new(&GET_REGISTRY)];
    sendmsg(client, &bytes, &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// `wl_display.get_registry`, with the id 2.
const GET_REGISTRY: [u8; 12] = [1, 0, 0, 0, 1, 0, 12, 0, 2, 0, 0, 0];

/// Asks for the registry and waits for the first answer: from here on the compositor has the client.
fn registry(client: &mut UnixStream) -> std::io::Result<()> {
    client.set_read_timeout(Some(ANSWER))?;
    client.write_all(&GET_REGISTRY)?;
    client.read_exact(&mut [0; 8])
}

/// A socket whose close waits.
fn lingering() -> std::io::Result<OwnedFd> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // More than the other side takes is to be left.
    set_socket_recv_buffer_size(&listener, 2048)?;
    let mut socket = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    // Nobody ever reads it.
    keep(far);
    socket.set_nonblocking(true)?;
    set_socket_send_buffer_size(&socket, 1 << 16)?;
    while socket.write(&[0; 65536]).is_ok() {}
    set_socket_linger(&socket, Some(LINGER))?;
    Ok(socket.into())
}

/// Memory or a pipe that a thread is writing to for ever.
fn written_to(kind: Kind, folder: &mut fuse::Folder) -> Result<OwnedFd, String> {
    let source = sys::map(folder.open()?)?;
    let (target, writer) = if kind == Kind::Memory {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = memfd_create("stuck", flags).map_err(|error| error.to_string())?;
        ftruncate(&memory, 4096).map_err(|error| error.to_string())?;
        let again = memory.try_clone().map_err(|error| error.to_string())?;
        (memory, again)
    } else {
        let (read, write) = rustix::pipe::pipe().map_err(|error| error.to_string())?;
        (read, write)
    };
    std::thread::spawn(move || rustix::io::write(&writer, source));
    folder.wait_for_a_reader()?;
    Ok(target)
}
