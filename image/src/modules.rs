// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel modules of an unpacked Debian kernel package: which files, what they need, and the index that init reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ImageError;

/// A module as it goes into the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Where below `/lib/modules/VERSION`, without a packer's ending.
    pub file: String,
    /// Unpacked.
    pub data: Vec<u8>,
}

/// Modules in any order, and what they say of themselves.
#[derive(Debug, Default)]
pub struct Set {
    /// By name.
    pub modules: BTreeMap<String, Module>,
    needs: BTreeMap<String, Vec<String>>,
}

/// The modules of a kernel: `folder` is its `lib/modules/VERSION`.
#[derive(Debug)]
pub struct Kernel {
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
    folder: PathBuf,
}

fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

/// Values of a key in a module's own description: strings of the form `key=value`, each ended by a zero byte.
fn described(data: &[u8], key: &str) -> Vec<String> {
    let start = format!("{key}=");
    data.split(|byte| *byte == 0)
        .filter_map(|text| std::str::from_utf8(text.strip_prefix(start.as_bytes())?).ok())
        .map(ToOwned::to_owned)
        .collect()
}

impl Kernel {
    /// Looks at what there is.
    pub fn open(folder: &Path) -> Result<Self, ImageError> {
        let read = |path: &Path, source| ImageError::Read {
            path: path.to_owned(),
            source,
        };
        let list = folder.join("modules.builtin");
        let builtin = fs::read_to_string(&list).map_err(|source| read(&list, source))?;
        let mut files = BTreeMap::new();
        let mut folders = vec![folder.join("kernel")];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(&next)
                .map_err(|source| read(&next, source))?
                .flatten()
            {
                let path = entry.path();
                let name = entry.file_name().to_string_lossy().into_owned();
                if path.is_dir() {
                    folders.push(path);
                } else if name.contains(".ko") {
                    files.insert(name_of(&name), path);
                }
            }
        }
        Ok(Self {
            files,
            builtin: builtin.lines().map(name_of).collect(),
            folder: folder.to_owned(),
        })
    }

    /// The kernel's version: the folder's name.
    #[must_use]
    pub fn version(&self) -> String {
        self.folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// Adds a module and all that it needs.
    pub fn add(&self, set: &mut Set, name: &str) -> Result<(), ImageError> {
        let name = name_of(name);
        if set.modules.contains_key(&name) || self.builtin.contains(&name) {
            return Ok(());
        }
        let path = self
            .files
            .get(&name)
            .ok_or_else(|| ImageError::Module(name.clone()))?;
        let data = unpacked(path)?;
        let needs: Vec<String> = described(&data, "depends")
            .iter()
            .flat_map(|list| list.split(','))
            .filter(|need| !need.is_empty())
            .map(name_of)
            .collect();
        let below = path.strip_prefix(&self.folder).unwrap_or(path).to_string_lossy();
        let end = below.find(".ko").map_or(below.len(), |at| at + 3);
        let file = below.get(..end).unwrap_or(&below).to_owned();
        set.needs.insert(name.clone(), needs.clone());
        set.modules.insert(name, Module { file, data });
        needs.iter().try_for_each(|need| self.add(set, need))
    }

    /// The names of what is built in, for init.
    #[must_use]
    pub fn builtin(&self) -> String {
        self.builtin.iter().map(|name| format!("{name}.ko\n")).collect()
    }
}

impl Set {
    /// All that a module needs, what is needed most last, as `modules.dep` has it.
    fn order(&self, name: &str, order: &mut Vec<String>) {
        for need in self.needs.get(name).into_iter().flatten() {
            // Later is loaded earlier, so what is needed again moves to the end with all that it needs.
            order.retain(|there| there != need);
            order.push(need.clone());
            self.order(need, order);
        }
    }

    /// The text of `modules.dep`.
    #[must_use]
    pub fn dep(&self) -> String {
        let mut text = String::new();
        for (name, module) in &self.modules {
            let mut order = Vec::new();
            self.order(name, &mut order);
            text.push_str(&format!("{}:", module.file));
            for needed in order.iter().filter_map(|need| self.modules.get(need)) {
                text.push_str(&format!(" {}", needed.file));
            }
            text.push('\n');
        }
        text
    }

    /// The text of `modules.alias`.
    #[must_use]
    pub fn alias(&self) -> String {
        let mut lines = BTreeSet::new();
        for (name, module) in &self.modules {
            for alias in described(&module.data, "alias") {
                // Names of file systems and the like, which no device has, are left out with the spaces.
                if !alias.contains(char::is_whitespace) {
                    lines.insert(format!("alias {alias} {name}\n"));
                }
            }
        }
        lines.into_iter().collect()
    }
}

fn unpacked(path: &Path) -> Result<Vec<u8>, ImageError> {
    let tool = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => {
            return fs::read(path).map_err(|source| ImageError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    crate::build::tool(tool, Command::new(tool).arg("-dc").arg(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(dir: &Path) -> Kernel {
        let folder = dir.join("6.1-test");
        fs::create_dir_all(folder.join("kernel/a")).unwrap();
        fs::write(folder.join("modules.builtin"), "kernel/b/built-in.ko\n").unwrap();
        for (file, text) in [
            ("top", "\0alias=virtio:d16v*\0depends=mid-one,low\0"),
            ("mid-one", "\0depends=low,built_in\0alias=with space\0"),
            ("low", "\0depends=\0"),
        ] {
            fs::write(folder.join(format!("kernel/a/{file}.ko")), text).unwrap();
        }
        Kernel::open(&folder).unwrap()
    }

    #[test]
    fn a_module_comes_with_all_that_it_needs() {
        let dir = tempfile::tempdir().unwrap();
        let kernel = kernel(dir.path());
        assert_eq!(kernel.version(), "6.1-test");
        let mut set = Set::default();
        kernel.add(&mut set, "top").unwrap();
        kernel.add(&mut set, "built-in").unwrap();
        assert_eq!(set.modules.keys().collect::<Vec<_>>(), ["low", "mid_one", "top"]);
        assert_eq!(
            set.dep(),
            "kernel/a/low.ko:\nkernel/a/mid-one.ko: kernel/a/low.ko\nkernel/a/top.ko: kernel/a/mid-one.ko kernel/a/low.ko\n"
        );
        assert_eq!(set.alias(), "alias virtio:d16v* top\n");
        assert_eq!(kernel.builtin(), "built_in.ko\n");
        let error = kernel.add(&mut set, "other").unwrap_err();
        assert!(matches!(error, ImageError::Module(name) if name == "other"));
    }
}
