// SPDX-License-Identifier: MIT OR Apache-2.0
//! Heraldry against weston and sway, run side by side on this machine: `make bench`.
//!
//! weston, sway, heraldry on development sockets, and the whole path (host daemon, emulated device, gate, compositor). Read
//! the ratios; absolute numbers belong to the machine.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a measuring program"
)]

mod client;
mod floods;
mod frames;
mod memory;
mod subjects;

use std::path::PathBuf;

fn main() {
    // The first argument is the folder with the programs; cargo appends its own.
    let bin = PathBuf::from(std::env::args().nth(1).unwrap());
    memory::run(&bin);
    floods::run(&bin);
    // Last, because it keeps this process on one core.
    frames::run(&bin);
}
