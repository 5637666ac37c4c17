// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bytes and descriptors arrive in their order, together, and none is lost.

use super::*;

#[test]
fn recv_joins_bytes_and_brings_descriptors_early() {
    let mut rig = Rig::new(Limits::default());
    let context = rig.context();
    rig.host_sends(context, 3, 0);
    rig.host_sends(context, 3, 20);
    rig.host_sends(context, 3, 20);
    let RecvOutcome::Data { data, vfds, returned } = rig.recv(context, 4) else {
        panic!("no data")
    };
    assert_eq!((data.len(), vfds.len(), returned), (4, 28, 1));
    let RecvOutcome::Data { data, vfds, returned } = rig.recv(context, 99) else {
        panic!("no data")
    };
    assert_eq!((data.len(), vfds.len(), returned), (5, 12, 2));
    assert_eq!(rig.recv(context, 99), RecvOutcome::WouldBlock);
    rig.host_sends(context, 3, 0);
    assert_eq!(rig.recv(context, 0), RecvOutcome::NoRoom);
}

#[test]
fn without_buffers_nothing_is_read_and_all_comes_in_order_later() {
    let mut rig = Rig::new(SMALL);
    let (one, two) = (rig.context(), rig.context());
    for _ in 0..4 {
        assert!(rig.reading);
        rig.host_sends(one, 1, 0);
    }
    assert!(!rig.reading);
    rig.host_sends(two, 1, 2);
    rig.machine.ended(two);
    rig.pump();
    assert!(!rig.driver.readable(two) && !rig.driver.hung_up(two));
    rig.recv(one, 1);
    assert!(rig.driver.readable(two) && !rig.driver.hung_up(two));
    rig.recv(one, 1);
    assert!(rig.driver.hung_up(two) && rig.reading);
    rig.verify(&SMALL);
}

#[test]
fn what_waits_for_a_closed_vfd_is_taken_back() {
    let mut rig = Rig::new(SMALL);
    let (one, two) = (rig.context(), rig.context());
    for _ in 0..4 {
        rig.host_sends(one, 1, 0);
    }
    rig.host_sends(two, 1, 3);
    assert_eq!(rig.live.get(), 5);
    rig.close(two);
    assert_eq!((rig.live.get(), rig.machine.waiting()), (1, 0));
    rig.close(one);
    assert_eq!((rig.live.get(), rig.machine.free_buffers()), (0, 4));
    rig.verify(&SMALL);
}

#[test]
fn an_empty_send_loses_no_end_of_a_pipe() {
    let mut rig = Rig::new(SMALL);
    let context = rig.context();
    let end = PipeEnd::Read;
    let pipe = rig.new_vfd(|id| Command::NewPipe { id, end }).unwrap();
    for (data, sent) in [(vec![], vec![]), (vec![1], vec![(vec![1], 1)])] {
        let ticket = rig.command(Command::Send {
            id: context,
            vfds: vec![pipe],
            data,
        });
        assert_eq!(rig.answer(ticket), Some(Response::Ok));
        assert_eq!(rig.sent, sent);
    }
}
