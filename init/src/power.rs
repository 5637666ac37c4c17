// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine's power button while no compositor runs: then nobody else would hear it. What it means while one runs is
//! the compositor's to say.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use calloop::generic::Generic;
use calloop::{Interest, LoopHandle, Mode, PostAction};
use tracing::warn;

use super::Init;
use super::shutdown::Ending;

const EV_KEY: u16 = 1;
const KEY_POWER: u16 = 116;
/// `struct input_event` on 64-bit machines: two words of time, then type, code and value.
const EVENT: usize = 24;

/// Whether an event is the press of a power button.
fn is_press(event: &[u8; EVENT]) -> bool {
    let [.., t0, t1, c0, c1, v0, v1, v2, v3] = *event;
    let kind = u16::from_ne_bytes([t0, t1]);
    let code = u16::from_ne_bytes([c0, c1]);
    (kind, code, i32::from_ne_bytes([v0, v1, v2, v3])) == (EV_KEY, KEY_POWER, 1)
}

/// Whether sysfs says that a device has a power button and is no keyboard.
fn is_button(device: &Path) -> bool {
    let keys = fs::read_to_string(device.join("capabilities/key")).unwrap_or_default();
    let words: Vec<u64> = keys
        .split_whitespace()
        .rev()
        .map(|word| u64::from_str_radix(word, 16).unwrap_or(0))
        .collect();
    let has = |bit: u16| {
        words
            .get(usize::from(bit / 64))
            .is_some_and(|word| word >> (bit % 64) & 1 == 1)
    };
    // Key 1 is Escape.
    has(KEY_POWER) && !has(1)
}

/// Listens to all power buttons that are there; they do not come later.
pub(super) fn watch(handle: &LoopHandle<'static, Init>) {
    let Ok(entries) = fs::read_dir("/sys/class/input") else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with("event") || !is_button(&entry.path().join("device")) {
            continue;
        }
        let path = Path::new("/dev/input").join(name);
        if let Err(why) = listen(handle, &path) {
            warn!(
                "the power button {} does nothing while no compositor runs: {why}",
                path.display()
            );
        }
    }
}

fn listen(handle: &LoopHandle<'static, Init>, path: &Path) -> Result<(), String> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let button = File::options().read(true).custom_flags(flags).open(path);
    let button = button.map_err(|error| error.to_string())?;
    let source = Generic::new(button, Interest::READ, Mode::Level);
    handle
        .insert_source(source, |_, button, init: &mut Init| {
            let mut button: &File = button;
            let mut event = [0; EVENT];
            match button.read(&mut event) {
                Ok(EVENT) => {
                    if is_press(&event) && !init.processes.compositor_runs() {
                        init.end(Ending::PowerOff, "the power button");
                    }
                    Ok(PostAction::Continue)
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(PostAction::Continue),
                // Gone.
                Ok(_) | Err(_) => Ok(PostAction::Remove),
            }
        })
        .map(|_| ())
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: u16, code: u16, value: i32) -> [u8; EVENT] {
        let mut event = [7; EVENT];
        event[16..18].copy_from_slice(&kind.to_ne_bytes());
        event[18..20].copy_from_slice(&code.to_ne_bytes());
        event[20..24].copy_from_slice(&value.to_ne_bytes());
        event
    }

    #[test]
    fn a_press_is_one_and_nothing_else_is() {
        assert!(is_press(&event(EV_KEY, KEY_POWER, 1)));
        for other in [
            event(EV_KEY, KEY_POWER, 0),
            event(EV_KEY, 30, 1),
            event(0, KEY_POWER, 1),
        ] {
            assert!(!is_press(&other));
        }
    }

    #[test]
    fn a_keyboard_with_a_power_key_is_no_power_button() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("capabilities")).unwrap();
        for (keys, expected) in [
            ("10000000000000 0\n", true),
            (
                "402000000 3803078f800d001 feffffdfffefffff fffffffffffffffe\n",
                false,
            ),
            ("0\n", false),
        ] {
            fs::write(dir.path().join("capabilities/key"), keys).unwrap();
            assert_eq!(is_button(dir.path()), expected, "{keys}");
        }
    }
}
