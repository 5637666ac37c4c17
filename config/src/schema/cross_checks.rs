// SPDX-License-Identifier: MIT OR Apache-2.0
//! What two VMs may not have together: one name, and marks that an eye could confuse.

use std::collections::BTreeMap;

use heraldry_identity::confusable::{color_distance, required_distance, skeleton};

use crate::builtin::{UNKNOWN_ARMS, UNKNOWN_NAME};
use crate::schema::reader::Reader;
use crate::schema::vm::ReadVm;

/// Checks the VMs of a file against each other and against the marks of an unknown VM.
pub(super) fn check(reader: &mut Reader<'_>, vms: &[ReadVm<'_>]) {
    names(reader, vms);
    display_names(reader, vms);
    for (index, one) in vms.iter().enumerate() {
        let Some(color_at) = one.color_at else { continue };
        let arms = &one.vm.arms;
        let unknown = color_distance(arms.color, UNKNOWN_ARMS.color);
        if unknown < required_distance(arms, &UNKNOWN_ARMS) {
            let message = format!(
                "the color is too close to that of an unknown VM, {}",
                UNKNOWN_ARMS.color
            );
            reader.error(color_at, message, "choose a color that is less grey".to_owned());
        }
        for other in vms.iter().take(index).filter(|other| other.color_at.is_some()) {
            let distance = color_distance(arms.color, other.vm.arms.color);
            let required = required_distance(arms, &other.vm.arms);
            if distance < required && other.vm.name != one.vm.name {
                let (name, color) = (&other.vm.name, other.vm.arms.color);
                let line = reader.line(other.name_at);
                let same = arms.pattern == other.vm.arms.pattern && arms.glyph == other.vm.arms.glyph;
                let why = if same {
                    ", and pattern and glyph are the same"
                } else {
                    ""
                };
                let message = format!("the color is too close to that of VM \"{name}\", {color}{why}");
                let hint =
                    format!("the distance is {distance:.1} and must be {required:.0}; see line {line}");
                reader.error(color_at, message, hint);
            }
        }
    }
}

/// A VM is named once.
fn names(reader: &mut Reader<'_>, vms: &[ReadVm<'_>]) {
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    // As the file has it: a name that could not be read is an error already.
    for (name_at, name) in vms
        .iter()
        .filter_map(|read| Some((read.name_at, read.name_at.value().as_string()?)))
    {
        let line = reader.line(name_at);
        let first = *first.entry(name).or_insert(line);
        if first != line {
            let message = format!("there is already a VM {name:?}");
            reader.error(name_at, message, format!("it was first named on line {first}"));
        }
    }
}

/// No two names on frames look alike.
fn display_names(reader: &mut Reader<'_>, vms: &[ReadVm<'_>]) {
    let mut first: BTreeMap<String, &ReadVm<'_>> = BTreeMap::new();
    for read in vms {
        let shape = skeleton(&read.vm.display_name);
        if shape == skeleton(UNKNOWN_NAME) {
            let message =
                format!("the name looks like {UNKNOWN_NAME:?}, which marks VMs that the file does not name");
            reader.error(
                read.display_name_at,
                message,
                "choose another display-name".to_owned(),
            );
        }
        match first.get(&shape) {
            Some(other) if other.vm.name != read.vm.name => {
                let (name, line) = (&other.vm.name, reader.line(other.display_name_at));
                let message = format!("the name looks like that of VM \"{name}\"");
                reader.error(
                    read.display_name_at,
                    message,
                    format!("choose another display-name; see line {line}"),
                );
            }
            Some(_) => {}
            None => {
                first.insert(shape, read);
            }
        }
    }
}
