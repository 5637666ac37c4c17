// SPDX-License-Identifier: MIT OR Apache-2.0
//! The main thread's side of the relays and of the display socket.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use calloop::channel::{Event, Sender};
use heraldry_identity::VmName;
use heraldry_relay::{Access, ClientKey, DisplayThread, Endpoint, GateLimits, Relay, VmEvent};
use heraldry_virtio::guest::Device;
use heraldry_wire::display::{Announcement, CompositorRecord, RefuseReason};
use tracing::{debug, info, warn};

use super::admission::ConnectError;
use super::dev_socket::{self, DevSocket};
use crate::state::{Core, State};

/// Why a transport to VMs could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// A relative socket name needs a folder.
    #[error("XDG_RUNTIME_DIR is not set; give --dev-socket an absolute path")]
    NoRuntimeDir,
    /// The path is taken or not allowed.
    #[error(transparent)]
    Listen(#[from] crate::system::listen::ListenError),
    /// There is no device.
    #[error(transparent)]
    Device(#[from] heraldry_virtio::guest::OpenError),
    /// A thread could not be started.
    #[error("cannot start a transport thread")]
    Thread(#[source] std::io::Error),
    /// The event loop did not take a source.
    #[error("cannot watch a transport: {0}")]
    Watch(String),
}

/// How the host is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostLink {
    /// A virtio_wl device.
    Device(PathBuf),
    /// The folder of a `heraldry-host` on this machine.
    Local(PathBuf),
    /// The one socket of a `heraldry-host` on this machine that is for everything.
    Channel(PathBuf),
}

/// The way to the host, and a relay for each VM that has connected.
#[derive(Debug, Default)]
pub struct Transports {
    device: Option<Arc<Device>>,
    display_socket: Option<DisplayThread>,
    relays: BTreeMap<VmName, Relay>,
    events: Option<Sender<VmEvent>>,
}

impl Transports {
    /// Ends a connection. wayland-backend would keep a killed client's socket open until somebody else speaks, so the end
    /// comes from the relay.
    ///
    /// False if the VM has no relay.
    pub(super) fn close(&self, vm: &VmName, key: ClientKey) -> bool {
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
) -> Result<(), TransportError> {
    let handle = state.core.handle.clone();
    let (events, inbox) = calloop::channel::channel();
    handle
        .insert_source(inbox, |event, (), state: &mut State| {
            if let Event::Msg(event) = event {
                state.vm_event(event);
            }
        })
        .map_err(|error| TransportError::Watch(error.to_string()))?;
    if let Some(host) = host {
        let device = Arc::new(match host {
            HostLink::Device(path) => Device::open(path)?,
            HostLink::Local(folder) => Device::local(folder.join("compositor")),
            HostLink::Channel(socket) => Device::channel(socket),
        });
        state.core.transports.display_socket =
            Some(DisplayThread::start(Arc::clone(&device), events.clone()).map_err(TransportError::Thread)?);
        state.core.transports.device = Some(device);
    }
    state.core.transports.events = Some(events);
    if !dev_sockets.is_empty() {
        state.core.render.show_notice("NOT ISOLATED");
    }
    for socket in dev_sockets {
        if state.core.config.vm(&socket.vm).config().is_none() {
            warn!(vm = %socket.vm, "the configuration has no such VM: who connects to its socket will be refused");
        }
        dev_socket::listen(&handle, socket)?;
    }
    Ok(())
}

impl Core {
    /// The relay of a VM that has a record, started if it has none that runs.
    pub(super) fn relay(&mut self, vm: &VmName) -> Result<&Relay, ConnectError> {
        let Some(record) = self.vms.get(vm) else {
            return Err(ConnectError::UnknownVm(vm.clone()));
        };
        let transports = &mut self.transports;
        if !transports.relays.get(vm).is_some_and(Relay::is_alive) {
            let events = transports.events.clone().ok_or(ConnectError::NotReady)?;
            let access = Access {
                device: transports.device.clone(),
                host: transports.display_socket.as_ref().map(DisplayThread::line),
            };
            let limits = GateLimits::of(record.limits());
            let relay =
                Relay::start(vm.clone(), access, events, limits).map_err(|source| ConnectError::Relay {
                    vm: vm.clone(),
                    source,
                })?;
            info!(%vm, "relay started");
            relay.pause(record.paused().is_some());
            transports.relays.insert(vm.clone(), relay);
        }
        transports.relays.get(vm).ok_or(ConnectError::NotReady)
    }
}

impl State {
    fn vm_event(&mut self, event: VmEvent) {
        match event {
            VmEvent::Announced(announcement) => self.announced(announcement),
            VmEvent::Withdrawn(number) => debug!(number, "the host withdrew a client"),
            VmEvent::HostIsThere => self.core.transports.relays.values().for_each(Relay::credit),
            VmEvent::Connected(admission, stream) => {
                let vm = admission.vm.clone();
                if let Err(error) = self.core.connect(admission, stream) {
                    // The stream is closed, so the relay ends the client.
                    self.core.refused(&vm, &error);
                }
            }
            VmEvent::Failed(key) => self.core.not_opened(key),
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
                    ConnectError::NotReady | ConnectError::Insert { .. } | ConnectError::Relay { .. } => {
                        RefuseReason::Failed
                    }
                };
                CompositorRecord::Refuse { number, reason }
            }
        };
        if let Some(display_socket) = &self.core.transports.display_socket {
            display_socket.answer(answer);
        }
    }
}
