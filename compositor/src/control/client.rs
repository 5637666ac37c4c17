// SPDX-License-Identifier: MIT OR Apache-2.0
//! The caller's end of the control socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{Reply, Request};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no compositor listens on {path}; start `heraldry run` or name its socket with --control")]
    Connect {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("the compositor did not answer")]
    Io(#[from] std::io::Error),
    /// It has the request, and says nothing.
    #[error("the compositor did not answer within {} seconds; it is stuck, or has too much to do", PATIENCE.as_secs())]
    Silent,
    /// The connection ended instead.
    #[error("the compositor ended before it answered")]
    Ended,
    /// The answer made no sense.
    #[error("the compositor's answer is not understood; is it another version?")]
    Json(#[from] serde_json::Error),
}

/// Sends one request and waits for its answer, so long as it may take.
pub fn request(path: &Path, request: &Request) -> Result<Reply, ClientError> {
    let mut stream = UnixStream::connect(path).map_err(|source| ClientError::Connect {
        path: path.to_owned(),
        source,
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    match BufReader::new(stream).read_line(&mut answer) {
        Ok(0) => return Err(ClientError::Ended),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Err(ClientError::Silent),
        other => other?,
    };
    Ok(serde_json::from_str(&answer)?)
}
