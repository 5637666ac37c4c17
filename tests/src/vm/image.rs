// SPDX-License-Identifier: MIT OR Apache-2.0
//! What machines boot: built once for all tests of a process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use heraldry_image::build::{Sources, collect, pack};
use heraldry_image::cpio::{Content, Entry, Tree};

use crate::rig::program;

/// Quick to pack; tests boot an image once or twice.
const LEVEL: u8 = 1;

/// A kernel and an initramfs.
#[derive(Debug)]
pub struct Image {
    /// The kernel.
    pub kernel: PathBuf,
    /// The packed archive.
    pub archive: Vec<u8>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder of the kernel that `scripts/kernel` fetches.
#[must_use]
pub fn kernel() -> &'static Path {
    static KERNEL: OnceLock<PathBuf> = OnceLock::new();
    KERNEL.get_or_init(|| script("scripts/kernel", "there is no kernel to boot"))
}

/// The QEMU that has what `heraldry-device` needs, which `scripts/qemu` finds or fetches.
#[must_use]
pub fn qemu() -> &'static Path {
    static QEMU: OnceLock<PathBuf> = OnceLock::new();
    QEMU.get_or_init(|| script("scripts/qemu", "there is no QEMU for devices of other processes"))
}

/// The path that a script of the project prints.
fn script(name: &str, failure: &str) -> PathBuf {
    let output = Command::new(root().join(name))
        .stderr(Stdio::inherit())
        .output()
        .expect("a script");
    assert!(output.status.success(), "{failure}");
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

/// The tree that lists of `assets/image` name, with the programs under test.
#[must_use]
pub fn lists(names: &[&str]) -> Tree {
    let bin = program("heraldry");
    let modules = std::fs::read_dir(kernel().join("lib/modules"))
        .ok()
        .and_then(|mut entries| entries.next()?.ok())
        .expect("the kernel's modules");
    let sources = Sources {
        root: root(),
        folders: [("BIN".to_owned(), bin.parent().expect("a folder").to_owned())].into(),
        kernel: Some(modules.path()),
    };
    let lists: Vec<PathBuf> = names
        .iter()
        .map(|name| root().join("assets/image").join(name))
        .collect();
    collect(&lists, &sources).unwrap_or_else(|error| panic!("{error}"))
}

fn image(names: &[&str]) -> Image {
    let archive = lists(names).archive().expect("an archive");
    Image {
        kernel: kernel().join("vmlinuz"),
        archive: pack(&archive, LEVEL).expect("a packed archive"),
    }
}

/// The image for tests, with clients and a shell.
#[must_use]
pub fn test_image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| image(&["base.list", "test.list", "liar.list"]))
}

/// The image for tests, with Mesa's GL for the processor.
#[must_use]
pub fn image_with_gl() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| image(&["base.list", "test.list", "gles.list"]))
}

/// An app VM, with clients and a shell.
#[must_use]
pub fn app_image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| image(&["app.list", "attack.list"]))
}

/// An app VM with a GTK program besides.
#[must_use]
pub fn app_image_with_gtk() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| image(&["app.list", "gtk.list"]))
}

/// The image that users boot.
#[must_use]
pub fn base() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| image(&["base.list"]))
}

/// Files that one machine has besides its image's, or instead of them.
#[derive(Debug, Clone, Default)]
pub struct Files(Tree);

impl Files {
    /// Adds one.
    #[must_use]
    pub fn with(mut self, path: &str, text: &str) -> Self {
        let entry = Entry::new(Content::File(text.as_bytes().to_vec()), 0o644);
        self.0.insert(path, entry).expect("a path once");
        self
    }

    /// The archive, which the kernel unpacks over the image's.
    pub(super) fn archive(&self) -> Vec<u8> {
        self.0.archive().expect("an archive")
    }
}
