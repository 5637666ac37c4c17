// SPDX-License-Identifier: MIT OR Apache-2.0
//! Offers of drags, and what may be asked of them.

use super::*;

const OFFER: u32 = 0xff00_0000;
const SERIAL: u32 = 500;

/// A client with a window and a data device: (surface, data device).
fn with_device(client: &mut Client) -> (u32, u32) {
    let (compositor, seat) = (client.bind("wl_compositor"), client.bind("wl_seat"));
    let manager = client.bind("wl_data_device_manager");
    let device = client.ok(manager, "get_data_device", &[New, U(seat)]);
    (client.surface(compositor), device)
}

/// A drag comes over the window, with one type, and can be copied or moved.
fn enters(client: &mut Client, surface: u32, device: u32, offer: u32, serial: u32) {
    client.event(device, "data_offer", &[U(offer)]);
    client.event(offer, "offer", &[S("text/plain")]);
    client.event(offer, "source_actions", &[U(3)]);
    client.event(device, "enter", &[U(serial), U(surface), I(0), I(0), U(offer)]);
}

fn drops(client: &mut Client, device: u32) {
    client.event(device, "drop", &[]);
    client.event(device, "leave", &[]);
}

/// The requests that pass.
fn finishes(client: &mut Client, offer: u32) -> usize {
    client.passed();
    client.ok(offer, "finish", &[]);
    client.passed().len()
}

#[test]
fn a_drop_is_finished_once() {
    let mut client = Client::new();
    let (surface, device) = with_device(&mut client);
    enters(&mut client, surface, device, OFFER, SERIAL);
    client.ok(OFFER, "accept", &[U(1), S("text/plain")]);
    client.ok(OFFER, "set_actions", &[U(1), U(1)]);
    drops(&mut client, device);
    assert_eq!(finishes(&mut client, OFFER), 1);
    client.breaks(Rule::DragOffer, OFFER, "finish", &[]);
}

#[test]
fn a_drag_that_was_not_dropped_is_not_finished() {
    for leaves in [false, true] {
        let mut client = Client::new();
        let (surface, device) = with_device(&mut client);
        enters(&mut client, surface, device, OFFER, SERIAL);
        client.ok(OFFER, "set_actions", &[U(1), U(1)]);
        if leaves {
            client.event(device, "leave", &[]);
        }
        let told = client.breaks(Rule::DragOffer, OFFER, "finish", &[]);
        assert_eq!(told.code, 0);
    }
}

#[test]
fn a_drop_without_type_or_action_is_not_finished() {
    let scripts: [(&str, [A; 2]); 4] = [
        ("set_actions", [U(0), U(0)]),
        ("set_actions", [U(4), U(4)]),
        ("accept", [U(1), S("image/png")]),
        ("accept", [U(1), S("")]),
    ];
    for (name, args) in scripts {
        for before in [false, true] {
            let mut client = Client::new();
            let (surface, device) = with_device(&mut client);
            enters(&mut client, surface, device, OFFER, SERIAL);
            client.ok(OFFER, "set_actions", &[U(1), U(1)]);
            // It may be under way when the drop comes.
            if before {
                client.ok(OFFER, name, &args);
            }
            drops(&mut client, device);
            if !before {
                client.ok(OFFER, name, &args);
            }
            assert_eq!(finishes(&mut client, OFFER), 0);
        }
    }
}

#[test]
fn each_drag_is_judged_by_its_own() {
    let mut client = Client::new();
    let (surface, device) = with_device(&mut client);
    enters(&mut client, surface, device, OFFER, SERIAL);
    client.ok(OFFER, "set_actions", &[U(2), U(2)]);
    drops(&mut client, device);
    // The next one comes before the first is dealt with.
    enters(&mut client, surface, device, OFFER + 1, SERIAL + 10);
    assert_eq!(finishes(&mut client, OFFER), 1);
    client.ok(OFFER, "destroy", &[]);
    client.breaks(Rule::DragOffer, OFFER + 1, "finish", &[]);
}

#[test]
fn two_devices_are_offered_one_drag() {
    let mut client = Client::new();
    let (surface, one) = with_device(&mut client);
    let (_, two) = with_device(&mut client);
    enters(&mut client, surface, one, OFFER, SERIAL);
    enters(&mut client, surface, two, OFFER + 1, SERIAL);
    client.ok(OFFER + 1, "set_actions", &[U(1), U(1)]);
    for name in ["drop", "leave"] {
        client.event(one, name, &[]);
        client.event(two, name, &[]);
    }
    assert_eq!(finishes(&mut client, OFFER), 1);
    assert_eq!(finishes(&mut client, OFFER + 1), 0, "it is done");
}

/// One of another program that brings nothing, and is dropped.
#[test]
fn a_drag_that_left_is_not_dropped_by_the_next() {
    let mut client = Client::new();
    let (surface, device) = with_device(&mut client);
    enters(&mut client, surface, device, OFFER, SERIAL);
    client.ok(OFFER, "set_actions", &[U(1), U(1)]);
    client.event(device, "leave", &[]);
    client.event(device, "enter", &[U(SERIAL + 1), U(surface), I(0), I(0), U(0)]);
    drops(&mut client, device);
    let told = client.breaks(Rule::DragOffer, OFFER, "finish", &[]);
    assert!(told.detail().ends_with("it was not dropped"), "{told}");
}

#[test]
fn a_type_that_is_none_is_accepted_as_none() {
    let mut client = Client::new();
    let (surface, device) = with_device(&mut client);
    client.event(device, "data_offer", &[U(OFFER)]);
    for (what, said) in [("", "Some(\"\")"), ("text/plain", "Some(\"text/plain\")")] {
        assert_eq!(
            client.event(OFFER, "offer", &[S(what)]),
            [format!("wl_data_offer@{OFFER}.offer({said})")]
        );
    }
    client.event(OFFER, "source_actions", &[U(3)]);
    client.event(device, "enter", &[U(SERIAL), U(surface), I(0), I(0), U(OFFER)]);
    client.ok(OFFER, "set_actions", &[U(1), U(1)]);
    client.passed();
    // No text at all.
    client.ok(OFFER, "accept", &[U(1), U(0)]);
    assert_eq!(
        client.passed(),
        [format!("wl_data_offer@{OFFER}.accept(500,None)")]
    );
    drops(&mut client, device);
    assert_eq!(finishes(&mut client, OFFER), 0, "nothing was accepted");
}

#[test]
fn what_is_offered_after_a_drag_is_not_of_it() {
    // Types or actions of an offer that is not the last one.
    for what_is_late in ["types", "actions"] {
        let mut client = Client::new();
        let (surface, device) = with_device(&mut client);
        client.event(device, "data_offer", &[U(OFFER)]);
        client.event(device, "data_offer", &[U(OFFER + 1)]);
        let (types, actions) = if what_is_late == "types" {
            (OFFER, OFFER + 1)
        } else {
            (OFFER + 1, OFFER)
        };
        client.event(types, "offer", &[S("text/plain")]);
        client.event(actions, "source_actions", &[U(3)]);
        client.event(
            device,
            "enter",
            &[U(SERIAL), U(surface), I(0), I(0), U(OFFER + 1)],
        );
        client.ok(OFFER + 1, "accept", &[U(1), S("text/plain")]);
        client.ok(OFFER + 1, "set_actions", &[U(1), U(1)]);
        drops(&mut client, device);
        assert_eq!(finishes(&mut client, OFFER + 1), 0, "{what_is_late}");
    }
    let mut client = Client::new();
    let (surface, device) = with_device(&mut client);
    // One that is destroyed before its drag comes, and whose id comes again.
    enters(&mut client, surface, device, OFFER + 2, SERIAL + 1);
    client.event(device, "leave", &[]);
    client.ok(OFFER + 2, "destroy", &[]);
    client.event(device, "data_offer", &[U(OFFER + 2)]);
    client.event(OFFER + 2, "offer", &[S("text/plain")]);
    client.ok(OFFER + 2, "destroy", &[]);
    client.event(device, "data_offer", &[U(OFFER + 2)]);
    client.event(OFFER + 2, "source_actions", &[U(3)]);
    client.event(
        device,
        "enter",
        &[U(SERIAL + 2), U(surface), I(0), I(0), U(OFFER + 2)],
    );
    client.ok(OFFER + 2, "accept", &[U(3), S("text/plain")]);
    client.ok(OFFER + 2, "set_actions", &[U(1), U(1)]);
    drops(&mut client, device);
    assert_eq!(finishes(&mut client, OFFER + 2), 0, "it has no type");
}

#[test]
fn a_drag_is_another_with_another_serial_or_when_it_left() {
    for (leaves, serial) in [(true, SERIAL), (false, SERIAL + 1)] {
        let mut client = Client::new();
        let (surface, device) = with_device(&mut client);
        enters(&mut client, surface, device, OFFER, SERIAL);
        if leaves {
            client.event(device, "leave", &[]);
        }
        // This one brings nothing.
        client.event(device, "data_offer", &[U(OFFER + 1)]);
        client.event(
            device,
            "enter",
            &[U(serial), U(surface), I(0), I(0), U(OFFER + 1)],
        );
        client.ok(OFFER + 1, "accept", &[U(1), S("text/plain")]);
        client.ok(OFFER + 1, "set_actions", &[U(1), U(1)]);
        drops(&mut client, device);
        assert_eq!(finishes(&mut client, OFFER + 1), 0, "{serial}");
    }
}

#[test]
fn a_device_that_is_offered_nothing_changes_nothing() {
    let mut client = Client::new();
    let (surface, one) = with_device(&mut client);
    let (_, two) = with_device(&mut client);
    enters(&mut client, surface, one, OFFER, SERIAL);
    client.event(two, "enter", &[U(SERIAL + 1), U(surface), I(0), I(0), U(0)]);
    client.ok(OFFER, "set_actions", &[U(1), U(1)]);
    drops(&mut client, one);
    assert_eq!(finishes(&mut client, OFFER), 1);
}

/// Its enter was under way when the client destroyed it, and the compositor uses its id again.
#[test]
fn an_offer_whose_id_comes_again_is_another() {
    let mut client = Client::new();
    let (surface, device) = with_device(&mut client);
    client.event(device, "data_offer", &[U(OFFER)]);
    client.ok(OFFER, "destroy", &[]);
    client.event(device, "enter", &[U(SERIAL), U(surface), I(0), I(0), U(OFFER)]);
    client.event(device, "leave", &[]);
    enters(&mut client, surface, device, OFFER, SERIAL + 1);
    client.ok(OFFER, "set_actions", &[U(1), U(1)]);
    drops(&mut client, device);
    assert_eq!(finishes(&mut client, OFFER), 1);
}

/// An old one goes while the next is announced.
#[test]
fn an_offer_that_is_destroyed_takes_nothing_from_another() {
    let mut client = Client::new();
    let (surface, device) = with_device(&mut client);
    client.event(device, "data_offer", &[U(OFFER)]);
    client.event(device, "data_offer", &[U(OFFER + 1)]);
    client.event(OFFER + 1, "offer", &[S("text/plain")]);
    client.event(OFFER + 1, "source_actions", &[U(3)]);
    client.ok(OFFER, "destroy", &[]);
    client.event(
        device,
        "enter",
        &[U(SERIAL), U(surface), I(0), I(0), U(OFFER + 1)],
    );
    client.ok(OFFER + 1, "accept", &[U(1), S("text/plain")]);
    client.ok(OFFER + 1, "set_actions", &[U(1), U(1)]);
    drops(&mut client, device);
    assert_eq!(finishes(&mut client, OFFER + 1), 1);
}

#[test]
fn the_clipboard_has_nothing_to_finish() {
    let mut client = Client::new();
    let (_, device) = with_device(&mut client);
    client.event(device, "data_offer", &[U(OFFER)]);
    client.event(OFFER, "offer", &[S("text/plain")]);
    client.event(device, "selection", &[U(OFFER)]);
    assert_eq!(finishes(&mut client, OFFER), 0);
}

#[test]
fn drags_without_number_are_forgotten() {
    let mut client = Client::new();
    let (surface, device) = with_device(&mut client);
    for number in 0..20 {
        enters(&mut client, surface, device, OFFER + number, SERIAL + number);
        client.ok(OFFER + number, "set_actions", &[U(1), U(1)]);
        drops(&mut client, device);
    }
    assert_eq!(finishes(&mut client, OFFER), 0);
    assert_eq!(finishes(&mut client, OFFER + 19), 1);
}

#[test]
fn actions_that_are_none() {
    for (actions, preferred, code) in [(8, 0, 1), (1, 3, 2), (7, 8, 2), (u32::MAX, 0, 1)] {
        let mut client = Client::new();
        let (surface, device) = with_device(&mut client);
        enters(&mut client, surface, device, OFFER, SERIAL);
        let told = client.breaks(Rule::DragOffer, OFFER, "set_actions", &[U(actions), U(preferred)]);
        assert_eq!(told.code, code);
    }
    let mut client = Client::new();
    let manager = client.bind("wl_data_device_manager");
    let source = client.ok(manager, "create_data_source", &[New]);
    client.ok(source, "set_actions", &[U(7)]);
    client.breaks(Rule::DragOffer, source, "set_actions", &[U(9)]);
}

#[test]
fn a_source_takes_back_no_action_during_its_drag() {
    let mut client = Client::new();
    let (surface, device) = with_device(&mut client);
    let manager = client.bind("wl_data_device_manager");
    let source = client.ok(manager, "create_data_source", &[New]);
    for actions in [3, 1] {
        client.ok(source, "set_actions", &[U(actions)]);
    }
    client.ok(device, "start_drag", &[U(source), U(surface), U(0), U(1)]);
    client.passed();
    client.ok(source, "set_actions", &[U(2)]);
    assert_eq!(
        client.passed(),
        [format!("wl_data_source@{source}.set_actions(3)")]
    );
    client.ok(source, "set_actions", &[U(0)]);
    assert_eq!(
        client.passed(),
        [format!("wl_data_source@{source}.set_actions(3)")]
    );
    client.ok(source, "set_actions", &[U(7)]);
    assert_eq!(
        client.passed(),
        [format!("wl_data_source@{source}.set_actions(7)")]
    );
    // Before its drag it may say what it likes.
    let other = client.ok(manager, "create_data_source", &[New]);
    for actions in [3, 1] {
        client.passed();
        client.ok(other, "set_actions", &[U(actions)]);
        let said = format!("wl_data_source@{other}.set_actions({actions})");
        assert_eq!(client.passed(), [said]);
    }
}
