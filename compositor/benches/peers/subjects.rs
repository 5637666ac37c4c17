// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compositors that are measured beside each other, and how they are started.

use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Keeps this process and all that it starts on the first core.
pub(crate) fn pin() {
    let mut set = rustix::thread::CpuSet::new();
    set.set(0);
    rustix::thread::sched_setaffinity(None, &set).unwrap();
}

pub(crate) const DIRECT: &str = "heraldry, development socket";
pub(crate) const WHOLE_PATH: &str = "heraldry, whole path";
pub(crate) const LOCAL: &str = "heraldry, host's sockets";

/// A compositor to measure.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) socket: PathBuf,
    /// Where clients of another VM connect; the same for weston, which knows no VMs.
    pub(crate) other: PathBuf,
    pub(crate) names: Vec<&'static str>,
    pub(crate) children: Vec<Child>,
}

impl Drop for Subject {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let group = rustix::process::Pid::from_child(child);
            let _gone = rustix::process::kill_process_group(group, rustix::process::Signal::TERM);
            let _reaped = child.wait();
        }
    }
}

fn start(program: &Path, dir: &Path, args: &[String]) -> Child {
    Command::new(program)
        .args(args)
        .env("XDG_RUNTIME_DIR", dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(dir.join("log")).unwrap())
        .process_group(0)
        .spawn()
        .unwrap()
}

fn wait_for(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while UnixStream::connect(path).is_err() {
        assert!(Instant::now() < deadline, "{} did not come up", path.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn private(dir: &Path, name: &str) -> PathBuf {
    use std::os::unix::fs::DirBuilderExt;
    let path = dir.join(name.replace([' ', ',', '='], "-"));
    std::fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
    path
}

fn strings(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

pub(crate) fn weston(dir: &Path) -> Subject {
    let dir = private(dir, "weston");
    let args = strings(&[
        "--backend=headless-backend.so",
        "--use-pixman",
        "--width=1280",
        "--height=800",
        "--socket=weston",
        "--idle-time=0",
        "--no-config",
    ]);
    let child = start(Path::new("weston"), &dir, &args);
    let socket = dir.join("weston");
    wait_for(&socket);
    Subject {
        name: "weston (headless, pixman)",
        other: socket.clone(),
        socket,
        names: vec![],
        children: vec![child],
    }
}

/// sway, if it is installed.
pub(crate) fn sway(dir: &Path) -> Option<Subject> {
    /// sway refuses to run as root; this is Debian's "nobody".
    const NOBODY: u32 = 65_534;
    let parent = dir;
    let dir = private(dir, "sway");
    let config = dir.join("config");
    std::fs::write(&config, "xwayland disable\noutput * mode 1280x800\n").unwrap();
    let args = [strings(&["-c"]), vec![config.display().to_string()]].concat();
    let mut command = Command::new("sway");
    if rustix::process::geteuid().is_root() {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o711)).unwrap();
        std::os::unix::fs::chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    let child = command
        .args(args)
        .env("XDG_RUNTIME_DIR", &dir)
        .env("WLR_BACKENDS", "headless")
        .env("WLR_LIBINPUT_NO_DEVICES", "1")
        .env("WLR_RENDERER", "pixman")
        .env_remove("WAYLAND_DISPLAY")
        .env_remove("DISPLAY")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(dir.join("log")).unwrap())
        .process_group(0)
        .spawn();
    let child = child.ok()?;
    let socket = dir.join("wayland-1");
    wait_for(&socket);
    Some(Subject {
        name: "sway (headless, pixman)",
        other: socket.clone(),
        socket,
        names: vec![],
        children: vec![child],
    })
}

pub(crate) fn direct(name: &'static str, bin: &Path, dir: &Path) -> Subject {
    let dir = private(dir, name);
    let (socket, other) = (dir.join("work"), dir.join("other"));
    let config = config(&dir);
    let args = [
        strings(&["run", "--backend", "headless", "--size", "1280x800", "--config"]),
        vec![
            config,
            "--dev-socket".to_owned(),
            format!("work={}", socket.display()),
            "--dev-socket".to_owned(),
            format!("other={}", other.display()),
        ],
    ]
    .concat();
    let child = start(&bin.join("heraldry"), &dir, &args);
    wait_for(&socket);
    Subject {
        name,
        socket,
        other,
        names: vec![],
        children: vec![child],
    }
}

/// Starts the host daemon; returns it and its folder.
fn host(bin: &Path, dir: &Path, config: &str) -> (Child, PathBuf) {
    let host_dir = dir.join("host");
    let args = strings(&[
        "run",
        "--config",
        config,
        "--dir",
        &host_dir.display().to_string(),
    ]);
    let host = start(&bin.join("heraldry-host"), dir, &args);
    wait_for(&host_dir.join("vm/work/wayland-0"));
    (host, host_dir)
}

pub(crate) fn local(bin: &Path, dir: &Path) -> Subject {
    let dir = private(dir, LOCAL);
    let config = config(&dir);
    let (host, host_dir) = host(bin, &dir, &config);
    let folder = host_dir.display().to_string();
    let args = [
        "run",
        "--backend",
        "headless",
        "--size",
        "1280x800",
        "--config",
        &config,
        "--host-dir",
        &folder,
    ];
    let compositor = start(&bin.join("heraldry"), &dir, &strings(&args));
    Subject {
        name: LOCAL,
        socket: host_dir.join("vm/work/wayland-0"),
        other: host_dir.join("vm/other/wayland-0"),
        names: vec!["heraldry-host", "heraldry"],
        children: vec![host, compositor],
    }
}

pub(crate) fn whole_path(name: &'static str, bin: &Path, dir: &Path) -> Subject {
    let dir = private(dir, name);
    let config = config(&dir);
    let (host, host_dir) = host(bin, &dir, &config);
    let socket = host_dir.join("vm/work/wayland-0");
    let at = |name: &str| host_dir.join("compositor").join(name).display().to_string();
    let sockets = format!(
        "heraldry-display={},heraldry-connection={},__crosvm_memfd={}",
        at("display"),
        at("connection"),
        at("memfd")
    );
    let compositor = start(
        &bin.join("heraldry-sim"),
        &dir,
        &[
            vec![
                "--sockets".to_owned(),
                sockets,
                "--".to_owned(),
                bin.join("heraldry").display().to_string(),
            ],
            strings(&[
                "run",
                "--backend",
                "headless",
                "--size",
                "1280x800",
                "--device",
                "/dev/wl0",
                "--config",
            ]),
            vec![config],
        ]
        .concat(),
    );
    Subject {
        name,
        socket,
        other: host_dir.join("vm/other/wayland-0"),
        names: vec!["heraldry-host", "heraldry-sim + heraldry"],
        children: vec![host, compositor],
    }
}

fn config(dir: &Path) -> String {
    let path = dir.join("bench.kdl");
    std::fs::write(&path, "schema 1\nvm \"work\" { display-name \"Work\"; color \"#1f5fbf\"; pattern \"horizontal\"; glyph \"W\"; }\nvm \"other\" { display-name \"Other\"; color \"#b3261e\"; pattern \"vertical\"; glyph \"O\"; }\n")
        .unwrap();
    path.display().to_string()
}

/// CPU time of a process, its threads and its children, in nanoseconds.
pub(crate) fn cpu(pid: u32) -> u64 {
    let own = tasks(pid).map(|task| {
        let stat = std::fs::read_to_string(task.join("schedstat")).unwrap_or_default();
        let time = stat.split_whitespace().next();
        time.and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0)
    });
    own.sum::<u64>() + children(pid).into_iter().map(cpu).sum::<u64>()
}

/// Memory that a process and its children have for themselves, in KiB. Clients' buffers are not counted, although they are
/// private to whoever is the only one to map them.
pub(crate) fn private_memory(pid: u32) -> u64 {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = maps.lines().find_map(|line| line.strip_prefix("Anonymous:"));
    let own = line
        .and_then(|line| line.split_whitespace().next())
        .and_then(|kib| kib.parse::<u64>().ok())
        .unwrap_or(0);
    own + children(pid).into_iter().map(private_memory).sum::<u64>()
}

fn tasks(pid: u32) -> impl Iterator<Item = PathBuf> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    tasks.into_iter().flatten().flatten().map(|task| task.path())
}

fn children(pid: u32) -> Vec<u32> {
    let lists = tasks(pid).map(|task| std::fs::read_to_string(task.join("children")).unwrap_or_default());
    lists
        .flat_map(|list| {
            let pids = list.split_whitespace().filter_map(|pid| pid.parse().ok());
            pids.collect::<Vec<_>>()
        })
        .collect()
}
