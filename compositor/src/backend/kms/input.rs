// SPDX-License-Identifier: MIT OR Apache-2.0
//! From libinput's devices to the compositor's events.
//!
//! Positions of absolute devices become places on the desktop; what fingers and pens mean is decided in `crate::input`.

use heraldry_config::{AccelProfile, InputSettings, Pointing};
use smithay::backend::input::{
    AbsolutePositionEvent, InputEvent, KeyboardKeyEvent, PointerButtonEvent, PointerMotionEvent,
    ProximityState, TabletToolButtonEvent, TabletToolEvent, TabletToolProximityEvent, TabletToolTipEvent,
    TabletToolTipState, TouchEvent,
};
use smithay::backend::libinput::LibinputInputBackend;
use smithay::utils::{Logical, Point};
use tracing::{debug, info};

use crate::backend::{Backend, finger};
use crate::desktop::outputs::Screen;
use crate::input::{Axes, Event, Pen, Stroke, Tool, Touch};
use crate::state::State;

/// Puts settings in force.
pub(super) fn set_up(device: &mut ::input::Device, settings: &InputSettings) {
    let touchpad = device.config_tap_finger_count() > 0;
    let Pointing {
        speed,
        profile,
        natural_scroll,
        left_handed,
        tap,
        off_while_typing,
    } = if touchpad {
        settings.touchpad
    } else {
        settings.pointer
    };
    let mut refused = Vec::new();
    let mut set = |what: &'static str, done: Option<::input::DeviceConfigResult>| {
        if let Some(Err(_)) = done {
            refused.push(what);
        }
    };
    set(
        "speed",
        speed
            .filter(|_| device.config_accel_is_available())
            .map(|speed| device.config_accel_set_speed(speed)),
    );
    let profile = profile.map(|profile| match profile {
        AccelProfile::Adaptive => ::input::AccelProfile::Adaptive,
        AccelProfile::Flat => ::input::AccelProfile::Flat,
    });
    set(
        "profile",
        profile
            .filter(|_| device.config_accel_is_available())
            .map(|profile| device.config_accel_set_profile(profile)),
    );
    let natural = natural_scroll.filter(|_| device.config_scroll_has_natural_scroll());
    set(
        "natural-scroll",
        natural.map(|on| device.config_scroll_set_natural_scroll_enabled(on)),
    );
    let left = left_handed.filter(|_| device.config_left_handed_is_available());
    set("left-handed", left.map(|on| device.config_left_handed_set(on)));
    if touchpad {
        set("tap", tap.map(|on| device.config_tap_set_enabled(on)));
        let typing = off_while_typing.filter(|_| device.config_dwt_is_available());
        set(
            "off-while-typing",
            typing.map(|on| device.config_dwt_set_enabled(on)),
        );
    }
    if !refused.is_empty() {
        info!(
            device = device.sysname(),
            ?refused,
            "the device does not take these settings"
        );
    }
}

/// Takes the devices that are there at the start, of which libinput tells without its descriptor becoming readable.
pub(super) fn greet(state: &mut State, libinput: &mut ::input::Libinput) {
    if let Err(error) = libinput.dispatch() {
        debug!(%error, "libinput has nothing to say yet");
    }
    for event in libinput {
        if let ::input::Event::Device(::input::event::DeviceEvent::Added(event)) = event {
            added(state, ::input::event::EventTrait::device(&event));
        }
    }
}

fn added(state: &mut State, mut device: ::input::Device) {
    set_up(&mut device, &state.core.config.input);
    info!(device = device.sysname(), "input device");
    if let Backend::Kms(kms) = &mut state.backend {
        kms.devices.push(device);
    }
    offer(state);
}

/// Seats can be touched and drawn on as long as there is a device for it.
fn offer(state: &mut State) {
    if let Backend::Kms(kms) = &state.backend {
        let any = |capability| kms.devices.iter().any(|device| device.has_capability(capability));
        state.core.offer_touch(any(::input::DeviceCapability::Touch));
        state.core.offer_pen(any(::input::DeviceCapability::TabletTool));
    }
}

/// Takes one event.
pub(super) fn handle(state: &mut State, event: InputEvent<LibinputInputBackend>) {
    match event {
        InputEvent::DeviceAdded { device } => added(state, device),
        InputEvent::DeviceRemoved { device } => {
            info!(device = device.sysname(), "input device gone");
            if let Backend::Kms(kms) = &mut state.backend {
                kms.devices.retain(|other| *other != device);
            }
            // Its keys and buttons will never be released.
            state.release_input();
            offer(state);
        }
        InputEvent::Keyboard { event } => state.input(Event::Key(event.key_code(), event.state())),
        InputEvent::PointerMotion { event } => {
            let to = state.core.input.pointer + event.delta();
            state.input(Event::Motion(to));
        }
        InputEvent::PointerMotionAbsolute { event } => move_to(state, &event),
        InputEvent::PointerButton { event } => state.input(Event::Button(event.button_code(), event.state())),
        InputEvent::PointerAxis { event } => crate::backend::scroll(state, &event),
        InputEvent::TabletToolAxis { event } => pen(state, &event, Stroke::Hover),
        InputEvent::TabletToolProximity { event } => match event.state() {
            ProximityState::In => pen(state, &event, Stroke::Hover),
            ProximityState::Out => pen(state, &event, Stroke::Away),
        },
        InputEvent::TabletToolTip { event } => match TabletToolTipEvent::tip_state(&event) {
            TabletToolTipState::Down => pen(state, &event, Stroke::Down),
            TabletToolTipState::Up => pen(state, &event, Stroke::Up),
        },
        InputEvent::TabletToolButton { event } => {
            let stroke = Stroke::Button(
                TabletToolButtonEvent::button(&event),
                TabletToolButtonEvent::button_state(&event),
            );
            pen(state, &event, stroke);
        }
        InputEvent::TouchDown { event } => {
            let at = place(state, &event);
            state.input(Event::Touch(Touch::Down(finger_of(&event), at)));
        }
        InputEvent::TouchMotion { event } => {
            let at = place(state, &event);
            state.input(Event::Touch(Touch::Motion(finger_of(&event), at)));
        }
        InputEvent::TouchUp { event } => state.input(Event::Touch(Touch::Up(finger_of(&event)))),
        InputEvent::TouchFrame { .. } => state.input(Event::Touch(Touch::Frame)),
        InputEvent::TouchCancel { .. } => state.input(Event::Touch(Touch::Cancel)),
        other => debug!(event = ?std::mem::discriminant(&other), "an input event of no use here"),
    }
}

fn pen<E: TabletToolEvent<LibinputInputBackend>>(state: &mut State, event: &E, stroke: Stroke) {
    let tool = event.tool();
    let axes = Axes {
        pressure: event.pressure_has_changed().then(|| event.pressure()),
        distance: event.distance_has_changed().then(|| event.distance()),
        tilt: event.tilt_has_changed().then(|| event.tilt()),
        rotation: event.rotation_has_changed().then(|| event.rotation()),
        slider: event.slider_has_changed().then(|| event.slider_position()),
        wheel: event
            .wheel_has_changed()
            .then(|| (event.wheel_delta(), event.wheel_delta_discrete())),
    };
    let pen = Pen {
        tool: Tool {
            device: number(event.device().sysname()),
            kind: tool.tool_type,
            capabilities: tool.capabilities,
        },
        at: place(state, event),
        axes,
        stroke,
    };
    state.input(Event::Pen(pen));
}

/// The number of a device among those that are there, of its name such as `event7`.
fn number(sysname: &str) -> u32 {
    let digits = sysname.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.parse().unwrap_or(u32::MAX)
}

/// Fingers of two screens have the same slots.
fn finger_of<E: TouchEvent<LibinputInputBackend>>(event: &E) -> u32 {
    finger_on(event.device().sysname(), finger(event.slot()))
}

fn finger_on(sysname: &str, slot: u32) -> u32 {
    (number(sysname) << 16) | (slot & 0xffff)
}

fn move_to<E: AbsolutePositionEvent<LibinputInputBackend>>(state: &mut State, event: &E) {
    let to = place(state, event);
    state.input(Event::Motion(to));
}

/// Where an absolute device points: it covers a screen, as it stands and not as its picture is turned.
fn place<E: AbsolutePositionEvent<LibinputInputBackend>>(state: &State, event: &E) -> Point<f64, Logical> {
    let device = event.device();
    let built_in = device.has_capability(::input::DeviceCapability::Touch);
    let screen = screen_of(state, device.output_name(), built_in);
    let (rect, transform) = (screen.rect(), screen.output().current_transform());
    let size = transform.invert().transform_size(rect.size);
    let at: Point<f64, Logical> =
        transform.transform_point_in(event.position_transformed(size), &size.to_f64());
    at + rect.loc.to_f64()
}

/// The screen that a device covers: what udev says of it (`WL_OUTPUT`), for what is touched the panel that is built
/// in, else the first.
fn screen_of<'a>(state: &'a State, said: Option<&str>, built_in: bool) -> &'a Screen {
    let outputs = &state.core.outputs;
    let said = said.and_then(|said| outputs.iter().find(|screen| screen.connector() == Some(said)));
    let panel = || {
        let is_panel = |screen: &&Screen| {
            let name = screen.connector().unwrap_or_default();
            ["eDP", "LVDS", "DSI"].iter().any(|panel| name.starts_with(panel))
        };
        outputs.iter().find(is_panel).filter(|_| built_in)
    };
    said.or_else(panel).unwrap_or_else(|| outputs.first())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingers_of_two_devices_have_different_numbers() {
        let names = ["event0", "event1", "event2", "event12", "event300"];
        let all: std::collections::BTreeSet<_> = names
            .iter()
            .flat_map(|name| (0..20).map(|slot| finger_on(name, slot)))
            .collect();
        assert_eq!(all.len(), 100);
    }
}
