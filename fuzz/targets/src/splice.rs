// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's splice between two sockets whose peers write, read, wait and leave as they like: bytes arrive in order,
//! descriptors with their bytes, nothing that may not pass, and the splice never spins. A pipe of the client reaches the
//! compositor as memory, and what the compositor sends back of that reaches the client as a pipe.
//!
//! Input: the settings, then steps.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use arbitrary::{Result, Unstructured};
use heraldry_config::UnsealedMemory;
use heraldry_host::splice::{End, Refused, Side, Splice};
use heraldry_host::stand_in::{Party, StandIns};
use heraldry_identity::VmName;
use heraldry_wire::display::{WINDOW_BYTES, WINDOW_FDS};
use heraldry_wire::virtwl::MAX_FDS;
use rustix::event::epoll::EventFlags;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{
    FileType, MemfdFlags, Mode, OFlags, SealFlags, fcntl_get_seals, fstat, ftruncate, memfd_create, open,
};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, Shutdown, recvmsg, sendmsg, shutdown,
};

use crate::ledger::Ledger;

const MOST_STEPS: usize = 60;
/// Waiting in the splice and in four socket buffers of the kernel.
const MOST_IN_FLIGHT: usize = 4 << 20;
const MEMORY_SIZE: u64 = 4096;

/// See the module.
pub fn run(data: &[u8]) {
    let ledger = Ledger::new();
    let mut u = Unstructured::new(data);
    if let Ok(mut rig) = Rig::new(&mut u) {
        for _ in 0..MOST_STEPS {
            // The end of the input is the end of the run.
            if u.is_empty() || rig.over || rig.step(&mut u, &ledger).is_err() {
                break;
            }
        }
        rig.finish();
    }
    ledger.assert_all_closed();
}

/// What a peer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pipe,
    /// What stands for a pipe, if the compositor has been sent one; else memory.
    StandIn,
    /// What stands for a pipe of another VM.
    Foreign,
    Memory,
    /// Memory that cannot be sealed.
    Open,
    Empty,
    Socket,
    Device,
    Path,
}

impl Kind {
    fn make(self, ledger: &Ledger) -> OwnedFd {
        let memory = |flags, size| {
            let fd = memfd_create("fuzz", flags | MemfdFlags::CLOEXEC).expect("memory");
            ftruncate(&fd, size).expect("its size");
            fd
        };
        match self {
            Self::Pipe => ledger.descriptor(),
            Self::StandIn | Self::Foreign | Self::Memory => memory(MemfdFlags::ALLOW_SEALING, MEMORY_SIZE),
            Self::Open => memory(MemfdFlags::empty(), MEMORY_SIZE),
            Self::Empty => memory(MemfdFlags::ALLOW_SEALING, 0),
            Self::Socket => UnixStream::pair().expect("sockets").0.into(),
            Self::Device => {
                open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).expect("a device")
            }
            Self::Path => open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("a path"),
        }
    }

    fn may_pass(self, from: Side, unsealed: UnsealedMemory) -> bool {
        match self {
            Self::Pipe => from == Side::Client,
            Self::StandIn | Self::Memory => true,
            Self::Foreign => from == Side::Client,
            Self::Open => unsealed == UnsealedMemory::Allow,
            Self::Empty | Self::Socket | Self::Device | Self::Path => false,
        }
    }
}

/// One direction as its ends see it.
#[derive(Debug, Default)]
struct Way {
    written: usize,
    read: usize,
    /// Descriptors on their way, with the position of the byte that they were sent with.
    fds: VecDeque<(usize, Kind)>,
    /// Descriptors that came.
    fds_read: u64,
    /// Something that may not pass was sent.
    fault: bool,
}

struct Rig {
    splice: Splice,
    stand_ins: StandIns,
    /// What the compositor was sent instead of pipes.
    held: Vec<OwnedFd>,
    /// The peers, until they close.
    ends: [Option<UnixStream>; 2],
    /// From the client, from the compositor.
    ways: [Way; 2],
    unsealed: UnsealedMemory,
    /// What the compositor said that it has taken: bytes, descriptors.
    credited: (u64, u64),
    /// Somebody closed or shut down.
    left: bool,
    over: bool,
}

const fn at(side: Side) -> usize {
    match side {
        Side::Client => 0,
        Side::Compositor => 1,
    }
}

fn party(vm: &str, connection: u64) -> Party {
    Party {
        vm: VmName::new(vm).expect("a name"),
        connection,
        most: 8,
    }
}

fn byte_at(position: usize) -> u8 {
    u8::try_from(position % 251).unwrap_or(0)
}

impl Rig {
    fn new(u: &mut Unstructured<'_>) -> Result<Self> {
        let pair = || {
            let (near, far) = UnixStream::pair().expect("sockets");
            near.set_nonblocking(true).expect("non-blocking");
            far.set_nonblocking(true).expect("non-blocking");
            (OwnedFd::from(near), far)
        };
        let unsealed = if u.arbitrary()? {
            UnsealedMemory::Allow
        } else {
            UnsealedMemory::Refuse
        };
        let max_fds = usize::from(u.arbitrary::<u8>()?);
        let ((near_client, client), (near_compositor, compositor)) = (pair(), pair());
        Ok(Self {
            splice: Splice::new(near_client, near_compositor, unsealed, max_fds, party("own", 1)),
            stand_ins: StandIns::new(),
            held: Vec::new(),
            ends: [Some(client), Some(compositor)],
            ways: Default::default(),
            unsealed,
            credited: (0, 0),
            left: false,
            over: false,
        })
    }

    fn step(&mut self, u: &mut Unstructured<'_>, ledger: &Ledger) -> Result<()> {
        let side = if u.arbitrary()? {
            Side::Client
        } else {
            Side::Compositor
        };
        match u.arbitrary::<u8>()? % 32 {
            0..=11 => self.write(side, u, ledger)?,
            12..=20 => {
                let most = usize::from(u.arbitrary::<u16>()?) + 1;
                self.read(side, most);
            }
            21 => {
                self.left = true;
                self.ends[at(side)] = None;
            }
            22 => {
                if let Some(end) = &self.ends[at(side)] {
                    self.left = true;
                    let how = if u.arbitrary()? {
                        Shutdown::Write
                    } else {
                        Shutdown::Both
                    };
                    // The other side may be gone.
                    let _gone = shutdown(end, how);
                }
            }
            23..=25 => self.credit(),
            // A number that is older than one before, as no compositor says it.
            26 => self.credit_of(u64::from(u.arbitrary::<u8>()?), 0),
            _ => self.turn(),
        }
        Ok(())
    }

    /// The compositor says what it has read.
    fn credit(&mut self) {
        let way = &self.ways[at(Side::Client)];
        let read = (u64::try_from(way.read).unwrap_or(0), way.fds_read);
        self.credit_of(read.0, read.1);
    }

    fn credit_of(&mut self, bytes: u64, fds: u64) {
        let way = &self.ways[at(Side::Client)];
        let (bytes, fds) = (
            bytes.min(u64::try_from(way.read).unwrap_or(0)),
            fds.min(way.fds_read),
        );
        self.credited = (self.credited.0.max(bytes), self.credited.1.max(fds));
        if self.over {
            return;
        }
        if let Err(end) = self.splice.credit(bytes, fds) {
            self.ended(&end);
            self.over = true;
        }
    }

    fn write(&mut self, side: Side, u: &mut Unstructured<'_>, ledger: &Ledger) -> Result<()> {
        let len = usize::from(u.arbitrary::<u16>()?);
        let count = usize::from(u.arbitrary::<u8>()?.saturating_sub(200)).min(MAX_FDS + 2);
        let mut kinds = Vec::new();
        for _ in 0..count {
            kinds.push(match u.arbitrary::<u8>()? {
                0..=120 if side == Side::Client => Kind::Pipe,
                0..=120 => Kind::StandIn,
                121..=243 => Kind::Memory,
                244 if side == Side::Client => Kind::Memory,
                244 => Kind::Foreign,
                245..=248 => Kind::Open,
                249 => Kind::Empty,
                250 | 251 => Kind::Socket,
                252 | 253 => Kind::Device,
                254 => Kind::Pipe,
                255 => Kind::Path,
            });
        }
        let Some(end) = &self.ends[at(side)] else {
            return Ok(());
        };
        let way = &mut self.ways[at(side)];
        let bytes: Vec<u8> = (way.written..=way.written + len).map(byte_at).collect();
        let fds: Vec<OwnedFd> = kinds
            .iter_mut()
            .map(|kind| match (side, *kind) {
                (Side::Compositor, Kind::StandIn) => self.held.pop().unwrap_or_else(|| {
                    *kind = Kind::Memory;
                    kind.make(ledger)
                }),
                (Side::Compositor, Kind::Foreign) => {
                    let pipe = ledger.descriptor();
                    let stand_in = self.stand_ins.replace(&party("other", 2), pipe);
                    stand_in.expect("memory")
                }
                _ => kind.make(ledger),
            })
            .collect();
        let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS + 2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !borrowed.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
        }
        match sendmsg(end, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL) {
            Ok(sent) => {
                way.fds.extend(kinds.iter().map(|kind| (way.written, *kind)));
                way.written += sent;
                way.fault |=
                    kinds.len() > MAX_FDS || kinds.iter().any(|kind| !kind.may_pass(side, self.unsealed));
                assert!(way.written - way.read < MOST_IN_FLIGHT, "waiting is bounded");
            }
            Err(Errno::AGAIN | Errno::PIPE | Errno::CONNRESET) => {}
            Err(errno) => panic!("{errno}"),
        }
        Ok(())
    }

    /// A peer reads what came from the other; returns whether something came.
    fn read(&mut self, side: Side, most: usize) -> bool {
        let Some(end) = &self.ends[at(side)] else {
            return false;
        };
        let from = match side {
            Side::Client => Side::Compositor,
            Side::Compositor => Side::Client,
        };
        let way = &mut self.ways[at(from)];
        let mut bytes = vec![0; most];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS + 2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = match recvmsg(
            end,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Ok(received) => received.bytes,
            Err(Errno::AGAIN | Errno::CONNRESET) => return false,
            Err(errno) => panic!("{errno}"),
        };
        let expected = (way.read..way.read + got).map(byte_at);
        assert!(
            bytes[..got].iter().copied().eq(expected),
            "bytes are lost or changed"
        );
        way.read += got;
        assert!(way.read <= way.written);
        for message in control.drain() {
            let RecvAncillaryMessage::ScmRights(rights) = message else {
                continue;
            };
            for fd in rights {
                let (_, kind) = way.fds.pop_front().expect("a descriptor that was sent");
                way.fds_read += 1;
                check(&fd, kind, from);
                assert!(kind.may_pass(from, self.unsealed), "{kind:?} passed");
                if kind == Kind::Pipe && self.held.len() < MAX_FDS {
                    self.held.push(fd);
                }
            }
        }
        if side == Side::Compositor && !self.left {
            let read = u64::try_from(way.read).unwrap_or(0);
            assert!(
                read <= self.credited.0 + WINDOW_BYTES && way.fds_read <= self.credited.1 + WINDOW_FDS,
                "more than the window"
            );
        }
        let late = way.fds.front().filter(|(position, _)| *position < way.read);
        assert_eq!(late, None, "a descriptor is later than its byte");
        got > 0
    }

    /// What the daemon does until nothing happens any more.
    fn turn(&mut self) {
        for _ in 0..10_000 {
            let mut happened = false;
            for side in [Side::Client, Side::Compositor] {
                let interest = self.splice.interest(side);
                let events = if interest.is_empty() {
                    interest
                } else {
                    ready(self.splice.fd(side), interest)
                };
                if events.is_empty() {
                    continue;
                }
                happened = true;
                if let Err(end) = self.splice.progress(side, events, &mut self.stand_ins) {
                    self.ended(&end);
                    self.over = true;
                    return;
                }
            }
            if !happened {
                return;
            }
        }
        panic!("the splice spins");
    }

    fn ended(&self, end: &End) {
        match end {
            End::Closed(_) => assert!(self.left, "{end}"),
            End::Slow => {
                let way = &self.ways[at(Side::Compositor)];
                assert!(
                    way.written - way.read > 1 << 20 || way.fds.len() >= MAX_FDS,
                    "{end}"
                );
            }
            End::Descriptor(side, why) => {
                assert!(self.ways[at(*side)].fault, "{end}");
                assert!(
                    !matches!(why, Refused::Unsealed)
                        || self.ways[at(*side)].fds.iter().any(|(_, k)| *k == Kind::Open)
                );
            }
            End::TooMany(side) => assert!(self.ways[at(*side)].fault, "{end}"),
            End::Failed(_, errno) => panic!("{end}: {errno}"),
        }
    }

    /// What was said before both sides left arrives.
    fn finish(&mut self) {
        let faultless = !self.ways.iter().any(|way| way.fault);
        if self.over || self.left || !faultless {
            return;
        }
        loop {
            self.turn();
            if self.over {
                return;
            }
            self.credit();
            if self.over {
                return;
            }
            let sides = [Side::Client, Side::Compositor];
            if !sides.map(|side| self.read(side, 1 << 16)).contains(&true) {
                break;
            }
        }
        for way in &self.ways {
            assert_eq!(
                (way.read, way.fds.len()),
                (way.written, 0),
                "something did not arrive"
            );
        }
        let (up, down) = self.splice.traffic();
        let written = |way: &Way| u64::try_from(way.written).unwrap_or(0);
        assert_eq!(
            (up.bytes, down.bytes),
            (written(&self.ways[0]), written(&self.ways[1]))
        );
    }
}

/// Whether a descriptor that came is what was sent, and safe to map.
fn check(fd: &OwnedFd, kind: Kind, from: Side) {
    let stat = fstat(fd).expect("a descriptor");
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => assert_eq!((kind, from), (Kind::StandIn, Side::Compositor)),
        FileType::RegularFile => {
            assert!(
                kind != Kind::StandIn || from == Side::Client,
                "a stand-in for a client"
            );
            let sealed = fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(SealFlags::SHRINK));
            assert_eq!(sealed, kind != Kind::Open);
        }
        other => panic!("{other:?} passed"),
    }
}

fn ready(fd: BorrowedFd<'_>, interest: EventFlags) -> EventFlags {
    let wanted = PollFlags::from_bits_truncate(u16::try_from(interest.bits()).unwrap_or(0));
    let mut fds = [PollFd::from_borrowed_fd(fd, wanted)];
    poll(
        &mut fds,
        Some(&Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        }),
    )
    .expect("poll");
    EventFlags::from_bits_truncate(u32::from(fds[0].revents().bits()))
}
