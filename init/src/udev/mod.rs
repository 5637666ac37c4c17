// SPDX-License-Identifier: MIT OR Apache-2.0
//! What udevd does for libinput and for hot-plug of outputs, and no more: entries under `/run/udev/data`, and the
//! kernel's device events passed on in the form that libudev's listeners take.
//!
//! Device nodes themselves are made by the kernel (devtmpfs); those that the compositor needs may be opened by its group
//! before anybody hears of the device. They belong to root, so that who may only read cannot give himself more.

mod classify;
mod monitor;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use tracing::{debug, warn};

use classify::{Bits, Capabilities, classify};
use monitor::Event;

/// The kernel's events come to this multicast group.
const KERNEL_GROUP: u32 = 1;
/// udev's go to this one.
const UDEV_GROUP: u32 = 2;
/// The kernel's events are at most 2 KiB of properties and a path.
const MESSAGE: usize = 8192;
/// Enough for the events of a whole machine.
const BACKLOG: usize = 4 * 1024 * 1024;
/// The folder of libudev's database; programs that look for udevd look for `control` beside it.
const DATA: &str = "/run/udev/data";

/// The kernel removes its folders when the last device in them goes, and the compositor may open what lies in those that were
/// there when it started. So they are never empty.
const KEPT: [&str; 2] = ["/dev/dri/by-path", "/dev/input/by-path"];

/// What the compositor does with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// It listens.
    Read,
    /// It has it do something.
    Write,
}

/// What an event was about, for init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// A GPU came.
    Gpu,
    /// Something else came.
    Other,
}

/// The listener for the kernel's events.
#[derive(Debug)]
pub(super) struct Udev {
    socket: OwnedFd,
    group: u32,
}

/// One device under `/sys/class`.
struct Device {
    /// The folder below `/sys/devices`.
    path: PathBuf,
    subsystem: &'static str,
}

impl AsFd for Udev {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Udev {
    /// Listens from now on. `group` is the one that may open device nodes.
    pub(super) fn open(group: u32) -> io::Result<Self> {
        fs::create_dir_all(DATA)?;
        for folder in KEPT {
            if let Err(error) = fs::create_dir_all(folder) {
                warn!(%error, "{folder} cannot be made; devices that come back may not be used");
            }
        }
        fs::write("/run/udev/control", b"")?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            flags,
            Some(KOBJECT_UEVENT),
        )?;
        // Without it a burst would be lost; what is lost is looked for again, so this may fail.
        let _default = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, BACKLOG);
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, KERNEL_GROUP))?;
        Ok(Self { socket, group })
    }

    /// Writes the entries of all devices that are there.
    pub(super) fn coldplug(&self) {
        for (class, subsystem) in [("/sys/class/input", "input"), ("/sys/class/drm", "drm")] {
            let Ok(entries) = fs::read_dir(class) else {
                continue;
            };
            for entry in entries.flatten() {
                if let Ok(path) = fs::canonicalize(entry.path()) {
                    self.write_entry(&Device { path, subsystem });
                }
            }
        }
        give(Path::new(super::devices::WL), self.group, Use::Write);
    }

    /// Takes the events that wait. Returns each device that came, with its modalias.
    pub(super) fn receive(&self) -> Vec<(Change, Option<String>)> {
        let mut changes = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); MESSAGE];
        loop {
            let received = rustix::net::recvfrom(&self.socket, &mut buffer, RecvFlags::empty());
            let (message, sender) = match received {
                Ok(((message, _), _, sender)) => (message, sender),
                Err(Errno::INTR) => continue,
                Err(Errno::NOBUFS) => {
                    warn!("device events were lost; looking at all devices again");
                    self.coldplug();
                    continue;
                }
                Err(_) => return changes,
            };
            let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
            // Only the kernel may speak here.
            if sender.is_none_or(|sender| sender.pid() != 0) {
                continue;
            }
            if let Some(event) = Event::of_kernel(message) {
                changes.extend(self.handle(event));
            }
        }
    }

    fn handle(&self, mut event: Event) -> Option<(Change, Option<String>)> {
        let removed = event.get("ACTION") == Some("remove");
        let subsystem = match event.get("SUBSYSTEM") {
            Some("input") => "input",
            Some("drm") => "drm",
            _ => {
                if event.get("DEVNAME") == Some("wl0") && !removed {
                    give(Path::new(super::devices::WL), self.group, Use::Write);
                }
                let modalias = event.get("MODALIAS").map(ToOwned::to_owned);
                return (!removed).then_some((Change::Other, modalias));
            }
        };
        let relative = event.get("DEVPATH")?.strip_prefix('/')?;
        let device = Device {
            path: Path::new("/sys").join(relative),
            subsystem,
        };
        let properties = if removed {
            let id = identity(&device, event.get("MAJOR").zip(event.get("MINOR")));
            // One without an entry is none of ours.
            let _absent = fs::remove_file(Path::new(DATA).join(id));
            BTreeMap::new()
        } else {
            self.write_entry(&device)
        };
        let change = if properties.contains_key("master-of-seat") {
            Change::Gpu
        } else {
            Change::Other
        };
        debug!(device = %device.path.display(), "device event");
        let modalias = event.get("MODALIAS").map(ToOwned::to_owned);
        complete(&mut event, &properties);
        self.pass_on(&event, &tags(&properties));
        (!removed).then_some((change, modalias))
    }

    /// Tells udev's listeners.
    fn pass_on(&self, event: &Event, tags: &[&str]) {
        let message = event.for_listeners(tags);
        let group = SocketAddrNetlink::new(0, UDEV_GROUP);
        match rustix::net::sendto(&self.socket, &message, SendFlags::empty(), &group) {
            // Refused: nobody listens.
            Ok(_) | Err(Errno::CONNREFUSED) => {}
            Err(errno) => warn!(%errno, "a device event cannot be passed on"),
        }
    }

    /// Writes a device's entry and gives its node to the compositor. Returns the entry's properties, and its tags as
    /// properties without value.
    fn write_entry(&self, device: &Device) -> BTreeMap<&'static str, String> {
        let properties = describe(device);
        if properties.is_empty() {
            return properties;
        }
        let mut text = String::from("I:1\n");
        for (name, value) in &properties {
            if name.starts_with("ID_") {
                text.push_str(&format!("E:{name}={value}\n"));
            } else {
                text.push_str(&format!("G:{name}\nQ:{name}\n"));
            }
        }
        text.push_str("V:1\n");
        let id = identity(device, None);
        if let Err(error) = fs::write(Path::new(DATA).join(&id), text) {
            warn!(%error, "the entry {id} of a device cannot be written; it will not be used");
        }
        if let Some(name) = property(&device.path, "DEVNAME") {
            // An event that is written to an input device is seen by everybody else who reads it, and by the kernel.
            let purpose = if device.subsystem == "input" {
                Use::Read
            } else {
                Use::Write
            };
            give(&Path::new("/dev").join(name), self.group, purpose);
        }
        properties
    }
}

/// Lets the compositor's group open a node, and nobody else but root.
pub(super) fn give(node: &Path, group: u32, purpose: Use) {
    let mode = match purpose {
        Use::Read => 0o640,
        Use::Write => 0o660,
    };
    let given = chown(node, Some(0), Some(group))
        .and_then(|()| fs::set_permissions(node, fs::Permissions::from_mode(mode)));
    match given {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => warn!(%error, "{} cannot be given to the compositor", node.display()),
    }
}

fn tags(properties: &BTreeMap<&'static str, String>) -> Vec<&'static str> {
    let names = properties.keys().copied();
    names.filter(|name| !name.starts_with("ID_")).collect()
}

/// Adds what udevd would have added to the kernel's words.
fn complete(event: &mut Event, properties: &BTreeMap<&'static str, String>) {
    for (name, value) in properties.iter().filter(|(name, _)| name.starts_with("ID_")) {
        event.set(name, value.clone());
    }
    let tags = tags(properties);
    if !tags.is_empty() {
        let text = format!(":{}:", tags.join(":"));
        event.set("CURRENT_TAGS", text.clone());
        event.set("TAGS", text);
    }
    if let Some(name) = event.get("DEVNAME").filter(|name| !name.starts_with('/')) {
        let name = format!("/dev/{name}");
        event.set("DEVNAME", name);
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A value of a device's `uevent` file.
fn property(device: &Path, name: &str) -> Option<String> {
    let text = read(&device.join("uevent"));
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.to_owned())
}

/// The name of a device's entry: `c13:64` for one with a node, else `+input:input5`. A device that is gone has its
/// number in the event alone.
fn identity(device: &Device, gone: Option<(&str, &str)>) -> String {
    if let Some((major, minor)) = gone {
        return format!("c{major}:{minor}");
    }
    match fs::read_to_string(device.path.join("dev")) {
        Ok(number) => format!("c{}", number.trim()),
        Err(_) => {
            let name = device.path.file_name().unwrap_or_default().to_string_lossy();
            format!("+{}:{name}", device.subsystem)
        }
    }
}

/// The properties (`ID_…`) and tags of a device; nothing for one that nobody here reads.
fn describe(device: &Device) -> BTreeMap<&'static str, String> {
    let mut properties = BTreeMap::new();
    let name = device.path.file_name().unwrap_or_default().to_string_lossy();
    if device.subsystem == "drm" {
        let card = name
            .strip_prefix("card")
            .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()));
        if card {
            properties.insert("master-of-seat", String::new());
        }
        if card || name.starts_with("renderD") {
            properties.insert("seat", String::new());
            properties.insert("ID_SEAT", "seat0".to_owned());
        }
        return properties;
    }
    // The node is `…/input5/event3`, what it can do stands with its parent.
    let parent = if name.starts_with("event") {
        device.path.parent().unwrap_or(&device.path)
    } else if name.starts_with("input") {
        &device.path
    } else {
        return properties;
    };
    let bits = |what: &str| Bits::parse(&read(&parent.join("capabilities").join(what)));
    let kinds = classify(&Capabilities {
        ev: bits("ev"),
        key: bits("key"),
        rel: bits("rel"),
        abs: bits("abs"),
        properties: Bits::parse(&read(&parent.join("properties"))),
    });
    if kinds.is_empty() {
        return properties;
    }
    properties.extend(kinds.into_iter().map(|kind| (kind, "1".to_owned())));
    properties.insert("ID_INPUT", "1".to_owned());
    properties.insert("ID_SEAT", "seat0".to_owned());
    properties.insert("seat", String::new());
    properties
}
