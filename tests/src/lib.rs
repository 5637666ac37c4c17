// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the project's tests stand on.
//!
//! [`fixture`] is the compositor and its clients in one thread with a clock that stands still: for everything that can
//! be decided without programs, sockets and time. [`path`] starts the real programs, from a client through host,
//! device and gate to a picture. [`vm`] boots it all in a machine emulator. All own everything they use, so tests run
//! beside each other.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "support for tests: what goes wrong here fails the test that asked for it"
)]

pub mod client;
pub mod colour;
pub mod escape;
pub mod fixture;
pub mod rig;
pub mod stuck;
pub mod vm;
