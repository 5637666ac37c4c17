// SPDX-License-Identifier: MIT OR Apache-2.0
//! The node `vm`, and the rules that it shares with `defaults`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use heraldry_identity::confusable::is_visible;
use heraldry_identity::{Arms, Pattern, Rgb, TitleLevel, VmName};
use kdl::{KdlEntry, KdlNode, KdlValue};

use crate::origin::Origins;
use crate::policy::globals::GlobalSet;
use crate::schema::reader::Reader;
use crate::schema::{limits, system, unknown_set};
use crate::settings::{Config, CursorRule, Fullscreen, OnViolation, Owner, Rules, UnsealedMemory, VmConfig};

/// The rules that `defaults` and `vm` share.
pub(super) const RULES: &[&str] = &[
    "title",
    "fullscreen",
    "cursor",
    "unsealed-memory",
    "focus",
    "globals",
    "on-violation",
    "quota",
];

/// What only `vm` has.
const OWN: &[&str] = &["display-name", "color", "pattern", "glyph", "keyboard", "owner"];

/// Longest display name in characters.
const MAX_DISPLAY_NAME: usize = 40;

/// A VM as read, with the places that errors about several VMs point at.
#[derive(Debug)]
pub(super) struct ReadVm<'n> {
    pub(super) vm: VmConfig,
    pub(super) name_at: &'n KdlEntry,
    pub(super) display_name_at: &'n KdlEntry,
    /// `None` if the colour is missing or wrong, which is an error of its own.
    pub(super) color_at: Option<&'n KdlEntry>,
}

/// The rules to set, and where their origins are noted.
#[derive(Debug)]
pub(super) struct RuleTarget<'a> {
    pub(super) rules: &'a mut Rules,
    pub(super) origins: &'a mut Origins,
}

/// `vm "name" { .. }`.
pub(super) fn vm<'n>(reader: &mut Reader<'_>, node: &'n KdlNode, config: &Config) -> Option<ReadVm<'n>> {
    reader.properties(node, &[]);
    let name_at = reader.arguments(node, 1..=1).first().copied();
    let name = name_at.and_then(|entry| reader.parsed::<VmName>(entry, "for example: vm \"work\""));
    let known: Vec<_> = OWN.iter().chain(RULES).copied().collect();
    let children = reader.children(node, &known);
    // A VM whose name is wrong is read all the same, for its other errors.
    let (name_at, name) = match (name_at, name) {
        (Some(at), Some(name)) => (at, name),
        (Some(at), None) => (at, VmName::new("x").ok()?),
        (None, _) => return None,
    };
    let mut origins = config.defaults.origins.clone();
    origins.extend(&config.origins);
    let mut read = ReadVm {
        vm: VmConfig {
            display_name: Arc::from(name.as_str()),
            arms: default_arms(&name),
            keyboard: config.keyboard.clone(),
            rules: config.defaults.rules.clone(),
            owner: None,
            origin: reader.origin(node),
            origins,
            name,
        },
        name_at,
        display_name_at: name_at,
        color_at: None,
    };
    let mut has_color = false;
    for child in children {
        has_color |= child.name().value() == "color";
        own(reader, child, &mut read, &config.global_sets);
    }
    config
        .bound
        .apply(&mut read.vm.rules.limits, &mut read.vm.origins);
    if !has_color {
        reader.error(
            node,
            "the VM has no color",
            "for example: color \"#1f5fbf\"".to_owned(),
        );
    }
    Some(read)
}

/// The arms of a VM before its node is read; its colour is always set by the file.
fn default_arms(name: &VmName) -> Arms {
    let glyph = name
        .as_str()
        .chars()
        .find(char::is_ascii_alphanumeric)
        .unwrap_or('-')
        .to_ascii_uppercase();
    Arms {
        color: Rgb::new(0, 0, 0),
        pattern: Pattern::Solid,
        glyph,
    }
}

/// One child of `vm`.
fn own<'n>(
    reader: &mut Reader<'_>,
    node: &'n KdlNode,
    read: &mut ReadVm<'n>,
    sets: &BTreeMap<String, Arc<GlobalSet>>,
) {
    let vm = &mut read.vm;
    match node.name().value() {
        "keyboard" => return system::keyboard(reader, node, &mut vm.keyboard, &mut vm.origins),
        name if RULES.contains(&name) => {
            let target = RuleTarget {
                rules: &mut vm.rules,
                origins: &mut vm.origins,
            };
            return rule(reader, node, target, sets);
        }
        _ => {}
    }
    let Some(entry) = reader.only_value(node) else {
        return;
    };
    match node.name().value() {
        "display-name" => {
            let value = display_name(reader, entry);
            read.display_name_at = entry;
            reader.put(&mut vm.origins, "display-name", node, value, &mut vm.display_name);
        }
        "color" => {
            let value = reader.parsed::<Rgb>(entry, "for example: color \"#1f5fbf\"");
            read.color_at = value.map(|_| entry);
            reader.put(&mut vm.origins, "color", node, value, &mut vm.arms.color);
        }
        "pattern" => {
            let value = reader.word(entry, &Pattern::ALL.map(|pattern| (pattern.as_str(), pattern)));
            reader.put(&mut vm.origins, "pattern", node, value, &mut vm.arms.pattern);
        }
        "glyph" => {
            let value = glyph(reader, entry);
            reader.put(&mut vm.origins, "glyph", node, value, &mut vm.arms.glyph);
        }
        _ => {
            let value = owner(reader, entry).map(Some);
            reader.put(&mut vm.origins, "owner", node, value, &mut vm.owner);
        }
    }
}

fn display_name(reader: &mut Reader<'_>, entry: &KdlEntry) -> Option<Arc<str>> {
    let text = reader.text(entry)?;
    let hint = if text.chars().count() > MAX_DISPLAY_NAME {
        format!("at most {MAX_DISPLAY_NAME} characters")
    } else if text.trim() != text || text.is_empty() {
        "it may neither be empty nor begin or end with a space".to_owned()
    } else if let Some(bad) = text.chars().find(|&c| c != ' ' && !is_visible(c)) {
        format!(
            "U+{:04X} cannot be shown; use letters, digits, punctuation, symbols and spaces",
            u32::from(bad)
        )
    } else if !text.chars().any(char::is_alphanumeric) {
        "it needs a letter or a digit".to_owned()
    } else {
        return Some(Arc::from(text));
    };
    reader.error(entry, "not a display name", hint);
    None
}

fn glyph(reader: &mut Reader<'_>, entry: &KdlEntry) -> Option<char> {
    let mut chars = reader.text(entry)?.chars();
    match (chars.next(), chars.next()) {
        (Some(glyph), None) if is_visible(glyph) => Some(glyph),
        _ => {
            let hint = "one visible character without combining marks, for example: glyph \"W\"";
            reader.error(entry, "not a glyph", hint.to_owned());
            None
        }
    }
}

fn owner(reader: &mut Reader<'_>, entry: &KdlEntry) -> Option<Owner> {
    if let KdlValue::Integer(_) = entry.value() {
        return reader
            .number(entry, 0..=u32::MAX - 1, "(a user's number)")
            .map(Owner::Uid);
    }
    let name = reader.text(entry)?;
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
    if name.is_empty()
        || name.len() > 32
        || name.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        || !name.chars().all(good)
    {
        reader.error(
            entry,
            format!("{name:?} is not a user"),
            "a user's number or name: owner 1000".to_owned(),
        );
        return None;
    }
    Some(Owner::Name(name.to_owned()))
}

/// One rule of `defaults` or `vm`.
pub(super) fn rule(
    reader: &mut Reader<'_>,
    node: &KdlNode,
    target: RuleTarget<'_>,
    sets: &BTreeMap<String, Arc<GlobalSet>>,
) {
    let RuleTarget { rules, origins } = target;
    match node.name().value() {
        "title" => return title(reader, node, RuleTarget { rules, origins }),
        "focus" => return focus(reader, node, RuleTarget { rules, origins }),
        "quota" => return limits::quota(reader, node, &mut rules.limits, origins),
        _ => {}
    }
    let Some(entry) = reader.only_value(node) else {
        return;
    };
    match node.name().value() {
        "fullscreen" => {
            let value = reader.word(entry, Fullscreen::WORDS);
            reader.put(origins, "fullscreen", node, value, &mut rules.fullscreen);
        }
        "cursor" => {
            let value = reader.word(entry, CursorRule::WORDS);
            reader.put(origins, "cursor", node, value, &mut rules.cursor);
        }
        "unsealed-memory" => {
            let value = reader.word(entry, UnsealedMemory::WORDS);
            reader.put(
                origins,
                "unsealed-memory",
                node,
                value,
                &mut rules.unsealed_memory,
            );
        }
        "on-violation" => {
            let value = reader.word(entry, OnViolation::WORDS);
            reader.put(origins, "on-violation", node, value, &mut rules.on_violation);
        }
        _ => {
            let Some(name) = reader.text(entry) else { return };
            let value = sets.get(name).cloned();
            if value.is_none() {
                unknown_set(reader, entry, name, sets);
            }
            reader.put(origins, "globals", node, value, &mut rules.globals);
        }
    }
}

/// `title "safe-utf8" max=96`; the level or the length may be left out.
fn title(reader: &mut Reader<'_>, node: &KdlNode, target: RuleTarget<'_>) {
    let RuleTarget { rules, origins } = target;
    reader.no_children(node);
    let arguments = reader.arguments(node, 0..=1);
    let properties = reader.properties(node, &["max"]);
    if arguments.is_empty() && properties.is_empty() {
        reader.error(
            node,
            "\"title\" lacks a value",
            "for example: title \"safe-utf8\" max=96".to_owned(),
        );
    }
    if let Some(entry) = arguments.first() {
        let value = reader.word(
            entry,
            &[("ascii", TitleLevel::Ascii), ("safe-utf8", TitleLevel::SafeUtf8)],
        );
        reader.put(origins, "title", node, value, &mut rules.title.level);
    }
    for (_, entry) in properties {
        let value = reader.number(entry, 8..=256, "characters");
        reader.put(origins, "title.max", entry, value, &mut rules.title.max);
    }
}

/// `focus { click-guard-ms 300; on-map #false }`.
fn focus(reader: &mut Reader<'_>, node: &KdlNode, target: RuleTarget<'_>) {
    let RuleTarget { rules, origins } = target;
    reader.properties(node, &[]);
    reader.arguments(node, 0..=0);
    for child in reader.children(node, &["click-guard-ms", "on-map"]) {
        let Some(entry) = reader.only_value(child) else {
            continue;
        };
        if child.name().value() == "on-map" {
            let value = reader.boolean(entry);
            reader.put(origins, "focus.on-map", child, value, &mut rules.focus.on_map);
        } else {
            let value = reader
                .number(entry, 0..=2000, "milliseconds")
                .map(Duration::from_millis);
            reader.put(
                origins,
                "focus.click-guard-ms",
                child,
                value,
                &mut rules.focus.click_guard,
            );
        }
    }
}
