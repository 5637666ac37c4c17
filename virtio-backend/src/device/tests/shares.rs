// SPDX-License-Identifier: MIT OR Apache-2.0
//! What one guest or one connection may have of ids and memory.

use super::*;

#[test]
fn a_connection_that_takes_all_vfds_it_can_get_leaves_some_to_the_next() {
    let mut rig = Rig::new(Limits {
        in_buffers: 256,
        ..SMALL
    });
    let hogs: Vec<_> = (0..3).map(|_| rig.context()).collect();
    let honest = rig.context();
    for hog in &hogs {
        while !rig.driver.hung_up(*hog) {
            rig.host_sends(*hog, 1, 1);
            rig.recv(*hog, 9);
        }
    }
    // Also when they are gone: what they brought is still there.
    for hog in &hogs {
        rig.close(*hog);
        rig.context();
    }
    let (_, taken) = rig.machine.count();
    assert!(taken > 20 && taken < 40, "{taken}");
    for _ in 0..(40 - taken) / 2 {
        rig.host_sends(honest, 1, 1);
    }
    assert!(!rig.driver.hung_up(honest));
}

#[test]
fn the_guest_makes_no_more_memory_than_it_may_have_in_all() {
    let mut rig = Rig::new(Limits {
        memory_total: 100 << 30,
        ..SMALL
    });
    let large = |id| Command::NewAlloc {
        id,
        size: 0xffff_f000,
    };
    let made: Vec<_> = std::iter::from_fn(|| rig.new_vfd(large)).take(100).collect();
    assert_eq!(made.len(), 25, "of nearly 4 GiB each");
    let ticket = rig.command(large(1000));
    assert_eq!(rig.answer(ticket), Some(Response::Fault(Fault::OutOfMemory)));
    rig.close(made[0]);
    rig.new_vfd(large).expect("what was closed is free again");
}
