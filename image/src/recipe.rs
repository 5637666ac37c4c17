// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lists of what goes into an image. Pure.
//!
//! One thing a line; `#` begins a comment. `$NAME` at the start of a source is a folder that the builder is given; a
//! source without one is found from the project's root.
//!
//! ```text
//! folder PATH [MODE]         an empty folder
//! device PATH MAJOR MINOR MODE
//! link PATH TARGET
//! file PATH SOURCE [MODE]    a file as it is
//! program PATH SOURCE        a program and the libraries that it needs
//! library SOURCE             a library that a program loads by itself, and those that it needs
//! tree PATH SOURCE           a folder with everything in it
//! module NAME                a kernel module and those that it needs
//! ```

use crate::ImageError;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An empty folder and its permissions.
    Folder(String, u32),
    /// A character device: path, major, minor, permissions.
    Device(String, u32, u32, u32),
    /// A symbolic link: path, target.
    Link(String, String),
    /// A file: path, source, permissions.
    File(String, String, u32),
    /// A program: path, source.
    Program(String, String),
    /// A library: source.
    Library(String),
    /// A folder: path, source.
    Tree(String, String),
    /// A module: name.
    Module(String),
}

/// Reads a list; `name` is for messages.
pub fn parse(name: &str, text: &str) -> Result<Vec<Item>, ImageError> {
    let mut items = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let words: Vec<&str> = text
            .split('#')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        if words.is_empty() {
            continue;
        }
        let item = item(&words).ok_or_else(|| ImageError::Recipe {
            list: name.to_owned(),
            line,
            why: format!("{:?} is none of the known lines", text.trim()),
        })?;
        items.push(item);
    }
    Ok(items)
}

fn item(words: &[&str]) -> Option<Item> {
    let own = |word: &&str| (*word).to_owned();
    let octal = |word: &str| u32::from_str_radix(word, 8).ok().filter(|mode| *mode <= 0o7777);
    let path = |word: &&str| word.starts_with('/').then(|| own(word));
    Some(match words {
        ["folder", at] => Item::Folder(path(at)?, 0o755),
        ["folder", at, mode] => Item::Folder(path(at)?, octal(mode)?),
        ["device", at, major, minor, mode] => {
            Item::Device(path(at)?, major.parse().ok()?, minor.parse().ok()?, octal(mode)?)
        }
        ["link", at, target] => Item::Link(path(at)?, own(target)),
        ["file", at, source] => Item::File(path(at)?, own(source), 0o644),
        ["file", at, source, mode] => Item::File(path(at)?, own(source), octal(mode)?),
        ["program", at, source] => Item::Program(path(at)?, own(source)),
        ["library", source] => Item::Library(own(source)),
        ["tree", at, source] => Item::Tree(path(at)?, own(source)),
        ["module", name] => Item::Module(own(name)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_is_read() {
        let text = "# what there is\nfolder /proc\nfolder /tmp 1777 # for all\ndevice /dev/console 5 1 600\n\
                    link /init usr/bin/x\nfile /etc/a assets/a\nfile /etc/b assets/b 600\nprogram /usr/bin/x $BIN/x\n\
                    library /usr/lib/l.so\ntree /usr/share/x /usr/share/x\nmodule evdev\n";
        let items = parse("x.list", text).unwrap();
        assert_eq!(items.len(), 10);
        assert_eq!(items[1], Item::Folder("/tmp".to_owned(), 0o1777));
        assert_eq!(
            items[5],
            Item::File("/etc/b".to_owned(), "assets/b".to_owned(), 0o600)
        );
    }

    #[test]
    fn a_wrong_line_is_told_with_its_number() {
        for wrong in [
            "fil /a b",
            "file a b",
            "folder /a 99",
            "device /a 1 2",
            "module",
            "file /a b 77777",
        ] {
            let error = parse("x.list", &format!("\n{wrong}\n")).unwrap_err();
            assert!(error.to_string().starts_with("x.list:2: "), "{error}");
        }
    }
}
