// SPDX-License-Identifier: MIT OR Apache-2.0
//! A mapping that is never there.
#![expect(unsafe_code, reason = "what a writer gets stuck in is a page of memory")]

use std::os::fd::OwnedFd;
use std::ptr::null_mut;

use rustix::mm::{MapFlags, ProtFlags, mmap};

/// Maps a file of one page for good. Whoever reads the page waits for the file's server.
pub(super) fn map(file: OwnedFd) -> Result<&'static [u8], String> {
    const LEN: usize = 4096;
    // SAFETY: the address is the kernel's choice, so that no existing mapping changes.
    let at = unsafe { mmap(null_mut(), LEN, ProtFlags::READ, MapFlags::PRIVATE, &file, 0) };
    let at = at.map_err(|error| format!("a mapping: {error}"))?;
    // Closing it would wait for the server too.
    super::keep(file);
    // SAFETY: the mapping has LEN bytes, is never unmapped, and nobody writes to the file.
    Ok(unsafe { std::slice::from_raw_parts(at.cast(), LEN) })
}
