// SPDX-License-Identifier: MIT OR Apache-2.0
//! What kind of input device this is, from what the kernel says that it can do. Pure.
//!
//! libinput takes its devices by the `ID_INPUT_*` properties alone, so the words and what they stand for are those
//! that udev gives.

use std::ops::Range;

/// Codes of `linux/input-event-codes.h`.
mod code {
    pub(super) const EV_KEY: usize = 0x01;
    pub(super) const EV_REL: usize = 0x02;
    pub(super) const EV_ABS: usize = 0x03;
    pub(super) const EV_SW: usize = 0x05;
    pub(super) const REL_X: usize = 0x00;
    pub(super) const REL_Y: usize = 0x01;
    pub(super) const ABS_X: usize = 0x00;
    pub(super) const ABS_Y: usize = 0x01;
    pub(super) const ABS_MT_SLOT: usize = 0x2f;
    pub(super) const ABS_MT_POSITION_X: usize = 0x35;
    pub(super) const ABS_MT_POSITION_Y: usize = 0x36;
    pub(super) const BTN_MISC: usize = 0x100;
    pub(super) const BTN_0: usize = 0x100;
    pub(super) const BTN_1: usize = 0x101;
    pub(super) const BTN_MOUSE: usize = 0x110;
    pub(super) const BTN_JOYSTICK: usize = 0x120;
    pub(super) const BTN_DIGI: usize = 0x140;
    pub(super) const BTN_TOOL_PEN: usize = 0x140;
    pub(super) const BTN_TOOL_FINGER: usize = 0x145;
    pub(super) const BTN_TOUCH: usize = 0x14a;
    pub(super) const BTN_STYLUS: usize = 0x14b;
    pub(super) const KEY_OK: usize = 0x160;
    pub(super) const BTN_DPAD_UP: usize = 0x220;
    pub(super) const BTN_TRIGGER_HAPPY: usize = 0x2c0;
    pub(super) const KEY_MAX: usize = 0x2ff;
    pub(super) const PROP_DIRECT: usize = 0x01;
    pub(super) const PROP_POINTING_STICK: usize = 0x05;
    pub(super) const PROP_ACCELEROMETER: usize = 0x06;
}

/// A set of bits as sysfs shows it: hexadecimal words, the most significant first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// Reads one; a word that is none counts as empty.
    pub(super) fn parse(text: &str) -> Self {
        let words = text.split_whitespace().rev();
        Self(
            words
                .map(|word| u64::from_str_radix(word, 16).unwrap_or(0))
                .collect(),
        )
    }

    fn has(&self, bit: usize) -> bool {
        self.0
            .get(bit / 64)
            .is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    fn any(&self, mut bits: Range<usize>) -> bool {
        bits.any(|bit| self.has(bit))
    }
}

/// What a device says of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Capabilities {
    pub(super) ev: Bits,
    pub(super) key: Bits,
    pub(super) rel: Bits,
    pub(super) abs: Bits,
    pub(super) properties: Bits,
}

/// The properties that say what a device is; none for one that libinput has no use for.
pub(super) fn classify(device: &Capabilities) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    if device.properties.has(code::PROP_ACCELEROMETER) {
        kinds.push("ID_INPUT_ACCELEROMETER");
    } else {
        pointer(device, &mut kinds);
    }
    if device.properties.has(code::PROP_POINTING_STICK) {
        kinds.push("ID_INPUT_POINTINGSTICK");
    }
    if device.ev.has(code::EV_KEY) {
        keyboard(device, &mut kinds);
    }
    if device.ev.has(code::EV_SW) {
        kinds.push("ID_INPUT_SWITCH");
    }
    kinds
}

fn pointer(device: &Capabilities, kinds: &mut Vec<&'static str>) {
    let Capabilities {
        ev,
        key,
        rel,
        abs,
        properties,
    } = device;
    let place = ev.has(code::EV_ABS) && abs.has(code::ABS_X) && abs.has(code::ABS_Y);
    // A slot's axis alone is no touch device: some joysticks count through all axes.
    let touches = ev.has(code::EV_ABS)
        && abs.has(code::ABS_MT_POSITION_X)
        && abs.has(code::ABS_MT_POSITION_Y)
        && !(abs.has(code::ABS_MT_SLOT) && abs.has(code::ABS_MT_SLOT - 1));
    let motion = ev.has(code::EV_REL) && rel.has(code::REL_X) && rel.has(code::REL_Y);
    let direct = properties.has(code::PROP_DIRECT);
    let (pen, finger) = (key.has(code::BTN_TOOL_PEN), key.has(code::BTN_TOOL_FINGER));
    let buttons = key.any(code::BTN_MOUSE..code::BTN_JOYSTICK);
    let joystick = key.any(code::BTN_JOYSTICK..code::BTN_DIGI)
        || key.any(code::BTN_TRIGGER_HAPPY..code::KEY_MAX + 1)
        || key.any(code::BTN_DPAD_UP..code::BTN_DPAD_UP + 4);
    let kind = if place && (key.has(code::BTN_STYLUS) || pen) {
        Some("ID_INPUT_TABLET")
    } else if (place || touches) && finger && !pen && !direct {
        Some("ID_INPUT_TOUCHPAD")
    } else if place && buttons {
        // An absolute pointer, such as a virtual machine's.
        Some("ID_INPUT_MOUSE")
    } else if (place || touches) && (key.has(code::BTN_TOUCH) || direct) {
        Some("ID_INPUT_TOUCHSCREEN")
    } else if joystick {
        Some("ID_INPUT_JOYSTICK")
    } else if motion && (buttons || !ev.has(code::EV_KEY)) {
        Some("ID_INPUT_MOUSE")
    } else {
        None
    };
    kinds.extend(kind);
    // A pad's buttons come as a device of their own.
    if kind.is_none() && place && key.has(code::BTN_0) && key.has(code::BTN_1) {
        kinds.extend(["ID_INPUT_TABLET", "ID_INPUT_TABLET_PAD"]);
    }
}

fn keyboard(device: &Capabilities, kinds: &mut Vec<&'static str>) {
    let key = &device.key;
    let keys = key.any(1..code::BTN_MISC)
        || key.any(code::KEY_OK..code::BTN_DPAD_UP)
        || key.any(code::BTN_DPAD_UP + 4..code::BTN_TRIGGER_HAPPY);
    if keys {
        kinds.push("ID_INPUT_KEY");
    }
    // Escape, digits and the upper letters: enough to be something that a person types on.
    if (1..32).all(|bit| key.has(bit)) {
        kinds.push("ID_INPUT_KEYBOARD");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(ev: &str, key: &str, rel: &str, abs: &str, properties: &str) -> Vec<&'static str> {
        classify(&Capabilities {
            ev: Bits::parse(ev),
            key: Bits::parse(key),
            rel: Bits::parse(rel),
            abs: Bits::parse(abs),
            properties: Bits::parse(properties),
        })
    }

    #[test]
    fn bits_are_read_from_the_last_word() {
        let bits = Bits::parse("1 0 8000000000000001\n");
        assert!(bits.has(0) && bits.has(63) && bits.has(128));
        assert!(!bits.has(1) && !bits.has(64) && !bits.has(129) && !bits.has(100_000));
        assert!(!Bits::parse("nonsense").has(0));
    }

    /// Capabilities as `/sys/class/input` shows them for real and emulated devices.
    #[test]
    fn devices_are_what_udev_says_they_are() {
        let keyboard = "402000000 3803078f800d001 feffffdfffefffff fffffffffffffffe";
        assert_eq!(
            device("120013", keyboard, "0", "0", "0"),
            ["ID_INPUT_KEY", "ID_INPUT_KEYBOARD"]
        );
        // QEMU's virtio tablet: absolute place and mouse buttons.
        assert_eq!(device("f", "1f0000 0 0 0 0", "100", "3", "0"), ["ID_INPUT_MOUSE"]);
        // A mouse.
        assert_eq!(
            device("17", "ff0000 0 0 0 0", "903", "0", "0"),
            ["ID_INPUT_MOUSE"]
        );
        // A touchpad: BTN_LEFT, BTN_TOOL_FINGER, BTN_TOUCH, slots.
        assert_eq!(
            device("b", "e520 10000 0 0 0 0", "0", "2e0800000000003", "5"),
            ["ID_INPUT_TOUCHPAD"]
        );
        // A touch screen.
        assert_eq!(
            device("b", "400 0 0 0 0 0", "0", "260800000000003", "2"),
            ["ID_INPUT_TOUCHSCREEN"]
        );
        // A pen display.
        assert_eq!(
            device("1b", "1c03 0 0 0 0 0", "0", "1000d000003", "2"),
            ["ID_INPUT_TABLET"]
        );
        // The power button.
        assert_eq!(device("3", "10000000000000 0", "0", "0", "0"), ["ID_INPUT_KEY"]);
        // A lid.
        assert_eq!(device("21", "0", "0", "0", "0"), ["ID_INPUT_SWITCH"]);
        // A gamepad.
        assert_eq!(
            device("20000b", "7cdb000000000000 0 0 0 0", "0", "3003f", "0"),
            ["ID_INPUT_JOYSTICK"]
        );
        // A loudspeaker.
        assert_eq!(device("40001", "0", "0", "0", "0"), [""; 0]);
    }
}
