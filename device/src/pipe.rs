// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writing to a stranger's pipe without waiting.
//!
//! Whether a pipe waits is a flag that all its holders share, so it is not ours to set; and room that poll(2) saw may be gone
//! when write(2) comes, because others write too. Between two pipes the kernel moves bytes without waiting, whatever their
//! flags are. So bytes go through a pipe of our own.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};

/// Bytes at a time: they always fit into an empty pipe.
const CHUNK: usize = 4096;

/// A pipe of our own, which is empty between two calls.
#[derive(Debug)]
pub struct Writer {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Writer {
    /// Makes the pipe.
    ///
    /// # Errors
    ///
    /// Those of pipe2.
    pub fn new() -> Result<Self, Errno> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { reader, writer })
    }

    /// Writes some of these bytes, and says how many.
    ///
    /// # Errors
    ///
    /// [`Errno::AGAIN`] if there is no room now, [`Errno::PIPE`] if nobody reads.
    pub fn write(&self, pipe: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
        let bytes = bytes.get(..CHUNK).unwrap_or(bytes);
        let taken = rustix::io::write(&self.writer, bytes)?;
        let moved = splice(&self.reader, None, pipe, None, taken, SpliceFlags::NONBLOCK);
        let mut left = taken.saturating_sub(*moved.as_ref().unwrap_or(&0));
        let mut rest = [0; CHUNK];
        while left > 0 {
            // Our own pipe, which has them.
            left = left.saturating_sub(rustix::io::read(&self.reader, &mut rest)?.max(1));
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn a_full_pipe_is_not_waited_for_and_nothing_is_lost() {
        // It would wait.
        let (reader, pipe) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let writer = Writer::new().unwrap();
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(200_000).collect();
        let (mut sent, mut got, mut full) = (0, Vec::new(), 0);
        while sent < bytes.len() {
            match writer.write(pipe.as_fd(), &bytes[sent..]) {
                Ok(count) => sent += count,
                Err(Errno::AGAIN) => {
                    full += 1;
                    let mut some = [0; 10_000];
                    let count = rustix::io::read(&reader, &mut some).unwrap();
                    got.extend_from_slice(&some[..count]);
                }
                Err(errno) => panic!("{errno}"),
            }
        }
        drop(pipe);
        let mut rest = [0; 10_000];
        while let count @ 1.. = rustix::io::read(&reader, &mut rest).unwrap() {
            got.extend_from_slice(&rest[..count]);
        }
        assert!(full > 0 && got == bytes);
    }

    #[test]
    fn a_pipe_without_a_reader_says_so() {
        let (reader, pipe) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        drop(reader);
        let writer = Writer::new().unwrap();
        for _again in 0..3 {
            assert_eq!(writer.write(pipe.as_fd(), b"x"), Err(Errno::PIPE));
        }
    }
}
