// SPDX-License-Identifier: MIT OR Apache-2.0
//! The VMs as the main thread knows them: arms, one seat each, connections.
//!
//! A VM's seat is visible to that VM alone, so clipboard, primary selection, drag and drop, held keys and modifiers
//! are separate by construction. Seats are kept for the life of the process and reused by VM name.

pub mod admission;
pub mod booking;
pub mod clients;
pub mod dev_socket;
pub mod dispatch;
pub mod globals;
pub mod load;
pub mod pause;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use heraldry_config::builtin::{UNKNOWN_ARMS, UNKNOWN_NAME};
use heraldry_config::{Limits, VmConfig};
use heraldry_decorations::TitleRule;
use heraldry_gate::RateLimited;
use heraldry_identity::{Arms, TitleLevel, VmName};
use heraldry_relay::ClientKey;
use smithay::desktop::PopupGrab;
use smithay::input::Seat;
use smithay::input::keyboard::XkbConfig;
use smithay::input::pointer::CursorImageStatus;
use tracing::{debug, warn};
use wayland_server::backend::{DisconnectReason, GlobalId};
use wayland_server::protocol::wl_surface::WlSurface;
use wayland_server::{Client, Resource};

use crate::state::{Core, State};
use crate::vms::clients::ClientState;
use crate::vms::globals::adopt;
use load::Load;
use pause::PauseReason;

/// One VM.
#[derive(Debug)]
pub struct Vm {
    /// Its name: the identity.
    pub name: VmName,
    /// Its marks.
    pub arms: Arms,
    /// The name that people read on its frames.
    pub display_name: Arc<str>,
    /// Its input seat.
    pub seat: Seat<State>,
    /// Its connections.
    pub clients: BTreeMap<ClientKey, Client>,
    /// A popup of this VM that took the input.
    pub popup_grab: Option<PopupGrab<State>>,
    /// The pointer image it asked for.
    pub cursor: CursorImageStatus,
    /// The picture of a running drag.
    pub drag_icon: Option<WlSurface>,
    /// Clients that take touches; others get a finger as the pointer.
    pub touch_clients: BTreeSet<ClientKey>,
    /// Clients that take tablets' pens.
    pub pen_clients: BTreeSet<ClientKey>,
    /// Connections that its relay is opening.
    pub opening: usize,
    /// Set when a drag began without a held button; the tick ends it.
    pub unfounded_drag: bool,
    /// Connections that it has ever had.
    pub connections: u64,
    /// Log lines that its connections cause.
    pub log: RateLimited,
    /// How hard it presses, and what is done about it.
    pub load: Load,
    /// What it may use.
    pub limits: Limits,
    /// Why it is not served.
    pub paused: Option<PauseReason>,
    /// Its windows are out of sight until it is served again.
    pub hidden: bool,
    _seat_global: Option<GlobalId>,
}

/// All VMs that have connected so far.
#[derive(Debug, Default)]
pub struct Vms {
    vms: BTreeMap<VmName, Vm>,
    next_key: u64,
}

/// Why a transport to VMs could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
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

/// Why a connection was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The policy knows no such VM and refuses unknown ones.
    #[error("VM {0} is not in the configuration and unknown VMs are refused")]
    UnknownVm(VmName),
    /// The VM is at its limit.
    #[error("VM {vm} already has {limit} clients")]
    TooManyClients {
        /// The VM.
        vm: VmName,
        /// Its limit.
        limit: u64,
    },
    /// The VM's thread could not be started.
    #[error("cannot start the relay of VM {vm}")]
    Relay {
        /// The VM.
        vm: VmName,
        /// Why.
        source: std::io::Error,
    },
    /// The Wayland library did not take the stream.
    #[error("cannot insert the client of VM {vm}")]
    Insert {
        /// The VM.
        vm: VmName,
        /// Why.
        source: std::io::Error,
    },
}

impl Vms {
    /// A VM by name.
    #[must_use]
    pub fn get(&self, name: &VmName) -> Option<&Vm> {
        self.vms.get(name)
    }

    /// A VM by name, to change.
    pub fn get_mut(&mut self, name: &VmName) -> Option<&mut Vm> {
        self.vms.get_mut(name)
    }

    /// All VMs.
    pub fn iter(&self) -> impl Iterator<Item = &Vm> {
        self.vms.values()
    }

    /// All VMs, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Vm> {
        self.vms.values_mut()
    }

    /// The VM that a seat belongs to.
    pub fn by_seat(&mut self, seat: &Seat<State>) -> Option<&mut Vm> {
        self.vms.values_mut().find(|vm| vm.seat == *seat)
    }

    /// Forgets a connection that has ended. May be called twice for one.
    pub fn disconnected(&mut self, key: ClientKey) {
        for vm in self.vms.values_mut() {
            vm.touch_clients.remove(&key);
            vm.pen_clients.remove(&key);
            if vm.clients.remove(&key).is_some() {
                debug!(vm = %vm.name, client = key.0, left = vm.clients.len(), "client gone");
            }
        }
    }

    /// A number for the next connection.
    pub fn next_key(&mut self) -> ClientKey {
        self.next_key = self.next_key.saturating_add(1);
        ClientKey(self.next_key)
    }
}

impl Core {
    /// Whether the policy takes one more client of a VM, which gets its seat if it has none yet.
    pub fn admit(&mut self, vm: &VmName) -> Result<(), ConnectError> {
        let settings = self
            .settings(vm)
            .ok_or_else(|| ConnectError::UnknownVm(vm.clone()))?;
        self.ensure_vm(&settings);
        let limit = settings.rules.limits.clients;
        let clients = self
            .vms
            .get(vm)
            .map_or(0, |entry| entry.clients.len().saturating_add(entry.opening));
        if u64::try_from(clients).unwrap_or(u64::MAX) >= limit {
            return Err(ConnectError::TooManyClients {
                vm: vm.clone(),
                limit,
            });
        }
        Ok(())
    }

    /// Takes the compositor's end of a connection whose other end is the relay of `vm`.
    pub fn connect(&mut self, vm: &VmName, key: ClientKey, stream: UnixStream) -> Result<(), ConnectError> {
        self.admit(vm)?;
        let globals = self.globals_of(vm);
        let mut display = self.display_handle.clone();
        let Some(entry) = self.vms.get_mut(vm) else {
            return Err(ConnectError::UnknownVm(vm.clone()));
        };
        let data = ClientState::new(vm.clone(), key, globals, self.departures.clone());
        self.dispatcher
            .watch(&stream, key)
            .map_err(|source| ConnectError::Insert {
                vm: vm.clone(),
                source,
            })?;
        let client =
            display
                .insert_client(stream, Arc::new(data))
                .map_err(|source| ConnectError::Insert {
                    vm: vm.clone(),
                    source,
                })?;
        // The relay reads at once, counts what the client does not, and takes it apart in slices; this is the last resort.
        let most = usize::try_from(entry.limits.unread_kib.saturating_mul(4 * 1024));
        client.set_max_buffer_size(&self.display_handle, most.unwrap_or(usize::MAX));
        let id = client.id();
        entry.clients.insert(key, client);
        self.dispatcher.insert(key, vm.clone(), id);
        entry.connections = entry.connections.saturating_add(1);
        debug!(vm = %vm, client = key.0, "client connected");
        Ok(())
    }

    /// A connection was refused: one log line, unless the VM has caused too many.
    pub fn refused(&mut self, vm: &VmName, error: &ConnectError) {
        let Some(entry) = self.vms.get_mut(vm) else {
            self.refused_unknown.log(
                Instant::now(),
                |more| warn!(more, "more connections of unknown VMs were refused"),
                || warn!(%vm, %error, "client refused"),
            );
            return;
        };
        entry.load.refused_connections = entry.load.refused_connections.saturating_add(1);
        entry.log.log(
            Instant::now(),
            |more| warn!(%vm, more, "more clients were refused"),
            || warn!(%vm, %error, "client refused"),
        );
    }

    /// Makes sure that a VM has its seat and its current arms.
    pub fn ensure_vm(&mut self, settings: &VmConfig) {
        let display_name = Arc::from(settings.display_name.as_str());
        if let Some(vm) = self.vms.get_mut(&settings.name) {
            vm.arms = settings.arms;
            vm.display_name = display_name;
            if std::mem::replace(&mut vm.limits, settings.rules.limits) != settings.rules.limits {
                self.link.set_limits(&settings.name, &settings.rules.limits);
            }
            return;
        }
        // Every VM's seat has the same name: "seat0" tells nothing about how many there are.
        let mut seat = self.seats.new_wl_seat(&self.display_handle, "seat0");
        let keyboard = &settings.keyboard;
        let xkb = XkbConfig {
            layout: &keyboard.layout,
            variant: &keyboard.variant,
            options: (!keyboard.options.is_empty()).then(|| keyboard.options.clone()),
            ..XkbConfig::default()
        };
        let (rate, delay) = (
            i32::try_from(keyboard.repeat_rate).unwrap_or(25),
            i32::try_from(keyboard.repeat_delay).unwrap_or(400),
        );
        if seat.add_keyboard(xkb, delay, rate).is_err() {
            warn!(vm = %settings.name, layout = %keyboard.layout, "no such keyboard layout, using us");
            if seat.add_keyboard(XkbConfig::default(), delay, rate).is_err() {
                warn!(vm = %settings.name, "no keyboard: the xkb data cannot be read");
            }
        }
        seat.add_pointer();
        if self.input.touches.offered() {
            seat.add_touch();
        }
        self.give_tablet(&seat);
        let global = seat
            .global()
            .and_then(|id| adopt(&self.display_handle, id, Some(settings.name.clone())));
        self.vms.vms.insert(
            settings.name.clone(),
            Vm {
                name: settings.name.clone(),
                arms: settings.arms,
                display_name,
                seat,
                clients: BTreeMap::new(),
                popup_grab: None,
                cursor: CursorImageStatus::default_named(),
                drag_icon: None,
                touch_clients: BTreeSet::new(),
                pen_clients: BTreeSet::new(),
                opening: 0,
                unfounded_drag: false,
                connections: 0,
                log: RateLimited::new(u32::try_from(settings.rules.limits.log_lines).unwrap_or(u32::MAX)),
                load: Load::default(),
                limits: settings.rules.limits,
                paused: None,
                hidden: false,
                _seat_global: global,
            },
        );
        self.publish_outputs();
    }

    /// Disconnects every client of a VM.
    pub fn disconnect(&self, vm: &VmName) {
        for (key, client) in self.vms.get(vm).into_iter().flat_map(|vm| &vm.clients) {
            // The relay takes the client apart in slices; one without a relay goes at once.
            if !self.link.close(vm, *key) {
                self.display_handle
                    .backend_handle()
                    .kill_client(client.id(), DisconnectReason::ConnectionClosed);
            }
        }
    }

    /// After a reload: clients of VMs that are refused now lose their connection.
    pub fn disconnect_refused(&self) {
        let config = self.policy.config();
        for vm in self
            .vms
            .iter()
            .filter(|vm| config.vm(&vm.name).config().is_none())
        {
            self.disconnect(&vm.name);
        }
    }

    /// The identity behind a surface; `None` for a client that is gone.
    #[must_use]
    pub fn identity(&self, surface: &WlSurface) -> Option<(VmName, ClientKey)> {
        let client = surface.client()?;
        let data = client.get_data::<ClientState>()?;
        Some((data.vm.clone(), data.key))
    }

    /// What the registry of a VM's clients may show, for the gate.
    #[must_use]
    pub fn globals_of(&self, vm: &VmName) -> heraldry_gate::Globals {
        let settings = self.settings(vm);
        let allowed = settings
            .iter()
            .flat_map(|settings| &settings.rules.globals.allowed);
        allowed
            .map(|(interface, rule)| (interface.to_string(), rule.max_version))
            .collect()
    }

    /// What of the titles of a VM's windows may be shown.
    #[must_use]
    pub fn title_rule(&self, vm: &VmName) -> TitleRule {
        self.settings(vm).map_or(
            TitleRule {
                level: TitleLevel::Ascii,
                max: 0,
            },
            |settings| TitleRule {
                level: settings.rules.title.level,
                max: settings.rules.title.max,
            },
        )
    }

    /// The arms to show for a VM. A VM that is not known gets the marks of the unknown, never none.
    #[must_use]
    pub fn arms(&self, vm: &VmName) -> Arms {
        self.vms.get(vm).map_or(UNKNOWN_ARMS, |vm| vm.arms)
    }

    /// The name that people read on the frames of a VM.
    #[must_use]
    pub fn display_name(&self, vm: &VmName) -> Arc<str> {
        self.vms.get(vm).map_or_else(
            || format!("{UNKNOWN_NAME} {vm}").into(),
            |vm| Arc::clone(&vm.display_name),
        )
    }
}
