// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory: its fixed size, and the ids.

use std::os::fd::{AsFd as _, BorrowedFd};

use heraldry_virtio::guest::{NewError, memory_covers};
use rustix::fs::{SealFlags, SeekFrom};
use rustix::io::Errno;
use rustix::process::getppid;

use crate::fixture::{Inbox, both, memfd};

fn is_strict(fd: BorrowedFd<'_>, pages: u64) {
    let stat = rustix::fs::fstat(fd).unwrap();
    assert_eq!((stat.st_size, stat.st_mode), (0, 0o600));
    let extended = rustix::fs::statx(
        fd,
        "",
        rustix::fs::AtFlags::EMPTY_PATH,
        rustix::fs::StatxFlags::SIZE,
    );
    assert_eq!(extended.unwrap().stx_size, 0);
    assert_eq!(rustix::fs::ftruncate(fd, 1 << 20), Err(Errno::INVAL));
    assert_eq!(rustix::fs::seek(fd, SeekFrom::End(0)), Err(Errno::SPIPE));
    assert_eq!(rustix::fs::fcntl_get_seals(fd), Err(Errno::INVAL));
    assert_eq!(
        rustix::fs::fcntl_add_seals(fd, SealFlags::SEAL),
        Err(Errno::INVAL)
    );
    let allocated = rustix::fs::fallocate(fd, rustix::fs::FallocateFlags::empty(), 0, 1 << 20);
    assert_eq!(allocated, Err(Errno::NODEV));
    assert!(memory_covers(fd, 1));
    assert!(memory_covers(fd, pages * 4096));
    assert!(!memory_covers(fd, pages * 4096 + 1));
}

#[test]
fn its_size_is_fixed_and_hidden() {
    both(
        "memory::its_size_is_fixed_and_hidden",
        |host| {
            let peer = host.accept();
            let memory = memfd(b"x", 5000);
            peer.send(b"m", &[memory.as_fd()]);
            peer.recv(1);
            // The host makes it larger; the guest's stays as it was.
            rustix::fs::ftruncate(&memory, 1 << 20).unwrap();
            assert_eq!(rustix::fs::ftruncate(&memory, 0), Err(Errno::PERM));
            peer.send(b"n", &[memory.as_fd()]);
            peer.end();
        },
        |device| {
            is_strict(device.alloc(8192).unwrap().as_fd(), 2);
            let context = device.context("wayland").unwrap();
            let mut inbox = Inbox::default();
            inbox.wait(&context, 1, 1);
            is_strict(inbox.fds[0].as_fd(), 2);
            context.send(b"x", &[]).unwrap();
            inbox.wait(&context, 2, 2);
            // One inode, two vfds, each with the size of its import.
            is_strict(inbox.fds[0].as_fd(), 2);
            is_strict(inbox.fds[1].as_fd(), 256);
            assert!(!memory_covers(context.as_fd(), 1));
        },
    );
}

#[test]
fn ids_are_2047_and_come_back() {
    let stats = both(
        "memory::ids_are_2047_and_come_back",
        |_host| {},
        |device| {
            let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
            let all = rustix::process::Rlimit {
                current: limit.maximum,
                maximum: limit.maximum,
            };
            rustix::process::setrlimit(rustix::process::Resource::Nofile, all).unwrap();
            for _ in 0..2 {
                let mut all: Vec<_> = (0..2047).map(|_| device.alloc(1).unwrap()).collect();
                assert!(matches!(device.alloc(1), Err(NewError::NoIds)));
                assert!(matches!(device.pipe_read(), Err(NewError::NoIds)));
                all.pop();
                all.push(device.alloc(1).unwrap());
                assert!(matches!(device.alloc(1), Err(NewError::NoIds)));
            }
        },
    );
    assert!(stats.contains("\"most_vfds\":2047,"), "{stats}");
    assert!(stats.contains("\"live_vfds\":0,"), "{stats}");
}

/// Descriptors of the supervisor, which is the parent of this process.
fn supervisor_descriptors() -> usize {
    let parent = getppid().unwrap().as_raw_nonzero();
    std::fs::read_dir(format!("/proc/{parent}/fd")).unwrap().count()
}

#[test]
fn a_thousand_vfds_leave_nothing_behind() {
    let stats = both(
        "memory::a_thousand_vfds_leave_nothing_behind",
        |host| {
            let main = host.accept();
            for _ in 0..1000 {
                let peer = host.accept_other();
                peer.recv(1);
                peer.send(b"m", &[memfd(b"x", 4096).as_fd()]);
                peer.end();
            }
            main.end();
        },
        |device| {
            let context = device.context("wayland").unwrap();
            let round = || {
                let mut inbox = Inbox::default();
                let other = device.context("other").unwrap();
                let _memory = device.alloc(4096).unwrap();
                let _pipes = (device.pipe_read().unwrap(), device.pipe_write().unwrap());
                other.send(b"x", &[]).unwrap();
                inbox.wait(&other, 1, 1);
                assert!(memory_covers(inbox.fds[0].as_fd(), 4096));
            };
            round();
            context.send(b"", &[]).unwrap();
            let before = supervisor_descriptors();
            for _ in 1..1000 {
                round();
            }
            assert_eq!(supervisor_descriptors(), before);
        },
    );
    assert!(stats.contains("\"live_vfds\":0,"), "{stats}");
}
