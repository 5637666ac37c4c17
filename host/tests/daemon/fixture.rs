// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starts a daemon in a folder of its own, and plays the compositor and the programs.

use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use heraldry_identity::VmName;
use heraldry_wire::Record as _;
use heraldry_wire::connection::TokenRecord;
use heraldry_wire::display::{Announcement, CompositorRecord, HostRecord, RECORD_LEN, Way};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const TWO_VMS: &str =
    "schema 1\nvm \"work\" { color \"#1f5fbf\" }\nvm \"play\" { color \"#2e8b57\" }\n";

/// A running daemon with its folder.
pub(crate) struct World {
    pub(crate) temp: TempDir,
    child: Option<Child>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether there can be two users here. Where not, it is said, also by a test that passes.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        let test = std::thread::current();
        let name = test.name().unwrap_or("a test");
        let _shown = writeln!(std::io::stderr(), "NOT TESTED, only root can: {name}");
    }
    root
}

/// Waits until `done`.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl World {
    pub(crate) fn new(config: &str) -> Self {
        let mut world = Self::prepared(config);
        world.start();
        world
    }

    /// The folder and the configuration, without a daemon.
    pub(crate) fn prepared(config: &str) -> Self {
        let world = Self {
            temp: tempfile::tempdir().unwrap(),
            child: None,
        };
        world.configure(config);
        world
    }

    pub(crate) fn configure(&self, config: &str) {
        std::fs::write(self.temp.path().join("config.kdl"), config).unwrap();
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.temp.path().join("run")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// The command line of a daemon for this folder.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let config = self.temp.path().join("config.kdl");
        [
            env!("CARGO_BIN_EXE_heraldry-host"),
            "--log",
            "debug",
            "run",
            "--config",
            config.to_str().unwrap(),
            "--dir",
            self.dir().to_str().unwrap(),
        ]
        .map(str::to_owned)
        .to_vec()
    }

    pub(crate) fn start(&mut self) {
        let arguments = self.arguments();
        self.start_as(Command::new(&arguments[0]).args(&arguments[1..]));
    }

    pub(crate) fn start_as(&mut self, command: &mut Command) {
        let log = std::fs::File::create(self.temp.path().join("log")).unwrap();
        let log_again = log.try_clone().unwrap();
        self.child = Some(command.stdout(log_again).stderr(log).spawn().unwrap());
        until("the daemon", || {
            let log = self.log();
            assert!(!log.contains("config.kdl:"), "{log}");
            log.contains("listening")
        });
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.temp.path().join("log")).unwrap()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// The daemon and the processes that it has started.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let pid = self.pid().as_raw_nonzero().get();
        let started = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let started = started.split_whitespace().map(|pid| pid.parse().unwrap());
        std::iter::once(pid).chain(started).collect()
    }

    /// A signal to all of them.
    pub(crate) fn signal_all(&self, signal: Signal) {
        for pid in self.pids() {
            kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        }
    }

    /// Of all processes of the daemon.
    fn sum<N: std::iter::Sum>(&self, of_one: impl Fn(i32) -> N) -> N {
        self.pids().into_iter().map(of_one).sum()
    }

    /// Reads the new configuration.
    pub(crate) fn reload(&self, config: &str) {
        self.configure(config);
        let count = |log: &str| log.matches("reloaded").count();
        let before = count(&self.log());
        self.signal(Signal::HUP);
        until("the reload", || count(&self.log()) > before);
    }

    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.take().unwrap().wait().unwrap()
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ended = child.kill();
            let _ended = child.wait();
        }
    }

    /// A program of a VM connects.
    pub(crate) fn client(&self, vm: &str) -> Peer {
        Peer::connect(&self.path(&format!("vm/{vm}/wayland-0")))
    }

    pub(crate) fn display(&self) -> Display {
        let peer = Peer::connect(&self.path("compositor/display"));
        let mut display = Display { peer };
        assert_eq!(display.next(), HostRecord::Hello);
        display.send(&CompositorRecord::Hello);
        display
    }

    /// Comes for an announced connection, the way that it was announced.
    pub(crate) fn take(&self, announcement: &Announcement) -> Peer {
        match &announcement.way {
            Way::Token(token) => {
                let peer = Peer::connect(&self.path("compositor/connection"));
                let record = TokenRecord {
                    number: announcement.number,
                    token: *token,
                };
                peer.send(&record.encode(), &[]);
                peer
            }
            Way::Name(name) => Peer::connect(&self.path("compositor").join(name.as_str())),
        }
    }

    /// A connected client with the compositor's end.
    pub(crate) fn joined(&self, display: &mut Display, vm: &str) -> (Peer, Peer) {
        let client = self.client(vm);
        let announcement = display.announcement();
        assert_eq!(announcement.vm.as_str(), vm);
        let compositor = self.take(&announcement);
        client.send(b"?", &[]);
        assert_eq!(compositor.recv(1).0, b"?");
        (client, compositor)
    }

    pub(crate) fn stats(&self) -> serde_json::Value {
        let output = Command::new(env!("CARGO_BIN_EXE_heraldry-host"))
            .args(["stats", "--dir"])
            .arg(self.dir())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success());
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Nothing is open or counted any more.
    pub(crate) fn is_idle(&self) -> bool {
        let stats = self.stats();
        let vms = stats["vms"].as_object().unwrap();
        stats["connections"] == 0
            && stats["waiting"] == 0
            && vms.values().all(|vm| vm["connections"] == 0 && vm["boot"] == 0)
    }

    pub(crate) fn descriptors(&self) -> usize {
        self.sum(|pid| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count())
    }

    /// Processor time of the daemon, in ticks of 10 ms.
    pub(crate) fn ticks(&self) -> u64 {
        self.sum(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
            fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
        })
    }

    /// Memory of the daemon in KiB.
    pub(crate) fn kibibytes(&self) -> u64 {
        self.sum(|pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        })
    }

    /// Fails if the daemon is busy while nothing happens.
    pub(crate) fn assert_calm(&self) {
        let before = self.ticks();
        std::thread::sleep(Duration::from_millis(500));
        let used = self.ticks() - before;
        assert!(used <= 10, "{used} of 50 ticks used");
    }
}

/// A connection to the daemon.
pub(crate) struct Peer(pub(crate) UnixStream);

impl Peer {
    pub(crate) fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    pub(crate) fn send(&self, bytes: &[u8], fds: &[OwnedFd]) {
        let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(29))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(&borrowed)));
        let sent = sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).unwrap();
        assert_eq!(sent, bytes.len());
    }

    /// Receives exactly `len` bytes.
    pub(crate) fn recv(&self, len: usize) -> (Vec<u8>, Vec<OwnedFd>) {
        let (mut bytes, mut fds) = (Vec::new(), Vec::new());
        while bytes.len() < len {
            let mut buffer = vec![0; len - bytes.len()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(28))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let slices = &mut [IoSliceMut::new(&mut buffer)];
            let message = recvmsg(&self.0, slices, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
            assert!(message.bytes > 0, "closed after {} of {len} bytes", bytes.len());
            bytes.extend_from_slice(&buffer[..message.bytes]);
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    fds.extend(rights);
                }
            }
        }
        (bytes, fds)
    }

    /// Waits for the daemon to close, and returns what it sent before.
    pub(crate) fn end(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
        rest
    }

    /// Writes for as long as the daemon takes it; returns how much it took.
    pub(crate) fn flood(&mut self) -> usize {
        self.0
            .set_write_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let mut total = 0;
        while let Ok(count) = self.0.write(&[7; 4096]) {
            total += count;
        }
        total
    }
}

/// The compositor's display socket.
pub(crate) struct Display {
    pub(crate) peer: Peer,
}

impl Display {
    pub(crate) fn send(&self, record: &CompositorRecord) {
        self.peer.send(&record.encode(), &[]);
    }

    pub(crate) fn next(&mut self) -> HostRecord {
        HostRecord::decode(&self.peer.recv(RECORD_LEN).0).unwrap()
    }

    pub(crate) fn announcement(&mut self) -> Announcement {
        match self.next() {
            HostRecord::Announce(announcement) => announcement,
            other => panic!("not an announcement: {other:?}"),
        }
    }
}

/// Sealable memory.
pub(crate) fn memfd(content: &[u8]) -> OwnedFd {
    let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create("test", flags).unwrap();
    rustix::io::write(&fd, content).unwrap();
    fd
}

pub(crate) fn vm(name: &str) -> VmName {
    VmName::new(name).unwrap()
}
