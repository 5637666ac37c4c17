// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compositor's VM, booted in QEMU. `HERALDRY_SKIP_VM_TESTS=1` skips these tests, and says so.
#![cfg(test)]

mod across;
mod apps;
mod boot;
mod escape;
mod evemu;
mod gles;
mod hotplug;
mod image;
mod lies;
mod lost;
mod rate;
mod seat;
mod session;
mod touch;
mod turned;
