// SPDX-License-Identifier: MIT OR Apache-2.0
//! `heraldry-init confine`: gives up everything that a program does not need, then becomes that program.
//!
//! A step between init and a program rather than something that init does between fork and exec: here there is one
//! thread, and what fails can be told. Whatever fails, the program is not started.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::sys::signal::SigSet;
use rustix::process::{Gid, Resource, Rlimit, Signal, Uid, set_parent_process_death_signal, setrlimit};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_capabilities_secure_bits, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// The kernel refused a step.
    #[error("{step}; the program is not started")]
    Step {
        /// Which.
        step: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The steps went well, and still something was kept.
    #[error("{0} after giving it up; the program is not started")]
    Kept(&'static str),
    /// There is no program.
    #[error("no program is named")]
    NoProgram,
    /// The program cannot be started.
    #[error("cannot start {program:?}")]
    Exec {
        /// Which.
        program: OsString,
        /// Why.
        source: std::io::Error,
    },
}

const NO_CORE: Rlimit = Rlimit {
    current: Some(0),
    maximum: Some(0),
};
/// What the supervisor keeps: to become the compositor's user and give up the rest as that one, and to send it signals.
const SUPERVISORS: CapabilitySet = CapabilitySet::SETUID
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::KILL);

/// A step that must succeed.
fn must<E: Into<std::io::Error>>(step: &'static str, result: Result<(), E>) -> Result<(), ConfineError> {
    result.map_err(|source| ConfineError::Step {
        step,
        source: source.into(),
    })
}

/// Gives up what a program of this user does not need: from now on it has the group of the same number alone and no
/// capabilities. User 0 stays who it is.
pub fn give_up(user: u32) -> Result<(), ConfineError> {
    // What the compositor holds of the VMs is not to be written to a file, whatever becomes of it.
    must("cannot forbid core dumps", setrlimit(Resource::Core, NO_CORE))?;
    if user != 0 {
        become_user(user, user, CapabilitySet::empty())?;
    }
    no_more()
}

/// Becomes the user of the supervisor, who can do one thing that others cannot: become the compositor's user, and signal it.
/// What it starts has that too, until it has confined itself.
pub fn become_supervisor(user: u32) -> Result<(), ConfineError> {
    must("cannot forbid core dumps", setrlimit(Resource::Core, NO_CORE))?;
    become_user(user, user, SUPERVISORS)?;
    // Who started it is the reason for it to be there; becoming another user has made the kernel forget that.
    let end = set_parent_process_death_signal(Some(Signal::TERM));
    must("cannot follow who started it", end)?;
    no_more()
}

fn no_more() -> Result<(), ConfineError> {
    must("cannot forbid new privileges", set_no_new_privs(true))?;
    // Init reads signals by descriptor and blocks them for that; a program starts with none blocked.
    must("cannot unblock signals", SigSet::empty().thread_set_mask())
}

/// Becomes the program; returns only if that failed.
pub fn become_program(program: &[OsString]) -> Result<Infallible, ConfineError> {
    let (program, args) = program.split_first().ok_or(ConfineError::NoProgram)?;
    let source = Command::new(program).args(args).exec();
    Err(ConfineError::Exec {
        program: program.clone(),
        source,
    })
}

fn become_user(uid: u32, gid: u32, keep: CapabilitySet) -> Result<(), ConfineError> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    must(
        "cannot clear the ambient capabilities",
        clear_ambient_capability_set(),
    )?;
    for capability in CapabilitySet::all().difference(keep).iter() {
        match remove_capability_from_bounding_set(capability) {
            // Invalid: this kernel does not know that one yet.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(errno) => must("cannot give up a capability for good", Err(errno))?,
        }
    }
    // Locking takes a capability, which is gone afterwards if none is kept.
    if keep.is_empty() {
        lock()?;
    } else {
        let bits = CapabilitiesSecureBits::KEEP_CAPS;
        must("cannot keep capabilities", set_capabilities_secure_bits(bits))?;
    }
    must("cannot give up other groups", set_thread_groups(&[]))?;
    must("cannot change the group", set_thread_res_gid(group, group, group))?;
    must("cannot change the user", set_thread_res_uid(user, user, user))?;
    let left = CapabilitySets {
        effective: keep,
        permitted: keep,
        inheritable: keep,
    };
    must("cannot give up the capabilities", set_capabilities(None, left))?;
    if !keep.is_empty() {
        for capability in keep.iter() {
            let raised = configure_capability_in_ambient_set(capability, true);
            must("cannot pass a capability on", raised)?;
        }
        lock()?;
    }
    verify(uid, gid, keep)
}

/// Capabilities do not come back, by no program and no user.
fn lock() -> Result<(), ConfineError> {
    let bits = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    must("cannot lock the capabilities", set_capabilities_secure_bits(bits))
}

/// Looks at what is left, by other means than those that gave it up.
fn verify(uid: u32, gid: u32, keep: CapabilitySet) -> Result<(), ConfineError> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|source| ConfineError::Step {
        step: "cannot look at what is left",
        source,
    })?;
    match kept(&status, uid, gid, keep) {
        None => Ok(()),
        Some(what) => Err(ConfineError::Kept(what)),
    }
}

/// What a process with this `/proc/PID/status` has besides its user, its group and what it was to keep.
fn kept(status: &str, uid: u32, gid: u32, keep: CapabilitySet) -> Option<&'static str> {
    let has = |name: &str, expected: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.is_some_and(|line| line.split_whitespace().all(|word| word == expected))
    };
    let keep = format!("{:016x}", keep.bits());
    let (uid, gid) = (uid.to_string(), gid.to_string());
    [
        ("another user is kept", has("Uid", &uid)),
        ("another group is kept", has("Gid", &gid)),
        ("other groups are kept", has("Groups", &gid)),
        ("inheritable capabilities are kept", has("CapInh", &keep)),
        ("permitted capabilities are kept", has("CapPrm", &keep)),
        ("effective capabilities are kept", has("CapEff", &keep)),
        ("capabilities can be had again", has("CapBnd", &keep)),
        ("ambient capabilities are kept", has("CapAmb", &keep)),
    ]
    .into_iter()
    .find_map(|(what, given_up)| (!given_up).then_some(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\theraldry\nUid:\t990\t990\t990\t990\nGid:\t990\t990\t990\t990\nGroups:\t \n\
                          CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n\
                          CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\n";

    #[test]
    fn whatever_is_kept_is_found() {
        let none = CapabilitySet::empty();
        assert_eq!(kept(STATUS, 990, 990, none), None);
        assert!(kept(STATUS, 990, 990, SUPERVISORS).is_some());
        let supervisor = STATUS.replace("0000000000000000", "00000000000001e0");
        assert_eq!(kept(&supervisor, 990, 990, SUPERVISORS), None);
        for (from, to) in [
            ("Uid:\t990\t990", "Uid:\t990\t0"),
            ("Gid:\t990", "Gid:\t0"),
            ("Groups:\t", "Groups:\t27"),
            ("CapInh:\t0", "CapInh:\t8"),
            ("CapBnd:\t0000000000000000", "CapBnd:\t000001ffffffffff"),
            ("CapAmb:", "CapOther:"),
        ] {
            assert!(kept(&STATUS.replace(from, to), 990, 990, none).is_some(), "{to}");
        }
    }

    #[test]
    fn nothing_is_started_without_a_program() {
        let error = become_program(&[]).unwrap_err();
        assert!(matches!(error, ConfineError::NoProgram), "{error}");
    }
}
