// SPDX-License-Identifier: MIT OR Apache-2.0
//! Listening at a path that a user named.
//!
//! What lies there may be anything: only a dead socket is replaced. Who listens holds a lock beside the socket, `PATH.lock`,
//! as every Wayland compositor does, so that two of them cannot take the same path from each other.

use std::ffi::OsString;
use std::fs::{Metadata, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// Why nobody listens there.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// There is something that is no socket.
    #[error("{0} is there already and is no socket; it is left alone: choose another path")]
    NotASocket(PathBuf),
    /// Somebody listens there.
    #[error("another program listens on {0}: stop it or choose another path")]
    Taken(PathBuf),
    /// The lock cannot be made.
    #[error("cannot make the lock {path}")]
    Lock {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The socket cannot be made.
    #[error("cannot make the socket {path}")]
    Bind {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The files of a listening socket, removed at the end if they are still the same.
#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    /// Device and number of the socket's file.
    socket: Option<(u64, u64)>,
    lock: PathBuf,
    /// The lock's file was made here, or by one of ours that was killed.
    lock_is_ours: bool,
    /// Held for as long as somebody listens.
    _held: OwnedFd,
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl Drop for Files {
    fn drop(&mut self) {
        let now = std::fs::symlink_metadata(&self.path).ok();
        if now.is_some_and(|now| Some(identity(&now)) == self.socket) {
            // Already gone is as good as removed.
            let _gone = std::fs::remove_file(&self.path);
        }
        if self.lock_is_ours {
            let _gone = std::fs::remove_file(&self.lock);
        }
    }
}

/// Listens at `path`, with a socket of mode 0600 that does not block.
///
/// # Errors
///
/// Something else is there, or the system refuses.
pub fn listen(path: &Path) -> Result<(UnixListener, Files), ListenError> {
    let mut lock = OsString::from(path);
    lock.push(".lock");
    let lock = PathBuf::from(lock);
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let lock_error = |errno: Errno| ListenError::Lock {
        path: lock.clone(),
        source: errno.into(),
    };
    let open = |more: OFlags| open(&lock, flags | more, Mode::from_raw_mode(0o600));
    let (held, lock_is_ours) = match open(OFlags::EXCL) {
        Ok(made) => (made, true),
        Err(_there) => (open(OFlags::empty()).map_err(lock_error)?, false),
    };
    flock(&held, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
        Errno::WOULDBLOCK => ListenError::Taken(path.to_owned()),
        errno => lock_error(errno),
    })?;
    let mut files = Files {
        path: path.to_owned(),
        socket: None,
        lock: lock.clone(),
        lock_is_ours,
        _held: held,
    };
    let error = |source| ListenError::Bind {
        path: path.to_owned(),
        source,
    };
    match std::fs::symlink_metadata(path) {
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(error(source)),
        Ok(there) if !there.file_type().is_socket() => {
            return Err(ListenError::NotASocket(path.to_owned()));
        }
        Ok(_) if is_alive(path) => return Err(ListenError::Taken(path.to_owned())),
        // Left behind by a process that was killed.
        Ok(_) => {
            std::fs::remove_file(path).map_err(error)?;
            let left = std::fs::symlink_metadata(&lock).ok();
            files.lock_is_ours |= left.is_some_and(|left| left.is_file() && left.len() == 0);
        }
    }
    let listener = UnixListener::bind(path).map_err(error)?;
    files.socket = std::fs::symlink_metadata(path).ok().as_ref().map(identity);
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(error)?;
    listener.set_nonblocking(true).map_err(error)?;
    Ok((listener, files))
}

/// Whether somebody listens. Who does and has a full queue would make a blocking call wait.
fn is_alive(path: &Path) -> bool {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let answer = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .and_then(|socket| connect(&socket, &SocketAddrUnix::new(path)?));
    !matches!(answer, Err(Errno::CONNREFUSED | Errno::NOENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn only_a_dead_socket_is_replaced() {
        let folder = folder();
        let notes = folder.path().join("notes.txt");
        std::fs::write(&notes, "dear diary").unwrap();
        let refused = listen(&notes).map(|_| ()).unwrap_err();
        assert!(matches!(refused, ListenError::NotASocket(_)), "{refused}");
        assert_eq!(std::fs::read(&notes).unwrap(), b"dear diary");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&notes, &link).unwrap();
        assert!(matches!(listen(&link), Err(ListenError::NotASocket(_))));
        assert!(link.is_symlink() && notes.exists());

        let dead = folder.path().join("dead");
        drop(UnixListener::bind(&dead).unwrap());
        drop(listen(&dead).unwrap());
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().collect();
        assert_eq!(
            left.len(),
            2,
            "what was made is gone, what was there is there: {left:?}"
        );
    }

    #[test]
    fn a_live_socket_is_not_taken_from_its_owner() {
        let folder = folder();
        let path = folder.path().join("wayland-0");
        let owner = UnixListener::bind(&path).unwrap();
        assert!(matches!(listen(&path), Err(ListenError::Taken(_))));
        drop(owner);
        let (_socket, files) = listen(&path).unwrap();
        assert!(matches!(listen(&path), Err(ListenError::Taken(_))));
        // By its lock alone, as other compositors are found out that begin in the same moment.
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(listen(&path), Err(ListenError::Taken(_))));
        let other = UnixListener::bind(&path).unwrap();
        drop(files);
        assert!(path.exists(), "somebody else's");
        drop(other);
    }

    #[test]
    fn a_file_of_the_lock_s_name_that_is_not_ours_is_left() {
        let folder = folder();
        let path = folder.path().join("notes");
        let lock = folder.path().join("notes.lock");
        for text in ["mine", ""] {
            std::fs::write(&lock, text).unwrap();
            drop(listen(&path).unwrap());
            assert_eq!(std::fs::read_to_string(&lock).unwrap(), text);
        }
        // What a killed compositor of ours left behind: a dead socket, and the lock beside it.
        drop(UnixListener::bind(&path).unwrap());
        drop(listen(&path).unwrap());
        assert!(!path.exists() && !lock.exists());
    }
}
