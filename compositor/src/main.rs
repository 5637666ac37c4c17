// SPDX-License-Identifier: MIT OR Apache-2.0
//! The binary: arguments and logging, nothing else.

use std::process::ExitCode;

use clap::Parser;
use heraldry_compositor::cli::{self, Cli};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Smithay's own lines are developer facts; a filter that names it still shows them.
    let filter =
        EnvFilter::try_new(format!("smithay=warn,{}", cli.log)).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    cli::main(cli)
}
