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
use heraldry_program as program;

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
        shell: program::Shell,
    },
    /// Print the man page.
    Man,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = program::log(&cli.log) {
        return fail(&error);
    }
    match cli.command {
        Command::Run { config, dir } => run(&config, dir.as_deref(), &cli.log),
        Command::PartCompositor => run_part(&Part::Compositor),
        Command::PartVm { .. } => run_part(&Part::Vm),
        Command::Stats { dir } => stats(&dir),
        Command::Completions { shell } => program::completions(Cli::command(), shell),
        Command::Man => program::man(Cli::command()),
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
        Err(error) => fail(&program::chain(&error)),
    }
}

fn run_part(part: &Part) -> ExitCode {
    match part::run(part) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&program::chain(&error)),
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
        Ok(_) => program::print(&text),
        Err(error) => fail(&format!(
            "no heraldry-host answers at {}: {error}",
            path.display()
        )),
    }
}

fn fail(message: &str) -> ExitCode {
    program::fail("heraldry-host", 1, message)
}
