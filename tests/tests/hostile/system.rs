// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's and the compositor's own surroundings: sockets, logs, crashes.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use heraldry_compositor::control::protocol::Request;
use heraldry_tests::client::raw::Arg::S;
use heraldry_tests::client::raw::Raw;
use heraldry_tests::colour::key::MAGENTA;
use heraldry_tests::rig::until;

use super::attack::Expect::{Left, Lives, Rule};
use super::attack::{Attack, HOSTILE, Row, row};

pub(crate) const ROWS: &[Row] = &[
    row(
        "A85a terminal's orders in an interface name",
        log_injection,
        Rule("bad-bind"),
    ),
    row(
        "A85b terminal's orders in title and app id",
        title_injection,
        Lives,
    ),
    row("A85c log filled by broken rules", log_flood, Lives),
    row("A85d log filled by wrong descriptors", host_log_flood, Lives),
    row(
        "A86a control socket's words on a client's socket",
        control_words,
        Left,
    ),
    row(
        "A86b control and host sockets closed to others",
        closed_sockets,
        Lives,
    ),
    row(
        "A86c what ctl prints of a hostile title",
        |a| printed_title(a, &[]),
        Lives,
    ),
    row("A81c two VMs connect at once, again and again", identities, Lives),
    row(
        "A81d name of another VM in everything that a client says",
        named_like_another,
        Lives,
    ),
    row("A16 app id and title of another VM", app_id, Lives),
    row(
        "A22 policy reloaded while the attacker maps windows",
        reloaded,
        Lives,
    ),
    row(
        "A84 clients killed by the user, who come back at once",
        killed,
        Lives,
    ),
    row(
        "A86d what ctl prints of a hostile title as JSON",
        |a| printed_title(a, &["--json"]),
        Lives,
    ),
];

const ORDERS: &str = "\u{1b}]0;owned\u{7}\u{1b}[31m\u{9b}31m\r\nERROR all is lost %s%n \u{202e}";

#[track_caller]
fn assert_clean(log: &str) {
    let raw = log
        .chars()
        .find(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c));
    assert_eq!(raw, None, "in the log:\n{}", log.escape_debug());
    assert!(
        !log.lines().any(|line| line.starts_with("ERROR all")),
        "a line of its own"
    );
}

fn log_injection(a: &mut Attack<'_>) {
    let mut other = a.another();
    other.bind(1, ORDERS, 1);
    other.end();
    until("the log names the rule", || a.log().contains("bad-bind"));
    assert_clean(&a.log());
    assert_clean(&a.host_log());
    a.raw.bind(1, ORDERS, 1);
}

fn title_injection(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    a.raw.send(window.toplevel, "set_title", &[S(ORDERS)]);
    a.raw.send(window.toplevel, "set_app_id", &[S(ORDERS)]);
    a.raw.settle();
    a.picture();
    assert_clean(&a.log());
}

fn log_flood(a: &mut Attack<'_>) {
    let (before, start) = (a.rig.compositor_log().len(), Instant::now());
    for _ in 0..60 {
        let mut other = a.another();
        other.bind(1, &"x".repeat(4000), 1);
        other.end();
    }
    let warnings = a.log().lines().filter(|line| line.contains("WARN")).count();
    // `log-lines-per-second`, and with the first of a second how many were dropped before it.
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
    assert!(warnings <= 6 * seconds, "{warnings} warnings in {seconds} s");
    let grown = a.rig.compositor_log().len() - before;
    assert!(grown < 64 << 10, "{grown} bytes of log for 60 clients");
}

fn host_log_flood(a: &mut Attack<'_>) {
    let start = Instant::now();
    for _ in 0..60 {
        let mut other = a.another();
        let (socket, _end) = UnixStream::pair().unwrap();
        other.message(1, 0, &[0; 4], &[std::os::fd::AsFd::as_fd(&socket)]);
        other.end();
    }
    let lines = a.host_log().lines().count();
    // Ten lines of a VM in ten seconds; the clock may begin again once before the first.
    let spans = usize::try_from(start.elapsed().as_secs() / 10).unwrap() + 2;
    assert!(lines <= 10 * spans, "{lines} lines of the host's");
}

fn control_words(a: &mut Attack<'_>) {
    for words in [
        "{\"cmd\":\"quit\"}\n",
        "{\"cmd\":\"kill\",\"vm\":\"vault\"}\n",
        "GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut other = Raw::silent(a.rig.connect(HOSTILE));
        other.bytes(words.as_bytes(), &[]);
        other.bytes(&[0; 64], &[]);
        assert!(other.end().contains("(rule "), "it is a client like any other");
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn closed_sockets(a: &mut Attack<'_>) {
    assert_eq!(
        mode(&a.rig.file("ctl")) & 0o077,
        0,
        "the control socket is its owner's"
    );
    let host = a.rig.file("host");
    for name in ["compositor", "vm/untrusted", "vm/vault"] {
        assert_eq!(mode(&host.join(name)) & 0o077, 0, "{name}");
    }
    for name in [
        "admin",
        "compositor/memfd",
        "compositor/connection",
        "compositor/display",
        "vm/vault/wayland-0",
    ] {
        assert_eq!(mode(&host.join(name)) & 0o077, 0, "{name}");
    }
    // What is in the attacker's own folder is one socket.
    let own: Vec<_> = std::fs::read_dir(host.join("vm").join(HOSTILE))
        .unwrap()
        .collect();
    assert_eq!(own.len(), 1, "{own:?}");
}

fn printed_title(a: &mut Attack<'_>, options: &[&str]) {
    let window = a.raw.show((64, 48), MAGENTA);
    a.raw.send(window.toplevel, "set_title", &[S(ORDERS)]);
    a.raw.settle();
    let mut ctl = std::process::Command::new(heraldry_tests::rig::program("heraldry"));
    ctl.arg("ctl")
        .args(options)
        .arg("--control")
        .arg(a.rig.file("ctl"));
    let said = ctl.arg("windows").output().unwrap();
    assert!(said.status.success());
    assert_clean(&String::from_utf8(said.stdout).unwrap().replace('\t', " "));
}

fn identities(a: &mut Attack<'_>) {
    for _ in 0..10 {
        let (mut hostile, mut honest) = std::thread::scope(|scope| {
            let hostile = scope.spawn(|| a.another());
            let honest = scope.spawn(|| a.honest());
            (hostile.join().unwrap(), honest.join().unwrap())
        });
        hostile.show((64, 48), MAGENTA);
        honest.settle();
        let owners: Vec<_> = a
            .rig
            .windows()
            .into_iter()
            .map(|window| (window.id, window.vm))
            .collect();
        for (id, vm) in owners {
            assert_eq!(
                vm == HOSTILE,
                id != a.honest_window,
                "each window is its own VM's"
            );
        }
    }
}

fn named_like_another(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    for request in ["set_title", "set_app_id"] {
        a.raw.send(window.toplevel, request, &[S("vault")]);
    }
    let source = a.raw.source("application/x-heraldry-vm;name=vault");
    a.raw.settle();
    a.raw.send(source, "destroy", &[]);
    assert_eq!(a.only_window().vm, HOSTILE);
}

fn app_id(a: &mut Attack<'_>) {
    let before = a.rig.vms();
    let window = a.raw.window();
    for id in ["vault", "Vault", "heraldry", "[vault]", "vа\u{200b}ult"] {
        a.raw.send(window.toplevel, "set_app_id", &[S(id)]);
        a.raw.send(window.toplevel, "set_title", &[S(id)]);
        a.raw.draw(window, (64, 48), MAGENTA);
        assert_eq!(a.only_window().vm, HOSTILE);
    }
    // It still has its own VM's fate, not the other's.
    a.rig.tell(&Request::Kill {
        vm: HOSTILE.to_owned(),
    });
    a.raw.end();
    a.raw = a.another();
    let name = |vms: Vec<heraldry_compositor::control::protocol::VmInfo>| {
        vms.into_iter()
            .map(|vm| (vm.name, vm.color, vm.display_name))
            .collect::<Vec<_>>()
    };
    assert_eq!(name(before), name(a.rig.vms()));
}

fn reloaded(a: &mut Attack<'_>) {
    let path = a.rig.file("heraldry.kdl");
    let config = std::fs::read_to_string(&path).unwrap();
    let other = config.replace("#b3322e", "#c9a227");
    assert_ne!(config, other);
    let window = a.raw.show((120, 80), MAGENTA);
    // The frame of the attacker's window in either colour, pixel by pixel.
    let look = |a: &Attack<'_>| {
        let info = a.only_window();
        super::fixture::frame(
            &a.picture(),
            super::attack::area(info.outer),
            super::attack::area(info.content),
        )
    };
    let put = |text: &str| {
        std::fs::write(&path, text).unwrap();
        a.rig.tell(&Request::Reload);
    };
    let mut looks = Vec::new();
    for text in [&config, &other] {
        put(text);
        a.raw.settle();
        looks.push(look(a));
    }
    assert_ne!(looks[0], looks[1], "the colour has changed");
    for round in 0..6 {
        put(if round % 2 == 0 { &config } else { &other });
        a.raw.draw(window, (120, 80), MAGENTA);
        assert_eq!(look(a), looks[round % 2], "no frame has something of both");
    }
    put(&config);
}

fn killed(a: &mut Attack<'_>) {
    for _ in 0..5 {
        let mut clients: Vec<_> = (0..4).map(|_| a.another()).collect();
        for client in &mut clients {
            client.show((64, 48), MAGENTA);
        }
        a.rig.tell(&Request::Kill {
            vm: HOSTILE.to_owned(),
        });
        for client in &mut clients {
            client.end();
        }
    }
    a.raw.end();
    a.raw = a.another();
}
