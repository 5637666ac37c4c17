// SPDX-License-Identifier: MIT OR Apache-2.0
//! What becomes of a VM that is there when a reload changes what the configuration says of it.

use std::os::unix::net::UnixStream;

use heraldry_compositor::vms::pause::PauseReason;
use heraldry_config::builtin::UNKNOWN_ARMS;
use heraldry_identity::Rgb;
use heraldry_tests::colour::Colour;
use heraldry_tests::colour::key::CYAN;
use heraldry_tests::fixture::{CONFIG, ClientId, Fixture};

const WORK: Colour = [0x2a, 0x5f, 0xb0];

/// [`CONFIG`] with another VM in the place of `work`, which takes its marks.
fn renamed(unknown: &str) -> heraldry_config::Config {
    let text = CONFIG.replace(
        "vm \"work\" { display-name \"Work\"",
        "vm \"office\" { display-name \"Office\"",
    );
    let text = format!("{text}defaults {{ unknown-vm \"{unknown}\"; }}\n");
    heraldry_config::parse("test.kdl", &text).unwrap()
}

fn shown() -> (Fixture, ClientId) {
    let mut fixture = Fixture::default();
    let client = fixture.add_gated_client("work");
    let window = fixture.window(client, (300, 200), CYAN);
    fixture.focus(&window);
    fixture.frame();
    (fixture, client)
}

fn unknown() -> Colour {
    let Rgb { r, g, b } = UNKNOWN_ARMS.color;
    [r, g, b]
}

fn has(fixture: &mut Fixture, colour: Colour) -> bool {
    fixture.picture().find(colour).is_some()
}

#[test]
fn a_vm_that_is_no_longer_configured_does_not_keep_the_arms_that_another_has_now() {
    let (mut fixture, _) = shown();
    assert!(has(&mut fixture, WORK) && !has(&mut fixture, unknown()));
    fixture.state.adopt(renamed("quarantine"));
    fixture.frame();
    assert!(has(&mut fixture, CYAN), "the window stays");
    assert!(!has(&mut fixture, WORK) && has(&mut fixture, unknown()));
    // It is served by the rules of unknown VMs, and is itself again when it is configured again.
    fixture
        .state
        .adopt(heraldry_config::parse("test.kdl", CONFIG).unwrap());
    fixture.frame();
    assert!(has(&mut fixture, WORK) && !has(&mut fixture, unknown()));
}

#[test]
fn a_vm_that_is_refused_now_loses_its_clients_and_its_arms_meanwhile() {
    let (mut fixture, client) = shown();
    fixture.state.adopt(renamed("refuse"));
    fixture.frame();
    assert!(
        !has(&mut fixture, WORK),
        "whether or not its clients are gone already"
    );
    fixture.until("its client is gone", |fixture| {
        fixture.state.core.clients.iter().next().is_none()
    });
    assert!(fixture.client(client).ended.is_some(), "and has heard of it");
    assert_eq!(fixture.state.core.windows.iter().count(), 0);
    let refused = fixture.state.core.admit(&"work".parse().unwrap());
    assert!(refused.is_err(), "{refused:?}");
    fixture
        .state
        .adopt(heraldry_config::parse("test.kdl", CONFIG).unwrap());
    fixture.state.core.admit(&"work".parse().unwrap()).unwrap();
}

#[test]
fn a_connection_that_was_being_opened_when_its_vm_was_refused_is_not_taken_when_it_is_back() {
    let mut fixture = Fixture::default();
    let work = "work".parse().unwrap();
    let admission = fixture.state.core.admit(&work).unwrap();
    fixture.state.adopt(renamed("refuse"));
    fixture
        .state
        .adopt(heraldry_config::parse("test.kdl", CONFIG).unwrap());
    let (_ours, theirs) = UnixStream::pair().unwrap();
    let taken = fixture.state.core.connect(admission, theirs);
    assert!(taken.is_err(), "{taken:?}");
    assert_eq!(fixture.state.core.clients.of(&work).count(), 0, "nor counted");
    fixture.add_gated_client("work");
}

#[test]
fn a_paused_vm_that_is_refused_loses_its_clients_too_and_is_paused_when_it_is_back() {
    let (mut fixture, _) = shown();
    let work = "work".parse().unwrap();
    fixture.state.pause(&work, PauseReason::User, true);
    fixture.state.adopt(renamed("refuse"));
    fixture.until("its client is gone", |fixture| {
        fixture.state.core.clients.iter().next().is_none()
    });
    fixture
        .state
        .adopt(heraldry_config::parse("test.kdl", CONFIG).unwrap());
    fixture.frame();
    let vm = fixture.state.core.vms.get(&work).unwrap();
    assert!(vm.paused().is_some() && vm.is_hidden());
}
