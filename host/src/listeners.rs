// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sockets in the host's folder. The path of a VM's socket is its identity, so the folders let nobody else in.
//!
//! Binding and listening are two steps. Who connects to a socket that listens leaves things in its queue, and whoever has
//! the socket last must close them; so a socket listens only where its strangers may be waited for.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt as _, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use heraldry_config::Owner;
use heraldry_wire::CONNECTION_PREFIX;
use rustix::fs::{Mode, OFlags, fchmod, fstat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, acceptfrom_with, bind, listen, socket_with,
};
use rustix::process::{getegid, geteuid};

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
    /// A folder of ours belongs to somebody else, who could put other things in it.
    #[error("the folder {path} belongs to user {uid}; remove it, or choose another --dir")]
    Foreign {
        /// Where.
        path: PathBuf,
        /// Whose.
        uid: u32,
    },
    /// Somebody else can put another folder in the place of ours.
    #[error(
        "others may rename what is in {path}, where the host's folder lies; choose another --dir, or take that from them"
    )]
    Exposed {
        /// Where.
        path: PathBuf,
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
}

/// Makes a folder with exactly this mode, and its parents. One that is there must be ours: in somebody else's folder
/// every path can become another between two calls.
pub(crate) fn folder(path: &Path, mode: u32) -> Result<(), ListenError> {
    let fail = |source| ListenError::Folder {
        path: path.to_owned(),
        source,
    };
    // A parent that is made for it lets through whoever may use it.
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty() && !parent.exists())
    {
        folder(parent, mode)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => return Err(fail(source)),
        _ => {}
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fail = |errno: Errno| fail(errno.into());
    let folder = rustix::fs::open(path, flags, Mode::empty()).map_err(fail)?;
    let uid = fstat(&folder).map_err(fail)?.st_uid;
    if uid != geteuid().as_raw() {
        return Err(ListenError::Foreign {
            path: path.to_owned(),
            uid,
        });
    }
    fchmod(&folder, Mode::from_raw_mode(mode)).map_err(fail)
}

/// The same folder by a path on which nobody else can put another in its place. What is bound, removed and given away later
/// goes by path.
pub(crate) fn beyond_others(path: &Path) -> Result<PathBuf, ListenError> {
    let fail = |source| ListenError::Folder {
        path: path.to_owned(),
        source,
    };
    let path = path.canonicalize().map_err(fail)?;
    // Whoever has the root has everything; who that is can look like nobody in a container.
    let root = Path::new("/").metadata().map_err(fail)?.uid();
    let trusted = [0, geteuid().as_raw(), root];
    let trusted_groups = [0, getegid().as_raw()];
    for above in path.ancestors().skip(1) {
        let there = above.symlink_metadata().map_err(fail)?;
        // An access list gives whom it names no more than these bits. With a trusted group it is not looked at.
        let by_group = there.mode() & 0o020 != 0 && !trusted_groups.contains(&there.gid());
        let by_others = there.mode() & 0o002 != 0;
        // Where the sticky bit is, each renames what is his.
        let open = (by_group || by_others) && there.mode() & 0o1000 == 0;
        if open || !trusted.contains(&there.uid()) {
            return Err(ListenError::Exposed {
                path: above.to_owned(),
            });
        }
    }
    Ok(path)
}

/// Removes the sockets of connections that a host which was killed left behind.
pub(crate) fn sweep(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(CONNECTION_PREFIX) {
            // It is in nobody's way: the next host draws other numbers.
            let _left = std::fs::remove_file(entry.path());
        }
    }
}

/// The file of a socket, which goes with this.
#[derive(Debug)]
pub(crate) struct SocketPath(PathBuf);

impl Drop for SocketPath {
    fn drop(&mut self) {
        // Already gone is as good as removed.
        let _gone = std::fs::remove_file(&self.0);
    }
}

/// Binds a socket of mode 0600 to `path`. The folder's lock is held, so a socket that is there is a dead one. Nobody can
/// connect before it listens.
pub(crate) fn bind_at(path: &Path) -> Result<(OwnedFd, SocketPath), ListenError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(ListenError::Bind {
            path: path.to_owned(),
            source,
        }),
        _ => bind_new(path),
    }
}

/// The same where nothing may be. The folder lets nobody else in until the mode is set.
fn bind_new(path: &Path) -> Result<(OwnedFd, SocketPath), ListenError> {
    let fail = |source| ListenError::Bind {
        path: path.to_owned(),
        source,
    };
    let failed = |errno: Errno| fail(errno.into());
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(failed)?;
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    bind(&socket, &address).map_err(failed)?;
    let path = SocketPath(path.to_owned());
    std::fs::set_permissions(&path.0, Permissions::from_mode(0o600)).map_err(fail)?;
    Ok((socket, path))
}

/// Lets others connect, as many as the system lets wait.
pub(crate) fn start_listening(socket: &OwnedFd) -> Result<(), Errno> {
    listen(socket, -1)
}

/// Accepts one connection, if there is one; an error means that the system has no room for it, and that it waits.
pub(crate) fn accept(socket: impl AsFd) -> Result<Option<OwnedFd>, Errno> {
    match acceptfrom_with(socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
        Ok((fd, _)) => Ok(Some(fd)),
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// A socket that listens here; its file goes when it does.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: OwnedFd,
    _path: SocketPath,
}

impl Listener {
    /// Listens at `path`, where nothing may be.
    pub(crate) fn open_new(path: &Path) -> Result<Self, ListenError> {
        let (socket, file) = bind_new(path)?;
        start_listening(&socket).map_err(|errno| ListenError::Bind {
            path: path.to_owned(),
            source: errno.into(),
        })?;
        Ok(Self { socket, _path: file })
    }
}

/// Binds a VM's socket in a folder of its own and gives the socket to its owner. The folder stays ours, so that the
/// owner can connect and do nothing else.
pub(crate) fn bind_for_vm(
    dir: &Path,
    vm: &str,
    owner: Option<&Owner>,
) -> Result<(OwnedFd, SocketPath), ListenError> {
    let home = dir.join("vm").join(vm);
    folder(&home, 0o700)?;
    let (socket, path) = bind_at(&home.join("wayland-0"))?;
    if let Some(owner) = owner {
        let uid = uid_of(owner)?;
        lchown(&path.0, Some(uid), None).map_err(|source| ListenError::Owner {
            path: path.0.clone(),
            owner: uid.to_string(),
            source,
        })?;
        folder(&home, 0o711)?;
    }
    Ok((socket, path))
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
