// SPDX-License-Identifier: MIT OR Apache-2.0
//! What of a stranger's memory can be mapped into a guest.
//!
//! QEMU maps files of whole pages that it may write to, and dies of one that is cut short. What is not so is copied, if it isn't
//! large: a keymap is small, sealed against writing, and may be of any size.

use std::os::fd::OwnedFd;

use heraldry_wire::virtwl::{MAX_MEMORY, PAGE_SIZE};
use rustix::fs::{
    FileType, MemfdFlags, OFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fcntl_getfl, fstat, ftruncate,
    memfd_create,
};
use rustix::io::{Errno, pread, pwrite};

use crate::limits::COPIED;

/// Bytes at a time.
const CHUNK: usize = 64 * 1024;

/// Why memory is of no use to a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("it is no file")]
    NoFile,
    #[error("it has {0} bytes")]
    Size(u64),
    #[error("the system failed")]
    System(#[from] Errno),
}

/// New memory of whole pages, which keeps its size.
pub(crate) fn make(size: u64) -> Result<OwnedFd, Errno> {
    let file = memfd_create("heraldry-device", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, size)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW)?;
    Ok(file)
}

/// Memory with the same content that can be mapped, and its size: the same memory if possible.
pub(crate) fn mappable(file: OwnedFd) -> Result<(OwnedFd, u64), Unusable> {
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Unusable::NoFile);
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size == 0 || size > MAX_MEMORY {
        return Err(Unusable::Size(size));
    }
    if size.is_multiple_of(PAGE_SIZE) && is_writable(&file)? && keeps_its_size(&file) {
        return Ok((file, size));
    }
    if size > COPIED {
        return Err(Unusable::Size(size));
    }
    let pages = size.next_multiple_of(PAGE_SIZE);
    let copy = make(pages)?;
    let mut bytes = vec![0; CHUNK];
    let mut at = 0;
    while at < size {
        let count = pread(&file, &mut *bytes, at)?;
        // It has become shorter meanwhile; the rest are zeros.
        let Some(read) = bytes.get(..count).filter(|read| !read.is_empty()) else {
            break;
        };
        pwrite(&copy, read, at)?;
        at = at.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
    Ok((copy, pages))
}

fn is_writable(file: &OwnedFd) -> Result<bool, Errno> {
    let mode = fcntl_getfl(file)? & OFlags::RWMODE;
    let seals = fcntl_get_seals(file).unwrap_or(SealFlags::empty());
    Ok(mode == OFlags::RDWR && !seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE))
}

/// It is sealed, or it is now.
fn keeps_its_size(file: &OwnedFd) -> bool {
    let sealed = |file| fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SealFlags::SHRINK));
    sealed(file) || fcntl_add_seals(file, SealFlags::SHRINK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(size: u64, seals: SealFlags) -> OwnedFd {
        let file = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&file, size).unwrap();
        pwrite(&file, b"hello", size - 5).unwrap();
        fcntl_add_seals(&file, seals).unwrap();
        file
    }

    #[test]
    fn what_qemu_cannot_map_is_copied_and_the_rest_is_the_same_memory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![7; 4096]).unwrap();
        let read_only: OwnedFd = std::fs::File::open(&path).unwrap().into();
        let cases = [
            (memory(8192, SealFlags::SHRINK), 8192, true),
            (memory(8192, SealFlags::empty()), 8192, true),
            (memory(0xfbb1, SealFlags::SHRINK), 0x10000, false),
            (memory(8192, SealFlags::SHRINK | SealFlags::WRITE), 8192, false),
            (memory(8192, SealFlags::FUTURE_WRITE), 8192, false),
            // Nobody may seal it any more.
            (memory(8192, SealFlags::SEAL), 8192, false),
            (read_only, 4096, false),
        ];
        for (number, (file, expected, same)) in cases.into_iter().enumerate() {
            let before = fstat(&file).unwrap();
            let end = u64::try_from(before.st_size).unwrap() - 5;
            let mut original = [0; 5];
            pread(&file, &mut original, end).unwrap();
            let (file, size) = mappable(file).unwrap();
            let after = fstat(&file).unwrap();
            assert_eq!(
                (size, after.st_ino == before.st_ino),
                (expected, same),
                "{number}"
            );
            let mut got = [0; 5];
            pread(&file, &mut got, end).unwrap();
            assert_eq!(got, original, "{number}");
            assert_eq!(ftruncate(&file, 4095), Err(Errno::PERM), "{number}");
        }
    }

    #[test]
    fn what_is_no_memory_is_said_to_be_none() {
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        assert_eq!(mappable(reader).unwrap_err(), Unusable::NoFile);
        let empty = memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        assert_eq!(mappable(empty).unwrap_err(), Unusable::Size(0));
        let huge = memory(COPIED + 1, SealFlags::SHRINK);
        assert_eq!(mappable(huge).unwrap_err(), Unusable::Size(COPIED + 1));
    }
}
