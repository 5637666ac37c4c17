// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signals as a descriptor.

use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr::null_mut;

use rustix::io::Errno;

use super::last_errno;

/// A signal that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Its number.
    pub(crate) signal: i32,
    /// Whether the kernel sent it (a terminal's key, for instance), rather than a process.
    pub(crate) from_kernel: bool,
}

/// Signals that are blocked and read here instead.
#[derive(Debug)]
pub(crate) struct Signals(OwnedFd);

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the pointer is to a signal set, which the function initialises.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: it is initialised now.
    let mut set = unsafe { set.assume_init() };
    for signal in signals {
        // SAFETY: the set is initialised; a wrong number only makes the call fail.
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    set
}

impl Signals {
    /// Blocks `signals` in this thread, and so in all threads it starts.
    pub(crate) fn block(signals: &[i32]) -> Result<Self, Errno> {
        let set = set_of(signals);
        // SAFETY: the set is live and initialised; no old mask is asked for.
        let result = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, null_mut()) };
        if result != 0 {
            return Err(Errno::from_raw_os_error(result));
        }
        // SAFETY: the set is live and initialised.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(last_errno());
        }
        // SAFETY: signalfd made this descriptor for this call; nothing else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next signal, if one is there.
    pub(crate) fn next(&self) -> Option<Arrived> {
        let mut info = [0; size_of::<libc::signalfd_siginfo>()];
        let count = rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut info[..])).ok()?;
        if count != info.len() {
            return None;
        }
        // The first fields of signalfd_siginfo: signal u32, errno i32, code i32.
        let (words, _) = info.as_chunks::<4>();
        let (signal, code) = (words.first()?, words.get(2)?);
        let from_kernel = i32::from_ne_bytes(*code) == libc::SI_KERNEL;
        Some(Arrived {
            signal: i32::from_ne_bytes(*signal),
            from_kernel,
        })
    }
}

/// Unblocks every signal in this thread. Allocates nothing: it runs between fork and exec.
pub(crate) fn unblock_all() -> Result<(), Errno> {
    let set = set_of(&[]);
    // SAFETY: the set is live and initialised; no old mask is asked for.
    let result = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, null_mut()) };
    if result == 0 {
        Ok(())
    } else {
        Err(Errno::from_raw_os_error(result))
    }
}
