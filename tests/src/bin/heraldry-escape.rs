// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stands in the compositor's place, started by its supervisor with the compositor's arguments, and tries to get out. Then it
//! stays until it is told to end.
#![expect(
    clippy::print_stdout,
    reason = "what came of each try is for whoever reads its output"
)]

use std::process::ExitCode;

use heraldry_compositor::cli::{self, Cli};
use heraldry_tests::escape::{SAYS, TRY, attempt, attempt_all};

fn main() -> ExitCode {
    let Ok(name) = std::env::var(TRY) else {
        // It has the signals blocked that the compositor reads by descriptor.
        let end = Some(rustix::process::Signal::KILL);
        let _followed = rustix::process::set_parent_process_death_signal(end);
        let made = attempt_all(|name, outcome| println!("{SAYS}{name}: {outcome}"));
        println!("{SAYS}done ({made:?})");
        loop {
            std::thread::park();
        }
    };
    let parsed = <Cli as clap::Parser>::try_parse().ok();
    let Some(places) = parsed.as_ref().and_then(cli::places) else {
        return ExitCode::FAILURE;
    };
    attempt(&name, &places).map_or(ExitCode::FAILURE, ExitCode::from)
}
