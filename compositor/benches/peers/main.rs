// SPDX-License-Identifier: MIT OR Apache-2.0
//! Heraldry against weston and sway, run side by side on this machine: `make bench`.
//!
//! weston, sway, heraldry on development sockets, and the whole path (host daemon, emulated device, gate, compositor). Read
//! the ratios; absolute numbers belong to the machine. `HERALDRY_BEFORE` names a folder with the programs of another commit,
//! whose cost of a frame is measured in the same rounds: `make bench BEFORE=REVISION` builds it.
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
    // The first argument is the folder with the programs, those after it say what to measure; cargo appends its own.
    let mut args = std::env::args().skip(1);
    let bin = PathBuf::from(args.next().unwrap());
    let wanted: Vec<_> = args.filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    if is_wanted("memory") {
        memory::run(&bin);
    }
    if is_wanted("floods") {
        floods::run(&bin);
    }
    // Last, because it keeps this process on one core.
    if is_wanted("frames") {
        let before = std::env::var_os("HERALDRY_BEFORE").map(PathBuf::from);
        frames::run(&bin, before.as_deref());
    }
}
