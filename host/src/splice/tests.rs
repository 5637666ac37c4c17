// SPDX-License-Identifier: MIT OR Apache-2.0
//! Splices between socket pairs: what a peer sees, and what waiting costs.

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::*;

fn send(fd: BorrowedFd<'_>, bytes: &[u8], fds: &[OwnedFd]) -> Result<usize, Errno> {
    let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    heraldry_wire::descriptors::send(fd, bytes, &borrowed)
}

struct Rig {
    splice: Splice,
    stand_ins: StandIns,
    client: UnixStream,
    compositor: UnixStream,
    /// The compositor has taken all that it was sent, and says so.
    credits: bool,
}

fn party(vm: &str) -> Party {
    Party {
        vm: heraldry_identity::VmName::new(vm).unwrap(),
        connection: 1,
        most: 4,
    }
}

fn rig(max_fds: usize) -> Rig {
    let pair = || {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        far.set_nonblocking(true).unwrap();
        (OwnedFd::from(near), far)
    };
    let ((near_client, client), (near_compositor, compositor)) = (pair(), pair());
    Rig {
        splice: Splice::new(
            near_client,
            near_compositor,
            UnsealedMemory::Refuse,
            max_fds,
            party("work"),
        ),
        stand_ins: StandIns::new(),
        client,
        compositor,
        credits: false,
    }
}

impl Rig {
    /// What the daemon does: waits for what the splice is interested in, and for nothing else. Returns the end, or
    /// `None` when nothing happens any more; fails if something happens for ever.
    fn turn(&mut self) -> Option<End> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        if std::mem::take(&mut self.credits)
            && let Err(end) = self.splice.credit(u64::MAX, u64::MAX)
        {
            return Some(end);
        }
        for _ in 0..10_000 {
            let sides = [Side::Client, Side::Compositor];
            let interest = sides.map(|side| self.splice.interest(side));
            let now = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            let events: Vec<(Side, EventFlags)> = sides
                .into_iter()
                .zip(interest)
                .filter(|(_, flags)| !flags.is_empty())
                .filter_map(|(side, flags)| {
                    let wanted = PollFlags::from_bits_truncate(u16::try_from(flags.bits()).unwrap());
                    let fd = self.splice.fd(side);
                    let mut fds = [PollFd::from_borrowed_fd(fd, wanted)];
                    poll(&mut fds, Some(&now)).unwrap();
                    let got = EventFlags::from_bits_truncate(u32::from(fds[0].revents().bits()));
                    (!got.is_empty()).then_some((side, got))
                })
                .collect();
            if events.is_empty() {
                return None;
            }
            for (side, flags) in events {
                if let Err(end) = self.splice.progress(side, flags, &mut self.stand_ins) {
                    return Some(end);
                }
            }
        }
        panic!("the splice spins");
    }

    /// Writes until nothing more is taken; returns how much was.
    fn flood(&mut self, side: Side, at_once: usize) -> usize {
        let mut total = 0;
        let bytes: Vec<u8> = (0..at_once).map(|at| u8::try_from(at % 251).unwrap()).collect();
        loop {
            let peer = match side {
                Side::Client => &mut self.client,
                Side::Compositor => &mut self.compositor,
            };
            match peer.write(&bytes) {
                Ok(count) => total += count,
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                    if self.splice.interest(side).contains(EventFlags::IN) {
                        assert!(self.turn().is_none());
                    } else {
                        return total;
                    }
                }
            }
            if at_once == 1 {
                assert!(self.turn().is_none());
                if !self.splice.interest(side).contains(EventFlags::IN) {
                    return total;
                }
            }
        }
    }

    /// The compositor reads what is there.
    fn work_off(&mut self) -> Vec<u8> {
        self.credits = true;
        drain(&mut self.compositor)
    }

    fn held(&self) -> usize {
        let direction = |direction: &Direction| {
            direction
                .queue
                .iter()
                .map(|piece| piece.bytes.capacity() + size_of::<Piece>())
                .sum::<usize>()
        };
        direction(&self.splice.up) + direction(&self.splice.down)
    }
}

/// Reads what is there, without waiting.
fn drain(stream: &mut UnixStream) -> Vec<u8> {
    let mut all = Vec::new();
    // It ends with an error when there is nothing more for now.
    let _again = stream.read_to_end(&mut all);
    all
}

fn memory() -> OwnedFd {
    let fd = memfd_create("test", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, 4096).unwrap();
    fd
}

#[test]
fn bytes_pass_both_ways() {
    let mut rig = rig(256);
    rig.client.write_all(b"request").unwrap();
    rig.compositor.write_all(b"event").unwrap();
    assert!(rig.turn().is_none());
    assert_eq!(rig.work_off(), b"request");
    assert_eq!(drain(&mut rig.client), b"event");
}

#[test]
fn a_side_that_does_not_read_costs_a_bounded_queue() {
    for at_once in [1, 100, 100_000] {
        let mut rig = rig(256);
        let sent = rig.flood(Side::Client, at_once);
        assert!(rig.splice.up.bytes <= MAX_QUEUED + CHUNK, "{at_once}");
        assert!(
            rig.held() <= 2 * (MAX_QUEUED + 2 * CHUNK),
            "{at_once}: {}",
            rig.held()
        );
        // All of it arrives once it reads.
        let mut got = 0;
        loop {
            let some = rig.work_off().len();
            assert!(rig.turn().is_none());
            if some == 0 {
                break;
            }
            got += some;
        }
        assert_eq!(got, sent, "{at_once}");
    }
}

#[test]
fn a_hang_up_behind_a_full_queue_does_not_spin_and_loses_nothing() {
    let mut rig = rig(256);
    let sent = rig.flood(Side::Client, 4096);
    let (placeholder, _) = UnixStream::pair().unwrap();
    drop(std::mem::replace(&mut rig.client, placeholder));
    assert!(rig.turn().is_none(), "it waits for the compositor");
    let mut got = 0;
    loop {
        got += rig.work_off().len();
        if let Some(end) = rig.turn() {
            assert!(matches!(end, End::Closed(Side::Client)), "{end}");
            break;
        }
    }
    got += rig.work_off().len();
    assert_eq!(got, sent);
}

#[test]
fn the_last_words_of_a_compositor_that_closed_reach_a_client_that_floods() {
    let mut rig = rig(256);
    rig.flood(Side::Client, 4096);
    rig.compositor.write_all(b"error").unwrap();
    let (placeholder, _) = UnixStream::pair().unwrap();
    drop(std::mem::replace(&mut rig.compositor, placeholder));
    let end = rig.turn().expect("nobody is left to wait for");
    assert!(matches!(end, End::Closed(Side::Compositor)), "{end}");
    assert_eq!(drain(&mut rig.client), b"error");
    assert!(rig.client.write(b"more").is_err(), "its writes fail");
}

#[test]
fn a_client_that_does_not_read_its_last_words_has_a_deadline() {
    let mut rig = rig(256);
    for _ in 0..32 {
        // More than the client's socket holds, less than may wait for it.
        rig.compositor.write_all(&[0; 16 * 1024]).unwrap();
        assert!(rig.turn().is_none());
    }
    let (placeholder, _) = UnixStream::pair().unwrap();
    drop(std::mem::replace(&mut rig.compositor, placeholder));
    drain(&mut rig.client); // so that the rest is read, and the end of it
    while rig.splice.deadline().is_none() {
        assert!(rig.turn().is_none());
        let mut some = [0; 4096];
        // It may be empty already.
        let _empty = rig.client.read(&mut some);
    }
    assert!(rig.splice.deadline().unwrap() <= Instant::now() + LINGER);
    assert!(matches!(rig.splice.overdue(), End::Closed(Side::Compositor)));
}

#[test]
fn a_client_that_does_not_read_ends_before_the_compositor_waits() {
    let mut rig = rig(256);
    let mut sent = 0;
    let end = loop {
        match rig.compositor.write(&[0; 4096]) {
            Ok(count) => sent += count,
            Err(error) => panic!("the compositor waits after {sent} bytes: {error}"),
        }
        if let Some(end) = rig.turn() {
            break end;
        }
    };
    assert!(matches!(end, End::Slow), "{end}");
    assert!(end.is_fault());
    assert!((MAX_WAITING..2 * MAX_WAITING).contains(&sent), "{sent}");
}

#[test]
fn a_client_that_hears_nothing_more_is_heard_to_its_end() {
    let mut rig = rig(256);
    rig.client.write_all(b"last request").unwrap();
    let (placeholder, _) = UnixStream::pair().unwrap();
    drop(std::mem::replace(&mut rig.client, placeholder));
    rig.compositor.write_all(b"event for nobody").unwrap();
    // The compositor's side first, so that the broken pipe shows before the request is read.
    rig.splice.pull(Side::Compositor, &mut rig.stand_ins).unwrap();
    rig.splice.push(Side::Client).unwrap();
    let end = rig.turn().expect("both sides are done");
    assert!(matches!(end, End::Closed(Side::Client)), "{end}");
    assert_eq!(rig.work_off(), b"last request");
}

#[test]
fn twenty_eight_descriptors_arrive_with_their_byte() {
    let mut rig = rig(28);
    let fds: Vec<OwnedFd> = (0..MAX_FDS).map(|_| memory()).collect();
    rig.client.write_all(b"a").unwrap();
    send(rig.client.as_fd(), b"b", &fds).unwrap();
    rig.client.write_all(b"c").unwrap();
    assert!(rig.turn().is_none());
    let mut received = Vec::new();
    let mut bytes = [0; 16];
    let mut all = Vec::new();
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let slices = &mut [IoSliceMut::new(&mut bytes)];
        let Ok(message) = recvmsg(&rig.compositor, slices, &mut control, RecvFlags::CMSG_CLOEXEC) else {
            break;
        };
        assert!(!message.flags.contains(ReturnFlags::CTRUNC));
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                assert!(all.len() <= 1, "they come no later than their byte");
                received.extend(rights);
            }
        }
        all.extend_from_slice(&bytes[..message.bytes]);
    }
    assert_eq!((all.as_slice(), received.len()), (&b"abc"[..], MAX_FDS));
}

#[test]
fn descriptors_wait_at_their_source_when_enough_wait_here() {
    let mut rig = rig(56);
    // The compositor's socket is full, so that nothing leaves.
    let filler = [0; 4096];
    while send(rig.splice.fd(Side::Compositor), &filler, &[]).is_ok() {}
    for _ in 0..8 {
        let fds: Vec<OwnedFd> = (0..14).map(|_| memory()).collect();
        send(rig.client.as_fd(), b"x", &fds).unwrap();
    }
    assert!(
        rig.turn().is_none(),
        "a slow compositor is no fault of the client"
    );
    assert!((29..=56).contains(&rig.splice.up.fds), "{}", rig.splice.up.fds);
    while !rig.work_off().is_empty() {
        assert!(rig.turn().is_none());
    }
    assert_eq!(rig.splice.up.fds, 0);
    assert_eq!(rig.splice.up.traffic.memory, 8 * 14);
}

#[test]
fn too_many_descriptors_in_one_message_are_a_fault() {
    let mut rig = rig(256);
    let fds: Vec<OwnedFd> = (0..=MAX_FDS).map(|_| memory()).collect();
    let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS + 1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
    sendmsg(
        &rig.client,
        &[IoSlice::new(b"x")],
        &mut control,
        SendFlags::empty(),
    )
    .unwrap();
    let end = rig.turn().unwrap();
    assert!(end.is_fault(), "{end}");
}

#[test]
fn sockets_are_a_fault_from_either_side() {
    for side in [Side::Client, Side::Compositor] {
        let mut rig = rig(256);
        let (socket, _other) = UnixStream::pair().unwrap();
        let peer = match side {
            Side::Client => &rig.client,
            Side::Compositor => &rig.compositor,
        };
        send(peer.as_fd(), b"x", &[socket.into()]).unwrap();
        let end = rig.turn().unwrap();
        assert!(end.is_fault() && end.to_string().starts_with(&side.to_string()));
    }
}

/// Receives one byte with what came with it.
fn receive(stream: &UnixStream) -> Vec<OwnedFd> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let slices = &mut [IoSliceMut::new(&mut byte)];
    recvmsg(stream, slices, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    rights.flatten().collect()
}

fn is_pipe(fd: &OwnedFd) -> bool {
    use rustix::fs::{FileType, fstat};
    FileType::from_raw_mode(fstat(fd).unwrap().st_mode) == FileType::Fifo
}

#[test]
fn a_pipe_that_a_client_sends_is_what_another_gets_and_the_compositor_never_has_it() {
    let mut rig = rig(256);
    let (read, write) = rustix::pipe::pipe().unwrap();
    send(rig.client.as_fd(), b"x", &[memory(), write, memory()]).unwrap();
    assert!(rig.turn().is_none());
    let at_compositor = receive(&rig.compositor);
    assert!(at_compositor.len() == 3 && !at_compositor.iter().any(is_pipe));
    send(rig.compositor.as_fd(), b"y", &at_compositor).unwrap();
    assert!(rig.turn().is_none());
    let back = receive(&rig.client);
    assert_eq!(back.iter().map(is_pipe).collect::<Vec<_>>(), [false, true, false]);
    rustix::io::write(&back[1], b"pasted").unwrap();
    drop(back);
    let mut pasted = String::new();
    std::fs::File::from(read).read_to_string(&mut pasted).unwrap();
    assert_eq!(pasted, "pasted");
    let (up, down) = rig.splice.traffic();
    assert_eq!((up.pipes, down.pipes, up.memory, down.memory), (1, 1, 2, 2));
}

#[test]
fn a_stand_in_of_another_vm_is_a_fault() {
    let mut rig = rig(256);
    let (_read, write) = rustix::pipe::pipe().unwrap();
    let stand_in = rig.stand_ins.replace(&party("play"), write).unwrap();
    send(rig.compositor.as_fd(), b"x", &[stand_in]).unwrap();
    let end = rig.turn().unwrap();
    assert!(
        matches!(end, End::Descriptor(Side::Compositor, Refused::Foreign)) && end.is_fault(),
        "{end}"
    );
    assert_eq!(drain(&mut rig.client), b"");
}

#[test]
fn the_compositor_has_no_pipe_to_send() {
    let mut rig = rig(256);
    let (_read, write) = rustix::pipe::pipe().unwrap();
    send(rig.compositor.as_fd(), b"x", &[write]).unwrap();
    let end = rig.turn().unwrap();
    assert!(
        matches!(end, End::Descriptor(Side::Compositor, Refused::Pipe)),
        "{end}"
    );
}

#[test]
fn no_more_is_under_way_than_the_compositor_has_said_it_can_hold() {
    let mut rig = rig(256);
    rig.flood(Side::Client, 4096);
    let window = usize::try_from(WINDOW_BYTES).unwrap();
    assert_eq!(drain(&mut rig.compositor).len(), window);
    assert!(rig.turn().is_none());
    assert!(drain(&mut rig.compositor).is_empty(), "the host was told nothing");
    rig.splice.credit(1000, 0).unwrap();
    assert_eq!(drain(&mut rig.compositor).len(), 1000);
    // Sums only rise, and never above what was sent.
    rig.splice.credit(10, 0).unwrap();
    assert!(drain(&mut rig.compositor).is_empty());
    rig.splice.credit(u64::MAX, u64::MAX).unwrap();
    assert_eq!(drain(&mut rig.compositor).len(), window);
}

#[test]
fn no_more_descriptors_are_under_way_than_the_compositor_has_said_it_can_hold() {
    let mut rig = rig(256);
    for _ in 0..8 {
        let fds: Vec<OwnedFd> = (0..10).map(|_| memory()).collect();
        send(rig.client.as_fd(), b"request", &fds).unwrap();
        assert!(rig.turn().is_none());
    }
    assert_eq!(rig.splice.traffic().0.memory, 80);
    let most = usize::try_from(WINDOW_FDS).unwrap() / 10;
    assert_eq!(rig.work_off().len(), most * b"request".len());
    assert!(rig.turn().is_none());
    assert_eq!(rig.work_off().len(), (8 - most) * b"request".len());
}
