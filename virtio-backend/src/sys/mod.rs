// SPDX-License-Identifier: MIT OR Apache-2.0
//! The only unsafe code: calls of the kernel that no safe crate offers.
//!
//! Each function here is safe to call with any argument. Why it is unsafe inside is said at each block; a change in
//! this folder wants a second reader.
#![expect(
    unsafe_code,
    reason = "the one place for system calls without a safe wrapper; see the module text"
)]

pub(crate) mod drm;
pub(crate) mod ioctl;
pub(crate) mod mapping;

use rustix::io::Errno;

/// The error of the libc call that just failed.
fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
