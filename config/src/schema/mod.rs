// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a KDL document becomes a [`Config`]: which nodes there are, what each takes, and what must fit together.
//!
//! Reading goes on after an error, so that all errors of a file are shown at once. Values are read by
//! [`reader::Reader`]; what two nodes may not both say is in [`together`].

pub(crate) mod chord;
mod cross_checks;
mod limits;
pub(crate) mod reader;
mod screens;
mod suggest;
mod system;
mod vm;

use std::collections::BTreeMap;
use std::sync::Arc;

use kdl::{KdlDocument, KdlNode};

use crate::builtin;
use crate::error::ConfigErrors;
use crate::origin::Origins;
use crate::policy::globals::{self, Allowed, BASE, GlobalSet};
use crate::settings::{Config, UnknownVm};
use reader::Reader;
use suggest::did_you_mean;

/// The version of the language.
const SCHEMA: u32 = 1;

/// The nodes of a file.
const NODES: &[&str] = &[
    "schema",
    "defaults",
    "global-set",
    "vm",
    "bound",
    "watchdog",
    "keyboard",
    "output",
    "input",
    "appearance",
    "host",
    "keys",
];

/// The most outputs of a file.
const MAX_OUTPUTS: usize = 32;

/// The most VMs of a file.
const MAX_VMS: usize = 256;

/// Reads the whole document.
pub(crate) fn read(mut reader: Reader<'_>, document: &KdlDocument) -> Result<Config, ConfigErrors> {
    let nodes = reader.distinct(document.nodes(), NODES, &["global-set", "output", "vm"]);
    let mut config = Config {
        file: reader.file(),
        vms: BTreeMap::new(),
        defaults: builtin::defaults(),
        keyboard: builtin::keyboard(),
        outputs: BTreeMap::new(),
        input: crate::screens::InputSettings::default(),
        appearance: builtin::appearance(),
        keys: builtin::keys(),
        host: builtin::host(),
        watchdog: builtin::watchdog(),
        bound: crate::settings::Bound::default(),
        global_sets: BTreeMap::from([(BASE.to_owned(), Arc::new(GlobalSet::base()))]),
        origins: Origins::default(),
    };
    schema_version(&mut reader, &nodes);
    let named = |name: &'static str| {
        nodes
            .iter()
            .copied()
            .filter(move |node| node.name().value() == name)
    };
    // What others refer to comes first, wherever it stands in the file.
    for node in named("global-set") {
        global_set(&mut reader, node, &mut config.global_sets);
    }
    for node in named("bound") {
        limits::bound(&mut reader, node, &mut config.bound);
    }
    for node in named("watchdog") {
        limits::watchdog(&mut reader, node, &mut config.watchdog, &mut config.origins);
    }
    for node in named("keyboard") {
        system::keyboard(&mut reader, node, &mut config.keyboard, &mut config.origins);
    }
    for node in named("output").take(MAX_OUTPUTS) {
        screens::output(&mut reader, node, &mut config.outputs);
    }
    for node in named("input") {
        screens::input(&mut reader, node, &mut config);
    }
    for node in named("defaults") {
        defaults(&mut reader, node, &mut config);
    }
    for node in named("appearance") {
        system::appearance(&mut reader, node, &mut config.appearance, &mut config.origins);
    }
    for node in named("host") {
        system::host(&mut reader, node, &mut config.host, &mut config.origins);
    }
    for node in named("keys") {
        system::keys(&mut reader, node, &mut config.keys, &mut config.origins);
    }
    if let Some(extra) = named("vm").nth(MAX_VMS) {
        reader.error(extra, "too many VMs", format!("the limit is {MAX_VMS}"));
        return Err(reader.into_errors());
    }
    let mut vms = Vec::new();
    for node in named("vm") {
        vms.extend(vm::vm(&mut reader, node, &config));
    }
    cross_checks::check(&mut reader, &vms);
    if !reader.is_good() {
        return Err(reader.into_errors());
    }
    config.vms = vms
        .into_iter()
        .map(|read| (read.vm.name.clone(), read.vm))
        .collect();
    Ok(config)
}

/// `schema 1`.
fn schema_version(reader: &mut Reader<'_>, nodes: &[&KdlNode]) {
    let Some(&node) = nodes.iter().find(|node| node.name().value() == "schema") else {
        reader.error(
            (0, 0),
            "the node \"schema\" is missing",
            "begin the file with: schema 1".to_owned(),
        );
        return;
    };
    if let Some(entry) = reader.only_value(node) {
        reader.number(
            entry,
            SCHEMA..=SCHEMA,
            "(the versions of the language that this program reads)",
        );
    }
}

/// `defaults { .. }`.
fn defaults(reader: &mut Reader<'_>, node: &KdlNode, config: &mut Config) {
    reader.properties(node, &[]);
    reader.arguments(node, 0..=0);
    let known: Vec<_> = vm::RULES.iter().copied().chain(["unknown-vm"]).collect();
    for child in reader.children(node, &known) {
        if child.name().value() == "unknown-vm" {
            let value = reader
                .only_value(child)
                .and_then(|entry| reader.word(entry, UnknownVm::WORDS));
            reader.put(
                &mut config.defaults.origins,
                "unknown-vm",
                child,
                value,
                &mut config.defaults.unknown_vm,
            );
        } else {
            let target = vm::RuleTarget {
                rules: &mut config.defaults.rules,
                origins: &mut config.defaults.origins,
            };
            vm::rule(reader, child, target, &config.global_sets);
        }
    }
}

/// `global-set "name" extends="base" { allow "interface".. }`.
fn global_set(reader: &mut Reader<'_>, node: &KdlNode, sets: &mut BTreeMap<String, Arc<GlobalSet>>) {
    let name = reader
        .arguments(node, 1..=1)
        .first()
        .and_then(|entry| Some((*entry, reader.text(entry)?)));
    let mut set = GlobalSet {
        name: String::new(),
        allowed: BTreeMap::new(),
        origin: reader.origin(node),
    };
    for (_, entry) in reader.properties(node, &["extends"]) {
        let Some(base) = reader.text(entry) else { continue };
        match sets.get(base) {
            Some(base) => set.allowed.clone_from(&base.allowed),
            None => unknown_set(reader, entry, base, sets),
        }
    }
    let children = node.children().map_or(&[][..], |children| children.nodes());
    for child in reader.distinct(children, &["allow"], &["allow"]) {
        reader.properties(child, &[]);
        reader.no_children(child);
        for entry in reader.arguments(child, 1..=usize::MAX) {
            let Some(interface) = reader.text(entry) else {
                continue;
            };
            if let Some(max_version) = globals::known(interface) {
                let rule = Allowed {
                    max_version,
                    origin: reader.origin(entry),
                };
                set.allowed.insert(interface.to_owned(), rule);
            } else {
                let known: Vec<_> = globals::KNOWN.iter().map(|(name, _)| *name).collect();
                let hint = did_you_mean(interface, &known).unwrap_or_else(|| {
                    "docs/configuration.md lists the interfaces; others cannot be allowed in this version"
                        .to_owned()
                });
                reader.error(entry, format!("{interface:?} cannot be allowed"), hint);
            }
        }
    }
    let Some((entry, name)) = name else { return };
    if sets.contains_key(name) {
        reader.error(entry, format!("there is already a global-set {name:?}"), None);
        return;
    }
    name.clone_into(&mut set.name);
    sets.insert(name.to_owned(), Arc::new(set));
}

/// Notes that no set is called `name`.
fn unknown_set(
    reader: &mut Reader<'_>,
    entry: &kdl::KdlEntry,
    name: &str,
    sets: &BTreeMap<String, Arc<GlobalSet>>,
) {
    let known: Vec<_> = sets.keys().map(String::as_str).collect();
    let hint = did_you_mean(name, &known).unwrap_or_else(|| format!("defined so far: {}", known.join(", ")));
    reader.error(entry, format!("there is no global-set {name:?}"), hint);
}
