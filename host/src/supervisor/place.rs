// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who serves a VM, or the compositor, and who takes over from one that is over.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use heraldry_config::{HandOver, Owner, UnsealedMemory, VmVerdict};
use heraldry_identity::VmName;
use tracing::{error, info, warn};

use super::part::{Role, Running};
use super::{DaemonError, Supervisor, Vm};
use crate::link::{self, LinkError};
use crate::listeners::{self, SocketPath};
use crate::orders::{CompositorRules, ToCompositor, ToVm, VmCounters, VmRules};

/// Processes of one VM, or of the compositor, that were killed and cannot end. Each holds memory and descriptors.
const STUCK: usize = 4;
/// One that ends sooner than this is not replaced at once.
const SOON: Duration = Duration::from_secs(1);

/// The place of a process, which another takes when it is over.
#[derive(Default)]
pub(super) struct Place {
    /// The process that serves.
    pub(super) process: Option<u64>,
    /// Its sockets' files.
    paths: Vec<SocketPath>,
    /// When to try again to start one.
    again: Option<Instant>,
}

impl Supervisor {
    /// Processes of a VM, or of the compositor, that were killed and have not ended, whoever has its place now: a VM that
    /// was removed and came back has no more of them.
    fn stuck(&self, vm: Option<&VmName>) -> usize {
        let stuck = |running: &&Running| !running.serves() && running.vm() == vm;
        self.running.values().filter(stuck).count()
    }

    /// When there is to be another process for a VM, or for the compositor.
    pub(super) fn again_at(&self, vm: Option<&VmName>) -> Option<Instant> {
        let place = match vm {
            None => &self.compositor,
            Some(vm) => &self.vms.get(vm)?.place,
        };
        place.again.filter(|_| self.stuck(vm) < STUCK)
    }

    fn next_process(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Starts the compositor's process, with new sockets in its folder.
    pub(super) fn start_compositor(&mut self) -> Result<(), DaemonError> {
        let folder = self.dir.join("compositor");
        self.compositor.again = None;
        self.compositor.paths.clear();
        listeners::sweep(&folder);
        let (mut sockets, mut paths) = (Vec::new(), Vec::new());
        for name in ["display", "connection", "memfd", "channel"] {
            let (socket, path) = listeners::bind_at(&folder.join(name))?;
            sockets.push(socket);
            paths.push(path);
        }
        let process = self.next_process();
        let mut running =
            Running::start(&self.poller, process, None, &self.filter).map_err(DaemonError::Start)?;
        let begin = ToCompositor::Begin { folder };
        let begun = running.tell_compositor(&self.poller, &begin, sockets);
        self.compositor.paths = paths;
        self.enter(running, begun);
        let vms: Vec<u64> = self.vms.values().filter_map(|vm| vm.place.process).collect();
        for vm in vms {
            self.introduce(vm);
        }
        Ok(())
    }

    /// Takes a new process in. It gets its rules only now that nobody else has its sockets, and listens then.
    fn enter(&mut self, running: Running, begun: Result<(), LinkError>) {
        let process = running.process;
        match &running.role {
            Role::Compositor(..) => self.compositor.process = Some(process),
            Role::Vm(name, ..) => {
                if let Some(vm) = self.vms.get_mut(name) {
                    vm.place.process = Some(process);
                }
            }
        }
        self.running.insert(process, running);
        if let Err(error) = begun {
            self.give_up(process, &error.to_string());
        }
    }

    /// Starts processes for VMs of the configuration that have none. Returns what went wrong, VM by VM.
    pub(super) fn start_vms(&mut self) -> Vec<DaemonError> {
        let configured: Vec<(VmName, Option<Owner>)> = self
            .config
            .vms
            .values()
            .map(|vm| (vm.name.clone(), vm.owner.clone()))
            .collect();
        let mut errors = Vec::new();
        for (name, owner) in configured {
            if !self.vms.contains_key(&name) {
                let place = Place {
                    again: Some(Instant::now()),
                    ..Place::default()
                };
                self.vms.insert(name.clone(), Vm { owner, place });
                if self.again_at(Some(&name)).is_none() {
                    warn!(vm = %name, "too many processes of the VM cannot end: nobody serves it until one has");
                } else if let Err(error) = self.start_vm(&name) {
                    errors.push(error);
                    self.vms.remove(&name);
                }
            }
        }
        errors
    }

    fn start_vm(&mut self, name: &VmName) -> Result<(), DaemonError> {
        let Some(vm) = self.vms.get_mut(name) else {
            return Ok(());
        };
        vm.place.again = None;
        vm.place.paths.clear();
        let (socket, path) = listeners::bind_for_vm(&self.dir, name.as_str(), vm.owner.as_ref())?;
        vm.place.paths.push(path);
        let process = self.next_process();
        let mut running =
            Running::start(&self.poller, process, Some(name), &self.filter).map_err(DaemonError::Start)?;
        let begin = ToVm::Begin {
            process,
            vm: name.as_str().to_owned(),
        };
        let begun = running.tell_vm(&self.poller, &begin, vec![socket]);
        self.enter(running, begun);
        self.introduce(process);
        Ok(())
    }

    /// Makes a VM's process and the compositor's known to each other.
    fn introduce(&mut self, process: u64) {
        let Some(compositor) = self.compositor.process else {
            return;
        };
        let ends: Result<(OwnedFd, OwnedFd), _> = link::pair();
        let (for_compositor, for_vm) = match ends {
            Ok(ends) => ends,
            Err(errno) => {
                error!(%errno, "two processes cannot be connected");
                self.give_up(process, "it cannot be connected with the compositor's");
                return;
            }
        };
        let Some(Role::Vm(name, ..)) = self.running.get(&process).map(|running| &running.role) else {
            return;
        };
        let order = ToCompositor::Vm {
            process,
            vm: name.as_str().to_owned(),
        };
        self.tell_compositor(compositor, &order, vec![for_compositor]);
        self.tell_vm(process, &ToVm::Compositor, vec![for_vm]);
    }

    /// VMs that are gone from the configuration, or have another owner, are served no more: what they have open ends.
    pub(super) fn stop_vms(&mut self) {
        let owners: std::collections::BTreeMap<&str, &Option<Owner>> = self
            .config
            .vms
            .values()
            .map(|vm| (vm.name.as_str(), &vm.owner))
            .collect();
        let gone: Vec<VmName> = self
            .vms
            .iter()
            .filter(|(name, vm)| owners.get(name.as_str()) != Some(&&vm.owner))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            let Some(vm) = self.vms.remove(&name) else {
                continue;
            };
            if let Some(process) = vm.place.process {
                self.tell_gone(process);
                if let Some(mut running) = self.running.remove(&process) {
                    running.kill();
                    self.remember(&running);
                    self.running.insert(process, running);
                }
            }
            drop(vm);
            // It stays if somebody put something else in it.
            let _left = std::fs::remove_dir(self.dir.join("vm").join(name.as_str()));
            info!(vm = %name, "VM removed");
        }
    }

    /// Gives everybody the rules of the configuration.
    pub(super) fn give_rules(&mut self) {
        let generation = self.generation;
        let host = &self.config.host;
        let rules = CompositorRules {
            by_name: host.hand_over == HandOver::Name,
            withdraw_after_ms: u64::try_from(host.withdraw_after.as_millis()).unwrap_or(u64::MAX),
            bytes_per_vm: host.memfd.bytes_per_vm,
            count_per_vm: host.memfd.count_per_vm,
            bytes_for_others: host.memfd.bytes_for_others,
        };
        let processes: Vec<(u64, Option<VmRules>)> = self
            .running
            .values()
            .filter(|running| running.serves())
            .map(|running| match &running.role {
                Role::Compositor(..) => (running.process, None),
                Role::Vm(name, ..) => (running.process, Some(self.rules_of(name))),
            })
            .collect();
        for (process, vm) in processes {
            match vm {
                None => self.tell_compositor(process, &ToCompositor::Rules { generation, rules }, Vec::new()),
                Some(rules) => self.tell_vm(process, &ToVm::Rules { generation, rules }, Vec::new()),
            }
        }
    }

    fn rules_of(&self, vm: &VmName) -> VmRules {
        let most = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        let host = &self.config.host;
        let (unsealed, transfers, per_second) = match self.config.vm(vm) {
            VmVerdict::Known(settings) => {
                let limits = &settings.rules.limits;
                let unsealed = settings.rules.unsealed_memory == UnsealedMemory::Allow;
                (unsealed, most(limits.transfers), limits.connections_per_second)
            }
            _ => (false, 0, 1),
        };
        VmRules {
            unsealed,
            transfers,
            descriptors: most(host.descriptors_per_connection.into()),
            connections: most(host.connections_per_vm.into()),
            per_second: u32::try_from(per_second).unwrap_or(u32::MAX),
        }
    }

    fn tell_vm(&mut self, process: u64, order: &ToVm, fds: Vec<OwnedFd>) {
        if let Some(running) = self.running.get_mut(&process)
            && let Err(error) = running.tell_vm(&self.poller, order, fds)
        {
            self.give_up(process, &error.to_string());
        }
    }

    fn tell_compositor(&mut self, process: u64, order: &ToCompositor, fds: Vec<OwnedFd>) {
        if let Some(running) = self.running.get_mut(&process)
            && let Err(error) = running.tell_compositor(&self.poller, order, fds)
        {
            self.give_up(process, &error.to_string());
        }
    }

    /// The compositor's process learns that another is over, however that came about.
    fn tell_gone(&mut self, process: u64) {
        if let Some(compositor) = self.compositor.process
            && compositor != process
        {
            self.tell_compositor(compositor, &ToCompositor::Gone { process }, Vec::new());
        }
    }

    /// Takes in what a process says.
    pub(super) fn hear(&mut self, process: u64) {
        let Some(running) = self.running.get_mut(&process) else {
            return;
        };
        if !running.serves() {
            return;
        }
        match running.hear(&self.poller) {
            Ok(false) => {}
            // If the compositor's process is over, the next one is introduced to all.
            Ok(true) => self.introduce(process),
            Err(LinkError::Closed) => running.hung_up(),
            Err(error) => self.give_up(process, &error.to_string()),
        }
    }

    /// A process has ended.
    pub(super) fn ended(&mut self, process: u64) {
        let Some(running) = self.running.get_mut(&process) else {
            return;
        };
        let Some(status) = running.status() else {
            return;
        };
        let served = running.serves();
        let vm = running.vm().cloned();
        let lived = running.since.elapsed();
        let Some(running) = self.running.remove(&process) else {
            return;
        };
        if served {
            match &running.role {
                Role::Compositor(..) => error!(%status, "the compositor's process ended; another begins"),
                Role::Vm(vm, ..) => error!(%vm, %status, "the process of a VM ended; another begins"),
            }
            let again = if lived < SOON { SOON } else { Duration::ZERO };
            self.vacate(&running, again);
            self.tell_gone(process);
        } else if self.stuck(vm.as_ref()).saturating_add(1) == STUCK {
            info!("a process that was killed has ended at last");
        }
    }

    fn place_of(&mut self, role: &Role) -> Option<&mut Place> {
        match role {
            Role::Compositor(..) => Some(&mut self.compositor),
            Role::Vm(name, ..) => self.vms.get_mut(name).map(|vm| &mut vm.place),
        }
    }

    /// A process does not serve its place any more.
    fn vacate(&mut self, running: &Running, again: Duration) {
        self.remember(running);
        if let Some(place) = self.place_of(&running.role)
            && place.process == Some(running.process)
        {
            place.process = None;
            place.paths.clear();
            place.again = Some(Instant::now() + again);
        }
    }

    /// What a process has counted is not forgotten with it.
    fn remember(&mut self, running: &Running) {
        if let Role::Vm(_, counted) = &running.role {
            self.past.add(&VmCounters {
                connections: 0,
                waiting: 0,
                ..*counted
            });
        }
    }

    /// Kills a process, and does not wait for its end.
    pub(super) fn give_up(&mut self, process: u64, why: &str) {
        // It may be over already, and is counted then.
        if !self.running.get(&process).is_some_and(Running::serves) {
            return;
        }
        let Some(mut running) = self.running.remove(&process) else {
            return;
        };
        let next = if self.stuck(running.vm()).saturating_add(1) < STUCK {
            "another begins"
        } else {
            "too many cannot end, and until one has nobody serves in its place"
        };
        match &running.role {
            Role::Compositor(..) => warn!(why, "the compositor's process is killed; {next}"),
            Role::Vm(vm, ..) => warn!(%vm, why, "the process of a VM is killed; {next}"),
        }
        running.kill();
        self.vacate(&running, Duration::ZERO);
        self.running.insert(process, running);
        self.tell_gone(process);
    }

    /// Asks all whether they turn. Those that have not for too long are killed.
    pub(super) fn ask_all(&mut self) {
        self.asked.round += 1;
        let (round, mut lost) = (self.asked.round, Vec::new());
        for running in self.running.values_mut().filter(|running| running.serves()) {
            if running.beat() {
                lost.push((running.process, "it has not turned for five seconds".to_owned()));
            } else if running.has_answered()
                && let Err(error) = running.ask(&self.poller, round)
            {
                lost.push((running.process, error.to_string()));
            }
        }
        for (process, why) in lost {
            self.give_up(process, &why);
        }
    }

    /// Fills places that are empty.
    pub(super) fn start_again(&mut self, now: Instant) {
        let due = |vm| self.again_at(vm).is_some_and(|at| at <= now);
        let compositor = due(None);
        let vms: Vec<VmName> = self.vms.keys().filter(|name| due(Some(*name))).cloned().collect();
        if !compositor && vms.is_empty() {
            return;
        }
        if compositor && let Err(error) = self.start_compositor() {
            self.compositor.again = Some(now + SOON);
            error!(
                "the compositor's process cannot be started: {:#}",
                anyhow::Error::from(error)
            );
        }
        for name in vms {
            if let Err(error) = self.start_vm(&name) {
                if let Some(vm) = self.vms.get_mut(&name) {
                    vm.place.again = Some(now + SOON);
                }
                error!(vm = %name, "no process for a VM can be started: {:#}", anyhow::Error::from(error));
            }
        }
        self.give_rules();
    }
}
