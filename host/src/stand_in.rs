// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stand-ins for the pipes of clipboard and drags: no pipe of an app VM ever enters the compositor's VM.
//!
//! A device writes into a pipe by a write that may block, on the one thread that serves all connections of its VM, and
//! what it reads from one fills the buffers that all VMs share. So the host keeps the end that a client sent, and the
//! compositor gets a page of memory in its place, which devices pass on in both directions. When the compositor sends
//! that page to the client whose data was asked for, the host puts the kept end in its place. The bytes of a paste go
//! from program to program then, and nobody copies them.
//!
//! A stand-in is known by its inode, which the host made: nothing in it, and nothing that a VM says, names another. It
//! works once, for the VM whose client sent the pipe. The kernel says when the last descriptor and mapping of one is
//! gone, so that a pipe which the compositor drops is closed at once, whatever the compositor's device is.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use heraldry_identity::VmName;
use heraldry_wire::virtwl::PAGE_SIZE;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{
    MemfdFlags, Mode, SealFlags, Stat, fchmod, fcntl_add_seals, fstat, ftruncate, memfd_create,
};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::geteuid;
use tracing::debug;

/// How long the compositor may hold a stand-in before the pipe is closed. It holds one for as long as the VM that asked
/// waits for its turn, or is paused.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// Stand-ins of a VM that are known for every pipe that is kept; those beyond share one.
const KNOWN_FOR_KEPT: usize = 4;

/// A connection, as far as its pipes are concerned.
#[derive(Debug, Clone)]
pub struct Party {
    /// Whose it is.
    pub vm: VmName,
    /// Which one it is.
    pub connection: u64,
    /// How many pipes of the VM are kept at one time.
    pub most: usize,
}

/// What came back from the compositor.
#[derive(Debug)]
pub enum Returned {
    /// No stand-in.
    Other,
    /// A stand-in: this is what it stood for, or a pipe that nobody reads if that is gone.
    Pipe(OwnedFd),
}

/// Why what came back is given to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GiveBackError {
    /// It stands for a pipe of another VM.
    #[error("a stand-in for a pipe of another VM")]
    Foreign,
    /// No descriptor or memory is left.
    #[error("the system refused")]
    System(#[from] Errno),
}

/// An inode.
type Key = (u64, u64);

#[derive(Debug)]
struct StandIn {
    vm: VmName,
    connection: u64,
    /// What it stands for, until it has come back or is not waited for any more.
    kept: Option<OwnedFd>,
    /// When the pipe is closed, unless it was before.
    until: Option<Instant>,
    watch: Option<i32>,
}

/// All stand-ins.
#[derive(Debug, Default)]
pub struct StandIns {
    /// There while there are stand-ins, because a user may have few of them, and not every VM pastes.
    inotify: Option<OwnedFd>,
    /// Nobody waits for its events yet.
    fresh: bool,
    known: BTreeMap<Key, StandIn>,
    watched: BTreeMap<i32, Key>,
    /// One for each VM that stands for nothing, however often it is sent, while the VM has connections.
    spare: BTreeMap<VmName, OwnedFd>,
}

fn key_of(stat: &Stat) -> Key {
    (stat.st_dev, stat.st_ino)
}

/// Whether this is a stand-in, of this process or another.
fn is_marked(stat: &Stat) -> bool {
    Mode::from_raw_mode(stat.st_mode) == MARK && stat.st_uid == geteuid().as_raw()
}

/// The mode of a page that stands for a pipe. Other memory is made with another, and only its owner can change it: so each
/// VM's process sees that a page is another's.
const MARK: Mode = Mode::RUSR.union(Mode::WUSR).union(Mode::SVTX);

/// A page that nobody can resize. Nothing is ever read from it, but it must be writable: QEMU maps nothing else.
fn page() -> Result<OwnedFd, Errno> {
    let fd = memfd_create("heraldry/pipe", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&fd, PAGE_SIZE)?;
    fchmod(&fd, MARK)?;
    fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(fd)
}

/// The writing end of a pipe whose reader has left.
fn unread_pipe() -> Result<OwnedFd, Errno> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?.1)
}

impl StandIns {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Readable when [`Self::notice`] has something to do; returned once, when there is such a thing.
    pub fn fresh_events(&mut self) -> Option<BorrowedFd<'_>> {
        let inotify = self.inotify.as_ref()?;
        std::mem::take(&mut self.fresh).then(|| inotify.as_fd())
    }

    /// Lets the kernel tell when nobody has the page any more.
    fn watch(&mut self, page: &OwnedFd) -> Option<i32> {
        if self.inotify.is_none() {
            self.inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
            self.fresh = self.inotify.is_some();
        }
        let path = format!("/proc/self/fd/{}", page.as_raw_fd());
        inotify::add_watch(self.inotify.as_ref()?, path, WatchFlags::DELETE_SELF).ok()
    }

    /// Pipes that are kept, VM by VM.
    pub fn kept(&self, vm: &VmName) -> usize {
        let of_vm = |known: &&StandIn| known.vm == *vm && known.kept.is_some();
        self.known.values().filter(of_vm).count()
    }

    /// Keeps the end of a pipe that a client sent; returns what the compositor gets. Beyond the limit the end is closed
    /// at once, and what the compositor gets stands for nothing.
    ///
    /// # Errors
    ///
    /// The system has no descriptor or memory left.
    pub fn replace(&mut self, party: &Party, end: OwnedFd) -> Result<OwnedFd, Errno> {
        let known = self.known.values().filter(|known| known.vm == party.vm).count();
        if known >= party.most.saturating_mul(KNOWN_FOR_KEPT) {
            return self.spare(party);
        }
        let room = self.kept(&party.vm) < party.most;
        if !room {
            debug!(vm = %party.vm, most = party.most, "too many pipes at once; this one is closed");
        }
        self.make(party, room.then_some(end))
    }

    /// A new stand-in.
    fn make(&mut self, party: &Party, kept: Option<OwnedFd>) -> Result<OwnedFd, Errno> {
        let page = page()?;
        // Without a watch it is forgotten when its time is up.
        let watch = self.watch(&page);
        let key = key_of(&fstat(&page)?);
        if let Some(watch) = watch {
            self.watched.insert(watch, key);
        }
        let stand_in = StandIn {
            vm: party.vm.clone(),
            connection: party.connection,
            kept,
            until: Some(Instant::now() + KEPT_FOR),
            watch,
        };
        self.known.insert(key, stand_in);
        Ok(page)
    }

    fn spare(&mut self, party: &Party) -> Result<OwnedFd, Errno> {
        if let Some(spare) = self.spare.get(&party.vm) {
            return rustix::io::fcntl_dupfd_cloexec(spare, 0);
        }
        let spare = self.make(party, None)?;
        let again = rustix::io::fcntl_dupfd_cloexec(&spare, 0)?;
        self.spare.insert(party.vm.clone(), spare);
        Ok(again)
    }

    /// What memory that the compositor sends to a client stands for.
    ///
    /// # Errors
    ///
    /// It is of another VM.
    pub fn give_back(&mut self, party: &Party, memory: &OwnedFd) -> Result<Returned, GiveBackError> {
        let stat = fstat(memory)?;
        let Some(known) = self.known.get_mut(&key_of(&stat)) else {
            // Each VM's process knows its own.
            return if is_marked(&stat) {
                Err(GiveBackError::Foreign)
            } else {
                Ok(Returned::Other)
            };
        };
        if known.vm != party.vm {
            return Err(GiveBackError::Foreign);
        }
        Ok(Returned::Pipe(match known.kept.take() {
            Some(end) => end,
            None => unread_pipe()?,
        }))
    }

    /// A connection has ended: the pipes that its client sent are closed.
    pub fn connection_gone(&mut self, connection: u64) {
        for known in self.known.values_mut() {
            if known.connection == connection {
                known.kept = None;
            }
        }
    }

    /// A VM has no connection any more.
    pub fn vm_idle(&mut self, vm: &VmName) {
        self.spare.remove(vm);
    }

    /// Forgets stand-ins of which nobody has a descriptor any more, and closes what they stood for.
    pub fn notice(&mut self) {
        let Some(inotify) = &self.inotify else {
            return;
        };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(inotify, &mut buffer);
        while let Ok(event) = reader.next() {
            if let Some(key) = self.watched.remove(&event.wd()) {
                self.known.remove(&key);
            }
        }
        self.rest();
    }

    /// Nothing is watched while there is nothing to watch.
    fn rest(&mut self) {
        if self.known.is_empty() {
            self.inotify = None;
            self.watched.clear();
        }
    }

    /// When the next pipe has been kept for too long.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.known.values().filter_map(|known| known.until).min()
    }

    /// Closes what was kept for too long. The stand-in is known for as long as somebody has it.
    pub fn expire(&mut self, now: Instant) {
        self.known.retain(|_, known| {
            if known.until.is_some_and(|until| until <= now) {
                known.kept = None;
                known.until = None;
            }
            known.until.is_some() || known.watch.is_some()
        });
        self.rest();
    }
}

#[cfg(test)]
mod tests;
