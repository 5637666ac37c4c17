// SPDX-License-Identifier: MIT OR Apache-2.0
//! Moves bytes and descriptors between a socket and a channel. It knows no Wayland.
//!
//! Over a channel go bytes and memory of the host; a pipe is not passed, but what is written to it is sent. So for each pipe that
//! goes out somebody here writes what comes back, and for each that comes in somebody reads what is written. Memory that comes
//! in is copied, because programs expect it to behave as memory of their own: it is small, a keymap.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use heraldry_virtio::guest::{Channel, ChannelError, Incoming, Message, Outgoing};
use heraldry_wire::descriptors::{receive, send};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, MemfdFlags, fstat, memfd_create};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

/// Bytes to the host after which the device is asked to say when it is rid of them.
const UNFENCED: usize = 64 << 10;
/// Bytes of a pipe that wait for a program to read it, before nothing more is taken from the host.
const PIPE_WAITING: usize = 8 << 20;
/// What the kernel takes at once from a pipe that says it has room, whether it waits or not.
const PIPE_CHUNK: usize = 4096;

/// Why a client is not served any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BridgeError {
    /// The channel failed.
    #[error("the channel to the host failed")]
    Channel(#[from] ChannelError),
    /// The host has closed it.
    #[error("the host has closed the connection, or never took it")]
    Closed,
    /// The system failed.
    #[error("the system failed")]
    System(#[from] Errno),
}

/// A program's pipe that gets what comes from the host.
#[derive(Debug)]
struct Filled {
    pipe: OwnedFd,
    bytes: VecDeque<u8>,
    ended: bool,
}

impl Filled {
    /// Writes what there is room for. Whether it is still of use.
    fn fill(&mut self) -> bool {
        while !self.bytes.is_empty() {
            let mut ready = [PollFd::new(&self.pipe, PollFlags::OUT)];
            let now = rustix::event::Timespec::default();
            if !matches!(rustix::event::poll(&mut ready, Some(&now)), Ok(1..)) {
                return true;
            }
            let (head, _) = self.bytes.as_slices();
            let head = head.get(..PIPE_CHUNK).unwrap_or(head);
            match rustix::io::write(&self.pipe, head) {
                Ok(count) => drop(self.bytes.drain(..count)),
                Err(Errno::AGAIN | Errno::INTR) => return true,
                Err(_) => return false,
            }
        }
        !self.ended
    }
}

/// The bridge of one client.
#[derive(Debug)]
pub(crate) struct Bridge {
    socket: UnixStream,
    channel: Rc<RefCell<Channel>>,
    /// For the socket.
    inbound: Option<(Vec<u8>, Vec<OwnedFd>)>,
    /// Pipes of programs, by the number of what comes for them.
    filled: BTreeMap<u32, Filled>,
    /// Our ends of pipes that programs write, and their numbers at the host.
    emptied: Vec<(u32, OwnedFd)>,
    unfenced: usize,
    /// Can be read when the device is rid of what it was sent; until then it gets no more.
    fence: Option<OwnedFd>,
}

/// What to wait for, in this order: the socket, the channel or the fence, pipes.
fn interest<'a>(bridge: &'a Bridge, channel: &'a Channel) -> Vec<PollFd<'a>> {
    let mut fds = Vec::new();
    let mut socket = PollFlags::empty();
    socket.set(PollFlags::IN, bridge.fence.is_none());
    socket.set(PollFlags::OUT, bridge.inbound.is_some());
    fds.push(PollFd::new(&bridge.socket, socket));
    if bridge.inbound.is_none() && bridge.filled.values().all(|pipe| pipe.bytes.len() < PIPE_WAITING) {
        fds.push(PollFd::new(channel, PollFlags::IN));
    }
    if let Some(fence) = &bridge.fence {
        fds.push(PollFd::new(fence, PollFlags::IN));
    } else {
        let emptied = bridge.emptied.iter();
        fds.extend(emptied.map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)));
    }
    let full = bridge.filled.values().filter(|pipe| !pipe.bytes.is_empty());
    fds.extend(full.map(|pipe| PollFd::new(&pipe.pipe, PollFlags::OUT)));
    fds
}

impl Bridge {
    pub(crate) fn new(socket: UnixStream, channel: Rc<RefCell<Channel>>) -> Self {
        Self {
            socket,
            channel,
            inbound: None,
            filled: BTreeMap::new(),
            emptied: Vec::new(),
            unfenced: 0,
            fence: None,
        }
    }

    /// Waits until there is something to do here, or `other` can be read.
    pub(crate) fn wait(&self, other: BorrowedFd<'_>) -> Result<(), Errno> {
        let channel = self.channel.borrow();
        let mut fds = interest(self, &channel);
        fds.push(PollFd::from_borrowed_fd(other, PollFlags::IN));
        match rustix::event::poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Moves what can be moved. Whether the socket's other end is still there.
    pub(crate) fn work(&mut self) -> Result<bool, BridgeError> {
        if self
            .fence
            .as_ref()
            .is_some_and(|fence| can_be_read(fence.as_fd()))
        {
            self.fence = None;
        }
        self.filled.retain(|_, pipe| pipe.fill());
        self.deliver()?;
        while self.inbound.is_none() && self.filled.values().all(|pipe| pipe.bytes.len() < PIPE_WAITING) {
            let message = self.channel.borrow_mut().receive()?;
            let Some(message) = message else {
                break;
            };
            self.take(message)?;
            self.deliver()?;
        }
        let mut open = true;
        while open && self.fence.is_none() {
            match self.forward()? {
                Some(more) => open = more,
                None => break,
            }
        }
        if self.fence.is_none() {
            self.empty()?;
        }
        Ok(open)
    }

    fn take(&mut self, message: Message) -> Result<(), BridgeError> {
        match message {
            Message::End => return Err(BridgeError::Closed),
            Message::PipeData(number, bytes) => {
                if let Some(pipe) = self.filled.get_mut(&number) {
                    pipe.ended |= bytes.is_empty();
                    pipe.bytes.extend(bytes);
                    if !pipe.fill() {
                        self.filled.remove(&number);
                    }
                }
            }
            Message::Data(bytes, descriptors) => {
                let mut fds = Vec::with_capacity(descriptors.len());
                for descriptor in descriptors {
                    fds.push(match descriptor {
                        Incoming::Memory(item, size) => self.copy(item, size)?,
                        Incoming::WritePipe(number) => {
                            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
                            rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::NONBLOCK)?;
                            self.emptied.push((number, reader));
                            writer
                        }
                        // Something must come with the message; nobody is at its other end.
                        Incoming::Unusable => pipe_with(PipeFlags::CLOEXEC)?.1,
                    });
                }
                self.inbound = Some((bytes, fds));
            }
        }
        Ok(())
    }

    /// Memory of this VM with the same content.
    fn copy(&self, item: u32, size: u32) -> Result<OwnedFd, BridgeError> {
        let mut channel = self.channel.borrow_mut();
        let memory = channel.take_memory(item, size.into())?;
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        memory.read(&mut bytes);
        channel.free(memory);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let copy = memfd_create("heraldry-guest", flags)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let count = rustix::io::write(&copy, rest)?;
            rest = rest.get(count..).unwrap_or_default();
        }
        Ok(copy)
    }

    /// Gives the socket what waits for it.
    fn deliver(&mut self) -> Result<(), BridgeError> {
        while let Some((bytes, fds)) = &mut self.inbound {
            let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            match send(self.socket.as_fd(), bytes, &borrowed) {
                Ok(count) => {
                    fds.clear();
                    bytes.drain(..count);
                    if bytes.is_empty() {
                        self.inbound = None;
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => break,
                // Nobody listens any more; that shows when it is read.
                Err(_) => self.inbound = None,
            }
        }
        Ok(())
    }

    /// Sends what the socket has. `None`: nothing now; else whether more may come.
    fn forward(&mut self) -> Result<Option<bool>, BridgeError> {
        let (mut bytes, mut fds) = ([0; Channel::MOST], Vec::new());
        let count = match receive(self.socket.as_fd(), &mut bytes, &mut fds) {
            Ok(received) if received.bytes > 0 => received.bytes,
            Ok(_) | Err(Errno::CONNRESET) => return Ok(Some(false)),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let mut channel = self.channel.borrow_mut();
        let mut number = channel.next_pipe();
        let mut outgoing = Vec::with_capacity(fds.len());
        let mut pipes = Vec::new();
        for fd in &fds {
            if is_memory_of_the_card(fd)? {
                outgoing.push(Outgoing::Memory(fd.as_fd()));
            } else {
                outgoing.push(Outgoing::ReadPipe(number));
                pipes.push(number);
                number = number.wrapping_add(1);
            }
        }
        let fence = self.unfenced >= UNFENCED;
        self.fence = channel.send(bytes.get(..count).unwrap_or_default(), &outgoing, fence)?;
        self.unfenced = if fence {
            0
        } else {
            self.unfenced.saturating_add(count)
        };
        drop(outgoing);
        let mut numbers = pipes.into_iter();
        for fd in fds {
            if !is_memory_of_the_card(&fd)?
                && let Some(number) = numbers.next()
            {
                let (bytes, ended) = (VecDeque::new(), false);
                self.filled.insert(
                    number,
                    Filled {
                        pipe: fd,
                        bytes,
                        ended,
                    },
                );
            }
        }
        Ok(Some(true))
    }

    /// Sends what programs have written to pipes.
    fn empty(&mut self) -> Result<(), BridgeError> {
        let mut bytes = [0; Channel::PIPE_MOST];
        let mut index = 0;
        while let Some((number, pipe)) = self.emptied.get(index) {
            let count = match rustix::io::read(pipe, &mut bytes) {
                Ok(count) => count,
                Err(Errno::AGAIN | Errno::INTR) => {
                    index += 1;
                    continue;
                }
                Err(_) => 0,
            };
            let fence = self.unfenced >= UNFENCED;
            let channel = self.channel.borrow();
            let data = bytes.get(..count).unwrap_or_default();
            self.fence = channel.write_pipe(*number, data, count == 0, fence)?;
            drop(channel);
            self.unfenced = if fence {
                0
            } else {
                self.unfenced.saturating_add(count)
            };
            if count == 0 {
                self.emptied.remove(index);
            }
            if self.fence.is_some() {
                break;
            }
        }
        Ok(())
    }
}

/// Pipes and sockets have a kind, and so have files; what a card exports has none.
fn is_memory_of_the_card(fd: &OwnedFd) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(fstat(fd)?.st_mode) == FileType::Unknown)
}

fn can_be_read(fd: BorrowedFd<'_>) -> bool {
    let mut ready = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let now = rustix::event::Timespec::default();
    matches!(rustix::event::poll(&mut ready, Some(&now)), Ok(1..))
}
