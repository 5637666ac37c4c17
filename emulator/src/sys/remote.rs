// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory of another process.

use std::mem::MaybeUninit;

use rustix::io::Errno;

use super::last_errno;

/// Reads up to `into.len()` bytes at `address` of thread `tid`. Fewer come when the rest is not mapped.
pub(crate) fn read(tid: u32, address: u64, into: &mut [u8]) -> Result<usize, Errno> {
    let local = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let remote = remote(address, into.len())?;
    // SAFETY: the local range is a live, exclusive slice; the remote one is not of this process.
    let count = unsafe { libc::process_vm_readv(pid(tid)?, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(count).map_err(|_negative| last_errno())
}

/// Writes `from` to `address` of thread `tid`; all or an error.
pub(crate) fn write(tid: u32, address: u64, from: &[u8]) -> Result<(), Errno> {
    let local = libc::iovec {
        iov_base: from.as_ptr().cast_mut().cast(),
        iov_len: from.len(),
    };
    let remote = remote(address, from.len())?;
    // SAFETY: the local range is a live slice, which is only read; the remote one is not of this process.
    let count = unsafe { libc::process_vm_writev(pid(tid)?, &raw const local, 1, &raw const remote, 1, 0) };
    match usize::try_from(count) {
        Ok(count) if count == from.len() => Ok(()),
        Ok(_) => Err(Errno::FAULT),
        Err(_negative) => Err(last_errno()),
    }
}

fn pid(tid: u32) -> Result<i32, Errno> {
    i32::try_from(tid).map_err(|_too_large| Errno::SRCH)
}

fn remote(address: u64, len: usize) -> Result<libc::iovec, Errno> {
    let address = usize::try_from(address).map_err(|_too_large| Errno::FAULT)?;
    Ok(libc::iovec {
        iov_base: std::ptr::without_provenance_mut(address),
        iov_len: len,
    })
}

/// An all-zero `struct stat`.
pub(crate) fn zero_stat() -> libc::stat {
    // SAFETY: every field is an integer, for which zero is a value.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// An all-zero `struct statx`.
pub(crate) fn zero_statx() -> libc::statx {
    // SAFETY: every field is an integer, for which zero is a value.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// The bytes of a structure of the kernel's interface that has no implicit padding.
pub(crate) fn stat_bytes(stat: &libc::stat) -> &[u8] {
    // SAFETY: the structure came from `zero_stat`, so that every byte of it is initialised.
    unsafe { std::slice::from_raw_parts((&raw const *stat).cast(), size_of::<libc::stat>()) }
}

/// As [`stat_bytes`].
pub(crate) fn statx_bytes(stat: &libc::statx) -> &[u8] {
    // SAFETY: the structure came from `zero_statx`, so that every byte of it is initialised.
    unsafe { std::slice::from_raw_parts((&raw const *stat).cast(), size_of::<libc::statx>()) }
}
