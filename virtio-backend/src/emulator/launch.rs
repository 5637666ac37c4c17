// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starting the program under the filter.

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{Resource, Rlimit, Signal, getpid, getppid, getrlimit, setrlimit};

use super::{EmulatorError, filter};
use crate::sys::seccomp::{Listener, install_filter};
use crate::sys::{signals, spawn};

/// Raises this process's limit of open descriptors to the most it may have, and returns the limit it had.
pub(super) fn raise_descriptor_limit() -> Rlimit {
    let before = getrlimit(Resource::Nofile);
    // A failure leaves the limit as it is, which is enough for most programs.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: before.maximum,
            maximum: before.maximum,
        },
    );
    before
}

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
        pass(theirs.as_fd(), &listener)?;
        Ok(())
    });
    let child = command
        .spawn()
        .map_err(|error| EmulatorError::Spawn(program.clone(), error))?;
    drop(command);
    let listener = take(ours.as_fd()).map_err(|errno| EmulatorError::Setup("recvmsg", errno))?;
    Ok((child, Listener::new(listener)))
}

fn pass(socket: impl AsFd, fd: &OwnedFd) -> Result<(), Errno> {
    let fds = [fd.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(socket, &[IoSlice::new(b"L")], &mut control, SendFlags::empty()).map(drop)
}

fn take(socket: impl AsFd) -> Result<OwnedFd, Errno> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    fds.next().and_then(|mut fds| fds.next()).ok_or(Errno::PROTO)
}
