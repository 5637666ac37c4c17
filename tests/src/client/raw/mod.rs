// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client that says what it likes, word by word, and writes down every event that it is told.
//!
//! It knows the protocols' tables and nothing else: a test names a request and gives its arguments, right or wrong.
//! [`shapes`] has the few things that take more than a line.

mod events;
pub mod random;
mod shapes;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io::{IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use wayland_client::backend::protocol::{Interface, MessageDesc};

pub use events::{Event, Value};
pub use shapes::{RawPopup, RawWindow, memory, pipe};

/// The most that a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes that are collected before they are written.
const BATCH: usize = 8 << 10;

/// One argument of a request.
#[derive(Debug, Clone, Copy)]
pub enum Arg<'a> {
    /// A number, an object, or the bits of a fixed-point number.
    U(u32),
    /// A signed number.
    I(i32),
    /// A text.
    S(&'a str),
    /// A new object with the next id.
    New,
    /// A descriptor.
    Fd(BorrowedFd<'a>),
}

/// A client.
#[derive(Debug)]
pub struct Raw {
    stream: UnixStream,
    out: Vec<u8>,
    input: Vec<u8>,
    incoming: VecDeque<OwnedFd>,
    objects: HashMap<u32, (&'static Interface, u32)>,
    bound: BTreeMap<String, u32>,
    done: HashSet<u32>,
    acknowledged: HashMap<u32, u32>,
    /// The id of the next new object.
    pub next: u32,
    /// Its registry: interface and version by name.
    pub globals: BTreeMap<u32, (String, u32)>,
    /// Every event but those of callbacks, registry and deleted ids.
    pub events: Vec<Event>,
    /// Descriptors that events brought.
    pub descriptors: Vec<OwnedFd>,
    /// Ids that the compositor has let go of.
    pub freed: Vec<u32>,
    /// The text of the protocol error, if there was one.
    pub error: Option<String>,
    /// Whether the connection is over.
    pub ended: bool,
    /// It does not read what it is sent.
    pub deaf: bool,
    /// It uses ids again, as libraries do. Who looks at ids had better not.
    pub thrifty: bool,
}

impl Raw {
    /// A client that has said nothing yet.
    #[must_use]
    pub fn silent(stream: UnixStream) -> Self {
        stream.set_nonblocking(true).expect("a socket");
        let mut objects = HashMap::new();
        objects.insert(1, (heraldry_gate::display(), 1));
        Self {
            stream,
            out: Vec::new(),
            input: Vec::new(),
            incoming: VecDeque::new(),
            objects,
            bound: BTreeMap::new(),
            done: HashSet::new(),
            acknowledged: HashMap::new(),
            next: 2,
            globals: BTreeMap::new(),
            events: Vec::new(),
            descriptors: Vec::new(),
            freed: Vec::new(),
            error: None,
            ended: false,
            deaf: false,
            thrifty: false,
        }
    }

    /// A client that knows its globals; its registry is object 2.
    ///
    /// # Panics
    ///
    /// The connection ends.
    #[must_use]
    #[track_caller]
    pub fn new(stream: UnixStream) -> Self {
        let mut raw = Self::silent(stream);
        raw.send(1, "get_registry", &[Arg::New]);
        raw.settle();
        raw
    }

    fn request(&self, id: u32, name: &str) -> Option<(u16, &'static MessageDesc)> {
        let (interface, _) = self.objects.get(&id)?;
        let opcode = interface.requests.iter().position(|desc| desc.name == name)?;
        Some((u16::try_from(opcode).ok()?, interface.requests.get(opcode)?))
    }

    fn fresh_id(&mut self) -> u32 {
        if let Some(id) = self.freed.pop_if(|_| self.thrifty) {
            self.done.remove(&id);
            return id;
        }
        self.next += 1;
        self.next - 1
    }

    /// Sends a request; returns the id of the object that it makes, if it makes one.
    ///
    /// # Panics
    ///
    /// The object has no such request, or the client does not know the object.
    #[track_caller]
    pub fn send(&mut self, id: u32, name: &str, args: &[Arg<'_>]) -> u32 {
        let (opcode, desc) = self
            .request(id, name)
            .unwrap_or_else(|| panic!("object {id} has no request {name}"));
        let version = self.objects.get(&id).map_or(1, |(_, version)| *version);
        let (mut body, mut fds, mut made) = (Vec::new(), Vec::new(), 0);
        for arg in args {
            match *arg {
                Arg::U(word) => body.extend(word.to_ne_bytes()),
                Arg::I(word) => body.extend(word.to_ne_bytes()),
                Arg::S(text) => body.extend(encoded(text)),
                Arg::New => {
                    made = self.fresh_id();
                    body.extend(made.to_ne_bytes());
                }
                Arg::Fd(fd) => fds.push(fd),
            }
        }
        if made != 0
            && let Some(child) = desc.child_interface
        {
            self.objects.insert(made, (child, version));
        }
        self.message(id, opcode, &body, &fds);
        made
    }

    /// Sends a message of any form.
    pub fn message(&mut self, id: u32, opcode: u16, body: &[u8], fds: &[BorrowedFd<'_>]) {
        let length = u32::try_from(body.len() + 8).expect("a length");
        let header = [id, length << 16 | u32::from(opcode)].map(u32::to_ne_bytes);
        let mut bytes = header.concat();
        bytes.extend(body);
        self.bytes(&bytes, fds);
    }

    /// Sends any bytes with any descriptors.
    pub fn bytes(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        if fds.is_empty() {
            self.out.extend(bytes);
            if self.out.len() >= BATCH {
                self.flush();
            }
            return;
        }
        // They go with the first byte of their message, or not at all.
        self.flush();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let start = Instant::now();
        while !self.ended && start.elapsed() < PATIENCE {
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(
                control.push(SendAncillaryMessage::ScmRights(fds)),
                "so many descriptors fit"
            );
            let flags = SendFlags::NOSIGNAL;
            match sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut control, flags) {
                Ok(sent) => {
                    self.out.extend(bytes.get(sent..).unwrap_or_default());
                    break;
                }
                // Too many are in flight: they wait in a socket until somebody takes them.
                Err(Errno::AGAIN | Errno::TOOMANYREFS) => self.pump(Duration::from_millis(5)),
                // What it was told last is still to be read.
                Err(_) => self.drain(),
            }
        }
        self.flush();
    }

    /// Sends bytes with descriptors at once or not at all; `false` if there is no room for them now.
    pub fn offer(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> bool {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(
            control.push(SendAncillaryMessage::ScmRights(fds)),
            "so many descriptors fit"
        );
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut control, flags).is_ok()
    }

    /// Writes everything, and reads meanwhile, unless it is deaf. Gives up when nobody takes anything for a while.
    pub fn flush(&mut self) {
        let mut last = (Instant::now(), self.out.len());
        while !self.out.is_empty() && !self.ended {
            self.pump(Duration::from_millis(20));
            if self.out.len() < last.1 {
                last = (Instant::now(), self.out.len());
            }
            let limit = if self.deaf {
                Duration::from_millis(500)
            } else {
                PATIENCE
            };
            if last.0.elapsed() > limit {
                self.over();
            }
        }
    }

    /// Writes and reads what goes; waits for either, but not longer than `limit`.
    pub fn pump(&mut self, limit: Duration) {
        if self.ended {
            return;
        }
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, !self.deaf);
        wanted.set(PollFlags::OUT, !self.out.is_empty());
        let limit = Timespec::try_from(limit).expect("a short time");
        let mut fds = [PollFd::new(&self.stream, wanted)];
        // Interrupted is as good as nothing there.
        let _ready = poll(&mut fds, Some(&limit));
        let ready = fds.first().map_or(PollFlags::empty(), PollFd::revents);
        if ready.intersects(PollFlags::IN | PollFlags::HUP) && !self.deaf {
            self.read();
        }
        if !self.out.is_empty() && !self.ended {
            match self.stream.write(&self.out) {
                Ok(sent) => drop(self.out.drain(..sent)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                // What it was told last is still to be read.
                Err(_) => {
                    self.out.clear();
                    self.drain();
                }
            }
        }
    }

    fn over(&mut self) {
        self.ended = true;
        self.out.clear();
    }

    /// Reads to the end.
    fn drain(&mut self) {
        let start = Instant::now();
        while !self.ended && start.elapsed() < PATIENCE {
            let mut fds = [PollFd::new(&self.stream, PollFlags::IN)];
            let limit = Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            };
            let _ready = poll(&mut fds, Some(&limit));
            self.read();
        }
    }

    /// Reads once.
    fn read(&mut self) {
        let mut bytes = vec![0; 64 << 10];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(
            &self.stream,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            flags,
        );
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                self.incoming.extend(rights);
            }
        }
        match received {
            Ok(received) if received.bytes > 0 => {
                self.input.extend(bytes.get(..received.bytes).unwrap_or_default());
                self.dispatch();
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            _ => self.over(),
        }
    }

    /// Binds a global in its offered version, once; returns its object.
    ///
    /// # Panics
    ///
    /// It is not offered.
    #[track_caller]
    pub fn global(&mut self, interface: &str) -> u32 {
        if let Some(id) = self.bound.get(interface) {
            return *id;
        }
        let id = self.another_global(interface, u32::MAX);
        self.bound.insert(interface.to_owned(), id);
        id
    }

    /// Binds a global once more, in a version that is at most this.
    ///
    /// # Panics
    ///
    /// It is not offered.
    #[track_caller]
    pub fn another_global(&mut self, interface: &str, version: u32) -> u32 {
        let mut globals = self.globals.iter();
        let found = globals.find(|(_, (offered, _))| offered == interface);
        let (name, offered) = found
            .map(|(name, (_, version))| (*name, *version))
            .unwrap_or_else(|| panic!("{interface} is not offered"));
        let known = heraldry_gate::global(interface).unwrap_or_else(|| panic!("{interface} is not known"));
        let version = version.min(offered).min(known.version);
        let id = self.bind(name, interface, version);
        self.objects.insert(id, (known, version));
        id
    }

    /// Binds anything.
    pub fn bind(&mut self, name: u32, interface: &str, version: u32) -> u32 {
        self.send(
            2,
            "bind",
            &[Arg::U(name), Arg::S(interface), Arg::U(version), Arg::New],
        )
    }

    /// Waits for the answer to everything that it has sent.
    ///
    /// # Errors
    ///
    /// The connection ended; the protocol error, if there was one.
    pub fn roundtrip(&mut self) -> Result<(), String> {
        let callback = self.send(1, "sync", &[Arg::New]);
        self.wait("a round trip", |raw| raw.done.contains(&callback))?;
        self.done.remove(&callback);
        Ok(())
    }

    /// A round trip that must succeed.
    ///
    /// # Panics
    ///
    /// The connection ended.
    #[track_caller]
    pub fn settle(&mut self) {
        if let Err(why) = self.roundtrip() {
            panic!("the connection ended: {why}");
        }
    }

    /// Whether a callback has come back.
    #[must_use]
    pub fn is_done(&self, callback: u32) -> bool {
        self.done.contains(&callback)
    }

    /// Waits until `done`.
    ///
    /// # Errors
    ///
    /// The connection ended, or it took too long.
    pub fn wait(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Result<(), String> {
        let start = Instant::now();
        self.flush();
        while !done(self) {
            if self.ended {
                return Err(self
                    .error
                    .clone()
                    .unwrap_or_else(|| "closed without a word".to_owned()));
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("waited in vain for {what}"));
            }
            self.pump(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Waits for the end of the connection; the text of the protocol error, empty if there was none.
    ///
    /// # Panics
    ///
    /// It does not end.
    #[track_caller]
    pub fn end(&mut self) -> String {
        self.flush();
        self.drain();
        assert!(self.ended, "the connection goes on");
        self.error.clone().unwrap_or_default()
    }
}

/// A text as the wire has it.
#[must_use]
pub fn encoded(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len() + 1).expect("a text");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

impl std::os::fd::AsFd for Raw {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
