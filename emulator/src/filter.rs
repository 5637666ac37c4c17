// SPDX-License-Identifier: MIT OR Apache-2.0
//! The seccomp filter: which system calls the supervisor sees.
//!
//! Reading, writing, polling and socket calls are none of them, so that a program's ordinary traffic runs at full speed.

use crate::sys::seccomp::Instruction;

const ARCH_X86_64: u32 = 0xc000_003e;
/// Numbers from here on are x32 calls, whose arguments would be read wrongly.
const X32_BIT: u32 = 0x4000_0000;

const RET_KILL_PROCESS: u32 = 0x8000_0000;
const RET_USER_NOTIF: u32 = 0x7fc0_0000;
const RET_ALLOW: u32 = 0x7fff_0000;

const LD_ABS: u16 = 0x20;
const JEQ: u16 = 0x15;
const JGE: u16 = 0x35;
const JSET: u16 = 0x45;
const AND: u16 = 0x54;
const RET: u16 = 0x06;

const OFFSET_NR: u32 = 0;
const OFFSET_ARCH: u32 = 4;

/// Offset of the low half of argument `index`.
const fn arg(index: u32) -> u32 {
    16 + index * 8
}

/// Calls that are always looked at: those that take a path, and those that would show a vfd to be an ordinary file.
const ALWAYS: [i64; 14] = [
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
];

/// fcntl(2) commands that are looked at.
const FCNTL: [i32; 3] = [libc::F_GETFL, libc::F_ADD_SEALS, libc::F_GET_SEALS];

const fn stmt(code: u16, k: u32) -> Instruction {
    Instruction {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

fn nr(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The program.
pub(super) fn program() -> Vec<Instruction> {
    let notify = stmt(RET, RET_USER_NOTIF);
    let allow = stmt(RET, RET_ALLOW);
    let mut program = vec![
        stmt(LD_ABS, OFFSET_ARCH),
        jump(JEQ, ARCH_X86_64, 1, 0),
        stmt(RET, RET_KILL_PROCESS),
        stmt(LD_ABS, OFFSET_NR),
        jump(JGE, X32_BIT, 0, 1),
        stmt(RET, RET_KILL_PROCESS),
    ];
    for call in ALWAYS {
        program.extend([jump(JEQ, nr(call), 0, 1), notify]);
    }
    // ioctl: the type byte of the command is 'w'.
    program.extend([
        jump(JEQ, nr(libc::SYS_ioctl), 0, 5),
        stmt(LD_ABS, arg(1)),
        stmt(AND, 0xff00),
        jump(JEQ, u32::from(b'w') << 8, 0, 1),
        notify,
        allow,
    ]);
    // mmap: of a file.
    program.extend([
        jump(JEQ, nr(libc::SYS_mmap), 0, 4),
        stmt(LD_ABS, arg(3)),
        jump(JSET, libc::MAP_ANONYMOUS.unsigned_abs(), 1, 0),
        notify,
        allow,
    ]);
    program.extend([jump(JEQ, nr(libc::SYS_fcntl), 1, 0), allow, stmt(LD_ABS, arg(1))]);
    for command in FCNTL {
        program.extend([jump(JEQ, command.unsigned_abs(), 0, 1), notify]);
    }
    program.push(allow);
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program on a system call, as the kernel does.
    fn verdict(arch: u32, number: i64, args: [u64; 6]) -> u32 {
        let mut data = [0; 64];
        data[..4].copy_from_slice(&nr(number).to_ne_bytes());
        data[4..8].copy_from_slice(&arch.to_ne_bytes());
        for (index, value) in args.iter().enumerate() {
            data[16 + index * 8..24 + index * 8].copy_from_slice(&value.to_ne_bytes());
        }
        let program = program();
        let (mut at, mut acc) = (0, 0u32);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            let taken = match code {
                LD_ABS => {
                    let offset = k as usize;
                    acc = u32::from_ne_bytes(data[offset..offset + 4].try_into().unwrap());
                    continue;
                }
                AND => {
                    acc &= k;
                    continue;
                }
                RET => return k,
                JEQ => acc == k,
                JGE => acc >= k,
                JSET => acc & k != 0,
                other => panic!("unknown instruction {other}"),
            };
            at += usize::from(if taken { jt } else { jf });
        }
    }

    fn on_x86(number: i64, args: [u64; 6]) -> u32 {
        verdict(ARCH_X86_64, number, args)
    }

    #[test]
    fn foreign_architectures_are_killed() {
        assert_eq!(verdict(0x4000_0003, libc::SYS_read, [0; 6]), RET_KILL_PROCESS);
        assert_eq!(on_x86(i64::from(X32_BIT) + 1, [0; 6]), RET_KILL_PROCESS);
    }

    #[test]
    fn what_a_program_does_most_is_not_looked_at() {
        for call in [
            libc::SYS_read,
            libc::SYS_write,
            libc::SYS_sendmsg,
            libc::SYS_recvmsg,
            libc::SYS_poll,
        ] {
            assert_eq!(on_x86(call, [0; 6]), RET_ALLOW);
        }
        assert_eq!(on_x86(libc::SYS_ioctl, [0, 0x5421, 0, 0, 0, 0]), RET_ALLOW);
        assert_eq!(on_x86(libc::SYS_mmap, [0, 0, 0, 0x22, 0, 0]), RET_ALLOW);
        assert_eq!(on_x86(libc::SYS_fcntl, [0, 4, 0, 0, 0, 0]), RET_ALLOW);
    }

    #[test]
    fn what_concerns_the_device_is() {
        for call in ALWAYS {
            assert_eq!(on_x86(call, [0; 6]), RET_USER_NOTIF);
        }
        assert_eq!(
            on_x86(libc::SYS_ioctl, [0, 0xc030_7700, 0, 0, 0, 0]),
            RET_USER_NOTIF
        );
        assert_eq!(on_x86(libc::SYS_mmap, [0, 0, 0, 1, 0, 0]), RET_USER_NOTIF);
        for command in FCNTL {
            assert_eq!(
                on_x86(libc::SYS_fcntl, [0, command.unsigned_abs().into(), 0, 0, 0, 0]),
                RET_USER_NOTIF
            );
        }
    }
}
