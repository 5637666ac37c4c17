// SPDX-License-Identifier: MIT OR Apache-2.0
//! What bounds everything that goes over virtio_wl, on the host's side and in the VM.
//!
//! Facts are those of the virtio_wl driver (`include/uapi/linux/virtwl.h`, `drivers/virtio/virtio_wl.c` of ChromiumOS
//! kernels).

/// Most descriptors in one transaction (`VIRTWL_SEND_MAX_ALLOCS`).
pub const MAX_FDS: usize = 28;

/// Bytes of a context name; a NUL is not needed when all are used.
pub const NAME_LEN: usize = 32;

/// The unit to which the driver rounds allocations, and in which the device maps memory.
pub const PAGE_SIZE: u64 = 4096;

/// The largest memory that a device can announce: whole pages, in 32 bits.
pub const MAX_MEMORY: u64 = 0xffff_f000;
