// SPDX-License-Identifier: MIT OR Apache-2.0
//! The programs that init keeps running.
//!
//! One of them is the compositor. An image for a demonstration or for tests has more, in `/etc/heraldry/services`, one
//! a line: `NAME UID PROGRAM ARGUMENTS...`. The line `compositor` there names a program that the compositor and its
//! supervisor run under, such as `heraldry-sim`, as root whatever its number is; in a machine with a real virtio_wl device
//! there is no such file.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::cmdline::{BootOptions, words};

/// The list of further programs.
pub(super) const LIST: &str = "/etc/heraldry/services";
/// The compositor's name among the services.
pub(super) const COMPOSITOR: &str = "compositor";
/// Its user and group.
pub(super) const USER: u32 = 990;
/// The user and group of who starts it again, whom it must not reach.
const SUPERVISOR: u32 = 989;
/// A program that ran for this long begins again with the shortest wait.
const STABLE: Duration = Duration::from_secs(10);
/// The shortest and the longest wait before a program is started again.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) name: String,
    /// Its user and group; 0 only for what tests need, and for what makes itself another user.
    pub(super) user: u32,
    pub(super) command: Vec<OsString>,
}

/// Reads the list. Lines that say nothing are errors, told by number.
pub(super) fn parse(text: &str) -> (Vec<Service>, Vec<String>) {
    let (mut services, mut errors) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let mut words = words(line).into_iter();
        let Some(name) = words.next().filter(|name| !name.starts_with('#')) else {
            continue;
        };
        let user = words.next().and_then(|user| user.parse().ok());
        let command: Vec<OsString> = words.map(OsString::from).collect();
        match user {
            Some(user) if !command.is_empty() => services.push(Service { name, user, command }),
            _ => errors.push(format!(
                "{LIST}:{number}: write it as NAME UID PROGRAM ARGUMENTS..."
            )),
        }
    }
    (services, errors)
}

/// The compositor's command line. `under` is a program that it runs under.
pub(super) fn compositor(
    exe: &Path,
    options: &BootOptions,
    device: Option<&Path>,
    under: Option<&[OsString]>,
) -> Vec<OsString> {
    let mut command: Vec<OsString> = under.unwrap_or_default().to_vec();
    let word = |word: &str| OsString::from(word);
    command.push(exe.into());
    command.extend(
        [
            "supervise-as",
            &SUPERVISOR.to_string(),
            &USER.to_string(),
            "--log",
            &options.log,
            "--backend",
            "kms",
            "--session",
            "direct",
        ]
        .map(word),
    );
    command.extend([
        word("--config"),
        options.config.clone().into(),
        word("--fallback-config"),
        word("--seccomp"),
    ]);
    if let Some(device) = device {
        command.extend([word("--device"), device.into()]);
    }
    if let Some(renderer) = &options.renderer {
        command.extend([word("--renderer"), word(renderer)]);
    }
    command
}

/// How long to wait before a program that ended is started again.
#[derive(Debug, Default)]
pub(super) struct Backoff(u32);

impl Backoff {
    pub(super) fn ended(&mut self, lived: Duration) -> Duration {
        if lived >= STABLE {
            self.0 = 0;
        }
        let wait = WAITS.0 * (1 << self.0.min(10));
        self.0 = self.0.saturating_add(1);
        wait.min(WAITS.1)
    }
}

/// A program that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) pid: Pid,
    pub(super) since: Instant,
}

/// Starts a service. Returns it and the pipe that it writes to.
pub(super) fn start(exe: &Path, service: &Service) -> io::Result<(Running, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(exe);
    command
        .arg("confine")
        .arg(service.user.to_string())
        .args(&service.command);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/")
        .env("LANG", "C.UTF-8")
        .env("XDG_RUNTIME_DIR", runtime_dir(service))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let child = command.spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("a process without a number"))?;
    let since = Instant::now();
    Ok((Running { pid, since }, OwnedFd::from(reader)))
}

/// Who owns the folder of a service's sockets: who makes them.
pub(super) fn owner(service: &Service) -> u32 {
    if service.name == COMPOSITOR {
        USER
    } else {
        service.user
    }
}

/// The folder of a service's sockets.
pub(super) fn runtime_dir(service: &Service) -> OsString {
    match service.name.as_str() {
        COMPOSITOR => OsStr::new("/run/heraldry").to_owned(),
        name => format!("/run/{name}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_and_errors_have_their_lines() {
        let text = "# for tests\n\nhost 991 heraldry-host run --dir \"/run/the host\"\nbroken\nalso x y\n";
        let (services, errors) = parse(text);
        assert_eq!(services.len(), 1);
        assert_eq!((services[0].name.as_str(), services[0].user), ("host", 991));
        assert_eq!(
            services[0].command,
            ["heraldry-host", "run", "--dir", "/run/the host"]
        );
        assert_eq!(errors.len(), 2);
        assert!(
            errors[0].contains("services:4:") && errors[1].contains("services:5:"),
            "{errors:?}"
        );
    }

    #[test]
    fn the_compositor_is_told_what_the_kernel_was_told() {
        let mut options = BootOptions::default();
        let text = |command: Vec<OsString>| {
            let words: Vec<_> = command.iter().map(|word| word.to_str().unwrap()).collect();
            words.join(" ")
        };
        let exe = Path::new("/usr/bin/heraldry-init");
        assert_eq!(
            text(compositor(exe, &options, None, None)),
            "/usr/bin/heraldry-init supervise-as 989 990 --log info --backend kms --session direct --config \
             /etc/heraldry/heraldry.kdl --fallback-config --seccomp"
        );
        options.renderer = Some("gles".to_owned());
        let under = [OsString::from("heraldry-sim"), OsString::from("--")];
        let command = text(compositor(
            exe,
            &options,
            Some(Path::new("/dev/wl0")),
            Some(&under),
        ));
        assert!(
            command.starts_with("heraldry-sim -- /usr/bin/heraldry-init supervise-as 989 990 --log"),
            "{command}"
        );
        assert!(
            command.ends_with(" --fallback-config --seccomp --device /dev/wl0 --renderer gles"),
            "{command}"
        );
    }

    #[test]
    fn a_program_that_keeps_ending_waits_longer_and_longer() {
        let mut backoff = Backoff::default();
        let short = Duration::from_secs(1);
        let waits: Vec<_> = (0..20).map(|_| backoff.ended(short).as_millis()).collect();
        assert_eq!(waits[..4], [100, 200, 400, 800]);
        assert_eq!(waits[19], 10_000);
        assert_eq!(backoff.ended(STABLE), WAITS.0);
    }
}
