// SPDX-License-Identifier: MIT OR Apache-2.0
//! The real programs: `heraldry-host`, `heraldry` under `heraldry-sim`, and clients that connect to the socket of
//! their VM.

mod process;
mod programs;
mod visitor;

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use heraldry_compositor::control::protocol::{
    InputRequest, KeyAction, Reply, Request, Stats, VmInfo, WindowInfo,
};
use heraldry_compositor::control::request;
use tempfile::TempDir;

pub use process::{Program, Usage, child_of, children, descriptors, listeners};
pub use programs::program;
pub use visitor::{Visitor, VisitorWindow};

use crate::colour::{Area, Pixels};

/// Whoever waits longer than this has failed. Generous, because tests share their machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks at a condition.
const STEP: Duration = Duration::from_millis(5);

/// Four VMs; the first window of a VM takes the focus if nobody has it, so that tests can type.
pub const CONFIG: &str = r##"schema 1
defaults { focus { click-guard-ms 0; on-map #true; }; }
vm "work" { display-name "Work"; color "#2a5fb0"; pattern "horizontal"; glyph "W"; }
vm "personal" { display-name "Personal"; color "#2f7d4f"; pattern "diagonal"; glyph "P"; }
vm "untrusted" { display-name "Untrusted"; color "#b3322e"; pattern "vertical"; glyph "!"; }
vm "vault" { display-name "Vault"; color "#7a5b9c"; pattern "cross"; glyph "V"; }
host { withdraw-after-ms 15000; }
"##;

/// The VMs of [`CONFIG`].
pub const VMS: [&str; 4] = ["work", "personal", "untrusted", "vault"];

/// Looks until something is so.
///
/// # Panics
///
/// It takes too long.
#[track_caller]
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(STEP);
    }
}

/// Asserts by the counters of the device that it has refused nothing that the compositor sent.
///
/// # Panics
///
/// It has.
#[track_caller]
pub fn assert_nothing_refused(stats: &serde_json::Value) {
    // Without a device there is none that could refuse.
    assert!(stats.is_null() || stats["refused_sends"] == 0, "{stats}");
}

/// Asserts by the counters of the device that the compositor has sent no descriptor that it may not send.
///
/// A message to a client that has just left is refused too, with ENODEV or EINVAL, as the device does.
///
/// # Panics
///
/// It has.
#[track_caller]
pub fn assert_no_wrong_descriptor(stats: &serde_json::Value) {
    if stats.is_null() {
        return;
    }
    let refused = stats["refused_sends_by"].as_object();
    let only_departed =
        refused.is_some_and(|refused| refused.keys().all(|errno| errno == "EINVAL" || errno == "ENODEV"));
    assert!(only_departed, "a send was refused: {stats}");
    assert_eq!(stats["dropped_unread"], 0, "descriptors were lost: {stats}");
}

/// How clients come to the compositor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Development sockets of the compositor's own.
    Dev,
    /// The host's sockets and virtio_wl.
    Virtio,
    /// The host's sockets on the same machine.
    Local,
    /// One socket of the host's on the same machine, and one channel for everything.
    Channel,
}

impl Transport {
    /// What `HERALDRY_TRANSPORT` says, `virtio`, `local` or `channel`: tests that name none run over each.
    fn chosen() -> Self {
        match std::env::var("HERALDRY_TRANSPORT").as_deref() {
            Err(_) | Ok("virtio") => Self::Virtio,
            Ok("local") => Self::Local,
            Ok("channel") => Self::Channel,
            Ok(other) => panic!("HERALDRY_TRANSPORT={other}: known are virtio, local and channel"),
        }
    }
}

/// What to start with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The configuration's text.
    pub config: String,
    /// How clients come.
    pub transport: Transport,
    /// Size of the output.
    pub size: (i32, i32),
    /// Pixels per logical pixel.
    pub scale: f64,
    /// Whether the compositor is started again when it crashes.
    pub supervised: bool,
    /// Where the compositor shows what it draws; tests need `headless`.
    pub backend: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            config: CONFIG.to_owned(),
            transport: Transport::chosen(),
            size: (1280, 800),
            scale: 1.0,
            supervised: false,
            backend: "headless",
        }
    }
}

/// The programs of one test and the folder that they live in.
#[derive(Debug)]
pub struct Rig {
    // In the order of their ends.
    compositor: Program,
    host: Option<Program>,
    options: Options,
    dir: TempDir,
}

/// The host daemon alone.
#[derive(Debug)]
pub struct Host {
    /// The daemon.
    pub program: Program,
    dir: TempDir,
}

impl Host {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        Self::with(CONFIG)
    }

    /// Starts it with a configuration of its own.
    ///
    /// # Panics
    ///
    /// It does not start.
    #[must_use]
    pub fn with(config: &str) -> Self {
        let dir = TempDir::new().expect("a folder");
        std::fs::write(dir.path().join("heraldry.kdl"), config).expect("a configuration");
        let program = start_host(&dir);
        Self { program, dir }
    }

    /// A file in its folder; its own are below `host`.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Connects to one of its sockets, by the path under its folder.
    #[must_use]
    pub fn connect(&self, path: &str) -> UnixStream {
        connect(&self.dir.path().join("host").join(path))
    }

    /// Its counters.
    #[must_use]
    pub fn stats(&self) -> serde_json::Value {
        host_stats(&self.dir)
    }
}

fn start_host(dir: &TempDir) -> Program {
    let folder = dir.path().join("host");
    let program = Program::start(
        "heraldry-host",
        Command::new(program("heraldry-host"))
            .arg("run")
            .arg("--config")
            .arg(dir.path().join("heraldry.kdl"))
            .arg("--dir")
            .arg(&folder),
        dir.path(),
    );
    until("heraldry-host listens", || {
        UnixStream::connect(folder.join("admin")).is_ok()
            && VMS
                .iter()
                .all(|vm| folder.join("vm").join(vm).join("wayland-0").exists())
    });
    program
}

fn host_stats(dir: &TempDir) -> serde_json::Value {
    let mut text = String::new();
    connect(&dir.path().join("host/admin"))
        .read_to_string(&mut text)
        .expect("counters");
    serde_json::from_str(&text).expect("counters as JSON")
}

fn connect(path: &std::path::Path) -> UnixStream {
    UnixStream::connect(path).unwrap_or_else(|error| panic!("cannot connect to {}: {error}", path.display()))
}

impl Default for Rig {
    fn default() -> Self {
        Self::start(Options::default())
    }
}

impl Rig {
    /// Starts everything and waits until clients can come.
    #[must_use]
    pub fn start(options: Options) -> Self {
        let dir = TempDir::new().expect("a folder");
        std::fs::write(dir.path().join("heraldry.kdl"), &options.config).expect("a configuration");
        std::fs::create_dir_all(dir.path().join("xkb/symbols")).expect("a folder for layouts");
        let host = (options.transport != Transport::Dev).then(|| start_host(&dir));
        let compositor = Program::start("compositor", &mut compositor_command(&dir, &options), dir.path());
        let rig = Self {
            compositor,
            host,
            options,
            dir,
        };
        rig.wait_for_compositor();
        rig
    }

    /// Waits until the compositor answers, and knows the host.
    pub fn wait_for_compositor(&self) {
        until("the compositor answers", || {
            request(&self.file("ctl"), &Request::Stats).is_ok()
        });
        if self.host.is_some() {
            until("host and compositor know each other", || {
                self.host_knows_compositor()
            });
        }
    }

    /// Kills the compositor with its device, and starts both again.
    pub fn restart_compositor(&mut self) {
        self.compositor.kill();
        if self.host.is_some() {
            until("the host has noticed", || !self.host_knows_compositor());
        }
        self.compositor = Program::start(
            "compositor",
            &mut compositor_command(&self.dir, &self.options),
            self.dir.path(),
        );
        self.wait_for_compositor();
    }

    /// Whether the host has the compositor's display socket.
    #[must_use]
    pub fn host_knows_compositor(&self) -> bool {
        self.host_stats().get("compositor") == Some(&true.into())
    }

    /// The process of the compositor itself.
    #[must_use]
    pub fn compositor_pid(&self) -> u32 {
        self.running_compositor().expect("the compositor runs")
    }

    /// The process of the compositor itself, if there is one now.
    #[must_use]
    pub fn running_compositor(&self) -> Option<u32> {
        let program = match self.options.transport {
            Transport::Dev | Transport::Local | Transport::Channel => self.compositor.pid(),
            Transport::Virtio => child_of(self.compositor.pid(), "heraldry")?,
        };
        if self.options.supervised {
            child_of(program, "heraldry")
        } else {
            Some(program)
        }
    }

    /// The file in which a supervised compositor notes which VM it is serving.
    #[must_use]
    pub fn served_record(&self) -> PathBuf {
        let pid = self.compositor_pid();
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).expect("the compositor runs");
        let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        words
            .find(|word| word == "--served-record")
            .expect("it is supervised");
        let path = words.next().expect("a file");
        PathBuf::from(path.replace("self", &pid.to_string()))
    }

    /// The process of the device.
    #[must_use]
    pub fn device_pid(&self) -> u32 {
        self.compositor.pid()
    }

    /// The process of the host daemon.
    #[must_use]
    pub fn host_pid(&self) -> u32 {
        self.host.as_ref().expect("there is a host").pid()
    }

    /// What the host daemon holds, in all its processes.
    #[must_use]
    pub fn host_usage(&self) -> Usage {
        Usage::of_all(self.host_pid())
    }

    /// What the compositor and its device have printed.
    #[must_use]
    pub fn compositor_log(&self) -> String {
        self.compositor.log()
    }

    /// What the host daemon has printed.
    #[must_use]
    pub fn host_log(&self) -> String {
        self.host.as_ref().expect("there is a host").log()
    }

    /// A file in the test's folder.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The socket that clients of a VM connect to.
    #[must_use]
    pub fn socket(&self, vm: &str) -> PathBuf {
        match self.options.transport {
            Transport::Dev => self.file(&format!("{vm}.sock")),
            Transport::Virtio | Transport::Local | Transport::Channel => {
                self.file("host/vm").join(vm).join("wayland-0")
            }
        }
    }

    /// A connection to a VM's socket.
    #[must_use]
    pub fn connect(&self, vm: &str) -> UnixStream {
        connect(&self.socket(vm))
    }

    /// A client of a VM.
    #[must_use]
    #[track_caller]
    pub fn visitor(&self, vm: &str) -> Visitor {
        Visitor::new(self.connect(vm)).unwrap_or_else(|why| panic!("a client of {vm} ended: {why}"))
    }

    /// Starts a program as one of a VM's.
    #[must_use]
    pub fn run(&self, vm: &str, name: &str, command: &mut Command) -> Program {
        let runtime = self.file(&format!("run-{vm}"));
        std::fs::create_dir_all(&runtime).expect("a folder");
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &runtime)
            .env("LANG", "C.UTF-8")
            .env("SHELL", "/bin/sh")
            .env("XDG_RUNTIME_DIR", &runtime)
            .env("WAYLAND_DISPLAY", self.socket(vm));
        Program::start(name, command, self.dir.path())
    }

    /// Asks the compositor.
    #[track_caller]
    pub fn ask(&self, what: &Request) -> Reply {
        request(&self.file("ctl"), what).unwrap_or_else(|error| panic!("{what:?}: {error}"))
    }

    /// Tells the compositor to do something.
    #[track_caller]
    pub fn tell(&self, what: &Request) {
        assert_eq!(self.ask(what), Reply::Ok, "{what:?}");
    }

    /// Types text.
    #[track_caller]
    pub fn type_text(&self, text: &str) {
        self.tell(&Request::Input(InputRequest::Type {
            text: text.to_owned(),
        }));
    }

    /// Presses and releases the left button at a place.
    #[track_caller]
    pub fn click(&self, x: i32, y: i32) {
        self.click_with("left", x, y);
    }

    /// Presses and releases a button at a place.
    #[track_caller]
    pub fn click_with(&self, button: &str, x: i32, y: i32) {
        self.tell(&Request::Input(InputRequest::Motion {
            x: x.into(),
            y: y.into(),
        }));
        self.tell(&Request::Input(InputRequest::Button {
            name: button.to_owned(),
            action: KeyAction::Tap,
        }));
    }

    /// Windows, from top to bottom.
    #[track_caller]
    pub fn windows(&self) -> Vec<WindowInfo> {
        match self.ask(&Request::Windows) {
            Reply::Windows(windows) => windows,
            other => panic!("not a list of windows: {other:?}"),
        }
    }

    /// VMs that have connected.
    #[track_caller]
    pub fn vms(&self) -> Vec<VmInfo> {
        match self.ask(&Request::Vms) {
            Reply::Vms(vms) => vms,
            other => panic!("not a list of VMs: {other:?}"),
        }
    }

    /// Counters of the compositor.
    #[track_caller]
    pub fn stats(&self) -> Stats {
        match self.ask(&Request::Stats) {
            Reply::Stats(stats) => stats,
            other => panic!("not counters: {other:?}"),
        }
    }

    /// Counters of the host.
    #[must_use]
    pub fn host_stats(&self) -> serde_json::Value {
        host_stats(&self.dir)
    }

    /// The content of the only window of a VM, once it has one.
    #[track_caller]
    pub fn content_of(&self, vm: &str) -> Area {
        let mut found = None;
        until("a window with content", || {
            found = self
                .windows()
                .into_iter()
                .find(|window| window.vm == vm)
                .and_then(|window| window.content);
            found.is_some()
        });
        let rect = found.expect("found");
        Area {
            x: rect.x,
            y: rect.y,
            w: rect.w,
            h: rect.h,
        }
    }

    /// The screen, through a PNG.
    #[track_caller]
    pub fn picture(&self) -> Pixels {
        let path = self.file("screen.png");
        self.tell(&Request::Screenshot {
            path: path.clone(),
            screen: None,
            shown: false,
        });
        Pixels::load(&path)
    }

    /// Saves the screen as a PNG, also where the compositor may not write.
    pub fn save_picture(&self, path: &std::path::Path) {
        let _pixels = self.picture();
        std::fs::copy(self.file("screen.png"), path).expect("a copy of the picture");
    }

    /// What the frames so far have left on the screen.
    #[must_use]
    pub fn shown(&self) -> Pixels {
        let path = self.file("shown.png");
        self.tell(&Request::Screenshot {
            path: path.clone(),
            screen: None,
            shown: true,
        });
        Pixels::load(&path)
    }

    /// Kills the host daemon and starts it again.
    pub fn restart_host(&mut self) {
        if let Some(mut host) = self.host.take() {
            host.kill();
        }
        self.host = Some(start_host(&self.dir));
    }

    /// Ends the compositor by its control socket; the counters of the device, if there is one.
    pub fn quit(&mut self) -> serde_json::Value {
        self.tell(&Request::Quit);
        let status = self.compositor.finish();
        assert!(status.success(), "the compositor ended with {status}");
        if self.options.transport != Transport::Virtio {
            return serde_json::Value::Null;
        }
        let text = std::fs::read_to_string(self.file("sim.json")).expect("counters of the device");
        serde_json::from_str(&text).expect("counters as JSON")
    }
}

fn compositor_command(dir: &TempDir, options: &Options) -> Command {
    let file = |name: &str| dir.path().join(name);
    let heraldry = program("heraldry");
    let mut command = match options.transport {
        Transport::Dev | Transport::Local | Transport::Channel => Command::new(heraldry),
        Transport::Virtio => {
            let socket =
                |name: &str, end: &str| format!("{name}={}", file("host/compositor").join(end).display());
            let mut command = Command::new(program("heraldry-sim"));
            command
                .arg("--sockets")
                .arg(
                    [
                        socket("heraldry-display", "display"),
                        socket("heraldry-connection", "connection"),
                        socket("__crosvm_memfd", "memfd"),
                    ]
                    .join(","),
                )
                // A stock device waits for who reads a pipe, and everybody with it.
                .arg("--blocking-pipes")
                .arg("--hup-alone")
                .arg("--stats")
                .arg(file("sim.json"))
                .arg("--")
                .arg(heraldry);
            command
        }
    };
    command
        .args([
            if options.supervised { "supervise" } else { "run" },
            "--backend",
            options.backend,
        ])
        // A window's renderer may want what the filter does not let through.
        .args((options.backend == "headless").then_some("--seccomp"))
        .arg("--config")
        .arg(file("heraldry.kdl"))
        .arg("--control")
        .arg(file("ctl"))
        .args(["--size", &format!("{}x{}", options.size.0, options.size.1)])
        .args(["--scale", &options.scale.to_string()]);
    match options.transport {
        Transport::Virtio => {
            command.args(["--device", "/dev/wl0"]);
        }
        Transport::Local => {
            command.arg("--host-dir").arg(file("host"));
        }
        Transport::Channel => {
            command.arg("--host-channel").arg(file("host/compositor/channel"));
        }
        Transport::Dev => {
            for vm in VMS {
                command
                    .arg("--dev-socket")
                    .arg(format!("{vm}={}", file(&format!("{vm}.sock")).display()));
            }
        }
    }
    // Keyboard layouts of the user's own.
    command.env("XKB_CONFIG_EXTRA_PATH", file("xkb"));
    if options.backend == "headless" {
        for name in ["WAYLAND_DISPLAY", "WAYLAND_SOCKET", "DISPLAY"] {
            command.env_remove(name);
        }
    }
    command
}
