// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a setting or a rule comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The place that set a value or decided a question.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// No line of the file says so: it is the built-in default of this version.
    BuiltIn,
    /// A node of the configuration file.
    File {
        /// The file's name as it was given.
        file: Arc<str>,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built-in"),
            Self::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
        }
    }
}

/// The origins of a group of settings by the setting's path, for example `title.max`.
///
/// A setting that is not in the table has its built-in value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<&'static str, Origin>);

impl Origins {
    /// Notes that `origin` set the value at `path`; a later note replaces an earlier one.
    pub(crate) fn set(&mut self, path: &'static str, origin: Origin) {
        self.0.insert(path, origin);
    }

    /// Takes over every note of `other`.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.0
            .extend(other.0.iter().map(|(path, origin)| (*path, origin.clone())));
    }

    /// The origin of the value at `path`.
    #[must_use]
    pub fn of(&self, path: &str) -> Origin {
        self.0.get(path).cloned().unwrap_or(Origin::BuiltIn)
    }
}
