// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the compositor needs of the operating system: time, log, sockets of its own, confinement, and word to those who watch it.

pub mod clock;
pub mod listen;
pub mod log;
pub mod notify;
pub mod sandbox;
mod turn_timer;
pub mod watchdog;
