// SPDX-License-Identifier: MIT OR Apache-2.0
//! Key chords as they are written: modifiers and a key, joined by `+`.

use kdl::KdlEntry;

use crate::keys::{KeyChord, Modifiers};
use crate::schema::reader::Reader;
use crate::schema::suggest::did_you_mean;

/// Keys besides letters, digits, `F1` to `F24` and `XF86..`, by their keysym names.
const KEYS: &[&str] = &[
    "Up",
    "Down",
    "Left",
    "Right",
    "Home",
    "End",
    "Prior",
    "Next",
    "Insert",
    "Delete",
    "BackSpace",
    "Tab",
    "Return",
    "Escape",
    "space",
    "Print",
    "Pause",
    "Menu",
    "Scroll_Lock",
    "grave",
    "minus",
    "equal",
    "bracketleft",
    "bracketright",
    "backslash",
    "semicolon",
    "apostrophe",
    "comma",
    "period",
    "slash",
    "less",
];

/// Names that people write, and the keysym that they mean.
const ALIASES: &[(&str, &str)] = &[
    ("Enter", "Return"),
    ("Esc", "Escape"),
    ("Space", "space"),
    ("PageUp", "Prior"),
    ("PageDown", "Next"),
    ("Page_Up", "Prior"),
    ("Page_Down", "Next"),
    ("Del", "Delete"),
];

const MODIFIERS: &[&str] = &["Super", "Ctrl", "Alt", "Shift"];

/// A chord, for example `"Super+Shift+E"`.
pub(super) fn chord(reader: &mut Reader<'_>, entry: &KdlEntry) -> Option<KeyChord> {
    let text = reader.text(entry)?;
    match parse(text) {
        Ok(chord) => Some(chord),
        Err(hint) => {
            reader.error(entry, format!("{text:?} is not a key chord"), hint);
            None
        }
    }
}

/// Modifiers without a key, for example `"Super"`.
pub(super) fn modifiers(reader: &mut Reader<'_>, entry: &KdlEntry) -> Option<Modifiers> {
    let text = reader.text(entry)?;
    let mut all = Modifiers::default();
    for part in text.split('+') {
        if let Err(hint) = add_modifier(&mut all, part) {
            reader.error(entry, format!("{text:?} is not a modifier"), hint);
            return None;
        }
    }
    if !(all.ctrl || all.alt || all.logo) {
        reader.error(
            entry,
            "Shift alone cannot be the modifier",
            "Super, Ctrl or Alt".to_owned(),
        );
        return None;
    }
    Some(all)
}

fn parse(text: &str) -> Result<KeyChord, String> {
    let mut modifiers = Modifiers::default();
    let mut parts = text.split('+').peekable();
    let mut key = "";
    while let Some(part) = parts.next() {
        if parts.peek().is_some() {
            add_modifier(&mut modifiers, part)?;
        } else {
            key = part;
        }
    }
    let key = keysym(key)?;
    let typed = !(modifiers.ctrl || modifiers.alt || modifiers.logo);
    let harmless = is_function_key(&key)
        || key.starts_with("XF86")
        || ["Print", "Pause", "Menu", "Scroll_Lock"].contains(&key.as_str());
    if typed && !harmless {
        return Err(format!("{text} is needed for typing; add Super, Ctrl or Alt"));
    }
    Ok(KeyChord { modifiers, key })
}

fn add_modifier(modifiers: &mut Modifiers, name: &str) -> Result<(), String> {
    let slot = match name {
        "Super" => &mut modifiers.logo,
        "Ctrl" => &mut modifiers.ctrl,
        "Alt" => &mut modifiers.alt,
        "Shift" => &mut modifiers.shift,
        other => {
            let hint = match other.to_ascii_lowercase().as_str() {
                "mod4" | "logo" | "meta" | "win" | "super" | "cmd" => {
                    Some("did you mean \"Super\"?".to_owned())
                }
                "control" | "ctrl" | "strg" => Some("did you mean \"Ctrl\"?".to_owned()),
                "mod1" | "alt" => Some("did you mean \"Alt\"?".to_owned()),
                _ => did_you_mean(other, MODIFIERS),
            };
            return Err(
                hint.unwrap_or_else(|| format!("modifiers are {}; a key comes last", MODIFIERS.join(", ")))
            );
        }
    };
    if std::mem::replace(slot, true) {
        return Err(format!("{name} is there twice"));
    }
    Ok(())
}

fn is_function_key(name: &str) -> bool {
    let number = name
        .strip_prefix('F')
        .filter(|digits| !digits.starts_with(['0', '+']));
    number
        .and_then(|digits| digits.parse::<u8>().ok())
        .is_some_and(|number| (1..=24).contains(&number))
}

/// The keysym that `name` means.
fn keysym(name: &str) -> Result<String, String> {
    if name.len() == 1 && name.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Ok(name.to_ascii_lowercase());
    }
    let vendor = name.strip_prefix("XF86").is_some_and(|rest| {
        (1..=40).contains(&rest.len()) && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    });
    if vendor || is_function_key(name) || KEYS.contains(&name) {
        return Ok(name.to_owned());
    }
    if let Some((_, keysym)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return Ok((*keysym).to_owned());
    }
    if MODIFIERS.contains(&name) {
        return Err("a chord ends with a key that is not a modifier".to_owned());
    }
    let shown: String = name.chars().take(32).collect();
    let known: Vec<_> = KEYS
        .iter()
        .chain(ALIASES.iter().map(|(alias, _)| alias))
        .copied()
        .collect();
    Err(did_you_mean(name, &known)
        .unwrap_or_else(|| format!("there is no key {shown:?}; for example: Super+Q, Alt+Tab")))
}
