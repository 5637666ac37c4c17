// SPDX-License-Identifier: MIT OR Apache-2.0
//! The strict Wayland gate between one VM and the compositor: one [`Session`] per client.
//!
//! A session decodes both directions by the tables of the protocol crates, keeps the client's object map, refuses what
//! breaks a rule, rewrites what the compositor's library must not see, and hands on whole messages with their
//! descriptors. It has no threads, no sockets and no clock: bytes and descriptors go in, an [`SendQueue`] comes out, and
//! whatever needs the outside world is a call of the [`Services`] that the caller implements.
//!
//! It knows protocol tables and no compositor. Start reading at [`session`]; every rule is in `rules`, every number in
//! [`limits`], and `docs/gate.md` lists the rules by name.
#![forbid(unsafe_code)]

pub mod budget;
mod events;
pub mod limits;
pub mod memory;
mod objects;
mod requests;
mod rules;
pub mod send_queue;
mod serials;
pub mod services;
pub mod session;
mod tables;
mod teardown;
pub mod violation;
mod wire;

pub use budget::{Budget, Budgets, Usage};
pub use limits::Limits;
pub use memory::{MemoryCache, read_memory};
pub use send_queue::{Chunk, MAX_DESCRIPTORS_PER_SEND, SendQueue};
pub use services::{ServiceError, Services};
pub use session::{Globals, Progress, Session};
pub use tables::{GLOBALS, display, global};
pub use teardown::Teardown;
pub use violation::{Rule, ServerFault, Violation};
pub use wire::MAX_MESSAGE;

#[cfg(test)]
mod tests;
