// SPDX-License-Identifier: MIT OR Apache-2.0
//! A compositor that crashes: it comes back, VMs can connect again, and a VM that was being served at two crashes in a row
//! waits for the user.

use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use heraldry_compositor::control::protocol::{InputRequest, KeyAction, Request};
use heraldry_tests::colour::key::{CYAN, MAGENTA};
use heraldry_tests::path::{CONFIG, Options, Rig, Visitor, until};
use rustix::process::{Pid, Signal, kill_process};

fn crash(rig: &Rig) {
    let pid = i32::try_from(rig.compositor_pid()).unwrap();
    // Rust's own handler for SIGSEGV waits for the fault to come again, which a signal from outside does not.
    kill_process(Pid::from_raw(pid).unwrap(), Signal::ABORT).unwrap();
}

#[test]
fn a_crashed_compositor_comes_back_and_vms_connect_again() {
    let rig = Rig::start(Options {
        supervised: true,
        ..Options::default()
    });
    let mut visitor = rig.visitor("work");
    visitor.show((200, 150), CYAN).unwrap();
    rig.content_of("work");
    let before = rig.compositor_pid();
    crash(&rig);
    let crashed = Instant::now();
    visitor.end();
    until("another compositor runs", || {
        rig.running_compositor().is_some_and(|pid| pid != before)
    });
    rig.wait_for_compositor();
    let away = crashed.elapsed();
    let mut again = rig.visitor("work");
    again.show((200, 150), MAGENTA).unwrap();
    rig.picture().assert_only_in(MAGENTA, rig.content_of("work"));
    assert!(away < Duration::from_secs(5), "back after {away:?}");
    assert!(rig.compositor_log().contains("the compositor crashed"));
    assert!(rig.vms().iter().all(|vm| vm.paused.is_none()));
}

#[test]
fn a_vm_that_was_served_at_two_crashes_is_paused_until_the_user_resumes_it() {
    let rig = Rig::start(Options {
        supervised: true,
        ..Options::default()
    });
    for _ in 0..2 {
        let before = rig.compositor_pid();
        // What a crash while a request of the VM is handled leaves behind.
        let record = std::fs::File::options().write(true).open(rig.served_record());
        record.unwrap().write_all_at(b"untrusted\0", 0).unwrap();
        crash(&rig);
        until("another compositor runs", || {
            rig.running_compositor().is_some_and(|pid| pid != before)
        });
        rig.wait_for_compositor();
    }
    let paused = |vm: &str| {
        rig.vms()
            .iter()
            .any(|known| known.name == vm && known.paused.is_some())
    };
    assert!(paused("untrusted") && !paused("work"));
    let mut other = rig.visitor("work");
    other.show((100, 80), CYAN).unwrap();
    // Its connections are taken and not read.
    let mut waiting = Visitor::bare(rig.connect("untrusted"));
    for _ in 0..20 {
        waiting.push();
        other.roundtrip().unwrap();
    }
    assert!(waiting.seen().globals.is_empty(), "nothing is answered");
    rig.tell(&Request::Resume {
        vm: "untrusted".to_owned(),
    });
    waiting.roundtrip().unwrap();
    assert!(!paused("untrusted"));
}

/// The compositor crashes, and the next one answers.
fn crash_and_wait(rig: &Rig) {
    let before = rig.compositor_pid();
    crash(rig);
    until("another compositor runs", || {
        rig.running_compositor().is_some_and(|pid| pid != before)
    });
    rig.wait_for_compositor();
}

fn why_paused(rig: &Rig, vm: &str) -> Option<String> {
    rig.vms().into_iter().find(|known| known.name == vm)?.paused
}

/// Whether a VM's client is answered, as far as another's is meanwhile.
fn is_answered(rig: &Rig, vm: &str, other: &mut Visitor) -> bool {
    let mut asking = Visitor::bare(rig.connect(vm));
    for _ in 0..20 {
        asking.push();
        other.roundtrip().unwrap();
    }
    !asking.seen().globals.is_empty()
}

/// Presses keys together.
fn chord(rig: &Rig, keys: &[&str]) {
    let key = |name: &str, action| {
        rig.tell(&Request::Input(InputRequest::Key {
            name: name.to_owned(),
            action,
        }));
    };
    keys.iter().for_each(|name| key(name, KeyAction::Press));
    keys.iter().rev().for_each(|name| key(name, KeyAction::Release));
}

#[test]
fn what_is_paused_or_hidden_stays_so_over_crashes_until_the_user_resumes_it() {
    let violating =
        r##"vm "untrusted" { display-name "Untrusted"; color "#b3322e"; pattern "vertical"; glyph "!"; }"##;
    let rig = Rig::start(Options {
        supervised: true,
        config: CONFIG.replace(
            violating,
            &violating.replace("glyph", "on-violation \"hide-vm\"; glyph"),
        ),
        ..Options::default()
    });
    rig.visitor("work").roundtrip().unwrap();
    rig.tell(&Request::Pause {
        vm: "work".to_owned(),
    });
    let mut hidden = rig.visitor("personal");
    hidden.show((300, 200), MAGENTA).unwrap();
    let at = rig.content_of("personal");
    rig.tell(&Request::Input(InputRequest::Motion {
        x: (at.x + 10).into(),
        y: (at.y + 10).into(),
    }));
    chord(&rig, &["Super_L", "Escape"]);
    // One client breaks a rule.
    let mut breaks = rig.visitor("untrusted");
    let window = breaks.show((100, 80), CYAN).unwrap();
    window.surface.set_buffer_scale(0);
    breaks.push();
    until("it is paused", || why_paused(&rig, "untrusted").is_some());
    for round in 0..3 {
        let reasons = ["work", "personal", "untrusted", "vault"].map(|vm| why_paused(&rig, vm));
        let expected = [
            Some("by the user"),
            Some("by the user"),
            Some("a client broke a rule"),
            None,
        ];
        assert_eq!(reasons.each_ref().map(Option::as_deref), expected, "{round}");
        let mut other = rig.visitor("vault");
        for vm in ["work", "personal", "untrusted"] {
            assert!(!is_answered(&rig, vm, &mut other), "{vm} after {round} crashes");
        }
        crash_and_wait(&rig);
    }
    // The key brings back what was hidden by key.
    chord(&rig, &["Super_L", "Shift_L", "Escape"]);
    assert_eq!(why_paused(&rig, "personal"), None);
    let mut back = rig.visitor("personal");
    back.show((300, 200), CYAN).unwrap();
    rig.picture().assert_only_in(CYAN, rig.content_of("personal"));
    rig.tell(&Request::Resume {
        vm: "work".to_owned(),
    });
    rig.visitor("work").roundtrip().unwrap();
    // What was resumed stays so as well.
    crash_and_wait(&rig);
    let reasons = ["work", "personal", "untrusted"].map(|vm| why_paused(&rig, vm));
    assert_eq!(reasons, [None, None, Some("a client broke a rule".to_owned())]);
}

#[test]
fn a_compositor_that_is_stuck_is_ended_and_started_anew() {
    let rig = Rig::start(Options {
        supervised: true,
        config: format!("{CONFIG}watchdog {{ warn-ms 100; abort-ms 400; }}\n"),
        ..Options::default()
    });
    let before = rig.compositor_pid();
    // Nobody reads the pipe, so the compositor waits for somebody to open its other end.
    let pipe = rig.file("pipe");
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
    )
    .unwrap();
    let _no_answer = heraldry_compositor::control::request(
        &rig.file("ctl"),
        &Request::Screenshot {
            path: pipe,
            screen: None,
            shown: false,
        },
    );
    until("another compositor runs", || {
        rig.running_compositor().is_some_and(|pid| pid != before)
    });
    rig.wait_for_compositor();
    let log = rig.compositor_log();
    for said in [
        "the main loop does not come back",
        "the main loop is stuck",
        "the compositor crashed",
    ] {
        assert!(log.contains(said), "no {said:?} in the log");
    }
    rig.visitor("work").show((100, 80), CYAN).unwrap();
}
