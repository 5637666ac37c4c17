// SPDX-License-Identifier: MIT OR Apache-2.0
//! The binary `heraldry-device`: arguments and logging, nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use heraldry_device::{filter, vmm};
use heraldry_program::{self as program, Pages};

/// The vhost-user device of one VM, which connects its programs with heraldry-host.
#[derive(Debug, Parser)]
#[command(name = "heraldry-device", version, about, max_term_width = 100)]
struct Cli {
    /// What the guest sees: cross-domain is a graphics card without a screen (virtio-gpu, id 16).
    #[arg(long, value_enum, default_value = "cross-domain")]
    kind: Kind,
    /// The socket for the VMM, which is made here.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Where contexts connect to, by the channel's name: wayland is the socket of heraldry-host for this VM,
    /// DIR/vm/NAME/wayland-0.
    #[arg(long, value_name = "NAME=PATH", value_delimiter = ',', value_parser = channel)]
    sockets: Vec<PathBuf>,
    /// How much to log to standard error: error, warn, info, debug, or a tracing filter.
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    log: String,
    #[command(flatten)]
    pages: Pages,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    CrossDomain,
}

fn channel(text: &str) -> Result<PathBuf, String> {
    match text.split_once('=') {
        Some(("wayland", path)) => Ok(PathBuf::from(path)),
        Some((name, _)) => Err(format!("there is no channel {name:?}; there is wayland")),
        None => Err("expected NAME=PATH".to_owned()),
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(code) = cli.pages.print::<Cli>() {
        return code;
    }
    if let Err(error) = program::log(&cli.log) {
        return fail(&error);
    }
    let Kind::CrossDomain = cli.kind;
    let (Some(socket), [host]) = (&cli.socket, cli.sockets.as_slice()) else {
        return fail("give --socket PATH for the VMM and --sockets wayland=PATH for the host");
    };
    let run = || -> anyhow::Result<()> {
        heraldry_wire::descriptors::raise_limit()?;
        // Whoever may connect to the socket is the VMM.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let listener = vmm::listen(socket)?;
        filter::enter()?;
        Ok(vmm::serve(listener, host)?)
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}")),
    }
}

fn fail(message: &str) -> ExitCode {
    program::fail("heraldry-device", 1, message)
}
