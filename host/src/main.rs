// SPDX-License-Identifier: MIT OR Apache-2.0
//! The binary `heraldry-host`: arguments and logging, nothing else.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use heraldry_host::part::{self, Part};
use heraldry_host::supervisor::{DaemonError, Supervisor};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// Connects the programs of app VMs with the compositor VM.
#[derive(Debug, Parser)]
#[command(name = "heraldry-host", version, about, max_term_width = 100)]
struct Cli {
    /// How much to log to standard error: error, warn, info, debug, or a tracing filter.
    #[arg(long, global = true, default_value = "info", value_name = "LEVEL")]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the VMs of a configuration until SIGTERM; SIGHUP reads the configuration again.
    Run {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The folder for all sockets [default: the configuration's `host { dir }`].
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Print the counters of a running daemon as JSON.
    Stats {
        /// The folder it serves.
        #[arg(long, value_name = "DIR", default_value = "/run/heraldry")]
        dir: PathBuf,
    },
    /// A part of a running daemon, which starts it.
    #[command(hide = true)]
    PartCompositor,
    /// A part of a running daemon, which starts it.
    #[command(hide = true)]
    PartVm {
        /// For whom, as `ps` shows it.
        vm: String,
    },
    /// Print shell completions.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the man page.
    Man,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = match cli.log.parse::<Targets>() {
        Ok(filter) => filter,
        Err(error) => return fail(&format!("--log: {error}")),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    tracing_subscriber::registry().with(lines).with(filter).init();
    match cli.command {
        Command::Run { config, dir } => run(&config, dir.as_deref(), &cli.log),
        Command::PartCompositor => run_part(&Part::Compositor),
        Command::PartVm { .. } => run_part(&Part::Vm),
        Command::Stats { dir } => stats(&dir),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "heraldry-host", &mut text);
            print(&text)
        }
        Command::Man => {
            let mut text = Vec::new();
            match clap_mangen::Man::new(Cli::command()).render(&mut text) {
                Ok(()) => print(&text),
                Err(error) => fail(&error.to_string()),
            }
        }
    }
}

fn run(config: &Path, dir: Option<&Path>, log: &str) -> ExitCode {
    // What others may open is said where it is made.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    match Supervisor::open(config, dir, log).and_then(|mut supervisor| supervisor.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(DaemonError::Config(errors)) => {
            let _closed = write!(std::io::stderr(), "{errors}");
            ExitCode::from(1)
        }
        Err(error) => {
            let error = anyhow::Error::from(error);
            fail(&format!("{error:#}"))
        }
    }
}

fn run_part(part: &Part) -> ExitCode {
    match part::run(part) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = anyhow::Error::from(error);
            fail(&format!("{error:#}"))
        }
    }
}

fn stats(dir: &Path) -> ExitCode {
    let path = dir.join("admin");
    let mut text = Vec::new();
    let read = UnixStream::connect(&path).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.read_to_end(&mut text)
    });
    match read {
        Ok(_) => print(&text),
        Err(error) => fail(&format!(
            "no heraldry-host answers at {}: {error}",
            path.display()
        )),
    }
}

/// Writes to standard output; a reader that went away is no error.
fn print(text: &[u8]) -> ExitCode {
    let _closed = std::io::stdout().write_all(text);
    ExitCode::SUCCESS
}

fn fail(message: &str) -> ExitCode {
    let _closed = writeln!(std::io::stderr(), "heraldry-host: {message}");
    ExitCode::from(1)
}
