// SPDX-License-Identifier: MIT OR Apache-2.0
//! The binary: arguments and what the log shows, nothing else.

use std::process::ExitCode;

use clap::Parser;
use heraldry_compositor::cli::{self, Cli};
use heraldry_compositor::system::log;
use tracing_subscriber::filter::Targets;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Smithay's own lines are developer facts; a filter that names it still shows them.
    let filter = match format!("smithay=warn,{}", cli.log).parse::<Targets>() {
        Ok(filter) => filter,
        Err(error) => {
            return cli::fail_usage(&format!("--log {:?} is no level and no filter: {error}", cli.log));
        }
    };
    log::init(filter);
    cli::main(cli)
}
