// SPDX-License-Identifier: MIT OR Apache-2.0
//! What our programs do alike on a command line: print a man page or completions, log to standard error, say what went
//! wrong.
#![forbid(unsafe_code)]

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::{Args, Command, CommandFactory};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

pub use clap_complete::Shell;

/// `--man` and `--completions`, for programs whose first word is another program. The others have subcommands.
#[derive(Debug, Args)]
pub struct Pages {
    /// Print the man page and end.
    #[arg(long, exclusive = true)]
    man: bool,
    /// Print completions for a shell and end.
    #[arg(long, exclusive = true, value_name = "SHELL")]
    completions: Option<Shell>,
}

impl Pages {
    /// Prints what is asked for, and says how to end. `None` if nothing is.
    #[must_use]
    pub fn print<Program: CommandFactory>(&self) -> Option<ExitCode> {
        match self.completions {
            Some(shell) => Some(completions(Program::command(), shell)),
            None => self.man.then(|| man(Program::command())),
        }
    }
}

/// Prints the man page.
#[must_use]
pub fn man(program: Command) -> ExitCode {
    let name = program.get_name().to_owned();
    let mut text = Vec::new();
    match clap_mangen::Man::new(program).render(&mut text) {
        Ok(()) => print(&text),
        Err(error) => fail(&name, 1, &error.to_string()),
    }
}

/// Prints completions for a shell.
#[must_use]
pub fn completions(mut program: Command, shell: Shell) -> ExitCode {
    let name = program.get_name().to_owned();
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut program, name, &mut text);
    print(&text)
}

/// Logs what passes the filter to standard error: a level, or a tracing filter.
///
/// # Errors
///
/// The text is no filter; the message says why.
pub fn log(filter: &str) -> Result<(), String> {
    let filter: Targets = filter
        .parse()
        .map_err(|error| format!("--log {filter:?} is no level and no filter: {error}"))?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    tracing_subscriber::registry().with(lines).with(filter).init();
    Ok(())
}

/// Writes to standard output; a reader that went away is no error.
#[must_use]
pub fn print(text: &[u8]) -> ExitCode {
    let _closed = std::io::stdout().write_all(text);
    ExitCode::SUCCESS
}

/// Says on standard error what went wrong.
#[must_use]
pub fn fail(program: &str, code: u8, message: &str) -> ExitCode {
    let _closed = writeln!(std::io::stderr(), "{program}: {message}");
    ExitCode::from(code)
}

/// An error with everything that caused it, on one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_all_its_causes() {
        #[derive(Debug)]
        struct Failed(std::fmt::Error);
        impl std::fmt::Display for Failed {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("it failed")
            }
        }
        impl std::error::Error for Failed {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let all = format!("it failed: {}", std::fmt::Error);
        assert_eq!(chain(&Failed(std::fmt::Error)), all);
        assert_eq!(chain(&std::fmt::Error), std::fmt::Error.to_string());
    }

    #[test]
    fn what_is_no_filter_is_no_log() {
        let why = log("=nonsense=").unwrap_err();
        assert!(why.starts_with("--log \"=nonsense=\" is no level"), "{why}");
    }
}
