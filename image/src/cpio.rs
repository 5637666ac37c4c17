// SPDX-License-Identifier: MIT OR Apache-2.0
//! Archives in the form that the kernel unpacks (cpio "newc"). Pure, and the same bytes for the same tree.

use std::collections::BTreeMap;

use crate::ImageError;

const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";
const ALIGN: usize = 4;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A folder.
    Folder,
    /// A file.
    File(Vec<u8>),
    /// A symbolic link.
    Link(String),
    /// A character device: major and minor number.
    Device(u32, u32),
}

/// One path of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What is there.
    pub content: Content,
    /// Permissions.
    pub mode: u32,
    /// User and group.
    pub owner: u32,
}

impl Entry {
    /// Something of root's.
    #[must_use]
    pub fn new(content: Content, mode: u32) -> Self {
        Self {
            content,
            mode,
            owner: 0,
        }
    }
}

/// A tree: absolute paths and what is there. Folders above are added by [`Tree::insert`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree(BTreeMap<String, Entry>);

impl Tree {
    /// Puts something at a path. The same thing twice is no error.
    pub fn insert(&mut self, path: &str, entry: Entry) -> Result<(), ImageError> {
        let path = path.trim_matches('/');
        if let Some((parent, _)) = path.rsplit_once('/')
            && !self.0.contains_key(parent)
        {
            self.insert(parent, Entry::new(Content::Folder, 0o755))?;
        }
        match self.0.get(path) {
            Some(there) if there.content != entry.content => return Err(ImageError::Twice(path.to_owned())),
            _ => self.0.insert(path.to_owned(), entry),
        };
        Ok(())
    }

    /// Every path, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// The archive. Sorted by path, so a folder comes before what is in it.
    pub fn archive(&self) -> Result<Vec<u8>, ImageError> {
        let mut out = Vec::new();
        for (number, (path, entry)) in (1..).zip(&self.0) {
            let (kind, data, device): (u32, &[u8], (u32, u32)) = match &entry.content {
                Content::Folder => (0o040_000, &[], (0, 0)),
                Content::File(data) => (0o100_000, data, (0, 0)),
                Content::Link(target) => (0o120_000, target.as_bytes(), (0, 0)),
                Content::Device(major, minor) => (0o020_000, &[], (*major, *minor)),
            };
            let head = Head {
                number,
                mode: kind | entry.mode,
                owner: entry.owner,
                links: if entry.content == Content::Folder { 2 } else { 1 },
                device,
            };
            record(&mut out, path, &head, data)?;
        }
        let head = Head {
            number: 0,
            mode: 0,
            owner: 0,
            links: 1,
            device: (0, 0),
        };
        record(&mut out, TRAILER, &head, &[])?;
        // Compressed archives may follow; the kernel looks for them at such a border.
        out.resize(out.len().next_multiple_of(512), 0);
        Ok(out)
    }
}

struct Head {
    number: u32,
    mode: u32,
    owner: u32,
    links: u32,
    device: (u32, u32),
}

fn record(out: &mut Vec<u8>, path: &str, head: &Head, data: &[u8]) -> Result<(), ImageError> {
    let length = |length: usize| {
        u32::try_from(length)
            .ok()
            .ok_or_else(|| ImageError::TooLong(path.to_owned()))
    };
    let (size, name) = (length(data.len())?, length(path.len() + 1)?);
    let time = 0;
    let (major, minor) = head.device;
    out.extend_from_slice(MAGIC.as_bytes());
    for field in [
        head.number,
        head.mode,
        head.owner,
        head.owner,
        head.links,
        time,
        size,
        0,
        0,
        major,
        minor,
        name,
        0,
    ] {
        out.extend_from_slice(format!("{field:08X}").as_bytes());
    }
    out.extend_from_slice(path.as_bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(ALIGN), 0);
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(ALIGN), 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(order: &[usize]) -> Tree {
        let all = [
            (
                "/usr/bin/tool",
                Entry::new(Content::File(b"abcde".to_vec()), 0o755),
            ),
            ("/dev/console", Entry::new(Content::Device(5, 1), 0o600)),
            (
                "init",
                Entry::new(Content::Link("usr/bin/tool".to_owned()), 0o777),
            ),
        ];
        let mut tree = Tree::default();
        for index in order {
            let (path, entry) = all[*index].clone();
            tree.insert(path, entry).unwrap();
        }
        tree
    }

    #[test]
    fn an_archive_depends_on_the_tree_alone() {
        let archive = tree(&[0, 1, 2]).archive().unwrap();
        assert!(archive == tree(&[2, 1, 0, 1]).archive().unwrap());
        assert_eq!(archive.len() % 512, 0);
        let text = String::from_utf8_lossy(&archive);
        let first = "070701000000010000\
                     41ED000000000000000000000002000000000000000000000000000000000000000000000000\
                     0000000400000000dev\0\0\0";
        let start: String = text.chars().take(120).collect();
        assert_eq!(start.get(..first.len()), Some(first));
        let places: Vec<_> = [
            "dev\0",
            "dev/console\0",
            "init\0",
            "usr\0",
            "usr/bin\0",
            "usr/bin/tool\0",
            "TRAILER!!!\0",
        ]
        .iter()
        .map(|name| text.find(name).unwrap())
        .collect();
        assert!(places.is_sorted(), "{places:?}");
        assert!(
            text.contains("usr/bin/tool\0\0abcde\0\0\0"),
            "names and data end at a border"
        );
    }

    #[test]
    fn a_path_has_one_content() {
        let mut tree = tree(&[0]);
        let other = Entry::new(Content::File(Vec::new()), 0o755);
        assert!(matches!(
            tree.insert("/usr/bin/tool", other),
            Err(ImageError::Twice(_))
        ));
    }
}
