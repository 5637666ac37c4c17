// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starting a program with something to do between fork and exec.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Has `prepare` run in the child, after fork and before exec.
///
/// # Contract of `prepare`
///
/// This process must have one thread only when it spawns; then the child may do what any program may, and `prepare` needs no
/// care beyond that of ordinary code. The emulator is single-threaded.
pub(crate) fn before_exec(
    command: &mut Command,
    prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: see the contract; in a process of one thread no lock can be held by a thread that the child lacks.
    unsafe { command.pre_exec(prepare) };
}
