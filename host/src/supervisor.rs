// SPDX-License-Identifier: MIT OR Apache-2.0
//! The supervisor: it has the configuration, the lock and the admin socket, and starts everybody else.
//!
//! | process | has | waits for |
//! |---|---|---|
//! | supervisor, this one | configuration, lock, `admin` | nobody |
//! | [compositor's](crate::compositor) | `compositor/display`, `connection`, `memfd`, `channel`, `wl-conn-N` | the compositor at most |
//! | [one for each VM](crate::vm) | `vm/NAME/wayland-0` | programs and VMM of its VM at most |
//!
//! Whoever sends a descriptor decides how long it takes to close it, and may decide for ever. So this process never has
//! one that a stranger has sent, nor a socket that a stranger may have connected to: it binds them, and who gets them
//! listens. It asks the others every second whether they turn. One that does not for some seconds is killed, and not
//! waited for: its place is taken by another, on another socket.

mod part;
mod place;
mod report;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use heraldry_config::{Config, ConfigErrors, Owner};
use heraldry_identity::VmName;
use heraldry_wire::descriptors::raise_limit;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use tracing::{info, warn};

use self::part::Running;
use self::place::Place;
use self::report::Asked;
use crate::listeners::{self, ListenError, SocketPath};
use crate::lock::LockError;
use crate::orders::VmCounters;
use crate::poller::{Poller, key, unpack};

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
    /// A process of ours cannot be started.
    #[error("cannot start another process")]
    Start(#[source] io::Error),
    /// The event loop failed.
    #[error("the event loop failed")]
    Epoll(#[from] Errno),
    /// Signals cannot be received.
    #[error("cannot receive signals")]
    Signals(#[from] io::Error),
}

/// Owners of VMs must get to their own socket, and see nothing on the way.
const DIR_MODE: u32 = 0o711;
/// Processes are asked so often whether they turn.
const BEAT: Duration = Duration::from_secs(1);
/// Processes must begin, or take new rules, within this time.
const SETTLE: Duration = Duration::from_secs(5);
/// How long the others have to end by themselves.
const FAREWELL: Duration = Duration::from_millis(300);

/// What is said once, when everybody can connect.
const BEGUN: &str = "listening";

/// What an event is about; the numbers are kinds of keys.
mod kind {
    pub(super) const TERMINATE: u64 = 0;
    pub(super) const RELOAD: u64 = 1;
    pub(super) const ADMIN: u64 = 2;
    pub(super) const LINK: u64 = 3;
    pub(super) const END: u64 = 4;
}

/// A VM that is configured.
struct Vm {
    owner: Option<Owner>,
    place: Place,
}

/// What becomes of new rules.
struct Settling {
    generation: u64,
    deadline: Instant,
    /// What is said then.
    what: &'static str,
}

/// The daemon.
pub struct Supervisor {
    poller: Poller,
    dir: PathBuf,
    config_path: PathBuf,
    config: Config,
    /// What the others are to log.
    filter: String,
    vms: BTreeMap<VmName, Vm>,
    compositor: Place,
    /// All processes, also those that are over and cannot end.
    running: BTreeMap<u64, Running>,
    /// What processes that are over have counted.
    past: VmCounters,
    last: u64,
    generation: u64,
    settling: Option<Settling>,
    /// It listens once everything else does.
    admin: OwnedFd,
    _admin_path: SocketPath,
    asked: Asked,
    beat: Instant,
    /// When the service manager hears next that this process turns, if it wants to.
    alive: Option<Instant>,
    alive_every: Duration,
    terminate: UnixStream,
    reload: UnixStream,
    stopping: bool,
    _lock: std::fs::File,
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl Supervisor {
    /// Reads the configuration, binds every socket, and starts the processes; `dir` overrides the configuration's folder,
    /// and `filter` says what the processes log.
    ///
    /// # Errors
    ///
    /// The configuration has errors, or a socket cannot be had.
    pub fn open(config_path: &Path, dir: Option<&Path>, filter: &str) -> Result<Self, DaemonError> {
        let config = heraldry_config::load(config_path).map_err(DaemonError::Config)?;
        let dir = dir.map_or_else(|| config.host.dir.clone(), Path::to_owned);
        // Until the lock is ours, it may be another daemon's folder.
        listeners::folder(&dir, DIR_MODE)?;
        let dir = listeners::beyond_others(&dir)?;
        let lock = crate::lock::lock(&dir)?;
        // Nobody else gets in before every socket has its mode.
        listeners::folder(&dir, 0o700)?;
        listeners::folder(&dir.join("vm"), DIR_MODE)?;
        listeners::folder(&dir.join("compositor"), 0o700)?;
        if let Err(errno) = raise_limit() {
            warn!(%errno, "cannot raise the limit of open files");
        }
        let (terminate, reload) = signals()?;
        let limit = sd_notify::watchdog_enabled();
        let (admin, admin_path) = listeners::bind_at(&dir.join("admin"))?;
        let mut supervisor = Self {
            poller: Poller::new()?,
            admin,
            _admin_path: admin_path,
            dir,
            config_path: config_path.to_owned(),
            config,
            filter: filter.to_owned(),
            vms: BTreeMap::new(),
            compositor: Place::default(),
            running: BTreeMap::new(),
            past: VmCounters::default(),
            last: 0,
            generation: 1,
            settling: None,
            asked: Asked::default(),
            beat: Instant::now(),
            alive: limit.map(|_| Instant::now()),
            alive_every: limit.map_or(BEAT, |limit| BEAT.min(limit / 3)),
            terminate,
            reload,
            stopping: false,
            _lock: lock,
        };
        supervisor.watch_own()?;
        supervisor.start_compositor()?;
        if let Some(error) = supervisor.start_vms().pop() {
            return Err(error);
        }
        listeners::folder(&supervisor.dir, DIR_MODE)?;
        Ok(supervisor)
    }

    fn watch_own(&self) -> Result<(), DaemonError> {
        for (fd, kind) in [
            (self.terminate.as_fd(), kind::TERMINATE),
            (self.reload.as_fd(), kind::RELOAD),
        ] {
            self.poller.add(fd, key(kind, 0), EventFlags::IN)?;
        }
        Ok(())
    }

    /// Everything has begun: the last socket opens.
    fn open_admin(&mut self) -> Result<(), Errno> {
        listeners::start_listening(&self.admin)?;
        self.poller.add(&self.admin, key(kind::ADMIN, 0), EventFlags::IN)
    }

    /// Runs until SIGTERM or SIGINT.
    ///
    /// # Errors
    ///
    /// The event loop itself fails; peers cannot make it.
    pub fn run(&mut self) -> Result<(), DaemonError> {
        self.settle(BEGUN);
        let mut events = Vec::with_capacity(64);
        while !self.stopping {
            self.poller.wait(&mut events, Some(self.next_deadline()))?;
            for event in &events {
                self.event(event.data.u64());
            }
            self.look();
        }
        let _none = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        self.farewell();
        info!("stopped");
        Ok(())
    }

    fn event(&mut self, key: u64) {
        match unpack(key) {
            (kind::TERMINATE, _) => self.stopping = true,
            (kind::RELOAD, _) => self.reload(),
            (kind::ADMIN, _) => self.accept_admin(),
            (kind::LINK, process) => self.hear(process),
            (kind::END, process) => self.ended(process),
            _ => {}
        }
    }

    fn next_deadline(&self) -> Instant {
        let settling = self.settling.as_ref().map(|settling| settling.deadline);
        let places = self.vms.keys().map(Some).chain([None]);
        let again = places.filter_map(|vm| self.again_at(vm));
        let due = settling
            .into_iter()
            .chain(self.asked.deadline())
            .chain(self.alive)
            .chain(again);
        due.min().map_or(self.beat, |due| due.min(self.beat))
    }

    /// Does what is due.
    fn look(&mut self) {
        let now = Instant::now();
        if self.beat <= now {
            // From now, and not from when it was due: who was stopped for a while has missed nothing of the others.
            self.beat = now + BEAT;
            self.ask_all();
            self.watch_admin();
        }
        if self.alive.is_some_and(|at| at <= now) {
            self.alive = Some(now + self.alive_every);
            let _none = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        }
        self.start_again(now);
        self.answer_if_due(now);
        self.finish_settling(now);
    }

    /// Everybody learns of new rules; once they are in force it is said.
    fn settle(&mut self, what: &'static str) {
        self.settling = Some(Settling {
            generation: self.generation,
            deadline: Instant::now() + SETTLE,
            what,
        });
        self.give_rules();
        self.finish_settling(Instant::now());
    }

    fn finish_settling(&mut self, now: Instant) {
        let Some(settling) = &self.settling else {
            return;
        };
        let missing = |running: &&Running| running.is_waited_for() && running.settled < settling.generation;
        let missing = self.running.values().filter(missing).count();
        if missing > 0 && now < settling.deadline {
            return;
        }
        let what = settling.what;
        self.settling = None;
        if missing > 0 {
            warn!(missing, "some processes have not begun in time");
        }
        if what == BEGUN
            && let Err(errno) = self.open_admin()
        {
            warn!(%errno, "nobody can ask for statistics");
        }
        info!(dir = %self.dir.display(), vms = self.vms.len(), "{what}");
        // No service manager is no error, and saying it again none either.
        let _none = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    }

    /// SIGHUP: a broken configuration changes nothing.
    fn reload(&mut self) {
        let mut sink = [0; 64];
        while matches!(io::Read::read(&mut &self.reload, &mut sink), Ok(n) if n > 0) {}
        match heraldry_config::load(&self.config_path) {
            Ok(config) => {
                self.config = config;
                self.generation += 1;
                self.stop_vms();
                for error in self.start_vms() {
                    let error = anyhow::Error::from(error);
                    warn!("a VM of the new configuration cannot connect: {error:#}");
                }
                self.settle("configuration reloaded");
            }
            Err(errors) => warn!("configuration not reloaded, the old one stays in force:\n{errors}"),
        }
    }

    /// The others end when their links do. Those that cannot are not waited for.
    fn farewell(&mut self) {
        self.vms.clear();
        self.compositor = Place::default();
        let mut left: Vec<OwnedFd> = Vec::new();
        let mut running: Vec<Running> = std::mem::take(&mut self.running).into_values().collect();
        for running in &mut running {
            running.dismiss();
            left.extend(running.end_event());
        }
        let deadline = Instant::now() + FAREWELL;
        let mut events = Vec::with_capacity(64);
        let mut open = left.len();
        let Ok(poller) = Poller::new() else {
            return;
        };
        for (fd, index) in left.iter().zip(0..) {
            let _watched = poller.add(fd, index, EventFlags::IN);
        }
        while open > 0 && Instant::now() < deadline && poller.wait(&mut events, Some(deadline)).is_ok() {
            for event in &events {
                let index = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                if let Some(fd) = left.get(index) {
                    let _ended = poller.remove(fd);
                    open -= 1;
                }
            }
        }
        for running in &mut running {
            running.kill();
        }
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
