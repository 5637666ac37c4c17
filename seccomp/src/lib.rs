// SPDX-License-Identifier: MIT OR Apache-2.0
//! Filters for system calls: what those of all programs have in common. Which calls a program makes is its own list.
//!
//! A program may have several filters; of their answers the kernel takes the strictest.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use libc::{self as c, c_long};
use seccompiler::{
    SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp, SeccompCondition, SeccompFilter, TargetArch,
};

pub use seccompiler::{BackendError, BpfProgram, SeccompRule as Rule, sock_filter};

/// System calls, each with rules for its arguments, of which one has to match; a call without rules matches always.
pub type Calls = BTreeMap<c_long, Vec<Rule>>;

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The rules make no filter.
    #[error("the rules for system calls make no filter")]
    Rules(#[from] BackendError),
    /// The kernel does not take it.
    #[error("the kernel does not take the filter for system calls (CONFIG_SECCOMP_FILTER)")]
    Apply(#[from] seccompiler::Error),
}

/// How a call is answered that is not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// With the end of the process.
    Death,
    /// With EPERM.
    Refused,
    /// With ENOSYS, as a kernel would that does not know it.
    Unknown,
}

impl From<Answer> for SeccompAction {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Death => Self::KillProcess,
            Answer::Refused => Self::Errno(c::EPERM.unsigned_abs()),
            Answer::Unknown => Self::Errno(c::ENOSYS.unsigned_abs()),
        }
    }
}

/// What is asked of one argument, of which the lower 32 bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Is {
    /// It is this.
    Equal(u32),
    /// It is anything but this.
    Not(u32),
    /// Its bits under the mask are these.
    Masked(u32, u32),
}

/// A rule for the arguments of a call: all conditions hold.
///
/// # Errors
///
/// There are no conditions, or there is no such argument.
pub fn rule(conditions: &[(u8, Is)]) -> Result<Rule, BackendError> {
    let condition = |(argument, is): &(u8, Is)| {
        let (op, value) = match *is {
            Is::Equal(value) => (SeccompCmpOp::Eq, value),
            Is::Not(value) => (SeccompCmpOp::Ne, value),
            Is::Masked(mask, value) => (SeccompCmpOp::MaskedEq(mask.into()), value),
        };
        SeccompCondition::new(*argument, Len::Dword, op, value.into())
    };
    let conditions: Result<Vec<_>, _> = conditions.iter().map(condition).collect();
    Rule::new(conditions?)
}

/// The argument is one of these.
///
/// # Errors
///
/// There is no such argument.
pub fn any_of(argument: u8, values: impl IntoIterator<Item = u32>) -> Result<Vec<Rule>, BackendError> {
    let one = |value| rule(&[(argument, Is::Equal(value))]);
    values.into_iter().map(one).collect()
}

/// For `clone`: threads, no processes.
///
/// # Errors
///
/// None that is known.
pub fn threads() -> Result<Vec<Rule>, BackendError> {
    let thread = c::CLONE_THREAD.unsigned_abs();
    Ok(vec![rule(&[(0, Is::Masked(thread, thread))])?])
}

/// For `socket`: streams of this machine. Datagrams, or the network, would reach others without connecting to them.
///
/// # Errors
///
/// None that is known.
pub fn unix_streams() -> Result<Vec<Rule>, BackendError> {
    let unix = Is::Equal(c::AF_UNIX.unsigned_abs());
    // The other bits of the kind are flags.
    let stream = Is::Masked(0xf, c::SOCK_STREAM.unsigned_abs());
    Ok(vec![rule(&[(0, unix), (1, stream)])?])
}

/// These calls, whatever their arguments are.
pub fn calls<'a>(calls: impl IntoIterator<Item = &'a c_long>) -> Calls {
    calls.into_iter().map(|call| (*call, Vec::new())).collect()
}

/// Lets these calls through, and refuses all others.
///
/// # Errors
///
/// The rules make no filter.
pub fn only(calls: Calls) -> Result<BpfProgram, BackendError> {
    filter(calls, Answer::Refused.into(), SeccompAction::Allow)
}

/// Answers these calls, and lets all others through.
///
/// # Errors
///
/// The rules make no filter.
pub fn all_but(calls: Calls, answer: Answer) -> Result<BpfProgram, BackendError> {
    filter(calls, SeccompAction::Allow, answer.into())
}

/// Answers `clone3` as if there were none: the kernel cannot look at its flags, and the C library then uses `clone`.
///
/// # Errors
///
/// None that is known.
pub fn without_clone3() -> Result<BpfProgram, BackendError> {
    all_but(calls(&[c::SYS_clone3]), Answer::Unknown)
}

fn filter(calls: Calls, otherwise: SeccompAction, then: SeccompAction) -> Result<BpfProgram, BackendError> {
    #[cfg(target_arch = "x86_64")]
    let arch = TargetArch::x86_64;
    #[cfg(target_arch = "aarch64")]
    let arch = TargetArch::aarch64;
    SeccompFilter::new(calls, otherwise, then, arch)?.try_into()
}

/// Puts the filters in force, the first one first, for this thread and whatever it starts; also forbids new privileges. One
/// that does not let `seccomp` through lets no other one come after it.
///
/// # Errors
///
/// The kernel does not take one. Those before it stay in force.
pub fn apply(filters: impl IntoIterator<Item = BpfProgram>) -> Result<(), FilterError> {
    for filter in filters {
        seccompiler::apply_filter(&filter)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};
    use std::os::unix::net::{UnixDatagram, UnixListener};
    use std::process::Command;

    use super::*;

    /// What a thread finds under these filters, which are its own.
    fn under<T: Send + 'static>(filters: Vec<BpfProgram>, what: impl FnOnce() -> T + Send + 'static) -> T {
        let under = move || {
            apply(filters).unwrap();
            what()
        };
        std::thread::spawn(under).join().unwrap()
    }

    fn refused<T>(result: Result<T, Error>) -> bool {
        result.err().map(|error| error.kind()) == Some(ErrorKind::PermissionDenied)
    }

    #[test]
    fn what_is_not_let_through_is_refused_and_the_rest_works() {
        let folder = std::env::temp_dir().join(format!("heraldry-seccomp-{}", std::process::id()));
        let everything = (0..460).filter(|call| ![c::SYS_ptrace, c::SYS_setsid].contains(call));
        let mut few: Calls = everything.map(|call| (call, Vec::new())).collect();
        few.insert(c::SYS_socket, unix_streams().unwrap());
        few.insert(c::SYS_clone, threads().unwrap());
        let filters = vec![without_clone3().unwrap(), only(few).unwrap()];
        let found = under(filters, move || {
            std::thread::spawn(|| 1).join().unwrap();
            // A thread's filter stays with what it starts.
            let sub = std::thread::spawn(|| refused(UnixDatagram::unbound().map(drop)));
            let listener = UnixListener::bind(&folder);
            let _gone = std::fs::remove_file(&folder);
            [
                sub.join().unwrap(),
                listener.is_ok(),
                refused(std::net::UdpSocket::bind("127.0.0.1:0")),
                refused(std::net::TcpListener::bind("127.0.0.1:0")),
                refused(Command::new("/bin/true").spawn()),
            ]
        });
        assert_eq!(found, [true; 5]);
    }

    #[test]
    fn what_is_answered_with_death_ends_the_process() {
        use std::os::unix::process::ExitStatusExt as _;
        let deadly = all_but(calls(&[c::SYS_sethostname, c::SYS_unshare]), Answer::Death).unwrap();
        let status = under(vec![deadly], || {
            let mut works = Command::new("/bin/true");
            assert!(works.status().unwrap().success(), "all else is let through");
            Command::new("/usr/bin/unshare")
                .args(["-U", "/bin/true"])
                .status()
        });
        assert_eq!(status.unwrap().signal(), Some(c::SIGSYS));
    }

    #[test]
    fn a_filter_without_conditions_is_none() {
        rule(&[]).unwrap_err();
        any_of(6, [1]).unwrap_err();
    }
}
