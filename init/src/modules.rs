// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel modules: which one a device needs, in which order they are loaded.
//!
//! [`Index`] is pure and reads what depmod writes; [`Loader`] gives the files to the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, read_dir, read_to_string};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::system::{finit_module, uname};
use tracing::{debug, info, warn};

/// Modules that are loaded whatever the devices say, one name a line.
const LIST: &str = "/etc/heraldry/modules";

/// What is known about the modules of one kernel.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Name to file and the files that it needs, in the order of modules.dep: the last is needed by those before it.
    files: BTreeMap<String, Vec<PathBuf>>,
    /// Pattern and name.
    aliases: Vec<(String, String)>,
    builtin: BTreeSet<String>,
}

/// A module's name as the kernel has it: the file says `-` where the kernel says `_`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

impl Index {
    /// From the texts of `modules.dep`, `modules.alias` and `modules.builtin`.
    pub(super) fn new(dep: &str, alias: &str, builtin: &str) -> Self {
        let files = dep.lines().filter_map(|line| line.split_once(':'));
        let files = files.map(|(file, needs)| {
            let all = std::iter::once(file).chain(needs.split_whitespace());
            (name_of(file), all.map(PathBuf::from).collect())
        });
        let aliases = alias.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("alias")).then_some(())?;
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        });
        Self {
            files: files.collect(),
            aliases: aliases.collect(),
            builtin: builtin.lines().map(name_of).collect(),
        }
    }

    /// Names of the modules that say they drive a device with this modalias.
    pub(super) fn drivers<'a>(&'a self, modalias: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.aliases
            .iter()
            .filter(move |(pattern, _)| matches(pattern.as_bytes(), modalias.as_bytes()))
            .map(|(_, name)| name.as_str())
    }

    /// The files to load for a module, in order; `None` if there is no such module, nothing if it is built in.
    pub(super) fn order(&self, name: &str) -> Option<Vec<&Path>> {
        let name = name_of(name);
        match self.files.get(&name) {
            Some(files) => Some(files.iter().rev().map(PathBuf::as_path).collect()),
            None => self.builtin.contains(&name).then(Vec::new),
        }
    }
}

/// Whether a pattern of modules.alias (`*`, `?`, `[a-c]`) is true for a text. Time is at most the product of the lengths.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0_usize, 0_usize);
    // Where to go on when the newest `*` has to take one byte more.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(p), text.get(t)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            (Some(b'?'), Some(_)) => Some(1),
            (Some(b'['), Some(byte)) => class(pattern.get(p + 1..).unwrap_or_default(), *byte),
            (Some(one), Some(other)) if one == other => Some(1),
            _ => None,
        };
        match (step, &mut star) {
            (Some(step), _) => {
                p += step;
                t += 1;
            }
            (None, Some((after, taken))) if *taken < text.len() => {
                *taken += 1;
                (p, t) = (*after, *taken);
            }
            (None, _) => return false,
        }
    }
}

/// For a class without its `[`: the length of the whole class if the byte is in it.
fn class(rest: &[u8], byte: u8) -> Option<usize> {
    let end = rest.iter().position(|c| *c == b']')?;
    let mut inside = rest.get(..end)?;
    let mut found = false;
    while let Some((first, after)) = inside.split_first() {
        if let [b'-', last, rest @ ..] = after {
            found |= (*first..=*last).contains(&byte);
            inside = rest;
        } else {
            found |= *first == byte;
            inside = after;
        }
    }
    found.then_some(end + 2)
}

/// Loads modules, each once.
#[derive(Debug)]
pub(super) struct Loader {
    folder: PathBuf,
    index: Index,
    done: BTreeSet<PathBuf>,
    /// How long the kernel took for them.
    took: Duration,
}

impl Loader {
    /// For the running kernel. An image without modules is one whose kernel has everything built in.
    pub(super) fn new() -> Self {
        let folder = Path::new("/lib/modules").join(uname().release().to_string_lossy().as_ref());
        let read = |name: &str| read_to_string(folder.join(name)).unwrap_or_default();
        let index = Index::new(
            &read("modules.dep"),
            &read("modules.alias"),
            &read("modules.builtin"),
        );
        Self {
            folder,
            index,
            done: BTreeSet::new(),
            took: Duration::ZERO,
        }
    }

    /// Loads what the list names and what the devices that are there ask for.
    pub(super) fn coldplug(&mut self) {
        let list = read_to_string(LIST).unwrap_or_default();
        let named = list
            .lines()
            .map(|line| line.split('#').next().unwrap_or(line).trim());
        for name in named.filter(|name| !name.is_empty()) {
            self.load(name);
        }
        // A driver makes devices of its own (a bus behind a bridge), which may need another: until nothing is new.
        loop {
            let before = self.done.len();
            for alias in modaliases() {
                self.load_for(&alias);
            }
            if self.done.len() == before {
                break;
            }
        }
        info!(
            modules = self.done.len(),
            ms = self.took.as_millis(),
            "modules loaded"
        );
    }

    /// Loads the drivers of a device.
    pub(super) fn load_for(&mut self, modalias: &str) {
        let names: Vec<String> = self.index.drivers(modalias).map(ToOwned::to_owned).collect();
        for name in names {
            self.load(&name);
        }
    }

    fn load(&mut self, name: &str) {
        let Some(order) = self.index.order(name) else {
            warn!(
                "module {name} is not in {}: the device that needs it will be missing; add it to the image",
                self.folder.display()
            );
            return;
        };
        let order: Vec<PathBuf> = order.into_iter().map(Path::to_owned).collect();
        for file in order {
            if self.done.contains(&file) {
                continue;
            }
            let path = self.folder.join(&file);
            let start = Instant::now();
            let inserted = insert(&path);
            self.took += start.elapsed();
            match inserted {
                Ok(()) => debug!("module {}", path.display()),
                Err(why) => {
                    warn!("module {} cannot be loaded: {why}", path.display());
                }
            }
            // Once is enough, also for one that failed.
            self.done.insert(file);
        }
    }
}

fn insert(path: &Path) -> Result<(), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    match finit_module(&file, c"", 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(Errno::NOEXEC) => {
            Err("not a module of this kernel, or packed; the image needs it unpacked".to_owned())
        }
        Err(Errno::NODEV) => Err("it found no device that it drives".to_owned()),
        Err(errno) => Err(errno.to_string()),
    }
}

/// Modaliases of all devices. Each is on a bus but for input devices; the tree of all devices holds ten times as many
/// folders.
fn modaliases() -> BTreeSet<String> {
    let devices = |folder: PathBuf| read_dir(folder).into_iter().flatten().flatten();
    let buses = devices(PathBuf::from("/sys/bus")).map(|bus| bus.path().join("devices"));
    let aliases = buses
        .chain([PathBuf::from("/sys/class/input")])
        .flat_map(devices)
        .filter_map(|device| read_to_string(device.path().join("modalias")).ok());
    aliases
        .map(|alias| alias.trim_end().to_owned())
        .filter(|alias| !alias.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/drivers/gpu/drm/virtio/virtio-gpu.ko: kernel/a/drm_shmem_helper.ko kernel/a/drm.ko\n\
                       kernel/a/drm_shmem_helper.ko: kernel/a/drm.ko\nkernel/a/drm.ko:\n";
    const ALIAS: &str = "# comment\nalias virtio:d00000010v* virtio_gpu\nalias virtio:d00000012v* virtio_input\n\
                         alias input:b*v*p*e*-e*0,*k*r*a*m*l*s*f*w* evdev\n";

    #[test]
    fn what_is_needed_is_loaded_before_what_needs_it() {
        let index = Index::new(DEP, ALIAS, "kernel/drivers/virtio/virtio-pci.ko\n");
        let order = index.order("virtio_gpu").unwrap();
        assert_eq!(
            order,
            [
                "kernel/a/drm.ko",
                "kernel/a/drm_shmem_helper.ko",
                "kernel/drivers/gpu/drm/virtio/virtio-gpu.ko"
            ]
            .map(Path::new)
        );
        assert_eq!(index.order("virtio-gpu").unwrap(), order);
        assert_eq!(index.order("virtio_pci"), Some(Vec::new()), "built in");
        assert_eq!(index.order("nouveau"), None);
    }

    #[test]
    fn a_device_finds_its_drivers() {
        let index = Index::new(DEP, ALIAS, "");
        let drivers = |alias| index.drivers(alias).collect::<Vec<_>>();
        assert_eq!(drivers("virtio:d00000010v00001AF4"), ["virtio_gpu"]);
        assert_eq!(
            drivers("input:b0006v0627p0001e0001-e0,1,4,k71,r,a,m4,lsfw"),
            ["evdev"]
        );
        assert_eq!(drivers("pci:v00001AF4d00001050"), [""; 0]);
    }

    #[test]
    fn patterns_are_those_of_modprobe() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("a?c", "abc", true),
            ("a?", "a", false),
            ("[0-9a]x", "5x", true),
            ("[0-9a]x", "ax", true),
            ("[0-9a]x", "bx", false),
            ("[unclosed", "[unclosed", false),
            ("*[1-2]", "zz3", false),
            ("*[1-2]", "zz2", true),
            ("pci:v*d*", "pci:v1d2extra", true),
            ("exact", "exactly", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
        // Stays fast where a matcher that tries everything would not.
        assert!(!matches(
            "a*".repeat(30).as_bytes(),
            "b".repeat(10_000).as_bytes()
        ));
        let many = format!("{}b", "*a".repeat(30));
        assert!(!matches(many.as_bytes(), "a".repeat(5000).as_bytes()));
    }
}
