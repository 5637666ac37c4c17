// SPDX-License-Identifier: MIT OR Apache-2.0
//! A channel of cross-domain virtio-gpu: one context of a graphics card that has no screen, connected to a socket of the host.
//!
//! Rules of the driver and the device that this module keeps, so that its users need not know them:
//!
//! * one open file of the card is one context, and one context is one connection
//! * the device tells one message for each time it is asked, in a page that both see; then it is asked again
//! * a refused command has no answer: a channel that isn't connected says that it has ended
//! * memory is mapped whole, and has whole pages
//! * pipes don't pass: bytes of a pipe are messages, and the guest counts the pipes that it reads
//! * who sends must wait now and then for the device to be rid of it, or it cuts him off

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use heraldry_wire::cross_domain::{
    CAPSET, CHANNEL, HEADER, MESSAGE, PIPE, PIPE_ROOM, READ_PIPES, RING, ROOM, command, format, kind,
};
use heraldry_wire::virtwl::{MAX_FDS, PAGE_SIZE};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::sys::drm::{self, Fence, Memory};
use crate::sys::mapping::Mapping;

/// Where render nodes are.
pub(super) const NODES: &str = "/dev/dri";

/// Why there is no channel, or why it failed.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// No card of this machine has cross-domain.
    #[error("There is no graphics card with cross-domain; does the VM have the device of heraldry-device?")]
    NoCard,
    /// The card can't be opened.
    #[error("The card {0} could not be opened")]
    Open(PathBuf, #[source] Errno),
    /// The card makes no context.
    #[error("The card makes no context for cross-domain")]
    Context(#[source] Errno),
    /// The card makes no memory to talk through.
    #[error("The card has no memory for a ring")]
    Ring(#[source] Errno),
    /// A command was not taken.
    #[error("The card does not take a command")]
    Submit(#[source] Errno),
    /// Events can't be read.
    #[error("The card's events could not be read")]
    Event(#[source] Errno),
    /// The host has no more memory for this VM.
    #[error("The host has no {0} bytes of memory for this VM")]
    Memory(u64),
    /// Memory can't be made or mapped.
    #[error("Memory of the host could not be made or mapped")]
    Map(#[source] Errno),
    /// A descriptor that can't be sent.
    #[error("A descriptor is neither memory of the card nor a pipe")]
    Descriptor,
}

/// A blob of this context, which ends with this value.
#[derive(Debug)]
struct Blob {
    handle: u32,
    resource: u32,
}

/// Memory of the host, mapped here.
#[derive(Debug)]
pub struct SharedMemory {
    fd: OwnedFd,
    mapping: Mapping,
    size: u64,
}

impl SharedMemory {
    /// How many bytes there are: whole pages.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Has the kernel copy `len` bytes of `file` from `offset` to this memory from `at` on. Nothing is mapped of the file, so
    /// that one which is cut short does no harm. Returns how many bytes there were.
    ///
    /// # Errors
    ///
    /// The file can't be read.
    pub fn copy_from(
        &mut self,
        at: usize,
        len: usize,
        file: BorrowedFd<'_>,
        offset: u64,
    ) -> Result<usize, Errno> {
        let mut done = 0;
        while done < len {
            let from = u64::try_from(done).ok().and_then(|done| offset.checked_add(done));
            let from = from
                .and_then(|from| i64::try_from(from).ok())
                .ok_or(Errno::INVAL)?;
            match self
                .mapping
                .read_file(at.saturating_add(done), len - done, file, from)
            {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(done)
    }

    /// Copies what is here from the beginning on.
    pub fn read(&self, bytes: &mut [u8]) {
        self.mapping.read(0, bytes);
    }
}

impl AsFd for SharedMemory {
    /// To be sent on the channel that made it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A descriptor that goes out with a message.
#[derive(Debug)]
pub enum Outgoing<'a> {
    /// Memory of the card.
    Memory(BorrowedFd<'a>),
    /// A pipe; its bytes come as [`Message::PipeData`] under this number, which [`Channel::next_pipe`] said.
    ReadPipe(u32),
}

/// A descriptor that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming {
    /// Memory: an item for [`Channel::take_memory`], and its size.
    Memory(u32, u32),
    /// A pipe to be written to by [`Channel::write_pipe`].
    WritePipe(u32),
    /// Something that doesn't pass.
    Unusable,
}

/// What the device tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Bytes and descriptors from the host.
    Data(Vec<u8>, Vec<Incoming>),
    /// Bytes of a pipe that this side reads; none are its end.
    PipeData(u32, Vec<u8>),
    /// The host has closed the channel, or never opened it.
    End,
}

/// A channel.
#[derive(Debug)]
pub struct Channel {
    card: OwnedFd,
    query: (Blob, Mapping),
    ring: (Blob, Mapping),
    pipes: u32,
    /// Handles of memory that was made here; others are imported for a moment.
    own: BTreeSet<u32>,
}

/// The render node of a card that has cross-domain.
///
/// # Errors
///
/// There is none.
pub fn find_card() -> Result<PathBuf, ChannelError> {
    let entries = fs::read_dir(NODES).map_err(|_none| ChannelError::NoCard)?;
    let mut nodes: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    nodes.sort();
    let is_render = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| name.starts_with("renderD"))
    };
    let has_it = |path: &PathBuf| open(path).is_ok_and(|card| is_card(card.as_fd()));
    let mut nodes = nodes.into_iter().filter(is_render);
    nodes.find(has_it).ok_or(ChannelError::NoCard)
}

/// Whether an open device is a card that has cross-domain.
pub(super) fn is_card(device: BorrowedFd<'_>) -> bool {
    drm::capsets(device).is_ok_and(|sets| sets >> CAPSET & 1 == 1)
}

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    rustix::fs::open(path, flags, Mode::empty())
}

/// A command, with its size.
fn encode(number: u8, words: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend_from_slice(data);
    // All are shorter than a page.
    let size = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes();
    if let [_, _, low, high, ..] = bytes.as_mut_slice() {
        [*low, *high] = size;
    }
    bytes
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let field = bytes.get(at..).and_then(<[u8]>::first_chunk);
    field.map_or(0, |field| u32::from_le_bytes(*field))
}

/// What a ring says. The device may write to it at any time, so this is a copy.
fn decode(ring: &[u8]) -> Message {
    let length = |at: usize, most: usize| usize::try_from(word(ring, at)).unwrap_or(most).min(most);
    let data = |at: usize, len: usize| ring.get(at..at + len).unwrap_or_default().to_vec();
    match ring.first() {
        Some(&command::RECEIVE) => {
            let count = length(HEADER, MAX_FDS);
            let bytes = data(MESSAGE, length(HEADER + 4, ROOM));
            let field = |number: usize, index: usize| word(ring, HEADER + 8 + 4 * (number * MAX_FDS + index));
            let descriptor = |index| match field(1, index) {
                kind::BLOB => Incoming::Memory(field(0, index), field(2, index)),
                kind::WRITE_PIPE => Incoming::WritePipe(field(0, index)),
                _ => Incoming::Unusable,
            };
            let descriptors: Vec<_> = (0..count).map(descriptor).collect();
            if bytes.is_empty() && descriptors.is_empty() {
                Message::End
            } else {
                Message::Data(bytes, descriptors)
            }
        }
        Some(&command::READ) => {
            Message::PipeData(word(ring, HEADER), data(PIPE, length(HEADER + 8, PIPE_ROOM)))
        }
        // Nothing was written: the device has no channel for this context.
        _ => Message::End,
    }
}

fn blob(card: BorrowedFd<'_>, memory: Memory, size: u64) -> Result<(Blob, Mapping), Errno> {
    let (handle, resource) = drm::create_blob(card, memory, size)?;
    let map = || {
        let offset = drm::map_offset(card, handle)?;
        let len = usize::try_from(size).map_err(|_large| Errno::INVAL)?;
        Mapping::of_card(card, offset, len)
    };
    match map() {
        Ok(mapping) => Ok((Blob { handle, resource }, mapping)),
        Err(errno) => {
            let _closed = drm::close(card, handle);
            Err(errno)
        }
    }
}

impl Channel {
    /// Connects a new context of the card at this path.
    ///
    /// # Errors
    ///
    /// See [`ChannelError`]. A host that takes nobody shows later, as the end of the channel.
    pub fn open(path: &Path) -> Result<Self, ChannelError> {
        let card = open(path).map_err(|errno| ChannelError::Open(path.to_owned(), errno))?;
        drm::init(card.as_fd(), CAPSET).map_err(ChannelError::Context)?;
        let size = u64::try_from(RING).unwrap_or(PAGE_SIZE);
        let ring = || blob(card.as_fd(), Memory::Guest, size).map_err(ChannelError::Ring);
        let (query, ring) = (ring()?, ring()?);
        let channel = Self {
            card,
            query,
            ring,
            pipes: READ_PIPES,
            own: BTreeSet::new(),
        };
        let words = [channel.query.0.resource, channel.ring.0.resource, CHANNEL];
        channel.submit(&encode(command::INIT, &words, &[]), Fence::None)?;
        channel.ask()?;
        Ok(channel)
    }

    fn submit(&self, commands: &[u8], fence: Fence) -> Result<Option<OwnedFd>, ChannelError> {
        drm::submit(self.card.as_fd(), commands, fence).map_err(ChannelError::Submit)
    }

    /// Submits any bytes, as any program of the guest may.
    ///
    /// # Errors
    ///
    /// The card does not take them; what the device thinks of them it does not say.
    pub fn submit_anything(&self, bytes: &[u8]) -> Result<(), ChannelError> {
        self.submit(bytes, Fence::None).map(drop)
    }

    /// Asks for the next message.
    fn ask(&self) -> Result<(), ChannelError> {
        self.submit(&encode(command::POLL, &[], &[]), Fence::Event)
            .map(drop)
    }

    /// The next message, if there is one; the channel's descriptor can be read then.
    ///
    /// # Errors
    ///
    /// The card failed.
    pub fn receive(&mut self) -> Result<Option<Message>, ChannelError> {
        // Only one event is ever asked for.
        match rustix::io::read(&self.card, &mut [0; 64]) {
            Ok(1..) => {}
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(errno) => return Err(ChannelError::Event(errno)),
        }
        let mut ring = [0; RING];
        self.ring.1.read(0, &mut ring);
        self.ring.1.write(&[0; HEADER]);
        let message = decode(&ring);
        if message != Message::End {
            self.ask()?;
        }
        Ok(Some(message))
    }

    /// Whether a descriptor is memory that can be sent.
    pub(super) fn has(&self, fd: BorrowedFd<'_>) -> bool {
        let card = self.card.as_fd();
        let Ok(handle) = drm::import(card, fd) else {
            return false;
        };
        let has = drm::resource(card, handle).is_ok();
        if !self.own.contains(&handle) {
            let _closed = drm::close(card, handle);
        }
        has
    }

    /// The number of the next pipe that is sent.
    #[must_use]
    pub const fn next_pipe(&self) -> u32 {
        self.pipes.wrapping_add(1)
    }

    /// Most bytes of one [`Self::send`].
    pub const MOST: usize = ROOM;

    /// Sends at most [`Self::MOST`] bytes and 28 descriptors. With `fence`, the descriptor that is returned can be read when the
    /// device is rid of enough of what was sent.
    ///
    /// # Errors
    ///
    /// A descriptor can't be sent, or the card failed.
    pub fn send(
        &mut self,
        bytes: &[u8],
        descriptors: &[Outgoing<'_>],
        fence: bool,
    ) -> Result<Option<OwnedFd>, ChannelError> {
        let (mut ids, mut kinds) = ([0; MAX_FDS], [0; MAX_FDS]);
        let mut imported = Vec::new();
        let mut pipes = self.pipes;
        let mut slots = ids.iter_mut().zip(&mut kinds);
        for descriptor in descriptors {
            let (id, kind) = slots.next().ok_or(ChannelError::Descriptor)?;
            match descriptor {
                Outgoing::Memory(fd) => {
                    let card = self.card.as_fd();
                    let handle = drm::import(card, *fd).map_err(|_foreign| ChannelError::Descriptor)?;
                    if !self.own.contains(&handle) {
                        imported.push(handle);
                    }
                    *id = drm::resource(card, handle).map_err(|_foreign| ChannelError::Descriptor)?;
                    *kind = kind::BLOB;
                }
                Outgoing::ReadPipe(number) => {
                    pipes = *number;
                    (*id, *kind) = (*number, kind::READ_PIPE);
                }
            }
        }
        let length = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let mut words = vec![length(descriptors.len()), length(bytes.len())];
        words.extend(ids);
        words.extend(kinds);
        words.extend([0; MAX_FDS]);
        let fence = if fence { Fence::Descriptor } else { Fence::None };
        let sent = self.submit(&encode(command::SEND, &words, bytes), fence);
        self.pipes = pipes;
        for handle in imported {
            let _closed = drm::close(self.card.as_fd(), handle);
        }
        sent
    }

    /// Most bytes of one [`Self::write_pipe`].
    pub const PIPE_MOST: usize = PIPE_ROOM;

    /// Writes to a pipe that came in; `last` closes it. With `fence` as for [`Self::send`].
    ///
    /// # Errors
    ///
    /// The card failed.
    pub fn write_pipe(
        &self,
        pipe: u32,
        bytes: &[u8],
        last: bool,
        fence: bool,
    ) -> Result<Option<OwnedFd>, ChannelError> {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let words = [pipe, u32::from(last), length, 0];
        let fence = if fence { Fence::Descriptor } else { Fence::None };
        self.submit(&encode(command::WRITE, &words, bytes), fence)
    }

    /// Memory of the host, of so many bytes rounded up to pages.
    ///
    /// # Errors
    ///
    /// The host has none for this VM, or it can't be mapped.
    pub fn allocate(&mut self, size: u64) -> Result<SharedMemory, ChannelError> {
        let refused = || ChannelError::Memory(size);
        let pages = size.checked_next_multiple_of(PAGE_SIZE).ok_or_else(refused)?;
        let lines = u32::try_from(pages / PAGE_SIZE).map_err(|_large| refused())?;
        let width = u32::try_from(PAGE_SIZE).unwrap_or(0);
        // A refused question leaves the old answer there.
        self.query.1.write(&[0; RING]);
        let question = encode(
            command::IMAGE_REQUIREMENTS,
            &[width, lines, format::R8, 1 << 4],
            &[],
        );
        let handle = self.query.0.handle;
        self.submit(&question, Fence::Blob(handle))?;
        drm::wait(self.card.as_fd(), handle).map_err(ChannelError::Map)?;
        let mut answer = [0; 64];
        self.query.1.read(0, &mut answer);
        let (size, item) = (word(&answer, 40), word(&answer, 48));
        if u64::from(size) != pages || item == 0 {
            return Err(refused());
        }
        self.take_memory(item, pages)
    }

    /// Memory that came in.
    ///
    /// # Errors
    ///
    /// It was taken already, or can't be mapped.
    pub fn take_memory(&mut self, item: u32, size: u64) -> Result<SharedMemory, ChannelError> {
        let card = self.card.as_fd();
        let (blob, mapping) = blob(card, Memory::Host(item.into()), size).map_err(ChannelError::Map)?;
        match drm::export(card, blob.handle) {
            Ok(fd) => {
                self.own.insert(blob.handle);
                Ok(SharedMemory { fd, mapping, size })
            }
            Err(errno) => {
                let _closed = drm::close(card, blob.handle);
                Err(ChannelError::Map(errno))
            }
        }
    }

    /// A descriptor of memory that came in, without mapping it here.
    ///
    /// # Errors
    ///
    /// It was taken already, or can't be exported.
    pub fn take_descriptor(&self, item: u32, size: u64) -> Result<OwnedFd, ChannelError> {
        let card = self.card.as_fd();
        let (handle, _) =
            drm::create_blob(card, Memory::Host(item.into()), size).map_err(ChannelError::Map)?;
        let exported = drm::export(card, handle).map_err(ChannelError::Map);
        // The descriptor keeps it.
        let _closed = drm::close(card, handle);
        exported
    }

    /// Gives memory back to the host.
    pub fn free(&mut self, memory: SharedMemory) {
        if let Ok(handle) = drm::import(self.card.as_fd(), memory.as_fd()) {
            self.own.remove(&handle);
            drop(memory);
            let _closed = drm::close(self.card.as_fd(), handle);
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.card.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_read_and_lies_in_them_are_bounded() {
        let ring = |bytes: &[u8]| {
            let mut ring = bytes.to_vec();
            ring.resize(RING, 7);
            ring
        };
        let words = |words: &[u32]| {
            words
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .collect::<Vec<u8>>()
        };
        assert_eq!(decode(&[0; RING]), Message::End);
        assert_eq!(decode(&[]), Message::End);
        let mut end = words(&[5, 0, 0, 0]);
        end.resize(RING, 0);
        assert_eq!(decode(&end), Message::End);
        let pipe = ring(&words(&[6, 0, 9, 0, 3, 0]));
        assert_eq!(decode(&pipe), Message::PipeData(9, vec![7; 3]));
        let pipe = ring(&words(&[6, 0, 9, 0, u32::MAX, 0]));
        assert_eq!(decode(&pipe), Message::PipeData(9, vec![7; PIPE_ROOM]));
        let Message::Data(bytes, descriptors) = decode(&ring(&words(&[5, 0, u32::MAX, u32::MAX]))) else {
            panic!("a message");
        };
        assert_eq!((bytes.len(), descriptors.len()), (ROOM, MAX_FDS));
        assert!(
            descriptors
                .iter()
                .all(|descriptor| *descriptor == Incoming::Unusable)
        );
    }

    #[test]
    fn commands_say_their_size() {
        let bytes = encode(command::WRITE, &[1, 0, 3, 0], b"abc");
        assert_eq!(
            bytes,
            [
                7, 0, 27, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, b'a', b'b', b'c'
            ]
        );
        assert!(matches!(
            Channel::open(Path::new("/dev/null")),
            Err(ChannelError::Context(_))
        ));
    }
}
