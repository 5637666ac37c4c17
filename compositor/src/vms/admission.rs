// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a VM's connection to a client of the display: the main thread's side of the relays and of the display socket.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use calloop::channel::{Event, Sender};
use heraldry_identity::VmName;
use heraldry_relay::{Access, ClientKey, DisplayThread, Endpoint, GateLimits, NewClient, Relay, VmEvent};
use heraldry_virtio::guest::Device;
use heraldry_wire::display::{Announcement, CompositorRecord, RefuseReason};
use tracing::{debug, info};

use super::dev_socket::{self, DevSocket};
use super::{ConnectError, LinkError};
use crate::state::{Core, State};

/// How the host is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostLink {
    /// A virtio_wl device.
    Device(PathBuf),
    /// The folder of a `heraldry-host` on this machine.
    Local(PathBuf),
}

/// The transports.
#[derive(Debug, Default)]
pub struct Link {
    device: Option<Arc<Device>>,
    display_socket: Option<DisplayThread>,
    relays: BTreeMap<VmName, Relay>,
    events: Option<Sender<VmEvent>>,
}

impl Link {
    /// Ends a connection. The library would keep a killed client's socket open until somebody else speaks, so the end
    /// comes from the relay.
    ///
    /// False if the VM has no relay.
    pub fn close(&self, vm: &VmName, key: ClientKey) -> bool {
        let relay = self.relays.get(vm).filter(|relay| relay.is_alive());
        if let Some(relay) = relay {
            relay.close(key);
        }
        relay.is_some()
    }

    /// Puts other limits in force for a VM.
    pub(super) fn set_limits(&self, vm: &VmName, limits: &heraldry_config::Limits) {
        if let Some(relay) = self.relays.get(vm) {
            relay.set_limits(GateLimits::of(limits));
        }
    }

    /// The relay of a VM.
    pub(super) fn relay(&self, vm: &VmName) -> Option<&Relay> {
        self.relays.get(vm)
    }

    /// What the clients of a VM use of its budgets, and how often its gate had to act: clients that broke a rule, turns
    /// that were used up.
    #[must_use]
    pub fn usage(&self, vm: &VmName) -> Option<(Vec<heraldry_gate::Usage>, (u64, u64))> {
        let relay = self.relays.get(vm)?;
        Some((relay.usage(), relay.counters()))
    }
}

/// Opens the transports.
pub fn start(
    state: &mut State,
    host: Option<HostLink>,
    dev_sockets: Vec<DevSocket>,
) -> Result<(), LinkError> {
    let handle = state.core.handle.clone();
    let (events, inbox) = calloop::channel::channel();
    handle
        .insert_source(inbox, |event, (), state: &mut State| {
            if let Event::Msg(event) = event {
                state.vm_event(event);
            }
        })
        .map_err(|error| LinkError::Watch(error.to_string()))?;
    if let Some(host) = host {
        let device = Arc::new(match host {
            HostLink::Device(path) => Device::open(path)?,
            HostLink::Local(folder) => Device::local(folder.join("compositor")),
        });
        state.core.link.display_socket =
            Some(DisplayThread::start(Arc::clone(&device), events.clone()).map_err(LinkError::Thread)?);
        state.core.link.device = Some(device);
    }
    state.core.link.events = Some(events);
    if !dev_sockets.is_empty() {
        state.core.render.show_notice("NOT ISOLATED");
    }
    dev_sockets
        .into_iter()
        .try_for_each(|socket| dev_socket::listen(&handle, socket))
}

impl Core {
    /// A connection is no longer on its way: it is open, or it failed.
    fn opened(&mut self, vm: &VmName) {
        if let Some(entry) = self.vms.get_mut(vm) {
            entry.opening = entry.opening.saturating_sub(1);
        }
    }
}

impl State {
    fn vm_event(&mut self, event: VmEvent) {
        match event {
            VmEvent::Announced(announcement) => self.announced(announcement),
            VmEvent::Withdrawn(number) => debug!(number, "the host withdrew a client"),
            VmEvent::HostIsThere => self.core.link.relays.values().for_each(Relay::credit),
            VmEvent::Connected(vm, key, stream) => {
                self.core.opened(&vm);
                if let Err(error) = self.core.connect(&vm, key, stream) {
                    // The stream is closed, so the relay ends the client.
                    self.core.refused(&vm, &error);
                }
            }
            VmEvent::Failed(vm, key) => {
                self.core.opened(&vm);
                debug!(%vm, client = key.0, "a connection was gone before it was open");
            }
            VmEvent::Violated(vm) => self.violated(&vm),
        }
    }

    fn announced(&mut self, announcement: Announcement) {
        let number = announcement.number;
        let vm = announcement.vm.clone();
        let answer = match self.take(&vm, Endpoint::Announced(announcement)) {
            Ok(()) => CompositorRecord::Take { number },
            Err(error) => {
                self.core.refused(&vm, &error);
                let reason = match error {
                    ConnectError::UnknownVm(_) => RefuseReason::UnknownVm,
                    ConnectError::TooManyClients { .. } => RefuseReason::Limit,
                    ConnectError::Insert { .. } | ConnectError::Relay { .. } => RefuseReason::Failed,
                };
                CompositorRecord::Refuse { number, reason }
            }
        };
        if let Some(display_socket) = &self.core.link.display_socket {
            display_socket.answer(answer);
        }
    }

    /// Takes a connection of `vm`: asks the policy, then leaves it to the VM's own thread.
    pub fn take(&mut self, vm: &VmName, endpoint: Endpoint) -> Result<(), ConnectError> {
        self.core.admit(vm)?;
        let globals = self.core.globals_of(vm);
        let limits = GateLimits::of(&self.core.limits(vm));
        let paused = self.core.vms.get(vm).is_some_and(|vm| vm.paused.is_some());
        let key = self.core.vms.next_key();
        let link = &mut self.core.link;
        if !link.relays.get(vm).is_some_and(Relay::is_alive) {
            let Some(events) = link.events.clone() else {
                return Err(ConnectError::UnknownVm(vm.clone()));
            };
            let access = Access {
                device: link.device.clone(),
                host: link.display_socket.as_ref().map(DisplayThread::line),
            };
            let relay =
                Relay::start(vm.clone(), access, events, limits).map_err(|source| ConnectError::Relay {
                    vm: vm.clone(),
                    source,
                })?;
            info!(%vm, "relay started");
            relay.pause(paused);
            link.relays.insert(vm.clone(), relay);
        }
        if let Some(entry) = self.core.vms.get_mut(vm) {
            entry.opening = entry.opening.saturating_add(1);
        }
        if let Some(relay) = self.core.link.relays.get(vm) {
            relay.take(NewClient {
                key,
                endpoint,
                globals,
            });
        }
        Ok(())
    }
}
