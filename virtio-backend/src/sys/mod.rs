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

use std::ffi::{c_ulong, c_void};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::ptr::from_mut;

use rustix::io::Errno;

/// What an ioctl reads and writes.
///
/// # Safety
///
/// `NUMBER` is an ioctl that reads and writes only what lies at `address` and belongs to this value, and what that points to.
unsafe trait Argument {
    /// The number of the ioctl.
    const NUMBER: c_ulong;

    /// Where it lies: of a structure, its own address.
    fn address(&mut self) -> *mut c_void {
        from_mut(self).cast()
    }
}

fn ioctl<T: Argument>(device: BorrowedFd<'_>, argument: &mut T) -> Result<(), Errno> {
    // SAFETY: the argument is alive, this call's alone, and of the kind and size that the number announces.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), T::NUMBER, argument.address()) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Takes over a descriptor that a driver has written as an answer to an ioctl, if it is one.
fn own(fd: RawFd) -> Option<OwnedFd> {
    if fd < 0 {
        return None;
    }
    // SAFETY: the driver made the descriptor for that call, so that nothing else in the process knows it.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The error of the libc call that just failed.
fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
