// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which descriptors of the program are vfds, and when the last of each is closed.
//!
//! A vfd is known by its inode, so that dup(2), fork(2) and passing inside the program need no attention. What stands for a
//! vfd in the program:
//!
//! | vfd | descriptor |
//! |---|---|
//! | context | one end of a *token socket*: a byte in it is POLLIN, the other end closed is POLLHUP, and it has POLLOUT |
//! | pipe written by SEND, context with `--hup-alone` | the read end of a *token pipe*: the same without POLLOUT |
//! | memory | the memory, opened again so that its open file is the program's alone |
//! | pipe read by the program, pipe from the host | the end of the pipe itself |
//!
//! The last close of an open file is an event of inotify(7), which works on pipes and on files opened through `/proc`. For
//! memory the same inode may be several vfds, and host programs may open and close it too; so the program's open file also
//! carries a lock as a mark, which tells whether it still lives and which vfd it is.

use std::collections::{BTreeMap, HashMap};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use heraldry_virtio::device::{PipeEnd, VfdId};
use rustix::fs::inotify::{self, ReadFlags, WatchFlags};
use rustix::fs::{Mode, OFlags, SealFlags, Stat, fcntl_getfl, fstat, open};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};

use super::host::Handle;
use crate::sys::lock;

/// Identity of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    dev: u64,
    ino: u64,
}

impl From<&Stat> for Key {
    fn from(stat: &Stat) -> Self {
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
        }
    }
}

/// What stands for a vfd in the program.
#[derive(Debug)]
pub(super) enum Slot {
    /// The read end of a token pipe or a token socket, of which this is the other end.
    Token {
        write: Option<OwnedFd>,
        posted: bool,
        context: bool,
    },
    /// Memory of a fixed size.
    Memory { file: Rc<OwnedFd>, size: u64 },
    /// The end of a pipe.
    Pipe { end: PipeEnd },
}

#[derive(Debug)]
struct Object {
    key: Key,
    slot: Slot,
}

/// What a descriptor of the program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The device itself.
    Control,
    /// A vfd.
    Vfd(VfdId),
    /// Nothing of ours.
    Other,
}

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    inotify: OwnedFd,
    control: OwnedFd,
    control_key: Key,
    objects: BTreeMap<VfdId, Object>,
    inodes: HashMap<Key, (i32, Vec<VfdId>)>,
    watches: HashMap<i32, Key>,
    /// Memory of which a descriptor was closed, and until when it is looked at again. The kernel tells of a close before
    /// it takes the mark away, so a look at once may be too early.
    suspects: BTreeMap<VfdId, Instant>,
    /// Contexts have token pipes.
    hup_alone: bool,
}

/// How long memory is looked at after a close.
const SUSPICION: Duration = Duration::from_millis(250);

/// The end for the program, and ours. Nothing that is written into the former gets anywhere.
fn token_socket() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SocketFlags::CLOEXEC;
    let (program, ours) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::shutdown(&ours, Shutdown::Read)?;
    rustix::fs::fcntl_setfl(&ours, OFlags::RDWR | OFlags::NONBLOCK)?;
    Ok((program, ours))
}

fn reopen(fd: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
    open(
        format!("/proc/self/fd/{}", fd.as_raw_fd()),
        flags | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

impl Table {
    pub(super) fn new(hup_alone: bool) -> Result<Self, Errno> {
        // An empty sealed file behaves as the device does: always ready to poll(2), refused by epoll(7).
        let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
        let control = rustix::fs::memfd_create("wl0", flags)?;
        let sealed = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK;
        rustix::fs::fcntl_add_seals(&control, sealed)?;
        let control_key = Key::from(&fstat(&control)?);
        Ok(Self {
            inotify: inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?,
            control,
            control_key,
            objects: BTreeMap::new(),
            inodes: HashMap::new(),
            watches: HashMap::new(),
            suspects: BTreeMap::new(),
            hup_alone,
        })
    }

    pub(super) fn events(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    /// The device, opened with `flags`.
    pub(super) fn open_control(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        reopen(
            self.control.as_fd(),
            flags & (OFlags::ACCMODE | OFlags::NONBLOCK | OFlags::PATH),
        )
    }

    pub(super) fn slot(&self, id: VfdId) -> Option<&Slot> {
        Some(&self.objects.get(&id)?.slot)
    }

    pub(super) fn slot_mut(&mut self, id: VfdId) -> Option<&mut Slot> {
        Some(&mut self.objects.get_mut(&id)?.slot)
    }

    /// Makes the descriptor that is to stand for `id` in the program. Drop it when it is installed there.
    pub(super) fn add_token(&mut self, id: VfdId, context: bool) -> Result<OwnedFd, Errno> {
        let (read, write) = if context && !self.hup_alone {
            token_socket()?
        } else {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            rustix::fs::fcntl_setfl(&write, OFlags::WRONLY | OFlags::NONBLOCK)?;
            (read, write)
        };
        self.insert(
            id,
            read.as_fd(),
            Slot::Token {
                write: Some(write),
                posted: false,
                context,
            },
        )?;
        Ok(read)
    }

    /// As [`Table::add_token`], for memory or for a pipe that is the program's own.
    pub(super) fn add_handle(
        &mut self,
        id: VfdId,
        handle: &Handle,
        size: Option<u64>,
    ) -> Result<OwnedFd, Errno> {
        match handle {
            Handle::Host(file) => {
                let mode = fcntl_getfl(file)? & OFlags::ACCMODE;
                let new = reopen(file.as_fd(), mode)?;
                lock::set_mark(new.as_fd(), id)?;
                let slot = Slot::Memory {
                    file: file.clone(),
                    size: size.unwrap_or(0),
                };
                self.insert(id, new.as_fd(), slot)?;
                Ok(new)
            }
            Handle::Guest(cell) => {
                let fd = cell.take().ok_or(Errno::BADF)?;
                let write = fcntl_getfl(&fd)?.intersects(OFlags::WRONLY | OFlags::RDWR);
                let end = if write { PipeEnd::Write } else { PipeEnd::Read };
                self.insert(id, fd.as_fd(), Slot::Pipe { end })?;
                Ok(fd)
            }
        }
    }

    fn insert(&mut self, id: VfdId, fd: BorrowedFd<'_>, slot: Slot) -> Result<(), Errno> {
        let key = Key::from(&fstat(fd)?);
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let wd = inotify::add_watch(
            &self.inotify,
            path,
            WatchFlags::CLOSE_WRITE | WatchFlags::CLOSE_NOWRITE,
        )?;
        self.watches.insert(wd, key);
        self.inodes
            .entry(key)
            .or_insert_with(|| (wd, Vec::new()))
            .1
            .push(id);
        self.objects.insert(id, Object { key, slot });
        Ok(())
    }

    /// Forgets a vfd.
    pub(super) fn remove(&mut self, id: VfdId) {
        let Some(object) = self.objects.remove(&id) else {
            return;
        };
        let Some((wd, ids)) = self.inodes.get_mut(&object.key) else {
            return;
        };
        ids.retain(|other| *other != id);
        if ids.is_empty() {
            // The watch may have gone with its inode.
            let _ = inotify::remove_watch(&self.inotify, *wd);
            self.watches.remove(wd);
            self.inodes.remove(&object.key);
        }
    }

    /// What the inode behind a descriptor of the program is. `fetch` gets a duplicate of the descriptor; it is needed only
    /// when one inode is several vfds.
    pub(super) fn find(&self, stat: &Stat, fetch: impl FnOnce() -> Option<OwnedFd>) -> Found {
        let key = Key::from(stat);
        if key == self.control_key {
            return Found::Control;
        }
        match self.inodes.get(&key).map(|(_, ids)| ids.as_slice()) {
            None | Some([]) => Found::Other,
            Some([id]) => Found::Vfd(*id),
            Some(ids) => {
                let Some(fd) = fetch() else { return Found::Other };
                ids.iter()
                    .find(|id| self.is_behind(**id, fd.as_fd()))
                    .map_or(Found::Other, |id| Found::Vfd(*id))
            }
        }
    }

    /// Whether an inode is that of a vfd, or of several.
    pub(super) fn has_inode(&self, stat: &Stat) -> bool {
        self.inodes.contains_key(&Key::from(stat))
    }

    /// Whether `fd`, of the same inode, is the open file of `id`.
    fn is_behind(&self, id: VfdId, fd: BorrowedFd<'_>) -> bool {
        match self.slot(id) {
            // The mark is there, and `fd` does not see it as another's.
            Some(Slot::Memory { file, .. }) => {
                matches!(lock::other_has_mark(file.as_fd(), id), Ok(true))
                    && matches!(lock::other_has_mark(fd, id), Ok(false))
            }
            Some(Slot::Pipe { end }) => {
                let read = fcntl_getfl(fd).is_ok_and(|flags| flags & OFlags::ACCMODE == OFlags::RDONLY);
                read == (*end == PipeEnd::Read)
            }
            Some(Slot::Token { .. }) => true,
            None => false,
        }
    }

    /// The vfds whose last descriptor and mapping in the program are gone.
    pub(super) fn closed(&mut self) -> Vec<VfdId> {
        let now = Instant::now();
        let mut closed = Vec::new();
        let mut suspects = std::mem::take(&mut self.suspects);
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        while let Ok(event) = reader.next() {
            let flags = event.events();
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                tracing::warn!("events of closing were lost; looking at all memory");
                let all = self.objects.keys().copied();
                closed.extend(all.filter(|id| self.is_closed(*id, ReadFlags::empty())));
                continue;
            }
            let ids = self.watches.get(&event.wd()).and_then(|key| self.inodes.get(key));
            let ids = ids.map(|(_, ids)| ids.as_slice()).unwrap_or_default();
            for id in ids {
                if self.is_closed(*id, flags) {
                    closed.push(*id);
                } else if matches!(self.slot(*id), Some(Slot::Memory { .. })) {
                    suspects.insert(*id, now + SUSPICION);
                }
            }
        }
        suspects.retain(|id, until| {
            let gone = self.is_closed(*id, ReadFlags::empty());
            if gone {
                closed.push(*id);
            }
            !gone && now < *until && self.slot(*id).is_some()
        });
        self.suspects = suspects;
        closed.sort_unstable();
        closed.dedup();
        closed
    }

    /// Whether [`Table::closed`] has to be asked again soon, without an event.
    pub(super) fn is_suspicious(&self) -> bool {
        !self.suspects.is_empty()
    }

    fn is_closed(&self, id: VfdId, flags: ReadFlags) -> bool {
        match self.slot(id) {
            Some(Slot::Memory { file, .. }) => matches!(lock::other_has_mark(file.as_fd(), id), Ok(false)),
            // A socket's ends have an inode each; those of a pipe have one, and ours closes for writing.
            Some(Slot::Token { context: true, .. }) if !self.hup_alone => {
                flags.contains(ReadFlags::CLOSE_WRITE)
            }
            Some(Slot::Token { .. } | Slot::Pipe { end: PipeEnd::Read }) => {
                flags.contains(ReadFlags::CLOSE_NOWRITE)
            }
            Some(Slot::Pipe { end: PipeEnd::Write }) => flags.contains(ReadFlags::CLOSE_WRITE),
            None => false,
        }
    }

    /// Whether the kernel does what the table relies on; a clear error is better than ids that never come back.
    pub(super) fn self_test(&mut self) -> Result<(), Errno> {
        const TEST: VfdId = 0;
        let mut token_seen = true;
        for context in [true, false] {
            drop(self.add_token(TEST, context)?);
            token_seen &= self.closed() == [TEST];
            self.remove(TEST);
        }
        let memory = super::host::make_memory(4096)?;
        let reopened = self.add_handle(TEST, &Handle::host(memory), Some(4096))?;
        let early = self.closed();
        drop(reopened);
        let memory_seen = early.is_empty() && self.closed() == [TEST];
        self.remove(TEST);
        if token_seen && memory_seen {
            Ok(())
        } else {
            Err(Errno::OPNOTSUPP)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_closing() {
        for hup_alone in [false, true] {
            Table::new(hup_alone).unwrap().self_test().unwrap();
        }
    }

    #[test]
    fn one_inode_may_be_two_vfds() {
        let mut table = Table::new(false).unwrap();
        let memory = Handle::host(super::super::host::make_memory(4096).unwrap());
        let one = table.add_handle(1, &memory, Some(4096)).unwrap();
        let two = table.add_handle(2, &memory, Some(4096)).unwrap();
        let stat = fstat(&one).unwrap();
        assert_eq!(table.find(&stat, || one.try_clone().ok()), Found::Vfd(1));
        assert_eq!(table.find(&stat, || two.try_clone().ok()), Found::Vfd(2));
        drop(one);
        assert_eq!(table.closed(), [1]);
        table.remove(1);
        drop(two);
        assert_eq!(table.closed(), [2]);
    }
}
