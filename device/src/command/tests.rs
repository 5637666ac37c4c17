// SPDX-License-Identifier: MIT OR Apache-2.0
use heraldry_wire::cross_domain::{PIPE_ROOM, RING, ROOM};

use super::*;

fn command(number: u8, size: usize, body: &[u8]) -> Vec<u8> {
    let size = u16::try_from(size).unwrap().to_le_bytes();
    let mut bytes = vec![number, 0, size[0], size[1], 0, 0, 0, 0];
    bytes.extend_from_slice(body);
    bytes
}

/// With its true size.
fn whole(number: u8, body: &[u8]) -> Vec<u8> {
    command(number, HEADER + body.len(), body)
}

fn send(count: u32, kinds: &[(u32, u32)], len: u32, data: &[u8]) -> Vec<u8> {
    let (mut ids, mut types) = ([0; MAX_FDS], [0; MAX_FDS]);
    for (index, (id, kind)) in kinds.iter().enumerate() {
        ids[index] = *id;
        types[index] = *kind;
    }
    let mut body = words(&[count, len]);
    body.extend(words(&ids));
    body.extend(words(&types));
    body.extend(words(&[0; MAX_FDS]));
    body.extend_from_slice(data);
    whole(4, &body)
}

fn all(bytes: &[u8]) -> Vec<Result<Command<'_>, Malformed>> {
    Commands::new(bytes).collect()
}

#[test]
fn commands_are_read_one_after_the_other() {
    let mut bytes = whole(1, &words(&[2, 3, 1]));
    bytes.extend(whole(2, &words(&[100, 20, u32::from_le_bytes(*b"XR24"), 16])));
    bytes.extend(whole(3, &[]));
    bytes.extend(send(2, &[(5, 1), (0x8000_0001, 3)], 2, b"hi"));
    let mut body = words(&[7, 1, 3, 0]);
    body.extend(b"end");
    bytes.extend(whole(7, &body));
    let expected = [
        Command::Init { query: 2, channel: 3 },
        Command::Image {
            stride: 400,
            height: 20,
        },
        Command::Poll,
        Command::Send {
            bytes: b"hi",
            descriptors: vec![Outgoing::Blob(5), Outgoing::ReadPipe(0x8000_0001)],
        },
        Command::Write {
            pipe: 7,
            bytes: b"end",
            last: true,
        },
    ];
    assert_eq!(all(&bytes), expected.map(Ok));
    assert_eq!(all(&[]), []);
}

#[test]
fn what_is_no_command_ends_the_submission_and_says_why() {
    let kinds = [(1, 1); MAX_FDS];
    for (bytes, expected) in [
        (vec![3], Malformed::Short),
        // Google's device loops for ever on this one.
        (command(3, 0, &[]), Malformed::Size(0)),
        (command(3, 7, &[]), Malformed::Size(7)),
        (command(3, 9, &[]), Malformed::Size(9)),
        (command(3, 0xffff, &[0; 64]), Malformed::Size(0xffff)),
        (whole(0, &[]), Malformed::Unknown(0)),
        (whole(13, &[0; 24]), Malformed::Unknown(13)),
        (whole(1, &words(&[2, 3])), Malformed::Short),
        (whole(1, &words(&[2, 3, 0x10])), Malformed::Channel(0x10)),
        (whole(1, &words(&[2, 3, u32::MAX])), Malformed::Channel(u32::MAX)),
        (whole(2, &words(&[1, 1, 1, 0])), Malformed::Format(1)),
        (send(29, &kinds, 0, &[]), Malformed::TooMany(29)),
        (send(u32::MAX, &kinds, 0, &[]), Malformed::TooMany(u32::MAX)),
        (send(1, &[(1, 4)], 0, &[]), Malformed::Kind(4)),
        (send(1, &[(1, 7)], 0, &[]), Malformed::Kind(7)),
        (send(0, &[], 3, b"hi"), Malformed::Short),
        (send(0, &[], u32::MAX, b"hi"), Malformed::Short),
        (whole(4, &words(&[0, 0])), Malformed::Short),
        (whole(7, &words(&[7, 0, 1, 0])), Malformed::Short),
    ] {
        assert_eq!(all(&bytes), [Err(expected)], "{bytes:?}");
    }
}

#[test]
fn nothing_after_a_wrong_command_counts() {
    let mut bytes = whole(3, &[]);
    bytes.extend(whole(99, &[]));
    bytes.extend(whole(3, &[]));
    assert_eq!(all(&bytes), [Ok(Command::Poll), Err(Malformed::Unknown(99))]);
}

#[test]
fn messages_fit_into_a_ring() {
    let many = [Incoming::Blob(2, 4096); MAX_FDS];
    let bytes = message(&[7; ROOM], &many);
    assert_eq!(bytes.len(), RING);
    assert_eq!(u32_at(&bytes, 8), Some(28));
    assert_eq!(u32_at(&bytes, 12), u32::try_from(ROOM).ok());
    assert_eq!(u32_at(&bytes, 16 + 4 * MAX_FDS), Some(1));
    assert_eq!(u32_at(&bytes, 16 + 8 * MAX_FDS), Some(4096));
    let end = message(&[], &[]);
    assert!(end.len() == MESSAGE && end[1..].iter().all(|byte| *byte == 0));
    let data = pipe_data(0x8000_0001, &[1; PIPE_ROOM]);
    assert_eq!((data.len(), u32_at(&data, 12)), (RING, Some(0)));
    assert_eq!(u32_at(&pipe_data(1, &[]), 12), Some(1));
    assert_eq!(image(256, 4096, 9).len(), 64);
}
