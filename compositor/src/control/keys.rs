// SPDX-License-Identifier: MIT OR Apache-2.0
//! From key names and characters to key codes of the keyboard in use.

use smithay::backend::input::Keycode;
use smithay::input::keyboard::{Keysym, xkb};

use crate::state::Core;

/// A key, and whether Shift must be held for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) code: Keycode,
    pub(super) shift: bool,
}

/// The key with this xkb name (`Return`, `a`, `Super_L`).
pub(super) fn by_name(core: &Core, name: &str) -> Option<Key> {
    let symbol = xkb::keysym_from_name(name, xkb::KEYSYM_NO_FLAGS);
    (symbol != Keysym::NoSymbol)
        .then(|| by_symbol(core, symbol))
        .flatten()
}

/// The key for a character.
pub(super) fn by_char(core: &Core, character: char) -> Option<Key> {
    match character {
        '\n' => by_symbol(core, Keysym::Return),
        '\t' => by_symbol(core, Keysym::Tab),
        other => by_symbol(core, xkb::utf32_to_keysym(other.into())),
    }
}

fn by_symbol(core: &Core, symbol: Keysym) -> Option<Key> {
    let config = &core.config;
    let keyboard = &config.keyboard;
    let keymap = xkb::Keymap::new_from_names(
        &xkb::Context::new(xkb::CONTEXT_NO_FLAGS),
        "",
        "",
        &keyboard.layout,
        &keyboard.variant,
        (!keyboard.options.is_empty()).then(|| keyboard.options.clone()),
        xkb::KEYMAP_COMPILE_NO_FLAGS,
    )?;
    [false, true].into_iter().find_map(|shift| {
        (keymap.min_keycode().raw()..=keymap.max_keycode().raw())
            .map(Keycode::new)
            .find(|code| {
                keymap
                    .key_get_syms_by_level(*code, 0, u32::from(shift))
                    .contains(&symbol)
            })
            .map(|code| Key { code, shift })
    })
}
