// SPDX-License-Identifier: MIT OR Apache-2.0
//! What fuzzing runs and asserts: one module for each target, each with a `run` that takes any bytes.
//!
//! Nothing here knows a fuzzer. The programs in `fuzz/bins` hand libFuzzer's bytes to a `run`, and
//! `tests/replay.rs` hands it the seeds and regressions in `fuzz/seeds` and `fuzz/regressions`.
//! `docs/fuzzing.md` says what each target asserts.
#![forbid(unsafe_code)]
#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a target that panics has found a bug, as it should"
)]

use nix::sys::signal::{SigSet, Signal};

pub mod config;
pub mod cross_domain;
pub mod device;
pub mod gate_bytes;
pub mod gate_session;
pub mod label;
pub mod ledger;
pub mod memfd;
pub mod records;
pub mod scene;
pub mod splice;
pub mod streams;
pub mod wayland;

/// What each program does first: a write to a closed pipe is an error to it and not its end.
///
/// The runtime sees to that in every Rust program. These have libFuzzer's `main`, so nothing did.
pub fn start() {
    let mut set = SigSet::empty();
    set.add(Signal::SIGPIPE);
    set.thread_block().expect("a thread that may block SIGPIPE");
}

/// A target: its name, which is that of its program and of its folders of inputs, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("gate_bytes", gate_bytes::run),
    ("gate_session", gate_session::run),
    ("device", device::run),
    ("cross_domain", cross_domain::run),
    ("records", records::run),
    ("memfd", memfd::run),
    ("splice", splice::run),
    ("streams", streams::run),
    ("config", config::run),
    ("label", label::run),
    ("scene", scene::run),
];
