// SPDX-License-Identifier: MIT OR Apache-2.0
//! The binary: arguments and logging, nothing else.

use std::process::ExitCode;

use clap::Parser;
use heraldry_compositor::cli::{self, Cli};
use heraldry_compositor::init;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    if init::is_init() {
        return init::main();
    }
    let cli = Cli::parse();
    if cli.is_init() {
        return init::main();
    }
    // Smithay's own lines are developer facts; a filter that names it still shows them.
    let filter = match EnvFilter::try_new(format!("smithay=warn,{}", cli.log)) {
        Ok(filter) => filter,
        Err(error) => {
            return cli::fail_usage(&format!("--log {:?} is no level and no filter: {error}", cli.log));
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    cli::main(cli)
}
