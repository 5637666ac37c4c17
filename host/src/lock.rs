// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lock of the host's folder: one daemon serves it at a time.
//!
//! Any process that can open a file can lock it, also without the right to write. So the lock is a file that only the daemon's user
//! can open, and one that others could ever open (they may still have it) is replaced by a new one.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use rustix::process::geteuid;
use tracing::warn;

/// Somebody may change the file between two looks at it; nobody can for ever.
const TRIES: usize = 8;

/// Why the folder is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another host runs in the same folder.
    #[error("another heraldry-host serves {0}; stop it, or choose another --dir")]
    Taken(PathBuf),
    /// The lock cannot be opened, or replaced.
    #[error("cannot make the lock {path}; remove what is there, or choose another --dir")]
    Unusable {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What is at the lock's path.
struct Found {
    file: File,
    /// Nobody but us could open it, since it was made.
    ours_alone: bool,
}

/// Holds the folder, which must be ours, for this process.
pub(crate) fn lock(dir: &Path) -> Result<File, LockError> {
    let path = dir.join("lock");
    let taken = || LockError::Taken(dir.to_owned());
    let unusable = |source| LockError::Unusable {
        path: path.clone(),
        source,
    };
    for _ in 0..TRIES {
        let Some(found) = find(&path).map_err(unusable)? else {
            warn!(path = %path.display(), "the lock was not ours, and is removed");
            std::fs::remove_file(&path).map_err(unusable)?;
            continue;
        };
        match flock(&found.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) if found.ours_alone || held_by_us(&found.file) => return Err(taken()),
            Err(Errno::WOULDBLOCK) => warn!(path = %path.display(), "another user held the lock"),
            Err(errno) => return Err(unusable(errno.into())),
        }
        if !is_at(&found.file, &path) {
            continue;
        }
        if found.ours_alone {
            return Ok(found.file);
        }
        warn!(path = %path.display(), "other users could open the lock: it is replaced");
        return replace(&path).map_err(unusable);
    }
    Err(taken())
}

/// Opens the lock, and makes it if there is none. `None` if what is there is no file, or not of our user.
fn find(path: &Path) -> io::Result<Option<Found>> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match open(path, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP | Errno::NXIO) => return Ok(None),
        Err(Errno::ACCESS | Errno::PERM) if !path.symlink_metadata().is_ok_and(|there| is_ours(&there)) => {
            return Ok(None);
        }
        Err(errno) => return Err(errno.into()),
    };
    let there = file.metadata()?;
    let ours_alone = there.mode() & 0o077 == 0 && there.nlink() <= 1;
    Ok(is_ours(&there).then_some(Found { file, ours_alone }))
}

fn is_ours(there: &std::fs::Metadata) -> bool {
    there.is_file() && there.uid() == geteuid().as_raw()
}

/// Whether the path still names this file.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(file), Ok(there)) = (file.metadata(), path.symlink_metadata()) else {
        return false;
    };
    (file.dev(), file.ino()) == (there.dev(), there.ino())
}

/// Puts a locked file that nobody else could ever open in the place of the lock.
fn replace(path: &Path) -> io::Result<File> {
    let fresh = path.with_extension("new");
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(open(&fresh, flags, Mode::RUSR | Mode::WUSR)?);
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    std::fs::rename(&fresh, path)?;
    Ok(file)
}

/// Whether a process of our user holds the file's lock: then it is a daemon, and no stranger.
fn held_by_us(file: &File) -> bool {
    let Ok(there) = file.metadata() else {
        return false;
    };
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    holders(&locks, there.ino()).any(|pid| {
        // The owner of the folder in /proc is root for whoever forbids to be looked at.
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        effective_user(&status) == Some(geteuid().as_raw())
    })
}

/// Of the line `Uid:` with the real, effective, saved and file system user.
fn effective_user(status: &str) -> Option<u32> {
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_whitespace().nth(1)?.parse().ok()
}

/// Who holds locks on an inode, of lines such as `1: FLOCK  ADVISORY  WRITE 812 00:1a:4711 0 EOF`.
fn holders(locks: &str, inode: u64) -> impl Iterator<Item = &str> {
    locks.lines().filter_map(move |line| {
        let mut fields = line.split_whitespace().skip(1);
        let kind = fields.next()?;
        let pid = fields.nth(2)?;
        let of = fields.next()?.rsplit(':').next()?.parse::<u64>().ok()?;
        (kind == "FLOCK" && of == inode).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_read_from_the_kernels_list() {
        let text = "1: FLOCK  ADVISORY  WRITE 812 00:1a:4711 0 EOF\n\
                    1: -> FLOCK  ADVISORY  WRITE 813 00:1a:4711 0 EOF\n\
                    2: POSIX  ADVISORY  WRITE 814 00:1a:4711 0 EOF\n\
                    3: FLOCK  ADVISORY  READ 815 00:1a:99 0 EOF\nrubbish\n";
        assert_eq!(holders(text, 4711).collect::<Vec<_>>(), ["812"]);
        assert_eq!(holders("", 4711).count(), 0);
    }

    #[test]
    fn a_lock_of_our_own_is_seen_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        assert!(held_by_us(&held));
        assert!(matches!(lock(dir.path()), Err(LockError::Taken(_))));
        drop(held);
        lock(dir.path()).unwrap();
    }
}
