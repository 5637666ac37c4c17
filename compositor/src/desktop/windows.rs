// SPDX-License-Identifier: MIT OR Apache-2.0
//! Window records: which toplevel belongs to which VM, and what its client last said of it.
//!
//! The records hold what the protocol side knows; places and stacking are in [`crate::desktop::layout`]. A record exists from
//! the toplevel's creation, it enters the layout when it first has content.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use heraldry_identity::VmName;
use heraldry_relay::ClientKey;
use smithay::desktop::{PopupKind, PopupManager};
use smithay::utils::{Logical, Point, Rectangle};
use smithay::wayland::compositor::{get_parent, with_states};
use smithay::wayland::shell::xdg::{ToplevelSurface, XdgPopupSurfaceData, XdgToplevelSurfaceData};
use wayland_protocols::xdg::shell::server::xdg_toplevel;
use wayland_server::protocol::wl_surface::WlSurface;

use crate::desktop::layout::{Layout, Mode, WindowId};
use crate::desktop::output_enter::Presence;

/// One window.
#[derive(Debug)]
pub struct Window {
    /// Its number.
    pub id: WindowId,
    /// Whose it is.
    pub vm: VmName,
    /// Connection it came by.
    pub client: ClientKey,
    /// The protocol object.
    pub toplevel: ToplevelSurface,
    /// The client's title: untrusted, never logged.
    pub untrusted_title: String,
    /// Since when it has content; `None` while it has none.
    pub mapped: Option<Duration>,
    /// It has content and appears as soon as its VM may show another window.
    pub waits_to_map: bool,
    /// Its client has given it content: without any again, it must ask for a new configure first.
    pub has_content: bool,
    /// The part of the surface tree that is "the window", effective: inside the tree, at least 1x1.
    pub geometry: Rectangle<i32, Logical>,
    /// The screens that it is on, as its surfaces were told.
    pub presence: Presence,
    /// Button of the frame under the pointer.
    pub hover: Option<heraldry_decorations::Button>,
    /// Whether the user is dragging one of its edges.
    pub resizing: bool,
    /// It came or grew while another VM or nobody had the keyboard, and the user has not raised it since.
    pub uninvited: bool,
    /// It came up below others, and its label says so until the user raises it.
    pub wants_attention: bool,
}

impl Window {
    /// Its popups, also those that are not shown, front to back, each with its place on the window.
    pub fn popups(&self) -> impl Iterator<Item = (PopupKind, Point<i32, Logical>)> + use<> {
        PopupManager::popups_for_surface(self.toplevel.wl_surface())
    }

    /// The roots of all its surface trees, also those that are not shown: of its popups, then its own.
    pub fn roots(&self) -> impl Iterator<Item = WlSurface> + use<> {
        let popups = self.popups().map(|(popup, _)| popup.wl_surface().clone());
        popups.chain([self.toplevel.wl_surface().clone()])
    }
}

/// All windows.
#[derive(Debug)]
pub struct Windows {
    /// Places and stacking of those with content.
    pub layout: Layout,
    records: BTreeMap<WindowId, Window>,
    by_surface: HashMap<WlSurface, WindowId>,
    next: u64,
    /// The window that was told last that it has the keyboard.
    told_focus: Option<WindowId>,
    /// Windows whose client must acknowledge configures before it gets the newest.
    behind: BTreeSet<WindowId>,
}

impl Windows {
    /// No windows yet.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            records: BTreeMap::new(),
            by_surface: HashMap::new(),
            next: 1,
            told_focus: None,
            behind: BTreeSet::new(),
        }
    }

    /// Starts a record for a new toplevel.
    pub fn insert(&mut self, vm: VmName, client: ClientKey, toplevel: ToplevelSurface) -> WindowId {
        let id = WindowId(self.next);
        self.next = self.next.saturating_add(1);
        self.by_surface.insert(toplevel.wl_surface().clone(), id);
        self.records.insert(
            id,
            Window {
                id,
                vm,
                client,
                toplevel,
                untrusted_title: String::new(),
                mapped: None,
                waits_to_map: false,
                has_content: false,
                geometry: Rectangle::default(),
                presence: Presence::new(),
                hover: None,
                resizing: false,
                uninvited: false,
                wants_attention: false,
            },
        );
        id
    }

    /// Forgets a window.
    pub fn remove(&mut self, id: WindowId) -> Option<Window> {
        self.layout.remove(id);
        self.behind.remove(&id);
        let window = self.records.remove(&id)?;
        self.by_surface.remove(window.toplevel.wl_surface());
        Some(window)
    }

    /// A record.
    #[must_use]
    pub fn get(&self, id: WindowId) -> Option<&Window> {
        self.records.get(&id)
    }

    /// A record, to change.
    pub fn get_mut(&mut self, id: WindowId) -> Option<&mut Window> {
        self.records.get_mut(&id)
    }

    /// All records in order of creation.
    pub fn iter(&self) -> impl Iterator<Item = &Window> {
        self.records.values()
    }

    /// All records, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Window> {
        self.records.values_mut()
    }

    /// The window whose toplevel is exactly `surface`.
    #[must_use]
    pub fn by_surface(&self, surface: &WlSurface) -> Option<WindowId> {
        self.by_surface.get(surface).copied()
    }

    /// The window that `surface` belongs to: its toplevel, a subsurface or a popup of it.
    #[must_use]
    pub fn owning(&self, popups: &PopupManager, surface: &WlSurface) -> Option<WindowId> {
        let root = root_of(surface);
        if let Some(id) = self.by_surface(&root) {
            return Some(id);
        }
        let popup = popups.find_popup(&root)?;
        let toplevel = smithay::desktop::find_popup_root_surface(&popup).ok()?;
        self.by_surface(&toplevel)
    }

    /// Brings the configures of windows up to date with the layout and focus, where these changed. Sends only what changed.
    ///
    /// A window whose client has left as many unacknowledged as `limit` says gets the newest when it has acknowledged one.
    /// Returns the windows that were sent one. Windows of an idle VM are not looked at.
    pub fn send_configures(
        &mut self,
        focus: Option<WindowId>,
        limit: impl Fn(&VmName) -> u64,
    ) -> BTreeSet<WindowId> {
        let mut changed = self.layout.take_changed();
        if self.told_focus != focus {
            changed.extend(
                std::mem::replace(&mut self.told_focus, focus)
                    .into_iter()
                    .chain(focus),
            );
        }
        let mut sent = BTreeSet::new();
        for window in changed.iter().filter_map(|id| self.records.get(id)) {
            if !window.toplevel.alive() || !window.toplevel.is_initial_configure_sent() {
                continue;
            }
            let wanted = self.layout.wanted_size(window.id);
            let mode = self.layout.mode(window.id).unwrap_or_default();
            window.toplevel.with_pending_state(|state| {
                state.size = wanted.or(state.size.filter(|_| window.mapped.is_none()));
                let mut set = |flag, on| {
                    if on {
                        state.states.set(flag);
                    } else {
                        state.states.unset(flag);
                    }
                };
                set(xdg_toplevel::State::Activated, focus == Some(window.id));
                set(xdg_toplevel::State::Maximized, mode == Mode::Maximized);
                set(xdg_toplevel::State::Fullscreen, mode == Mode::Fullscreen);
                set(xdg_toplevel::State::Resizing, window.resizing);
            });
            let room = pending_configures(window.toplevel.wl_surface()) < limit(&window.vm);
            if !room {
                self.behind.insert(window.id);
            } else if window.toplevel.send_pending_configure().is_some() {
                sent.insert(window.id);
            }
        }
        sent
    }

    /// A client has acknowledged a configure of a window: there may be room for the one that it did not get.
    pub fn acknowledged(&mut self, surface: &WlSurface) {
        if let Some(id) = self.by_surface(surface)
            && self.behind.remove(&id)
        {
            self.layout.touch(id);
        }
    }
}

/// Configures of a window or popup that its client has not acknowledged; Smithay keeps them all.
#[must_use]
pub fn pending_configures(surface: &WlSurface) -> u64 {
    let pending = with_states(surface, |states| {
        let toplevel = states.data_map.get::<XdgToplevelSurfaceData>();
        let popup = states.data_map.get::<XdgPopupSurfaceData>();
        let toplevel = toplevel.and_then(|data| Some(data.lock().ok()?.pending_configures().len()));
        let popup = popup.and_then(|data| Some(data.lock().ok()?.pending_configures().len()));
        toplevel.max(popup).unwrap_or(0)
    });
    u64::try_from(pending).unwrap_or(u64::MAX)
}

/// The surface at the root of a tree of subsurfaces. The gate bounds the depth.
#[must_use]
pub fn root_of(surface: &WlSurface) -> WlSurface {
    let mut root = surface.clone();
    while let Some(parent) = get_parent(&root) {
        root = parent;
    }
    root
}
