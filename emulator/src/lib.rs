// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs an unmodified program with an emulated `/dev/wl0`, without a VM.
//!
//! The program runs under a seccomp filter that hands its open of the device, the ioctls, and the calls that would betray
//! a vfd as an ordinary file to this supervisor (seccomp_unotify(2)); everything else goes to the kernel. The device's rules
//! are those of [`heraldry_virtio::device`]. `docs/emulator.md` lists every difference from the device, with its reason.
//!
//! It is a tool for development and tests, and no sandbox: a call that is let through is read by the kernel a second time.
//!
//! * `launch`, `filter`: starting the program
//! * `supervisor`: the loop, and the effects of the state machines
//! * `calls`: system calls on paths and descriptors; `ioctls`: NEW, SEND and RECV
//! * `blocking`: pipes that block as crosvm's do
//! * `sys`: the only unsafe code
//! * `table`: which descriptors of the program are vfds; `host`: sockets, pipes and memory of the host

#[cfg(not(target_arch = "x86_64"))]
compile_error!("heraldry-sim knows the system calls of x86_64 only");

mod blocking;
mod calls;
mod filter;
mod host;
mod ioctls;
mod launch;
mod native;
mod stats;
mod supervisor;
mod sys;
mod table;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use heraldry_wire::ContextName;
use rustix::io::Errno;

/// What to run, and what the device offers.
#[derive(Clone, Debug)]
pub struct Options {
    /// Host sockets by context name. The empty name of the unnamed context is `None`.
    pub sockets: BTreeMap<Option<ContextName>, PathBuf>,
    /// Where sockets are looked for whose names are made at run time, `wl-conn-` and digits.
    pub socket_dir: Option<PathBuf>,
    /// Where the device appears.
    pub device: PathBuf,
    /// Whether pipes from the host block the whole device while they are full, as crosvm's do.
    pub blocking_pipes: bool,
    /// Whether the end of a context is POLLHUP without POLLIN, as on the device; then it has no POLLOUT.
    pub hup_alone: bool,
    /// Where to write counters.
    pub stats: Option<PathBuf>,
    /// The program.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
}

/// Why the program could not be run, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// A step of the preparation failed.
    #[error("The emulator could not be set up: {0} failed")]
    Setup(&'static str, #[source] Errno),
    /// The program could not be started.
    #[error("The program {} could not be started", .0.display())]
    Spawn(OsString, #[source] io::Error),
    /// Waiting for events or for the program failed.
    #[error("The emulator failed while the program ran: {0}")]
    Run(&'static str, #[source] io::Error),
}

/// Runs the program to its end and returns the exit status to pass on: its own, or 128 and the signal that ended it.
///
/// The calling process must have one thread. Signals that ask a program to end are passed on to it.
///
/// # Errors
///
/// See [`EmulatorError`].
pub fn run(options: &Options) -> Result<u8, EmulatorError> {
    supervisor::run(options)
}
