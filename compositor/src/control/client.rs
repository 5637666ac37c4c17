// SPDX-License-Identifier: MIT OR Apache-2.0
//! The caller's end of the control socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{Reply, Request};

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
    /// The answer made no sense.
    #[error("the compositor's answer is not understood; is it another version?")]
    Json(#[from] serde_json::Error),
}

/// Sends one request and waits for its answer, at most 10 seconds.
pub fn request(path: &Path, request: &Request) -> Result<Reply, ClientError> {
    let mut stream = UnixStream::connect(path).map_err(|source| ClientError::Connect {
        path: path.to_owned(),
        source,
    })?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}
