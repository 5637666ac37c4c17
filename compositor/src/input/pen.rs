// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pens of graphics tablets. A pen is the pointer, and its tip the left button, but over the content of a client that
//! takes tablets: there the client gets the pen itself, with pressure and tilt, and the pointer leaves.
//!
//! Who the tip was put down on has the pen until it is lifted. Every VM's tablet is a plain one: names, serial numbers
//! and paths of devices would tell what machine this is, and a tool is known to a VM once it came over its windows.

use std::collections::BTreeSet;

use heraldry_identity::VmName;
use smithay::backend::input::{ButtonState, TabletToolCapabilities, TabletToolDescriptor, TabletToolType};
use smithay::input::Seat;
use smithay::utils::{IsAlive, Logical, Point, SERIAL_COUNTER, Serial};
use smithay::wayland::tablet_manager::{
    TabletDescriptor, TabletHandle, TabletSeatTrait as _, TabletToolHandle,
};
use wayland_server::protocol::wl_surface::WlSurface;

use super::hit::Hit;
use super::pointer::{BTN_LEFT, BTN_MIDDLE, BTN_RIGHT};
use crate::desktop::layout::WindowId;
use crate::state::{Core, State};

/// The tip, among the buttons; no button has this code.
const TIP: u32 = 0;
/// evdev codes of a pen's buttons.
const BTN_STYLUS: u32 = 0x14b;

/// What kind of pen it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// The tablet that it is near, the backend's own number: two tablets have two pens. No client learns of it.
    pub device: u32,
    /// A pen, an eraser, ...
    pub kind: TabletToolType,
    /// What it can tell.
    pub capabilities: TabletToolCapabilities,
}

/// What has changed besides the place.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Axes {
    /// 0 to 1.
    pub pressure: Option<f64>,
    /// Height above the tablet, 0 to 1.
    pub distance: Option<f64>,
    /// Degrees to the right and towards the user.
    pub tilt: Option<(f64, f64)>,
    /// Degrees clockwise.
    pub rotation: Option<f64>,
    /// -1 to 1.
    pub slider: Option<f64>,
    /// Degrees and clicks.
    pub wheel: Option<(f64, i32)>,
}

/// What the pen does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// It is or comes near the tablet.
    Hover,
    /// Its tip is put down.
    Down,
    /// The tip is lifted.
    Up,
    /// A button of it, by its evdev code.
    Button(u32, ButtonState),
    /// It is taken away.
    Away,
}

/// An event of a pen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pen {
    /// Which.
    pub tool: Tool,
    /// Where, logical pixels of the desktop.
    pub at: Point<f64, Logical>,
    /// What else has changed.
    pub axes: Axes,
    /// What it does.
    pub stroke: Stroke,
}

/// Who has the pen while its tip or a button is down.
#[derive(Debug, Default)]
enum Held {
    #[default]
    No,
    /// A client, since the press with this serial; the surface's origin is where it was then.
    Client {
        vm: VmName,
        surface: WlSurface,
        origin: Point<f64, Logical>,
        serial: Serial,
    },
    /// It is the pointer.
    Pointer,
    Nobody,
}

/// The pen.
#[derive(Debug, Default)]
pub(crate) struct Pens {
    /// The one that is near.
    tool: Option<Tool>,
    /// The client's surface that it is over, if that client takes tablets.
    near: Option<(VmName, WlSurface)>,
    /// Tip and buttons that are down.
    pressed: BTreeSet<u32>,
    held: Held,
    /// Whether there is a tablet.
    offered: bool,
}

impl Pens {
    /// Whether a client has the pen instead of the pointer.
    pub(crate) fn is_near_client(&self) -> bool {
        self.near.is_some()
    }

    /// Whether a client of this VM has it.
    pub(crate) fn is_near(&self, vm: &VmName) -> bool {
        self.near.as_ref().is_some_and(|(near, _)| near == vm)
    }

    /// The surface on which the pen was put down with this serial, if it still is.
    pub(crate) fn pressed_on(&self, serial: Serial) -> Option<&WlSurface> {
        match &self.held {
            Held::Client {
                surface,
                serial: pressed,
                ..
            } if *pressed == serial => Some(surface),
            _ => None,
        }
    }
}

/// The tablet as every VM sees it.
fn tablet() -> TabletDescriptor {
    TabletDescriptor {
        name: "tablet".to_owned(),
        usb_id: None,
        syspath: None,
    }
}

impl Tool {
    fn descriptor(self) -> TabletToolDescriptor {
        TabletToolDescriptor {
            tool_type: self.kind,
            hardware_serial: 0,
            hardware_id_wacom: 0,
            capabilities: self.capabilities,
        }
    }
}

impl Core {
    /// There is a tablet now, or no more.
    pub fn offer_pen(&mut self, offered: bool) {
        if std::mem::replace(&mut self.input.pens.offered, offered) == offered {
            return;
        }
        for vm in self.vms.iter() {
            if offered {
                self.give_tablet(&vm.seat);
            } else {
                let tablets = vm.seat.tablet_seat();
                tablets.clear_tools();
                tablets.remove_tablet(&tablet());
            }
        }
    }

    /// A seat gets its tablet, if there is one.
    pub(crate) fn give_tablet(&self, seat: &Seat<State>) {
        if self.input.pens.offered {
            seat.tablet_seat()
                .add_tablet::<State>(&self.display_handle, &tablet());
        }
    }

    fn takes_pen(&self, surface: &WlSurface) -> bool {
        self.identity(surface)
            .and_then(|(_, client)| self.clients.get(client))
            .is_some_and(|client| client.takes_pen)
    }
}

impl State {
    pub(super) fn pen(&mut self, pen: Pen) {
        let pens = &self.core.input.pens;
        if pens.tool.is_some_and(|tool| tool != pen.tool) {
            // One pen at a time, and who presses has it: what another one does is not mixed into its stroke.
            if !pens.pressed.is_empty() || pen.stroke == Stroke::Away {
                return;
            }
            self.pen_away();
        }
        self.core.input.pens.tool = Some(pen.tool);
        match pen.stroke {
            Stroke::Hover => self.pen_moves(&pen, true),
            Stroke::Down => self.pen_press(&pen, TIP),
            Stroke::Up => self.pen_release(&pen, TIP),
            Stroke::Button(code, ButtonState::Pressed) => self.pen_press(&pen, code),
            Stroke::Button(code, ButtonState::Released) => self.pen_release(&pen, code),
            Stroke::Away => self.pen_away(),
        }
        self.core.render.schedule();
    }

    /// The pen is at another place. A client that does not answer hears of it later if `may_wait`.
    fn pen_moves(&mut self, pen: &Pen, may_wait: bool) {
        let to = self.core.outputs.nearest(pen.at);
        match &self.core.input.pens.held {
            Held::Pointer => return self.motion(to),
            Held::Nobody => return,
            Held::Client {
                vm, surface, origin, ..
            } => {
                let (vm, focus) = (vm.clone(), (surface.clone(), *origin));
                self.pointer_is_at(to);
                self.tell_pen(&vm, pen, to, focus, may_wait);
                return;
            }
            Held::No => {}
        }
        let hit = self.core.hit(to);
        let unseen = self.unseen(&hit, to);
        let over = match hit {
            Hit::Content {
                vm,
                surface: Some((surface, origin)),
                ..
            } if self.core.takes_pen(&surface) && self.pointer_is_free() => Some((vm, surface, origin)),
            _ => None,
        };
        let Some((vm, surface, origin)) = over else {
            self.pen_leaves();
            self.motion(to);
            return;
        };
        if self
            .core
            .input
            .pens
            .near
            .as_ref()
            .is_none_or(|(near, _)| *near != vm)
        {
            self.pen_leaves();
        }
        self.pointer_is_at(to);
        self.leave_pointer();
        let may_wait = may_wait
            && self
                .core
                .input
                .pens
                .near
                .as_ref()
                .is_some_and(|(_, near)| *near == surface);
        self.core.input.pens.near = Some((vm.clone(), surface.clone()));
        let mut pen = *pen;
        // A wheel needs no tip, and is guarded as that of a mouse.
        pen.axes.wheel = pen.axes.wheel.filter(|_| !unseen);
        self.tell_pen(&vm, &pen, to, (surface, origin), may_wait);
    }

    fn tell_pen(
        &mut self,
        vm: &VmName,
        pen: &Pen,
        to: Point<f64, Logical>,
        focus: (WlSurface, Point<f64, Logical>),
        may_wait: bool,
    ) {
        let told = self.core.may_tell(&focus.0);
        if may_wait && !told {
            return;
        }
        let Some((tablet, tool)) = self.pen_of(vm, pen.tool) else {
            return;
        };
        let Axes {
            pressure,
            distance,
            tilt,
            rotation,
            slider,
            wheel,
        } = pen.axes;
        if let Some(pressure) = pressure {
            tool.pressure(pressure);
        }
        if let Some(distance) = distance {
            tool.distance(distance);
        }
        if let Some(tilt) = tilt {
            tool.tilt(tilt);
        }
        if let Some(rotation) = rotation {
            tool.rotation(rotation);
        }
        if let Some(slider) = slider {
            tool.slider_position(slider);
        }
        if let Some((degrees, clicks)) = wheel {
            tool.wheel(degrees, clicks);
        }
        let focus = Some(focus).filter(|(surface, _)| surface.alive());
        let time = self.core.clock.millis();
        tool.motion(to, focus, &tablet, SERIAL_COUNTER.next_serial(), time);
    }

    fn pen_press(&mut self, pen: &Pen, code: u32) {
        self.pen_moves(pen, false);
        let first = self.core.input.pens.pressed.is_empty();
        self.core.input.pens.pressed.insert(code);
        let serial = SERIAL_COUNTER.next_serial();
        if first {
            self.core.input.pens.held = self.pen_is_taken(serial);
        }
        match &self.core.input.pens.held {
            Held::Client { vm, .. } => {
                let time = self.core.clock.millis();
                if let Some((_, tool)) = self.pen_of(&vm.clone(), pen.tool) {
                    if code == TIP {
                        tool.tip_down(serial, time);
                    } else {
                        tool.button(code, ButtonState::Pressed, serial, time);
                    }
                }
            }
            Held::Pointer => self.button(as_mouse(code), ButtonState::Pressed),
            Held::No | Held::Nobody => {}
        }
    }

    /// Who gets what is pressed now. Does what a press there does besides.
    fn pen_is_taken(&mut self, serial: Serial) -> Held {
        let at = self.core.input.pointer;
        let hit = self.core.hit(at);
        let Some((vm, near)) = self.core.input.pens.near.clone() else {
            return Held::Pointer;
        };
        match &hit {
            Hit::Content {
                window,
                surface: Some((surface, origin)),
                ..
            } if *surface == near => {
                if self.unseen(&hit, at) {
                    return Held::Nobody;
                }
                self.approach(*window, Some(surface));
                self.apply_focus();
                Held::Client {
                    vm,
                    surface: near,
                    origin: *origin,
                    serial,
                }
            }
            _ => Held::Nobody,
        }
    }

    fn pen_release(&mut self, pen: &Pen, code: u32) {
        self.pen_moves(pen, false);
        if !self.core.input.pens.pressed.remove(&code) {
            return;
        }
        self.let_go(pen.tool, code);
        if self.core.input.pens.pressed.is_empty() {
            self.core.input.pens.held = Held::No;
        }
    }

    /// The client that has the pen learns that something is not pressed any more.
    fn let_go(&mut self, tool: Tool, code: u32) {
        match &self.core.input.pens.held {
            Held::Client { vm, .. } => {
                let time = self.core.clock.millis();
                if let Some((_, tool)) = self.pen_of(&vm.clone(), tool) {
                    if code == TIP {
                        tool.tip_up(time);
                    } else {
                        let serial = SERIAL_COUNTER.next_serial();
                        tool.button(code, ButtonState::Released, serial, time);
                    }
                }
            }
            Held::Pointer => self.button(as_mouse(code), ButtonState::Released),
            Held::No | Held::Nobody => {}
        }
    }

    /// The client that the pen is over loses it.
    fn pen_leaves(&mut self) {
        let near = self.core.input.pens.near.take();
        if let (Some((vm, _)), Some(tool)) = (near, self.core.input.pens.tool)
            && let Some((_, tool)) = self.pen_of(&vm, tool)
        {
            tool.proximity_out(self.core.clock.millis());
        }
    }

    /// Lets go of everything; the pen is not there any more.
    pub(super) fn pen_away(&mut self) {
        if let Some(tool) = self.core.input.pens.tool {
            for code in std::mem::take(&mut self.core.input.pens.pressed) {
                self.let_go(tool, code);
            }
        }
        self.core.input.pens.held = Held::No;
        self.pen_leaves();
        self.core.input.pens.tool = None;
    }

    /// The mouse is used while a pen lies on the tablet: it has the pointer then.
    pub(super) fn mouse_comes(&mut self) {
        if matches!(self.core.input.pens.held, Held::No) {
            self.pen_leaves();
        }
    }

    /// A client wants its window to follow the pen that is on it: the pen becomes the pointer. Whether it has.
    pub(super) fn pen_takes_over(&mut self, id: WindowId) -> bool {
        let window = self.core.windows.get(id).map(|window| window.vm.clone());
        let on_it =
            matches!(&self.core.input.pens.held, Held::Client { vm, .. } if Some(vm) == window.as_ref());
        let Some(tool) = self.core.input.pens.tool.filter(|_| on_it) else {
            return false;
        };
        if !self.core.input.buttons.is_empty() || !self.core.input.pens.pressed.contains(&TIP) {
            return false;
        }
        for code in std::mem::take(&mut self.core.input.pens.pressed) {
            self.let_go(tool, code);
        }
        self.pen_leaves();
        self.core.input.pens.pressed.insert(TIP);
        self.core.input.pens.held = Held::Pointer;
        self.core.input.hold(BTN_LEFT);
        true
    }

    fn pen_of(&mut self, vm: &VmName, tool: Tool) -> Option<(TabletHandle, TabletToolHandle)> {
        let tablets = self.core.vms.get(vm)?.seat.tablet_seat();
        let display = self.core.display_handle.clone();
        let tablet = tablets.get_tablet(&tablet())?;
        let tool = tablets.add_tool::<Self>(self, &display, &tool.descriptor());
        Some((tablet, tool))
    }
}

/// A button of a pen as a mouse would have it.
fn as_mouse(code: u32) -> u32 {
    match code {
        TIP => BTN_LEFT,
        BTN_STYLUS => BTN_RIGHT,
        _ => BTN_MIDDLE,
    }
}
