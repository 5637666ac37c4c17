// SPDX-License-Identifier: MIT OR Apache-2.0
//! The threads between the host and the compositor's main thread.
//!
//! One thread for each VM has the VM's connections and its gate, one has the display socket. The main thread decides; it
//! tells a thread by its handle, and hears of it by a [`VmEvent`]. A thread that waits or ends costs its own VM only.
//! Nothing here knows Smithay: what leaves for the main thread is a socket with whole, checked messages.
//!
//! Start reading at [`Relay`], then `thread` (the loop of a VM's thread) and `client` (one client).
#![forbid(unsafe_code)]

mod client;
mod display_socket;
mod events;
mod handle;
mod quantum;
mod recv_queue;
mod services;
mod thread;
mod transport;
mod watch;

pub use display_socket::{DisplayThread, HostLine};
pub use events::{Admission, ClientKey, Endpoint, VmEvent};
pub use handle::{GateLimits, NewClient, Relay};
pub use quantum::Outcome;
pub use thread::Access;
