// SPDX-License-Identifier: MIT OR Apache-2.0
//! One machine.
#![expect(
    clippy::print_stderr,
    reason = "why a test was skipped or failed is for whoever reads its output"
)]

use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::image::{Files, Image, qemu, test_image};
use super::{Head, PATIENCE, Qmp, Shell};
use crate::colour::Pixels;

/// Time between two looks at the console.
const STEP: Duration = Duration::from_millis(20);
/// How much of the console a failure shows.
const TAIL: usize = 60;

/// How QEMU attaches a `heraldry-device`: a ring that is long enough for all contexts that wait.
const DEVICE: &str =
    "vhost-user-test-device-pci,chardev=device,virtio-id=16,num_vqs=2,vq_size=1024,config_size=16";

/// What kind of machine to start.
#[derive(Debug, Clone)]
pub struct Setup {
    /// What it boots.
    pub image: &'static Image,
    /// Files besides the image's.
    pub files: Files,
    /// Added to the kernel's command line.
    pub append: String,
    /// Outputs of the GPU; 0 for no GPU.
    pub outputs: u32,
    /// Size of the first output.
    pub size: (i32, i32),
    /// Whether there are a keyboard and a tablet.
    pub input: bool,
    /// Further devices, as QEMU writes them.
    pub devices: Vec<String>,
    /// QEMU's kind of window to show it in; `None` for none.
    pub display: Option<String>,
    /// Processors. With more than one, QEMU 7.2 sometimes runs an instruction that the kernel is just patching.
    pub cpus: u32,
    /// The socket of a `heraldry-device`, if the machine has one.
    pub device: Option<PathBuf>,
    /// Whether it boots again where others end: after a reboot or a panic.
    pub reboots: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            image: test_image(),
            files: Files::default(),
            append: String::new(),
            outputs: 1,
            size: (1280, 800),
            input: true,
            devices: Vec::new(),
            display: None,
            cpus: 1,
            device: None,
            reboots: false,
        }
    }
}

/// Whether the user has said that machines are not to be started. Prints that tests are skipped.
#[must_use]
pub fn skipped() -> bool {
    let skip = std::env::var_os("HERALDRY_SKIP_VM_TESTS").is_some_and(|value| value == "1");
    if skip {
        eprintln!("SKIPPED: HERALDRY_SKIP_VM_TESTS=1 is set, so no machine is started");
    }
    skip
}

/// A running machine; it ends with this value.
#[derive(Debug)]
pub struct Machine {
    qemu: Child,
    /// QEMU's control connection.
    pub qmp: Qmp,
    /// Programs in the machine.
    pub shell: Shell,
    setup: Setup,
    dir: TempDir,
    /// How much of the console was looked at.
    seen: usize,
    started: Instant,
    ended: Option<ExitStatus>,
}

/// Runs a test with a machine. If QEMU itself crashes, the test gets one more machine.
///
/// # Panics
///
/// The test fails; the console's last lines are printed.
pub fn attempt(setup: &Setup, test: impl Fn(&mut Machine)) {
    if skipped() {
        return;
    }
    for last in [false, true] {
        let mut machine = Machine::start(setup);
        let Err(failure) = catch_unwind(AssertUnwindSafe(|| test(&mut machine))) else {
            return;
        };
        let crash = machine.crash();
        if last || crash.is_none() {
            // The machine tells its story when it ends.
            resume_unwind(failure);
        }
        eprintln!("{}; trying once more", crash.unwrap_or_default());
    }
}

impl Machine {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// QEMU cannot be started.
    #[must_use]
    pub fn start(setup: &Setup) -> Self {
        let dir = TempDir::new().expect("a folder");
        let initrd = dir.path().join("initramfs");
        let mut archive = setup.image.archive.clone();
        // The kernel looks for the next archive at a multiple of four bytes.
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(setup.files.archive());
        std::fs::write(&initrd, archive).expect("an initramfs");
        // QEMU connects to us, so nothing has to be waited for.
        let listen = |name: &str| UnixListener::bind(dir.path().join(name)).expect("a socket");
        let (qmp, shell) = (listen("qmp"), listen("shell"));
        let started = Instant::now();
        let qemu = command(setup, dir.path(), &initrd)
            .spawn()
            .expect("qemu-system-x86_64 (see assets/debian-packages.txt)");
        let accept = |listener: &UnixListener| listener.accept().expect("QEMU connects").0;
        // QEMU that cannot start never connects; the listener would wait for ever.
        let mut machine_end = qemu;
        wait_for_connection(&qmp, &mut machine_end, dir.path());
        Self {
            qmp: Qmp::new(accept(&qmp)).expect("QEMU's greeting"),
            shell: Shell::new(accept(&shell)).expect("a serial port"),
            qemu: machine_end,
            setup: setup.clone(),
            dir,
            seen: 0,
            started,
            ended: None,
        }
    }

    /// Everything on the console so far.
    #[must_use]
    pub fn console(&self) -> String {
        let text = std::fs::read(self.dir.path().join("console")).unwrap_or_default();
        String::from_utf8_lossy(&text).replace('\r', "")
    }

    /// Waits for words on the console, after those that were waited for before, and returns the line.
    ///
    /// # Panics
    ///
    /// They do not come.
    #[track_caller]
    pub fn wait_for(&mut self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = self.exit_status();
            let console = self.console();
            let new = console.get(self.seen..).unwrap_or_default();
            let mut end = 0;
            for line in new.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
                end += line.len();
                if line.contains(words) {
                    self.seen += end;
                    return line.trim_end().to_owned();
                }
            }
            assert!(ended.is_none(), "the machine ended before {words:?}");
            assert!(Instant::now() < deadline, "waited in vain for {words:?}");
            std::thread::sleep(STEP);
        }
    }

    /// Whether words have been on the console.
    #[must_use]
    pub fn said(&self, words: &str) -> bool {
        self.console().contains(words)
    }

    /// Looks until something is so.
    ///
    /// # Panics
    ///
    /// It takes too long.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            std::thread::sleep(STEP);
        }
    }

    /// What the first output shows.
    #[track_caller]
    pub fn screen(&mut self) -> Pixels {
        self.output(0)
    }

    /// What an output shows.
    #[track_caller]
    pub fn output(&mut self, head: u32) -> Pixels {
        let scratch = self.dir.path().join("screen.png");
        self.qmp.screendump(head, &scratch)
    }

    /// A picture that lies in the machine, as a PNG.
    #[track_caller]
    pub fn fetch_picture(&mut self, path: &str) -> Pixels {
        let text = self.shell.run(&format!("base64 {path} | tr -d '\\n'"));
        let scratch = self.dir.path().join("fetched.png");
        let mut decode = Command::new("base64");
        decode.arg("-d").stdin(Stdio::piped());
        decode.stdout(std::fs::File::create(&scratch).expect("a file"));
        let mut decoding = decode.spawn().expect("base64");
        if let Some(mut stdin) = decoding.stdin.take() {
            stdin.write_all(text.as_bytes()).expect("base64 reads");
        }
        assert!(decoding.wait().expect("base64 ends").success());
        Pixels::load(&scratch)
    }

    /// Saves what the first output shows, as a PNG.
    pub fn save_screen(&mut self, path: &Path) {
        let _pixels = self.qmp.screendump(0, path);
    }

    /// Puts the pointer at a pixel of the first output.
    pub fn point(&mut self, at: (i32, i32)) {
        self.qmp.point(at, self.setup.size);
    }

    /// Somebody who looks at an output, and may plug it in and out.
    #[must_use]
    pub fn head(&self, number: u32) -> Head {
        Head::connect(&self.dir.path().join(format!("vnc{number}")))
    }

    /// A file that the test may use.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Stops QEMU in the middle of whatever it does, or lets it go on.
    ///
    /// # Panics
    ///
    /// It is gone.
    pub fn freeze(&self, frozen: bool) {
        use rustix::process::{Pid, Signal, kill_process};
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        // setpriv has become QEMU.
        kill_process(Pid::from_child(&self.qemu), signal).expect("QEMU runs");
    }

    /// QEMU's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        // setpriv has become QEMU.
        self.qemu.id()
    }

    /// Presses the machine's button.
    pub fn reset(&mut self) {
        self.qmp.execute("system_reset", &serde_json::json!({}));
        self.shell.expect_another();
    }

    /// How long QEMU has been running.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.qemu.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Waits until the machine has switched itself off or, because it may not restart, restarted.
    ///
    /// # Panics
    ///
    /// It does not.
    #[track_caller]
    pub fn wait_for_end(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.exit_status() {
                break status;
            }
            assert!(Instant::now() < deadline, "the machine does not end");
            std::thread::sleep(STEP);
        };
        assert!(status.success(), "QEMU: {status}");
    }

    /// Waits until somebody ends the machine.
    pub fn wait_for_end_without_limit(&mut self) {
        let _status = self.qemu.wait();
    }

    /// What went wrong, if it was QEMU or the kernel before any program of ours ran.
    fn crash(&mut self) -> Option<String> {
        // It may be about to be noticed.
        std::thread::sleep(5 * STEP);
        let signal = self.exit_status().and_then(|status| status.signal());
        match signal {
            Some(signal) => Some(format!("QEMU was ended by signal {signal}")),
            None if self.said("Kernel panic") && !self.said("heraldry init") => {
                Some("the kernel crashed before its first program".to_owned())
            }
            None => None,
        }
    }

    /// The console's last lines.
    fn story(&self) -> String {
        let console = self.console();
        let lines: Vec<&str> = console.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default();
        let qemu = std::fs::read_to_string(self.dir.path().join("qemu.log")).unwrap_or_default();
        format!(
            "QEMU: {qemu}\nthe machine's console, at its end:\n{}\n",
            tail.join("\n")
        )
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.story());
        }
        if self.exit_status().is_none() {
            self.qmp.quit();
            let _ended = self.qemu.kill();
            let _reaped = self.qemu.wait();
        }
    }
}

#[track_caller]
fn wait_for_connection(listener: &UnixListener, qemu: &mut Child, dir: &Path) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut ready = [PollFd::new(listener, PollFlags::IN)];
        let step = Timespec {
            tv_sec: 0,
            tv_nsec: 100_000_000,
        };
        if matches!(poll(&mut ready, Some(&step)), Ok(1..)) {
            return;
        }
        let ended = qemu.try_wait().ok().flatten();
        let log = std::fs::read_to_string(dir.join("qemu.log")).unwrap_or_default();
        assert!(ended.is_none(), "QEMU cannot start: {log}");
        assert!(Instant::now() < deadline, "QEMU does not start: {log}");
    }
}

fn command(setup: &Setup, dir: &Path, initrd: &Path) -> Command {
    let path = |name: &str| dir.join(name).display().to_string();
    // Ends with the thread that started it, however that ends.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    command.arg(if setup.device.is_some() {
        qemu()
    } else {
        Path::new("qemu-system-x86_64")
    });
    command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1024"]);
    if setup.device.is_some() {
        // The device sees the machine's memory.
        command.args(["-M", "q35,memory-backend=ram"]);
        command.args(["-object", "memory-backend-memfd,id=ram,size=1024M,share=on"]);
    } else {
        command.args(["-M", "q35"]);
    }
    command.args(["-smp", &setup.cpus.to_string()]);
    command.args(["-nodefaults", "-no-user-config", "-nic", "none", "-vga", "none"]);
    if !setup.reboots {
        command.arg("-no-reboot");
    }
    command.args(["-serial", &format!("file:{}", path("console"))]);
    command.args(["-chardev", &format!("socket,id=shell,path={}", path("shell"))]);
    command.args(["-serial", "chardev:shell"]);
    command.args(["-chardev", &format!("socket,id=qmp,path={}", path("qmp"))]);
    command.args(["-mon", "chardev=qmp,mode=control"]);
    let (w, h) = setup.size;
    if setup.outputs == 0 || setup.display.is_some() {
        command.args(["-display", setup.display.as_deref().unwrap_or("none")]);
    }
    if setup.outputs > 0 {
        let gpu = format!(
            "virtio-gpu-pci,id=gpu0,max_outputs={},xres={w},yres={h}",
            setup.outputs
        );
        command.args(["-device", &gpu]);
        for head in 0..setup.outputs {
            let server = format!("unix:{},display=gpu0,head={head}", path(&format!("vnc{head}")));
            command.args(["-vnc", &server]);
        }
    }
    // After the card that has a screen, so that it is the second one.
    if let Some(device) = &setup.device {
        let socket = device.display();
        command.args(["-chardev", &format!("socket,id=device,path={socket}")]);
        command.args(["-device", DEVICE]);
    }
    if setup.input {
        command.args(["-device", "virtio-keyboard-pci", "-device", "virtio-tablet-pci"]);
    }
    for device in &setup.devices {
        command.args(["-device", device]);
    }
    command
        .arg("-kernel")
        .arg(&setup.image.kernel)
        .arg("-initrd")
        .arg(initrd);
    command.arg("-append").arg(format!(
        "console=ttyS0 quiet panic=-1 cryptomgr.notests {}",
        setup.append
    ));
    let log = std::fs::File::create(dir.join("qemu.log")).expect("a log file");
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log file"))
        .stderr(log);
    command
}
