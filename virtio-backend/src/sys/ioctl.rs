// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ioctls of the virtio_wl driver, as seen by a program in the guest.

use std::ffi::{c_ulong, c_void};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::{Argument, ioctl, own};
use crate::uapi::{IOCTL_NEW, IOCTL_RECV, IOCTL_SEND, NewRequest, TXN_HEADER, TxnHeader};

// SAFETY: the structure has the 48 bytes that the size field of this ioctl announces, and points nowhere.
unsafe impl Argument for NewRequest {
    const NUMBER: c_ulong = IOCTL_NEW as c_ulong;
}

/// A header, and at least as many bytes after it as the header's length says; sent or received.
struct Transaction<'a, const NUMBER: u32>(&'a mut [u8]);

// SAFETY: these ioctls read or write the header and as many bytes after it as its length says, which `new` has looked at;
// nothing else can be made of the number.
unsafe impl<const NUMBER: u32> Argument for Transaction<'_, NUMBER> {
    const NUMBER: c_ulong = NUMBER as c_ulong;

    fn address(&mut self) -> *mut c_void {
        self.0.as_mut_ptr().cast()
    }
}

type Send<'a> = Transaction<'a, IOCTL_SEND>;
type Recv<'a> = Transaction<'a, IOCTL_RECV>;

impl<'a, const NUMBER: u32> Transaction<'a, NUMBER> {
    fn new(bytes: &'a mut [u8]) -> Result<Self, Errno> {
        const { assert!(NUMBER == IOCTL_SEND || NUMBER == IOCTL_RECV) };
        let len = header(bytes)?.len as usize;
        if len > bytes.len() - TXN_HEADER {
            return Err(Errno::INVAL);
        }
        Ok(Self(bytes))
    }
}

/// Makes a vfd on `device`.
pub(crate) fn new_vfd(device: BorrowedFd<'_>, request: &NewRequest) -> Result<OwnedFd, Errno> {
    let mut request = *request;
    ioctl(device, &mut request)?;
    own(request.fd).ok_or(Errno::NOTTY)
}

/// Sends a transaction: a header of 116 bytes and data.
pub(crate) fn send(vfd: BorrowedFd<'_>, txn: &mut [u8]) -> Result<(), Errno> {
    if header(txn)?.len as usize != txn.len() - TXN_HEADER {
        return Err(Errno::INVAL);
    }
    ioctl(vfd, &mut Send::new(txn)?)
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
    ioctl(vfd, &mut Recv::new(txn)?)?;
    let header = header(txn)?;
    header.fds.iter().filter_map(|fd| own(*fd)).for_each(&mut take);
    Ok((header.len as usize).min(room as usize))
}

fn header(txn: &[u8]) -> Result<TxnHeader, Errno> {
    txn.first_chunk::<TXN_HEADER>()
        .map(TxnHeader::from_bytes)
        .ok_or(Errno::INVAL)
}
