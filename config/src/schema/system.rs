// SPDX-License-Identifier: MIT OR Apache-2.0
//! The nodes that are about the compositor and the host: `keyboard`, `appearance`, `host`, `keys`.

use std::time::Duration;

use heraldry_identity::Rgb;
use kdl::{KdlEntry, KdlNode};

use crate::keys::Keys;
use crate::origin::Origins;
use crate::schema::chord;
use crate::schema::reader::Reader;
use crate::settings::{Appearance, HandOver, Host, Keyboard};

const KEYBOARD: &[&str] = &["layout", "variant", "options", "repeat-rate", "repeat-delay"];

/// `keyboard layout="de" ..` or `keyboard { layout "de"; .. }`.
pub(super) fn keyboard(
    reader: &mut Reader<'_>,
    node: &KdlNode,
    keyboard: &mut Keyboard,
    origins: &mut Origins,
) {
    reader.arguments(node, 0..=0);
    let properties = reader.properties(node, KEYBOARD);
    for (name, entry) in &properties {
        keyboard_setting(reader, name, entry, (keyboard, origins));
    }
    for child in reader.children(node, KEYBOARD) {
        let name = child.name().value();
        if properties.iter().any(|(other, _)| *other == name) {
            reader.error(
                child,
                format!("{name:?} is set twice"),
                "it is also a property of keyboard".to_owned(),
            );
        } else if let Some(entry) = reader.only_value(child) {
            keyboard_setting(reader, name, entry, (keyboard, origins));
        }
    }
}

fn keyboard_setting(
    reader: &mut Reader<'_>,
    name: &str,
    entry: &KdlEntry,
    target: (&mut Keyboard, &mut Origins),
) {
    let (keyboard, origins) = target;
    match name {
        "layout" => {
            let value = xkb(reader, entry).filter(|layout| !layout.is_empty());
            if value.is_none() && entry.value().as_string() == Some("") {
                reader.error(
                    entry,
                    "the layout is empty",
                    "for example: layout \"de\"".to_owned(),
                );
            }
            reader.put(origins, "keyboard.layout", entry, value, &mut keyboard.layout);
        }
        "variant" => {
            let value = xkb(reader, entry);
            reader.put(origins, "keyboard.variant", entry, value, &mut keyboard.variant);
        }
        "options" => {
            let value = xkb(reader, entry);
            reader.put(origins, "keyboard.options", entry, value, &mut keyboard.options);
        }
        "repeat-rate" => {
            let value = reader.number(entry, 0..=100, "repeats a second");
            reader.put(
                origins,
                "keyboard.repeat-rate",
                entry,
                value,
                &mut keyboard.repeat_rate,
            );
        }
        _ => {
            let value = reader.number(entry, 100..=2000, "milliseconds");
            reader.put(
                origins,
                "keyboard.repeat-delay",
                entry,
                value,
                &mut keyboard.repeat_delay,
            );
        }
    }
}

/// A list of XKB names; they become parts of file names, so their characters are few.
fn xkb(reader: &mut Reader<'_>, entry: &KdlEntry) -> Option<String> {
    let text = reader.text(entry)?;
    let good = |c: char| c.is_ascii_alphanumeric() || "_-,:+()".contains(c);
    if text.len() <= 128 && text.chars().all(good) {
        return Some(text.to_owned());
    }
    reader.error(
        entry,
        "not an XKB name",
        "letters, digits and _ - , : + ( ), at most 128".to_owned(),
    );
    None
}

/// `appearance { .. }`.
pub(super) fn appearance(
    reader: &mut Reader<'_>,
    node: &KdlNode,
    look: &mut Appearance,
    origins: &mut Origins,
) {
    reader.properties(node, &[]);
    reader.arguments(node, 0..=0);
    for child in reader.children(node, &["background", "font-size", "frame-width", "title-height"]) {
        let Some(entry) = reader.only_value(child) else {
            continue;
        };
        match child.name().value() {
            "background" => {
                let value = reader.parsed::<Rgb>(entry, "for example: background \"#20242b\"");
                reader.put(
                    origins,
                    "appearance.background",
                    child,
                    value,
                    &mut look.background,
                );
            }
            "font-size" => {
                let value = reader.number(entry, 8..=32, "pixels");
                reader.put(origins, "appearance.font-size", child, value, &mut look.font_size);
            }
            "frame-width" => {
                let value = reader.number(entry, 2..=16, "pixels");
                reader.put(
                    origins,
                    "appearance.frame-width",
                    child,
                    value,
                    &mut look.frame_width,
                );
            }
            _ => {
                let value = reader.number(entry, 16..=64, "pixels");
                reader.put(
                    origins,
                    "appearance.title-height",
                    child,
                    value,
                    &mut look.title_height,
                );
            }
        }
    }
    let least = look.font_size.saturating_add(8);
    if look.title_height < least {
        let message = format!(
            "title-height {} is too small for font-size {}",
            look.title_height, look.font_size
        );
        reader.error(node, message, format!("at least {least}"));
    }
}

/// `host { .. }`.
pub(super) fn host(reader: &mut Reader<'_>, node: &KdlNode, host: &mut Host, origins: &mut Origins) {
    reader.properties(node, &[]);
    reader.arguments(node, 0..=0);
    let known = [
        "dir",
        "hand-over",
        "memfd",
        "withdraw-after-ms",
        "connections-per-vm",
        "descriptors-per-connection",
    ];
    for child in reader.children(node, &known) {
        if child.name().value() == "memfd" {
            memfd(reader, child, host, origins);
            continue;
        }
        let Some(entry) = reader.only_value(child) else {
            continue;
        };
        match child.name().value() {
            "dir" => {
                let value = directory(reader, entry);
                reader.put(origins, "host.dir", child, value, &mut host.dir);
            }
            "hand-over" => {
                let value = reader.word(entry, HandOver::WORDS);
                reader.put(origins, "host.hand-over", child, value, &mut host.hand_over);
            }
            "withdraw-after-ms" => {
                let value = reader
                    .number(entry, 100..=60_000, "milliseconds")
                    .map(Duration::from_millis);
                reader.put(
                    origins,
                    "host.withdraw-after-ms",
                    child,
                    value,
                    &mut host.withdraw_after,
                );
            }
            "connections-per-vm" => {
                let value = reader.number(entry, 1..=1024, "connections");
                reader.put(
                    origins,
                    "host.connections-per-vm",
                    child,
                    value,
                    &mut host.connections_per_vm,
                );
            }
            _ => {
                let value = reader.number(entry, 28..=4096, "descriptors");
                let target = &mut host.descriptors_per_connection;
                reader.put(origins, "host.descriptors-per-connection", child, value, target);
            }
        }
    }
}

/// `memfd { bytes-per-vm 67108864; count-per-vm 256; bytes-for-others 0 }`.
fn memfd(reader: &mut Reader<'_>, node: &KdlNode, host: &mut Host, origins: &mut Origins) {
    reader.properties(node, &[]);
    reader.arguments(node, 0..=0);
    for child in reader.children(node, &["bytes-per-vm", "count-per-vm", "bytes-for-others"]) {
        let Some(entry) = reader.only_value(child) else {
            continue;
        };
        let limits = &mut host.memfd;
        match child.name().value() {
            "bytes-per-vm" => {
                let value = reader.number(entry, 1 << 20..=1 << 34, "bytes");
                let origin = "host.memfd.bytes-per-vm";
                reader.put(origins, origin, child, value, &mut limits.bytes_per_vm);
            }
            "bytes-for-others" => {
                let value = reader.number(entry, 0..=1 << 34, "bytes");
                let origin = "host.memfd.bytes-for-others";
                reader.put(origins, origin, child, value, &mut limits.bytes_for_others);
            }
            _ => {
                let value = reader.number(entry, 1..=4096, "memfds");
                let origin = "host.memfd.count-per-vm";
                reader.put(origins, origin, child, value, &mut limits.count_per_vm);
            }
        }
    }
}

fn directory(reader: &mut Reader<'_>, entry: &KdlEntry) -> Option<std::path::PathBuf> {
    let text = reader.text(entry)?;
    // Socket paths end up in a sockaddr_un of 108 bytes, with "/vm/<31 bytes>/wayland-0" after this one.
    let good = text.starts_with('/')
        && text.len() <= 60
        && !text.contains('\0')
        && !text.split('/').any(|p| p == "..");
    if !good {
        let hint = "an absolute path of at most 60 bytes without \"..\", for example: dir \"/run/heraldry\"";
        reader.error(entry, "not a folder for sockets", hint.to_owned());
        return None;
    }
    Some(text.into())
}

/// `keys { close "Super+Q"; .. }`.
pub(super) fn keys(reader: &mut Reader<'_>, node: &KdlNode, keys: &mut Keys, origins: &mut Origins) {
    const CHORDS: &[&str] = &[
        "close",
        "maximize",
        "minimize",
        "fullscreen",
        "next-window",
        "previous-window",
        "hide-vm",
        "show-vm",
        "quit",
        "reboot",
        "power-off",
        "move-modifier",
    ];
    reader.properties(node, &[]);
    reader.arguments(node, 0..=0);
    let mut set = Vec::new();
    for child in reader.children(node, CHORDS) {
        let Some(entry) = reader.only_value(child) else {
            continue;
        };
        let (path, target) = match child.name().value() {
            "close" => ("keys.close", &mut keys.close),
            "maximize" => ("keys.maximize", &mut keys.maximize),
            "minimize" => ("keys.minimize", &mut keys.minimize),
            "fullscreen" => ("keys.fullscreen", &mut keys.fullscreen),
            "next-window" => ("keys.next-window", &mut keys.next_window),
            "previous-window" => ("keys.previous-window", &mut keys.previous_window),
            "hide-vm" => ("keys.hide-vm", &mut keys.hide_vm),
            "show-vm" => ("keys.show-vm", &mut keys.show_vm),
            "quit" => ("keys.quit", &mut keys.quit),
            "reboot" => ("keys.reboot", &mut keys.reboot),
            "power-off" => ("keys.power-off", &mut keys.power_off),
            _ => {
                let value = chord::modifiers(reader, entry);
                reader.put(
                    origins,
                    "keys.move-modifier",
                    child,
                    value,
                    &mut keys.move_modifier,
                );
                continue;
            }
        };
        let value = chord::chord(reader, entry);
        if value.is_some() {
            set.push((child.name().value(), entry));
        }
        reader.put(origins, path, child, value, target);
    }
    twice(reader, keys, &set);
}

/// A chord does one thing. The error is shown at the last node that uses it.
fn twice(reader: &mut Reader<'_>, keys: &Keys, set: &[(&str, &KdlEntry)]) {
    let all = keys.chords();
    for (index, &(name, entry)) in set.iter().enumerate() {
        let Some((_, mine)) = all.iter().find(|(other, _)| *other == name) else {
            continue;
        };
        let later = |other: &str| set.iter().skip(index).any(|(later, _)| *later == other);
        let clash = all
            .iter()
            .find(|(other, chord)| *other != name && chord == mine && !later(other));
        if let Some((other, chord)) = clash {
            let message = format!("{chord} is already the chord of {other:?}");
            reader.error(
                entry,
                message,
                format!("choose another chord here or for {other:?}"),
            );
        }
    }
}
