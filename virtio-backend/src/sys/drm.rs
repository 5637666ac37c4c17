// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ioctls of the virtio-gpu driver, as seen by a program in the guest (`include/uapi/drm/virtgpu_drm.h`).
//!
//! The kernel copies as many bytes as the number of an ioctl says, so the structures are those of Linux 5.16, which later
//! kernels take too.

use std::ffi::c_ulong;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::{Argument, ioctl, own};

const WRITE: c_ulong = 1;
const READ_WRITE: c_ulong = 3;
/// Where the numbers of a driver's own ioctls begin.
const DRIVER: c_ulong = 0x40;

const fn number<T>(direction: c_ulong, number: c_ulong) -> c_ulong {
    let size = size_of::<T>() as c_ulong;
    direction << 30 | size << 16 | (b'd' as c_ulong) << 8 | number
}

macro_rules! arguments {
    ($($(#[$doc:meta])* $name:ident = $direction:ident $value:expr, { $($field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Debug, Default)]
        struct $name { $($field: $type),* }

        // SAFETY: the structure is the one of the kernel's header for this number.
        unsafe impl Argument for $name {
            const NUMBER: c_ulong = number::<Self>($direction, $value);
        }
    )*};
}

arguments! {
    GemClose = WRITE 0x09, { handle: u32, pad: u32 }
    HandleToFd = READ_WRITE 0x2d, { handle: u32, flags: u32, fd: i32 }
    FdToHandle = READ_WRITE 0x2e, { handle: u32, flags: u32, fd: i32 }
    Map = READ_WRITE DRIVER + 0x01, { offset: u64, handle: u32, pad: u32 }
    ExecBuffer = READ_WRITE DRIVER + 0x02, {
        flags: u32, size: u32, command: u64, handles: u64, count: u32, fence: i32, ring: u32, pad: u32,
    }
    GetParam = READ_WRITE DRIVER + 0x03, { param: u64, value: u64 }
    ResourceInfo = READ_WRITE DRIVER + 0x05, { handle: u32, resource: u32, size: u32, memory: u32 }
    Wait = READ_WRITE DRIVER + 0x08, { handle: u32, flags: u32 }
    CreateBlob = READ_WRITE DRIVER + 0x0a, {
        memory: u32, flags: u32, handle: u32, resource: u32, size: u64, pad: u32, command_size: u32, command: u64, id: u64,
    }
    ContextInit = READ_WRITE DRIVER + 0x0b, { count: u32, pad: u32, params: u64 }
}

const _: () = assert!(size_of::<ExecBuffer>() == 40 && size_of::<CreateBlob>() == 48);

fn call<T: Argument>(card: BorrowedFd<'_>, argument: &mut T) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| ioctl(card, argument))
}

/// An address as the kernel takes it.
fn address<T>(of: *const T) -> u64 {
    u64::try_from(of.addr()).unwrap_or(0)
}

/// The capability sets that a card has, as bits.
pub(crate) fn capsets(card: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut value = 0_u64;
    let mut argument = GetParam {
        param: 7,
        value: address(&raw mut value),
    };
    call(card, &mut argument)?;
    Ok(value)
}

/// Makes the open card a context of this capability set, with two rings, of which the second tells its events.
pub(crate) fn init(card: BorrowedFd<'_>, capset: u32) -> Result<(), Errno> {
    let params: [[u64; 2]; 3] = [[1, capset.into()], [2, 2], [3, 2]];
    let mut argument = ContextInit {
        count: 3,
        params: address(params.as_ptr()),
        ..ContextInit::default()
    };
    call(card, &mut argument)
}

/// Where a blob's memory comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// The guest.
    Guest,
    /// The host: an item of the context.
    Host(u64),
}

/// Makes a blob. Returns its handle, and its number on the device.
pub(crate) fn create_blob(card: BorrowedFd<'_>, memory: Memory, size: u64) -> Result<(u32, u32), Errno> {
    let (memory, flags, id) = match memory {
        Memory::Guest => (1, 1, 0),
        // To be mapped, and to be passed on.
        Memory::Host(id) => (2, 3, id),
    };
    let mut argument = CreateBlob {
        memory,
        flags,
        size,
        id,
        ..CreateBlob::default()
    };
    call(card, &mut argument)?;
    Ok((argument.handle, argument.resource))
}

/// The offset under which mmap(2) finds a blob.
pub(crate) fn map_offset(card: BorrowedFd<'_>, handle: u32) -> Result<u64, Errno> {
    let mut argument = Map {
        handle,
        ..Map::default()
    };
    call(card, &mut argument)?;
    Ok(argument.offset)
}

/// Gives a blob back.
pub(crate) fn close(card: BorrowedFd<'_>, handle: u32) -> Result<(), Errno> {
    call(card, &mut GemClose { handle, pad: 0 })
}

/// A descriptor of a blob, which can be passed on and mapped.
pub(crate) fn export(card: BorrowedFd<'_>, handle: u32) -> Result<OwnedFd, Errno> {
    let flags = libc::O_CLOEXEC | libc::O_RDWR;
    let mut argument = HandleToFd {
        handle,
        flags: flags.unsigned_abs(),
        fd: -1,
    };
    call(card, &mut argument)?;
    own(argument.fd).ok_or(Errno::BADF)
}

/// The handle of a descriptor of a blob: the one that the context has already, or a new one.
pub(crate) fn import(card: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut argument = FdToHandle {
        fd: fd.as_raw_fd(),
        ..FdToHandle::default()
    };
    call(card, &mut argument)?;
    Ok(argument.handle)
}

/// A blob's number on the device.
pub(crate) fn resource(card: BorrowedFd<'_>, handle: u32) -> Result<u32, Errno> {
    let mut argument = ResourceInfo {
        handle,
        ..ResourceInfo::default()
    };
    call(card, &mut argument)?;
    Ok(argument.resource)
}

/// How the end of a submission is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fence {
    /// Not at all.
    None,
    /// As an event of the card, when the device has one for the context.
    Event,
    /// To who waits for this blob.
    Blob(u32),
    /// By a descriptor that can be read then.
    Descriptor,
}

/// Submits commands.
pub(crate) fn submit(card: BorrowedFd<'_>, commands: &[u8], fence: Fence) -> Result<Option<OwnedFd>, Errno> {
    const FENCE_OUT: u32 = 2;
    const RING: u32 = 4;
    let handle = if let Fence::Blob(handle) = fence {
        handle
    } else {
        0
    };
    let (flags, ring, count) = match fence {
        Fence::None => (0, 0, 0),
        Fence::Event => (RING, 1, 0),
        Fence::Blob(_) => (RING, 0, 1),
        Fence::Descriptor => (RING | FENCE_OUT, 0, 0),
    };
    let mut argument = ExecBuffer {
        flags,
        size: u32::try_from(commands.len()).map_err(|_large| Errno::INVAL)?,
        command: address(commands.as_ptr()),
        handles: address(&raw const handle),
        count,
        fence: -1,
        ring,
        pad: 0,
    };
    call(card, &mut argument)?;
    if fence != Fence::Descriptor {
        return Ok(None);
    }
    Ok(own(argument.fence))
}

/// Waits until a submission that names this blob is done.
pub(crate) fn wait(card: BorrowedFd<'_>, handle: u32) -> Result<(), Errno> {
    call(card, &mut Wait { handle, flags: 0 })
}
