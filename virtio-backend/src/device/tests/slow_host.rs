// SPDX-License-Identifier: MIT OR Apache-2.0
//! A host that takes little, or nothing.

use super::*;

#[test]
fn a_slow_host_delays_answers_beyond_the_bound() {
    let mut rig = Rig::new(SMALL);
    let context = rig.context();
    rig.window = 10;
    assert_eq!(rig.send(context, &[], &[1; 60]), Some(Response::Ok));
    assert_eq!(rig.send(context, &[], &[2; 50]), Some(Response::Ok));
    let waiting = rig.command(Command::Send {
        id: context,
        vfds: Vec::new(),
        data: vec![3; 50],
    });
    assert_eq!(rig.answer(waiting), None);
    rig.window = 50;
    rig.machine.writable(context);
    rig.pump();
    assert_eq!(rig.answer(waiting), Some(Response::Ok));
    let lost = rig.command(Command::Send {
        id: context,
        vfds: Vec::new(),
        data: vec![4; 50],
    });
    rig.machine.ended(context);
    rig.pump();
    assert_eq!(rig.answer(lost), Some(Response::Fault(Fault::Err)));
    let bytes: Vec<u8> = rig.sent.iter().flat_map(|(data, _)| data.clone()).collect();
    assert_eq!(bytes, [1; 60].to_vec());
}

#[test]
fn a_host_that_takes_nothing_any_more_can_still_be_heard() {
    let mut rig = Rig::new(SMALL);
    let context = rig.context();
    rig.window = 0;
    assert_eq!(rig.send(context, &[], &[1; 60]), Some(Response::Ok));
    let waiting = rig.command(Command::Send {
        id: context,
        vfds: Vec::new(),
        data: vec![2; 60],
    });
    rig.machine.unwritable(context);
    rig.pump();
    assert_eq!(rig.answer(waiting), Some(Response::Fault(Fault::Err)));
    rig.host_sends(context, 5, 0);
    assert!(matches!(rig.recv(context, 9), RecvOutcome::Data { .. }));
    assert!(!rig.driver.hung_up(context));
}

#[test]
fn sends_to_slow_sockets_wait_in_bounded_number_and_bytes_and_others_do_not() {
    let mut rig = Rig::new(Limits {
        out_total_bytes: 250,
        out_unanswered: 10,
        ..SMALL
    });
    rig.window = 0;
    let slow: Vec<_> = (0..4).map(|_| rig.context()).collect();
    let mut answers = Vec::new();
    for round in 0..10 {
        for id in &slow {
            let ticket = rig.command(Command::Send {
                id: *id,
                vfds: vec![],
                data: vec![round; 50],
            });
            answers.push(rig.answer(ticket));
        }
    }
    let count = |answer| answers.iter().filter(|other| **other == answer).count();
    assert_eq!(count(Some(Response::Ok)), 5, "250 bytes are taken on");
    assert_eq!(count(None), 10, "so many wait for their answers");
    assert_eq!(count(Some(Response::Fault(Fault::OutOfMemory))), 25);
    // Some room, and all goes on.
    rig.window = usize::MAX;
    for id in &slow {
        rig.machine.writable(*id);
        rig.pump();
    }
    let ticket = rig.command(Command::Send {
        id: slow[0],
        vfds: vec![],
        data: vec![1; 50],
    });
    assert_eq!(rig.answer(ticket), Some(Response::Ok));
    assert_eq!(rig.answers.len(), 4 + 40 + 1, "every one is answered");
}
