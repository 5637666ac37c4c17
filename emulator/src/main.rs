// SPDX-License-Identifier: MIT OR Apache-2.0
//! `heraldry-sim`: runs a program with an emulated `/dev/wl0`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use heraldry_program::{self as program, Pages};
use heraldry_sim::{EmulatorError, Options};
use heraldry_wire::ContextName;

/// Exit codes of our own; otherwise the program's.
const USER: u8 = 1;
const BUG: u8 = 70;

/// Run a program with an emulated virtio_wl device.
///
/// The program, and every process it starts, finds a device at /dev/wl0 whose named contexts connect to the given
/// sockets. The exit status is the program's; 128 and the signal's number when a signal ended it.
#[derive(Debug, Parser)]
#[command(name = "heraldry-sim", version)]
struct Arguments {
    /// Sockets of the host, by context name; an empty name is the unnamed context.
    #[arg(long, value_name = "NAME=PATH", value_delimiter = ',', value_parser = socket)]
    sockets: Vec<(Option<ContextName>, PathBuf)>,
    /// Where to look for sockets whose names are made at run time, `wl-conn-` and digits.
    #[arg(long, value_name = "DIR")]
    socket_dir: Option<PathBuf>,
    /// Let a full pipe from the host block the whole device, as crosvm's do.
    #[arg(long)]
    blocking_pipes: bool,
    /// Tell the end of a context by POLLHUP without POLLIN, as the device does; then POLLOUT never comes.
    #[arg(long)]
    hup_alone: bool,
    /// What to log: error, warn, info, debug or trace, or a filter by module.
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log: String,
    /// Write counters to this file, as JSON: when a call was refused, and at the end.
    #[arg(long, value_name = "FILE")]
    stats: Option<PathBuf>,
    /// Where the device appears.
    #[arg(long, value_name = "PATH", default_value = "/dev/wl0")]
    device: PathBuf,
    #[command(flatten)]
    pages: Pages,
    /// The program and its arguments.
    #[arg(required_unless_present_any = ["man", "completions"], trailing_var_arg = true, value_name = "PROGRAM")]
    command: Vec<OsString>,
}

fn socket(text: &str) -> Result<(Option<ContextName>, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("expected NAME=PATH")?;
    let name = match name {
        "" => None,
        name => Some(ContextName::new(name).map_err(|error| error.to_string())?),
    };
    Ok((name, PathBuf::from(path)))
}

fn options(arguments: Arguments) -> anyhow::Result<Options> {
    let mut sockets = BTreeMap::new();
    for (name, path) in arguments.sockets {
        let shown = name.as_ref().map_or(String::new(), ToString::to_string);
        anyhow::ensure!(
            sockets.insert(name, path).is_none(),
            "The name {shown:?} has two sockets"
        );
    }
    let mut command = arguments.command.into_iter();
    Ok(Options {
        sockets,
        socket_dir: arguments.socket_dir,
        blocking_pipes: arguments.blocking_pipes,
        hup_alone: arguments.hup_alone,
        device: arguments.device,
        stats: arguments.stats,
        program: command.next().context("There is no program to run")?,
        args: command.collect(),
    })
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(code) = arguments.pages.print::<Arguments>() {
        return code;
    }
    let fail = |code, message: &str| program::fail("heraldry-sim", code, message);
    if let Err(error) = program::log(&arguments.log) {
        return fail(USER, &error);
    }
    let outcome = options(arguments).and_then(|options| Ok(heraldry_sim::run(&options)?));
    outcome.map_or_else(
        |error| {
            let bug = matches!(
                error.downcast_ref::<EmulatorError>(),
                Some(EmulatorError::Run(..))
            );
            fail(if bug { BUG } else { USER }, &format!("{error:#}"))
        },
        ExitCode::from,
    )
}
