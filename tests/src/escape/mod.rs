// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program in the compositor's place that tries to get out: for each way there is a process of its own that enters the
//! sandbox as the compositor does, tries, and says what came of it.

mod sys;
mod tries;

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};

use heraldry_compositor::system::sandbox::Places;
use rustix::io::Errno;

pub use tries::{Scene, names};

/// Which try a process is started for.
pub const TRY: &str = "HERALDRY_TRY";
/// The process that started the one in the compositor's place.
pub const SUPERVISOR: &str = "HERALDRY_SUPERVISOR";
/// Before what is said of each try.
pub const SAYS: &str = "escape: ";
/// Exit codes of a process that tries.
const CODES: [(Outcome, u8); 3] = [
    (Outcome::Refused, 10),
    (Outcome::Absent, 11),
    (Outcome::Possible, 12),
];

/// What came of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel ended who tried.
    Ended,
    /// It was not allowed.
    Refused,
    /// There is no such thing in this machine.
    Absent,
    /// It was done, or failed for a reason other than that it is not allowed.
    Possible,
    /// Something else came of it, and nothing is known.
    Unknown,
}

impl Outcome {
    const ALL: [Self; 5] = [
        Self::Ended,
        Self::Refused,
        Self::Absent,
        Self::Possible,
        Self::Unknown,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Refused => "refused",
            Self::Absent => "absent",
            Self::Possible => "possible",
            Self::Unknown => "unknown",
        }
    }

    /// What an answer of the kernel means.
    fn of(answer: Result<(), Errno>) -> Self {
        match answer {
            Err(Errno::PERM | Errno::ACCESS | Errno::ROFS) => Self::Refused,
            Err(Errno::NOENT | Errno::NODEV | Errno::NXIO) => Self::Absent,
            Ok(()) | Err(_) => Self::Possible,
        }
    }

    fn of_status(status: ExitStatus) -> Self {
        if status.signal() == Some(libc::SIGSYS) {
            return Self::Ended;
        }
        let known = CODES
            .iter()
            .find(|(_, code)| status.code() == Some((*code).into()));
        known.map_or(Self::Unknown, |(outcome, _)| *outcome)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Enters the sandbox and makes one try. Returns the exit code that says what came of it.
///
/// # Errors
///
/// The sandbox cannot be entered, or there is no such try.
pub fn attempt(name: &str, places: &Places) -> Result<u8, String> {
    let supervisor = std::env::var(SUPERVISOR).ok().and_then(|pid| pid.parse().ok());
    let scene = Scene::new(supervisor.ok_or("who is the supervisor?")?, places);
    let attempt = tries::find(name).ok_or("there is no such try")?;
    heraldry_compositor::system::sandbox::enter(places).map_err(|error| error.to_string())?;
    let outcome = Outcome::of(attempt(&scene));
    let code = CODES.iter().find(|(known, _)| *known == outcome);
    Ok(code.map_or(1, |(_, code)| *code))
}

/// Makes every try, each in a process that is started as this one was.
///
/// # Errors
///
/// A process cannot be started.
pub fn attempt_all(say: impl Fn(&str, Outcome)) -> std::io::Result<()> {
    let supervisor = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    // Whoever is outside of the sandbox and listens where no file is.
    let _outside = tries::listen_outside();
    for name in names() {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(std::env::args_os().skip(1));
        command.env(TRY, name).env(SUPERVISOR, supervisor.to_string());
        command.stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        say(name, Outcome::of_status(command.status()?));
    }
    Ok(())
}

/// Reads what was said, by try.
#[must_use]
pub fn said(log: &str) -> BTreeMap<String, Outcome> {
    let lines = log.lines().filter_map(|line| line.split_once(SAYS));
    lines
        .filter_map(|(_, said)| {
            let (name, word) = said.split_once(": ")?;
            let outcome = Outcome::ALL
                .into_iter()
                .find(|outcome| outcome.word() == word.trim())?;
            Some((name.to_owned(), outcome))
        })
        .collect()
}

/// What the document says of each try: lines of its tables with the name in code style and the outcome behind it.
#[must_use]
pub fn documented(document: &str) -> BTreeMap<String, Outcome> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| {
        let (name, rest) = row.split_once("` |")?;
        let word = rest.trim().split('|').next()?.trim();
        let outcome = Outcome::ALL.into_iter().find(|outcome| outcome.word() == word)?;
        Some((name.to_owned(), outcome))
    })
    .collect()
}
