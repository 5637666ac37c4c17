// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a VM has sent and what is not done yet: commits that wait, new content in a frame, clients of a paused VM.

use std::time::Duration;

use heraldry_compositor::vms::pause::PauseReason;
use heraldry_tests::client::buffer;
use heraldry_tests::colour::key::{CYAN, MAGENTA, YELLOW};
use heraldry_tests::fixture::{Fixture, Setup};

#[test]
fn a_subsurface_that_commits_often_shows_its_last_content_with_its_parent() {
    let mut fixture = Fixture::default();
    let client = fixture.add_gated_client("work");
    let window = fixture.window(client, (300, 200), MAGENTA);
    let inner = fixture.subsurface(&window, (50, 50), (40, 40), YELLOW);
    inner.role.set_sync();
    for commit in 0..20 {
        let colour = if commit == 19 { CYAN } else { YELLOW };
        fixture.fill(client, &inner.surface, (40, 40), colour);
        inner.surface.commit();
    }
    fixture.roundtrip(client);
    fixture.frame();
    assert_eq!(fixture.picture().find(CYAN), None, "it waits");
    window.surface.commit();
    fixture.roundtrip(client);
    fixture.frame();
    assert!(fixture.picture().find(CYAN).is_some(), "the last one is shown");
    assert_eq!(fixture.picture().find(YELLOW), None);
}

#[test]
fn new_content_counts_as_what_is_uploaded_and_not_as_what_is_said() {
    let mut fixture = Fixture::default();
    let client = fixture.add_client("work");
    let window = fixture.window(client, (256, 256), MAGENTA);
    let uploaded = |fixture: &Fixture| {
        let mut vms = fixture.state.core.vms.iter();
        vms.find(|vm| vm.name.as_str() == "work").unwrap().load.uploaded
    };
    let show = |fixture: &mut Fixture, size: (i32, i32)| {
        let before = uploaded(fixture);
        let bound = fixture.client(client).bound();
        let content = buffer(&bound.shm, &fixture.client(client).handle(), size, CYAN);
        window.surface.attach(Some(&content), 0, 0);
        window.surface.damage(0, 0, 1, 1);
        window.surface.commit();
        fixture.roundtrip(client);
        uploaded(fixture) - before
    };
    assert_eq!(
        show(&mut fixture, (256, 256)),
        1024,
        "what is new lies in one line"
    );
    assert_eq!(show(&mut fixture, (128, 512)), 256 * 256 * 4, "another size");
    let this = fixture.client(client);
    let viewport = this
        .bound()
        .viewporter
        .get_viewport(&window.surface, &this.handle(), ());
    viewport.set_destination(1, 1);
    assert_eq!(show(&mut fixture, (128, 512)), 256 * 256 * 4, "all on one pixel");
}

#[test]
fn a_window_that_waits_does_not_appear_while_its_vm_is_paused() {
    let config = "schema 1\nvm \"work\" { color \"#2a5fb0\"; quota { maps-per-second 1 }; }\n";
    let mut fixture = Fixture::new(&Setup {
        config: config.to_owned(),
        ..Setup::default()
    });
    let work = "work".parse().unwrap();
    let client = fixture.add_client("work");
    for _ in 0..2 {
        let window = fixture.toplevel(client);
        fixture.draw(&window, (100, 80), MAGENTA);
    }
    let mapped = |fixture: &Fixture| {
        let windows = fixture.state.core.windows.iter();
        windows.filter(|window| window.mapped.is_some()).count()
    };
    assert_eq!(mapped(&fixture), 1);
    assert!(fixture.state.pause(&work, PauseReason::Violation, true));
    fixture.advance(Duration::from_secs(5));
    fixture.advance(Duration::from_secs(5));
    assert_eq!(mapped(&fixture), 1, "the VM is hidden");
    assert!(fixture.state.resume(&work));
    fixture.advance(Duration::from_millis(1));
    assert_eq!(mapped(&fixture), 2);
}

#[test]
fn a_client_that_is_disconnected_goes_though_its_vm_is_paused() {
    let mut fixture = Fixture::default();
    let work = "work".parse().unwrap();
    let client = fixture.add_gated_client("work");
    fixture.window(client, (300, 200), MAGENTA);
    let this = fixture.client(client);
    for _ in 0..1000 {
        this.bound().compositor.create_surface(&this.handle(), ());
    }
    fixture.roundtrip(client);
    assert!(fixture.state.pause(&work, PauseReason::User, false));
    fixture.state.core.disconnect(&work);
    fixture.until("the client is gone", |fixture| {
        fixture.state.core.clients.of(&work).next().is_none()
    });
    assert_eq!(fixture.state.core.windows.iter().count(), 0);
}
