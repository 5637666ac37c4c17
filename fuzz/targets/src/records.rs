// SPDX-License-Identifier: MIT OR Apache-2.0
//! The records of the display socket and of connections: decoding is strict, so what decodes encodes to the same bytes,
//! and what a reader gathers does not depend on how the stream is cut.
//!
//! Input: a byte for the kind of record, a byte for the cut, then a stream.

use std::fmt::Debug;

use heraldry_wire::connection::TokenRecord;
use heraldry_wire::display::{CompositorRecord, HostRecord, Way};
use heraldry_wire::{Record, RecordReader, WireError};

/// See the module.
pub fn run(data: &[u8]) {
    let [kind, cut, stream @ ..] = data else { return };
    let cut = usize::from(*cut).max(1);
    match kind % 3 {
        0 => check(stream, cut, |record: &HostRecord| {
            if let HostRecord::Announce(announcement) = record {
                names(announcement.vm.as_str(), &announcement.way);
            }
            record.encode().to_vec()
        }),
        1 => check(stream, cut, |record: &CompositorRecord| record.encode().to_vec()),
        _ => check(stream, cut, |record: &TokenRecord| {
            assert!(record.has_token(&record.token));
            let mut other = record.token;
            other[usize::from(*kind) % 32] ^= 1;
            assert!(!record.has_token(&other));
            record.encode().to_vec()
        }),
    }
}

/// Names become folders and log lines.
fn names(vm: &str, way: &Way) {
    assert!((1..=31).contains(&vm.len()), "{vm}");
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    assert!(vm.bytes().all(good), "{vm}");
    if let Way::Name(name) = way {
        let name = name.as_str();
        assert!((1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic()));
    }
}

fn check<R: Record + Debug + PartialEq>(stream: &[u8], cut: usize, encode: impl Fn(&R) -> Vec<u8>) {
    let (whole, error) = gather::<R>(stream, stream.len().max(1));
    let (pieces, error_of_pieces) = gather::<R>(stream, cut);
    assert_eq!(
        (&whole, error),
        (&pieces, error_of_pieces),
        "{cut} bytes at a time"
    );
    for (record, bytes) in whole.iter().zip(stream.chunks(R::LEN)) {
        let encoded = encode(record);
        assert_eq!(encoded, bytes, "{record:?}");
        assert_eq!(R::decode(&encoded).as_ref(), Ok(record));
        assert!(R::decode(&encoded[1..]).is_err(), "a short record passes");
    }
}

/// All records of a stream that comes in pieces of `cut` bytes, and the error that ends it.
fn gather<R: Record>(stream: &[u8], cut: usize) -> (Vec<R>, Option<WireError>) {
    let mut reader = RecordReader::<R>::new();
    let mut records = Vec::new();
    for mut piece in stream.chunks(cut) {
        while !piece.is_empty() {
            assert!((1..=R::LEN).contains(&reader.missing()));
            match reader.feed(&mut piece) {
                Ok(record) => records.extend(record),
                Err(error) => return (records, Some(error)),
            }
        }
    }
    assert_eq!(reader.is_partial(), !stream.len().is_multiple_of(R::LEN));
    (records, None)
}
