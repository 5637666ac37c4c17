// SPDX-License-Identifier: MIT OR Apache-2.0
//! One thread for each VM: its connections, its gate, its copies of clipboard data.
//!
//! The SEND ioctl waits for the device whatever the flags say, so it never runs on the main thread: a device that
//! stalls costs the VM it stalls for. A panic here is our bug and ends this VM's connections, nobody else's.
//!
//! **Fairness.** The Wayland library reads one client until its socket is empty. So a worker puts no more than
//! [`CREDIT`] bytes a client into the socket pair for each turn of the main loop, and waits for [`WorkerHandle::next_turn`]
//! when a client has used that up.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use calloop::channel::Sender as MainSender;
use heraldry_config::VmName;
use heraldry_gate::Globals;
use heraldry_virtio::guest::Device;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use tracing::{debug, error, info};

use super::link::{Endpoint, VmEvent};
use super::peer::{Peer, PeerEnd};
use super::pump::Pump;
use super::services::Shared;
use crate::client::ClientKey;

/// Bytes of one client that the main thread may have to dispatch in one turn.
pub(super) const CREDIT: usize = 16 * 1024;

/// Clipboard copies of one VM at one time; each holds two descriptors for as long as its source likes.
const MAX_PUMPS: usize = 32;

/// Wakes a thread that waits in poll or epoll.
#[derive(Debug, Clone)]
pub(super) struct Bell(Arc<OwnedFd>);

impl Bell {
    pub(super) fn new(eventfd: OwnedFd) -> Self {
        Self(Arc::new(eventfd))
    }

    pub(super) fn ring(&self) {
        // Full means that it rings already.
        let _rings_already = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    pub(super) fn silence(&self) {
        // Empty means that it was silent.
        let _silent = rustix::io::read(&*self.0, &mut [0; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A connection for a worker to open.
#[derive(Debug)]
pub(super) struct Arrival {
    /// Its number.
    pub(super) key: ClientKey,
    /// How to get at it.
    pub(super) endpoint: Endpoint,
    /// What its registry may show.
    pub(super) globals: Globals,
}

/// What the main thread asks of a worker.
#[derive(Debug)]
pub(super) enum Command {
    /// Open a connection.
    Open(Arrival),
    /// Close one: the client is disconnected, whatever it does.
    Close(ClientKey),
}

/// Turns of the main loop, as a worker sees them.
#[derive(Debug, Default)]
struct Turns {
    count: AtomicU64,
    /// A client of this VM waits for the next turn.
    awaited: AtomicBool,
}

/// The main thread's handle to a worker; dropping it ends the thread.
#[derive(Debug)]
pub(super) struct WorkerHandle {
    commands: Sender<Command>,
    bell: Bell,
    turns: Arc<Turns>,
    thread: std::thread::JoinHandle<()>,
}

impl WorkerHandle {
    /// Hands a connection over.
    pub(super) fn take(&self, arrival: Arrival) {
        self.command(Command::Open(arrival));
    }

    /// Ends a connection.
    pub(super) fn close(&self, key: ClientKey) {
        self.command(Command::Close(key));
    }

    fn command(&self, command: Command) {
        // A worker that is gone drops its connections, which ends them.
        let _gone = self.commands.send(command);
        self.bell.ring();
    }

    /// The main loop has finished a turn.
    pub(super) fn next_turn(&self) {
        self.turns.count.fetch_add(1, Ordering::SeqCst);
        if self.turns.awaited.swap(false, Ordering::SeqCst) {
            self.bell.ring();
        }
    }

    /// Whether the thread runs; one that panicked is replaced.
    pub(super) fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        let (nobody, _) = channel();
        self.commands = nobody;
        self.bell.ring();
    }
}

/// What an event is about, packed into epoll's 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Bell,
    Link(u64),
    Stream(u64),
    Source(u64),
    Sink(u64),
}

impl Key {
    fn pack(self) -> EventData {
        let (kind, id) = match self {
            Self::Bell => (0, 0),
            Self::Link(id) => (1, id),
            Self::Stream(id) => (2, id),
            Self::Source(id) => (3, id),
            Self::Sink(id) => (4, id),
        };
        EventData::new_u64(id << 3 | kind)
    }

    fn unpack(data: EventData) -> Self {
        let id = data.u64() >> 3;
        match data.u64() & 7 {
            1 => Self::Link(id),
            2 => Self::Stream(id),
            3 => Self::Source(id),
            4 => Self::Sink(id),
            _ => Self::Bell,
        }
    }
}

/// One descriptor's place in epoll. Hang-ups are reported whether anybody waits for them or not, so a descriptor that
/// nothing is wanted of is taken out; otherwise a peer that hung up behind a full queue would keep the thread spinning.
#[derive(Debug, Default)]
pub(super) struct Watch {
    added: bool,
}

impl Watch {
    pub(super) fn set(
        &mut self,
        epoll: &OwnedFd,
        fd: BorrowedFd<'_>,
        key: Key,
        interest: EventFlags,
    ) -> Result<(), Errno> {
        let wanted = !interest.is_empty();
        match (self.added, wanted) {
            (false, true) => epoll::add(epoll, fd, key.pack(), interest)?,
            (true, true) => epoll::modify(epoll, fd, key.pack(), interest)?,
            (true, false) => epoll::delete(epoll, fd)?,
            (false, false) => {}
        }
        self.added = wanted;
        Ok(())
    }
}

/// A worker's own state.
pub(super) struct Worker {
    vm: VmName,
    epoll: OwnedFd,
    bell: Bell,
    turns: Arc<Turns>,
    commands: Receiver<Command>,
    main: MainSender<VmEvent>,
    device: Option<Arc<Device>>,
    services: Shared,
    peers: BTreeMap<u64, Peer>,
    pumps: BTreeMap<u64, Pump>,
    next_pump: u64,
}

impl Worker {
    /// Starts the thread of a VM.
    pub(super) fn start(
        vm: VmName,
        device: Option<Arc<Device>>,
        main: MainSender<VmEvent>,
    ) -> std::io::Result<WorkerHandle> {
        let (commands, inbox) = channel();
        let bell = Bell::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let turns = Arc::new(Turns::default());
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &bell, Key::Bell.pack(), EventFlags::IN)?;
        let (own_bell, own_turns) = (bell.clone(), Arc::clone(&turns));
        let thread = std::thread::Builder::new()
            .name(format!("vm-{vm}"))
            .spawn(move || {
                let services = Shared::new(vm.clone(), device.clone());
                let mut worker = Self {
                    services,
                    vm,
                    epoll,
                    bell: own_bell,
                    turns: own_turns,
                    commands: inbox,
                    main,
                    device,
                    peers: BTreeMap::new(),
                    pumps: BTreeMap::new(),
                    next_pump: 1,
                };
                worker.run();
            })?;
        Ok(WorkerHandle {
            commands,
            bell,
            turns,
            thread,
        })
    }

    fn run(&mut self) {
        let mut events = Vec::with_capacity(64);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => {
                    error!(vm = %self.vm, %errno, "a gate cannot wait for events and ends");
                    return;
                }
            }
            for event in &events {
                let (flags, key) = (event.flags, Key::unpack(event.data));
                match key {
                    Key::Bell => {
                        self.bell.silence();
                        if self.commands() {
                            return;
                        }
                    }
                    Key::Link(id) => self.peer(id, |peer, turn| peer.link_ready(flags, turn)),
                    Key::Stream(id) => self.peer(id, |peer, _| peer.stream_ready(flags)),
                    Key::Source(id) => self.pump(id),
                    Key::Sink(id) => self.pump_sink(id, flags),
                }
            }
            self.feed_waiting();
        }
    }

    /// Takes what the main thread sent; `true` when it is time to go.
    fn commands(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Open(arrival)) => self.open(arrival),
                Ok(Command::Close(key)) => drop(self.peers.remove(&key.0)),
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn open(&mut self, arrival: Arrival) {
        let Arrival {
            key,
            endpoint,
            globals,
        } = arrival;
        let opened = Peer::open(
            key,
            endpoint,
            self.device.as_deref(),
            globals,
            self.services.clone(),
        );
        let (mut peer, stream) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                debug!(vm = %self.vm, client = key.0, %error, "connection not opened");
                let _stopping = self.main.send(VmEvent::Failed(self.vm.clone(), key));
                return;
            }
        };
        let watched = watch_peer(&self.epoll, &mut peer);
        if let Err(errno) = watched {
            debug!(vm = %self.vm, client = key.0, %errno, "connection cannot be watched");
            let _stopping = self.main.send(VmEvent::Failed(self.vm.clone(), key));
            return;
        }
        if self
            .main
            .send(VmEvent::Connected(self.vm.clone(), key, stream))
            .is_ok()
        {
            self.peers.insert(key.0, peer);
        }
    }

    /// Lets a peer do its work and sees to what comes of it.
    fn peer(&mut self, id: u64, work: impl FnOnce(&mut Peer, u64) -> Result<(), PeerEnd>) {
        let turn = self.turns.count.load(Ordering::SeqCst);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let done = work(peer, turn);
        for (from, to) in self.services.take_transfers() {
            self.start_pump(from, to);
        }
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        match done {
            Ok(()) => {
                if let Err(errno) = watch_peer(&self.epoll, peer) {
                    error!(vm = %self.vm, client = id, %errno, "a connection cannot be watched any more");
                    self.peers.remove(&id);
                }
            }
            Err(end) => {
                end.log(&self.vm, id, &self.services);
                self.peers.remove(&id);
            }
        }
    }

    /// Clients that had used up their turn go on if the main loop has.
    fn feed_waiting(&mut self) {
        loop {
            let turn = self.turns.count.load(Ordering::SeqCst);
            let ready: Vec<u64> = self
                .peers
                .iter()
                .filter(|(_, peer)| peer.waits_since().is_some_and(|at| at != turn))
                .map(|(id, _)| *id)
                .collect();
            for id in ready {
                self.peer(id, |peer, turn| peer.link_ready(EventFlags::IN, turn));
            }
            if self.peers.values().all(|peer| peer.waits_since().is_none()) {
                return;
            }
            self.turns.awaited.store(true, Ordering::SeqCst);
            // The turn may have ended between the look and the note.
            if self.turns.count.load(Ordering::SeqCst) == turn {
                return;
            }
        }
    }

    fn start_pump(&mut self, from: heraldry_virtio::guest::ReadPipe, to: OwnedFd) {
        if self.pumps.len() >= MAX_PUMPS {
            debug!(vm = %self.vm, "too many clipboard copies at once; this one ends");
            return;
        }
        let Ok(pump) = Pump::new(from, to) else { return };
        let id = self.next_pump;
        self.next_pump += 1;
        self.pumps.insert(id, pump);
        self.watch_pump(id);
    }

    fn pump(&mut self, id: u64) {
        let Some(pump) = self.pumps.get_mut(&id) else {
            return;
        };
        if pump.progress() {
            self.watch_pump(id);
        } else {
            self.pumps.remove(&id);
        }
    }

    /// The reader's end has room, or is gone: then the copy is over.
    fn pump_sink(&mut self, id: u64, flags: EventFlags) {
        if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
            self.pumps.remove(&id);
        } else {
            self.pump(id);
        }
    }

    fn watch_pump(&mut self, id: u64) {
        let Some(pump) = self.pumps.get_mut(&id) else {
            return;
        };
        if let Err(errno) = pump.watch(&self.epoll, Key::Source(id), Key::Sink(id)) {
            debug!(vm = %self.vm, %errno, "a clipboard copy cannot be watched");
            self.pumps.remove(&id);
        }
    }
}

/// Brings epoll in line with what a peer waits for.
fn watch_peer(epoll: &OwnedFd, peer: &mut Peer) -> Result<(), Errno> {
    let key = peer.key();
    let (link, stream) = (peer.link_interest(), peer.stream_interest());
    let mut watches = std::mem::take(&mut peer.watches);
    let done = watches
        .0
        .set(epoll, peer.link_fd(), Key::Link(key), link)
        .and_then(|()| watches.1.set(epoll, peer.stream_fd(), Key::Stream(key), stream));
    peer.watches = watches;
    done
}

impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            error!(vm = %self.vm, clients = self.peers.len(), "a gate panicked; its VM's clients are disconnected");
        } else {
            info!(vm = %self.vm, "gate stopped");
        }
    }
}
