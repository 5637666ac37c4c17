// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asking PID 1 for something: the log, a restart, or that the machine is switched off. One line each way.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Where init listens. Root and the compositor's user may connect.
pub(super) const SOCKET: &str = "/run/heraldry-init/socket";
/// Init answers at once; who asks may be the compositor's main thread.
const PATIENCE: Duration = Duration::from_millis(500);

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// The log of init and compositor.
    Log,
    /// End everything and start the machine again.
    Reboot,
    /// End everything and switch the machine off.
    PowerOff,
}

impl Request {
    /// The word for it on the socket.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Reboot => "reboot",
            Self::PowerOff => "power-off",
        }
    }

    /// What a word stands for.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Log, Self::Reboot, Self::PowerOff]
            .into_iter()
            .find(|request| request.word() == word)
    }
}

/// Why init did not do it.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Another init, or none.
    #[error(
        "`heraldry-init` does not run here ({SOCKET} is not there). Use what does: for the log `journalctl -u heraldry`, \
         for the machine `systemctl reboot` or `systemctl poweroff`, or your init's equivalents"
    )]
    OtherInit,
    /// The socket failed.
    #[error("cannot ask init at {SOCKET}")]
    Socket(#[source] io::Error),
    /// Init said no.
    #[error("init: {0}")]
    Refused(String),
}

/// Asks. Returns the log for [`Request::Log`], else nothing.
///
/// Waits for half a second at most, so that it may be called from an event loop.
pub fn request(request: Request) -> Result<Vec<u8>, RequestError> {
    let mut stream = UnixStream::connect(SOCKET).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => RequestError::OtherInit,
        _ => RequestError::Socket(error),
    })?;
    let mut answer = Vec::new();
    stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .and_then(|()| stream.write_all(format!("{}\n", request.word()).as_bytes()))
        .and_then(|()| stream.read_to_end(&mut answer))
        .map_err(RequestError::Socket)?;
    match answer.strip_prefix(b"ok\n") {
        Some(rest) => Ok(rest.to_vec()),
        None => {
            let text = String::from_utf8_lossy(&answer);
            Err(RequestError::Refused(
                text.trim_end().escape_default().to_string(),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_its_word() {
        for request in [Request::Log, Request::Reboot, Request::PowerOff] {
            assert_eq!(Request::of_word(request.word()), Some(request));
        }
        assert_eq!(Request::of_word("halt"), None);
    }
}
