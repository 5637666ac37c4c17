// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counters, as `heraldry-host stats` prints them: JSON, one object.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::memory::Used;

/// Counters of the whole daemon.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Stats {
    /// Whether a compositor holds the display socket.
    pub(crate) compositor: bool,
    /// Connections accepted, ended for a broken rule, withdrawn.
    pub(crate) accepted: u64,
    /// Connections that were ended because a peer broke a rule.
    pub(crate) faults: u64,
    /// Announcements that were taken back.
    pub(crate) withdrawn: u64,
    /// Connections now.
    pub(crate) connections: usize,
    /// Connections that the compositor has not come for yet.
    pub(crate) waiting: usize,
    /// Those among them that no compositor knows of: it is not there, or is still to be told.
    pub(crate) waiting_for_compositor: usize,
    /// What the memory server gave to requests whose names tell no VM.
    pub(crate) memory_for_others: Used,
    /// By VM.
    pub(crate) vms: BTreeMap<String, VmStats>,
}

/// Counters of one VM.
#[derive(Debug, Default, Serialize)]
pub(crate) struct VmStats {
    /// Connections now.
    pub(crate) connections: usize,
    /// The boot instance, 0 while the VM has no connection.
    pub(crate) boot: u64,
    /// Pipes of its clients that the compositor has a stand-in for.
    pub(crate) pipes: usize,
    /// What the memory server gave on its behalf.
    pub(crate) memory: Used,
}
