// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control socket: one JSON object a line, each way. For the user's own tools and for tests; no VM can reach it,
//! and a peer of another user is refused.

mod client;
mod connection;
mod input;
mod keys;
pub mod protocol;
mod server;

pub use client::{ClientError, request};
pub use server::{ControlError, listen};
