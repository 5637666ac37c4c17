// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the host's processes tell each other. See [`crate::supervisor`] for who they are.
//!
//! Connections are known by a number that no other connection has while the supervisor lives, whatever process serves
//! them: the process's own number, and below it one that the process counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::memory::Used;

/// Bits of a connection's number that its process counts.
const COUNTED: u32 = 40;

/// The number of a connection of a process.
pub(crate) fn number(process: u64, counted: u64) -> u64 {
    process << COUNTED | counted
}

/// The process that a connection is of.
pub(crate) fn process_of(number: u64) -> u64 {
    number >> COUNTED
}

/// The process's own count for a connection.
pub(crate) fn counted(number: u64) -> u64 {
    number & ((1 << COUNTED) - 1)
}

/// What a VM's connections may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VmRules {
    /// Memory that can shrink passes.
    pub(crate) unsealed: bool,
    /// Pipes that are kept at one time.
    pub(crate) transfers: usize,
    /// Descriptors of one connection that wait.
    pub(crate) descriptors: usize,
    /// Connections at one time.
    pub(crate) connections: usize,
    /// Connections accepted in a second.
    pub(crate) per_second: u32,
}

/// From the supervisor to a VM's process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToVm {
    /// First of all: who it is, with the socket that it will listen on.
    Begin { process: u64, vm: String },
    /// Rules; with the first it begins to listen. Nobody else has its socket then.
    Rules { generation: u64, rules: VmRules },
    /// A link to the compositor's process comes with it, in the place of the last one.
    Compositor,
    /// How are you?
    Ask { round: u64 },
}

/// From a VM's process to the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromVm {
    /// Rules are in force.
    Settled { generation: u64 },
    /// The answer to a question.
    Report { round: u64, counters: VmCounters },
    /// The link to the compositor's process is lost, whoever's fault it is.
    Alone,
}

/// What a VM's process counts.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct VmCounters {
    pub(crate) accepted: u64,
    pub(crate) faults: u64,
    pub(crate) withdrawn: u64,
    pub(crate) connections: usize,
    pub(crate) waiting: usize,
    pub(crate) boot: u64,
    pub(crate) pipes: usize,
}

impl VmCounters {
    /// Adds what another process says that it counts. It may say anything.
    pub(crate) fn add(&mut self, other: &Self) {
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.faults = self.faults.saturating_add(other.faults);
        self.withdrawn = self.withdrawn.saturating_add(other.withdrawn);
        self.connections = self.connections.saturating_add(other.connections);
        self.waiting = self.waiting.saturating_add(other.waiting);
    }
}

/// How the compositor comes for clients, and what memory it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CompositorRules {
    pub(crate) by_name: bool,
    pub(crate) withdraw_after_ms: u64,
    pub(crate) bytes_per_vm: u64,
    pub(crate) count_per_vm: u32,
    pub(crate) bytes_for_others: u64,
}

/// From the supervisor to the compositor's process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToCompositor {
    /// First of all: its folder, with the sockets `display`, `connection` and `memfd` that it will listen on.
    Begin { folder: std::path::PathBuf },
    /// Rules; with the first it begins to listen.
    Rules { generation: u64, rules: CompositorRules },
    /// A VM has a process; the link to it comes with the message.
    Vm { process: u64, vm: String },
    /// A process is over, whether it can end or not.
    Gone { process: u64 },
    /// How are you?
    Ask { round: u64 },
}

/// From the compositor's process to the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromCompositor {
    /// Rules are in force.
    Settled { generation: u64 },
    /// The answer to a question.
    Report {
        round: u64,
        counters: CompositorCounters,
    },
}

/// What the compositor's process counts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct CompositorCounters {
    pub(crate) compositor: bool,
    pub(crate) untold: usize,
    pub(crate) memory: BTreeMap<String, Used>,
    pub(crate) memory_for_others: Used,
}

/// From a VM's process to the compositor's.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Offer {
    /// A client waits.
    Client { number: u64, boot: u64 },
    /// It waits no more.
    Gone { number: u64 },
    /// A connection that the compositor has; its end of it comes with the message.
    Has { number: u64 },
    /// A connection has ended.
    Ended { number: u64 },
    /// The VM has no connection any more: its boot instance is over.
    Idle,
}

/// From the compositor's process to a VM's.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    /// The compositor's end of a connection comes with the message.
    Join { number: u64 },
    /// A client that waits is not taken.
    Withdraw { number: u64, why: String },
    /// So much of a connection has been taken.
    Credit {
        number: u64,
        bytes: u64,
        descriptors: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_s_number_says_whose_it_is() {
        for (process, count) in [(1, 1), (7, (1 << 40) - 1), ((1 << 24) - 1, 3)] {
            let number = number(process, count);
            assert_eq!((process_of(number), counted(number)), (process, count));
        }
    }
}
