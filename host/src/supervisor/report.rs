// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `heraldry-host stats` prints, gathered from all processes.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::net::sockopt::set_socket_send_buffer_size;
use tracing::warn;

use super::part::{Role, Running};
use super::{Supervisor, kind};
use crate::listeners;
use crate::orders::VmCounters;
use crate::poller::key;
use crate::stats::{Stats, VmStats};

/// How long the answers of the others are waited for. Those that are late count as they did at last.
const WAIT: Duration = Duration::from_millis(500);
/// Who may ask at one time.
const MAX_ASKING: usize = 64;

/// Who has asked for statistics.
#[derive(Default)]
pub(super) struct Asked {
    /// The last question to all.
    pub(super) round: u64,
    /// They get the answers to this question, by then.
    waiting: Option<(u64, Instant, Vec<OwnedFd>)>,
    /// They came later, and get those to the next.
    next: Vec<OwnedFd>,
}

impl Asked {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|(_, deadline, _)| *deadline)
    }
}

impl Supervisor {
    /// Somebody of our own user asks.
    pub(super) fn accept_admin(&mut self) {
        match listeners::accept(&self.admin) {
            Ok(Some(peer)) if self.asked.next.len() < MAX_ASKING => self.asked.next.push(peer),
            Ok(_) => {}
            Err(errno) => {
                warn!(%errno, "nobody can ask for statistics now");
                // It would be reported at once again.
                let _rests = self
                    .poller
                    .modify(&self.admin, key(kind::ADMIN, 0), EventFlags::empty());
            }
        }
        self.ask_for_report();
    }

    /// After a rest.
    pub(super) fn watch_admin(&self) {
        // Before it listens, it is not watched at all.
        let _watched = self
            .poller
            .modify(&self.admin, key(kind::ADMIN, 0), EventFlags::IN);
    }

    fn ask_for_report(&mut self) {
        if self.asked.waiting.is_some() || self.asked.next.is_empty() {
            return;
        }
        self.asked.round += 1;
        let round = self.asked.round;
        let peers = std::mem::take(&mut self.asked.next);
        self.asked.waiting = Some((round, Instant::now() + WAIT, peers));
        let asked: Vec<u64> = self.running.keys().copied().collect();
        for process in asked {
            if let Some(running) = self.running.get_mut(&process)
                && running.is_waited_for()
                && let Err(error) = running.ask(&self.poller, round)
            {
                self.give_up(process, &error.to_string());
            }
        }
    }

    /// Writes the counters to who has asked, once all have answered or it takes too long.
    pub(super) fn answer_if_due(&mut self, now: Instant) {
        let Some((round, deadline, _)) = &self.asked.waiting else {
            return;
        };
        let late = |running: &Running| running.is_waited_for() && running.answered < *round;
        if now < *deadline && self.running.values().any(late) {
            return;
        }
        let mut text = serde_json::to_vec(&self.stats()).unwrap_or_default();
        text.push(b'\n');
        for peer in self
            .asked
            .waiting
            .take()
            .into_iter()
            .flat_map(|(_, _, peers)| peers)
        {
            // The kernel takes all of it at once; a client that is gone already needs no answer.
            let _limit = set_socket_send_buffer_size(&peer, text.len().saturating_mul(2));
            let _gone = heraldry_wire::descriptors::send(peer.as_fd(), &text, &[]);
        }
        self.ask_for_report();
    }

    fn stats(&self) -> Stats {
        let mut all = self.past;
        let mut vms = BTreeMap::new();
        for (name, vm) in &self.vms {
            let running = vm.place.process.and_then(|process| self.running.get(&process));
            let now = match running.map(|running| &running.role) {
                Some(Role::Vm(_, counters)) => *counters,
                _ => VmCounters::default(),
            };
            all.add(&now);
            let vm = VmStats {
                connections: now.connections,
                boot: now.boot,
                pipes: now.pipes,
                ..VmStats::default()
            };
            vms.insert(name.as_str().to_owned(), vm);
        }
        let mut stats = Stats {
            accepted: all.accepted,
            faults: all.faults,
            withdrawn: all.withdrawn,
            connections: all.connections,
            waiting: all.waiting,
            ..Stats::default()
        };
        let compositor = self
            .compositor
            .process
            .and_then(|process| self.running.get(&process));
        if let Some(Role::Compositor(counters)) = compositor.map(|running| &running.role) {
            stats.compositor = counters.compositor;
            stats.waiting_for_compositor = counters.untold;
            stats.memory_for_others = counters.memory_for_others;
            for (name, used) in &counters.memory {
                if let Some(vm) = vms.get_mut(name) {
                    vm.memory = *used;
                }
            }
        }
        stats.vms = vms;
        stats
    }
}
