// SPDX-License-Identifier: MIT OR Apache-2.0
//! The binary `heraldry-guest`: a Wayland socket for the programs of an app VM.
//!
//! Each client has a thread of its own, a context of the VM's device, and so a connection to the compositor of its own
//! ([`session`]). Bytes and descriptors are moved by [`bridge`], pixels by [`shm`] and [`surface`]: what a client draws lies in
//! memory of its VM, which the compositor can't see, so what it commits is copied to memory of the host. Nothing of what the
//! compositor guarantees rests on this program.

mod arena;
mod bridge;
mod session;
mod shm;
mod surface;

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::rc::Rc;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser};
use heraldry_virtio::guest::find_card;
use tracing::{debug, warn};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;
use wl_proxy::acceptor::Acceptor;

/// How many names of sockets are tried.
const NAMES: u32 = 100;
/// When the program ends by a signal, its number is added to this, as shells do.
const SIGNALLED: i32 = 128;

/// A Wayland socket for the programs of this VM, whose windows heraldry shows.
///
/// Without a program it serves until it is ended. With one it ends with that program, and with its exit status.
#[derive(Debug, Parser)]
#[command(name = "heraldry-guest", version, max_term_width = 100)]
struct Cli {
    /// The graphics card that has cross-domain, a render node [default: the first that has it].
    #[arg(long, value_name = "PATH")]
    device: Option<PathBuf>,
    /// How much to log to standard error: error, warn, info, debug, or a tracing filter.
    #[arg(long, default_value = "warn", value_name = "LEVEL")]
    log: String,
    /// Print the man page and end.
    #[arg(long, exclusive = true)]
    man: bool,
    /// Print completions for a shell and end.
    #[arg(long, exclusive = true, value_name = "SHELL")]
    completions: Option<clap_complete::Shell>,
    /// A program to start with WAYLAND_DISPLAY set to the socket.
    #[arg(trailing_var_arg = true, value_name = "PROGRAM")]
    command: Vec<OsString>,
}

/// Man page or completions, if they are asked for. Options rather than subcommands, because the first word is a program.
fn about(cli: &Cli) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    if let Some(shell) = cli.completions {
        clap_complete::generate(shell, &mut Cli::command(), "heraldry-guest", &mut text);
    } else if cli.man {
        clap_mangen::Man::new(Cli::command()).render(&mut text).ok()?;
    } else {
        return None;
    }
    Some(text)
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(text) = about(&cli) {
        // A reader that has seen enough is no error.
        let _closed = std::io::stdout().write_all(&text);
        return ExitCode::SUCCESS;
    }
    let filter = match cli.log.parse::<Targets>() {
        Ok(filter) => filter,
        Err(error) => return fail(&format!("--log: {error}")),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    tracing_subscriber::registry().with(lines).with(filter).init();
    match run(cli) {
        Ok(code) => code,
        Err(error) => fail(&format!("{error:#}")),
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let card = match cli.device {
        Some(path) => path,
        None => find_card()?,
    };
    let acceptor = Acceptor::new(NAMES, false).context("cannot make a Wayland socket in XDG_RUNTIME_DIR")?;
    let mut command = cli.command.into_iter();
    let Some(program) = command.next() else {
        return serve(&acceptor, &card);
    };
    let mut child = Command::new(&program)
        .args(command)
        .env("WAYLAND_DISPLAY", acceptor.display())
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    // The program's end is this one's; until then this thread serves.
    std::thread::Builder::new()
        .name("program".to_owned())
        .spawn(move || {
            let code = match child.wait() {
                Ok(status) => status
                    .code()
                    .or_else(|| Some(SIGNALLED + status.signal()?))
                    .unwrap_or(1),
                Err(_) => 1,
            };
            #[expect(
                clippy::exit,
                reason = "the threads of clients end with the program they serve"
            )]
            std::process::exit(code)
        })?;
    serve(&acceptor, &card)
}

fn serve(acceptor: &Rc<Acceptor>, card: &std::path::Path) -> anyhow::Result<ExitCode> {
    for number in 1_u64.. {
        let client = acceptor.accept().context("cannot accept a client")?;
        let (Some(client), card) = (client, card.to_owned()) else {
            continue;
        };
        let thread = std::thread::Builder::new().name(format!("client-{number}"));
        let started = thread.spawn(move || match session::run(client, &card) {
            Ok(()) => debug!(number, "client gone"),
            Err(error) => warn!(number, error = story(&error), "client ended"),
        });
        if let Err(error) = started {
            warn!(number, %error, "a client cannot be served");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// An error and its causes, in a line.
fn story(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |story, cause| format!("{story}: {cause}"))
}

fn fail(message: &str) -> ExitCode {
    let _closed = writeln!(std::io::stderr(), "heraldry-guest: {message}");
    ExitCode::from(1)
}
