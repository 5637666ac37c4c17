// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pipes that block as crosvm's do, for who wants to see what that costs (`--blocking-pipes`).
//!
//! crosvm writes what the program sends into a pipe by a write(2) that waits while the pipe is full, on the one thread that
//! serves the device (crosvm wl.rs). So with this mode a pipe from the host is not given to the program itself. The program
//! writes into a small one of ours, and the supervisor writes on from there, and waits as crosvm does.

use std::os::fd::{AsFd as _, OwnedFd};

use heraldry_virtio::device::{Import, PipeEnd};
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use super::host::Handle;
use super::supervisor::{COPY, Supervisor};

/// The least that a pipe can hold; the driver's SEND holds nothing, but waits for the device.
const ROOM: usize = 4096;

/// What the program writes, and where it goes.
#[derive(Debug)]
pub(super) struct Copy {
    from: OwnedFd,
    to: OwnedFd,
}

impl Supervisor {
    /// What the program gets of an import: as it is, unless it is a pipe to write into.
    pub(super) fn behind_the_device(&mut self, import: Import<Handle>) -> Import<Handle> {
        match import {
            Import::Pipe {
                handle,
                end: PipeEnd::Write,
            } if self.blocking_pipes => {
                self.copy_to(&handle)
                    .map_or(Import::Refused, |handle| Import::Pipe {
                        handle,
                        end: PipeEnd::Write,
                    })
            }
            other => other,
        }
    }

    fn copy_to(&mut self, handle: &Handle) -> Result<Handle, Errno> {
        let Handle::Guest(cell) = handle else {
            return Err(Errno::BADF);
        };
        let to = cell.take().ok_or(Errno::BADF)?;
        let (from, program) = pipe_with(PipeFlags::CLOEXEC)?;
        fcntl_setpipe_size(&program, ROOM)?;
        let serial = self.serial();
        let data = epoll::EventData::new_u64(COPY | serial);
        epoll::add(&self.epoll, &from, data, epoll::EventFlags::IN)?;
        self.copies.insert(serial, Copy { from, to });
        Ok(Handle::guest(program))
    }

    /// Writes on what the program wrote, however long that takes.
    pub(super) fn copy(&mut self, serial: u64) {
        let Some(copy) = self.copies.get(&serial) else {
            return;
        };
        let mut data = [0; ROOM];
        let goes_on = match rustix::io::read(&copy.from, &mut data) {
            Ok(0) => false,
            Ok(count) => {
                let mut rest = data.get(..count).unwrap_or_default();
                while !rest.is_empty() {
                    match rustix::io::write(&copy.to, rest) {
                        Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                        Err(Errno::INTR) => {}
                        Err(_) => break,
                    }
                }
                rest.is_empty()
            }
            Err(errno) => errno == Errno::INTR,
        };
        if !goes_on && let Some(copy) = self.copies.remove(&serial) {
            // It goes with its last descriptor, if not here.
            let _gone = epoll::delete(&self.epoll, copy.from.as_fd());
        }
    }
}
