// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first record on a `heraldry-connection` context.
//!
//! Stock crosvm cannot be given sockets at run time, so every client connection comes in by one name. The compositor
//! says with this record which announced connection it means; from the next byte on the bytes are the client's.
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | magic `HRDC` |
//! | 4..6 | version, u16 |
//! | 6..8 | zero |
//! | 8..16 | connection number, u64, never 0 |
//! | 16..48 | the token of the announcement |

use super::display::TOKEN_LEN;
use super::{Record, VERSION, WireError, Writer, take, zero};

/// Bytes of the record.
pub const TOKEN_RECORD_LEN: usize = 48;

const MAGIC: [u8; 4] = *b"HRDC";

/// Names an announced connection.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// The number of the announcement.
    pub number: u64,
    /// Its token. Compare it in constant time.
    pub token: [u8; TOKEN_LEN],
}

impl std::fmt::Debug for TokenRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRecord")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl TokenRecord {
    /// The bytes of the record.
    #[must_use]
    pub fn encode(&self) -> [u8; TOKEN_RECORD_LEN] {
        Writer::new()
            .put(&MAGIC, 4)
            .put(&VERSION.to_le_bytes(), 4)
            .put(&self.number.to_le_bytes(), 8)
            .put(&self.token, TOKEN_LEN)
            .done()
    }

    /// Whether `other` is the token of this record, in a time that does not depend on where they differ.
    #[must_use]
    pub fn has_token(&self, other: &[u8; TOKEN_LEN]) -> bool {
        self.token
            .iter()
            .zip(other)
            .fold(0, |differ, (a, b)| differ | (a ^ b))
            == 0
    }
}

impl Record for TokenRecord {
    const LEN: usize = TOKEN_RECORD_LEN;

    fn decode(mut bytes: &[u8]) -> Result<Self, WireError> {
        if take::<4>(&mut bytes)? != MAGIC {
            return Err(WireError::Magic);
        }
        let version = u16::from_le_bytes(take(&mut bytes)?);
        if version != VERSION {
            return Err(WireError::Version(version));
        }
        zero(&take::<2>(&mut bytes)?, "padding")?;
        let number = u64::from_le_bytes(take(&mut bytes)?);
        if number == 0 {
            return Err(WireError::Value("number"));
        }
        let token = take(&mut bytes)?;
        zero(bytes, "padding")?;
        Ok(Self { number, token })
    }
}
