// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads, fork, exec, signals and exit codes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::AsRawFd as _;
use std::process::{ChildStdout, Command, Stdio};

use rustix::event::PollFlags;
use rustix::process::{Signal, kill_process};

use crate::fixture::{Host, Inbox, Running, SIM, both, ready};

#[test]
fn threads_have_contexts_of_their_own() {
    both(
        "processes::threads_have_contexts_of_their_own",
        |host| {
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    let peer = host.accept();
                    scope.spawn(|| peer.echo());
                }
            });
        },
        |device| {
            std::thread::scope(|scope| {
                for thread in 0..8u8 {
                    scope.spawn(move || {
                        let context = device.context("wayland").unwrap();
                        for round in 0..50u8 {
                            let mut inbox = Inbox::default();
                            context.send(&[thread, round], &[]).unwrap();
                            inbox.wait(&context, 2, 0);
                            assert_eq!(inbox.data, [thread, round]);
                        }
                    });
                }
            });
        },
    );
}

#[test]
fn a_child_process_finds_the_device_and_keeps_inherited_contexts_open() {
    both(
        "processes::a_child_process_finds_the_device_and_keeps_inherited_contexts_open",
        |host| {
            let (peer, other) = (host.accept(), host.accept_other());
            let mut alive = [0; 1];
            assert_eq!(other.recv(1).0, b"c");
            assert_eq!(peer.recv(1).0, b"p");
            // The guest has closed its context; its child has not.
            let pending = rustix::net::recv(&peer, &mut alive[..], rustix::net::RecvFlags::DONTWAIT);
            assert_eq!(pending, Err(rustix::io::Errno::AGAIN));
            other.send(b"x", &[]);
            peer.end();
        },
        |device| {
            let inherited = device.context("wayland").unwrap();
            let control = device.context("other").unwrap();
            let twin = rustix::io::fcntl_dupfd_cloexec(&inherited, 100).unwrap();
            rustix::io::fcntl_setfd(&twin, rustix::io::FdFlags::empty()).unwrap();
            let script = format!(
                "test -c /dev/wl0 && exec 3</dev/wl0 && test -e /dev/fd/{} && read line",
                twin.as_raw_fd()
            );
            let mut shell = Command::new("sh");
            let mut child = shell.args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
            drop(twin);
            inherited.send(b"p", &[]).unwrap();
            drop(inherited);
            control.send(b"c", &[]).unwrap();
            Inbox::default().wait(&control, 1, 0);
            use std::io::Write as _;
            child.stdin.take().unwrap().write_all(b"\n").unwrap();
            assert!(child.wait().unwrap().success());
        },
    );
}

#[test]
fn exit_codes_are_passed_on() {
    let run = |script: &str| {
        Command::new(SIM)
            .args(["--", "sh", "-c", script])
            .status()
            .unwrap()
            .code()
    };
    assert_eq!(run("exit 0"), Some(0));
    assert_eq!(run("exit 7"), Some(7));
    assert_eq!(run("kill -KILL $$"), Some(137));
    assert_eq!(run("kill -TERM $$"), Some(143));
    let missing = Command::new(SIM)
        .args(["--", "/nonexistent"])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(missing.code(), Some(1));
    let usage = Command::new(SIM)
        .arg("--nonsense")
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(usage.code(), Some(2));
}

/// A shell under the emulator that has said it is ready.
fn ready_shell(host: &Host, script: &str) -> (Running, BufReader<ChildStdout>) {
    let mut command = host.sim();
    let mut child = Running(
        command
            // A shell cannot trap what was ignored when it started, as it is under nohup and in some CI.
            .args(["--", "env", "--default-signal", "sh", "-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut output = BufReader::new(child.0.stdout.take().unwrap());
    ready(output.get_ref(), PollFlags::IN);
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, output)
}

#[test]
fn signals_are_passed_on() {
    let host = Host::new();
    for (signal, name) in [
        (Signal::TERM, "TERM"),
        (Signal::HUP, "HUP"),
        (Signal::USR1, "USR1"),
    ] {
        let script = format!("trap 'exit 9' {name}; echo ready; while :; do :; done");
        let (mut child, _output) = ready_shell(&host, &script);
        kill_process(child.pid(), signal).unwrap();
        assert_eq!(child.status().code(), Some(9));
    }
}

#[test]
fn the_program_dies_with_its_supervisor() {
    let host = Host::new();
    let (mut child, mut output) = ready_shell(&host, "echo ready; while :; do :; done");
    let mut rest = Vec::new();
    child.0.kill().unwrap();
    child.status();
    ready(output.get_ref(), PollFlags::IN);
    output.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, []);
}
