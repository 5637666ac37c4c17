// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tools with which the nodes of a file are read: each notes an error where the file is wrong and goes on.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::sync::Arc;

use kdl::{KdlEntry, KdlIdentifier, KdlNode, KdlValue};

use crate::builtin;
use crate::effective::rule_rows;
use crate::error::{ConfigError, ConfigErrors, MAX_SHOWN};
use crate::origin::{Origin, Origins};
use crate::schema::suggest::did_you_mean;

/// A place in the text: a part of the document, or a first byte with a length.
pub(crate) trait Place {
    /// First byte and length.
    fn place(&self) -> (usize, usize);
}

impl Place for (usize, usize) {
    fn place(&self) -> (usize, usize) {
        *self
    }
}

impl Place for &KdlIdentifier {
    fn place(&self) -> (usize, usize) {
        (self.span().offset(), self.span().len())
    }
}

impl Place for &KdlNode {
    /// A node is pointed at by its name; its own span has all its children.
    fn place(&self) -> (usize, usize) {
        let span = self.name().span();
        (span.offset(), span.len())
    }
}

impl Place for &KdlEntry {
    fn place(&self) -> (usize, usize) {
        (self.span().offset(), self.span().len())
    }
}

/// One error before it is shown.
#[derive(Debug)]
struct Fault {
    start: usize,
    len: usize,
    message: String,
    hint: Option<String>,
}

/// The most errors that are shown of one file.
const MAX_ERRORS: usize = 200;

/// The text being read and the errors so far.
#[derive(Debug)]
pub(crate) struct Reader<'t> {
    file: Arc<str>,
    text: &'t str,
    line_starts: Vec<usize>,
    faults: Vec<Fault>,
}

impl<'t> Reader<'t> {
    /// A reader of `text`, which is called `file`.
    pub(crate) fn new(file: &str, text: &'t str) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at.saturating_add(1));
        Self {
            file: Arc::from(file),
            text,
            line_starts: std::iter::once(0).chain(starts).collect(),
            faults: Vec::new(),
        }
    }

    /// The file's name.
    pub(crate) fn file(&self) -> Arc<str> {
        Arc::clone(&self.file)
    }

    /// Whether the file is good so far.
    pub(crate) fn is_good(&self) -> bool {
        self.faults.is_empty()
    }

    /// Notes an error.
    pub(crate) fn error(
        &mut self,
        place: impl Place,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        let (start, len) = place.place();
        self.faults.push(Fault {
            start,
            len,
            message: message.into(),
            hint: hint.into(),
        });
    }

    /// Line and column of a byte of the text, from 1, with the line's text.
    fn locate(&self, start: usize) -> (usize, usize, &'t str) {
        let line = self.line_starts.partition_point(|&first| first <= start).max(1);
        let first = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let text = self.text.get(first..).unwrap_or("");
        let text = text.split('\n').next().unwrap_or("").trim_end_matches('\r');
        let column = self
            .text
            .get(first..start)
            .map_or(0, |before| before.chars().count());
        (line, column.saturating_add(1), text)
    }

    /// The origin of what stands at `place`.
    pub(crate) fn origin(&self, place: impl Place) -> Origin {
        let (line, column, _) = self.locate(place.place().0);
        Origin::File {
            file: self.file(),
            line,
            column,
        }
    }

    /// The line of `place`, for hints.
    pub(crate) fn line(&self, place: impl Place) -> usize {
        self.locate(place.place().0).0
    }

    /// Every error so far, in the order of the file.
    pub(crate) fn into_errors(mut self) -> ConfigErrors {
        self.faults.sort_by_key(|fault| fault.start);
        let show = |fault: &Fault| {
            let (line, column, text) = self.locate(fault.start);
            let end = fault.start.saturating_add(fault.len);
            let marked = self.text.get(fault.start..end).unwrap_or("");
            let width = marked
                .split('\n')
                .next()
                .unwrap_or("")
                .trim_end()
                .chars()
                .count()
                .max(1);
            ConfigError {
                file: self.file.to_string(),
                line,
                column,
                width,
                message: fault.message.clone(),
                hint: fault.hint.clone(),
                source_line: text.chars().take(MAX_SHOWN).collect(),
            }
        };
        ConfigErrors {
            errors: self.faults.iter().take(MAX_ERRORS).map(show).collect(),
        }
    }

    /// Stores `value`, if it could be read, and notes that `place` set it.
    pub(crate) fn put<T>(
        &self,
        origins: &mut Origins,
        path: &'static str,
        place: impl Place,
        value: Option<T>,
        target: &mut T,
    ) {
        if let Some(value) = value {
            *target = value;
            origins.set(path, self.origin(place));
        }
    }

    /// The children of `node`, each at most once and with a name of `known`.
    pub(crate) fn children<'n>(&mut self, node: &'n KdlNode, known: &[&str]) -> Vec<&'n KdlNode> {
        let nodes = node.children().map_or(&[][..], |children| children.nodes());
        self.distinct(nodes, known, &[])
    }

    /// The good ones of `nodes`: with a name of `known`, and at most once unless the name is in `repeated`.
    pub(crate) fn distinct<'n>(
        &mut self,
        nodes: &'n [KdlNode],
        known: &[&str],
        repeated: &[&str],
    ) -> Vec<&'n KdlNode> {
        let mut good: Vec<&KdlNode> = Vec::new();
        for node in nodes {
            let name = node.name().value();
            if !known.contains(&name) {
                let hint =
                    did_you_mean(name, known).unwrap_or_else(|| format!("known here: {}", known.join(", ")));
                self.error(node, format!("unknown node {name:?}"), hint);
                continue;
            }
            if let Some(ty) = node.ty() {
                self.error(ty, "type annotations are not used here", None);
            }
            let first = good
                .iter()
                .find(|other| other.name().value() == name)
                .map(|&other| self.line(other));
            if let Some(line) = first.filter(|_| !repeated.contains(&name)) {
                self.error(
                    node,
                    format!("{name:?} is set twice"),
                    format!("it was first set on line {line}"),
                );
                continue;
            }
            good.push(node);
        }
        good
    }

    /// Refuses a block of children.
    pub(crate) fn no_children(&mut self, node: &KdlNode) {
        if node.children().is_some() {
            self.error(node, format!("{:?} takes no block", node.name().value()), None);
        }
    }

    /// The properties of `node` that are in `known`, each at most once.
    pub(crate) fn properties<'n>(
        &mut self,
        node: &'n KdlNode,
        known: &[&str],
    ) -> Vec<(&'n str, &'n KdlEntry)> {
        let mut good: Vec<(&str, &KdlEntry)> = Vec::new();
        for entry in node.entries() {
            self.no_annotation(entry);
            let Some(name) = entry.name().map(KdlIdentifier::value) else {
                continue;
            };
            if !known.contains(&name) {
                let hint = did_you_mean(name, known).or_else(|| {
                    let node = node.name().value();
                    (known.is_empty()).then(|| format!("{node:?} takes no properties"))
                });
                let hint = hint.unwrap_or_else(|| format!("known here: {}", known.join(", ")));
                self.error(entry, format!("unknown property {name:?}"), hint);
            } else if good.iter().any(|(other, _)| *other == name) {
                self.error(entry, format!("property {name:?} is set twice"), None);
            } else {
                good.push((name, entry));
            }
        }
        good
    }

    fn no_annotation(&mut self, entry: &KdlEntry) {
        if let Some(ty) = entry.ty() {
            self.error(ty, "type annotations are not used here", None);
        }
    }

    /// The arguments of `node`: between `range` of them.
    pub(crate) fn arguments<'n>(
        &mut self,
        node: &'n KdlNode,
        range: RangeInclusive<usize>,
    ) -> Vec<&'n KdlEntry> {
        let arguments: Vec<_> = node
            .entries()
            .iter()
            .filter(|entry| entry.name().is_none())
            .collect();
        let name = node.name().value();
        if arguments.len() < *range.start() {
            self.error(
                node,
                format!("{name:?} lacks a value"),
                format!("for example: {}", example(name)),
            );
        }
        if let Some(extra) = arguments.get(*range.end()) {
            self.error(*extra, format!("{name:?} has too many values"), None);
        }
        arguments
    }

    /// The one value of a node that has nothing else: no properties and no block.
    pub(crate) fn only_value<'n>(&mut self, node: &'n KdlNode) -> Option<&'n KdlEntry> {
        self.properties(node, &[]);
        self.no_children(node);
        self.arguments(node, 1..=1).first().copied()
    }

    /// The value of `entry` as a text.
    pub(crate) fn text<'n>(&mut self, entry: &'n KdlEntry) -> Option<&'n str> {
        match entry.value() {
            KdlValue::String(text) => Some(text),
            other => {
                self.wrong_type(entry, "a text", other);
                None
            }
        }
    }

    /// The value of `entry` as #true or #false.
    pub(crate) fn boolean(&mut self, entry: &KdlEntry) -> Option<bool> {
        match entry.value() {
            KdlValue::Bool(value) => Some(*value),
            other => {
                self.wrong_type(entry, "#true or #false", other);
                None
            }
        }
    }

    /// The value of `entry` as a whole number within `range`, counted in `unit`.
    pub(crate) fn number<T>(&mut self, entry: &KdlEntry, range: RangeInclusive<T>, unit: &str) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + Display,
    {
        let KdlValue::Integer(value) = entry.value() else {
            self.wrong_type(entry, "a whole number", entry.value());
            return None;
        };
        let good = T::try_from(*value).ok().filter(|value| range.contains(value));
        if good.is_none() {
            let hint = format!("from {} to {} {unit}", range.start(), range.end());
            self.error(entry, format!("{value} is out of range"), hint);
        }
        good
    }

    /// The value of `entry` as a number, whole or not, within `range`, counted in `unit`.
    pub(crate) fn fraction(
        &mut self,
        entry: &KdlEntry,
        range: RangeInclusive<f64>,
        unit: &str,
    ) -> Option<f64> {
        let value = match entry.value() {
            KdlValue::Float(value) => *value,
            // Whole numbers that no f64 has are far out of every range.
            KdlValue::Integer(value) => i32::try_from(*value).map_or(f64::MAX, f64::from),
            other => {
                self.wrong_type(entry, "a number", other);
                return None;
            }
        };
        if range.contains(&value) {
            return Some(value);
        }
        let hint = format!("from {} to {} {unit}", range.start(), range.end());
        self.error(entry, format!("{} is out of range", entry.value()), hint);
        None
    }

    /// The value of `entry` as one of `words`.
    pub(crate) fn word<T: Copy>(&mut self, entry: &KdlEntry, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(entry)?;
        let found = words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|&(_, value)| value);
        if found.is_none() {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let hint = did_you_mean(text, &known).unwrap_or_else(|| format!("one of: {}", known.join(", ")));
            self.error(entry, format!("{text:?} is not a value of this setting"), hint);
        }
        found
    }

    /// The value of `entry` as `T`, whose own error says what is wrong.
    pub(crate) fn parsed<T>(&mut self, entry: &KdlEntry, hint: &str) -> Option<T>
    where
        T: std::str::FromStr<Err: Display>,
    {
        let text = self.text(entry)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.error(entry, format!("{text:?}: {error}"), hint.to_owned());
                None
            }
        }
    }

    fn wrong_type(&mut self, entry: &KdlEntry, wanted: &str, value: &KdlValue) {
        let is = match value {
            KdlValue::String(_) => "a text",
            KdlValue::Integer(_) => "a whole number",
            KdlValue::Float(_) => "a number with a fraction",
            KdlValue::Bool(_) => "a truth value",
            KdlValue::Null => "#null",
        };
        self.error(entry, format!("this must be {wanted}, and it is {is}"), None);
    }
}

/// How a node is written, for hints.
fn example(name: &str) -> Cow<'static, str> {
    let text = match name {
        "schema" => "schema 1",
        name if crate::limits::Limits::NAMES.contains(&name) => "quota { clients 32 }",
        "vm" => "vm \"work\" { color \"#1f5fbf\" }",
        "color" => "color \"#1f5fbf\"",
        "background" => "background \"#20242b\"",
        "title" => "title \"safe-utf8\" max=96",
        "glyph" => "glyph \"W\"",
        "pattern" => "pattern \"solid\"",
        "display-name" => "display-name \"Work\"",
        "owner" => "owner \"alice\"",
        "global-set" => "global-set \"small\" { allow \"wl_compositor\" }",
        "allow" => "allow \"wl_compositor\" \"xdg_wm_base\"",
        "unknown-vm" => "unknown-vm \"refuse\"",
        "dir" => "dir \"/run/heraldry\"",
        "hand-over" => "hand-over \"token\"",
        "on-map" => "on-map #false",
        "move-modifier" => "move-modifier \"Super\"",
        "layout" => "layout \"de\"",
        // A rule is written with its usual value.
        _ => {
            let mut rows = rule_rows(&builtin::rules()).into_iter();
            let found = rows.find(|(path, _)| *path == name);
            return found.map_or("a value after the name".into(), |(_, value)| {
                format!("{name} {value}").into()
            });
        }
    };
    text.into()
}
