// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starting a guest under `heraldry-sim`, and playing its host.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use heraldry_virtio::guest::{Context, Device, Received};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tempfile::TempDir;

const ROLE: &str = "HERALDRY_TEST_GUEST";
const PATIENCE: Duration = Duration::from_secs(30);
const PATIENCE_SPEC: Timespec = Timespec {
    tv_sec: 30,
    tv_nsec: 0,
};

pub(crate) const SIM: &str = env!("CARGO_BIN_EXE_heraldry-sim");

/// The host of one guest: listens on the sockets named `wayland` and `other`.
pub(crate) struct Host {
    dir: TempDir,
    wayland: UnixListener,
    other: UnixListener,
    made_later: UnixListener,
    _out_of_bounds: [UnixListener; 4],
}

/// A connection from the guest.
pub(crate) struct Peer(UnixStream);

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A program that is killed when the test ends early.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// Its status; fails when it does not end.
    pub(crate) fn status(&mut self) -> ExitStatus {
        let pidfd = pidfd_open(self.pid(), PidfdFlags::empty()).unwrap();
        ready(&pidfd, PollFlags::IN);
        self.0.wait().unwrap()
    }
}

/// Waits for `flags` and returns what came.
pub(crate) fn ready(fd: impl AsFd, flags: PollFlags) -> PollFlags {
    let mut fds = [PollFd::new(&fd, flags)];
    assert_eq!(
        poll(&mut fds, Some(&PATIENCE_SPEC)),
        Ok(1),
        "nothing happened for too long"
    );
    fds[0].revents()
}

/// The guest's half must not go on with what the host's checks at the end.
#[expect(
    clippy::exit,
    reason = "the guest is a process of its own, whose status is what the host waits for"
)]
fn end_guest() -> ! {
    std::process::exit(0)
}

/// Runs both halves of the test called `name` (its full path), and returns the counters.
pub(crate) fn both(name: &str, host: impl FnOnce(&Host), guest: impl FnOnce(&Device)) -> String {
    with_options(&[], name, host, guest)
}

/// As [`both`], on a device with further options.
pub(crate) fn with_options(
    options: &[&str],
    name: &str,
    host: impl FnOnce(&Host),
    guest: impl FnOnce(&Device),
) -> String {
    if std::env::var_os(ROLE).is_some() {
        guest(&Device::open("/dev/wl0").unwrap());
        end_guest();
    }
    let world = Host::new();
    let mut command = world.sim();
    command.args(options);
    command.arg("--").arg(std::env::current_exe().unwrap());
    command
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, "1");
    let mut running = Running(command.stdout(Stdio::null()).spawn().unwrap());
    host(&world);
    let status = running.status();
    assert!(status.success(), "the guest failed: {status}");
    std::fs::read_to_string(world.dir.path().join("stats.json")).unwrap()
}

impl Host {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listen = |name: &str| UnixListener::bind(dir.path().join(name)).unwrap();
        let (wayland, other) = (listen("wayland"), listen("other"));
        drop(listen("deaf"));
        std::fs::create_dir(dir.path().join("later")).unwrap();
        let made_later = listen("later/wl-conn-18446744073709551615");
        // Somebody listens there, and no name leads to it.
        let out_of_bounds = ["wl-conn-1", "later/wl-conn-", "later/wl-conn-1x", "later/plain"].map(listen);
        Self {
            dir,
            wayland,
            other,
            made_later,
            _out_of_bounds: out_of_bounds,
        }
    }

    /// `heraldry-sim` with the sockets of this host; the program is still to be added.
    pub(crate) fn sim(&self) -> Command {
        let at = |name: &str, file: &str| format!("{name}={}", self.dir.path().join(file).display());
        let names = [
            "wayland",
            "heraldry-display",
            "__crosvm_memfd",
            "heraldry-connection",
        ];
        let mut sockets: Vec<_> = names.map(|name| at(name, "wayland")).to_vec();
        sockets.extend([at("other", "other"), at("deaf", "deaf"), at("", "other")]);
        let mut command = Command::new(SIM);
        command.arg("--sockets").arg(sockets.join(","));
        command.arg("--socket-dir").arg(self.dir.path().join("later"));
        command.arg("--stats").arg(self.dir.path().join("stats.json"));
        command
    }

    pub(crate) fn accept(&self) -> Peer {
        Self::accept_from(&self.wayland)
    }

    pub(crate) fn accept_other(&self) -> Peer {
        Self::accept_from(&self.other)
    }

    /// A connection to the socket that only `--socket-dir` leads to.
    pub(crate) fn accept_made_later(&self) -> Peer {
        Self::accept_from(&self.made_later)
    }

    fn accept_from(listener: &UnixListener) -> Peer {
        ready(listener, PollFlags::IN);
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Peer(stream)
    }
}

impl Peer {
    /// Sends all of `data`, and `fds` with its first bytes.
    pub(crate) fn send(&self, data: &[u8], fds: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(28))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        }
        let mut sent = sendmsg(&self.0, &[IoSlice::new(data)], &mut control, SendFlags::NOSIGNAL).unwrap();
        while sent < data.len() {
            sent += rustix::net::send(&self.0, &data[sent..], SendFlags::NOSIGNAL).unwrap();
        }
    }

    /// Receives exactly `len` bytes, and what descriptors come with them.
    pub(crate) fn recv(&self, len: usize) -> (Vec<u8>, Vec<OwnedFd>) {
        let (mut data, mut fds) = (Vec::new(), Vec::new());
        while data.len() < len {
            let mut buffer = vec![0; len - data.len()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(28))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut slices = [IoSliceMut::new(&mut buffer)];
            let count = recvmsg(&self.0, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)
                .unwrap()
                .bytes;
            assert!(count > 0, "the guest closed the connection");
            data.extend_from_slice(&buffer[..count]);
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(received) = message {
                    fds.extend(received);
                }
            }
        }
        (data, fds)
    }

    /// Waits for the guest's close.
    pub(crate) fn end(mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, []);
    }

    /// Sends everything back until the guest closes.
    pub(crate) fn echo(mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.0.read(&mut buffer).unwrap() {
                0 => return,
                count => self.send(&buffer[..count], &[]),
            }
        }
    }
}

/// What a guest has received.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) data: Vec<u8>,
    pub(crate) fds: VecDeque<OwnedFd>,
}

impl Inbox {
    /// Receives until there are `len` bytes and `fds` descriptors.
    pub(crate) fn wait(&mut self, context: &Context, len: usize, fds: usize) {
        while self.data.len() < len || self.fds.len() < fds {
            let received = context.recv(&mut self.data, &mut self.fds).unwrap();
            assert!(!received.eof, "the host closed the connection");
            if received.would_block {
                ready(context, PollFlags::IN);
            }
        }
    }

    pub(crate) fn once(&mut self, context: &Context) -> Received {
        context.recv(&mut self.data, &mut self.fds).unwrap()
    }
}

/// Memory of an ordinary program.
pub(crate) fn memfd(content: &[u8], size: u64) -> OwnedFd {
    let fd = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&fd, size).unwrap();
    rustix::io::pwrite(&fd, content, 0).unwrap();
    fd
}

pub(crate) fn read_at_start(fd: impl AsFd, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    let count = rustix::io::pread(fd, &mut data[..], 0).unwrap();
    data.truncate(count);
    data
}
