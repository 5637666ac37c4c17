// SPDX-License-Identifier: MIT OR Apache-2.0
//! What waits for the host to take it.

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use heraldry_wire::descriptors::send;
use rustix::io::Errno;

use crate::limits::{DESCRIPTORS, QUEUED};

/// Bytes that small messages share.
const SHARED: usize = 16 << 10;

#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    sent: usize,
    descriptors: Vec<OwnedFd>,
}

/// Messages in their order.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    pieces: VecDeque<Piece>,
    bytes: usize,
    descriptors: usize,
}

impl SendQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes that wait.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many pieces they are kept in.
    #[cfg(test)]
    pub(crate) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Descriptors that wait.
    pub(crate) const fn descriptors(&self) -> usize {
        self.descriptors
    }

    /// Adds a message, unless too much waits already. Small ones share a piece, so that a queue costs what its bytes cost.
    pub(crate) fn add(&mut self, bytes: &[u8], descriptors: Vec<OwnedFd>) -> bool {
        let total = self.bytes.saturating_add(bytes.len());
        // Descriptors need a byte to travel with; the message is of no use without them.
        if total > QUEUED || bytes.is_empty() {
            return bytes.is_empty() && descriptors.is_empty();
        }
        let held = self.descriptors.saturating_add(descriptors.len());
        if held > DESCRIPTORS {
            return false;
        }
        (self.bytes, self.descriptors) = (total, held);
        match self.pieces.back_mut() {
            Some(last) if descriptors.is_empty() && last.bytes.len() < SHARED => {
                last.bytes.extend_from_slice(bytes);
            }
            _ => self.pieces.push_back(Piece {
                bytes: bytes.to_vec(),
                sent: 0,
                descriptors,
            }),
        }
        true
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Sends what is taken now.
    pub(crate) fn flush(&mut self, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        while let Some(piece) = self.pieces.front_mut() {
            let rest = piece.bytes.get(piece.sent..).unwrap_or_default();
            let descriptors: Vec<_> = piece.descriptors.iter().map(|fd| fd.as_fd()).collect();
            let sent = match send(socket, rest, &descriptors) {
                Ok(sent) => sent,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(errno) => return Err(errno),
            };
            self.descriptors = self.descriptors.saturating_sub(piece.descriptors.len());
            piece.descriptors.clear();
            piece.sent = piece.sent.saturating_add(sent);
            self.bytes = self.bytes.saturating_sub(sent);
            if piece.sent >= piece.bytes.len() {
                self.pieces.pop_front();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_is_not_taken_waits_in_order_and_is_bounded() {
        let (own, mut far) = UnixStream::pair().unwrap();
        let mut send_queue = SendQueue::default();
        let mut added = 0_usize;
        while send_queue.add(&[u8::try_from(added % 251).unwrap(); 3000], Vec::new()) {
            added += 1;
            send_queue.flush(own.as_fd()).unwrap();
        }
        assert!(!send_queue.is_empty() && send_queue.bytes <= QUEUED);
        let mut got = vec![0; 3000];
        for number in 0..added {
            far.read_exact(&mut got).unwrap();
            assert!(
                got.iter().all(|byte| usize::from(*byte) == number % 251),
                "{number}"
            );
            send_queue.flush(own.as_fd()).unwrap();
        }
        assert!(send_queue.is_empty() && send_queue.bytes == 0);
        drop(far);
        assert!(send_queue.add(b"x", Vec::new()) && send_queue.add(b"", Vec::new()));
        assert_eq!(send_queue.flush(own.as_fd()), Err(Errno::PIPE));
    }
}
