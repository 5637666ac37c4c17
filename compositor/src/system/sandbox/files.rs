// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which files the compositor may open, by Landlock: what it was told of at its start, what libraries read, and its devices.
//!
//! Rules are for what lies at a path now. A folder's hold for what comes into it later, so devices and the configuration
//! are had by their folders. Who is refused learns it as of any file that belongs to somebody else.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
    make_bitflags,
};
use tracing::{info, warn};

/// Of Linux 6.12: files, ioctls of devices, TCP, signals and abstract sockets. Older kernels do what they know of it.
const WANTED: ABI = ABI::V6;

/// What libraries read: programs, drivers, keyboard layouts, what is known of devices, and what the kernel tells of them.
const READ: &[&str] = &[
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/gnu/store",
    "/run/opengl-driver",
    "/etc/X11/xkb",
    "/etc/drirc",
    "/etc/egl",
    "/etc/glvnd",
    "/etc/ld.so.cache",
    "/etc/libinput",
    "/etc/libwacom",
    "/etc/xkb",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/self",
    "/run/systemd/seats",
    "/run/systemd/sessions",
    "/run/systemd/users",
    "/run/udev",
    "/sys",
    "/dev/null",
    "/dev/urandom",
];
/// Input devices are read and never written: an event that is written is seen by everybody else who reads, the kernel included.
const INPUT: &str = "/dev/input";
const GRAPHICS: &str = "/dev/dri";

/// What the compositor was told of at its start and opens later.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The configuration: it is read again at a reload, when another file may lie at its path.
    pub config: Option<PathBuf>,
    /// Sockets to listen on. Their folders may be written: there lie their locks, and pictures of the screen.
    pub sockets: Vec<PathBuf>,
    /// Where libxkbcommon makes keyboard layouts for clients of older protocols.
    pub scratch: Option<PathBuf>,
    /// The virtio_wl device.
    pub device: Option<PathBuf>,
    /// Another compositor or an X server shows the picture; they may be reached by an abstract socket.
    pub nested: bool,
}

/// Gives up all other files, as far as this kernel can. Says once if it cannot; returns whether there are rules now.
pub(super) fn restrict(places: &Places) -> Result<bool, RulesetError> {
    let mut scopes = BitFlags::from(Scope::Signal);
    // A service manager may want to be told there as well.
    let abstract_manager =
        std::env::var_os("NOTIFY_SOCKET").is_some_and(|name| name.as_encoded_bytes().starts_with(b"@"));
    if !places.nested && !abstract_manager {
        scopes |= Scope::AbstractUnixSocket;
    }
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(WANTED))?
        .handle_access(AccessNet::from_all(WANTED))?
        .scope(scopes)?
        .create()?;
    for (path, access) in wanted(places) {
        rules = add(rules, &path, access)?;
    }
    let status = rules.restrict_self()?;
    report(&status);
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// Paths, and what may be done at and below them.
fn wanted(places: &Places) -> Vec<(PathBuf, BitFlags<AccessFs>)> {
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let device = read | AccessFs::IoctlDev;
    let write = make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeSock | RemoveFile});
    let mut all: Vec<(PathBuf, _)> = READ.iter().map(|path| (path.into(), read)).collect();
    all.extend(own_layouts().into_iter().map(|path| (path, read)));
    all.push((INPUT.into(), device));
    all.push((GRAPHICS.into(), device | AccessFs::WriteFile));
    all.extend(
        places
            .device
            .clone()
            .map(|path| (path, device | AccessFs::WriteFile)),
    );
    if places.nested {
        all.extend(credentials().into_iter().map(|path| (path, read)));
    }
    for config in places.config.iter().flat_map(|path| with_target(path)) {
        all.extend(folder(&config).map(|path| (path, read)));
    }
    let folders = places.sockets.iter().filter_map(|path| folder(path));
    all.extend(folders.chain(places.scratch.clone()).map(|path| (path, write)));
    all
}

/// A path, and where it leads if it is a link.
fn with_target(path: &Path) -> Vec<PathBuf> {
    let target = path.canonicalize().ok().filter(|target| target != path);
    std::iter::once(path.to_owned()).chain(target).collect()
}

fn folder(path: &Path) -> Option<PathBuf> {
    std::path::absolute(path).ok()?.parent().map(Path::to_owned)
}

fn home(name: &str) -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("HOME").filter(|home| home != "/")?).join(name))
}

/// Where the keyboard library looks for layouts of the user's own.
fn own_layouts() -> Vec<PathBuf> {
    let named = ["XKB_CONFIG_ROOT", "XKB_CONFIG_EXTRA_PATH"].map(std::env::var_os);
    let config = std::env::var_os("XDG_CONFIG_HOME").map(|path| PathBuf::from(path).join("xkb"));
    let named = named.into_iter().flatten().map(PathBuf::from);
    named
        .chain(config)
        .chain(home(".config/xkb"))
        .chain(home(".xkb"))
        .collect()
}

/// What an X server asks for.
fn credentials() -> Vec<PathBuf> {
    let named = std::env::var_os("XAUTHORITY").map(PathBuf::from);
    named.into_iter().chain(home(".Xauthority")).collect()
}

/// Adds a rule for what is there.
fn add(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(fd) = PathFd::new(path) else {
        return Ok(rules);
    };
    let access = if path.is_dir() {
        access
    } else {
        access & AccessFs::from_file(WANTED)
    };
    rules.add_rule(PathBeneath::new(fd, access))
}

fn report(status: &RestrictionStatus) {
    match (&status.ruleset, &status.landlock) {
        (RulesetStatus::FullyEnforced, _) => info!("files are restricted"),
        (RulesetStatus::PartiallyEnforced, LandlockStatus::Available { effective_abi, .. }) => warn!(
            ?effective_abi,
            "files are restricted as far as this kernel can: Linux 6.12 knows all of it"
        ),
        _ => warn!(
            "files are not restricted: this kernel has no Landlock (CONFIG_SECURITY_LANDLOCK, and `landlock` in lsm=)"
        ),
    }
}
