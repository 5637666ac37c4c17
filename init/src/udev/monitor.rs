// SPDX-License-Identifier: MIT OR Apache-2.0
//! The two forms of a device event on netlink: what the kernel says, and what udev's listeners take. Pure.
//!
//! Listeners of libudev filter in the kernel by hashes in the message's head, so these must be theirs: MurmurHash2 of
//! subsystem and device type, and a small Bloom filter of the tags.

use std::collections::BTreeMap;

/// Begins a message that udev's listeners take.
const PREFIX: &[u8; 8] = b"libudev\0";
const MAGIC: u32 = 0xfeed_cafe;
const HEADER: u32 = 40;

/// A device event: its properties by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Event(pub(super) BTreeMap<String, String>);

impl Event {
    /// Reads what the kernel sent: `ACTION@PATH`, then properties, each ended by a zero byte.
    pub(super) fn of_kernel(message: &[u8]) -> Option<Self> {
        let mut parts = message.split(|byte| *byte == 0);
        let head = std::str::from_utf8(parts.next()?).ok()?;
        head.split_once('@')?;
        let mut properties = BTreeMap::new();
        for part in parts.filter(|part| !part.is_empty()) {
            let (name, value) = std::str::from_utf8(part).ok()?.split_once('=')?;
            properties.insert(name.to_owned(), value.to_owned());
        }
        let event = Self(properties);
        (event.get("ACTION").is_some() && event.get("DEVPATH").is_some()).then_some(event)
    }

    /// A property.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets a property.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// The message for udev's listeners.
    pub(super) fn for_listeners(&self, tags: &[&str]) -> Vec<u8> {
        let mut properties = Vec::new();
        for (name, value) in &self.0 {
            properties.extend_from_slice(name.as_bytes());
            properties.push(b'=');
            properties.extend_from_slice(value.as_bytes());
            properties.push(0);
        }
        let hash = |name: &str| self.get(name).map_or(0, |value| murmur2(value.as_bytes()));
        let bloom = tags.iter().fold(0, |bits, tag| bits | bloom(tag));
        let (high, low) = (bloom >> 32, bloom & u64::from(u32::MAX));
        let length = u32::try_from(properties.len()).unwrap_or(u32::MAX);
        let mut message = PREFIX.to_vec();
        // The magic and the hashes are in network order, the sizes in the machine's.
        message.extend(MAGIC.to_be_bytes());
        for size in [HEADER, HEADER, length] {
            message.extend(size.to_ne_bytes());
        }
        for hash in [hash("SUBSYSTEM"), hash("DEVTYPE")] {
            message.extend(hash.to_be_bytes());
        }
        for half in [high, low] {
            message.extend(u32::try_from(half).unwrap_or(0).to_be_bytes());
        }
        message.extend(properties);
        message
    }
}

/// Four bits of 64, by the hash of the tag.
fn bloom(tag: &str) -> u64 {
    let hash = murmur2(tag.as_bytes());
    (0..4).fold(0, |bits, turn| bits | 1 << (hash >> (6 * turn) & 63))
}

/// MurmurHash2 with seed 0.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = u32::try_from(data.len()).unwrap_or(0);
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (byte, shift) in rest.iter().zip([0, 8, 16]) {
            hash ^= u32::from(*byte) << shift;
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_message_is_read() {
        let event = Event::of_kernel(
            b"change@/devices/pci0/drm/card0\0ACTION=change\0DEVPATH=/devices/pci0/drm/card0\0SUBSYSTEM=drm\0HOTPLUG=1\0",
        );
        let event = event.unwrap();
        assert_eq!(
            (event.get("HOTPLUG"), event.get("SUBSYSTEM")),
            (Some("1"), Some("drm"))
        );
        for wrong in [
            &b""[..],
            b"libudev\0x=y\0",
            b"add@/x\0\xff=1\0",
            b"add@/x\0nothing\0",
            b"add@/x\0A=1\0",
        ] {
            assert_eq!(Event::of_kernel(wrong), None);
        }
    }

    /// Known values of the algorithm.
    #[test]
    fn the_hash_is_murmur2() {
        assert_eq!(murmur2(b""), 0);
        assert_eq!(murmur2(b"input"), murmur2(b"input"));
        assert_eq!(murmur2(b"a"), 0x9268_5f5e);
        assert_eq!(murmur2(b"abcd"), 0x2687_3021);
    }

    #[test]
    fn the_head_says_where_the_properties_are() {
        let mut event = Event::default();
        event.set("ACTION", "add");
        event.set("SUBSYSTEM", "input");
        let message = event.for_listeners(&["seat"]);
        assert_eq!(message[..8], *PREFIX);
        assert_eq!(message[8..12], [0xfe, 0xed, 0xca, 0xfe]);
        assert_eq!(
            message[12..20],
            [40_u32.to_ne_bytes(), 40_u32.to_ne_bytes()].concat()
        );
        assert_eq!(message[20..24], 27_u32.to_ne_bytes());
        assert_eq!(message[24..28], murmur2(b"input").to_be_bytes());
        assert_eq!(message[28..32], [0; 4], "no type, no hash");
        assert_ne!(message[32..40], [0; 8]);
        assert_eq!(&message[40..], b"ACTION=add\0SUBSYSTEM=input\0");
        assert_eq!(message.len(), 67);
        assert!(bloom("seat").count_ones() <= 4);
    }
}
