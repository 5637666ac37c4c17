// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a path or a text to a checked configuration.
//!
//! The KDL parser recurses, once per level of nesting and once per error, so a hostile or broken text could exhaust the
//! caller's stack, which no handler catches. It therefore runs on a thread of its own with a stack that is large enough
//! for the worst text that the limits below let through.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::thread;

use kdl::{KdlDocument, KdlError};
use rustix::fs::{Mode, OFlags};

use crate::error::{ConfigError, ConfigErrors};
use crate::schema;
use crate::schema::reader::Reader;
use crate::settings::Config;

/// The largest configuration file in bytes; the largest known honest one (64 VMs) has about 30 KiB.
pub const MAX_FILE_BYTES: u64 = 128 << 10;

/// The most braces of one kind, and the most starts of block comments: each may be a level of the parser's recursion.
const MAX_LEVELS: usize = 4096;

/// The parser's stack. Measured for kdl 6.7 optimised: 6.7 KiB a brace, 2.4 KiB a comment, 0.6 KiB an error, one error a
/// byte at most, so 110 MiB at the limits above. The pages are only used if they are needed.
const PARSER_STACK: usize = 160 << 20;

/// Reads and checks the file at `path`.
///
/// # Errors
/// Every error of the file at once; one error without a line if the file cannot be read.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let name = path.display().to_string();
    let mut text = String::new();
    // One byte more than allowed, so that a larger file is seen as one, whatever its metadata says.
    let read = open(path).and_then(|file| {
        file.take(MAX_FILE_BYTES.saturating_add(1))
            .read_to_string(&mut text)
    });
    match read {
        Ok(_) => parse(&name, &text),
        Err(error) => Err(whole_file(
            &name,
            format!("the file cannot be read: {error}"),
            None,
        )),
    }
}

/// Opens a file, and nothing else: the reader of a pipe, a terminal or another device waits for its writer, and the
/// compositor reads its configuration while everybody waits for it.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    // What was opened is looked at, and not what lies at the path now.
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a file"))
    }
}

/// Checks `text`; `name` is what origins and errors call the file.
///
/// # Errors
/// Every error of the text at once.
pub fn parse(name: &str, text: &str) -> Result<Config, ConfigErrors> {
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        let hint = format!("the limit is {MAX_FILE_BYTES} bytes");
        return Err(whole_file(name, "the file is too large".to_owned(), Some(hint)));
    }
    let levels = ["{", "}", "/*"]
        .iter()
        .map(|mark| text.matches(mark).count())
        .max()
        .unwrap_or(0);
    if levels > MAX_LEVELS {
        let hint = format!("the limit is {MAX_LEVELS} braces");
        return Err(whole_file(
            name,
            "the file has too many blocks".to_owned(),
            Some(hint),
        ));
    }
    let mut reader = Reader::new(name, text);
    match syntax(text) {
        Some(Ok(document)) => schema::read(reader, &document),
        Some(Err(error)) => {
            for diagnostic in &error.diagnostics {
                let label = diagnostic.label.as_deref().unwrap_or("not understood");
                let message = diagnostic.message.as_deref().unwrap_or(label);
                let place = (diagnostic.span.offset(), diagnostic.span.len());
                let marked = text
                    .get(place.0..place.0.saturating_add(place.1))
                    .unwrap_or("")
                    .trim();
                let bare = ["true", "false", "null"].contains(&marked);
                let hint = if bare {
                    Some(format!("in KDL 2 it is written #{marked}"))
                } else {
                    diagnostic.help.clone()
                };
                reader.error(place, format!("syntax: {message}"), hint);
            }
            Err(reader.into_errors())
        }
        None => Err(whole_file(
            name,
            "the parser failed; this is a bug of Heraldry".to_owned(),
            None,
        )),
    }
}

/// Runs the KDL parser on its own stack; `None` if it could not be started or panicked.
fn syntax(text: &str) -> Option<Result<KdlDocument, KdlError>> {
    thread::scope(|scope| {
        let builder = thread::Builder::new()
            .name("config-parser".to_owned())
            .stack_size(PARSER_STACK);
        let parser = builder.spawn_scoped(scope, || KdlDocument::parse_v2(text)).ok()?;
        parser.join().ok()
    })
}

/// An error that has no line.
fn whole_file(file: &str, message: String, hint: Option<String>) -> ConfigErrors {
    let file = file.to_owned();
    let error = ConfigError {
        file,
        line: 0,
        column: 0,
        width: 0,
        message,
        hint,
        source_line: String::new(),
    };
    ConfigErrors { errors: vec![error] }
}
