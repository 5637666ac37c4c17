// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that was made for the guest. It counts until nobody has it any more: a guest may send a piece to the host and give up its
//! own number of it, and who has it then, in a queue that nobody reads for instance, keeps it.
//!
//! The kernel says when the last descriptor and mapping of a piece is gone.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use crate::limits::{MEMORY, PIECES_MADE};
use crate::memory;

/// The account of a VM, over all boots of its guest.
#[derive(Debug, Default)]
pub struct Account {
    inotify: Option<OwnedFd>,
    /// The size of each piece that somebody has, by its watch.
    pieces: BTreeMap<i32, u64>,
    used: u64,
}

impl Account {
    /// Bytes that somebody has.
    pub(crate) fn used(&mut self) -> u64 {
        let Some(inotify) = &self.inotify else {
            return self.used;
        };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(inotify, &mut buffer);
        while let Ok(event) = reader.next() {
            // A second event says that the watch is gone too.
            if let Some(size) = self.pieces.remove(&event.wd()) {
                self.used = self.used.saturating_sub(size);
            }
        }
        self.used
    }

    /// Whether there may be so many bytes more.
    pub(crate) fn has_room(&mut self, size: u64) -> bool {
        self.used().saturating_add(size) <= MEMORY && self.pieces.len() < PIECES_MADE
    }

    /// Makes a piece, of whole pages, and counts it. Whether there is room is the caller's question.
    ///
    /// # Errors
    ///
    /// The system has no memory, descriptors or watches left.
    pub(crate) fn make(&mut self, size: u64) -> Result<OwnedFd, Errno> {
        let inotify = match self.inotify.take() {
            Some(inotify) => inotify,
            None => inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
        };
        let inotify = self.inotify.insert(inotify);
        let file = memory::make(size)?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let watch = inotify::add_watch(&*inotify, path, WatchFlags::DELETE_SELF)?;
        self.pieces.insert(watch, size);
        self.used = self.used.saturating_add(size);
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::fcntl_dupfd_cloexec;

    use super::*;

    #[test]
    fn a_piece_counts_until_nobody_has_it() {
        let mut account = Account::default();
        let first = account.make(8192).unwrap();
        let second = account.make(4096).unwrap();
        let again = fcntl_dupfd_cloexec(&first, 0).unwrap();
        drop((first, second));
        assert_eq!(account.used(), 8192);
        assert!(account.has_room(MEMORY - 8192) && !account.has_room(MEMORY));
        drop(again);
        assert_eq!(account.used(), 0);
    }

    #[test]
    fn pieces_have_an_end_in_number_too() {
        let mut account = Account::default();
        let mut pieces: Vec<OwnedFd> = (0..10).map(|_| account.make(4096).unwrap()).collect();
        account
            .pieces
            .extend((1_000..).map(|watch| (watch, 0)).take(PIECES_MADE - 10));
        assert!(!account.has_room(4096));
        pieces.clear();
        assert!(account.has_room(4096));
    }
}
