// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hostile suite: one row for each thing that a VM may try, through the real programs.
//!
//! Each row is a scripted client of one VM. While it runs, an honest client of another VM draws and asks for round
//! trips beside it. Of every row it is asserted that
//!
//! 1. the attacker gets what the row says: the error that names the rule, or the behaviour that its script looks for;
//! 2. the honest client notices nothing: its answers and frames keep coming, its pixels and its frame are right, and it
//!    is told nothing that is not its own;
//! 3. nothing is left over: descriptors, threads, clients, windows and memory are as before.
//!
//! The first word of a row's name is its id, by which documents refer to it; letters tell the variants of one attack
//! apart. `L` rows are requests that end or hang the compositor's library, `V` rows are about the transport, `Q` rows
//! reach the limits of a quota. All rows of a file go through one set of programs, so what a row breaks, the next one
//! finds.
//!
//!     cargo test -p heraldry-tests --test hostile -- --nocapture          # every row with its time
//!     HERALDRY_ROWS=A57,L02 cargo test -p heraldry-tests --test hostile   # rows whose names begin so
#![cfg(test)]

mod attack;
mod bystander;
mod fixture;

mod clipboard;
mod descriptors;
mod desktop;
mod drawing;
mod errors;
mod idle;
mod input;
mod labels;
mod library;
mod load;
mod memory;
mod objects;
mod pace;
mod paused;
mod protocol;
mod quotas;
mod registry;
mod spoofing;
mod survival;
mod system;
mod transport;

use fixture::{ORDINARY, run, run_timed};

macro_rules! themes {
    ($($theme:ident,)+) => {
        $(
            #[test]
            fn $theme() {
                run(stringify!($theme), $theme::ROWS, ORDINARY);
            }
        )+

        #[test]
        fn ids_are_unique() {
            let mut ids = std::collections::BTreeSet::new();
            for row in [$($theme::ROWS,)+ drawing::ROWS, quotas::ROWS].concat() {
                assert!(ids.insert(row.id()), "{} twice", row.id());
            }
            assert!(ids.len() >= 70, "{} rows", ids.len());
        }
    };
}

themes! {
    clipboard,
    descriptors,
    errors,
    input,
    labels,
    library,
    survival,
    load,
    memory,
    objects,
    paused,
    protocol,
    registry,
    spoofing,
    system,
    transport,
}

#[test]
fn drawing() {
    run_timed("drawing", drawing::ROWS, ORDINARY);
}

#[test]
fn quotas() {
    run("quotas", quotas::ROWS, quotas::QUOTA);
}
