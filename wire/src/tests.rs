// SPDX-License-Identifier: MIT OR Apache-2.0
//! Round trips, strictness, and reading in pieces.

use heraldry_identity::VmName;
use proptest::prelude::*;

use super::connection::{TOKEN_RECORD_LEN, TokenRecord};
use super::display::{Announcement, CompositorRecord, HostRecord, RECORD_LEN, RefuseReason, Way};
use super::memfd::{MemfdFailure, MemfdRequest, REQUEST_LEN, decode_reply, encode_reply};
use super::*;

fn announcement() -> HostRecord {
    HostRecord::Announce(Announcement {
        number: 7,
        boot: 0x1122_3344_5566_7788,
        vm: VmName::new("work-2").unwrap(),
        way: Way::Token([0xab; 32]),
    })
}

#[test]
fn host_records_round_trip() {
    let named = HostRecord::Announce(Announcement {
        number: u64::MAX,
        boot: 0,
        vm: VmName::new("a").unwrap(),
        way: Way::Name(ContextName::new("wl-conn-12").unwrap()),
    });
    for record in [
        HostRecord::Hello,
        announcement(),
        named,
        HostRecord::Withdraw { number: 1 },
    ] {
        assert_eq!(HostRecord::decode(&record.encode()), Ok(record));
    }
}

#[test]
fn compositor_records_round_trip() {
    use RefuseReason::{Failed, Limit, Paused, Stopping, UnknownVm};
    let refusals = [UnknownVm, Limit, Paused, Stopping, Failed]
        .map(|reason| CompositorRecord::Refuse { number: 9, reason });
    let credit = CompositorRecord::Credit {
        number: 4,
        bytes: 1 << 40,
        descriptors: 17,
    };
    for record in [
        CompositorRecord::Hello,
        CompositorRecord::Take { number: 3 },
        credit,
    ]
    .into_iter()
    .chain(refusals)
    {
        assert_eq!(CompositorRecord::decode(&record.encode()), Ok(record));
    }
}

#[test]
fn the_layout_is_the_documented_one() {
    let bytes = announcement().encode();
    assert_eq!(&bytes[..8], b"HRDY\x01\x00\x02\x00");
    assert_eq!(bytes[8..16], 7u64.to_le_bytes());
    assert_eq!(bytes[16..24], 0x1122_3344_5566_7788u64.to_le_bytes());
    assert_eq!(bytes[24..32], [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(&bytes[32..39], b"work-2\0");
    assert_eq!(bytes[64..96], [0xab; 32]);
}

#[test]
fn every_fault_in_an_announcement_is_named() {
    let bad = |at: usize, byte: u8| {
        let mut bytes = announcement().encode();
        bytes[at] = byte;
        HostRecord::decode(&bytes).unwrap_err()
    };
    assert_eq!(bad(0, b'X'), WireError::Magic);
    assert_eq!(bad(4, 2), WireError::Version(2));
    assert_eq!(bad(6, 9), WireError::Kind(9));
    assert_eq!(bad(8, 0), WireError::Value("number"));
    assert_eq!(bad(24, 3), WireError::Value("way"));
    assert_eq!(bad(25, 1), WireError::Padding("way"));
    assert_eq!(bad(32, b'W'), WireError::Name("vm", NameError::Byte(b'W')));
    assert_eq!(bad(40, b'x'), WireError::Padding("vm"));
    assert_eq!(bad(32, 0), WireError::Padding("vm"));
    assert_eq!(
        HostRecord::decode(&announcement().encode()[..95]),
        Err(WireError::Short)
    );
    let mut hello = HostRecord::Hello.encode();
    hello[95] = 1;
    assert_eq!(HostRecord::decode(&hello), Err(WireError::Padding("padding")));
}

#[test]
fn the_compositors_records_have_the_documented_layout() {
    let refuse = CompositorRecord::Refuse {
        number: 9,
        reason: RefuseReason::Stopping,
    };
    let credit = CompositorRecord::Credit {
        number: 9,
        bytes: 0x0102_0304,
        descriptors: 17,
    };
    let rows: [(CompositorRecord, u8, [u8; 16]); 4] = [
        (CompositorRecord::Hello, 1, [0; 16]),
        (CompositorRecord::Take { number: 9 }, 2, [0; 16]),
        (refuse, 3, [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (credit, 4, [4, 3, 2, 1, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (record, kind, body) in rows {
        let bytes = record.encode();
        assert_eq!(bytes[..8], [b'H', b'R', b'D', b'Y', 1, 0, kind, 0]);
        assert_eq!(bytes[8..16], [if kind == 1 { 0 } else { 9 }, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!((&bytes[16..32], &bytes[32..]), (&body[..], &[0; 64][..]));
    }
}

#[test]
fn a_token_is_never_shown() {
    let shown = format!("{:?}", announcement());
    assert!(shown.contains("Token") && !shown.contains("171"), "{shown}");
    let record = TokenRecord {
        number: 12_345,
        token: [171; 32],
    };
    let shown = format!("{record:?}");
    assert!(shown.contains("12345") && !shown.contains("171"), "{shown}");
    let named = Way::Name(ContextName::new("wl-conn-12").unwrap());
    assert_eq!(format!("{named:?}"), "Name(\"wl-conn-12\")");
}

#[test]
fn token_record_round_trips_and_compares() {
    let record = TokenRecord {
        number: 5,
        token: [3; 32],
    };
    let bytes = record.encode();
    assert_eq!(bytes.len(), TOKEN_RECORD_LEN);
    assert_eq!(TokenRecord::decode(&bytes), Ok(record.clone()));
    assert!(record.has_token(&[3; 32]));
    let mut other = [3; 32];
    other[31] = 2;
    assert!(!record.has_token(&other));
    // Differences that cancel out are differences.
    other[30] = 2;
    assert!(!record.has_token(&other));
    assert!(!record.has_token(&[0; 32]));
}

#[test]
fn every_fault_in_a_token_record_is_named() {
    let good = TokenRecord {
        number: 5,
        token: [3; 32],
    };
    assert_eq!(&good.encode()[..8], b"HRDC\x01\x00\x00\x00");
    for (at, byte, error) in [
        (3, b'Y', WireError::Magic),
        (5, 1, WireError::Version(0x0101)),
        (6, 1, WireError::Padding("padding")),
        (7, 1, WireError::Padding("padding")),
        (8, 0, WireError::Value("number")),
    ] {
        let mut bytes = good.encode();
        bytes[at] = byte;
        assert_eq!(TokenRecord::decode(&bytes), Err(error), "{at}");
    }
    assert_eq!(TokenRecord::decode(&good.encode()[..47]), Err(WireError::Short));
    let long = [&good.encode()[..], &[1]].concat();
    assert_eq!(TokenRecord::decode(&long), Err(WireError::Padding("padding")));
}

#[test]
fn memfd_request_is_spectrum_s() {
    let request = MemfdRequest::new(&VmName::new("work").unwrap(), "keymap", 70_000);
    let bytes = request.encode();
    assert_eq!(bytes.len(), REQUEST_LEN);
    assert_eq!(&bytes[..21], b"heraldry/work/keymap\0");
    assert_eq!(bytes[224..], 70_000u64.to_le_bytes());
    let again = MemfdRequest::decode(&bytes).unwrap();
    assert_eq!(
        again.vm().map(|vm| vm.as_str().to_owned()).as_deref(),
        Some("work")
    );
    assert_eq!(again, request);
}

#[test]
fn a_foreign_memfd_name_has_no_vm_and_is_shown_clean() {
    let mut bytes = [0; REQUEST_LEN];
    bytes[..7].copy_from_slice(b"wl\x1b[2Jr");
    let request = MemfdRequest::decode(&bytes).unwrap();
    assert_eq!(request.vm(), None);
    assert_eq!(request.clean_name(), "wl\\x1b[2Jr");
    bytes[100] = b'x';
    assert_eq!(MemfdRequest::decode(&bytes), Err(WireError::Padding("name")));
}

#[test]
fn memory_is_asked_for_a_vm_by_others_or_by_nobody() {
    for (name, vm, of_others) in [
        ("heraldry/work/keymap", Some("work"), false),
        ("heraldry/work/", Some("work"), false),
        ("heraldry/work", None, false),
        ("heraldry//keymap", None, false),
        ("heraldry/Work/keymap", None, false),
        ("heraldry", None, true),
        ("wlroots", None, true),
        ("xheraldry/work/keymap", None, true),
        ("", None, true),
    ] {
        let mut bytes = [0; REQUEST_LEN];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        bytes[224] = 7;
        let request = MemfdRequest::decode(&bytes).unwrap();
        assert_eq!((request.name(), request.size), (name.as_bytes(), 7));
        assert_eq!(request.vm().as_ref().map(VmName::as_str), vm, "{name}");
        assert_eq!(request.is_of_others(), of_others, "{name}");
        assert_eq!(request.encode(), bytes);
    }
}

#[test]
fn memfd_replies_round_trip() {
    for byte in 0..=255 {
        assert_eq!(encode_reply(decode_reply(byte)), byte);
    }
    assert_ne!(encode_reply(Err(MemfdFailure::Unknown(0))), 0);
}

#[test]
fn vm_names() {
    assert_eq!(VmName::new("a-1").unwrap().as_str(), "a-1");
    assert_eq!(VmName::new(""), Err(NameError::Empty));
    assert_eq!(VmName::new(&"a".repeat(32)), Err(NameError::Long(31)));
    assert_eq!(VmName::new(&"a".repeat(31)).unwrap().as_str().len(), 31);
    for bad in ["A", "a b", "a/b", "ä", "a\n", "."] {
        assert!(matches!(VmName::new(bad), Err(NameError::Byte(_))), "{bad:?}");
    }
}

#[test]
fn context_names() {
    for good in ["a", "__crosvm_memfd", &"~".repeat(32)] {
        let name: ContextName = good.parse().unwrap();
        assert_eq!((name.as_str(), name.as_ref()), (good, good));
        assert_eq!(format!("{name} {name:?}"), format!("{good} {good:?}"));
    }
    assert_eq!(ContextName::new(""), Err(NameError::Empty));
    assert_eq!(ContextName::new(&"a".repeat(33)), Err(NameError::Long(32)));
    for (bad, byte) in [("a b", b' '), ("a\0", 0), ("\u{7f}", 0x7f), ("é", 0xc3)] {
        assert_eq!(ContextName::new(bad), Err(NameError::Byte(byte)), "{bad:?}");
    }
}

#[test]
fn long_text_is_cut_and_marked() {
    assert_eq!(clean(b"abcdef", 3), "abc~");
    assert_eq!(clean(b"ab\x00", 3), "ab~");
    assert_eq!(clean("a\\\u{202e}".as_bytes(), 99), "a\\x5c\\xe2\\x80\\xae");
}

#[test]
fn a_record_that_is_cut_short_is_partial() {
    let bytes = TokenRecord {
        number: 5,
        token: [3; 32],
    }
    .encode();
    let mut reader = RecordReader::<TokenRecord>::default();
    let state = |reader: &RecordReader<_>| (reader.is_partial(), reader.missing());
    assert_eq!(state(&reader), (false, 48));
    assert_eq!(reader.feed(&mut &bytes[..47]), Ok(None));
    assert_eq!(state(&reader), (true, 1));
    // No more is taken than the record has.
    let mut rest = &[&bytes[47..], b"Wayland"].concat()[..];
    assert!(reader.feed(&mut rest).is_ok_and(|record| record.is_some()));
    assert_eq!((state(&reader), rest), ((false, 48), &b"Wayland"[..]));
    // What is none is forgotten.
    assert_eq!(reader.feed(&mut &[0; 48][..]), Err(WireError::Magic));
    assert_eq!(state(&reader), (false, 48));
}

proptest! {
    #[test]
    fn pieces_make_the_same_records(cuts in prop::collection::vec(1usize..100, 1..20)) {
        let records = [HostRecord::Hello, announcement(), HostRecord::Withdraw { number: 7 }];
        let stream: Vec<u8> = records.iter().flat_map(HostRecord::encode).collect();
        let mut reader = RecordReader::<HostRecord>::new();
        let mut got = Vec::new();
        let mut rest = stream.as_slice();
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let (mut piece, tail) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            rest = tail;
            while !piece.is_empty() {
                got.extend(reader.feed(&mut piece).unwrap());
            }
        }
        prop_assert!(!reader.is_partial());
        prop_assert_eq!(reader.missing(), RECORD_LEN);
        prop_assert_eq!(got.as_slice(), records.as_slice());
    }

    #[test]
    fn decoding_never_panics_and_is_canonical(bytes in prop::collection::vec(any::<u8>(), 0..240)) {
        let _ = CompositorRecord::decode(&bytes);
        let _ = TokenRecord::decode(&bytes);
        let _ = MemfdRequest::decode(&bytes);
        if let Ok(record) = HostRecord::decode(&bytes) {
            prop_assert_eq!(record.encode().to_vec(), bytes);
        }
    }
}

#[test]
fn a_role_is_a_name_and_zeros() {
    for name in ["a", DISPLAY_CONTEXT, "12345678901234567890123456789012"] {
        let name = ContextName::new(name).unwrap();
        assert_eq!(ContextName::from_role(&name.to_role()), Ok(name));
    }
    let mut role = ContextName::new("a").unwrap().to_role();
    role[5] = b'b';
    ContextName::from_role(&role).unwrap_err();
    ContextName::from_role(&[0; 32]).unwrap_err();
}
