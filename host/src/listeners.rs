// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sockets in the host's folder. The path of a VM's socket is its identity, so the folders let nobody else in.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use heraldry_config::Owner;
use rustix::fs::{FlockOperation, flock};

/// Why a socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A folder cannot be made or given its mode.
    #[error("cannot prepare the folder {path}")]
    Folder {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The socket cannot be bound.
    #[error("cannot listen on {path}")]
    Bind {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The socket cannot be given to its owner.
    #[error("cannot give {path} to user {owner}; run heraldry-host as root, or leave `owner` out")]
    Owner {
        /// Where.
        path: PathBuf,
        /// To whom.
        owner: String,
        /// Why.
        source: io::Error,
    },
    /// No such user.
    #[error("there is no user {0:?} in /etc/passwd; name an existing one, or give `owner` a number")]
    NoUser(String),
    /// Another host runs in the same folder.
    #[error("another heraldry-host serves {0}; stop it, or choose another --dir")]
    Taken(PathBuf),
}

/// Makes a folder with exactly this mode, and its parents.
pub(crate) fn folder(path: &Path, mode: u32) -> Result<(), ListenError> {
    let fail = |source| ListenError::Folder {
        path: path.to_owned(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(fail)?;
    std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(fail)
}

/// Holds the folder for this process.
pub(crate) fn lock(dir: &Path) -> Result<std::fs::File, ListenError> {
    let path = dir.join("lock");
    let file = std::fs::File::create(&path).map_err(|source| ListenError::Folder { path, source })?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_held| ListenError::Taken(dir.to_owned()))?;
    Ok(file)
}

/// A listening socket of mode 0600; its file goes when it does.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Binds `path`. The folder's lock is held, so a socket that is there is a dead one.
    pub(crate) fn bind(path: &Path) -> Result<Self, ListenError> {
        let fail = |source| ListenError::Bind {
            path: path.to_owned(),
            source,
        };
        if let Err(error) = std::fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(fail(error));
        }
        let socket = UnixListener::bind(path).map_err(fail)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(fail)?;
        socket.set_nonblocking(true).map_err(fail)?;
        Ok(Self {
            socket,
            path: path.to_owned(),
        })
    }

    /// Binds a VM's socket in a folder of its own and gives both to their owner.
    pub(crate) fn for_vm(dir: &Path, vm: &str, owner: Option<&Owner>) -> Result<Self, ListenError> {
        let home = dir.join("vm").join(vm);
        folder(&home, 0o700)?;
        let listener = Self::bind(&home.join("wayland-0"))?;
        if let Some(owner) = owner {
            let uid = uid_of(owner)?;
            for path in [&listener.path, &home] {
                std::os::unix::fs::chown(path, Some(uid), None).map_err(|source| ListenError::Owner {
                    path: path.clone(),
                    owner: uid.to_string(),
                    source,
                })?;
            }
        }
        Ok(listener)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Already gone is as good as removed.
        let _gone = std::fs::remove_file(&self.path);
    }
}

/// The number of a user, from /etc/passwd: VM users are system users, which live there.
fn uid_of(owner: &Owner) -> Result<u32, ListenError> {
    match owner {
        Owner::Uid(uid) => Ok(*uid),
        Owner::Name(name) => std::fs::read_to_string("/etc/passwd")
            .unwrap_or_default()
            .lines()
            .filter_map(|line| {
                let mut fields = line.split(':');
                (fields.next() == Some(name.as_str()))
                    .then(|| fields.nth(1))
                    .flatten()?
                    .parse()
                    .ok()
            })
            .next()
            .ok_or_else(|| ListenError::NoUser(name.clone())),
    }
}
