// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which system calls the supervisor, and whatever it starts, will never make.
//!
//! A filter is inherited, so the supervisor's cannot forbid what the compositor needs or what it takes to become the
//! compositor: that is left to the compositor's own. What is forbidden here is what makes one program another's master:
//! tracing it, its memory, the kernel's modules, mounts, namespaces.

use heraldry_seccomp::{
    Answer, BackendError, BpfProgram, FilterError, Is, Rule, all_but, calls, rule, sock_filter,
    without_clone3,
};
use libc::{self as c, c_long};

/// What is answered with the end of the process.
pub const NEVER: &[c_long] = &[
    c::SYS_acct,
    c::SYS_add_key,
    c::SYS_bpf,
    c::SYS_chroot,
    c::SYS_delete_module,
    c::SYS_finit_module,
    c::SYS_fsmount,
    c::SYS_fsopen,
    c::SYS_init_module,
    c::SYS_io_uring_setup,
    c::SYS_kexec_file_load,
    c::SYS_kexec_load,
    c::SYS_keyctl,
    c::SYS_mount,
    c::SYS_move_mount,
    c::SYS_open_by_handle_at,
    c::SYS_open_tree,
    c::SYS_perf_event_open,
    c::SYS_pidfd_getfd,
    c::SYS_pivot_root,
    c::SYS_process_vm_readv,
    c::SYS_process_vm_writev,
    c::SYS_ptrace,
    c::SYS_reboot,
    c::SYS_request_key,
    c::SYS_setns,
    c::SYS_swapon,
    c::SYS_umount2,
    c::SYS_unshare,
    c::SYS_userfaultfd,
];
/// Flags of clone(2) that make namespaces.
const NAMESPACES: [i32; 7] = [
    c::CLONE_NEWCGROUP,
    c::CLONE_NEWIPC,
    c::CLONE_NEWNET,
    c::CLONE_NEWNS,
    c::CLONE_NEWPID,
    c::CLONE_NEWUSER,
    c::CLONE_NEWUTS,
];

/// A namespace of one's own, of users above all, is a way to everything that is forbidden elsewhere.
fn namespaces() -> Result<Vec<Rule>, BackendError> {
    let one = |flag: i32| rule(&[(0, Is::Masked(flag.unsigned_abs(), flag.unsigned_abs()))]);
    NAMESPACES.into_iter().map(one).collect()
}

/// The numbers of x32, by which the same calls can be made where the kernel knows them: no program of ours is of that kind.
const OTHER_NUMBERS: u32 = 0x4000_0000;

/// Ends a process that uses other numbers; what seccompiler makes compares single ones.
fn other_numbers() -> BpfProgram {
    let step = |code: u32, jt: u8, jf: u8, k: u32| sock_filter {
        code: u16::try_from(code).unwrap_or(u16::MAX),
        jt,
        jf,
        k,
    };
    vec![
        step(c::BPF_LD | c::BPF_W | c::BPF_ABS, 0, 0, 0),
        step(c::BPF_JMP | c::BPF_JGE | c::BPF_K, 0, 1, OTHER_NUMBERS),
        step(c::BPF_RET | c::BPF_K, 0, 0, c::SECCOMP_RET_KILL_PROCESS),
        step(c::BPF_RET | c::BPF_K, 0, 0, c::SECCOMP_RET_ALLOW),
    ]
}

/// Gives them up, for this thread and whatever it starts; also forbids new privileges.
///
/// # Errors
///
/// The kernel takes no filter.
pub fn enter() -> Result<(), FilterError> {
    heraldry_seccomp::apply([
        other_numbers(),
        all_but(calls(NEVER), Answer::Death)?,
        all_but([(c::SYS_clone, namespaces()?)].into(), Answer::Refused)?,
        without_clone3()?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Filters are a thread's, so this one can have some.
    #[test]
    fn whoever_has_the_filter_starts_programs_and_makes_no_namespaces() {
        std::thread::spawn(|| {
            enter().unwrap();
            std::thread::spawn(|| 1).join().unwrap();
            assert!(
                std::process::Command::new("/bin/true")
                    .status()
                    .unwrap()
                    .success()
            );
            let sleeps = std::process::Command::new("/usr/bin/unshare")
                .arg("-U")
                .arg("/bin/true")
                .status();
            let ended = sleeps.unwrap();
            assert_eq!(
                std::os::unix::process::ExitStatusExt::signal(&ended),
                Some(c::SIGSYS)
            );
        })
        .join()
        .unwrap();
    }
}
