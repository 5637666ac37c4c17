// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs under the real `heraldry-sim`, against a host played by the test.
//!
//! Each test has two halves: `host` runs in the test, `guest` in the same test program started again under `heraldry-sim`.

#![cfg(test)]
#![cfg(target_arch = "x86_64")]

mod fixture;

mod contexts;
mod memory;
mod pipes;
mod processes;
mod services;
