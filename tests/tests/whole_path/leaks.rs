// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients come and go and leave nothing behind.

use heraldry_tests::colour::key::MAGENTA;
use heraldry_tests::rig::{Rig, Usage, VMS, assert_no_wrong_descriptor, until};

/// Memory that may differ after hundreds of clients, in KiB. A leak of one picture of a window, or of one KiB a
/// client, is more.
const SLACK: u64 = 1500;

/// Five clients of each VM come, show a window and go; so many times.
fn come_and_go(rig: &Rig, rounds: usize) {
    std::thread::scope(|scope| {
        for vm in VMS {
            scope.spawn(move || {
                for round in 0..rounds {
                    let mut clients: Vec<_> = (0..5).map(|_| rig.visitor(vm)).collect();
                    for (number, client) in clients.iter_mut().enumerate() {
                        // Every other one without a window, every third one without a goodbye.
                        if number % 2 == 0 {
                            let window = client.show((64, 48), MAGENTA).unwrap();
                            if (number + round) % 3 != 0 {
                                window.toplevel.destroy();
                                client.roundtrip().unwrap_or_default();
                            }
                        }
                    }
                }
            });
        }
    });
    until("all clients are gone", || {
        let stats = rig.stats();
        stats.clients == 0 && stats.windows == 0 && rig.host_stats()["connections"] == 0
    });
}

/// A value that has stopped changing: our own questions take descriptors for a moment, too.
fn steady<T: PartialEq + Copy>(look: impl Fn() -> T) -> T {
    let (mut last, mut same) = (look(), 0);
    until("it has settled", || {
        let now = look();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        same >= 20
    });
    last
}

#[test]
fn twenty_clients_of_four_vms_a_hundred_times() {
    let mut rig = Rig::default();
    let compositor = rig.compositor_pid();
    let usage = || [Usage::of(compositor), rig.host_usage()];
    let held = || usage().map(|usage| (usage.descriptors, usage.threads));
    let memory = || usage().map(|usage| usage.memory);
    come_and_go(&rig, 15);
    let (before, memory_before) = (steady(held), memory());
    come_and_go(&rig, 100);
    assert_eq!(
        steady(held),
        before,
        "descriptors and threads of compositor and host"
    );
    for (before, after) in memory_before.into_iter().zip(memory()) {
        assert!(
            after <= before + SLACK,
            "{after} KiB after 2000 clients, {before} KiB before them"
        );
    }
    assert_no_wrong_descriptor(&rig.quit());
}
