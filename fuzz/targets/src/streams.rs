// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's end of a channel, whose other side keeps to the rules or doesn't: who keeps to them is served, and each user of a stream
//! gets what was sent on it; the channel is over with the first frame that breaks one, and not before; what waits is bounded, and no
//! descriptor is left.
//!
//! Input: steps. The rules are written here a second time, from `streams/src/frame.rs` and decision 0020.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use arbitrary::{Result, Unstructured};
use heraldry_streams::{STREAMS, Socket, Streams, WINDOW_BYTES, WINDOW_FDS};
use heraldry_wire::descriptors::{receive, send};

use crate::ledger::Ledger;

const MOST_STEPS: usize = 200;

/// See the module.
pub fn run(data: &[u8]) {
    let ledger = Ledger::new();
    let mut u = Unstructured::new(data);
    let mut rig = Rig::new();
    for _ in 0..MOST_STEPS {
        // The end of the input is the end of the run.
        if u.is_empty() || rig.over || rig.step(&mut u, &ledger).is_err() {
            break;
        }
    }
    drop(rig);
    ledger.assert_all_closed();
}

/// A stream as the other side sees it.
#[derive(Default)]
struct Stream {
    user: Option<UnixStream>,
    /// Sent, and not given back by a credit.
    outstanding: (usize, usize),
    sent: Vec<u8>,
    got: Vec<u8>,
    /// Sent by the user, and not given back.
    unread: (usize, usize),
    /// This side has said that it is over.
    closed: bool,
    /// The host has.
    far_closed: bool,
}

struct Rig {
    host: Streams<Socket>,
    far: UnixStream,
    /// What the host said of which no frame is complete.
    heard: Vec<u8>,
    streams: BTreeMap<u32, Stream>,
    last: u32,
    over: bool,
}

fn frame(kind: u8, fds: usize, stream: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![kind, u8::try_from(fds).expect("few"), 0, 0];
    bytes.extend(stream.to_le_bytes());
    bytes.extend(u32::try_from(length).expect("small").to_le_bytes());
    bytes
}

impl Rig {
    fn new() -> Self {
        let (own, far) = UnixStream::pair().expect("sockets");
        own.set_nonblocking(true).expect("a socket");
        far.set_nonblocking(true).expect("a socket");
        Self {
            host: Streams::acceptor(Socket::new(own)).expect("an end"),
            far,
            heard: Vec::new(),
            streams: BTreeMap::new(),
            last: 0,
            over: false,
        }
    }

    fn step(&mut self, u: &mut Unstructured<'_>, ledger: &Ledger) -> Result<()> {
        // One that is open, seldom any.
        let open: Vec<u32> = self
            .streams
            .iter()
            .filter(|(_, stream)| !stream.closed)
            .map(|(id, _)| *id)
            .collect();
        let wild = u.ratio(1, 64)?;
        let number = if wild {
            u.int_in_range(0..=self.last + 1)?
        } else {
            *u.choose(&open).unwrap_or(&1)
        };
        if open.is_empty() {
            self.open(self.last + 1);
            return Ok(());
        }
        match u.int_in_range(0..=9)? {
            0 => self.open(if wild { number } else { self.last + 1 }),
            1..=4 => {
                let most = if wild { (20_000, 30) } else { self.room(number) };
                let fds = if u.ratio(3, 4)? {
                    0
                } else {
                    u.int_in_range(0..=most.1)?
                };
                if wild || most.0 > 0 {
                    let length = u.int_in_range(usize::from(!wild)..=most.0)?;
                    self.data(number, length, fds, ledger);
                }
            }
            5 => self.close(number),
            6 => {
                let unread = self.streams.get(&number).map_or((0, 0), |stream| stream.unread);
                let bytes = if wild {
                    u.int_in_range(0..=70_000)?
                } else {
                    unread.0
                };
                if wild || bytes > 0 {
                    self.credit(number, bytes, unread.1);
                }
            }
            7 => {
                if let Some(user) = self
                    .streams
                    .get_mut(&number)
                    .and_then(|stream| stream.user.as_mut())
                {
                    let _full = send(user.as_fd(), &vec![3; u.int_in_range(1..=20_000)?], &[]);
                }
                self.serve(true);
            }
            8 => {
                if let Some(stream) = self.streams.get_mut(&number) {
                    stream.user = None;
                }
                self.serve(true);
            }
            _ if !wild => self.serve(true),
            _ => {
                let bytes: [u8; 12] = u.arbitrary()?;
                // A known kind could be good by chance.
                let bytes = [&[bytes[0] | 8], &bytes[1..]].concat();
                self.say(&bytes, &[], false);
            }
        }
        self.read_users();
        Ok(())
    }

    /// What may be sent of a stream, at once.
    fn room(&self, number: u32) -> (usize, usize) {
        let (bytes, fds) = self
            .streams
            .get(&number)
            .map_or((0, 0), |stream| stream.outstanding);
        ((WINDOW_BYTES - bytes).min(16 << 10), (WINDOW_FDS - fds).min(28))
    }

    fn open(&mut self, number: u32) {
        let good = number > self.last;
        let mut bytes = frame(1, 0, number, 32);
        bytes.extend(*b"context\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        if good {
            self.last = number;
            self.streams.insert(number, Stream::default());
        }
        self.say(&bytes, &[], good);
    }

    fn data(&mut self, number: u32, length: usize, fds: usize, ledger: &Ledger) {
        let stream = self.streams.get_mut(&number).filter(|stream| !stream.closed);
        let mut good = (1..=16 << 10).contains(&length) && fds <= 28;
        let bytes: Vec<u8> = (0..length)
            .map(|at| u8::try_from(at % 251).unwrap_or(0))
            .collect();
        if let Some(stream) = stream {
            let (sum, sum_fds) = (stream.outstanding.0 + length, stream.outstanding.1 + fds);
            good &= sum <= WINDOW_BYTES && sum_fds <= WINDOW_FDS;
            if good {
                stream.outstanding = (sum, sum_fds);
                stream.sent.extend(&bytes);
            }
        } else {
            good = false;
        }
        let count = fds;
        let fds: Vec<OwnedFd> = (0..fds.min(28)).map(|_| ledger.descriptor()).collect();
        let mut whole = frame(2, count, number, length);
        whole.extend(bytes);
        self.say(&whole, &fds, good);
    }

    fn close(&mut self, number: u32) {
        let stream = self.streams.get_mut(&number).filter(|stream| !stream.closed);
        let good = stream.is_some_and(|stream| {
            stream.closed = true;
            true
        });
        self.say(&frame(4, 0, number, 0), &[], good);
    }

    fn credit(&mut self, number: u32, bytes: usize, fds: usize) {
        // What the user said must have come.
        self.serve(true);
        let stream = self.streams.get_mut(&number).filter(|stream| !stream.closed);
        let good = (bytes, fds) != (0, 0)
            && stream.is_some_and(|stream| {
                let (unread, unread_fds) = stream.unread;
                let fits = bytes <= unread && fds <= unread_fds;
                if fits {
                    stream.unread = (unread - bytes, unread_fds - fds);
                }
                fits
            });
        self.say(&frame(3, fds, number, bytes), &[], good);
    }

    /// Says something, which is good or is the end.
    fn say(&mut self, bytes: &[u8], fds: &[OwnedFd], good: bool) {
        let borrowed: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
        let mut rest = bytes;
        let mut with = borrowed.as_slice();
        while !rest.is_empty() && !self.over {
            let sent = send(self.far.as_fd(), rest, with).expect("the channel is always read");
            rest = &rest[sent..];
            with = &[];
            self.serve(good || !rest.is_empty());
        }
    }

    /// Serves the host's end until it is done; with good frames it goes on.
    fn serve(&mut self, good: bool) {
        for _ in 0..40 {
            let mut opened = Vec::new();
            let ended = self.host.serve(&mut opened);
            for opened in opened {
                assert_eq!(opened.name.as_str(), "context");
                let stream = self.streams.get_mut(&self.last).expect("one that was opened");
                stream.user = Some(opened.socket);
            }
            assert!(self.host.count() <= STREAMS);
            if let Err(ended) = ended {
                assert!(!good, "{ended}");
                self.over = true;
                return;
            }
            self.hear();
        }
        assert!(good, "a frame that breaks a rule is taken");
    }

    /// Reads what the host says, all of which is good.
    fn hear(&mut self) {
        let mut bytes = [0; 1 << 16];
        while let Ok(count) = (&self.far).read(&mut bytes) {
            assert!(count > 0);
            self.heard.extend(&bytes[..count]);
        }
        loop {
            let Some(head) = self.heard.first_chunk::<12>() else {
                return;
            };
            let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            let (kind, fds, number, length) = (
                head[0],
                usize::from(head[1]),
                word(4),
                usize::try_from(word(8)).expect("small"),
            );
            let whole = 12 + if kind == 2 { length } else { 0 };
            if self.heard.len() < whole {
                return;
            }
            self.heard.drain(..whole);
            let stream = self.streams.get_mut(&number).expect("a stream");
            assert!(!stream.far_closed, "something after the end");
            match kind {
                2 => {
                    stream.unread.0 += length;
                    assert!(stream.unread.0 <= WINDOW_BYTES && fds == 0);
                }
                3 => {
                    let (bytes, descriptors) = stream.outstanding;
                    stream.outstanding = (bytes - length, descriptors - fds);
                }
                4 => stream.far_closed = true,
                other => panic!("kind {other}"),
            }
        }
    }

    /// Users read what comes, in its order.
    fn read_users(&mut self) {
        for stream in self.streams.values_mut() {
            let Some(user) = &stream.user else { continue };
            let (mut bytes, mut fds) = ([0; 1 << 14], Vec::new());
            while let Ok(received) = receive(user.as_fd(), &mut bytes, &mut fds) {
                stream.got.extend(&bytes[..received.bytes]);
                if received.bytes == 0 {
                    assert!(self.over || stream.closed, "an end that nobody said");
                    assert!(self.over || stream.got == stream.sent, "what came before the end");
                    stream.user = None;
                    break;
                }
            }
            assert!(stream.sent.starts_with(&stream.got));
        }
        if !self.over {
            self.serve(true);
        }
    }
}
