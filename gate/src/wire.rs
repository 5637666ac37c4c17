// SPDX-License-Identifier: MIT OR Apache-2.0
//! Wayland's wire format: a header, then arguments by the signature of the message. Bytes in, checked values out.

use wayland_backend::protocol::{AllowNull, ArgumentType, MessageDesc};

/// The largest message: what the compositor's library can read.
pub const MAX_MESSAGE: usize = 4096;

/// Bytes of a message header.
pub(crate) const HEADER: usize = 8;

/// The most arguments of a message of any protocol (libwayland's WL_CLOSURE_MAX_ARGS); a message with more would be too long.
pub(crate) const MAX_ARGS: usize = 20;

/// The head of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// The object that the message is to or from.
    pub(crate) object: u32,
    /// Which message of its interface.
    pub(crate) opcode: u16,
    /// Bytes of the whole message, header included.
    pub(crate) len: usize,
}

/// The length in a header cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadLength(pub(crate) usize);

impl Header {
    /// Reads the header at the start of `bytes`; `None` if it is not all there yet.
    pub(crate) fn read(bytes: &[u8]) -> Option<Result<Self, BadLength>> {
        let object = word_at(bytes, 0)?;
        let second = word_at(bytes, 4)?;
        let [o0, o1, l0, l1] = second.to_le_bytes();
        let len = usize::from(u16::from_le_bytes([l0, l1]));
        if !(HEADER..=MAX_MESSAGE).contains(&len) || !len.is_multiple_of(4) {
            return Some(Err(BadLength(len)));
        }
        Some(Ok(Self {
            object,
            opcode: u16::from_le_bytes([o0, o1]),
            len,
        }))
    }
}

/// The word at byte `at`. Both ends are little-endian machines of one host.
fn word_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

/// One argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    /// A number or an object, and the byte at which it stands.
    Word { at: u16, word: u32 },
    /// Bytes of a text (without its NUL) or an array.
    Bytes { at: u16, len: u16 },
    /// A text that is not there.
    Null,
    /// A descriptor; it has no bytes.
    Fd,
}

/// Why the arguments of a message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadArguments {
    /// The message ends before its arguments do.
    Short,
    /// Bytes are left after the last argument.
    Long,
    /// A text is not NUL-terminated, has a NUL inside, or is not UTF-8.
    Text,
    /// A text that must be there is not.
    NullText,
}

/// The arguments of one message.
#[derive(Debug)]
pub(crate) struct Args<'a> {
    message: &'a [u8],
    values: [Value; MAX_ARGS],
    /// Descriptors that the message takes.
    pub(crate) fds: usize,
}

impl<'a> Args<'a> {
    /// Reads the arguments of `message`, which is exactly one message with its header.
    pub(crate) fn parse(message: &'a [u8], desc: &MessageDesc) -> Result<Self, BadArguments> {
        let mut args = Self {
            message,
            values: [Value::Null; MAX_ARGS],
            fds: 0,
        };
        let mut at = HEADER;
        for (slot, kind) in args.values.iter_mut().zip(desc.signature) {
            if *kind == ArgumentType::Fd {
                args.fds = args.fds.saturating_add(1);
                *slot = Value::Fd;
                continue;
            }
            let word = word_at(message, at).ok_or(BadArguments::Short)?;
            let here = at;
            at = at.saturating_add(4);
            *slot = match *kind {
                ArgumentType::Str(_) | ArgumentType::Array => {
                    let (value, next) = bytes_value(message, *kind, at, word)?;
                    at = next;
                    value
                }
                _ => Value::Word {
                    at: u16::try_from(here).map_err(|_too_far| BadArguments::Short)?,
                    word,
                },
            };
        }
        if at == message.len() {
            Ok(args)
        } else {
            Err(BadArguments::Long)
        }
    }

    /// The number at `index`; 0 if that argument is not a number.
    pub(crate) fn uint(&self, index: usize) -> u32 {
        match self.values.get(index) {
            Some(Value::Word { word, .. }) => *word,
            _ => 0,
        }
    }

    /// The signed number at `index`.
    pub(crate) fn int(&self, index: usize) -> i32 {
        self.uint(index).cast_signed()
    }

    /// The text at `index`, if there is one.
    pub(crate) fn text(&self, index: usize) -> Option<&'a str> {
        let Some(Value::Bytes { at, len }) = self.values.get(index) else {
            return None;
        };
        let start = usize::from(*at);
        std::str::from_utf8(self.message.get(start..start.checked_add(usize::from(*len))?)?).ok()
    }

    /// The byte of the message at which the number at `index` stands.
    pub(crate) fn place(&self, index: usize) -> Option<usize> {
        match self.values.get(index) {
            Some(Value::Word { at, .. }) => Some(usize::from(*at)),
            _ => None,
        }
    }
}

/// A text or an array whose length word is `len` and whose bytes start at `at`, and where the next argument starts.
fn bytes_value(
    message: &[u8],
    kind: ArgumentType,
    at: usize,
    len: u32,
) -> Result<(Value, usize), BadArguments> {
    let len = usize::try_from(len).map_err(|_too_long| BadArguments::Short)?;
    let padded = len.checked_next_multiple_of(4).ok_or(BadArguments::Short)?;
    let next = at
        .checked_add(padded)
        .filter(|next| *next <= message.len())
        .ok_or(BadArguments::Short)?;
    let bytes = message
        .get(at..at.saturating_add(len))
        .ok_or(BadArguments::Short)?;
    let len = match kind {
        ArgumentType::Str(AllowNull::Yes) if len == 0 => return Ok((Value::Null, next)),
        ArgumentType::Str(_) if len == 0 => return Err(BadArguments::NullText),
        ArgumentType::Str(_) => {
            let text = bytes.strip_suffix(&[0]).ok_or(BadArguments::Text)?;
            if text.contains(&0) || std::str::from_utf8(text).is_err() {
                return Err(BadArguments::Text);
            }
            text.len()
        }
        _ => len,
    };
    let short = |n: usize| u16::try_from(n).map_err(|_too_long| BadArguments::Short);
    Ok((
        Value::Bytes {
            at: short(at)?,
            len: short(len)?,
        },
        next,
    ))
}

/// How many descriptors a message takes.
pub(crate) fn fd_count(desc: &MessageDesc) -> usize {
    desc.signature
        .iter()
        .filter(|kind| **kind == ArgumentType::Fd)
        .count()
}

/// Writes one message.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// A message of `object`.
    pub(crate) fn new(object: u32, opcode: u16) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&object.to_le_bytes());
        bytes.extend_from_slice(&u32::from(opcode).to_le_bytes());
        Self(bytes)
    }

    /// Adds a number.
    pub(crate) fn uint(mut self, word: u32) -> Self {
        self.0.extend_from_slice(&word.to_le_bytes());
        self
    }

    /// Adds a signed number.
    pub(crate) fn int(self, word: i32) -> Self {
        self.uint(word.cast_unsigned())
    }

    /// Adds a text. It is cut so that the message stays within its largest size.
    pub(crate) fn text(self, text: &str) -> Self {
        let mut end = text.len().min(MAX_MESSAGE / 2);
        while !text.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        let bytes = text.as_bytes().get(..end).unwrap_or(&[]);
        let len = u32::try_from(bytes.len()).unwrap_or(0).saturating_add(1);
        let mut writer = self.uint(len);
        writer.0.extend_from_slice(bytes);
        writer.0.push(0);
        let padded = writer.0.len().next_multiple_of(4);
        writer.0.resize(padded, 0);
        writer
    }

    /// The finished message.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let len = u16::try_from(self.0.len()).unwrap_or(u16::MAX).to_le_bytes();
        if let Some(slot) = self.0.get_mut(6..HEADER) {
            slot.copy_from_slice(&len);
        }
        self.0
    }
}
