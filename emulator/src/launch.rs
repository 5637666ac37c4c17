// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starting the program under the filter.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd as _;
use std::process::{Child, Command};

use heraldry_wire::descriptors::{receive, send};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Resource, Rlimit, Signal, getpid, getppid, setrlimit};

use super::{EmulatorError, filter};
use crate::sys::seccomp::{Listener, install_filter};
use crate::sys::{signals, spawn};

/// Starts `program` under the filter. This process must have one thread.
pub(super) fn launch(
    program: &OsString,
    args: &[OsString],
    limit: &Rlimit,
) -> Result<(Child, Listener), EmulatorError> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .map_err(|errno| EmulatorError::Setup("socketpair", errno))?;
    let instructions = filter::program();
    let limit = Rlimit {
        current: limit.current,
        maximum: limit.maximum,
    };
    let parent = getpid();
    let mut command = Command::new(program);
    command.args(args);
    spawn::before_exec(&mut command, move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() != Some(parent) {
            return Err(io::Error::from(Errno::CHILD));
        }
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.current,
                maximum: limit.maximum,
            },
        )?;
        signals::unblock_all()?;
        rustix::thread::set_no_new_privs(true)?;
        let listener = install_filter(&instructions)?;
        send(theirs.as_fd(), b"L", &[listener.as_fd()])?;
        Ok(())
    });
    let child = command
        .spawn()
        .map_err(|error| EmulatorError::Spawn(program.clone(), error))?;
    drop(command);
    // It was sent before the program began.
    let mut listener = Vec::new();
    receive(ours.as_fd(), &mut [0], &mut listener).map_err(|errno| EmulatorError::Setup("recvmsg", errno))?;
    let listener = listener
        .pop()
        .ok_or(EmulatorError::Setup("recvmsg", Errno::PROTO))?;
    Ok((child, Listener::new(listener)))
}
