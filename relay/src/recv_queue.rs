// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a client has sent and its gate has not consumed.
//!
//! The device has one set of buffers for the unread messages of all VMs, so a connection is always read, whether its VM
//! may go on or not, and what must wait waits here. It is bounded because the host sends no more than
//! [`WINDOW_BYTES`] and [`WINDOW_FDS`] beyond what it was told to be consumed.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use heraldry_wire::display::{WINDOW_BYTES, WINDOW_FDS};

/// Small messages share a piece up to this size, so that what waits costs what its bytes cost.
const PIECE: usize = 4096;
/// Part of the window after which the host is told.
const TOLD: u64 = 4;

/// What came at once: descriptors, and bytes that may have come later.
#[derive(Debug, Default)]
struct Piece {
    bytes: Vec<u8>,
    taken: usize,
    fds: VecDeque<OwnedFd>,
}

/// Bytes and descriptors since the connection began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) bytes: u64,
    pub(crate) fds: u64,
}

impl Sum {
    fn add(&mut self, bytes: usize, fds: usize) {
        let count = |n| u64::try_from(n).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(count(bytes));
        self.fds = self.fds.saturating_add(count(fds));
    }

    fn is_beyond(&self, earlier: Self, bytes: u64, fds: u64) -> bool {
        self.bytes.saturating_sub(earlier.bytes) > bytes || self.fds.saturating_sub(earlier.fds) > fds
    }
}

/// The queue of one client.
#[derive(Debug, Default)]
pub(crate) struct RecvQueue {
    pieces: VecDeque<Piece>,
    received: Sum,
    consumed: Sum,
    told: Sum,
}

impl RecvQueue {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Takes in what was received. False if it is more than a host that keeps to the window sends: twice of it, because
    /// a host that was restarted may have taken an old sum for one of a new connection.
    pub(crate) fn add(&mut self, bytes: Vec<u8>, fds: VecDeque<OwnedFd>) -> bool {
        self.received.add(bytes.len(), fds.len());
        match self.pieces.back_mut() {
            Some(last) if fds.is_empty() && last.bytes.len().saturating_add(bytes.len()) <= PIECE => {
                last.bytes.extend(bytes);
            }
            _ if bytes.is_empty() && fds.is_empty() => {}
            _ => self.pieces.push_back(Piece { bytes, taken: 0, fds }),
        }
        !self
            .received
            .is_beyond(self.consumed, 2 * WINDOW_BYTES, 2 * WINDOW_FDS)
    }

    /// What comes next, at most `most` bytes of it: it is consumed with this. Its descriptors came before its end.
    pub(crate) fn next(&mut self, most: usize) -> Option<(Vec<u8>, VecDeque<OwnedFd>)> {
        let piece = self.pieces.front_mut()?;
        let fds = std::mem::take(&mut piece.fds);
        let bytes = if piece.taken == 0 && piece.bytes.len() <= most {
            std::mem::take(&mut piece.bytes)
        } else {
            let end = piece.bytes.len().min(piece.taken.saturating_add(most));
            let part = piece.bytes.get(piece.taken..end).unwrap_or_default().to_vec();
            piece.taken = end;
            part
        };
        if piece.taken >= piece.bytes.len() {
            self.pieces.pop_front();
        }
        self.consumed.add(bytes.len(), fds.len());
        Some((bytes, fds))
    }

    /// What the host is to be told, once it is worth a message.
    pub(crate) fn news(&mut self) -> Option<Sum> {
        self.consumed
            .is_beyond(self.told, WINDOW_BYTES / TOLD, WINDOW_FDS / TOLD)
            .then(|| self.sum())
    }

    /// The same now, whether it is worth it or not.
    pub(crate) fn sum(&mut self) -> Sum {
        self.told = self.consumed;
        self.told
    }

    /// The client is gone; nobody asks for what waits.
    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fd() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn what_comes_out_is_what_went_in_and_in_its_order() {
        let mut queue = RecvQueue::default();
        assert!(queue.add(vec![1, 2, 3], VecDeque::new()));
        assert!(queue.add(vec![4], VecDeque::new()));
        assert!(queue.add(vec![5, 6], VecDeque::from([fd()])));
        assert!(queue.add(Vec::new(), VecDeque::from([fd(), fd()])));
        assert!(queue.add(vec![7], VecDeque::new()));
        let mut got = Vec::new();
        while let Some((bytes, fds)) = queue.next(2) {
            got.push((bytes, fds.len()));
        }
        let expected = [(vec![1, 2], 0), (vec![3, 4], 0), (vec![5, 6], 1), (vec![7], 2)];
        assert_eq!(got, expected);
        assert!(queue.is_empty());
    }

    #[test]
    fn the_host_is_told_before_its_window_is_used_up_and_not_for_every_message() {
        let mut queue = RecvQueue::default();
        let (mut in_flight, mut told) = (0, 0);
        for _ in 0..10_000 {
            // A message of 28 descriptors must fit beside what the host was not told of yet.
            assert!(in_flight < WINDOW_BYTES - 100);
            assert!(queue.add(vec![0; 100], VecDeque::new()));
            in_flight += 100;
            while queue.next(usize::MAX).is_some() {}
            if queue.news().is_some() {
                in_flight = 0;
                told += 1;
            }
        }
        assert!(told < 100, "{told} messages for a megabyte");
        for _ in 0..=WINDOW_FDS / TOLD {
            assert_eq!(queue.news(), None);
            assert!(queue.add(Vec::new(), VecDeque::from([fd()])));
            while queue.next(usize::MAX).is_some() {}
        }
        assert!(queue.news().is_some());
    }

    #[test]
    fn a_host_that_does_not_keep_to_the_window_is_noticed() {
        let mut queue = RecvQueue::default();
        let window = usize::try_from(WINDOW_BYTES).unwrap();
        assert!(queue.add(vec![0; 2 * window], VecDeque::new()));
        assert!(!queue.add(vec![0], VecDeque::new()));
        let mut queue = RecvQueue::default();
        for _ in 0..2 * WINDOW_FDS {
            assert!(queue.add(vec![0], VecDeque::from([fd()])));
        }
        assert!(!queue.add(vec![0], VecDeque::from([fd()])));
    }
}
