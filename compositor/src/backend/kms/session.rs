// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who opens devices for us: nobody (we are allowed to), or a seat daemon through libseat.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use smithay::backend::session::libseat::{LibSeatSession, LibSeatSessionNotifier};
use smithay::backend::session::{AsErrno, Session};
use tracing::warn;

use crate::backend::sys;

/// How devices are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum SessionChoice {
    /// Through a seat daemon if there is one, else directly.
    #[default]
    Auto,
    /// Directly: as root, or where we may open the device nodes. Input devices are opened for reading alone, and nobody else
    /// hears of their input meanwhile: no virtual terminal either.
    Direct,
    /// Through seatd or logind.
    Libseat,
}

/// Why a session could not be had, or a device not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// libseat said no.
    #[error(
        "no seat: {0}. Is seatd or logind running, and may you use it? As root, --session direct needs neither"
    )]
    Seat(String),
    /// A device.
    #[error("{0}")]
    Open(#[from] Errno),
    /// There are no virtual terminals to switch to.
    #[error("this session has no virtual terminals")]
    NoTerminals,
}

impl AsErrno for SessionError {
    fn as_errno(&self) -> Option<i32> {
        match self {
            Self::Open(errno) => Some(errno.raw_os_error()),
            Self::Seat(_) | Self::NoTerminals => None,
        }
    }
}

/// A session.
#[derive(Debug, Clone)]
pub(super) enum Seat {
    Direct,
    Libseat(LibSeatSession),
}

impl Seat {
    /// Opens one; with a seat daemon also the source of its events.
    pub(super) fn open(
        choice: SessionChoice,
    ) -> Result<(Self, Option<LibSeatSessionNotifier>), SessionError> {
        let seat = || LibSeatSession::new().map_err(|error| SessionError::Seat(error.to_string()));
        let daemon = || {
            ["/run/seatd.sock", "/run/systemd/seats"]
                .iter()
                .any(|path| Path::new(path).exists())
        };
        let wanted = match choice {
            SessionChoice::Direct => false,
            SessionChoice::Libseat => true,
            SessionChoice::Auto => daemon(),
        };
        if !wanted {
            return Ok((Self::Direct, None));
        }
        let (session, notifier) = seat()?;
        Ok((Self::Libseat(session), Some(notifier)))
    }
}

fn is_input(path: &Path) -> bool {
    path.starts_with("/dev/input")
}

/// A device whose input others hear, or have for themselves, is not used.
fn refused(path: &Path, errno: Errno) {
    warn!(device = %path.display(), %errno, "an input device is left alone: others would hear its input, or have it");
}

/// The input library asks for leave to write, for the lights of keyboards, which we do not switch. A process that may write could
/// type for the user, to everybody who reads the device, the kernel included.
fn as_needed(path: &Path, flags: OFlags) -> OFlags {
    if is_input(path) {
        flags.difference(OFlags::RWMODE)
    } else {
        flags
    }
}

impl Session for Seat {
    type Error = SessionError;

    fn open(&mut self, path: &Path, flags: OFlags) -> Result<OwnedFd, SessionError> {
        match self {
            Self::Direct => {
                let flags = as_needed(path, flags) | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
                let device = rustix::fs::open(path, flags, Mode::empty())?;
                if is_input(path) {
                    // Else what is typed into a window is typed at the login prompt of a virtual terminal too.
                    sys::grab(device.as_fd()).inspect_err(|errno| refused(path, *errno))?;
                }
                Ok(device)
            }
            Self::Libseat(session) => session.open(path, flags).map_err(|error| {
                SessionError::Open(error.as_errno().map_or(Errno::ACCESS, Errno::from_raw_os_error))
            }),
        }
    }

    fn close(&mut self, fd: OwnedFd) -> Result<(), SessionError> {
        match self {
            Self::Direct => Ok(()),
            Self::Libseat(session) => session.close(fd).map_err(|error| {
                SessionError::Open(error.as_errno().map_or(Errno::BADF, Errno::from_raw_os_error))
            }),
        }
    }

    fn change_vt(&mut self, vt: i32) -> Result<(), SessionError> {
        match self {
            Self::Direct => Err(SessionError::NoTerminals),
            Self::Libseat(session) => session
                .change_vt(vt)
                .map_err(|error| SessionError::Seat(error.to_string())),
        }
    }

    fn is_active(&self) -> bool {
        match self {
            Self::Direct => true,
            Self::Libseat(session) => session.is_active(),
        }
    }

    fn seat(&self) -> String {
        match self {
            Self::Direct => "seat0".to_owned(),
            Self::Libseat(session) => session.seat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_devices_are_not_opened_for_writing() {
        let asked = OFlags::RDWR | OFlags::NONBLOCK;
        assert_eq!(as_needed(Path::new("/dev/input/event0"), asked), OFlags::NONBLOCK);
        assert_eq!(as_needed(Path::new("/dev/dri/card0"), asked), asked);
    }
}
