// SPDX-License-Identifier: MIT OR Apache-2.0
//! The main thread's handle to a VM's relay, and what goes through it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use calloop::channel::Sender as MainSender;
use heraldry_config::Limits;
use heraldry_gate::Usage;
use heraldry_identity::VmName;

use crate::events::{Admission, ClientKey, Endpoint, VmEvent};
use crate::quantum::{Outcome, Quantum};
use crate::thread::{Access, VmThread};
use crate::watch::Waker;

/// What of a VM's limits its relay keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateLimits {
    /// The rules of each session.
    pub(crate) session: heraldry_gate::Limits,
    /// Bytes that may wait for a client that does not read.
    pub(crate) unread: usize,
    /// Log lines a second that the VM's clients can cause.
    pub(crate) log_lines: u32,
    /// Bytes a turn.
    pub(crate) turn_bytes: usize,
}

impl GateLimits {
    /// The gate's part of a VM's limits.
    #[must_use]
    pub fn of(limits: &Limits) -> Self {
        let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let word = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Self {
            session: heraldry_gate::Limits {
                objects: limits.objects,
                surfaces: limits.surfaces,
                toplevels: limits.toplevels,
                popups: limits.popups,
                buffers: limits.buffers,
                pools: limits.pools,
                pool_bytes: limits.pool_mib.saturating_mul(1 << 20),
                descriptors: limits.descriptors,
                regions: limits.regions,
                rectangles: limits.rectangles,
                callbacks: limits.callbacks,
                sources: limits.sources,
                mime_bytes: limits.mime_bytes,
                mime_types: word(limits.mime_types),
                string_bytes: size(limits.string_bytes),
                registries: size(limits.registries),
                buffer_dimension: i32::try_from(limits.buffer_dimension).unwrap_or(i32::MAX),
                subsurface_depth: size(limits.subsurface_depth),
                tree_surfaces: size(limits.tree_surfaces),
                parent_depth: size(limits.parent_depth),
                listed: limits.listed,
                instances: word(limits.instances),
                region_rectangles: word(limits.region_rectangles),
                damage_rectangles: word(limits.damage_rectangles),
                serial_age: Duration::from_secs(limits.serial_seconds),
                ..heraldry_gate::Limits::default()
            },
            unread: size(limits.unread_kib.saturating_mul(1024)),
            log_lines: word(limits.log_lines),
            turn_bytes: size(limits.turn_bytes),
        }
    }
}

/// A connection for a relay to open.
#[derive(Debug)]
pub struct NewClient {
    /// What was decided of it.
    pub admission: Admission,
    /// How to get at it.
    pub endpoint: Endpoint,
}

/// What the main thread asks of a relay.
#[derive(Debug)]
pub(crate) enum Command {
    /// Open a connection.
    Open(NewClient),
    /// Close one: the client is disconnected, whatever it does.
    Close(ClientKey),
    /// Tell the host what its connections may send; what it was told before may not have reached it.
    Credit,
    /// Other limits are in force, for connections that come.
    Limits(GateLimits),
}

/// The handle to a VM's thread; dropping it ends the thread.
#[derive(Debug)]
pub struct Relay {
    pub(crate) commands: Sender<Command>,
    pub(crate) waker: Waker,
    pub(crate) quantum: Arc<Quantum>,
    pub(crate) thread: std::thread::JoinHandle<()>,
}

impl Relay {
    /// Starts the thread of a VM.
    pub fn start(
        vm: VmName,
        access: Access,
        main: MainSender<VmEvent>,
        limits: GateLimits,
    ) -> std::io::Result<Self> {
        VmThread::start(vm, access, main, limits)
    }

    /// Hands a connection over.
    pub fn take(&self, new: NewClient) {
        self.command(Command::Open(new));
    }

    /// Ends a connection.
    pub fn close(&self, key: ClientKey) {
        self.command(Command::Close(key));
    }

    /// The host is there again.
    pub fn credit(&self) {
        self.command(Command::Credit);
    }

    /// Puts other limits in force.
    pub fn set_limits(&self, limits: GateLimits) {
        self.quantum.budgets.set_limits(&limits.session);
        self.command(Command::Limits(limits));
    }

    fn command(&self, command: Command) {
        // A relay that is gone drops its connections, which ends them.
        let _gone = self.commands.send(command);
        self.waker.wake();
    }

    /// The main loop has finished a turn in which this VM's requests took `spent`.
    pub fn next_turn(&self, spent: Duration, target: Duration, most: usize) -> Outcome {
        let (outcome, wake) = self.quantum.next(spent, target, most);
        if wake {
            self.waker.wake();
        }
        outcome
    }

    /// Whether the VM wants more than its turn gave.
    pub fn is_waiting(&self) -> bool {
        self.quantum.is_used_up()
    }

    /// The main loop has finished a turn in which this VM was not served.
    pub fn next_unserved_turn(&self, spent: Duration, target: Duration) {
        if self.quantum.next_unserved(spent, target) {
            self.waker.wake();
        }
    }

    /// Stops serving the VM, or goes on.
    pub fn pause(&self, paused: bool) {
        if self.quantum.pause(paused) {
            self.waker.wake();
        }
    }

    /// Whether the thread runs; one that panicked is replaced.
    pub fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }

    /// What the VM's clients use.
    pub fn usage(&self) -> Vec<Usage> {
        self.quantum.budgets.usage().collect()
    }

    /// Clients that broke a rule, and turns that were used up.
    pub fn counters(&self) -> (u64, u64) {
        (
            self.quantum.violations.load(Ordering::Relaxed),
            self.quantum.exhausted.load(Ordering::Relaxed),
        )
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let (nobody, _) = channel();
        self.commands = nobody;
        self.waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_s_own_defaults_are_those_of_the_configuration() {
        assert_eq!(
            GateLimits::of(&Limits::default()).session,
            heraldry_gate::Limits::default()
        );
    }
}
