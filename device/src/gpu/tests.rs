// SPDX-License-Identifier: MIT OR Apache-2.0
use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};

use heraldry_wire::cross_domain::{MESSAGE, READ_PIPES};
use heraldry_wire::virtwl::MAX_FDS;
use rustix::fs::{MemfdFlags, memfd_create};

use super::*;
use crate::control::{u32_at, words};
use crate::limits::{DESCRIPTORS, MEMORY, QUEUED, WAITING};

/// A guest of one page a blob, and a window.
#[derive(Default)]
pub(crate) struct FakeVmm {
    mapped: RefCell<BTreeMap<u64, u64>>,
    memory: RefCell<BTreeMap<u64, Vec<u8>>>,
}

impl FakeVmm {
    pub(crate) fn mapped(&self) -> usize {
        self.mapped.borrow().len()
    }
}

impl Vmm for FakeVmm {
    fn map(&self, at: u64, len: u64, _file: BorrowedFd<'_>) -> io::Result<()> {
        assert!(self.mapped.borrow_mut().insert(at, len).is_none());
        Ok(())
    }

    fn unmap(&self, at: u64, len: u64) -> io::Result<()> {
        assert_eq!(self.mapped.borrow_mut().remove(&at), Some(len));
        Ok(())
    }

    fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        self.memory.borrow_mut().insert(address, bytes.to_vec());
        Ok(())
    }
}

/// The driver of a guest, and its host.
struct Guest {
    gpu: Gpu,
    vmm: FakeVmm,
    listener: UnixListener,
    dir: tempfile::TempDir,
    heads: u16,
}

const SUBMIT: u32 = 0x207;
const ATTACH: u32 = 0x202;

impl Guest {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host");
        let listener = UnixListener::bind(&path).unwrap();
        Self {
            gpu: Gpu::new(path, Account::default()).unwrap(),
            vmm: FakeVmm::default(),
            listener,
            dir,
            heads: 0,
        }
    }

    /// A request, on ring 1 with a fence if it `waits`. Returns its answer and what was given back.
    fn ask(&mut self, kind: u32, context: u32, body: &[u8], waits: bool) -> (Answer, Vec<u16>) {
        let (flags, ring) = if waits { (3, 1) } else { (0, 0) };
        let mut bytes = words(&[kind, flags, 0, 0, context, ring]);
        bytes.extend_from_slice(body);
        let header = Header::decode(&bytes).unwrap();
        let mut done = Vec::new();
        let answer = self.gpu.serve(&header, &bytes, &self.vmm, &mut done);
        self.heads += 1;
        let ticket = Ticket {
            head: self.heads,
            written: 0,
        };
        self.gpu.settle(&header, answer, ticket, &self.vmm, &mut done);
        (answer, done.iter().map(|ticket| ticket.head).collect())
    }

    fn tell(&mut self, kind: u32, context: u32, body: &[u32]) -> Answer {
        self.ask(kind, context, &words(body), false).0
    }

    fn submit(&mut self, context: u32, command: &[u8], waits: bool) -> (Answer, Vec<u16>) {
        let mut body = words(&[u32::try_from(command.len()).unwrap(), 0]);
        body.extend_from_slice(command);
        self.ask(SUBMIT, context, &body, waits)
    }

    /// A context with its two rings, numbered by it, connected to the host.
    fn connect(&mut self, context: u32) -> UnixStream {
        self.open(context);
        self.listener.accept().unwrap().0
    }

    fn open(&mut self, context: u32) {
        assert_eq!(self.tell(0x200, context, &[0, CAPSET]), Answer::Done);
        for blob in [2 * context, 2 * context + 1] {
            let piece = [blob, 1, 1, 1, 0, 0, 4096, 0, blob << 12, 0, 4096, 0];
            assert_eq!(self.tell(0x10c, 0, &piece), Answer::Done);
            assert_eq!(self.tell(ATTACH, context, &[blob, 0]), Answer::Done);
        }
        let init = command(1, &words(&[2 * context, 2 * context + 1, 1]));
        assert_eq!(self.submit(context, &init, false).0, Answer::Done);
    }

    fn poll(&mut self, context: u32) -> Vec<u16> {
        self.submit(context, &command(3, &[]), true).1
    }

    /// What happened since.
    fn ready(&mut self) -> Vec<u16> {
        let mut done = Vec::new();
        self.gpu.ready(&self.vmm, &mut done);
        done.iter().map(|ticket| ticket.head).collect()
    }

    fn ring(&self, context: u32) -> Vec<u8> {
        let address = u64::from(2 * context + 1) << 12;
        self.vmm.memory.borrow_mut().remove(&address).unwrap_or_default()
    }

    /// Memory of so many bytes made by the host, as blob and at a place of the window.
    fn allocate(&mut self, context: u32, blob: u32, pages: u32) -> Answer {
        let question = command(2, &words(&[4096, pages, u32::from_le_bytes(*b"R8  "), 16]));
        self.submit(context, &question, false);
        let query = u64::from(2 * context) << 12;
        let answer = self.vmm.memory.borrow_mut().remove(&query).unwrap();
        let (size, item) = (u32_at(&answer, 40).unwrap(), u32_at(&answer, 48).unwrap());
        let made = self.tell(0x10c, context, &[blob, 2, 3, 0, item, 0, size, 0]);
        self.tell(ATTACH, context, &[blob, 0]);
        made
    }
}

const CAPSET: u32 = heraldry_wire::cross_domain::CAPSET;

fn command(number: u8, body: &[u8]) -> Vec<u8> {
    let size = u16::try_from(8 + body.len()).unwrap().to_le_bytes();
    let mut bytes = vec![number, 0, size[0], size[1], 0, 0, 0, 0];
    bytes.extend_from_slice(body);
    bytes
}

fn send(bytes: &[u8], descriptors: &[(u32, u32)]) -> Vec<u8> {
    let (mut ids, mut kinds) = ([0; MAX_FDS], [0; MAX_FDS]);
    for (index, (id, kind)) in descriptors.iter().enumerate() {
        (ids[index], kinds[index]) = (*id, *kind);
    }
    let count = |count: usize| u32::try_from(count).unwrap();
    let mut body = words(&[count(descriptors.len()), count(bytes.len())]);
    body.extend(words(&ids));
    body.extend(words(&kinds));
    body.extend(words(&[0; MAX_FDS]));
    body.extend_from_slice(bytes);
    command(4, &body)
}

fn send_fds(stream: &UnixStream, fds: &[BorrowedFd<'_>]) {
    heraldry_wire::descriptors::send(stream.as_fd(), b"x", fds).unwrap();
}

#[test]
fn bytes_pass_both_ways_and_each_question_is_answered_once() {
    let mut guest = Guest::new();
    let mut host = guest.connect(1);
    assert_eq!(guest.submit(1, &send(b"hello", &[]), false).0, Answer::Done);
    let mut got = [0; 5];
    host.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"hello");
    assert!(guest.poll(1).is_empty());
    let asked = guest.heads;
    host.write_all(b"world").unwrap();
    assert_eq!(guest.ready(), [asked]);
    let ring = guest.ring(1);
    assert_eq!((ring[0], &ring[MESSAGE..]), (5, &b"world"[..]));
    host.write_all(b"again").unwrap();
    assert!(guest.ready().is_empty());
    assert_eq!(guest.poll(1), [guest.heads]);
    assert_eq!(&guest.ring(1)[MESSAGE..], b"again");
    // The end is told as often as it is asked for.
    drop(host);
    for _ in 0..3 {
        assert_eq!(guest.poll(1), [guest.heads]);
        assert_eq!(u32_at(&guest.ring(1), 12), Some(0));
    }
}

#[test]
fn who_breaks_a_rule_loses_its_connection_and_nobody_else_does() {
    let mut bad = vec![
        vec![3, 0, 0, 0, 0, 0, 0, 0],
        vec![3],
        command(9, &[]),
        command(1, &words(&[2, 3, 1])),
        // A blob of another context, and one that is nobody's.
        send(b"x", &[(5, 1)]),
        send(b"x", &[(77, 1)]),
        // A pipe that is not the next.
        send(b"x", &[(READ_PIPES + 2, 3)]),
        // Descriptors without a byte.
        send(b"", &[(READ_PIPES + 1, 3)]),
    ];
    let mut many = send(b"x", &[(2, 1); MAX_FDS]);
    many[8] = 29;
    bad.push(many);
    for commands in bad {
        let mut guest = Guest::new();
        let mut host = guest.connect(1);
        let mut other = guest.connect(2);
        assert!(guest.poll(1).is_empty());
        let asked = guest.heads;
        let (answer, done) = guest.submit(1, &commands, false);
        assert_eq!(answer, Answer::Refused, "{commands:?}");
        assert_eq!(done, [asked, guest.heads], "{commands:?}");
        assert_eq!(u32_at(&guest.ring(1), 12), Some(0));
        assert_eq!(host.read(&mut [0; 8]).unwrap(), 0, "{commands:?}");
        assert_eq!(guest.submit(2, &send(b"ok", &[]), false).0, Answer::Done);
        other.read_exact(&mut [0; 2]).unwrap();
    }
}

#[test]
fn without_a_host_a_context_hears_that_it_is_over() {
    let mut guest = Guest::new();
    std::fs::remove_file(guest.dir.path().join("host")).unwrap();
    guest.open(1);
    assert_eq!(guest.poll(1), [guest.heads]);
    assert_eq!(guest.ring(1).len(), MESSAGE);
    // One that never connects is answered, and told nothing.
    assert_eq!(guest.tell(0x200, 9, &[0, CAPSET]), Answer::Done);
    assert_eq!(guest.poll(9), [guest.heads]);
}

#[test]
fn questions_that_wait_are_bounded_and_end_with_their_context() {
    let mut guest = Guest::new();
    let _host = guest.connect(1);
    for _ in 0..WAITING {
        assert!(guest.poll(1).is_empty());
    }
    assert_eq!(guest.poll(1), [guest.heads]);
    let (_, done) = guest.ask(0x201, 1, &[], false);
    assert_eq!(done.len(), WAITING + 1);
    assert_eq!(guest.tell(0x201, 1, &[]), Answer::Refused);
    assert_eq!(guest.gpu.contexts(), 0);
    for context in 0..u32::try_from(CONTEXTS).unwrap() {
        assert_eq!(guest.tell(0x200, context, &[0, CAPSET]), Answer::Done);
    }
    assert_eq!(guest.tell(0x200, 5, &[0, CAPSET]), Answer::Refused);
    assert_eq!(guest.tell(0x200, 9999, &[0, CAPSET]), Answer::Refused);
}

#[test]
fn a_host_that_does_not_read_holds_nobody_up_and_is_cut_off() {
    let mut guest = Guest::new();
    let host = guest.connect(1);
    let mut other = guest.connect(2);
    let message = send(&[7; 3000], &[]);
    let mut sent = 0;
    while guest.submit(1, &message, false).0 == Answer::Done {
        sent += 3000;
        assert!(sent < 2 * QUEUED);
    }
    assert!(sent > QUEUED / 2);
    assert_eq!(guest.submit(2, &send(b"ok", &[]), false).0, Answer::Done);
    other.read_exact(&mut [0; 2]).unwrap();
    drop(host);
}

#[test]
fn a_guest_that_waits_for_its_sends_is_held_back_and_never_cut_off() {
    let mut guest = Guest::new();
    let mut host = guest.connect(1);
    let commands = send(&[7; 3000], &[]);
    let mut body = words(&[u32::try_from(commands.len()).unwrap(), 0]);
    body.extend_from_slice(&commands);
    let (mut held, mut got) = (0, vec![0; 100_000]);
    for _ in 0..2000 {
        // With a fence, on the ring that does not wait for messages.
        let mut bytes = words(&[SUBMIT, 3, 0, 0, 1, 0]);
        bytes.extend_from_slice(&body);
        let header = Header::decode(&bytes).unwrap();
        let mut done = Vec::new();
        let answer = guest.gpu.serve(&header, &bytes, &guest.vmm, &mut done);
        assert_eq!(answer, Answer::Done);
        let ticket = Ticket { head: 1, written: 0 };
        guest.gpu.settle(&header, answer, ticket, &guest.vmm, &mut done);
        while done.is_empty() {
            held += 1;
            assert_ne!(host.read(&mut got).unwrap(), 0);
            done.extend(guest.ready().iter().map(|head| Ticket {
                head: *head,
                written: 0,
            }));
        }
    }
    assert!(held > 0);
}

#[test]
fn memory_of_the_host_passes_and_is_seen_in_the_window() {
    let mut guest = Guest::new();
    let host = guest.connect(1);
    let file = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&file, 8192).unwrap();
    send_fds(&host, &[file.as_fd()]);
    assert_eq!(guest.poll(1), [guest.heads]);
    let ring = guest.ring(1);
    let (item, size) = (u32_at(&ring, 16).unwrap(), u32_at(&ring, 16 + 8 * 28).unwrap());
    assert_eq!((u32_at(&ring, 8), size), (Some(1), 8192));
    // It is not cut short any more.
    assert!(rustix::fs::ftruncate(&file, 0).is_err());
    for size in [8193, u32::MAX] {
        assert_eq!(
            guest.tell(0x10c, 1, &[9, 2, 3, 0, item, 0, size, 0]),
            Answer::Refused
        );
        // An item is used once, whatever came of it.
        send_fds(&host, &[file.as_fd()]);
        guest.poll(1);
        guest.ring(1);
    }
    assert_eq!(
        guest.tell(0x10c, 1, &[9, 2, 3, 0, item + 2, 0, 8192, 0]),
        Answer::Done
    );
    assert_eq!(
        guest.tell(0x10c, 1, &[10, 2, 3, 0, item + 2, 0, 8192, 0]),
        Answer::Refused
    );
    assert_eq!(guest.tell(0x208, 0, &[9, 0, 0x1000, 0]), Answer::Mapped);
    assert_eq!(guest.vmm.mapped(), 1);
    assert_eq!(guest.gpu.end().0.count(), 1);
}

#[test]
fn memory_for_the_guest_is_on_its_account() {
    let mut guest = Guest::new();
    let mut host = guest.connect(1);
    let quarter = u32::try_from(MEMORY / 4096 / 4).unwrap();
    for blob in 10..14 {
        assert_eq!(guest.allocate(1, blob, quarter), Answer::Done);
    }
    assert_eq!(guest.allocate(1, 14, 1), Answer::Refused);
    assert_eq!(guest.tell(0x102, 0, &[10, 0]), Answer::Done);
    assert_eq!(guest.allocate(1, 14, quarter), Answer::Done);
    assert_eq!(guest.submit(1, &send(b"m", &[(14, 1)]), false).0, Answer::Done);
    let mut fds = Vec::new();
    heraldry_wire::descriptors::receive(host.as_fd(), &mut [0; 8], &mut fds).unwrap();
    let size = rustix::fs::fstat(&fds[0]).unwrap().st_size;
    assert_eq!(u64::try_from(size).unwrap(), MEMORY / 4);
    assert!(rustix::fs::ftruncate(&fds[0], 0).is_err());
    host.write_all(b"x").unwrap();
}

#[test]
fn pipes_become_messages() {
    let mut guest = Guest::new();
    let host = guest.connect(1);
    // One that the guest reads.
    assert_eq!(
        guest.submit(1, &send(b"r", &[(READ_PIPES + 1, 3)]), false).0,
        Answer::Done
    );
    let mut fds = Vec::new();
    heraldry_wire::descriptors::receive(host.as_fd(), &mut [0; 8], &mut fds).unwrap();
    assert!(guest.poll(1).is_empty());
    let asked = guest.heads;
    rustix::io::write(&fds[0], b"paste").unwrap();
    assert_eq!(guest.ready(), [asked]);
    let ring = guest.ring(1);
    assert_eq!(
        (ring[0], u32_at(&ring, 8), &ring[24..]),
        (6, Some(READ_PIPES + 1), &b"paste"[..])
    );
    fds.clear();
    assert_eq!(guest.poll(1), [guest.heads]);
    assert_eq!(u32_at(&guest.ring(1), 12), Some(1));
    // One that the guest writes; nobody reads it, and nobody waits.
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    send_fds(&host, &[writer.as_fd(), reader.as_fd()]);
    drop(writer);
    guest.poll(1);
    let ring = guest.ring(1);
    let (pipe, kinds) = (
        u32_at(&ring, 16).unwrap(),
        [u32_at(&ring, 128), u32_at(&ring, 132)],
    );
    assert_eq!(kinds, [Some(4), Some(0)]);
    let write = |bytes: &[u8], last| {
        let mut body = words(&[pipe, last, u32::try_from(bytes.len()).unwrap(), 0]);
        body.extend_from_slice(bytes);
        command(7, &body)
    };
    for _ in 0..40 {
        assert_eq!(guest.submit(1, &write(&[3; 4000], 0), false).0, Answer::Done);
    }
    guest.submit(1, &write(&[], 1), false);
    let mut got = Vec::new();
    let mut file = std::fs::File::from(reader);
    let mut some = [0; 9000];
    loop {
        let count = file.read(&mut some).unwrap();
        if count == 0 {
            break;
        }
        got.extend_from_slice(&some[..count]);
        guest.ready();
    }
    assert_eq!(got, [3; 160_000]);
    assert_eq!(guest.submit(1, &write(b"late", 0), false).0, Answer::Done);
}

#[test]
fn blobs_that_are_not_there_are_attached_to_nothing_and_go_with_their_number() {
    let mut guest = Guest::new();
    let _host = guest.connect(1);
    let before = guest.gpu.contexts[&1].attached.len();
    for blob in 1_000_000..1_010_000 {
        assert_eq!(guest.tell(ATTACH, 1, &[blob, 0]), Answer::Refused);
    }
    assert_eq!(guest.gpu.contexts[&1].attached.len(), before);
    // A context has no more than there are, however often their numbers change.
    for blob in 100_000..105_000 {
        let piece = [blob, 1, 1, 1, 0, 0, 4096, 0, 0x9000, 0, 4096, 0];
        assert_eq!(guest.tell(0x10c, 0, &piece), Answer::Done);
        assert_eq!(guest.tell(ATTACH, 1, &[blob, 0]), Answer::Done);
        assert_eq!(guest.tell(0x102, 0, &[blob, 0]), Answer::Done);
    }
    assert_eq!(guest.gpu.contexts[&1].attached.len(), before);
}

#[test]
fn bytes_one_at_a_time_cost_no_more_than_others() {
    let mut guest = Guest::new();
    let _host = guest.connect(1);
    let message = send(b"x", &[]);
    for _ in 0..50_000 {
        assert_eq!(guest.submit(1, &message, false).0, Answer::Done);
    }
    let queue = &guest.gpu.contexts[&1].send_queue;
    assert!(
        queue.bytes() > 10_000 && queue.pieces() < 10,
        "{}",
        queue.pieces()
    );
}

#[test]
fn descriptors_that_wait_for_a_host_that_does_not_read_are_bounded() {
    let mut guest = Guest::new();
    let _host = guest.connect(1);
    assert_eq!(guest.allocate(1, 10, 1), Answer::Done);
    let message = send(b"x", &[(10, 1); MAX_FDS]);
    let mut waiting = 0;
    // The kernel has some of them.
    while guest.submit(1, &message, false).0 == Answer::Done && waiting <= DESCRIPTORS {
        waiting = guest.gpu.contexts[&1].send_queue.descriptors();
    }
    assert!((1..=DESCRIPTORS).contains(&waiting), "{waiting}");
    assert!(!guest.gpu.contexts[&1].is_open());
}

#[test]
fn many_pipes_that_nobody_reads_hold_no_more_than_one_connection_may() {
    let mut guest = Guest::new();
    let host = guest.connect(1);
    let pipes: Vec<_> = (0..8).map(|_| rustix::pipe::pipe().unwrap()).collect();
    for (_, writer) in &pipes {
        send_fds(&host, &[writer.as_fd()]);
        guest.poll(1);
        let pipe = u32_at(&guest.ring(1), 16).unwrap();
        for _ in 0..200 {
            let mut body = words(&[pipe, 0, 5000, 0]);
            body.extend_from_slice(&[3; 5000]);
            assert_eq!(guest.submit(1, &command(7, &body), false).0, Answer::Done);
        }
    }
    let waiting = guest.gpu.contexts[&1].items.bytes();
    assert!(waiting <= QUEUED, "{waiting}");
}

#[test]
fn memory_counts_for_as_long_as_anybody_has_it() {
    let mut guest = Guest::new();
    let host = guest.connect(1);
    let half = u32::try_from(MEMORY / 4096 / 2).unwrap();
    // What is sent, given up and not read is had by the queue.
    for blob in [10, 11] {
        assert_eq!(guest.allocate(1, blob, half), Answer::Done);
        assert_eq!(guest.submit(1, &send(b"m", &[(blob, 1)]), false).0, Answer::Done);
        assert_eq!(guest.tell(0x102, 0, &[blob, 0]), Answer::Done);
    }
    assert_eq!(guest.allocate(1, 12, 1), Answer::Refused);
    // Also when the guest starts anew.
    let (_, account) = std::mem::replace(
        &mut guest.gpu,
        Gpu::new(PathBuf::new(), Account::default()).unwrap(),
    )
    .end();
    guest.gpu = Gpu::new(guest.dir.path().join("host"), account).unwrap();
    let other = guest.connect(1);
    assert_eq!(guest.allocate(1, 12, 1), Answer::Refused);
    drop(host);
    assert_eq!(guest.allocate(1, 13, half), Answer::Done);
    drop(other);
}
