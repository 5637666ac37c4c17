// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compositor's side: what a client may learn, and what becomes of descriptors.

use super::*;
use crate::ServerFault;
use crate::objects::FIRST_SERVER_ID;

#[test]
fn globals_are_filtered_and_capped() {
    let allowed = [("wl_compositor", 4), ("wl_seat", 9)].into_iter().collect();
    let mut client = Client {
        session: Session::new(Limits::default(), allowed, Fake::default()),
        out: SendQueue::new(),
        back: SendQueue::new(),
        next: 2,
    };
    client.ok(1, "get_registry", &[New]);
    assert_eq!(
        client.event(2, "global", &[U(7), S("wl_compositor"), U(6)]),
        ["wl_registry@2.global(1,Some(\"wl_compositor\"),4)"]
    );
    assert_eq!(
        client.event(2, "global", &[U(8), S("wl_shm"), U(1)]),
        [""; 0],
        "not allowed"
    );
    assert_eq!(
        client.event(2, "global", &[U(9), S("zwlr_layer_shell_v1"), U(1)]),
        [""; 0],
        "not known"
    );
    assert_eq!(
        client.event(2, "global", &[U(10), S("wl_seat"), U(5)]),
        ["wl_registry@2.global(2,Some(\"wl_seat\"),5)"],
        "names have no gaps that tell of hidden globals"
    );
    assert_eq!(
        client.event(2, "global_remove", &[U(8)]),
        [""; 0],
        "never announced"
    );
    assert_eq!(
        client.event(2, "global_remove", &[U(10)]),
        ["wl_registry@2.global_remove(2)"]
    );
    drain(&mut client.out);
    client.ok(2, "bind", &[U(1), S("wl_compositor"), U(4), New]);
    client.ok(2, "bind", &[U(2), S("wl_seat"), U(5), New]);
    let (bytes, _) = drain(&mut client.out);
    assert_eq!(
        words(&client.session, &bytes, false),
        [
            "wl_registry@2.bind(7,Some(\"wl_compositor\"),4,3)",
            "wl_registry@2.bind(10,Some(\"wl_seat\"),5,4)"
        ],
        "the compositor gets its own names back"
    );
    client.breaks(Rule::BadBind, 2, "bind", &[U(8), S("wl_shm"), U(1), New]);
}

#[test]
fn serials_are_the_clients_own() {
    let mut client = Client::new();
    let seat = client.bind("wl_seat");
    let pointer = client.ok(seat, "get_pointer", &[New]);
    let device = client.bind("wl_data_device_manager");
    let device = client.ok(device, "get_data_device", &[New, U(seat)]);
    // Between the two presses the compositor used 8000 serials for others.
    for (serial, seen) in [(1000, 1), (9000, 2)] {
        let events = client.event(pointer, "button", &[U(serial), U(5), U(0x110), U(1)]);
        assert_eq!(events, [format!("wl_pointer@{pointer}.button({seen},5,272,1)")]);
    }
    drain(&mut client.out);
    for (sent, meant) in [(2, Some(9000)), (1, Some(1000)), (9000, None), (3, None)] {
        client.ok(device, "set_selection", &[U(0), U(sent)]);
        let expected = meant.map(|meant| format!("wl_data_device@{device}.set_selection(0,{meant})"));
        assert_eq!(client.passed(), Vec::from_iter(expected), "{sent}");
    }
}

#[test]
fn keymaps_become_shared_memory() {
    let mut client = Client::new();
    let seat = client.bind("wl_seat");
    let keyboard = client.ok(seat, "get_keyboard", &[New]);
    client.event(keyboard, "keymap", &[U(1), Memory(100), U(100)]);
    assert_eq!(client.session.services().shared, [100]);
    client.session.services().refuses = true;
    let bytes = Writer::new(keyboard, 0).uint(1).uint(100).finish();
    let fault = client
        .session
        .from_server(&bytes, &mut VecDeque::from([memory(100)]), &mut client.back)
        .unwrap_err();
    assert!(matches!(fault, ServerFault::Service(_)), "{fault}");
}

#[test]
fn a_source_is_given_what_another_client_sent() {
    for (manager, request) in [
        ("wl_data_device_manager", "create_data_source"),
        ("zwp_primary_selection_device_manager_v1", "create_source"),
    ] {
        let mut client = Client::new();
        let manager = client.bind(manager);
        let source = client.ok(manager, request, &[New]);
        // A pipe, or what stands for one.
        for fd in [Pipe, Memory(4096)] {
            assert_eq!(client.event(source, "send", &[S("text/plain"), fd]).len(), 1);
        }
    }
}

#[test]
fn a_descriptor_may_be_before_its_event() {
    let mut client = Client::new();
    let seat = client.bind("wl_seat");
    let keyboard = client.ok(seat, "get_keyboard", &[New]);
    let bytes = Writer::new(keyboard, 0).uint(1).uint(100).finish();
    client
        .session
        .from_server(&bytes[..5], &mut VecDeque::from([memory(100)]), &mut client.back)
        .unwrap();
    client
        .session
        .from_server(&bytes[5..], &mut VecDeque::new(), &mut client.back)
        .unwrap();
    assert_eq!((client.back.len(), client.back.descriptors()), (bytes.len(), 1));
}

#[test]
fn events_to_the_dead_are_dropped() {
    let mut client = Client::new();
    let seat = client.bind("wl_seat");
    let keyboard = client.ok(seat, "get_keyboard", &[New]);
    client.ok(keyboard, "release", &[]);
    assert_eq!(
        client.event(keyboard, "keymap", &[U(1), Memory(100), U(100)]),
        [""; 0]
    );
    assert!(client.session.services().shared.is_empty());
    client.event(1, "delete_id", &[U(keyboard)]);
    assert!(client.session.objects.find(keyboard).is_none());
}

#[test]
fn objects_of_the_compositor() {
    let mut client = Client::new();
    let (manager, seat) = (client.bind("wl_data_device_manager"), client.bind("wl_seat"));
    let device = client.ok(manager, "get_data_device", &[New, U(seat)]);
    let offer = 0xff00_0000;
    client.event(device, "data_offer", &[U(offer)]);
    client.event(offer, "offer", &[S("text/plain")]);
    client.ok(offer, "receive", &[S("text/plain"), Pipe]);
    assert_eq!(client.out.descriptors(), 1);
    client.passed();
    client.ok(offer, "destroy", &[]);
    assert_eq!(client.event(offer, "offer", &[S("late")]), [""; 0]);
    assert_eq!(
        client.event(device, "data_offer", &[U(offer)]).len(),
        1,
        "the compositor uses ids again at once"
    );
    client.ok(offer, "destroy", &[]);
    // Made for a device that the client has released: the client will never know it.
    client.ok(device, "release", &[]);
    assert_eq!(client.event(device, "data_offer", &[U(offer + 1)]), [""; 0]);
    assert_eq!(client.event(offer + 1, "offer", &[S("text/plain")]), [""; 0]);
}

#[test]
fn faults_of_the_compositor_are_not_the_clients() {
    let device = 5;
    let rows: [(&str, Vec<u8>); 8] = [
        ("no such object", Writer::new(77, 0).finish()),
        ("no such event", Writer::new(1, 9).finish()),
        ("too short", Writer::new(1, 1).finish()),
        ("too long", Writer::new(1, 1).uint(1).uint(1).finish()),
        (
            "less than a header",
            [1_u32.to_le_bytes(), 0x0004_0000_u32.to_le_bytes()].concat(),
        ),
        (
            "id of a client",
            Writer::new(device, 0).uint(0xfeff_ffff).finish(),
        ),
        ("no id", Writer::new(device, 0).uint(0).finish()),
        ("id in use", Writer::new(device, 0).uint(1).finish()),
    ];
    for (what, bytes) in rows {
        let mut client = Client::new();
        let (manager, seat) = (client.bind("wl_data_device_manager"), client.bind("wl_seat"));
        assert_eq!(client.ok(manager, "get_data_device", &[New, U(seat)]), device);
        let fault = client
            .session
            .from_server(&bytes, &mut VecDeque::new(), &mut client.back)
            .unwrap_err();
        assert!(matches!(fault, ServerFault::Malformed(_)), "{what}: {fault}");
        assert!(!fault.is_provoked(), "{what}");
    }
}

#[test]
fn descriptors_may_come_long_before_their_events() {
    let mut client = Client::new();
    let seat = client.bind("wl_seat");
    let keyboard = client.ok(seat, "get_keyboard", &[New]);
    let keymap = Writer::new(keyboard, 0).uint(1).uint(100).finish();
    let both = [keymap.clone(), keymap.clone()].concat();
    let mut fds = VecDeque::from([memory(100), memory(100), memory(100)]);
    client
        .session
        .from_server(&both, &mut fds, &mut client.back)
        .unwrap();
    assert_eq!((client.back.len(), client.back.descriptors()), (both.len(), 2));
    client
        .session
        .from_server(&keymap, &mut VecDeque::new(), &mut client.back)
        .unwrap();
    assert_eq!(client.back.descriptors(), 3);
}

#[test]
fn errors_of_the_compositor_pass() {
    let mut client = Client::new();
    assert_eq!(
        client.event(1, "error", &[U(2), U(3), S("no")]),
        ["wl_display@1.error(2,3,Some(\"no\"))"]
    );
}

#[test]
fn a_client_that_keeps_every_offer_ends_by_its_own_fault() {
    let mut client = Client::with(Limits {
        server_objects: 2,
        ..Limits::default()
    });
    let (seat, manager) = (client.bind("wl_seat"), client.bind("wl_data_device_manager"));
    let device = client.ok(manager, "get_data_device", &[New, U(seat)]);
    for offer in 0..2 {
        client.event(device, "data_offer", &[U(FIRST_SERVER_ID + offer)]);
    }
    let event = Writer::new(device, 0).uint(FIRST_SERVER_ID + 2).finish();
    let fault = client
        .session
        .from_server(&event, &mut VecDeque::new(), &mut client.back)
        .unwrap_err();
    assert!(fault.is_provoked(), "{fault}");
    // Where none may be kept, the first is one too many, and still no fault of the protocol.
    let mut client = Client::with(Limits {
        server_objects: 0,
        ..Limits::default()
    });
    let (seat, manager) = (client.bind("wl_seat"), client.bind("wl_data_device_manager"));
    let device = client.ok(manager, "get_data_device", &[New, U(seat)]);
    let event = Writer::new(device, 0).uint(FIRST_SERVER_ID).finish();
    let fault = client
        .session
        .from_server(&event, &mut VecDeque::new(), &mut client.back)
        .unwrap_err();
    assert!(fault.is_provoked(), "{fault}");
}

#[test]
fn there_is_no_selection_until_there_is_one() {
    for (manager, request) in [
        ("wl_data_device_manager", "get_data_device"),
        ("zwp_primary_selection_device_manager_v1", "get_device"),
    ] {
        let mut client = Client::new();
        let (manager, seat) = (client.bind(manager), client.bind("wl_seat"));
        let device = client.ok(manager, request, &[New, U(seat)]);
        let other = client.ok(manager, request, &[New, U(seat)]);
        let none = |client: &mut Client| client.event(device, "selection", &[U(0)]).len();
        assert_eq!(none(&mut client), 0, "it says nothing new");
        let offer = FIRST_SERVER_ID;
        client.event(device, "data_offer", &[U(offer)]);
        assert_eq!(client.event(device, "selection", &[U(offer)]).len(), 1);
        assert_eq!(client.event(other, "selection", &[U(0)]).len(), 0);
        assert_eq!(none(&mut client), 1, "it is over");
        assert_eq!(none(&mut client), 0);
        // A device that comes after one with its id has been told nothing yet.
        client.event(device, "selection", &[U(offer)]);
        let destroy = if request == "get_device" {
            "destroy"
        } else {
            "release"
        };
        client.ok(device, destroy, &[]);
        client.event(1, "delete_id", &[U(device)]);
        client.next = device;
        assert_eq!(client.ok(manager, request, &[New, U(seat)]), device);
        assert_eq!(none(&mut client), 0);
    }
}
