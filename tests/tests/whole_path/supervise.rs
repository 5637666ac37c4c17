// SPDX-License-Identifier: MIT OR Apache-2.0
//! A compositor that crashes: it comes back, VMs can connect again, and a VM that was being served at two crashes in a row
//! waits for the user.

use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use heraldry_compositor::control::protocol::{InputRequest, KeyAction, Request};
use heraldry_tests::client::raw::Arg::{I, New, U};
use heraldry_tests::client::raw::Raw;
use heraldry_tests::colour::key::{CYAN, MAGENTA};
use heraldry_tests::rig::{CONFIG, Options, Rig, Visitor, until};
use rustix::fs::{Mode, OFlags};
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
fn what_lies_in_the_way_after_a_crash_keeps_no_compositor_from_starting() {
    let rig = Rig::start(Options {
        supervised: true,
        ..Options::default()
    });
    rig.visitor("untrusted").roundtrip().unwrap();
    rig.tell(&Request::Pause {
        vm: "untrusted".to_owned(),
    });
    let before = rig.compositor_pid();
    // What a compositor that was taken over may leave there.
    std::fs::remove_file(rig.file("ctl")).unwrap();
    std::fs::write(rig.file("ctl"), "no socket").unwrap();
    crash(&rig);
    until("another compositor runs", || {
        rig.running_compositor().is_some_and(|pid| pid != before)
    });
    rig.visitor("work").show((200, 150), CYAN).unwrap();
    assert!(
        rig.compositor_log()
            .contains("nobody can control this compositor")
    );
    // Whoever takes it away has the next one as it was, and with the same pauses.
    std::fs::remove_file(rig.file("ctl")).unwrap();
    crash_and_wait(&rig);
    assert_eq!(why_paused(&rig, "untrusted").as_deref(), Some("by the user"));
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

/// A client whose window takes a while to be composed, and that says nothing more.
fn dear(rig: &Rig) -> Raw {
    const LARGE: (i32, i32) = (1000, 700);
    let mut raw = Raw::new(rig.connect("untrusted"));
    let window = raw.show(LARGE, MAGENTA);
    let viewporter = raw.global("wp_viewporter");
    for _ in 0..150 {
        let surface = raw.surface();
        raw.subsurface(surface, window.surface);
        let viewport = raw.send(viewporter, "get_viewport", &[New, U(surface)]);
        raw.send(viewport, "set_destination", &[I(LARGE.0), I(LARGE.1)]);
        raw.send(surface, "set_buffer_transform", &[U(1)]);
        let buffer = raw.clear((64, 64));
        raw.put(surface, buffer);
    }
    raw.send(window.surface, "commit", &[]);
    raw.settle();
    raw
}

fn parent_of(pid: u32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit(") ").next().unwrap();
    fields.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_vm_that_was_drawn_at_two_crashes_is_paused() {
    let rig = Rig::start(Options {
        supervised: true,
        ..Options::default()
    });
    for _ in 0..2 {
        let before = rig.compositor_pid();
        let pid = Pid::from_raw(i32::try_from(before).unwrap()).unwrap();
        let record = rig.served_record();
        let _client = dear(&rig);
        // Its window is composed in many frames. The crash comes in the middle of one of them, for whoever looks. Its
        // supervisor would let it go on at once.
        let supervisor = Pid::from_raw(parent_of(before)).unwrap();
        kill_process(supervisor, Signal::STOP).unwrap();
        until("its window is being drawn", || {
            kill_process(pid, Signal::STOP).unwrap();
            until("it stands still", || {
                let stat = std::fs::read_to_string(format!("/proc/{before}/stat")).unwrap();
                stat.rsplit(") ").next().unwrap().starts_with('T')
            });
            let served = std::fs::read(&record).unwrap();
            let drawn = served.starts_with(b"untrusted\0");
            if drawn {
                kill_process(pid, Signal::ABORT).unwrap();
            }
            kill_process(pid, Signal::CONT).unwrap();
            drawn
        });
        kill_process(supervisor, Signal::CONT).unwrap();
        until("another compositor runs", || {
            rig.running_compositor().is_some_and(|pid| pid != before)
        });
        rig.wait_for_compositor();
    }
    until("it is paused", || why_paused(&rig, "untrusted").is_some());
    assert_eq!(why_paused(&rig, "work"), None);
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
    // The key brings back what was hidden, one VM after the other, whatever it was hidden for.
    for still_hidden in [1, 0] {
        chord(&rig, &["Super_L", "Shift_L", "Escape"]);
        let hidden = ["personal", "untrusted"].map(|vm| why_paused(&rig, vm));
        assert_eq!(hidden.iter().flatten().count(), still_hidden, "{hidden:?}");
    }
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
    assert_eq!(reasons, [None, None, None]);
}

#[test]
fn a_compositor_that_is_stuck_is_ended_and_started_again() {
    // There is no such layout, so keys are those of another one.
    let rig = Rig::start(Options {
        supervised: true,
        config: format!("{CONFIG}keyboard layout=\"stuck\"\nwatchdog {{ warn-ms 100; abort-ms 400; }}\n"),
        ..Options::default()
    });
    let before = rig.compositor_pid();
    // Now there is one of the user's own. Nobody writes to the pipe, so whoever opens it waits for somebody who does.
    let layout = rig.file("xkb/symbols/stuck");
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &layout, mode).unwrap();
    let pipe = rustix::fs::open(&layout, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let text = Request::Input(InputRequest::Type { text: "a".to_owned() });
    let _no_answer = heraldry_compositor::control::request(&rig.file("ctl"), &text);
    until("it is ended", || {
        rig.compositor_log().contains("the compositor crashed")
    });
    std::fs::remove_file(&layout).unwrap();
    // The next one may have found the pipe as well.
    let let_go = || {
        let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
        drop(rustix::fs::open(
            path,
            OFlags::WRONLY | OFlags::NONBLOCK,
            Mode::empty(),
        ));
    };
    until("another compositor answers", || {
        let_go();
        rig.running_compositor().is_some_and(|pid| pid != before)
            && heraldry_compositor::control::request(&rig.file("ctl"), &Request::Stats).is_ok()
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
