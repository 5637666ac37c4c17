// SPDX-License-Identifier: MIT OR Apache-2.0
//! The nodes that say how much: `quota` of a VM, `bound` of all, `watchdog` of ourselves.

use std::time::Duration;

use kdl::KdlNode;

use crate::limits::{LimitInfo, Limits};
use crate::origin::Origins;
use crate::schema::reader::Reader;
use crate::settings::{Bound, Watchdog};

/// The good limits of a block `quota`, each with its place in [`Limits::ALL`].
fn entries<'n>(
    reader: &mut Reader<'_>,
    node: &'n KdlNode,
) -> Vec<(usize, &'n KdlNode, &'static LimitInfo, u64)> {
    reader.properties(node, &[]);
    reader.arguments(node, 0..=0);
    let mut good = Vec::new();
    for child in reader.children(node, Limits::NAMES) {
        let Some(entry) = reader.only_value(child) else {
            continue;
        };
        let name = child.name().value();
        let found = Limits::ALL.iter().enumerate().find(|(_, info)| info.name == name);
        if let Some((index, info)) = found
            && let Some(value) = reader.number(entry, info.range(), info.unit)
        {
            good.push((index, child, info, value));
        }
    }
    good
}

/// `quota { clients 32; pool-mib 8192 }`.
pub(super) fn quota(reader: &mut Reader<'_>, node: &KdlNode, limits: &mut Limits, origins: &mut Origins) {
    for (_, child, info, value) in entries(reader, node) {
        if let Some(target) = limits.by_name_mut(info.name) {
            reader.put(origins, info.path, child, Some(value), target);
        }
    }
}

/// `bound { quota { clients 16 } }`.
pub(super) fn bound(reader: &mut Reader<'_>, node: &KdlNode, bound: &mut Bound) {
    reader.properties(node, &[]);
    reader.arguments(node, 0..=0);
    for child in reader.children(node, &["quota"]) {
        for (index, child, _, value) in entries(reader, child) {
            bound.limits.insert(index, (value, reader.origin(child)));
        }
    }
}

impl Bound {
    /// Lowers what exceeds the bound.
    pub(crate) fn apply(&self, limits: &mut Limits, origins: &mut Origins) {
        for (index, (most, origin)) in &self.limits {
            let Some(info) = Limits::ALL.get(*index) else {
                continue;
            };
            if let Some(value) = limits.by_name_mut(info.name)
                && *value > *most
            {
                *value = *most;
                origins.set(info.path, origin.clone());
            }
        }
    }
}

/// `watchdog { warn-ms 1000; abort-ms 10000 }`.
pub(super) fn watchdog(
    reader: &mut Reader<'_>,
    node: &KdlNode,
    watchdog: &mut Watchdog,
    origins: &mut Origins,
) {
    reader.properties(node, &[]);
    reader.arguments(node, 0..=0);
    for child in reader.children(node, &["warn-ms", "abort-ms"]) {
        let Some(entry) = reader.only_value(child) else {
            continue;
        };
        let value = reader
            .number(entry, 50..=600_000, "milliseconds")
            .map(Duration::from_millis);
        let (path, target) = match child.name().value() {
            "warn-ms" => ("watchdog.warn-ms", &mut watchdog.warn),
            _ => ("watchdog.abort-ms", &mut watchdog.abort),
        };
        reader.put(origins, path, child, value, target);
    }
    if watchdog.abort <= watchdog.warn {
        let message = "abort-ms is not longer than warn-ms";
        reader.error(node, message, "the warning comes first".to_owned());
    }
}
