// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cross-domain device, driven by a guest that sends whatever it likes and a host that does whatever it likes: each request
//! is given back once, nothing is mapped twice or beyond the window, what is written to a ring fits into it, and with its contexts
//! everything ends.
//!
//! Input: steps.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use arbitrary::{Result, Unstructured};
use heraldry_device::account::Account;
use heraldry_device::command::{Command, Commands};
use heraldry_device::control::{Answer, HEADER, Header};
use heraldry_device::gpu::{Gpu, Ticket, Vmm};
use heraldry_device::limits::{CONTEXTS, MAPPINGS, WAITING, WINDOW};
use heraldry_wire::cross_domain::{CAPSET, CHANNEL, RING};
use heraldry_wire::descriptors::{receive, send};
use heraldry_wire::virtwl::MAX_FDS;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};

const MOST_STEPS: usize = 200;
/// Requests that are about contexts.
const SUBMIT: u32 = 0x207;
const CREATE: u32 = 0x200;
const BLOB: u32 = 0x10c;
const KINDS: [u32; 13] = [
    0x100, 0x102, 0x108, 0x109, BLOB, BLOB, CREATE, 0x201, 0x202, 0x203, SUBMIT, 0x208, 0x209,
];

/// See the module.
pub fn run(data: &[u8]) {
    decode(data);
    let mut u = Unstructured::new(data);
    let mut rig = Rig::new();
    for _ in 0..MOST_STEPS {
        // The end of the input is the end of the run.
        if u.is_empty() || rig.step(&mut u).is_err() {
            break;
        }
    }
    rig.finish();
}

/// Any bytes are commands or end in a reason.
fn decode(data: &[u8]) {
    let mut whole = 0;
    for command in Commands::new(data) {
        match command {
            Ok(Command::Send { bytes, descriptors }) => {
                assert!(bytes.len() < data.len() && descriptors.len() <= MAX_FDS);
            }
            Ok(Command::Write { bytes, .. }) => assert!(bytes.len() < data.len()),
            Ok(_) => {}
            Err(_) => return,
        }
        whole += 1;
        assert!(whole <= data.len() / 8, "a command of no size");
    }
}

/// The window and the rings of a guest.
#[derive(Default)]
struct Guest {
    window: RefCell<BTreeMap<u64, u64>>,
}

impl Vmm for Guest {
    fn map(&self, at: u64, len: u64, file: BorrowedFd<'_>) -> io::Result<()> {
        let mut window = self.window.borrow_mut();
        let end = at + len;
        assert!(len > 0 && end <= WINDOW && at.is_multiple_of(4096) && len.is_multiple_of(4096));
        assert!(
            window
                .iter()
                .all(|(start, len)| *start >= end || start + len <= at)
        );
        let size = rustix::fs::fstat(file).expect("a file").st_size;
        assert!(u64::try_from(size).is_ok_and(|size| size >= len));
        assert!(ftruncate(file, 0).is_err(), "memory that can be cut short");
        window.insert(at, len);
        assert!(window.len() <= MAPPINGS);
        Ok(())
    }

    fn unmap(&self, at: u64, len: u64) -> io::Result<()> {
        assert_eq!(self.window.borrow_mut().remove(&at), Some(len));
        Ok(())
    }

    fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(bytes.len() <= RING);
        // Half of the guest's addresses are no memory.
        if address.is_multiple_of(2) {
            Ok(())
        } else {
            Err(io::ErrorKind::InvalidInput.into())
        }
    }
}

struct Rig {
    gpu: Gpu,
    guest: Guest,
    listener: UnixListener,
    peers: Vec<UnixStream>,
    _dir: tempfile::TempDir,
    next: u16,
    /// Requests that were not given back.
    open: BTreeSet<u16>,
}

/// A small number, seldom another.
fn small(u: &mut Unstructured<'_>) -> Result<u32> {
    Ok(if u.ratio(15, 16)? {
        u.int_in_range(0..=5)?
    } else {
        u.arbitrary()?
    })
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("host");
        let listener = UnixListener::bind(&path).expect("a socket");
        listener.set_nonblocking(true).expect("a socket");
        Self {
            gpu: Gpu::new(path, Account::default()).expect("a device"),
            guest: Guest::default(),
            listener,
            peers: Vec::new(),
            _dir: dir,
            next: 0,
            open: BTreeSet::new(),
        }
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.int_in_range(0..=7)? {
            0..=4 => self.request(u)?,
            5 => {
                let mut done = Vec::new();
                self.gpu.ready(&self.guest, &mut done);
                self.give_back(&done);
            }
            _ => self.host(u)?,
        }
        Ok(())
    }

    fn request(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let kind = *u.choose(&KINDS)?;
        let (flags, context) = (u.int_in_range(0..=3_u32)?, small(u)?);
        let ring = u.int_in_range(0..=1_u32)?;
        let mut words = vec![kind, flags, 0, 0, context, ring];
        let mut rest = Vec::new();
        match kind {
            CREATE => words.extend([0, CAPSET]),
            BLOB => {
                let guest = u.arbitrary()?;
                words.extend([small(u)?, if guest { 1 } else { 2 }, 3, u32::from(guest)]);
                let pages = u.int_in_range(0..=2_u32)?;
                words.extend([small(u)?, 0, pages * 4096, 0, small(u)?, 0, pages * 4096, 0]);
            }
            SUBMIT => {
                let commands = commands(u)?;
                words.extend([u32::try_from(commands.len()).unwrap_or(0), 0]);
                rest = commands;
            }
            0x208 => words.extend([small(u)?, 0, small(u)? << 12, 0]),
            _ => words.extend([small(u)?, small(u)?]),
        }
        let mut bytes: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
        bytes.extend(rest);
        if u.ratio(1, 32)? {
            bytes.truncate(u.int_in_range(0..=bytes.len())?);
        }
        let Ok(header) = Header::decode(&bytes) else {
            assert!(bytes.len() < HEADER);
            return Ok(());
        };
        self.next = self.next.wrapping_add(1);
        assert!(
            self.open.insert(self.next),
            "more requests wait than there may be"
        );
        let mut done = Vec::new();
        let answer = self.gpu.serve(&header, &bytes, &self.guest, &mut done);
        assert!(answer.encode(&header).len() >= HEADER);
        let ticket = Ticket {
            head: self.next,
            written: 0,
        };
        self.gpu.settle(&header, answer, ticket, &self.guest, &mut done);
        if answer == Answer::Refused {
            assert!(done.contains(&ticket), "a refused request waits");
        }
        self.give_back(&done);
        assert!(self.gpu.contexts() <= CONTEXTS && self.open.len() <= 2 * WAITING * self.gpu.contexts());
        Ok(())
    }

    fn give_back(&mut self, done: &[Ticket]) {
        for ticket in done {
            assert!(self.open.remove(&ticket.head), "a request is given back twice");
        }
    }

    fn host(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if let Ok((peer, _)) = self.listener.accept() {
            peer.set_nonblocking(true).expect("a socket");
            self.peers.push(peer);
        }
        if self.peers.is_empty() {
            return Ok(());
        }
        let index = u.choose_index(self.peers.len())?;
        let peer = &self.peers[index];
        match u.int_in_range(0..=5)? {
            0 => drop(self.peers.swap_remove(index)),
            1 => {
                let mut fds = Vec::new();
                let _nothing = receive(peer.as_fd(), &mut [0; 5000], &mut fds);
                // What is a pipe gets something.
                for fd in &fds {
                    let _no_pipe = rustix::io::write(fd, b"paste");
                }
            }
            2 => {
                let _sent = send(peer.as_fd(), &[7; 4000], &[]);
            }
            3 => {
                let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
                let file = memfd_create("fuzz", flags).expect("memory");
                ftruncate(&file, u.int_in_range(0..=9000)?).expect("memory");
                let _sent = send(peer.as_fd(), b"m", &[file.as_fd()]);
            }
            4 => {
                let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
                let _sent = send(peer.as_fd(), b"p", &[writer.as_fd(), reader.as_fd()]);
            }
            _ => {
                let _sent = send(peer.as_fd(), b"x", &[]);
            }
        }
        Ok(())
    }

    /// All contexts end, and with them everything that waits.
    fn finish(mut self) {
        let mut done = Vec::new();
        for context in 0..=5_u32 {
            let bytes: Vec<u8> = [0x201, 0, 0, 0, context, 0_u32]
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .collect();
            let header = Header::decode(&bytes).expect("a header");
            self.gpu.serve(&header, &bytes, &self.guest, &mut done);
        }
        self.give_back(&done);
        if self.gpu.contexts() == 0 {
            assert!(self.open.is_empty(), "{:?} were never given back", self.open);
        }
        let left: BTreeMap<u64, u64> = self.gpu.end().0.collect();
        assert_eq!(left, *self.guest.window.borrow());
    }
}

/// Some commands, mostly good.
fn commands(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for _ in 0..u.int_in_range(0..=3)? {
        let number = u.int_in_range(1..=8_u8)?;
        let mut words = Vec::new();
        let mut data = Vec::new();
        match number {
            1 => words.extend([small(u)?, small(u)?, CHANNEL]),
            2 => words.extend([
                small(u)?.wrapping_mul(1024),
                small(u)?,
                u32::from_le_bytes(*b"R8  "),
                0,
            ]),
            4 => {
                let count = u.int_in_range(0..=3_u32)?;
                data.resize(u.int_in_range(0..=9000)?, 1);
                words.extend([count, u32::try_from(data.len()).unwrap_or(0)]);
                let mut lists = [0; 3 * MAX_FDS];
                for index in 0..usize::try_from(count).unwrap_or(0) {
                    let pipe = u.arbitrary()?;
                    let low = small(u)?;
                    lists[index] = if pipe { low.wrapping_add(0x8000_0000) } else { low };
                    lists[MAX_FDS + index] = if pipe { 3 } else { 1 };
                }
                words.extend(lists);
            }
            7 => {
                data.resize(u.int_in_range(0..=9000)?, 2);
                words.extend([small(u)?, small(u)?, u32::try_from(data.len()).unwrap_or(0), 0]);
            }
            _ => {}
        }
        let size = 8 + 4 * words.len() + data.len();
        let size = if u.ratio(1, 32)? {
            u.arbitrary()?
        } else {
            u16::try_from(size).unwrap_or(0)
        };
        all.extend([number, 0]);
        all.extend(size.to_le_bytes());
        all.extend([0; 4]);
        all.extend(words.iter().flat_map(|word: &u32| word.to_le_bytes()));
        all.extend(data);
    }
    Ok(all)
}
