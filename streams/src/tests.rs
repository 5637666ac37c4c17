// SPDX-License-Identifier: MIT OR Apache-2.0
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use heraldry_wire::descriptors::{receive, send};
use heraldry_wire::virtwl::MAX_FDS;
use proptest::prelude::*;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};

use super::*;
use crate::{Socket, WINDOW_BYTES, WINDOW_FDS};

type End = Streams<Socket>;

fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    b.set_nonblocking(true).unwrap();
    (a, b)
}

fn name(number: usize) -> ContextName {
    ContextName::new(&format!("context-{number}")).unwrap()
}

/// Memory that is told from other memory by its size.
fn memory(size: u64) -> OwnedFd {
    let fd = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, size).unwrap();
    fd
}

fn size(fd: &OwnedFd) -> u64 {
    u64::try_from(fstat(fd).unwrap().st_size).unwrap()
}

fn is_ready(end: &End) -> bool {
    let now = Timespec::default();
    poll(&mut [PollFd::new(end, PollFlags::IN)], Some(&now)).unwrap() > 0
}

/// Both ends of a channel.
struct Pair {
    opener: End,
    acceptor: End,
}

impl Pair {
    fn new() -> Self {
        let (a, b) = pair();
        Self {
            opener: Streams::opener(Socket::new(a)).unwrap(),
            acceptor: Streams::acceptor(Socket::new(b)).unwrap(),
        }
    }

    /// Serves both until nothing is left to do, which must come.
    fn settle(&mut self) -> Vec<Opened> {
        let mut opened = Vec::new();
        for _ in 0..100_000 {
            let ready = (is_ready(&self.opener), is_ready(&self.acceptor));
            if ready.0 {
                self.opener.serve(&mut Vec::new()).unwrap();
            }
            if ready.1 {
                self.acceptor.serve(&mut opened).unwrap();
            }
            if ready == (false, false) {
                return opened;
            }
        }
        panic!("the channel never rests");
    }

    /// A stream, both ends.
    fn open(&mut self) -> (UnixStream, UnixStream) {
        let near = self.opener.open(name(1)).unwrap();
        let mut opened = self.settle();
        assert_eq!((opened.len(), opened[0].name.as_str()), (1, "context-1"));
        (near, opened.remove(0).socket)
    }
}

/// Reads what there is; whether that was the end, too.
fn read(socket: &UnixStream) -> (Vec<u8>, Vec<u64>, bool) {
    let (mut got, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let (mut bytes, mut fds) = (vec![0; 1 << 16], Vec::new());
        match receive(socket.as_fd(), &mut bytes, &mut fds) {
            Err(Errno::AGAIN) => return (got, sizes, false),
            Ok(received) if received.bytes > 0 => {
                got.extend_from_slice(&bytes[..received.bytes]);
                sizes.extend(fds.iter().map(size));
            }
            Ok(_) | Err(_) => return (got, sizes, true),
        }
    }
}

/// Writes until there is no room.
fn fill(socket: &UnixStream, most: usize) -> usize {
    let mut sent = 0;
    while sent < most {
        match send(socket.as_fd(), &vec![7; (most - sent).min(4096)], &[]) {
            Ok(count) => sent += count,
            Err(errno) => {
                assert_eq!(errno, Errno::AGAIN);
                break;
            }
        }
    }
    sent
}

#[test]
fn bytes_and_memory_pass_both_ways_and_the_end_comes_after_them() {
    let mut pair = Pair::new();
    let (near, far) = pair.open();
    let fds: Vec<OwnedFd> = (1..=28).map(memory).collect();
    let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    send(near.as_fd(), b"up", &borrowed).unwrap();
    send(far.as_fd(), b"down", &borrowed[3..4]).unwrap();
    pair.settle();
    assert_eq!(read(&far), (b"up".to_vec(), (1..=28).collect(), false));
    assert_eq!(read(&near), (b"down".to_vec(), vec![4], false));
    send(far.as_fd(), b"last", &borrowed[..1]).unwrap();
    drop(far);
    pair.settle();
    assert_eq!(read(&near), (b"last".to_vec(), vec![1], true));
    assert_eq!((pair.opener.count(), pair.acceptor.count()), (0, 0));
    // The other way round, with bytes that nobody reads.
    let (near, far) = pair.open();
    send(far.as_fd(), b"unread", &[]).unwrap();
    send(near.as_fd(), b"bye", &[]).unwrap();
    drop(near);
    pair.settle();
    assert_eq!(read(&far), (b"bye".to_vec(), Vec::new(), true));
    assert_eq!((pair.opener.count(), pair.acceptor.count()), (0, 0));
}

#[test]
fn the_last_word_of_who_has_not_read_is_heard() {
    let mut pair = Pair::new();
    let (near, far) = pair.open();
    while fill(&far, 1 << 20) > 0 {
        pair.settle();
    }
    send(near.as_fd(), b"an error", &[]).unwrap();
    drop(near);
    pair.settle();
    assert_eq!(read(&far), (b"an error".to_vec(), Vec::new(), true));
    assert_eq!((pair.opener.count(), pair.acceptor.count()), (0, 0));
}

#[test]
fn who_does_not_read_stops_his_own_stream_and_no_other() {
    let mut pair = Pair::new();
    let (slow, slow_far) = pair.open();
    let (quick, quick_far) = pair.open();
    let mut sent = 0;
    loop {
        let more = fill(&slow_far, 1 << 20);
        sent += more;
        pair.settle();
        if more == 0 {
            break;
        }
    }
    // In the sockets of the kernel, and the window.
    assert!(sent < 2 << 20, "{sent} bytes wait for who does not read");
    for round in 0..100 {
        let bytes = vec![round; 50_000];
        assert_eq!(send(quick_far.as_fd(), &bytes, &[]), Ok(50_000));
        pair.settle();
        assert!(read(&quick).0 == bytes);
        (&quick).write_all(b"and back").unwrap();
        pair.settle();
        assert_eq!(read(&quick_far).0, b"and back");
    }
    // As soon as it reads, all of it comes.
    let mut got = 0;
    while got < sent {
        let (bytes, _, ended) = read(&slow);
        assert!(!ended && bytes.iter().all(|byte| *byte == 7));
        got += bytes.len();
        pair.settle();
    }
    assert_eq!((got, read(&slow).0.len()), (sent, 0));
}

#[test]
fn what_cannot_pass_costs_its_stream_and_no_other() {
    let mut pair = Pair::new();
    let (near, far) = pair.open();
    let (other, other_far) = pair.open();
    let (pipe, _) = rustix::pipe::pipe().unwrap();
    for refused in [pipe, std::fs::File::open("/dev/null").unwrap().into()] {
        let (near, far) = pair.open();
        send(far.as_fd(), b"x", &[refused.as_fd()]).unwrap();
        pair.settle();
        assert_eq!(read(&near), (Vec::new(), Vec::new(), true));
        assert!(read(&far).2);
    }
    drop((near, far));
    (&other).write_all(b"still").unwrap();
    pair.settle();
    assert_eq!(read(&other_far).0, b"still");
}

/// A way on which some memory can't be had at the end: of one byte.
struct Losing(Socket);

impl Carrier for Losing {
    fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
        self.0.send(bytes, fds)
    }

    fn receive(
        &mut self,
        bytes: &mut Vec<u8>,
        fds: &mut VecDeque<Option<OwnedFd>>,
    ) -> Result<crate::Arrived, Errno> {
        let arrived = self.0.receive(bytes, fds)?;
        for fd in fds {
            *fd = fd.take().filter(|fd| size(fd) != 1);
        }
        Ok(arrived)
    }

    fn carries(&self, fd: BorrowedFd<'_>) -> bool {
        self.0.carries(fd)
    }

    fn watch(&mut self, epoll: &OwnedFd, room: bool) -> Result<(), Errno> {
        self.0.watch(epoll, room)
    }
}

#[test]
fn memory_that_is_lost_on_the_way_costs_its_stream_and_no_other() {
    let (a, b) = pair();
    let mut opener = Streams::opener(Socket::new(a)).unwrap();
    let mut acceptor = Streams::acceptor(Losing(Socket::new(b))).unwrap();
    let (near, other) = (opener.open(name(1)).unwrap(), opener.open(name(2)).unwrap());
    let mut opened = Vec::new();
    let (lost, kept) = (memory(1), memory(2));
    send(near.as_fd(), b"first", &[kept.as_fd()]).unwrap();
    send(near.as_fd(), b"second", &[kept.as_fd(), lost.as_fd()]).unwrap();
    send(other.as_fd(), b"other", &[kept.as_fd()]).unwrap();
    for _ in 0..10 {
        opener.serve(&mut Vec::new()).unwrap();
        acceptor.serve(&mut opened).unwrap();
    }
    let [near_far, other_far] = <[Opened; 2]>::try_from(opened).unwrap();
    // What follows what was lost would mean something else.
    assert_eq!(read(&near_far.socket), (b"first".to_vec(), vec![2], true));
    assert!(read(&near).2);
    assert_eq!(read(&other_far.socket), (b"other".to_vec(), vec![2], false));
}

#[test]
fn streams_are_bounded_and_those_that_have_ended_make_room() {
    let mut pair = Pair::new();
    let (mut ends, mut far) = (Vec::new(), Vec::new());
    for number in 0..STREAMS {
        ends.push(pair.opener.open(name(number)).unwrap());
        if number % 100 == 0 {
            far.extend(pair.settle());
        }
    }
    assert!(matches!(pair.opener.open(name(0)), Err(OpenError::TooMany)));
    ends.truncate(STREAMS - 10);
    far.extend(pair.settle());
    for number in 0..10 {
        ends.push(pair.opener.open(name(number)).unwrap());
    }
    far.extend(pair.settle());
    assert_eq!((pair.acceptor.count(), far.len()), (STREAMS, STREAMS + 10));
}

#[test]
fn the_end_of_the_channel_is_the_end_of_its_streams() {
    let Pair { mut opener, acceptor } = Pair::new();
    let near = opener.open(name(1)).unwrap();
    drop(acceptor);
    let mut opened = Vec::new();
    assert!(matches!(opener.serve(&mut opened), Err(Ended::Closed)));
    drop(opener);
    assert!(read(&near).2);
}

/// One end, and what somebody says to it who keeps to no rules.
fn raw(opener: bool) -> (End, UnixStream) {
    let (own, far) = pair();
    let end = if opener {
        Streams::opener
    } else {
        Streams::acceptor
    };
    (end(Socket::new(own)).unwrap(), far)
}

fn say(end: &mut End, far: &UnixStream, frame: &Frame<OwnedFd>) -> Result<Vec<Opened>, Ended> {
    let fds = if let Frame::Data(_, _, fds) = frame {
        fds.as_slice()
    } else {
        &[]
    };
    let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let bytes = frame.encode();
    assert_eq!(send(far.as_fd(), &bytes, &borrowed), Ok(bytes.len()));
    let mut opened = Vec::new();
    end.serve(&mut opened).map(|()| opened)
}

#[test]
fn who_keeps_to_no_rule_is_left() {
    let opened = |number| {
        let (mut end, far) = raw(false);
        let opened = say(&mut end, &far, &Frame::Open(number, name(1))).unwrap();
        (end, far, opened)
    };
    let (mut end, far, _opened) = opened(1);
    let ended = say(&mut end, &far, &Frame::Open(1, name(1)));
    assert!(matches!(ended, Err(Ended::Open(1))), "{ended:?}");
    let (mut end, far, _opened) = opened(7);
    let ended = say(&mut end, &far, &Frame::Open(6, name(1)));
    assert!(matches!(ended, Err(Ended::Open(6))), "{ended:?}");
    let ended = say(&mut end, &far, &Frame::Data(8, vec![1], Vec::new()));
    assert!(matches!(ended, Err(Ended::Unknown(8))), "{ended:?}");
    let (mut end, far, _opened) = opened(7);
    let ended = say(&mut end, &far, &Frame::Credit(7, 1, 0));
    assert!(matches!(ended, Err(Ended::Credit(7))), "{ended:?}");
    let (mut end, far, _opened) = opened(7);
    say(&mut end, &far, &Frame::Close(7)).unwrap();
    for late in [Frame::Close(7), Frame::Data(7, vec![1], Vec::new())] {
        let (mut end, far, _opened) = opened(7);
        say(&mut end, &far, &Frame::Close(7)).unwrap();
        let ended = say(&mut end, &far, &late);
        assert!(matches!(ended, Err(Ended::Unknown(7))), "{ended:?}");
    }
    // The host opens none.
    let (mut end, far) = raw(true);
    let ended = say(&mut end, &far, &Frame::Open(1, name(1)));
    assert!(matches!(ended, Err(Ended::Open(1))), "{ended:?}");
    // More than the window, in bytes and in descriptors, whether there is somebody to read it or not.
    for there in [true, false] {
        for (bytes, fds) in [(CHUNK, 0), (1, MAX_FDS)] {
            let (mut end, far, mut opened) = opened(7);
            if !there {
                opened.clear();
            }
            let frame = || Frame::Data(7, vec![0; bytes], (0..fds).map(|_| memory(1)).collect());
            let ended = (0..1000).find_map(|_| say(&mut end, &far, &frame()).err());
            assert!(matches!(ended, Some(Ended::Window(7))), "{ended:?}");
        }
    }
}

#[test]
fn who_sends_and_never_reads_makes_nothing_grow() {
    let (mut end, far) = raw(false);
    let mut users: Vec<UnixStream> = Vec::new();
    // Streams whose users take everything, so that credits are due without end, and streams that end.
    let ended = (1_u32..).find_map(|number| {
        let open = say(&mut end, &far, &Frame::Open(number, name(1)));
        let opened = match open {
            Ok(opened) => opened,
            Err(ended) => return Some(ended),
        };
        users.extend(opened.into_iter().map(|opened| opened.socket));
        for user in &users {
            read(user);
        }
        if number % 2 == 0 {
            users.pop();
        }
        let data = Frame::Data(number, vec![0; CHUNK], Vec::new());
        let _windows = (0..3).find_map(|_| say(&mut end, &far, &data).err());
        assert!(end.count() <= STREAMS && end.send_queue.is_bounded());
        None
    });
    assert!(matches!(ended, Some(Ended::Open(_))), "{ended:?}");
}

/// What happens in a run.
#[derive(Debug, Clone)]
enum Step {
    Open,
    /// So many bytes and descriptors at one end of a stream.
    Write(usize, bool, usize, usize),
    Read(usize, bool),
    Close(usize, bool),
    Serve(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => Just(Step::Open),
        6 => (0..6_usize, any::<bool>(), 1..40_000_usize, 0..6_usize)
            .prop_map(|(stream, near, bytes, fds)| Step::Write(stream, near, bytes, fds)),
        3 => (0..6_usize, any::<bool>()).prop_map(|(stream, near)| Step::Read(stream, near)),
        1 => (0..6_usize, any::<bool>()).prop_map(|(stream, near)| Step::Close(stream, near)),
        6 => any::<bool>().prop_map(Step::Serve),
    ];
    prop::collection::vec(step, 0..120)
}

/// What was written at one end of a stream, and what was read at the other.
#[derive(Debug, Default)]
struct Lane {
    written: Vec<u8>,
    written_fds: Vec<u64>,
    read: Vec<u8>,
    read_fds: Vec<u64>,
}

impl Lane {
    fn check(&self, whole: bool) {
        assert!(self.written.starts_with(&self.read) && self.written_fds.starts_with(&self.read_fds));
        assert!(
            !whole || (self.written.len(), self.written_fds.len()) == (self.read.len(), self.read_fds.len())
        );
    }
}

/// A stream's two ends, the near one first, and what passes from them.
#[derive(Debug, Default)]
struct Line {
    ends: [Option<UnixStream>; 2],
    lanes: [Lane; 2],
}

impl Line {
    fn read(&mut self, end: usize) {
        if let Some(socket) = &self.ends[end] {
            let (bytes, fds, _) = read(socket);
            self.lanes[1 - end].read.extend(bytes);
            self.lanes[1 - end].read_fds.extend(fds);
        }
    }
}

struct Run {
    pair: Pair,
    lines: BTreeMap<String, Line>,
    opened: usize,
    memory: u64,
}

impl Run {
    fn line(&mut self, stream: usize) -> Option<&mut Line> {
        self.lines.get_mut(name(stream).as_str())
    }

    fn came(&mut self, opened: Vec<Opened>) {
        for Opened { name, socket } in opened {
            self.lines.get_mut(name.as_str()).unwrap().ends[1] = Some(socket);
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Open => {
                let name = name(self.opened);
                self.opened += 1;
                let near = self.pair.opener.open(name.clone()).unwrap();
                let line = Line {
                    ends: [Some(near), None],
                    ..Line::default()
                };
                self.lines.insert(name.as_str().to_owned(), line);
            }
            Step::Write(stream, near, bytes, fds) => {
                let first = self.memory;
                let end = usize::from(!near);
                let Some(line) = self.line(stream) else { return };
                let Some(socket) = &line.ends[end] else { return };
                let fds: Vec<OwnedFd> = (first..).take(fds).map(memory).collect();
                let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
                let start = line.lanes[end].written.len();
                let pattern = (start..start + bytes).map(|at| u8::try_from(at % 251).unwrap());
                let pattern: Vec<u8> = pattern.collect();
                if let Ok(sent) = send(socket.as_fd(), &pattern, &borrowed) {
                    line.lanes[end].written.extend(&pattern[..sent]);
                    line.lanes[end].written_fds.extend(fds.iter().map(size));
                }
                self.memory += u64::try_from(fds.len()).unwrap();
            }
            Step::Read(stream, near) => {
                if let Some(line) = self.line(stream) {
                    line.read(usize::from(!near));
                }
            }
            Step::Close(stream, near) => {
                if let Some(line) = self.line(stream) {
                    line.ends[usize::from(!near)] = None;
                }
            }
            Step::Serve(opener) => {
                let mut opened = Vec::new();
                let Pair {
                    opener: a,
                    acceptor: b,
                } = &mut self.pair;
                if opener { a } else { b }.serve(&mut opened).unwrap();
                self.came(opened);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn each_stream_is_as_a_socket_of_its_own(steps in steps()) {
        let (pair, lines) = (Pair::new(), BTreeMap::new());
        let mut run = Run { pair, lines, opened: 0, memory: 1 };
        for step in &steps {
            run.step(step);
            run.lines.values().flat_map(|line| &line.lanes).for_each(|lane| lane.check(false));
        }
        // Everything comes to whoever is still there and reads, if its writer has not closed with unread bytes of its own.
        for _ in 0..40 {
            let opened = run.pair.settle();
            run.came(opened);
            for line in run.lines.values_mut() {
                line.read(0);
                line.read(1);
            }
        }
        let mut open = 0;
        for line in run.lines.values() {
            let both = line.ends.iter().all(Option::is_some);
            line.lanes.iter().for_each(|lane| lane.check(both && line.ends.iter().flatten().all(|end| !read(end).2)));
            open += usize::from(both && line.ends.iter().flatten().all(|end| !read(end).2));
        }
        // What has ended at one end is nowhere any more.
        prop_assert_eq!((run.pair.opener.count(), run.pair.acceptor.count()), (open, open));
    }
}

#[test]
fn a_window_is_larger_than_what_comes_at_once() {
    // Else a stream could wait for ever for room that nobody tells of.
    const { assert!(WINDOW_FDS - WINDOW_FDS / 4 >= MAX_FDS) };
    let mut pair = Pair::new();
    let (near, far) = pair.open();
    let fd = memory(1);
    for _ in 0..200 {
        let fds = [fd.as_fd(); MAX_FDS];
        assert_eq!(send(far.as_fd(), b"x", &fds), Ok(1));
        pair.settle();
        assert_eq!(read(&near).1.len(), MAX_FDS);
    }
    let mut rest = Vec::new();
    near.set_nonblocking(true).unwrap();
    let _nothing = (&near).read_to_end(&mut rest);
    assert!(rest.is_empty() && WINDOW_BYTES >= 2 * CHUNK);
}
