// SPDX-License-Identifier: MIT OR Apache-2.0
//! The user interface of the guest's virtio_wl driver.
//!
//! Facts are those of the virtio_wl driver (`include/uapi/linux/virtwl.h`, `drivers/virtio/virtio_wl.c` of
//! ChromiumOS kernels) unless a line names another source. Numbers are the same on every architecture with the
//! generic ioctl layout.

use std::mem::{offset_of, size_of};

use heraldry_wire::virtwl::{MAX_FDS, NAME_LEN};
use rustix::io::Errno;

/// One past the largest id that the driver gives to a vfd made by the guest (`VIRTWL_MAX_ALLOC`).
pub const GUEST_ID_END: u32 = 0x800;

/// `VIRTWL_IOCTL_NEW`, on the device.
pub const IOCTL_NEW: u32 = 0xC030_7700;
/// `VIRTWL_IOCTL_NEW` with the 16-byte structure of the first ABI; still accepted.
pub const IOCTL_NEW_V1: u32 = 0xC010_7700;
/// `VIRTWL_IOCTL_SEND`, on a vfd. The direction bits look swapped; they are part of the number.
pub const IOCTL_SEND: u32 = 0x8074_7701;
/// `VIRTWL_IOCTL_RECV`, on a vfd.
pub const IOCTL_RECV: u32 = 0x4074_7702;
/// `VIRTWL_IOCTL_DMABUF_SYNC`, on a vfd.
pub const IOCTL_DMABUF_SYNC: u32 = 0x8004_7703;

/// Command number of an ioctl word (`_IOC_NR`).
#[must_use]
pub const fn ioctl_nr(word: u32) -> u32 {
    word & 0xff
}

/// Size field of an ioctl word (`_IOC_SIZE`).
#[must_use]
pub const fn ioctl_size(word: u32) -> usize {
    ((word >> 16) & 0x3fff) as usize
}

/// Values of [`NewRequest::kind`].
pub mod new_kind {
    /// The unnamed host socket.
    pub const CTX: u32 = 0;
    /// Host memory of a given size.
    pub const ALLOC: u32 = 1;
    /// A pipe that the guest reads.
    pub const PIPE_READ: u32 = 2;
    /// A pipe that the guest writes.
    pub const PIPE_WRITE: u32 = 3;
    /// A buffer of the host's GPU.
    pub const DMABUF: u32 = 4;
    /// A named host socket (since December 2019).
    pub const CTX_NAMED: u32 = 5;
}

/// `struct virtwl_ioctl_new`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct NewRequest {
    /// One of [`new_kind`].
    pub kind: u32,
    /// Out: the new descriptor; preset to -1.
    pub fd: i32,
    /// Always 0; the driver does not look at it.
    pub flags: u32,
    /// The union: a size, a name or the dmabuf fields.
    pub body: [u8; 36],
}

impl NewRequest {
    /// A request of `kind` with an empty body.
    #[must_use]
    pub const fn new(kind: u32) -> Self {
        Self {
            kind,
            fd: -1,
            flags: 0,
            body: [0; 36],
        }
    }

    /// The request with `size` in its body (ALLOC).
    #[must_use]
    pub fn with_size(mut self, size: u32) -> Self {
        for (to, from) in self.body.iter_mut().zip(size.to_le_bytes()) {
            *to = from;
        }
        self
    }

    /// The request with `name` in its body (CTX_NAMED), cut to 32 bytes as the driver does.
    #[must_use]
    pub fn with_name(mut self, name: &[u8]) -> Self {
        for (to, from) in self.body.iter_mut().zip(name.iter().take(NAME_LEN)) {
            *to = *from;
        }
        self
    }
}

const _: () = assert!(size_of::<NewRequest>() == 48);
const _: () = assert!(align_of::<NewRequest>() == 4);
const _: () = assert!(offset_of!(NewRequest, fd) == 4);
const _: () = assert!(offset_of!(NewRequest, body) == 12);

/// Bytes of `struct virtwl_ioctl_txn` before its data: 28 descriptors and a length.
pub const TXN_HEADER: usize = 116;
/// Offset of the length in `struct virtwl_ioctl_txn`.
pub const TXN_LEN_OFFSET: usize = 112;

/// The head of `struct virtwl_ioctl_txn`; the data follow at once.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct TxnHeader {
    /// Descriptors up to the first negative entry.
    pub fds: [i32; MAX_FDS],
    /// SEND: bytes of data. RECV: room for data going in, bytes received coming out.
    pub len: u32,
}

const _: () = assert!(size_of::<TxnHeader>() == TXN_HEADER);
const _: () = assert!(offset_of!(TxnHeader, len) == TXN_LEN_OFFSET);

impl TxnHeader {
    /// A header without descriptors: every entry is -1, because the driver reads zeros as descriptor 0.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            fds: [-1; MAX_FDS],
            len: 0,
        }
    }

    /// The bytes of the header.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; TXN_HEADER] {
        let mut out = [0; TXN_HEADER];
        let words = self
            .fds
            .iter()
            .map(|fd| fd.to_ne_bytes())
            .chain([self.len.to_ne_bytes()]);
        for (to, from) in out.iter_mut().zip(words.flatten()) {
            *to = from;
        }
        out
    }

    /// The header in `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; TXN_HEADER]) -> Self {
        let mut header = Self::empty();
        let (words, _) = bytes.as_chunks::<4>();
        for (to, from) in header.fds.iter_mut().zip(words) {
            *to = i32::from_ne_bytes(*from);
        }
        if let Some(len) = words.last() {
            header.len = u32::from_ne_bytes(*len);
        }
        header
    }
}

/// A refusal of the device (`VIRTIO_WL_RESP_*` of virtio_wl.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Fault {
    /// Anything else: no such socket name, connect refused, peer gone, no room.
    Err = 0x1100,
    /// Memory is short.
    OutOfMemory = 0x1101,
    /// An id that is not there, or one that is already there.
    InvalidId = 0x1102,
    /// The vfd cannot do that.
    InvalidType = 0x1103,
    /// Flags that the device does not know.
    InvalidFlags = 0x1104,
    /// A command that the device does not know, or more than 28 descriptors.
    InvalidCmd = 0x1105,
}

impl Fault {
    /// The error that the driver makes of the response (`virtwl_resp_err`).
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Self::Err => Errno::NODEV,
            Self::OutOfMemory => Errno::NOMEM,
            Self::InvalidId => Errno::NOENT,
            Self::InvalidType => Errno::INVAL,
            Self::InvalidFlags => Errno::PERM,
            Self::InvalidCmd => Errno::NOTTY,
        }
    }

    /// The response in a word from the device, if it is a refusal.
    #[must_use]
    pub const fn from_word(word: u32) -> Option<Self> {
        match word {
            0x1100 => Some(Self::Err),
            0x1101 => Some(Self::OutOfMemory),
            0x1102 => Some(Self::InvalidId),
            0x1103 => Some(Self::InvalidType),
            0x1104 => Some(Self::InvalidFlags),
            0x1105 => Some(Self::InvalidCmd),
            _ => None,
        }
    }

    /// A short name for counters and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Err => "err",
            Self::OutOfMemory => "out_of_memory",
            Self::InvalidId => "invalid_id",
            Self::InvalidType => "invalid_type",
            Self::InvalidFlags => "invalid_flags",
            Self::InvalidCmd => "invalid_cmd",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ioctl_words_carry_the_sizes_of_their_structures() {
        assert_eq!(ioctl_size(IOCTL_NEW), size_of::<NewRequest>());
        assert_eq!(ioctl_size(IOCTL_NEW_V1), 16);
        assert_eq!(ioctl_size(IOCTL_SEND), TXN_HEADER);
        assert_eq!(ioctl_size(IOCTL_RECV), TXN_HEADER);
        assert_eq!(
            [IOCTL_NEW, IOCTL_SEND, IOCTL_RECV, IOCTL_DMABUF_SYNC].map(ioctl_nr),
            [0, 1, 2, 3]
        );
    }

    #[test]
    fn header_round_trips_and_has_a_tail_of_minus_one() {
        let mut header = TxnHeader::empty();
        header.fds[0] = 7;
        header.len = 0x0102_0304;
        let again = TxnHeader::from_bytes(&header.to_bytes());
        assert_eq!(again.fds, header.fds);
        assert_eq!(again.len, header.len);
        assert!(again.fds[1..].iter().all(|fd| *fd == -1));
    }

    #[test]
    fn faults_are_the_driver_s_errors() {
        let table = [
            (0x1100, libc::ENODEV),
            (0x1101, libc::ENOMEM),
            (0x1102, libc::ENOENT),
            (0x1103, libc::EINVAL),
            (0x1104, libc::EPERM),
            (0x1105, libc::ENOTTY),
        ];
        for (word, errno) in table {
            assert_eq!(
                Fault::from_word(word).map(|fault| fault.errno().raw_os_error()),
                Some(errno)
            );
        }
        assert_eq!(Fault::from_word(0x1000), None);
    }
}
