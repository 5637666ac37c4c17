// SPDX-License-Identifier: MIT OR Apache-2.0
//! The binary: arguments and logging, nothing else.

use std::process::ExitCode;

use clap::Parser;
use heraldry_compositor::cli::{self, Cli};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Smithay's own lines are developer facts; a filter that names it still shows them.
    let filter = match format!("smithay=warn,{}", cli.log).parse::<Targets>() {
        Ok(filter) => filter,
        Err(error) => {
            return cli::fail_usage(&format!("--log {:?} is no level and no filter: {error}", cli.log));
        }
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    tracing_subscriber::registry().with(lines).with(filter).init();
    cli::main(cli)
}
