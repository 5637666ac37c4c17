// SPDX-License-Identifier: MIT OR Apache-2.0
//! Input: which VM a key, a click, a finger or a pen goes to.
//!
//! Backends translate their events to [`Event`]; [`keyboard`], [`pointer`], [`touch`] and [`pen`] decide. Focus across VMs moves
//! by the user's action only; a key goes to the VM that had the keyboard when it was pressed, up to its release.

mod actions;
mod effects;
mod grants;
pub mod hit;
mod keyboard;
mod pen;
pub mod ping;
mod pointer;
mod touch;
mod view_history;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use heraldry_identity::VmName;
use smithay::backend::input::{Axis, AxisSource, ButtonState, KeyState, Keycode};
use smithay::input::Seat;
use smithay::utils::{Logical, Point, Rectangle, Size};
use wayland_server::protocol::wl_surface::WlSurface;

pub use actions::Effect;
pub use effects::Effects;
pub use grants::Press;
pub use pen::{Axes, Pen, Stroke, Tool};
pub use touch::Touch;

use crate::desktop::layout::{Edges, WindowId};
use crate::state::State;
use crate::vms::booking::Work;
use crate::vms::vm::add_keyboard;

/// What a backend delivers. Times are milliseconds of the compositor's clock.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// A key by its xkb key code (evdev code + 8).
    Key(Keycode, KeyState),
    /// The pointer's new place, logical pixels of the output.
    Motion(Point<f64, Logical>),
    /// A pointer button by its evdev code.
    Button(u32, ButtonState),
    /// Scrolling: axis, distance in logical pixels, 120ths of a wheel click.
    Scroll(Axis, AxisSource, f64, Option<f64>),
    /// Fingers.
    Touch(Touch),
    /// A pen.
    Pen(Pen),
}

/// Who gets the release of a pressed key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum KeyOwner {
    /// A binding used it up.
    Compositor,
    /// A VM saw the press.
    Vm(VmName),
}

/// A window that came or went since the last tick.
#[derive(Debug, Clone)]
enum Change {
    /// It has its first content.
    Came(WindowId),
    /// It has no content any more; it may be gone altogether, so its VM is kept here.
    Went(WindowId, VmName),
}

/// What the pointer is doing.
#[derive(Debug, Clone, Default)]
enum Drag {
    /// Nothing of ours: events go to clients.
    #[default]
    None,
    /// Moving a window: pointer offset from the content's corner, the content's size then.
    Move(WindowId, Point<f64, Logical>, Size<i32, Logical>),
    /// Resizing a window: edges, where the pointer started, the content then.
    Resize(WindowId, Edges, Point<f64, Logical>, Rectangle<i32, Logical>),
    /// A button of a frame is held.
    Press(WindowId, heraldry_decorations::Button),
    /// A press that nobody gets: its release goes nowhere either.
    Swallow,
}

/// State of the input side.
#[derive(Debug)]
pub struct Input {
    /// Keyboard state for bindings; no client ever sees this seat.
    own: Option<Seat<State>>,
    /// Where the pointer is.
    pub pointer: Point<f64, Logical>,
    /// Whether a pointer has ever moved; the cursor is not drawn before.
    pub pointer_seen: bool,
    /// Whether fingers were at work last; the cursor is not drawn then.
    pub by_finger: bool,
    /// The window that has the keyboard.
    focus: Option<WindowId>,
    /// Windows in the order of their last focus, newest first.
    history: Vec<WindowId>,
    /// A running Alt-Tab: the order frozen at its start and the position in it.
    switcher: Option<(Vec<WindowId>, usize)>,
    keys: BTreeMap<u32, KeyOwner>,
    buttons: BTreeMap<u32, Option<VmName>>,
    /// By how many mice, fingers and pens each button is held.
    holds: BTreeMap<u32, u32>,
    drag: Drag,
    /// The label that was pressed last, and when: a second press soon after maximises.
    last_label: Option<(WindowId, Duration)>,
    /// The VM whose client has the pointer, and the surface.
    hover: Option<(VmName, WlSurface)>,
    /// Set when something under the pointer may have changed.
    pub refresh_pointer: bool,
    /// Set when seats must learn about a new keyboard focus.
    pub refresh_focus: bool,
    /// What handlers ask for; [`crate::tick`] performs it.
    pub effects: Effects,
    /// Windows whose client was promised a configure in this turn.
    configures_due: BTreeSet<WindowId>,
    /// VMs that were hidden by key, the last one last.
    pub(crate) hidden: Vec<VmName>,
    /// Who answers.
    /// Windows that came or went since the last tick.
    changes: Vec<Change>,
    /// The fingers that are down.
    pub(crate) touches: touch::Touches,
    /// The pen that is near.
    pub(crate) pens: pen::Pens,
    /// What was drawn where.
    seen: view_history::Seen,
}

impl Input {
    /// Whether the pointer's picture is shown, if the client that has the pointer does not hide it.
    pub(crate) fn shows_pointer(&self) -> bool {
        self.pointer_seen && !self.by_finger
    }

    /// No focus, pointer in the corner.
    #[must_use]
    pub fn new() -> Self {
        Self {
            own: None,
            pointer: Point::default(),
            pointer_seen: false,
            by_finger: false,
            focus: None,
            history: Vec::new(),
            switcher: None,
            keys: BTreeMap::new(),
            buttons: BTreeMap::new(),
            holds: BTreeMap::new(),
            drag: Drag::None,
            last_label: None,
            hover: None,
            refresh_pointer: false,
            refresh_focus: false,
            effects: Effects::default(),
            configures_due: BTreeSet::new(),
            hidden: Vec::new(),
            changes: Vec::new(),
            touches: touch::Touches::default(),
            pens: pen::Pens::default(),
            seen: view_history::Seen::default(),
        }
    }

    /// The window that has the keyboard.
    #[must_use]
    pub fn focus(&self) -> Option<WindowId> {
        self.focus
    }

    /// The shape of the pointer while the compositor itself uses it.
    #[must_use]
    pub fn own_cursor(&self) -> Option<Edges> {
        match self.drag {
            Drag::Resize(_, edges, ..) => Some(edges),
            Drag::Move(..) | Drag::Press(..) => Some(Edges::empty()),
            Drag::None | Drag::Swallow => None,
        }
    }

    /// Whether a client of this VM got the press of a button that is still down.
    #[must_use]
    pub fn holds_button(&self, vm: &VmName) -> bool {
        self.buttons.values().flatten().any(|holder| holder == vm)
    }

    /// Something holds a button that nobody gets.
    fn hold(&mut self, button: u32) {
        self.holds.insert(button, 1);
        self.buttons.insert(button, None);
    }

    /// The VM whose client is under the pointer and may say how it looks.
    #[must_use]
    pub fn hovered_vm(&self) -> Option<&VmName> {
        self.hover.as_ref().map(|(vm, _)| vm)
    }

    /// Whether the pointer, a finger or a pen is on a client of this VM.
    #[must_use]
    pub fn is_with(&self, vm: &VmName) -> bool {
        self.hovered_vm() == Some(vm) || self.touches.is_on(vm) || self.pens.is_near(vm)
    }

    /// Notes that a window got its first content.
    pub fn mapped(&mut self, id: WindowId) {
        self.changes.push(Change::Came(id));
        self.refresh_pointer = true;
    }

    /// Notes that a window lost its content or died.
    pub fn unmapped(&mut self, id: WindowId, vm: VmName) {
        self.changes.push(Change::Went(id, vm));
        self.refresh_pointer = true;
    }
}

impl Default for Input {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// Makes the compositor's own keyboard state, for bindings.
    pub fn init_input(&mut self) {
        let config = &self.core.config;
        let mut seat = self.core.seats.new_seat("heraldry");
        if !add_keyboard(&mut seat, &config.keyboard) {
            tracing::warn!("key bindings do not work: the xkb data cannot be read");
        }
        self.core.input.own = Some(seat);
    }

    /// Takes one event of a backend.
    pub fn input(&mut self, event: Event) {
        // The work is for the VM that has the keyboard or the pointer; without one nothing takes long.
        let vm = match event {
            Event::Key(..) => {
                let window = self.core.input.focus.and_then(|id| self.core.windows.get(id));
                window.map(|window| window.vm.clone())
            }
            _ => self.core.input.hovered_vm().cloned(),
        };
        match vm {
            Some(vm) => {
                let books = self.core.books.clone();
                books.book(&vm, Work::Input, || self.take_input(event));
            }
            None => self.take_input(event),
        }
    }

    fn take_input(&mut self, event: Event) {
        match event {
            Event::Key(..) => {}
            Event::Touch(_) => self.core.input.by_finger = true,
            Event::Pen(_) => self.core.input.by_finger = false,
            Event::Motion(_) | Event::Button(..) | Event::Scroll(..) => {
                self.core.input.by_finger = false;
                self.mouse_comes();
            }
        }
        match event {
            Event::Key(code, state) => self.key(code, state),
            Event::Motion(to) => self.motion(to),
            Event::Button(button, state) => self.button(button, state),
            Event::Scroll(axis, source, distance, v120) => self.scroll(axis, source, distance, v120),
            Event::Touch(touch) => self.touch(touch),
            Event::Pen(pen) => self.pen(pen),
        }
    }
}
