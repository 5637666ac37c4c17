// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a descriptor is, and whether it may cross from one VM to another.
//!
//! Memory that can shrink would let its sender crash a process that maps it, so memory is sealed against shrinking on its
//! way through, or refused. A client's pipe passes by its stand-in, and the compositor has none to send. Everything else
//! ends the connection: a socket, a device or a directory would be a capability that nobody granted.

use std::os::fd::OwnedFd;

use heraldry_config::UnsealedMemory;
use heraldry_wire::virtwl::MAX_MEMORY;
use rustix::fs::{AtFlags, FileType, SealFlags, StatxFlags, fcntl_add_seals, fcntl_get_seals, fstat, statx};
use rustix::io::Errno;
use rustix::pipe::fcntl_getpipe_size;

/// What may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Memory.
    Memory {
        /// Its sender can shrink it, and may.
        can_shrink: bool,
    },
    /// One end of a pipe.
    Pipe,
}

/// Why a descriptor may not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Neither memory nor pipe.
    #[error("a descriptor that is neither memory nor a pipe")]
    Other,
    /// Memory that its owner can still shrink.
    #[error("memory that cannot be sealed against shrinking")]
    Unsealed,
    /// A file, whose file system answers when it likes: a process that maps it waits for that.
    #[error("a file of a file system, which is no memory")]
    File,
    /// A pipe that is the compositor's own.
    #[error("a pipe of its own, which its device would read and write for all VMs")]
    Pipe,
    /// What stands for a pipe of another VM.
    #[error("the stand-in of another VM's pipe")]
    Foreign,
    /// No bytes, or more than the device can announce.
    #[error("memory of {0} bytes")]
    Size(u64),
}

/// Looks at a descriptor; memory is sealed against shrinking if it is not already.
///
/// Until it is known to be memory, nothing is asked that its own file system would have to answer: such an answer can take
/// for ever.
pub(crate) fn classify(fd: &OwnedFd, unsealed: UnsealedMemory) -> Result<Kind, Refused> {
    match fcntl_get_seals(fd) {
        Ok(seals) => memory(fd, seals, unsealed),
        // For a path alone: a way to a file that its receiver may not open.
        Err(Errno::BADF) => Err(Refused::Other),
        Err(_) if fcntl_getpipe_size(fd).is_ok() => Ok(Kind::Pipe),
        Err(_) if !is_file(fd) => Err(Refused::Other),
        Err(_) => match unsealed {
            UnsealedMemory::Refuse => Err(Refused::Unsealed),
            UnsealedMemory::Allow => Err(Refused::File),
        },
    }
}

/// Whether it is a file of a file system, as far as the kernel knows without asking that.
fn is_file(fd: &OwnedFd) -> bool {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    statx(fd, c"", flags, StatxFlags::TYPE)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile)
}

fn memory(fd: &OwnedFd, seals: SealFlags, unsealed: UnsealedMemory) -> Result<Kind, Refused> {
    let stat = fstat(fd).map_err(|_gone| Refused::Other)?;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size == 0 || size > MAX_MEMORY {
        return Err(Refused::Size(size));
    }
    // Sealing waits for a process that writes to it just now. That harms its own VM alone.
    let sealed = seals.contains(SealFlags::SHRINK) || fcntl_add_seals(fd, SealFlags::SHRINK).is_ok();
    if !sealed && unsealed == UnsealedMemory::Refuse {
        return Err(Refused::Unsealed);
    }
    Ok(Kind::Memory { can_shrink: !sealed })
}

#[cfg(test)]
mod tests {
    use rustix::fs::{MemfdFlags, OFlags, ftruncate, memfd_create};

    use super::*;

    const SEALED: Kind = Kind::Memory { can_shrink: false };

    fn memory(flags: MemfdFlags, size: u64) -> OwnedFd {
        let fd = memfd_create("test", flags).unwrap();
        ftruncate(&fd, size).unwrap();
        fd
    }

    #[test]
    fn sealable_memory_is_sealed_on_the_way() {
        let fd = memory(MemfdFlags::ALLOW_SEALING, 4096);
        assert_eq!(classify(&fd, UnsealedMemory::Refuse), Ok(SEALED));
        assert!(ftruncate(&fd, 1).is_err(), "the sender can no longer shrink it");
    }

    #[test]
    fn memory_that_can_shrink_is_refused_unless_allowed() {
        let fd = memory(MemfdFlags::empty(), 4096);
        assert_eq!(classify(&fd, UnsealedMemory::Refuse), Err(Refused::Unsealed));
        let passes = Ok(Kind::Memory { can_shrink: true });
        assert_eq!(classify(&fd, UnsealedMemory::Allow), passes);
    }

    #[test]
    fn memory_without_bytes_is_refused() {
        let fd = memory(MemfdFlags::ALLOW_SEALING, 0);
        assert_eq!(classify(&fd, UnsealedMemory::Allow), Err(Refused::Size(0)));
    }

    #[test]
    fn no_memory_passes_that_the_device_cannot_announce() {
        for (size, expected) in [
            (1, Ok(SEALED)),
            (MAX_MEMORY, Ok(SEALED)),
            (MAX_MEMORY + 1, Err(Refused::Size(MAX_MEMORY + 1))),
            (u64::from(u32::MAX), Err(Refused::Size(u64::from(u32::MAX)))),
        ] {
            let fd = memory(MemfdFlags::ALLOW_SEALING, size);
            assert_eq!(classify(&fd, UnsealedMemory::Refuse), expected, "{size}");
        }
    }

    #[test]
    fn pipes_pass_and_sockets_do_not() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        assert_eq!(classify(&read, UnsealedMemory::Refuse), Ok(Kind::Pipe));
        assert_eq!(classify(&write, UnsealedMemory::Refuse), Ok(Kind::Pipe));
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(
            classify(&socket.into(), UnsealedMemory::Allow),
            Err(Refused::Other)
        );
    }

    #[test]
    fn a_path_is_neither_memory_nor_pipe() {
        let memory = memory(MemfdFlags::ALLOW_SEALING, 4096);
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&memory));
        let path = rustix::fs::open(path, OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        assert_eq!(classify(&path, UnsealedMemory::Allow), Err(Refused::Other));
    }

    #[test]
    fn a_file_of_a_file_system_is_no_memory() {
        // Made as a test's own folder is; where that is memory, it is memory.
        let file = std::fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        let file = file.into();
        if fcntl_get_seals(&file).is_ok() {
            return;
        }
        assert_eq!(classify(&file, UnsealedMemory::Refuse), Err(Refused::Unsealed));
        assert_eq!(classify(&file, UnsealedMemory::Allow), Err(Refused::File));
    }

    #[test]
    fn devices_and_directories_are_refused() {
        for path in ["/dev/null", "/tmp"] {
            let fd = std::fs::File::open(path).unwrap().into();
            assert_eq!(
                classify(&fd, UnsealedMemory::Allow),
                Err(Refused::Other),
                "{path}"
            );
        }
    }
}
