// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a context has besides its connection: memory that waits to become a blob, and pipes.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use heraldry_wire::cross_domain::{PIPE_ROOM, READ_PIPES};
use rustix::event::epoll::EventFlags;
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::command::{Incoming, pipe_data};
use crate::limits::{ITEMS, PIPE_QUEUED, QUEUED};
use crate::memory::mappable;
use crate::pipe::Writer;
use crate::watch::{Poller, Watched, key};

/// Why an item can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ItemError {
    #[error("there are {ITEMS} descriptors that the guest neither uses nor gives back")]
    TooMany,
    #[error("there is no item {0} of this kind")]
    Unknown(u64),
    #[error("the next pipe has another number than {0:#x}")]
    Number(u32),
    #[error("the system failed")]
    System(#[from] Errno),
}

#[derive(Debug)]
enum Item {
    /// Memory from the host, and its size.
    Memory(OwnedFd, u64),
    /// Memory that isn't made yet.
    Image(u64),
    /// A pipe of a stranger.
    Write(WritePipe),
    /// Our end of a pipe that a stranger writes.
    Read(Watched),
}

#[derive(Debug)]
struct WritePipe {
    fd: Watched,
    bytes: VecDeque<u8>,
    last: bool,
}

impl WritePipe {
    /// Writes what there is room for. Whether it is still of use.
    fn flush(&mut self, writer: &Writer) -> bool {
        while !self.bytes.is_empty() {
            let (head, _) = self.bytes.as_slices();
            match writer.write(self.fd.as_fd(), head) {
                Ok(count) => drop(self.bytes.drain(..count)),
                Err(Errno::AGAIN | Errno::INTR) => {
                    self.fd.wait_for(EventFlags::OUT);
                    return true;
                }
                Err(_) => return false,
            }
        }
        !self.last
    }
}

/// Memory that becomes a blob.
#[derive(Debug)]
pub(crate) enum Raw {
    /// It is there, so large.
    Memory(OwnedFd, u64),
    /// It is to be made, so large.
    Image(u64),
}

/// The items of one context.
#[derive(Debug)]
pub(crate) struct Items {
    context: u32,
    poller: Arc<Poller>,
    table: BTreeMap<u32, Item>,
    last: u32,
    pipes: u32,
}

impl Items {
    pub(crate) fn new(context: u32, poller: Arc<Poller>) -> Self {
        Self {
            context,
            poller,
            table: BTreeMap::new(),
            last: 0,
            pipes: READ_PIPES,
        }
    }

    fn watch(&self, fd: OwnedFd, id: u32) -> Result<Watched, Errno> {
        Watched::new(&self.poller, fd, key(self.context, id))
    }

    fn next(&mut self) -> Result<u32, ItemError> {
        if self.table.len() >= ITEMS {
            return Err(ItemError::TooMany);
        }
        // A context may live as long as its VM, so numbers come again; of so few in use one is always free.
        loop {
            self.last = if self.last >= READ_PIPES - 1 {
                1
            } else {
                self.last + 1
            };
            if !self.table.contains_key(&self.last) {
                return Ok(self.last);
            }
        }
    }

    /// Room for memory that the guest is about to ask for.
    pub(crate) fn add_image(&mut self, size: u64) -> Result<u32, ItemError> {
        let id = self.next()?;
        self.table.insert(id, Item::Image(size));
        Ok(id)
    }

    /// A descriptor that came with a message.
    pub(crate) fn take_in(&mut self, fd: OwnedFd) -> Incoming {
        let Ok(stat) = fstat(&fd) else {
            return Incoming::Unusable;
        };
        let Ok(id) = self.next() else {
            return Incoming::Unusable;
        };
        let (item, incoming) = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Fifo => {
                let writable = fcntl_getfl(&fd).is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::WRONLY);
                let Some(fd) = writable.then(|| self.watch(fd, id)).and_then(Result::ok) else {
                    return Incoming::Unusable;
                };
                let (bytes, last) = (VecDeque::new(), false);
                let pipe = WritePipe { fd, bytes, last };
                (Item::Write(pipe), Incoming::WritePipe(id))
            }
            _ => {
                let Ok((file, size)) = mappable(fd) else {
                    return Incoming::Unusable;
                };
                let told = u32::try_from(size).unwrap_or(u32::MAX);
                (Item::Memory(file, size), Incoming::Blob(id, told))
            }
        };
        self.table.insert(id, item);
        incoming
    }

    /// Takes memory out, to become a blob.
    pub(crate) fn take_memory(&mut self, id: u64) -> Result<Raw, ItemError> {
        let number = u32::try_from(id).map_err(|_large| ItemError::Unknown(id))?;
        match self.table.remove(&number) {
            Some(Item::Memory(file, size)) => Ok(Raw::Memory(file, size)),
            Some(Item::Image(size)) => Ok(Raw::Image(size)),
            other => {
                // A pipe stays what it is.
                self.table.extend(other.map(|item| (number, item)));
                Err(ItemError::Unknown(id))
            }
        }
    }

    /// A pipe that the guest will read under the number that it expects. Returns the end that goes out.
    pub(crate) fn add_read_pipe(&mut self, id: u32) -> Result<OwnedFd, ItemError> {
        if self.table.len() >= ITEMS || self.pipes == u32::MAX {
            return Err(ItemError::TooMany);
        }
        if id != self.pipes + 1 {
            return Err(ItemError::Number(id));
        }
        // Who writes decides himself whether he waits, so only our end doesn't.
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK)?;
        let reader = self.watch(reader, id)?;
        self.pipes = id;
        self.table.insert(id, Item::Read(reader));
        Ok(writer)
    }

    /// Bytes of the guest for a stranger's pipe.
    pub(crate) fn write(
        &mut self,
        id: u32,
        bytes: &[u8],
        last: bool,
        writer: &Writer,
    ) -> Result<(), ItemError> {
        let Some(Item::Write(pipe)) = self.table.get_mut(&id) else {
            return Err(ItemError::Unknown(id.into()));
        };
        pipe.bytes.extend(bytes);
        pipe.last |= last;
        // Who does not read that much gets no more.
        let goes_on = pipe.flush(writer) && pipe.bytes.len() <= PIPE_QUEUED;
        let waits = !pipe.bytes.is_empty();
        if !goes_on || (waits && self.bytes() > QUEUED) {
            self.table.remove(&id);
        }
        Ok(())
    }

    /// Something has happened to an item.
    pub(crate) fn ready(&mut self, id: u32, writer: &Writer) {
        if let Some(Item::Write(pipe)) = self.table.get_mut(&id)
            && !pipe.flush(writer)
        {
            self.table.remove(&id);
        }
    }

    /// Bytes that wait for readers of pipes.
    pub(crate) fn bytes(&self) -> usize {
        let pipes = self.table.range(..READ_PIPES);
        pipes
            .map(|(_, item)| {
                if let Item::Write(pipe) = item {
                    pipe.bytes.len()
                } else {
                    0
                }
            })
            .sum()
    }

    /// The next bytes of a pipe that the guest reads, as a message.
    pub(crate) fn read(&mut self) -> Option<Vec<u8>> {
        let mut bytes = [0; PIPE_ROOM];
        let pipes = self.table.range(READ_PIPES..);
        let (id, count) = pipes.into_iter().find_map(|(id, item)| match item {
            Item::Read(fd) => match rustix::io::read(fd, &mut bytes) {
                Ok(count) => Some((*id, count)),
                Err(Errno::AGAIN | Errno::INTR) => None,
                // Nothing comes any more.
                Err(_) => Some((*id, 0)),
            },
            _ => None,
        })?;
        if count == 0 {
            self.table.remove(&id);
        }
        Some(pipe_data(id, bytes.get(..count).unwrap_or_default()))
    }

    /// Waits for what the guest reads.
    pub(crate) fn wait(&self) {
        for item in self.table.range(READ_PIPES..) {
            if let (_, Item::Read(fd)) = item {
                fd.wait_for(EventFlags::IN);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::pipe::pipe;

    use super::*;

    #[test]
    fn what_is_not_used_is_bounded() {
        let mut items = Items::new(1, Poller::new().unwrap());
        for _ in 0..ITEMS / 2 {
            let (_reader, writer) = pipe().unwrap();
            assert!(matches!(items.take_in(writer), Incoming::WritePipe(_)));
            items.add_image(4096).unwrap();
        }
        let (_reader, writer) = pipe().unwrap();
        assert_eq!(items.take_in(writer), Incoming::Unusable);
        assert!(matches!(items.add_image(4096), Err(ItemError::TooMany)));
        let next = items.add_read_pipe(READ_PIPES + 1);
        assert!(matches!(next, Err(ItemError::TooMany)));
        // Each is used once, and makes room.
        assert!(matches!(items.take_memory(2), Ok(Raw::Image(4096))));
        assert!(matches!(items.take_memory(2), Err(ItemError::Unknown(2))));
        assert!(matches!(items.take_memory(1), Err(ItemError::Unknown(1))));
        items.add_image(4096).unwrap();
    }

    #[test]
    fn numbers_come_again_and_none_is_of_two_items() {
        let mut items = Items::new(1, Poller::new().unwrap());
        let first = items.add_image(4096).unwrap();
        items.last = READ_PIPES - 2;
        assert_eq!(items.add_image(8192).unwrap(), READ_PIPES - 1);
        assert_eq!((first, items.add_image(12288).unwrap()), (1, 2));
        assert!(matches!(items.take_memory(1), Ok(Raw::Image(4096))));
        assert!(matches!(items.take_memory(2), Ok(Raw::Image(12288))));
    }
}
