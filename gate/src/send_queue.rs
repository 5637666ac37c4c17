// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whole messages on their way out, with their descriptors.
//!
//! The rule of the receivers: descriptors come with the first byte of the sendmsg that they were sent with, at most 28
//! of them, and must be there when the message that takes them is. So each descriptor is kept with the position of its
//! message, and is sent with the chunk that holds the first byte of it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The most descriptors that go with one sendmsg.
pub const MAX_DESCRIPTORS_PER_SEND: usize = 28;

/// Messages that wait to be sent.
#[derive(Debug, Default)]
pub struct SendQueue {
    bytes: Vec<u8>,
    /// Bytes at the start of `bytes` that are sent.
    sent: usize,
    /// Descriptors with the position in `bytes` of the message that takes them.
    fds: VecDeque<(usize, OwnedFd)>,
}

/// What one sendmsg should carry.
#[derive(Debug)]
pub struct Chunk<'a> {
    /// The bytes; never empty.
    pub bytes: &'a [u8],
    /// The descriptors, at most 28.
    pub fds: Vec<BorrowedFd<'a>>,
}

impl SendQueue {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.sent)
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Descriptors that wait.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.fds.len()
    }

    /// What the next sendmsg should carry, of at most `max_bytes` (and at least one); `None` if nothing waits.
    ///
    /// A chunk without descriptors needs no control message, and its vector is not allocated.
    #[must_use]
    pub fn chunk(&self, max_bytes: usize) -> Option<Chunk<'_>> {
        let mut end = self.sent.saturating_add(max_bytes.max(1)).min(self.bytes.len());
        // The message of the 29th descriptor starts a chunk of its own.
        if let Some((position, _)) = self.fds.get(MAX_DESCRIPTORS_PER_SEND) {
            end = end.min((*position).max(self.sent.saturating_add(1)));
        }
        let bytes = self.bytes.get(self.sent..end).filter(|bytes| !bytes.is_empty())?;
        let due = self
            .fds
            .iter()
            .take(MAX_DESCRIPTORS_PER_SEND)
            .take_while(|(position, _)| *position < end);
        Some(Chunk {
            bytes,
            fds: due.map(|(_, fd)| fd.as_fd()).collect(),
        })
    }

    /// Sends one chunk of at most `max_bytes` with `send`, which says how many bytes were taken. If that is at least one,
    /// the chunk's descriptors went with them and are closed here. Returns what was taken; 0 if nothing waits.
    ///
    /// # Errors
    /// What `send` fails with; nothing is sent then.
    pub fn send<E>(
        &mut self,
        max_bytes: usize,
        send: impl FnOnce(&Chunk<'_>) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let Some(chunk) = self.chunk(max_bytes) else {
            return Ok(0);
        };
        let taken = send(&chunk)?.min(chunk.bytes.len());
        let due = chunk.fds.len();
        if taken > 0 {
            self.fds.drain(..due);
            self.advance(taken);
        }
        Ok(taken)
    }

    /// Forgets bytes that are sent.
    fn advance(&mut self, taken: usize) {
        self.sent = self.sent.saturating_add(taken);
        if self.sent >= self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        } else if self.sent > 64 << 10 {
            self.bytes.drain(..self.sent);
            for (position, _) in &mut self.fds {
                *position = position.saturating_sub(self.sent);
            }
            self.sent = 0;
        }
    }

    /// Appends a whole message.
    pub(crate) fn message(&mut self, bytes: &[u8]) -> usize {
        let position = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        position
    }

    /// Replaces the word at byte `offset` of the message at `position`.
    pub(crate) fn patch(&mut self, position: usize, offset: usize, word: u32) {
        let at = position.saturating_add(offset);
        if let Some(slot) = self.bytes.get_mut(at..at.saturating_add(4)) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
    }

    /// Adds a descriptor of the message at `position`.
    pub(crate) fn descriptor(&mut self, position: usize, fd: OwnedFd) {
        self.fds.push_back((position, fd));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message that says its number in every word.
    fn numbered(number: u32, words: usize) -> Vec<u8> {
        number.to_le_bytes().repeat(words)
    }

    fn pipe() -> OwnedFd {
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .unwrap()
            .0
    }

    #[test]
    fn nothing_is_said() {
        let mut out = SendQueue::new();
        assert!((out.is_empty(), out.len(), out.descriptors()) == (true, 0, 0) && out.chunk(9).is_none());
        assert_eq!(out.send(9, |_| Err("not called")), Ok(0));
        out.message(b"abcdefgh");
        out.patch(0, 4, 0x3130_3130);
        assert_eq!((out.is_empty(), out.len()), (false, 8));
        // At least a byte, and no more than asked for.
        assert_eq!(out.chunk(0).unwrap().bytes, b"a");
        assert_eq!(out.chunk(5).unwrap().bytes, b"abcd0");
        assert_eq!(out.send(9, |_| Err::<usize, _>("full")), Err("full"));
        assert_eq!(out.send(9, |_| Ok::<_, ()>(0)), Ok(0));
        assert_eq!((out.len(), out.send(9, |_| Ok::<_, ()>(3))), (8, Ok(3)));
        // Nobody takes more than there is.
        assert_eq!((out.len(), out.send(9, |_| Ok::<_, ()>(99))), (5, Ok(5)));
        assert!(out.is_empty());
        // A descriptor comes with the first byte of its message, and not before.
        out.message(b"abcd");
        let position = out.message(b"efgh");
        out.descriptor(position, pipe());
        let descriptors = [4, 5].map(|bytes| out.chunk(bytes).unwrap().fds.len());
        assert_eq!(descriptors, [0, 1]);
        // Where nothing was taken, it has not gone.
        assert_eq!(out.send(9, |_| Ok::<_, ()>(0)), Ok(0));
        assert_eq!(out.descriptors(), 1);
    }

    #[test]
    fn what_is_sent_is_forgotten_and_descriptors_stay_with_their_message() {
        const WORDS: usize = 256;
        let (mut out, mut next, mut read) = (SendQueue::new(), 0_u32, Vec::new());
        let mut descriptors = Vec::new();
        for round in 0..4000 {
            // A receiver that is always a hundred messages behind, and reads in odd pieces.
            if round < 3000 {
                let position = out.message(&numbered(next, WORDS));
                out.patch(position, 4, u32::MAX);
                if next.is_multiple_of(10) {
                    out.descriptor(position, pipe());
                }
                next += 1;
            }
            if round >= 100 {
                let before = read.len();
                out.send(1021, |chunk| {
                    read.extend_from_slice(chunk.bytes);
                    descriptors.extend(chunk.fds.iter().map(|_| before..read.len()));
                    Ok::<_, ()>(chunk.bytes.len())
                })
                .unwrap();
            }
            assert!(out.bytes.len() < 256 << 10, "{}", out.bytes.len());
        }
        let (chunks, rest) = read.as_chunks::<{ WORDS * 4 }>();
        assert_eq!((chunks.len(), rest.len(), out.len()), (3000, 0, 0));
        for (number, message) in (0_u32..).zip(chunks) {
            let mut expected = numbered(number, WORDS);
            expected[4..8].fill(0xff);
            assert_eq!(message, expected.as_slice(), "{number}");
        }
        assert_eq!(descriptors.len(), 300);
        for (number, bytes) in descriptors.iter().enumerate() {
            assert!(
                bytes.contains(&(number * 10 * WORDS * 4)),
                "{number} came with {bytes:?}"
            );
        }
    }
}
