// SPDX-License-Identifier: MIT OR Apache-2.0
//! The VMs as the main thread knows them: one record each, their clients, who is admitted, and what each may spend.

pub mod admission;
pub mod booking;
pub mod budget;
pub mod clients;
pub mod dev_socket;
pub mod dispatch;
pub mod globals;
pub mod pause;
mod scheduler;
pub mod transports;
pub mod vm;

pub use vm::{Service, Vm, Vms};
