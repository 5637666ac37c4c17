// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which of the devices that the compositor needs are there.

use std::fs;
use std::path::{Path, PathBuf};

/// The virtio_wl device.
pub(super) const WL: &str = "/dev/wl0";

fn first(folder: &str, starts: &str) -> Option<PathBuf> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.strip_prefix(starts)
                .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit()))
        })
        .collect();
    names.sort();
    names.into_iter().next()
}

/// The first GPU that can show pictures.
pub(super) fn gpu() -> Option<PathBuf> {
    first("/dev/dri", "card")
}

/// The driver of a GPU, for the log.
pub(super) fn driver(card: &Path) -> String {
    let name = card.file_name().unwrap_or_default();
    let link = Path::new("/sys/class/drm").join(name).join("device/driver");
    fs::read_link(link)
        .ok()
        .and_then(|target| Some(target.file_name()?.to_string_lossy().into_owned()))
        .unwrap_or_else(|| "unknown driver".to_owned())
}

/// Names of the devices that a person can type or point with.
pub(super) fn inputs() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/class/input") else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("event"))
        .filter(|entry| usable(&entry.path()))
        .filter_map(|entry| fs::read_to_string(entry.path().join("device/name")).ok())
        .map(|name| name.trim().to_owned())
        .collect();
    names.sort();
    names
}

/// Whether there is an entry that makes it a keyboard or a pointer; a power button alone is neither.
fn usable(node: &Path) -> bool {
    let number = fs::read_to_string(node.join("dev")).unwrap_or_default();
    let entry = fs::read_to_string(format!("/run/udev/data/c{}", number.trim())).unwrap_or_default();
    ["KEYBOARD", "MOUSE", "TOUCHPAD", "TOUCHSCREEN", "TABLET"]
        .iter()
        .any(|kind| entry.contains(&format!("E:ID_INPUT_{kind}=1\n")))
}
