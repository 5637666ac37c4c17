// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs that know nothing of all this, and what they show.

use std::process::Command;

use heraldry_compositor::control::protocol::Rect;
use heraldry_tests::colour::Pixels;
use heraldry_tests::colour::key::{CYAN, MAGENTA};
use heraldry_tests::rig::{
    Options, Rig, Transport, assert_no_wrong_descriptor, assert_nothing_refused, listeners, program, until,
};

/// A terminal that draws text which was typed; the typed text does something, too.
fn foot_draws_what_is_typed(rig: &Rig) {
    let typed = rig.file("typed");
    let mut foot = rig.run(
        "work",
        "foot",
        Command::new("foot").args([
            "--config=/dev/null",
            "--override=font=monospace:size=10",
            "--override=cursor.blink=no",
            "/bin/sh",
        ]),
    );
    let area = rig.content_of("work");
    let before = rig.picture();
    rig.type_text(&format!("echo Heraldry > {}\n", typed.display()));
    until("the typed command has run", || {
        std::fs::read_to_string(&typed).is_ok_and(|text| text == "Heraldry\n")
    });
    until("the typed text is drawn", || {
        let after = rig.picture();
        let changed = before
            .iter()
            .zip(after.iter())
            .filter(|(old, new)| old != new && area.contains(old.0, old.1))
            .count();
        changed > 100
    });
    rig.type_text("exit\n");
    assert!(foot.finish().success(), "foot ended well");
    until("its window is gone", || rig.windows().is_empty());
}

#[test]
fn foot_through_the_whole_path() {
    let mut rig = Rig::default();
    foot_draws_what_is_typed(&rig);
    assert_no_wrong_descriptor(&rig.quit());
}

#[test]
fn foot_on_a_development_socket() {
    let rig = Rig::start(Options {
        transport: Transport::Dev,
        ..Options::default()
    });
    foot_draws_what_is_typed(&rig);
}

#[test]
fn wayland_info_says_the_same_in_two_vms_and_nothing_of_the_hardware() {
    let rig = Rig::default();
    let info = |vm: &str| {
        let mut program = rig.run(vm, &format!("info-{vm}"), &mut Command::new("wayland-info"));
        assert!(program.finish().success(), "{}", program.log());
        program.log()
    };
    let (work, vault) = (info("work"), info("vault"));
    assert!(work.contains("xdg_wm_base"), "{work}");
    assert!(work.contains("make: 'Heraldry', model: 'screen'"), "{work}");
    assert_eq!(work.matches("interface: 'wl_seat'").count(), 1, "{work}");
    assert_eq!(work, vault);
}

#[test]
fn a_windows_pixels_are_exact_inside_the_frame() {
    let mut rig = Rig::default();
    let mut first = rig.visitor("work");
    let window = first.show((320, 240), MAGENTA).unwrap();
    let mut second = rig.visitor("personal");
    let _window = second.show((200, 150), CYAN).unwrap();
    let (work, personal) = (rig.content_of("work"), rig.content_of("personal"));
    assert_eq!((work.w, work.h, personal.w, personal.h), (320, 240, 200, 150));
    let picture = rig.picture();
    picture.assert_only_in(MAGENTA, work);
    picture.assert_only_in(CYAN, personal);
    first.draw(&window, (100, 80), MAGENTA).unwrap();
    rig.picture().assert_only_in(MAGENTA, rig.content_of("work"));
    let found: Vec<_> = rig
        .windows()
        .into_iter()
        .map(|window| (window.vm, window.content.map(|Rect { w, h, .. }| (w, h))))
        .collect();
    assert!(found.contains(&("work".to_owned(), Some((100, 80)))), "{found:?}");
    assert_nothing_refused(&rig.quit());
}

#[test]
fn the_compositor_listens_on_its_control_socket_alone() {
    let rig = Rig::default();
    let _client = rig.visitor("work");
    let control = rig.file("ctl").display().to_string();
    assert_eq!(listeners(rig.compositor_pid()), [Some(control)]);
}

#[test]
fn the_keymap_comes_from_the_memory_server_once_for_each_vm() {
    let mut rig = Rig::default();
    let clients: Vec<_> = ["work", "work", "vault"].map(|vm| rig.visitor(vm)).into();
    let count = |vm: &str| rig.host_stats()["vms"][vm]["memory"]["count"].clone();
    assert_eq!(count("work"), 1);
    assert_eq!(count("vault"), 1);
    assert_eq!(count("personal"), 0);
    // The program that people use says the same.
    let said = Command::new(program("heraldry-host"))
        .args(["stats", "--dir"])
        .arg(rig.file("host"))
        .output()
        .unwrap();
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(said["vms"]["work"]["memory"]["count"], 1);
    assert_nothing_refused(&rig.quit());
    drop(clients);
}

#[test]
fn ctl_says_what_there_is() {
    let rig = Rig::default();
    let mut client = rig.visitor("work");
    let _window = client.show((200, 150), MAGENTA).unwrap();
    let area = rig.content_of("work");
    let ctl = |arguments: &[&str]| {
        let said = Command::new(program("heraldry"))
            .args(["ctl", "--json", "--control"])
            .arg(rig.file("ctl"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(said.status.success(), "{said:?}");
        serde_json::from_slice::<serde_json::Value>(&said.stdout).unwrap_or_default()
    };
    let windows = ctl(&["windows"]).to_string();
    assert!(windows.contains(r#""vm":"work""#), "{windows}");
    assert!(ctl(&["vms"]).to_string().contains("Work"));
    let picture = rig.file("ctl.png");
    ctl(&["screenshot", picture.to_str().unwrap()]);
    Pixels::load(&picture).assert_only_in(MAGENTA, area);
}

#[test]
fn programs_of_several_toolkits_show_framed_windows() {
    let rig = Rig::default();
    let mut programs = vec![
        rig.run(
            "work",
            "weston-simple-damage",
            &mut Command::new("weston-simple-damage"),
        ),
        rig.run("personal", "weston-flower", &mut Command::new("weston-flower")),
        rig.run(
            "vault",
            "gtk4-demo",
            Command::new("gtk4-demo").args(["--run=menu"]),
        ),
    ];
    for vm in ["work", "personal", "vault"] {
        let area = rig.content_of(vm);
        assert!(area.w >= 48 && area.h >= 24, "{vm}: {area:?}");
    }
    let frames = rig.stats().frames;
    until("the animation goes on", || rig.stats().frames > frames + 10);
    for program in &mut programs {
        assert!(program.runs(), "{}", program.log());
    }
}
