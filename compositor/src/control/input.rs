// SPDX-License-Identifier: MIT OR Apache-2.0
//! Input that is asked for over the control socket, on the headless backend: what hands would do, without hands.

use smithay::backend::input::{
    Axis, AxisSource, ButtonState, KeyState, Keycode, TabletToolCapabilities, TabletToolType,
};
use smithay::utils::{Logical, Point};

use super::keys;
use super::protocol::{InputRequest, KeyAction, PenAction, TouchAction};
use crate::input::{Axes, Event, Pen, Stroke, Tool, Touch};
use crate::state::State;

/// evdev's code of a pen's first button.
const BTN_STYLUS: u32 = 0x14b;

pub(super) fn input(state: &mut State, request: InputRequest) -> Result<(), String> {
    match request {
        InputRequest::Key { name, action } => {
            let key =
                keys::by_name(&state.core, &name).ok_or_else(|| format!("no key {name:?} in this layout"))?;
            press_key(state, key.code, action);
        }
        InputRequest::Type { text } => {
            let shift = keys::by_name(&state.core, "Shift_L").ok_or("this layout has no Shift")?;
            for character in text.chars() {
                let key = keys::by_char(&state.core, character)
                    .ok_or_else(|| format!("no key for {character:?} in this layout"))?;
                if key.shift {
                    press_key(state, shift.code, KeyAction::Press);
                }
                press_key(state, key.code, KeyAction::Tap);
                if key.shift {
                    press_key(state, shift.code, KeyAction::Release);
                }
            }
        }
        InputRequest::Motion { x, y } => state.input(Event::Motion((x, y).into())),
        InputRequest::Button { name, action } => {
            let code = match name.as_str() {
                "left" => 0x110,
                "right" => 0x111,
                "middle" => 0x112,
                other => return Err(format!("no button {other:?}; there are left, right and middle")),
            };
            if action != KeyAction::Release {
                state.input(Event::Button(code, ButtonState::Pressed));
            }
            if action != KeyAction::Press {
                state.input(Event::Button(code, ButtonState::Released));
            }
        }
        InputRequest::Axis { clicks } => {
            state.input(Event::Scroll(
                Axis::Vertical,
                AxisSource::Wheel,
                clicks * 15.0,
                Some(clicks * 120.0),
            ));
        }
        InputRequest::Touch { action, finger, x, y } => touch(state, action, finger, (x, y).into()),
        InputRequest::Pen {
            action,
            x,
            y,
            pressure,
        } => pen(state, action, (x, y).into(), pressure),
    }
    Ok(())
}

fn touch(state: &mut State, action: TouchAction, finger: u32, at: Point<f64, Logical>) {
    state.core.offer_touch(true);
    state.input(Event::Touch(match action {
        TouchAction::Down => Touch::Down(finger, at),
        TouchAction::Motion => Touch::Motion(finger, at),
        TouchAction::Up => Touch::Up(finger),
        TouchAction::Cancel => Touch::Cancel,
    }));
    state.input(Event::Touch(Touch::Frame));
}

fn pen(state: &mut State, action: PenAction, at: Point<f64, Logical>, pressure: Option<f64>) {
    state.core.offer_pen(true);
    let stroke = match action {
        PenAction::Hover => Stroke::Hover,
        PenAction::Down => Stroke::Down,
        PenAction::Up => Stroke::Up,
        PenAction::ButtonPress => Stroke::Button(BTN_STYLUS, ButtonState::Pressed),
        PenAction::ButtonRelease => Stroke::Button(BTN_STYLUS, ButtonState::Released),
        PenAction::Away => Stroke::Away,
    };
    let axes = Axes {
        pressure,
        ..Axes::default()
    };
    let tool = Tool {
        device: 0,
        kind: TabletToolType::Pen,
        capabilities: TabletToolCapabilities::PRESSURE,
    };
    state.input(Event::Pen(Pen {
        tool,
        at,
        axes,
        stroke,
    }));
}

fn press_key(state: &mut State, code: Keycode, action: KeyAction) {
    if action != KeyAction::Release {
        state.input(Event::Key(code, KeyState::Pressed));
        state.apply_focus();
    }
    if action != KeyAction::Press {
        state.input(Event::Key(code, KeyState::Released));
    }
}
