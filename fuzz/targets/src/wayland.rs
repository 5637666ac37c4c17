// SPDX-License-Identifier: MIT OR Apache-2.0
//! Wayland's wire format and objects a second time, independent of the gate's: what checks the gate may not be the gate.
//! Only the protocols' generated tables are common to both.

pub mod library;
pub mod rules;
pub mod world;

use std::collections::{BTreeMap, BTreeSet};

pub use heraldry_gate::{GLOBALS, display, global};
use wayland_backend::protocol::{AllowNull, ArgumentType, Interface, MessageDesc};
/// The first id of objects that the compositor makes.
pub const FIRST_SERVER_ID: u32 = 0xff00_0000;

/// Bytes of a header.
pub const HEADER: usize = 8;

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arg {
    /// A number or an object.
    Word(u32),
    /// A text, if there is one.
    Text(Option<String>),
    /// Bytes.
    Array(Vec<u8>),
    /// A descriptor; it has no bytes.
    Fd,
}

/// Object, opcode and length, if `bytes` has a whole header.
#[must_use]
pub fn header(bytes: &[u8]) -> Option<(u32, u16, usize)> {
    let object = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
    let opcode = u16::from_le_bytes(bytes.get(4..6)?.try_into().ok()?);
    let len = u16::from_le_bytes(bytes.get(6..8)?.try_into().ok()?);
    Some((object, opcode, usize::from(len)))
}

/// The arguments of a whole message, or why it is none.
///
/// # Errors
/// What is wrong with it.
pub fn decode(message: &[u8], desc: &MessageDesc) -> Result<Vec<Arg>, String> {
    let mut rest = message.get(HEADER..).ok_or("no header")?;
    let word = |rest: &mut &[u8]| -> Result<u32, String> {
        let (head, tail) = rest.split_first_chunk::<4>().ok_or("too short")?;
        *rest = tail;
        Ok(u32::from_le_bytes(*head))
    };
    let mut args = Vec::new();
    for kind in desc.signature {
        args.push(match kind {
            ArgumentType::Fd => Arg::Fd,
            ArgumentType::Str(_) | ArgumentType::Array => {
                let len = usize::try_from(word(&mut rest)?).map_err(|error| error.to_string())?;
                let padded = len.checked_next_multiple_of(4).ok_or("too long")?;
                let (bytes, tail) = rest.split_at_checked(padded).ok_or("too short")?;
                rest = tail;
                let bytes = &bytes[..len];
                match kind {
                    ArgumentType::Array => Arg::Array(bytes.to_vec()),
                    ArgumentType::Str(null) if len == 0 => {
                        if *null == AllowNull::No {
                            return Err("a text is missing".to_owned());
                        }
                        Arg::Text(None)
                    }
                    _ => {
                        let text = bytes.strip_suffix(&[0]).ok_or("a text without its end")?;
                        let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
                        if text.contains('\0') {
                            return Err("a text with a NUL".to_owned());
                        }
                        Arg::Text(Some(text.to_owned()))
                    }
                }
            }
            _ => Arg::Word(word(&mut rest)?),
        });
    }
    if rest.is_empty() {
        Ok(args)
    } else {
        Err("too long".to_owned())
    }
}

/// A message.
#[must_use]
pub fn encode(object: u32, opcode: u16, args: &[Arg]) -> Vec<u8> {
    let mut bytes = [object.to_le_bytes(), u32::from(opcode).to_le_bytes()].concat();
    let put = |data: &[u8], bytes: &mut Vec<u8>| {
        bytes.extend_from_slice(&u32::try_from(data.len()).unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    };
    for arg in args {
        match arg {
            Arg::Word(word) => bytes.extend_from_slice(&word.to_le_bytes()),
            Arg::Text(None) => bytes.extend_from_slice(&[0; 4]),
            Arg::Text(Some(text)) => put(&[text.as_bytes(), &[0]].concat(), &mut bytes),
            Arg::Array(data) => put(data, &mut bytes),
            Arg::Fd => {}
        }
    }
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    bytes[6..8].copy_from_slice(&len.to_le_bytes());
    bytes
}

/// An object.
#[derive(Clone, Copy)]
pub struct Object {
    /// Its interface.
    pub interface: &'static Interface,
    /// Its version.
    pub version: u32,
    /// Whether the client may use it; if not, its deletion is not confirmed yet.
    pub live: bool,
    /// Never used again, as its id may be.
    pub key: u64,
}

impl std::fmt::Debug for Object {
    /// Not the whole interface, which shows all interfaces that it leads to, some in circles.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} v{} (live: {})",
            self.interface.name, self.version, self.live
        )
    }
}

/// The objects of a client.
#[derive(Debug)]
pub struct Objects {
    map: BTreeMap<u32, Object>,
    /// Ids below `next` that are free.
    free: BTreeSet<u32>,
    next: u32,
    keys: u64,
}

impl Default for Objects {
    fn default() -> Self {
        let mut objects = Self {
            map: BTreeMap::new(),
            free: BTreeSet::new(),
            next: 1,
            keys: 0,
        };
        objects.create(1, display(), 1, true);
        objects
    }
}

impl Objects {
    /// The object `id`, live or not.
    #[must_use]
    pub fn find(&self, id: u32) -> Option<Object> {
        self.map.get(&id).copied()
    }

    /// The object `id`, if the client may use it.
    #[must_use]
    pub fn live(&self, id: u32) -> Option<Object> {
        self.find(id).filter(|object| object.live)
    }

    /// All objects.
    pub fn all(&self) -> impl Iterator<Item = (u32, &Object)> {
        self.map.iter().map(|(id, object)| (*id, object))
    }

    /// How many live objects have the interface.
    #[must_use]
    pub fn count(&self, interface: &str) -> usize {
        self.map
            .values()
            .filter(|object| object.live && object.interface.name == interface)
            .count()
    }

    /// The id of the next object of the client: the lowest that is free.
    #[must_use]
    pub fn free_id(&self) -> u32 {
        self.free.first().copied().unwrap_or(self.next)
    }

    /// Whether the client may make an object `id`.
    #[must_use]
    pub fn may_create(&self, id: u32) -> bool {
        id == self.next || self.free.contains(&id)
    }

    /// Makes an object; returns its key.
    pub fn create(&mut self, id: u32, interface: &'static Interface, version: u32, live: bool) -> u64 {
        self.keys += 1;
        self.map.insert(
            id,
            Object {
                interface,
                version,
                live,
                key: self.keys,
            },
        );
        if id < FIRST_SERVER_ID {
            self.free.remove(&id);
            self.next = self.next.max(id.saturating_add(1));
        }
        self.keys
    }

    /// The client, or an event, destroys an object.
    pub fn destroy(&mut self, id: u32) {
        if let Some(object) = self.map.get_mut(&id) {
            object.live = false;
        }
    }

    /// The compositor confirms a deletion.
    pub fn free(&mut self, id: u32) {
        if self.map.remove(&id).is_some() && id < FIRST_SERVER_ID {
            self.free.insert(id);
        }
    }
}
