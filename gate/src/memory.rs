// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that the compositor sends to a client, copied once per content.
//!
//! A keymap is sent to every keyboard of every client of a VM. It is copied into memory of the host once and handed out
//! again for the same content, compared byte by byte: a hash alone could be made to collide.

use std::os::fd::{AsFd, OwnedFd};

use crate::services::ServiceError;

/// The largest memory that is copied, in bytes. A keymap has about 60 KiB.
pub const MAX_SHARED_BYTES: u32 = 1 << 20;

/// The most contents that are kept.
const MAX_ENTRIES: usize = 8;

/// Copies of contents, for one VM. The memory it hands out is shared by that VM's clients and must be read-only to it,
/// or the VM must be one that may disturb its own clients.
#[derive(Debug, Default)]
pub struct MemoryCache {
    /// Most recently used last.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    content: Vec<u8>,
    fd: OwnedFd,
}

impl MemoryCache {
    /// An empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A descriptor of memory with `content`: one that is there already, or what `create` makes.
    ///
    /// # Errors
    /// What `create` fails with, or a failure to duplicate the descriptor.
    pub fn get_or_create(
        &mut self,
        content: Vec<u8>,
        create: impl FnOnce(&[u8]) -> Result<OwnedFd, ServiceError>,
    ) -> Result<OwnedFd, ServiceError> {
        let found = self.entries.iter().position(|entry| entry.content == content);
        let entry = match found {
            Some(index) => self.entries.remove(index),
            None => Entry {
                fd: create(&content)?,
                content,
            },
        };
        let copy = entry.fd.try_clone();
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.remove(0);
        }
        self.entries.push(entry);
        Ok(copy?)
    }
}

/// Reads the first `size` bytes of the memory `fd`, wherever its file position is.
///
/// # Errors
/// If `size` is over [`MAX_SHARED_BYTES`], or the memory is shorter or cannot be read.
pub fn read_memory(fd: impl AsFd, size: u32) -> Result<Vec<u8>, ServiceError> {
    if size > MAX_SHARED_BYTES {
        return Err(ServiceError::TooLarge {
            size: u64::from(size),
            limit: u64::from(MAX_SHARED_BYTES),
        });
    }
    let mut content = vec![0; usize::try_from(size).unwrap_or(0)];
    let mut done = 0;
    while let Some(rest) = content.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = u64::try_from(done).unwrap_or(u64::MAX);
        match rustix::io::pread(&fd, rest, at) {
            Ok(0) => return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
            Ok(count) => done = done.saturating_add(count),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(content: &[u8]) -> OwnedFd {
        let fd = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::io::write(&fd, content).unwrap();
        fd
    }

    #[test]
    fn one_copy_per_content() {
        let mut cache = MemoryCache::new();
        let mut made = 0;
        for content in [b"one".as_slice(), b"two", b"one", b"two"] {
            let fd = cache.get_or_create(content.to_vec(), |content| {
                made += 1;
                Ok(memory(content))
            });
            assert_eq!(read_memory(fd.unwrap(), 3).unwrap(), content);
        }
        assert_eq!(made, 2);
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut cache = MemoryCache::new();
        for number in 0..100_u32 {
            cache
                .get_or_create(number.to_le_bytes().to_vec(), |c| Ok(memory(c)))
                .unwrap();
        }
        assert_eq!(cache.entries.len(), MAX_ENTRIES);
    }

    #[test]
    fn what_is_used_is_kept() {
        let mut cache = MemoryCache::new();
        let mut made = 0;
        for number in 0..50_u32 {
            for content in [u32::MAX, number] {
                let content = content.to_le_bytes().to_vec();
                cache
                    .get_or_create(content, |content| {
                        made += 1;
                        Ok(memory(content))
                    })
                    .unwrap();
            }
        }
        assert_eq!(made, 51);
        let failed = cache.get_or_create(b"new".to_vec(), |_| Err(ServiceError::Refused("full".to_owned())));
        assert!(matches!(failed, Err(ServiceError::Refused(_))));
    }

    #[test]
    fn memory_is_read_from_its_start_and_up_to_a_mebibyte() {
        let mut large = vec![7; 1 << 20];
        large[1000] = 8;
        large.extend(b"more");
        let fd = memory(&large);
        assert!(read_memory(&fd, 1 << 20).unwrap() == large[..1 << 20]);
        assert!(matches!(
            read_memory(&fd, (1 << 20) + 1),
            Err(ServiceError::TooLarge {
                size: 1_048_577,
                limit: 1_048_576
            })
        ));
    }

    #[test]
    fn memory_that_is_too_short_or_too_large() {
        assert!(matches!(read_memory(memory(b"abc"), 4), Err(ServiceError::Io(_))));
        assert!(matches!(
            read_memory(memory(b"abc"), u32::MAX),
            Err(ServiceError::TooLarge { .. })
        ));
        assert_eq!(read_memory(memory(b"abc"), 0).unwrap(), b"");
    }
}
