// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device of one VM: cross-domain virtio-gpu, behind a VMM that speaks vhost-user.
//!
//! A program in the guest opens a context; the device connects it to the host's socket of this VM, whose path is the VM's
//! identity. From then on bytes and descriptors pass: memory is mapped into the guest, a pipe becomes messages.
//!
//! | module | what it is |
//! |---|---|
//! | [`control`] | the requests of virtio-gpu, and their answers; pure |
//! | [`command`] | the commands of cross-domain inside them; pure |
//! | [`gpu`] | contexts and blobs of one boot of the guest, and all that is counted for it |
//! | [`account`] | memory that was made for the guest, for as long as anybody has it |
//! | `context`, `items`, `send_queue`, `blobs`, `watch` | the parts of that |
//! | [`pipe`] | writing to a stranger's pipe without waiting for anybody |
//! | `memory` | what of a stranger's memory can be mapped into a guest, and what must be copied |
//! | [`vmm`] | the rings, the guest's memory, the VMM |
//! | [`filter`] | what the process may still ask of the kernel |
//!
//! Nothing waits for anybody but the VMM: who does not read is cut off. One process serves one VM, so whatever a guest does to
//! it reaches no other.
#![forbid(unsafe_code)]

pub mod account;
pub mod command;
pub mod control;
pub mod filter;
pub mod gpu;
pub mod limits;
pub mod pipe;
pub mod vmm;

mod blobs;
mod context;
mod items;
mod memory;
mod send_queue;
mod watch;
