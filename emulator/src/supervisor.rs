// SPDX-License-Identifier: MIT OR Apache-2.0
//! The loop, and the effects of the state machines.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use heraldry_virtio::device::{
    Command, Driver, Effect, InMessage, Limits, Machine, Made, PipeEnd, Ticket, VfdId, VfdKind,
};
use heraldry_virtio::uapi::Fault;
use heraldry_wire::CONNECTION_PREFIX;
use heraldry_wire::descriptors::raise_limit;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Resource, Signal, getrlimit, kill_process, pidfd_getfd, pidfd_open,
};

use super::blocking::Copy;
use super::host::{self, Handle, Incoming, Lingering};
use super::native::Wait;
use super::stats::Stats;
use super::table::{Slot, Table};
use super::{EmulatorError, Options, launch};
use crate::sys::seccomp::{Listener, Notification, Reply};
use crate::sys::signals::Signals;

/// The ticket of commands that no system call waits for.
pub(super) const NOBODY: Ticket = 0;

const TAG: u64 = 56;
const LISTENER: u64 = 1 << TAG;
const HOST: u64 = 2 << TAG;
const SIGNALS: u64 = 3 << TAG;
const CLOSINGS: u64 = 4 << TAG;
const OUT: u64 = 5 << TAG;
const LINGER: u64 = 6 << TAG;
const NATIVE: u64 = 7 << TAG;
pub(super) const COPY: u64 = 8 << TAG;
const TAG_MASK: u64 = 0xff << TAG;

/// Signals that are passed on.
const PASSED_ON: [i32; 6] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
];

/// Closed vfds whose last data a host program does not take.
const MAX_LINGERING: usize = 64;

/// How long those are waited for when the program has ended.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// Threads whose descriptor is kept at hand.
const MAX_PIDFDS: usize = 64;

/// Time between two looks at memory of which a descriptor was closed.
const LOOK_AGAIN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 5_000_000,
};

/// A system call that waits for the device.
#[derive(Debug)]
pub(super) enum Call {
    /// NEW of `id`; the structure goes back to the program with `size` bytes.
    New {
        call: Notification,
        id: VfdId,
        request: [u8; 48],
        size: usize,
    },
    /// SEND.
    Send { call: Notification },
}

pub(super) struct Supervisor {
    pub(super) listener: Listener,
    pub(super) epoll: OwnedFd,
    host_epoll: OwnedFd,
    signals: Signals,
    pub(super) machine: Machine<Handle>,
    pub(super) driver: Driver,
    pub(super) table: Table,
    pub(super) stats: Stats,
    pub(super) device: Vec<u8>,
    sockets: HashMap<Vec<u8>, PathBuf>,
    socket_dir: Option<PathBuf>,
    pub(super) calls: HashMap<Ticket, Call>,
    /// RECVs that wait for data.
    pub(super) receivers: BTreeMap<VfdId, VecDeque<Notification>>,
    pub(super) waits: HashMap<u64, Wait>,
    lingering: HashMap<u64, Lingering>,
    pub(super) blocking_pipes: bool,
    pub(super) copies: HashMap<u64, Copy>,
    next_serial: u64,
    pidfds: HashMap<u32, OwnedFd>,
    child: Child,
    child_pid: Option<Pid>,
}

pub(super) fn run(options: &Options) -> Result<u8, EmulatorError> {
    let setup = |what| move |errno| EmulatorError::Setup(what, errno);
    let limit = getrlimit(Resource::Nofile);
    // A failure leaves the limit as it is, which is enough for most programs.
    let _as_it_was = raise_limit();
    let mut watched = PASSED_ON.to_vec();
    watched.push(libc::SIGCHLD);
    let signals = Signals::block(&watched).map_err(setup("signalfd"))?;
    let mut table = Table::new(options.hup_alone).map_err(setup("inotify"))?;
    table
        .self_test()
        .map_err(setup("a test of inotify on pipes and memory"))?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(setup("epoll_create1"))?;
    let host_epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(setup("epoll_create1"))?;
    let (child, listener) = launch::launch(&options.program, &options.args, &limit)?;
    if let Err(errno) = listener.set_sync_wake_up() {
        tracing::debug!(%errno, "the kernel has no synchronous wake-up; calls will be slower");
    }
    let input = epoll::EventFlags::IN;
    let sources = [
        (listener.as_fd(), LISTENER),
        (host_epoll.as_fd(), HOST),
        (signals.as_fd(), SIGNALS),
        (table.events(), CLOSINGS),
    ];
    for (source, tag) in sources {
        epoll::add(&epoll, source, epoll::EventData::new_u64(tag), input).map_err(setup("epoll_ctl"))?;
    }
    let name = |name: &Option<heraldry_wire::ContextName>| {
        name.as_ref()
            .map(|name| name.as_str().as_bytes().to_vec())
            .unwrap_or_default()
    };
    let child_pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let mut supervisor = Supervisor {
        listener,
        epoll,
        host_epoll,
        signals,
        machine: Machine::new(Limits::default()),
        driver: Driver::new(),
        table,
        stats: Stats::new(options.stats.clone()),
        device: options.device.as_os_str().as_bytes().to_vec(),
        sockets: options
            .sockets
            .iter()
            .map(|(key, path)| (name(key), path.clone()))
            .collect(),
        socket_dir: options.socket_dir.clone(),
        calls: HashMap::new(),
        receivers: BTreeMap::new(),
        waits: HashMap::new(),
        lingering: HashMap::new(),
        blocking_pipes: options.blocking_pipes,
        copies: HashMap::new(),
        next_serial: 0,
        pidfds: HashMap::new(),
        child,
        child_pid,
    };
    let status = supervisor.serve()?;
    supervisor.finish();
    Ok(status)
}

impl Supervisor {
    fn serve(&mut self) -> Result<u8, EmulatorError> {
        loop {
            self.stats.live(self.table.len());
            self.stats.write(false);
            let soon = self.table.is_suspicious().then_some(&LOOK_AGAIN);
            if let Some(status) = self.turn(soon)? {
                return Ok(status);
            }
        }
    }

    /// Waits for events and handles them; closings first, so that no call sees a vfd that is gone.
    fn turn(&mut self, timeout: Option<&Timespec>) -> Result<Option<u8>, EmulatorError> {
        let mut buffer = Vec::with_capacity(64);
        let spare = rustix::buffer::spare_capacity(&mut buffer);
        match epoll::wait(&self.epoll, spare, timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(EmulatorError::Run("epoll_wait", errno.into())),
        }
        if self.table.is_suspicious() || buffer.iter().any(|event| event.data.u64() == CLOSINGS) {
            self.reap();
        }
        let mut ended = None;
        for event in &buffer {
            let (data, flags) = (event.data.u64(), event.flags);
            let rest = data & !TAG_MASK;
            match data & TAG_MASK {
                LISTENER if flags.contains(epoll::EventFlags::IN) => self.notified()?,
                LISTENER => {
                    // All threads under the filter are gone; the child's end is about to be reported.
                    let _ = epoll::delete(&self.epoll, &self.listener);
                }
                HOST => self.host_events(),
                SIGNALS => ended = self.signalled()?.or(ended),
                OUT => self.machine.writable(u32::try_from(rest).unwrap_or(0)),
                LINGER => self.linger(rest),
                NATIVE => self.resume(rest),
                COPY => self.copy(rest),
                _ => {}
            }
            self.pump();
        }
        Ok(ended)
    }

    fn notified(&mut self) -> Result<(), EmulatorError> {
        let call = match self.listener.receive() {
            Ok(call) => call,
            Err(Errno::NOENT | Errno::INTR) => return Ok(()),
            Err(errno) => return Err(EmulatorError::Run("receiving a notification", errno.into())),
        };
        self.stats.notifications += 1;
        if let Some(reply) = self.dispatch(&call) {
            self.reply(&call, reply);
        }
        Ok(())
    }

    pub(super) fn reply(&self, call: &Notification, reply: Reply) {
        match self.listener.reply(call.id, reply) {
            // ENOENT: the thread was killed while it waited.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => {
                tracing::error!(%errno, ?reply, nr = call.nr, "a system call could not be answered")
            }
        }
    }

    fn signalled(&mut self) -> Result<Option<u8>, EmulatorError> {
        let mut ended = None;
        while let Some(arrived) = self.signals.next() {
            if arrived.signal == libc::SIGCHLD {
                let status = self.child.try_wait();
                ended = status
                    .map_err(|error| EmulatorError::Run("waiting for the program", error))?
                    .or(ended);
            } else if !arrived.from_kernel {
                // A key of the terminal reaches the program without us.
                let signal = Signal::from_named_raw(arrived.signal);
                if let (Some(pid), Some(signal)) = (self.child_pid, signal) {
                    let _ = kill_process(pid, signal);
                }
            }
        }
        Ok(ended.map(|status| {
            let code = status
                .code()
                .or_else(|| status.signal().map(|signal| 128 + signal));
            code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
        }))
    }

    /// After the program: what it closed, and what is still to be written.
    fn finish(&mut self) {
        self.reap();
        let deadline = Instant::now() + LAST_WRITES;
        while !self.lingering.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(timeout) = Timespec::try_from(left) else {
                break;
            };
            if left.is_zero() || self.turn(Some(&timeout)).is_err() {
                break;
            }
        }
        self.stats.live(self.table.len());
        self.stats.write(true);
    }

    /// Carries out the effects of the state machine.
    pub(super) fn pump(&mut self) {
        while let Some(effect) = self.machine.next_effect() {
            match effect {
                Effect::Connect { id, name } => {
                    let made = self.connect(id, &name);
                    self.machine.made(id, made);
                }
                Effect::MakeMemory { id, size } => {
                    let made = host::make_memory(size).map(Handle::host);
                    self.machine
                        .made(id, made.map_or(Made::Failed(Fault::OutOfMemory), Made::One));
                }
                Effect::MakePipe { id, end } => {
                    let made = self.make_pipe(id, end);
                    self.machine.made(id, made.unwrap_or(Made::Failed(Fault::Err)));
                }
                Effect::Answer { ticket, response } => self.answered(ticket, response),
                Effect::Deliver(message) => self.deliver(message),
                Effect::Flush { id } => self.flush(id),
                Effect::Reading(reading) => self.set_reading(reading),
                Effect::Release { id, handle, rest } => self.release(id, handle, rest),
            }
        }
    }

    /// The socket of a context: listed, or made at run time.
    fn socket(&self, name: &[u8]) -> Option<PathBuf> {
        let at_run_time = || {
            let dir = self.socket_dir.as_ref()?;
            let name = std::str::from_utf8(name).ok()?;
            // Digits only, so the name stays within the folder.
            let number = name.strip_prefix(CONNECTION_PREFIX)?;
            let good = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            good.then(|| dir.join(name))
        };
        self.sockets.get(name).cloned().or_else(at_run_time)
    }

    fn connect(&self, id: VfdId, name: &[u8]) -> Made<Handle> {
        let Some(path) = self.socket(name) else {
            tracing::debug!(name = %heraldry_wire::clean(name, 32), "no socket has this name");
            return Made::Failed(Fault::Err);
        };
        match host::connect_to(&path).and_then(|socket| self.watch(id, socket, epoll::EventFlags::IN)) {
            Ok(handle) => Made::One(handle),
            Err(errno) => {
                tracing::debug!(%errno, path = %path.display(), "the host socket cannot be reached");
                Made::Failed(Fault::Err)
            }
        }
    }

    fn make_pipe(&self, id: VfdId, end: PipeEnd) -> Result<Made<Handle>, Errno> {
        let (near, far) = host::make_pipe(end)?;
        if let Some(fd) = near.fd() {
            // An error of a write end is that its reader is gone.
            let data = epoll::EventData::new_u64(id.into());
            epoll::add(&self.host_epoll, fd, data, epoll::EventFlags::empty())?;
        }
        Ok(Made::Pipe { near, far })
    }

    fn watch(&self, id: VfdId, fd: OwnedFd, flags: epoll::EventFlags) -> Result<Handle, Errno> {
        epoll::add(&self.host_epoll, &fd, epoll::EventData::new_u64(id.into()), flags)?;
        Ok(Handle::host(fd))
    }

    fn set_reading(&self, reading: bool) {
        let result = if reading {
            let data = epoll::EventData::new_u64(HOST);
            epoll::add(&self.epoll, &self.host_epoll, data, epoll::EventFlags::IN)
        } else {
            tracing::debug!("all 256 buffers hold unread messages; nothing is read from the host");
            epoll::delete(&self.epoll, &self.host_epoll)
        };
        if let Err(errno) = result {
            tracing::error!(%errno, reading, "polling of host sockets could not be switched");
        }
    }

    fn host_events(&mut self) {
        let mut buffer = Vec::with_capacity(64);
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let _ = epoll::wait(
            &self.host_epoll,
            rustix::buffer::spare_capacity(&mut buffer),
            Some(&now),
        );
        for event in buffer {
            let id = u32::try_from(event.data.u64()).unwrap_or(0);
            match (
                self.machine.kind(id),
                self.machine.handle(id).and_then(Handle::fd),
            ) {
                (Some(VfdKind::Context), Some(socket)) => {
                    match host::receive(socket, Limits::default().in_data) {
                        Incoming::Data(data, imports) => {
                            let imports = imports.into_iter();
                            let imports = imports.map(|import| self.behind_the_device(import)).collect();
                            self.machine.received(id, data, imports);
                        }
                        Incoming::Nothing => {}
                        Incoming::End => self.machine.ended(id),
                    }
                }
                _ => self.machine.ended(id),
            }
            self.pump();
            if self.machine.waiting() > 0 {
                break;
            }
        }
    }

    fn deliver(&mut self, message: InMessage) {
        let (InMessage::New { id, .. } | InMessage::Recv { id, .. } | InMessage::Hup { id }) = message;
        let taken = self.driver.message(message);
        self.machine.returned(taken.returned);
        for orphan in taken.orphans {
            self.close(orphan);
        }
        self.serve_receivers(id);
        self.show(id);
    }

    /// Makes poll(2) on a vfd say what its queue holds. A token is taken back by RECV, which has the descriptor for it.
    fn show(&mut self, id: VfdId) {
        let (readable, hung_up) = (self.driver.readable(id), self.driver.hung_up(id));
        let Some(Slot::Token { write, posted, .. }) = self.table.slot_mut(id) else {
            return;
        };
        if let (true, false, Some(pipe)) = (readable, *posted, write.as_ref()) {
            *posted = rustix::io::write(pipe, b"!").is_ok();
        }
        if hung_up {
            *write = None;
        }
    }

    fn flush(&mut self, id: VfdId) {
        while let Some(out) = self.machine.outgoing(id) {
            let Some(to) = out.to.fd() else { return };
            match host::transmit(to, out.data, out.handles) {
                Ok(count) => self.machine.wrote(id, count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let data = epoll::EventData::new_u64(OUT | u64::from(id));
                    let flags = epoll::EventFlags::OUT | epoll::EventFlags::ONESHOT;
                    if epoll::modify(&self.epoll, to, data, flags).is_err() {
                        let _ = epoll::add(&self.epoll, to, data, flags);
                    }
                    return self.machine.blocked(id);
                }
                Err(errno) => {
                    tracing::debug!(%errno, id, "a host socket takes nothing any more");
                    return self.machine.unwritable(id);
                }
            }
        }
    }

    fn release(&mut self, id: VfdId, handle: Handle, rest: Vec<heraldry_virtio::device::OutMessage<Handle>>) {
        let Some(fd) = handle.fd() else { return };
        let _ = epoll::delete(&self.host_epoll, fd);
        let _ = epoll::delete(&self.epoll, fd);
        if rest.is_empty() {
            return;
        }
        let mut lingering = Lingering {
            handle: handle.clone(),
            rest: rest.into(),
        };
        if lingering.flush() {
            return;
        }
        if self.lingering.len() >= MAX_LINGERING {
            tracing::warn!(id, "too many closed vfds have unwritten data; this one loses it");
            return;
        }
        let serial = self.serial();
        let data = epoll::EventData::new_u64(LINGER | serial);
        if epoll::add(&self.epoll, fd, data, epoll::EventFlags::OUT).is_ok() {
            self.lingering.insert(serial, lingering);
        }
    }

    fn linger(&mut self, serial: u64) {
        if self.lingering.get_mut(&serial).is_some_and(Lingering::flush)
            && let Some(done) = self.lingering.remove(&serial)
            && let Some(fd) = done.handle.fd()
        {
            let _ = epoll::delete(&self.epoll, fd);
        }
    }

    /// Has a duplicate of a program's descriptor watched once, for [`Supervisor::resume`].
    pub(super) fn wait_for(&mut self, wait: Wait) {
        let serial = self.serial();
        let data = epoll::EventData::new_u64(NATIVE | serial);
        let flags = wait.flags() | epoll::EventFlags::ONESHOT;
        match epoll::add(&self.epoll, &wait.fd, data, flags) {
            Ok(()) => drop(self.waits.insert(serial, wait)),
            Err(errno) => self.reply(&wait.call, Reply::Fail(errno)),
        }
    }

    pub(super) const fn serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial & !TAG_MASK
    }

    /// Closes the vfds whose last descriptor in the program is gone, and forgets calls whose thread was killed, with the
    /// descriptors that were fetched for them.
    pub(super) fn reap(&mut self) {
        let listener = &self.listener;
        self.waits.retain(|_, wait| listener.is_valid(wait.call.id));
        self.receivers.retain(|_, calls| {
            calls.retain(|call| listener.is_valid(call.id));
            !calls.is_empty()
        });
        for id in self.table.closed() {
            self.close(id);
        }
        self.pump();
    }

    /// Closes a vfd. Effects remain to be carried out.
    pub(super) fn close(&mut self, id: VfdId) {
        let mut ids = vec![id];
        while let Some(id) = ids.pop() {
            self.table.remove(id);
            for call in self.receivers.remove(&id).unwrap_or_default() {
                self.reply(&call, Reply::Fail(Errno::BADF));
            }
            let closed = self.driver.close(id);
            self.machine.returned(closed.returned);
            self.machine.command(NOBODY, Command::Close { id });
            self.driver.give_id(id);
            self.stats.dropped_unread += closed.orphans.len() as u64;
            ids.extend(closed.orphans);
        }
    }

    /// A duplicate of a descriptor of the calling thread.
    pub(super) fn fetch(&mut self, call: &Notification, fd: i32) -> Result<OwnedFd, Errno> {
        let flags = PidfdGetfdFlags::empty();
        if let Some(pidfd) = self.pidfds.get(&call.tid) {
            match pidfd_getfd(pidfd, fd, flags) {
                // The thread of that number is another one now.
                Err(Errno::SRCH) => drop(self.pidfds.remove(&call.tid)),
                other => return other,
            }
        }
        // PIDFD_THREAD (Linux 6.9): any thread, because threads may have descriptors of their own.
        let thread = PidfdFlags::from_bits_retain(libc::O_EXCL.unsigned_abs());
        let tid = i32::try_from(call.tid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(Errno::SRCH)?;
        let pidfd = pidfd_open(tid, thread)?;
        let fetched = pidfd_getfd(&pidfd, fd, flags);
        if self.pidfds.len() >= MAX_PIDFDS {
            self.pidfds.clear();
        }
        self.pidfds.insert(call.tid, pidfd);
        fetched
    }
}
