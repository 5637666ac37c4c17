// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames that wait for the channel.

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::io::Errno;

use crate::frame::Frame;
use crate::{CHUNK, Carrier, QUEUED};

#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

/// Frames in their order.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    pieces: VecDeque<Piece>,
    bytes: usize,
}

impl SendQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether more is welcome.
    pub(crate) const fn has_room(&self) -> bool {
        self.bytes < QUEUED
    }

    /// Whether no more waits than there may: a batch of full frames, and small ones.
    #[cfg(test)]
    pub(crate) fn is_bounded(&self) -> bool {
        self.bytes < 2 * QUEUED && self.pieces.len() <= 2 * QUEUED / CHUNK
    }

    /// Adds a frame, whose descriptors must come with its first byte. Small frames share a piece.
    pub(crate) fn add(&mut self, frame: Frame<OwnedFd>) {
        let bytes = frame.encode();
        self.bytes = self.bytes.saturating_add(bytes.len());
        let fds = if let Frame::Data(_, _, fds) = frame {
            fds
        } else {
            Vec::new()
        };
        match self.pieces.back_mut() {
            Some(last) if fds.is_empty() && last.bytes.len() < CHUNK => last.bytes.extend(bytes),
            _ => self.pieces.push_back(Piece { bytes, sent: 0, fds }),
        }
    }

    /// Sends what is taken now.
    pub(crate) fn flush(&mut self, carrier: &mut impl Carrier) -> Result<(), Errno> {
        while let Some(piece) = self.pieces.front_mut() {
            let fds: Vec<_> = piece.fds.iter().map(|fd| fd.as_fd()).collect();
            let sent = match carrier.send(piece.bytes.get(piece.sent..).unwrap_or_default(), &fds) {
                Ok(sent) => sent,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(errno) => return Err(errno),
            };
            piece.fds.clear();
            piece.sent = piece.sent.saturating_add(sent);
            self.bytes = self.bytes.saturating_sub(sent);
            if piece.sent >= piece.bytes.len() {
                self.pieces.pop_front();
            }
        }
        Ok(())
    }
}
