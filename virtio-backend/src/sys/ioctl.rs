// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ioctls of the virtio_wl driver, as seen by a program in the guest.

use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::io::Errno;

use super::last_errno;
use crate::uapi::{IOCTL_NEW, IOCTL_RECV, IOCTL_SEND, NewRequest, TXN_HEADER, TxnHeader};

/// Makes a vfd on `device`.
pub(crate) fn new_vfd(device: BorrowedFd<'_>, request: &NewRequest) -> Result<OwnedFd, Errno> {
    let mut request = *request;
    // SAFETY: the pointer is to a live structure of the 48 bytes that the size field of this ioctl announces.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), IOCTL_NEW.into(), &raw mut request) };
    if result < 0 {
        return Err(last_errno());
    }
    own(request.fd).ok_or(Errno::NOTTY)
}

/// Sends a transaction: a header of 116 bytes and data.
pub(crate) fn send(vfd: BorrowedFd<'_>, txn: &mut [u8]) -> Result<(), Errno> {
    if header(txn)?.len as usize != txn.len() - TXN_HEADER {
        return Err(Errno::INVAL);
    }
    // SAFETY: the buffer has a whole header, and as many bytes after it as the header's length says.
    let result = unsafe { libc::ioctl(vfd.as_raw_fd(), IOCTL_SEND.into(), txn.as_mut_ptr()) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Receives into a transaction buffer: a header of 116 bytes and room. The header's length is set from the room, which
/// may not be 0: the driver hangs on that. Returns the number of bytes and hands each descriptor to `take`.
pub(crate) fn recv(
    vfd: BorrowedFd<'_>,
    txn: &mut [u8],
    mut take: impl FnMut(OwnedFd),
) -> Result<usize, Errno> {
    let room = txn
        .len()
        .checked_sub(TXN_HEADER)
        .filter(|room| *room > 0)
        .ok_or(Errno::INVAL)?;
    let room = u32::try_from(room).unwrap_or(u32::MAX);
    let empty = TxnHeader {
        len: room,
        ..TxnHeader::empty()
    };
    let (head, _) = txn.split_first_chunk_mut::<TXN_HEADER>().ok_or(Errno::INVAL)?;
    *head = empty.to_bytes();
    // SAFETY: the buffer has a whole header, and at least as many bytes after it as the header's length says.
    let result = unsafe { libc::ioctl(vfd.as_raw_fd(), IOCTL_RECV.into(), txn.as_mut_ptr()) };
    if result < 0 {
        return Err(last_errno());
    }
    let header = header(txn)?;
    header.fds.iter().filter_map(|fd| own(*fd)).for_each(&mut take);
    Ok((header.len as usize).min(room as usize))
}

fn header(txn: &[u8]) -> Result<TxnHeader, Errno> {
    txn.first_chunk::<TXN_HEADER>()
        .map(TxnHeader::from_bytes)
        .ok_or(Errno::INVAL)
}

/// Takes over a descriptor that the driver has just made for this process.
fn own(fd: i32) -> Option<OwnedFd> {
    if fd < 0 {
        return None;
    }
    // SAFETY: the driver made the descriptor for this call, so that nothing else in the process knows it.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}
