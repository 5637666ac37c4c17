// SPDX-License-Identifier: MIT OR Apache-2.0
//! All errors of a configuration file, each shown at its place.

use std::fmt;

/// One error of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file's name as it was given.
    pub file: String,
    /// Line, from 1; 0 if the error is about the file as a whole.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters are wrong, at least 1.
    pub width: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The text of the line.
    pub source_line: String,
}

/// Every error of one file, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The errors.
    pub errors: Vec<ConfigError>,
}

/// The longest part of a source line that is shown.
pub(crate) const MAX_SHOWN: usize = 160;

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.file, self.message)?;
        } else {
            write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
            let gutter = self.line.to_string();
            let shown: String = self.source_line.chars().take(MAX_SHOWN).map(printable).collect();
            write!(f, "\n {gutter} | {shown}")?;
            let before = self.column.saturating_sub(1);
            if before < MAX_SHOWN {
                let carets = self.width.clamp(1, MAX_SHOWN.saturating_sub(before));
                let blank = gutter.len();
                write!(f, "\n {:blank$} | {:before$}{}", "", "", "^".repeat(carets))?;
            }
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n hint: {hint}")?;
        }
        Ok(())
    }
}

/// A character as it may be shown in a terminal: one column, no control.
fn printable(c: char) -> char {
    if c == '\t' {
        ' '
    } else if c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    {
        '\u{fffd}'
    } else {
        c
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for error in &self.errors {
            write!(f, "{separator}{error}")?;
            separator = "\n\n";
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
impl std::error::Error for ConfigErrors {}
