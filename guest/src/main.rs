// SPDX-License-Identifier: MIT OR Apache-2.0
//! The binary `heraldry-guest`: a Wayland socket for the programs of an app VM.
//!
//! Each client has a thread of its own, a context of the VM's device, and so a connection to the compositor of its own
//! ([`session`]). Bytes and descriptors are moved by [`bridge`], pixels by [`shm`] and [`surface`]: what a client draws lies in
//! memory of its VM, which the compositor can't see, so what it commits is copied to memory of the host. Nothing of what the
//! compositor guarantees rests on this program.
#![forbid(unsafe_code)]

mod arena;
mod bridge;
mod session;
mod shm;
mod surface;

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::rc::Rc;

use anyhow::Context as _;
use clap::Parser;
use heraldry_program::{self as program, Pages};
use heraldry_virtio::guest::find_card;
use tracing::{debug, warn};
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
    #[command(flatten)]
    pages: Pages,
    /// A program to start with WAYLAND_DISPLAY set to the socket.
    #[arg(trailing_var_arg = true, value_name = "PROGRAM")]
    command: Vec<OsString>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(code) = cli.pages.print::<Cli>() {
        return code;
    }
    if let Err(error) = program::log(&cli.log) {
        return fail(&error);
    }
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
            Err(error) => warn!(number, error = program::chain(&error), "client ended"),
        });
        if let Err(error) = started {
            warn!(number, %error, "a client cannot be served");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn fail(message: &str) -> ExitCode {
    program::fail("heraldry-guest", 1, message)
}
