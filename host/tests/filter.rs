// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a part of the host can do behind its filter for system calls.
#![cfg(test)]

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use heraldry_host::filter::enter;
use heraldry_host::part::Part;
use libc as c;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, FdFlags, fcntl_setfd, ioctl_fionbio, ioctl_fionread};
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::process::{Signal, getppid, kill_process};

#[path = "../../tests/src/escape/sys.rs"]
mod sys;

/// As in the kernel's header; the binding has no name for it.
const F_SETSIG: u32 = 10;

/// Filters are a thread's, so this one can have some.
#[test]
fn a_part_reaches_no_other_process_and_changes_nothing_that_others_have_too() {
    for part in [Part::Vm, Part::Compositor] {
        let reached = std::thread::spawn(move || {
            let (reader, _writer): (OwnedFd, OwnedFd) = rustix::pipe::pipe().unwrap();
            let supervisor = getppid().unwrap();
            enter(&part).unwrap();
            fcntl_getfl(&reader).unwrap();
            fcntl_setfd(&reader, FdFlags::CLOEXEC).unwrap();
            reader.as_fd().try_clone_to_owned().unwrap();
            let fd = reader.as_raw_fd().unsigned_abs();
            let to = supervisor.as_raw_nonzero().get().unsigned_abs();
            let fcntl = |command, number| sys::call(c::SYS_fcntl, &[fd, command, number]).err();
            let socket = |family, kind| socket(family, kind, None).err();
            let stream = socket(AddressFamily::UNIX, SocketType::STREAM);
            assert_eq!(stream.is_none(), part == Part::Compositor);
            let spawn = std::process::Command::new("/bin/true").spawn();
            [
                sys::call(c::SYS_execve, &[]).err(),
                sys::call(c::SYS_execveat, &[]).err(),
                spawn.err().and_then(|error| Errno::from_io_error(&error)),
                // The supervisor would be stopped when the pipe can be read.
                fcntl(F_SETSIG, c::SIGSTOP.unsigned_abs()),
                fcntl(c::F_SETOWN.unsigned_abs(), to),
                socket(AddressFamily::UNIX, SocketType::DGRAM),
                socket(AddressFamily::INET, SocketType::STREAM),
                fcntl_setfl(&reader, OFlags::NONBLOCK | OFlags::from_bits_retain(0o20000)).err(),
                ioctl_fionbio(&reader, true).err(),
                ioctl_fionread(&reader).err(),
                kill_process(supervisor, Signal::CONT).err(),
                rustix::fs::open("/", OFlags::RDONLY, rustix::fs::Mode::empty()).err(),
            ]
        })
        .join()
        .unwrap();
        assert_eq!(reached, [Some(Errno::PERM); 12]);
    }
}
