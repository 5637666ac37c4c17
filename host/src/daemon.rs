// SPDX-License-Identifier: MIT OR Apache-2.0
//! The daemon's loop: one thread, one epoll, nothing that blocks.
//!
//! | socket in the folder | who connects |
//! |---|---|
//! | `vm/NAME/wayland-0` | the VMM of app VM NAME (or, in development, a program) |
//! | `compositor/display` | the compositor VM's context `heraldry-display`: announcements |
//! | `compositor/connection` | its contexts `heraldry-connection`: one per taken client, a token first |
//! | `compositor/wl-conn-N` | its context `wl-conn-N`: one client, with `hand-over "name"` |
//! | `compositor/memfd` | its context `__crosvm_memfd`: the memory server |
//! | `admin` | `heraldry-host stats` |

mod accepting;
mod compositor_side;
mod display_side;
mod vm_side;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use heraldry_config::{Config, ConfigErrors, Owner};
use heraldry_virtio::wire::memfd::MemfdRequest;
use heraldry_virtio::wire::{RecordReader, VmName};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

use self::accepting::Pace;
use self::display_side::DisplayPeer;
use crate::handover::Waiting;
use crate::listeners::{self, ListenError, Listener};
use crate::lock::LockError;
use crate::memory::MemoryServer;
use crate::splice::{Side, Splice};
use crate::stand_in::StandIns;
use crate::stats::{Stats, VmStats};

/// Why the daemon cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration has errors.
    #[error("{0}")]
    Config(ConfigErrors),
    /// A socket of ours cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Another daemon serves the folder, or the lock that would say so cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The event loop failed.
    #[error("the event loop failed")]
    Epoll(#[from] Errno),
    /// Signals cannot be received.
    #[error("cannot receive signals")]
    Signals(#[from] io::Error),
}

/// Owners of VMs must get to their own socket, and see nothing on the way.
const DIR_MODE: u32 = 0o711;

/// What an event is about. Packed into the 64 bits that epoll keeps for each descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Terminate,
    Reload,
    Vm(u64),
    DisplayListener,
    ConnectionListener,
    MemfdListener,
    AdminListener,
    Display,
    Greeting(u64),
    Memfd(u64),
    Pending(u64),
    Splice(u64, Side),
    Named(u64),
    StandIns,
}

impl Key {
    fn pack(self) -> EventData {
        let (kind, id) = match self {
            Self::Terminate => (0, 0),
            Self::Reload => (1, 0),
            Self::Vm(id) => (2, id),
            Self::DisplayListener => (3, 0),
            Self::ConnectionListener => (4, 0),
            Self::MemfdListener => (5, 0),
            Self::AdminListener => (6, 0),
            Self::Display => (7, 0),
            Self::Greeting(id) => (8, id),
            Self::Memfd(id) => (9, id),
            Self::Pending(id) => (10, id),
            Self::Splice(id, Side::Client) => (11, id),
            Self::Splice(id, Side::Compositor) => (12, id),
            Self::Named(number) => (13, number),
            Self::StandIns => (14, 0),
        };
        EventData::new_u64(id << 4 | kind)
    }

    fn unpack(data: EventData) -> Option<Self> {
        let (kind, id) = (data.u64() & 15, data.u64() >> 4);
        Some(match kind {
            0 => Self::Terminate,
            1 => Self::Reload,
            2 => Self::Vm(id),
            3 => Self::DisplayListener,
            4 => Self::ConnectionListener,
            5 => Self::MemfdListener,
            6 => Self::AdminListener,
            7 => Self::Display,
            8 => Self::Greeting(id),
            9 => Self::Memfd(id),
            10 => Self::Pending(id),
            11 => Self::Splice(id, Side::Client),
            12 => Self::Splice(id, Side::Compositor),
            13 => Self::Named(id),
            14 => Self::StandIns,
            _ => return None,
        })
    }
}

/// A VM with its listener.
struct VmEntry {
    id: u64,
    listener: Listener,
    owner: Option<Owner>,
    pace: Pace,
    /// The boot instance; `None` while no connection of the VM is open.
    boot: Option<u64>,
    connections: usize,
    log: LogBudget,
}

/// A spliced connection and whose it is.
struct Active {
    vm: VmName,
    /// As it was announced.
    number: u64,
    splice: Splice,
    /// What epoll watches on the client's end and on the compositor's.
    watched: [EventFlags; 2],
}

/// A `heraldry-connection` whose token has not come in full.
struct Greeting {
    fd: OwnedFd,
    bytes: Vec<u8>,
    deadline: Instant,
}

/// A connection to the memory server.
struct MemfdPeer {
    fd: OwnedFd,
    reader: RecordReader<MemfdRequest>,
}

/// Allows a few log lines in ten seconds and counts the rest, so that no VM can fill the log.
#[derive(Debug)]
struct LogBudget {
    since: Instant,
    used: u32,
    dropped: u64,
}

impl LogBudget {
    const LINES: u32 = 10;
    const SPAN: Duration = Duration::from_secs(10);

    fn new() -> Self {
        Self {
            since: Instant::now(),
            used: 0,
            dropped: 0,
        }
    }

    /// Whether a line may be written, and how many were not since the last.
    fn allow(&mut self) -> Option<u64> {
        let now = Instant::now();
        if now.duration_since(self.since) >= Self::SPAN {
            self.since = now;
            self.used = 0;
        }
        if self.used >= Self::LINES {
            self.dropped += 1;
            return None;
        }
        self.used += 1;
        Some(std::mem::take(&mut self.dropped))
    }
}

/// The daemon.
pub struct Daemon {
    epoll: OwnedFd,
    dir: PathBuf,
    config_path: PathBuf,
    config: Config,
    vms: BTreeMap<VmName, VmEntry>,
    display_listener: Listener,
    connection_listener: Listener,
    memfd_listener: Listener,
    admin_listener: Listener,
    display: Option<DisplayPeer>,
    waiting: Waiting,
    greetings: BTreeMap<u64, Greeting>,
    memfds: BTreeMap<u64, MemfdPeer>,
    active: BTreeMap<u64, Active>,
    /// Connections of which one side has closed, with the time that the other has.
    closing: BTreeMap<u64, Instant>,
    resting: Vec<(Instant, Key)>,
    memory: MemoryServer,
    stand_ins: StandIns,
    counters: Stats,
    next_id: u64,
    log: LogBudget,
    terminate: UnixStream,
    reload: UnixStream,
    stopping: bool,
    _lock: std::fs::File,
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl Daemon {
    /// Reads the configuration and opens every socket; `dir` overrides the configuration's folder.
    ///
    /// # Errors
    ///
    /// The configuration has errors, or a socket cannot be had.
    pub fn open(config_path: &Path, dir: Option<&Path>) -> Result<Self, DaemonError> {
        let config = heraldry_config::load(config_path).map_err(DaemonError::Config)?;
        let dir = dir.map_or_else(|| config.host.dir.clone(), Path::to_owned);
        // Until the lock is ours, it may be another daemon's folder.
        listeners::folder(&dir, DIR_MODE)?;
        let lock = crate::lock::lock(&dir)?;
        // Nobody else gets in before every socket has its mode.
        listeners::folder(&dir, 0o700)?;
        listeners::folder(&dir.join("vm"), DIR_MODE)?;
        let inner = dir.join("compositor");
        listeners::folder(&inner, 0o700)?;
        listeners::sweep(&inner);
        raise_descriptor_limit();
        let memory = MemoryServer::new(config.host.memfd);
        let (terminate, reload) = signals()?;
        let mut daemon = Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            display_listener: Listener::bind(&inner.join("display"))?,
            connection_listener: Listener::bind(&inner.join("connection"))?,
            memfd_listener: Listener::bind(&inner.join("memfd"))?,
            admin_listener: Listener::bind(&dir.join("admin"))?,
            dir,
            config_path: config_path.to_owned(),
            vms: BTreeMap::new(),
            config,
            display: None,
            waiting: Waiting::default(),
            greetings: BTreeMap::new(),
            memfds: BTreeMap::new(),
            active: BTreeMap::new(),
            closing: BTreeMap::new(),
            resting: Vec::new(),
            memory,
            stand_ins: StandIns::new()?,
            counters: Stats::default(),
            next_id: 1,
            log: LogBudget::new(),
            terminate,
            reload,
            stopping: false,
            _lock: lock,
        };
        daemon.watch_own()?;
        if let Some(error) = daemon.open_listeners().pop() {
            return Err(error.into());
        }
        listeners::folder(&daemon.dir, DIR_MODE)?;
        Ok(daemon)
    }

    fn watch_own(&self) -> Result<(), DaemonError> {
        let own: [(BorrowedFd<'_>, Key); 7] = [
            (self.terminate.as_fd(), Key::Terminate),
            (self.reload.as_fd(), Key::Reload),
            (self.display_listener.socket.as_fd(), Key::DisplayListener),
            (self.connection_listener.socket.as_fd(), Key::ConnectionListener),
            (self.memfd_listener.socket.as_fd(), Key::MemfdListener),
            (self.admin_listener.socket.as_fd(), Key::AdminListener),
            (self.stand_ins.events(), Key::StandIns),
        ];
        for (fd, key) in own {
            epoll::add(&self.epoll, fd, key.pack(), EventFlags::IN)?;
        }
        Ok(())
    }

    /// Runs until SIGTERM or SIGINT.
    ///
    /// # Errors
    ///
    /// The event loop itself fails; peers cannot make it.
    pub fn run(&mut self) -> Result<(), DaemonError> {
        info!(dir = %self.dir.display(), vms = self.vms.len(), "listening");
        // No service manager is no error.
        let _none = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        let mut events = Vec::with_capacity(64);
        while !self.stopping {
            let timeout = self.next_deadline().map(|at| {
                let left = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
                Timespec {
                    tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: i64::from(left.subsec_nanos()),
                }
            });
            events.clear();
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                timeout.as_ref(),
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            for event in &events {
                let (flags, data) = (event.flags, event.data);
                if let Some(key) = Key::unpack(data) {
                    self.event(key, flags);
                }
            }
            self.expire();
        }
        let _none = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        info!("stopped");
        Ok(())
    }

    fn event(&mut self, key: Key, flags: EventFlags) {
        match key {
            Key::Terminate => self.stopping = true,
            Key::Reload => self.reload(),
            Key::Vm(id) => self.accept_client(id),
            Key::DisplayListener => self.accept_display(),
            Key::ConnectionListener => self.accept_greeting(),
            Key::MemfdListener => self.accept_memfd(),
            Key::AdminListener => self.serve_admin(),
            Key::Named(number) => self.accept_named(number),
            Key::StandIns => self.stand_ins.notice(),
            Key::Display => {
                self.fill_display();
                self.read_display();
            }
            Key::Greeting(id) => self.read_greeting(id),
            Key::Memfd(id) => self.read_memfd(id),
            Key::Pending(number) => self.pending_gone(number),
            Key::Splice(id, side) => self.splice(id, side, flags),
        }
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn next_deadline(&self) -> Option<Instant> {
        let greeting = self.greetings.values().map(|greeting| greeting.deadline);
        let closing = self.closing.values().copied();
        let resting = self.resting.iter().map(|(until, _)| *until);
        let all = greeting.chain(closing).chain(resting);
        all.chain(self.waiting.next_deadline())
            .chain(self.stand_ins.next_deadline())
            .min()
    }

    fn expire(&mut self) {
        let now = Instant::now();
        for number in self.waiting.overdue(now) {
            self.withdraw(number, "the compositor did not take it in time");
        }
        self.greetings.retain(|_, greeting| greeting.deadline > now);
        self.stand_ins.expire(now);
        let over = |(id, deadline): (&u64, &Instant)| (*deadline <= now).then_some(*id);
        let over: Vec<u64> = self.closing.iter().filter_map(over).collect();
        for id in over {
            self.overdue(id);
        }
        self.wake(now);
    }

    /// SIGHUP: a broken configuration changes nothing.
    fn reload(&mut self) {
        let mut sink = [0; 64];
        while matches!(io::Read::read(&mut &self.reload, &mut sink), Ok(n) if n > 0) {}
        match heraldry_config::load(&self.config_path) {
            Ok(config) => {
                self.memory.set_limits(config.host.memfd);
                self.config = config;
                for error in self.open_listeners() {
                    let error = anyhow::Error::from(error);
                    warn!("a VM of the new configuration cannot connect: {error:#}");
                }
                self.apply_rules();
                info!(vms = self.vms.len(), "configuration reloaded");
            }
            Err(errors) => warn!("configuration not reloaded, the old one stays in force:\n{errors}"),
        }
    }

    /// Writes the counters to whoever asks.
    fn serve_admin(&mut self) {
        let Some(stream) = self.accept(Key::AdminListener) else {
            return;
        };
        let mut text = serde_json::to_vec(&self.stats()).unwrap_or_default();
        text.push(b'\n');
        // The kernel takes all of it at once; whoever is gone already needs no answer.
        let _limit = set_socket_send_buffer_size(&stream, text.len().saturating_mul(2));
        let _gone = crate::splice::send(stream.as_fd(), &text, &[]);
    }

    fn stats(&self) -> Stats {
        let mut vms: BTreeMap<String, VmStats> = self
            .vms
            .iter()
            .map(|(name, vm)| {
                let stats = VmStats {
                    connections: vm.connections,
                    boot: vm.boot.unwrap_or(0),
                    pipes: self.stand_ins.kept(name),
                    ..VmStats::default()
                };
                (name.as_str().to_owned(), stats)
            })
            .collect();
        for (name, used) in self.memory.used() {
            vms.entry(name.as_str().to_owned()).or_default().memory = *used;
        }
        Stats {
            compositor: self.display.is_some(),
            connections: self.active.len(),
            waiting: self.waiting.numbers().len(),
            waiting_for_compositor: self.waiting.untold(),
            vms,
            memory_for_others: *self.memory.used_by_others(),
            ..Stats {
                accepted: self.counters.accepted,
                faults: self.counters.faults,
                withdrawn: self.counters.withdrawn,
                ..Stats::default()
            }
        }
    }
}

/// Every connection costs two descriptors, and the default limit is 1024.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(errno) = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    ) {
        warn!(%errno, "cannot raise the limit of open files");
    }
}

/// Descriptors that become readable at SIGTERM or SIGINT, and at SIGHUP.
fn signals() -> io::Result<(UnixStream, UnixStream)> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::low_level::pipe::register;
    let (terminate, write) = UnixStream::pair()?;
    register(SIGTERM, write.try_clone()?)?;
    register(SIGINT, write)?;
    let (reload, write) = UnixStream::pair()?;
    register(SIGHUP, write)?;
    reload.set_nonblocking(true)?;
    Ok((terminate, reload))
}
