// SPDX-License-Identifier: MIT OR Apache-2.0
//! A library for programs in the guest: contexts, host memory, pipes, and what is spoken over them.
//!
//! One [`Device`] per process is enough; it is `Send` and `Sync`. What it makes are descriptors of their own, to be
//! put into an epoll. Rules of the virtio_wl driver that this library keeps, so that its users need not know them:
//!
//! * a transaction's descriptor list ends with -1; a receive buffer is never empty (the driver hangs on that)
//! * descriptors may come before or after the bytes they belong to: they go into a queue that the caller owns
//! * bytes of length 0 with descriptors are not the end of the stream
//! * POLLHUP without POLLIN means: receive, and find the end
//! * ENODEV and EINVAL both mean that the other side is gone
//! * memory is mapped from offset 0 and has the size it was made with; fstat(2) says 0
//! * a context is drained before it is closed, because the driver never closes what it announced and nobody took
//!
//! SEND, NEW and close wait for the device whatever O_NONBLOCK says. None of them belongs on a thread that must not
//! wait.

mod channel;
mod context;
mod cross_domain;
mod display;
mod line;
mod local;
mod memfd;
mod memory;
mod pipe;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use heraldry_identity::name::NameError;
use heraldry_wire::ContextName;
use heraldry_wire::virtwl::PAGE_SIZE;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

pub use channel::{Channel, ChannelError, Incoming, Message, Outgoing, SharedMemory, find_card};
pub use context::{Context, Received, RecvError, SendError};
pub use display::{DisplayError, DisplaySocket, TakeError, take_connection};
pub use memfd::{MemfdClient, MemfdError};
pub use memory::{HostMemory, MemoryError, memory_covers};
pub use pipe::{ReadPipe, WritePipe};

use self::line::Line;
use crate::sys::ioctl;
use crate::uapi::{NewRequest, new_kind};

/// Where the device usually is.
pub const DEVICE_PATH: &str = "/dev/wl0";

/// Why the device could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such file.
    #[error(
        "There is no virtio_wl device and no card with cross-domain at {0}; does this VM have such a device and its driver?"
    )]
    Missing(PathBuf),
    /// There is a file, but it is no device.
    #[error("{0} is not a character device")]
    NotADevice(PathBuf),
    /// The file is there and cannot be opened.
    #[error("The device {0} could not be opened")]
    Open(PathBuf, #[source] Errno),
}

/// Why the device made no vfd.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// The name is none.
    #[error("The name of the context is not valid")]
    Name(#[source] NameError),
    /// The size is 0 or too large for the device.
    #[error("The device has no memory of {0} bytes to give")]
    Size(u64),
    /// No such socket name, or nobody listens there.
    #[error("The host has no socket under that name, or nobody listens there")]
    Refused,
    /// All 2047 ids are in use.
    #[error("All 2047 ids of the device are in use")]
    NoIds,
    /// No descriptors left in this process or system.
    #[error("This process has no descriptors left")]
    NoDescriptors,
    /// The host has no memory.
    #[error("The host has no memory left")]
    NoMemory,
    /// The device or its driver does not have this kind of vfd.
    #[error("The device does not have this kind of vfd")]
    Unsupported,
    /// The queue to the device stayed full for a second.
    #[error("The device does not answer")]
    Busy,
    /// Something else.
    #[error("The device failed")]
    Other(#[source] Errno),
}

impl From<Errno> for NewError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NODEV => Self::Refused,
            Errno::NOSPC => Self::NoIds,
            Errno::MFILE | Errno::NFILE => Self::NoDescriptors,
            Errno::NOMEM => Self::NoMemory,
            Errno::NOTTY => Self::Unsupported,
            Errno::BUSY | Errno::AGAIN => Self::Busy,
            other => Self::Other(other),
        }
    }
}

/// The way to the host: an open virtio_wl device, a channel for everything, or the folder of its sockets on the same machine.
#[derive(Debug)]
pub struct Device {
    way: Way,
}

#[derive(Debug)]
enum Way {
    VirtioWl(OwnedFd),
    Local(PathBuf),
    /// One channel for everything, through a graphics card without a screen or a socket of this machine.
    Channel(Line),
}

impl Device {
    /// Opens the device at `path`: that of virtio_wl, or a graphics card that has cross-domain, which is looked for if `path` is
    /// the folder of such. Does not wait, whatever is there.
    ///
    /// # Errors
    ///
    /// There is nothing at `path`, it is no device, or it may not be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        if path == Path::new(channel::NODES) {
            let card = find_card().map_err(|_none| OpenError::Missing(path.to_owned()))?;
            let way = Way::Channel(Line::of_card(card));
            return Ok(Self { way });
        }
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => OpenError::Missing(path.to_owned()),
            other => OpenError::Open(path.to_owned(), other),
        })?;
        let failed = |errno| OpenError::Open(path.to_owned(), errno);
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd).map_err(failed)?.st_mode);
        if kind != FileType::CharacterDevice {
            return Err(OpenError::NotADevice(path.to_owned()));
        }
        if channel::is_card(fd.as_fd()) {
            let way = Way::Channel(Line::of_card(path.to_owned()));
            return Ok(Self { way });
        }
        // With O_NONBLOCK on the device itself, NEW would fail as soon as the queue is full.
        rustix::fs::fcntl_setfl(&fd, OFlags::RDWR).map_err(failed)?;
        Ok(Self {
            way: Way::VirtioWl(fd),
        })
    }

    /// No device: the host's sockets for the compositor lie in `folder` of this machine. Nothing is opened yet, because
    /// the host may come later.
    #[must_use]
    pub const fn local(folder: PathBuf) -> Self {
        Self {
            way: Way::Local(folder),
        }
    }

    /// No device: the host's socket for channels is at `path` of this machine. Nothing is opened yet.
    #[must_use]
    pub const fn channel(path: PathBuf) -> Self {
        Self {
            way: Way::Channel(Line::of_socket(path)),
        }
    }

    /// Whether the host is on this machine: then its memory tells its size.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        match &self.way {
            Way::VirtioWl(_) => false,
            Way::Local(_) => true,
            Way::Channel(line) => line.is_local(),
        }
    }

    /// The device's own descriptor; `None` where there is no device.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.way {
            Way::VirtioWl(fd) => Some(fd.as_fd()),
            Way::Local(_) | Way::Channel(_) => None,
        }
    }

    /// Connects to the host socket registered under `name`.
    ///
    /// # Errors
    ///
    /// See [`NewError`]; an unknown name and a refused connection look the same.
    pub fn context(&self, name: &str) -> Result<Context, NewError> {
        let name = ContextName::new(name).map_err(NewError::Name)?;
        match &self.way {
            Way::Local(folder) => return local::connect(folder, &name),
            Way::Channel(line) => return line.context(name),
            Way::VirtioWl(_) => {}
        }
        let request = NewRequest::new(new_kind::CTX_NAMED).with_name(name.as_str().as_bytes());
        Context::new(self.make(&request)?).map_err(NewError::Other)
    }

    /// Memory of the host, of `size` bytes rounded up to pages.
    ///
    /// # Errors
    ///
    /// See [`NewError`].
    pub fn alloc(&self, size: u64) -> Result<HostMemory, NewError> {
        let rounded = size
            .checked_next_multiple_of(PAGE_SIZE)
            .filter(|rounded| *rounded > 0);
        let rounded = rounded.ok_or(NewError::Size(size))?;
        let word = u32::try_from(rounded).map_err(|_too_large| NewError::Size(size))?;
        let fd = self.make(&NewRequest::new(new_kind::ALLOC).with_size(word))?;
        Ok(HostMemory::new(fd, rounded))
    }

    /// A pipe that this side reads. Send it once; then its other end is the peer's.
    ///
    /// # Errors
    ///
    /// See [`NewError`].
    pub fn pipe_read(&self) -> Result<ReadPipe, NewError> {
        ReadPipe::new(self.make(&NewRequest::new(new_kind::PIPE_READ))?).map_err(NewError::Other)
    }

    /// A pipe that this side writes. Send it once; then its other end is the peer's.
    ///
    /// # Errors
    ///
    /// See [`NewError`].
    pub fn pipe_write(&self) -> Result<WritePipe, NewError> {
        WritePipe::new(self.make(&NewRequest::new(new_kind::PIPE_WRITE))?).map_err(NewError::Other)
    }

    fn make(&self, request: &NewRequest) -> Result<OwnedFd, Errno> {
        match &self.way {
            Way::VirtioWl(fd) => ioctl::new_vfd(fd.as_fd(), request),
            // Memory and pipes are made by whoever needs them; there is no device for it.
            Way::Local(_) | Way::Channel(_) => Err(Errno::NOTTY),
        }
    }
}

/// Sets O_NONBLOCK, which all duplicates of a vfd share, once and for good.
fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_is_said_to_be_missing() {
        let error = Device::open("/nonexistent/wl0").unwrap_err();
        assert!(matches!(error, OpenError::Missing(_)), "{error:?}");
    }

    #[test]
    fn other_files_are_no_device() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(Device::open(file.path()), Err(OpenError::NotADevice(_))));
        assert!(matches!(Device::open("/"), Err(OpenError::Open(..))));
    }

    #[test]
    fn another_device_has_no_contexts() {
        let device = Device::open("/dev/null").unwrap();
        assert!(matches!(device.context("a"), Err(NewError::Unsupported)));
        assert!(matches!(
            device.context(""),
            Err(NewError::Name(NameError::Empty))
        ));
        assert!(matches!(device.alloc(0), Err(NewError::Size(0))));
        assert!(matches!(device.alloc(1 << 32), Err(NewError::Size(_))));
    }
}
