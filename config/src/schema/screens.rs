// SPDX-License-Identifier: MIT OR Apache-2.0
//! The nodes `output` and `input`.

use std::collections::BTreeMap;

use kdl::KdlNode;

use super::reader::Reader;
use crate::screens::{AccelProfile, InputSettings, ModeChoice, OutputSettings, Pointing, Transform};
use crate::settings::Config;

/// The settings of an `output`.
const OUTPUT: &[&str] = &["off", "mode", "scale", "transform", "position"];
/// The settings of `pointer`.
const POINTER: &[&str] = &["speed", "profile", "natural-scroll", "left-handed"];
/// The settings of `touchpad`.
const TOUCHPAD: &[&str] = &[
    "speed",
    "profile",
    "natural-scroll",
    "left-handed",
    "tap",
    "off-while-typing",
];
/// Logical pixels from the desktop's origin.
const PLACE: std::ops::RangeInclusive<i32> = -32_768..=32_768;

/// `output "NAME" { .. }`.
pub(super) fn output(
    reader: &mut Reader<'_>,
    node: &KdlNode,
    outputs: &mut BTreeMap<String, OutputSettings>,
) {
    reader.properties(node, &[]);
    let arguments = reader.arguments(node, 1..=1);
    let mut settings = OutputSettings::default();
    for child in reader.children(node, OUTPUT) {
        match child.name().value() {
            "off" => {
                reader.arguments(child, 0..=0);
                reader.no_children(child);
                settings.off = true;
            }
            "mode" => {
                let value = reader
                    .only_value(child)
                    .and_then(|entry| reader.parsed::<ModeChoice>(entry, "preferred, WxH or WxH@Hz"));
                settings.mode = value.unwrap_or_default();
            }
            "scale" => {
                settings.scale = reader
                    .only_value(child)
                    .and_then(|entry| reader.fraction(entry, 0.5..=4.0, "physical pixels per logical one"));
            }
            "transform" => {
                let value = reader
                    .only_value(child)
                    .and_then(|entry| reader.word(entry, &Transform::WORDS));
                settings.transform = value.unwrap_or_default();
            }
            _ => {
                let numbers: Vec<_> = reader
                    .arguments(child, 2..=2)
                    .into_iter()
                    .filter_map(|entry| reader.number(entry, PLACE, "logical pixels"))
                    .collect();
                if let [x, y] = numbers.as_slice() {
                    settings.position = Some((*x, *y));
                }
            }
        }
    }
    let Some(name) = arguments.first().and_then(|entry| reader.text(entry)) else {
        return;
    };
    if outputs.insert(name.to_owned(), settings).is_some() {
        reader.error(
            node,
            format!("the output {name:?} is set twice"),
            "put all its settings into one node".to_owned(),
        );
    }
}

/// `input { pointer { .. } touchpad { .. } }`.
pub(super) fn input(reader: &mut Reader<'_>, node: &KdlNode, config: &mut Config) {
    reader.properties(node, &[]);
    reader.arguments(node, 0..=0);
    let mut settings = InputSettings::default();
    for child in reader.children(node, &["pointer", "touchpad"]) {
        reader.properties(child, &[]);
        reader.arguments(child, 0..=0);
        if child.name().value() == "pointer" {
            pointing(reader, child, POINTER, &mut settings.pointer);
        } else {
            pointing(reader, child, TOUCHPAD, &mut settings.touchpad);
        }
    }
    config.input = settings;
}

fn pointing(reader: &mut Reader<'_>, node: &KdlNode, known: &[&str], pointing: &mut Pointing) {
    for child in reader.children(node, known) {
        let Some(entry) = reader.only_value(child) else {
            continue;
        };
        match child.name().value() {
            "speed" => pointing.speed = reader.fraction(entry, -1.0..=1.0, "(slowest to fastest)"),
            "profile" => {
                let words = [("adaptive", AccelProfile::Adaptive), ("flat", AccelProfile::Flat)];
                pointing.profile = reader.word(entry, &words);
            }
            "natural-scroll" => pointing.natural_scroll = reader.boolean(entry),
            "left-handed" => pointing.left_handed = reader.boolean(entry),
            "tap" => pointing.tap = reader.boolean(entry),
            _ => pointing.off_while_typing = reader.boolean(entry),
        }
    }
}
