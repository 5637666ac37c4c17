// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compositor's state and its parts. No logic beyond putting them together.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use calloop::LoopHandle;
use heraldry_config::Config;
use heraldry_identity::VmName;
use heraldry_rate::LogBudget;
use smithay::desktop::PopupManager;
use smithay::input::SeatState;
use wayland_server::protocol::wl_surface::WlSurface;
use wayland_server::{Display, DisplayHandle};

use crate::backend::Backend;
use crate::desktop::frame_clock::FrameClock;
use crate::desktop::layout::WindowId;
use crate::desktop::outputs::Outputs;
use crate::desktop::windows::Windows;
use crate::init::record::Pause;
use crate::input::Input;
use crate::render::Render;
use crate::stacking::Announcements;
use crate::system::clock::Clock;
use crate::system::watchdog::Watchdog;
use crate::vms::Vms;
use crate::vms::booking::Booking;
use crate::vms::clients::Clients;
use crate::vms::dispatch::Dispatcher;
use crate::vms::globals::Globals;
use crate::vms::transports::Transports;

/// What every callback of the event loop gets.
#[derive(Debug)]
pub struct State {
    /// Where pictures go and input comes from.
    pub backend: Backend,
    /// Everything else.
    pub core: Core,
}

/// The compositor without its backend, split by owner.
#[derive(Debug)]
pub struct Core {
    /// Smithay's protocol states.
    pub globals: Globals,
    /// The configuration in force; a reload puts another in its place.
    pub config: Arc<Config>,
    /// VMs and their seats.
    pub vms: Vms,
    /// Windows and where they are.
    pub windows: Windows,
    /// Popups of all windows.
    pub popups: PopupManager,
    /// Surfaces are gone, so that popups may be.
    pub popups_gone: bool,
    /// Roots of surface trees that had a commit in this turn.
    pub unmeasured: Vec<WlSurface>,
    /// Pointer, keyboard focus, grabs.
    pub input: Input,
    /// Frames, cursor, what must be drawn again.
    pub render: Render,
    /// The screens.
    pub outputs: Outputs,
    /// Time.
    pub clock: Clock,
    /// Seats of all VMs, and our own.
    pub seats: SeatState<State>,
    /// The clients of all VMs.
    pub clients: Clients,
    /// The Wayland display; taken out while it dispatches.
    pub display: Option<Display<State>>,
    /// A handle to it.
    pub display_handle: DisplayHandle,
    /// The event loop.
    pub handle: LoopHandle<'static, State>,
    /// Which clients have sent something.
    pub dispatcher: Dispatcher,
    /// Whether the loop turns.
    pub watchdog: Watchdog,
    /// For whom it works.
    pub books: Booking,
    /// Log lines that connections of VMs cause which are not known.
    pub refused_unknown: LogBudget,
    /// The ways to the VMs.
    pub transports: Transports,
    /// The notice that says that the built-in configuration is in force.
    pub fallback_notice: Option<String>,
    /// The file to read on reload.
    pub config_path: Option<PathBuf>,
    /// When frames are drawn, where a screen has no clock of its own.
    pub frame_clock: FrameClock,
    /// Frames so far, of all screens.
    pub frames: u64,
    /// When a window that had to wait may appear.
    pub maps_due: Option<std::time::Duration>,
    /// When marks of throttled VMs are to be looked at again.
    pub marks_due: Option<std::time::Duration>,
    /// VMs that are not to be served, which the configuration does not know.
    pub unknown_pauses: Vec<Pause>,
    /// What notices say of VMs for a moment.
    pub announcements: Announcements,
    /// Set when the loop must end.
    pub stopping: bool,
}

impl Core {
    /// Brings every client's configure up to date. Returns the windows that were sent one.
    pub fn send_configures(&mut self, focus: Option<WindowId>) -> BTreeSet<WindowId> {
        let vms = &self.vms;
        let limit = |vm: &VmName| vms.get(vm).map_or(0, |vm| vm.limits().pending_configures);
        self.windows.send_configures(focus, limit)
    }
}
