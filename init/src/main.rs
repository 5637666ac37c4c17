// SPDX-License-Identifier: MIT OR Apache-2.0
//! The binary: which of its four tasks it is started for, and the exit status.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use heraldry_init::{confine, supervise};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

const USAGE: &str = "heraldry-init is what the kernel starts as PID 1 of the compositor's VM, without arguments that it would \
                     read: its options are on the kernel's command line. What it starts by itself:\n\
                     \x20 heraldry-init confine USER PROGRAM ARGUMENTS...   become PROGRAM, as USER without rights\n\
                     \x20 heraldry-init supervise OPTIONS...                as `heraldry supervise`\n\
                     \x20 heraldry-init supervise-as USER USER OPTIONS...   the same as one user, the compositor as the other\n\
                     Elsewhere use `heraldry run` or `heraldry supervise`";
/// The system refused something.
const EXIT_SYSTEM: u8 = 1;
/// The command line is wrong.
const EXIT_USAGE: u8 = 2;
/// A program could not be confined, so it was not started.
const EXIT_BUG: u8 = 70;

fn main() -> ExitCode {
    // The kernel's arguments are words of its command line that it did not know.
    if rustix::process::getpid().is_init() {
        heraldry_init::main();
    }
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    perform(&args)
}

fn perform(args: &[OsString]) -> ExitCode {
    match args {
        [task, user, program @ ..] if task == "confine" && !program.is_empty() => {
            match user.to_str().and_then(|user| user.parse().ok()) {
                Some(user) => confined(user, program),
                None => fail(EXIT_USAGE, &format!("{user:?} is no number of a user")),
            }
        }
        [task, options @ ..] if task == "supervise" => supervise(&[], options),
        [task, supervisor, user, options @ ..] if task == "supervise-as" => {
            match supervisor.to_str().and_then(|user| user.parse().ok()) {
                Some(supervisor) => supervise_as(supervisor, user, options),
                None => fail(EXIT_USAGE, &format!("{supervisor:?} is no number of a user")),
            }
        }
        _ => fail(EXIT_USAGE, USAGE),
    }
}

/// Goes on as a program with no more rights than it needs. This program need not be started once more for that.
fn confined(user: u32, program: &[OsString]) -> ExitCode {
    if let Err(error) = confine::give_up(user) {
        return fail(EXIT_BUG, &told(&error));
    }
    let this = std::env::current_exe().ok();
    match program {
        [name, args @ ..] if this.is_some_and(|this| this == Path::new(name)) => perform(args),
        _ => match confine::become_program(program) {
            Ok(never) => match never {},
            Err(error) => fail(EXIT_BUG, &told(&error)),
        },
    }
}

/// Supervises as a user of its own, so that the compositor has no way to who watches it.
fn supervise_as(supervisor: u32, user: &OsString, options: &[OsString]) -> ExitCode {
    let this = match std::env::current_exe() {
        Ok(this) => this,
        Err(error) => return fail(EXIT_SYSTEM, &told(&error)),
    };
    match confine::become_supervisor(supervisor) {
        Ok(()) => supervise(&[this.into(), "confine".into(), user.clone()], options),
        Err(error) => fail(EXIT_BUG, &told(&error)),
    }
}

/// `before` are the words before the compositor's own: a program that becomes the compositor.
fn supervise(before: &[OsString], options: &[OsString]) -> ExitCode {
    let filter = match log(options).parse::<Targets>() {
        Ok(filter) => filter,
        Err(error) => return fail(EXIT_USAGE, &format!("--log: {error}")),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    tracing_subscriber::registry().with(lines).with(filter).init();
    let outcome = std::env::current_exe()
        .map(beside)
        .map_err(supervise::SuperviseError::from)
        .and_then(|compositor| {
            let command = [before, &[compositor.into()]].concat();
            supervise::supervise(&command, options)
        });
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(EXIT_SYSTEM, &told(&error)),
    }
}

/// The compositor is in the same folder.
fn beside(exe: PathBuf) -> PathBuf {
    exe.with_file_name("heraldry")
}

/// The log filter among the options, which all go on to the compositor.
fn log(options: &[OsString]) -> String {
    let mut options = options.iter().map(|option| option.to_string_lossy());
    let mut log = None;
    while let Some(option) = options.next() {
        if option == "--log" {
            log = options.next().map(Into::into);
        } else if let Some(value) = option.strip_prefix("--log=") {
            log = Some(value.to_owned());
        }
    }
    log.unwrap_or_else(|| "info".to_owned())
}

/// An error and its cause.
fn told(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn fail(code: u8, message: &str) -> ExitCode {
    let _closed = writeln!(std::io::stderr(), "heraldry-init: {message}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_filter_is_found_wherever_it_stands() {
        let log = |line: &str| log(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(log("--seccomp --log debug --paused work"), "debug");
        assert_eq!(log("--log=warn"), "warn");
        assert_eq!(log("--config --log"), "info");
    }
}
