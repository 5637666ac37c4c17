// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls that have no safe wrapper, with arguments that cannot harm this process: numbers alone, and no address but
//! null. A kernel that would do such a call says that the address is bad, which is all that [`super::tries`] wants to know.
#![expect(
    unsafe_code,
    reason = "these calls are made to see them refused, and no crate wraps them"
)]

use libc::{self as c, c_long};
use rustix::io::Errno;

/// One that changes nothing, by the number that it has for x32.
pub(super) const OTHER_NUMBER: c_long = c::SYS_getpid | 0x4000_0000;

/// The calls that may be made here. None takes an argument as an address in this process that it would change or give back.
const KNOWN: &[c_long] = &[
    c::SYS_acct,
    c::SYS_add_key,
    c::SYS_bpf,
    c::SYS_capset,
    c::SYS_chroot,
    c::SYS_clock_settime,
    c::SYS_delete_module,
    c::SYS_execve,
    c::SYS_execveat,
    c::SYS_fcntl,
    c::SYS_finit_module,
    OTHER_NUMBER,
    c::SYS_init_module,
    c::SYS_io_uring_setup,
    c::SYS_ioctl,
    c::SYS_kexec_load,
    c::SYS_keyctl,
    c::SYS_kill,
    c::SYS_mount,
    c::SYS_open_by_handle_at,
    c::SYS_perf_event_open,
    c::SYS_personality,
    c::SYS_pidfd_getfd,
    c::SYS_pidfd_open,
    c::SYS_pivot_root,
    c::SYS_process_vm_readv,
    c::SYS_process_vm_writev,
    c::SYS_ptrace,
    c::SYS_reboot,
    c::SYS_rt_sigqueueinfo,
    c::SYS_rt_tgsigqueueinfo,
    c::SYS_sched_setaffinity,
    c::SYS_sched_setscheduler,
    c::SYS_setgid,
    c::SYS_setgroups,
    c::SYS_sethostname,
    c::SYS_setns,
    c::SYS_setpriority,
    c::SYS_setuid,
    c::SYS_swapon,
    c::SYS_syslog,
    c::SYS_tgkill,
    c::SYS_tkill,
    c::SYS_umount2,
    c::SYS_unshare,
    c::SYS_userfaultfd,
];

/// Makes a call with these arguments and zeros.
///
/// # Errors
///
/// The kernel's answer; `NOSYS` for a call that is not known here.
pub(super) fn call(number: c_long, arguments: &[u32]) -> Result<(), Errno> {
    if !KNOWN.contains(&number) {
        return Err(Errno::NOSYS);
    }
    let mut all = [0_u64; 6];
    for (to, from) in all.iter_mut().zip(arguments) {
        *to = u64::from(*from);
    }
    let [a, b, c, d, e, f] = all;
    // SAFETY: every call in `KNOWN` takes its arguments as numbers or as addresses that the kernel checks; an address made of
    // 32 bits that the tests pass is null, so nothing of this process is read or written.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if answer == -1 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    }
    Ok(())
}
