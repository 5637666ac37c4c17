// SPDX-License-Identifier: MIT OR Apache-2.0
//! The socket that `heraldry ctl log`, `reboot` and `power-off` talk to.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use calloop::channel::Sender;

use super::client::{Request, SOCKET};
use super::log_ring::LogRing;
use super::services::USER;
use super::shutdown::Ending;

/// A peer that takes longer loses its connection.
const PATIENCE: Duration = Duration::from_secs(2);
/// Connections at a time.
const PEERS: usize = 8;
const MAX_REQUEST: u64 = 64;

/// Listens. The folder lets root and the compositor's group in, and nobody else.
pub(super) fn listen() -> io::Result<UnixListener> {
    let folder = Path::new(SOCKET).parent().unwrap_or(Path::new("/run"));
    std::fs::create_dir_all(folder)?;
    chown(folder, Some(0), Some(USER))?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o750))?;
    let listener = UnixListener::bind(SOCKET)?;
    chown(SOCKET, Some(0), Some(USER))?;
    std::fs::set_permissions(SOCKET, std::fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves peers, each on a short thread of its own: the loop of PID 1 waits for nobody.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) log: LogRing,
    pub(super) endings: Sender<Ending>,
    /// Counts the threads.
    pub(super) peers: Arc<()>,
}

impl Server {
    /// Takes a connection.
    pub(super) fn serve(&self, stream: UnixStream) {
        let peer = rustix::net::sockopt::socket_peercred(&stream);
        let known = peer.is_ok_and(|peer| [0, USER].contains(&peer.uid.as_raw()));
        if !known || Arc::strong_count(&self.peers) > PEERS {
            return;
        }
        let (log, endings, guard) = (self.log.clone(), self.endings.clone(), Arc::clone(&self.peers));
        let thread = std::thread::Builder::new().name("ctl".to_owned()).spawn(move || {
            // A peer that goes away early is its own affair.
            let _gone = answer(&stream, &log, &endings);
            drop(guard);
        });
        if let Err(error) = thread {
            tracing::warn!(%error, "a request to init cannot be served");
        }
    }
}

fn answer(stream: &UnixStream, log: &LogRing, endings: &Sender<Ending>) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_REQUEST)).read_line(&mut line)?;
    let (mut out, ending) = (stream, |ending| endings.send(ending).map_err(io::Error::other));
    match Request::of_word(line.trim_end()) {
        Some(Request::Log) => {
            out.write_all(b"ok\n")?;
            out.write_all(&log.text())
        }
        // The answer goes first: the program that asked is about to be ended.
        Some(Request::Reboot) => out.write_all(b"ok\n").and_then(|()| ending(Ending::Reboot)),
        Some(Request::PowerOff) => out.write_all(b"ok\n").and_then(|()| ending(Ending::PowerOff)),
        None => out.write_all(b"known requests are log, reboot, power-off\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(request: &str) -> (String, Option<Ending>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let log = LogRing::default();
        log.line(b"a line");
        let (sender, receiver) = calloop::channel::channel();
        (&theirs).write_all(request.as_bytes()).unwrap();
        answer(&ours, &log, &sender).unwrap();
        drop(ours);
        let mut text = String::new();
        (&theirs).read_to_string(&mut text).unwrap();
        (text, receiver.try_recv().ok())
    }

    #[test]
    fn each_request_has_its_answer() {
        assert_eq!(ask("log\n"), ("ok\na line\n".to_owned(), None));
        assert_eq!(ask("reboot\n"), ("ok\n".to_owned(), Some(Ending::Reboot)));
        assert_eq!(ask("power-off\n"), ("ok\n".to_owned(), Some(Ending::PowerOff)));
        let (text, ending) = ask(&format!("{}\n", "x".repeat(63)));
        assert!(text.starts_with("known requests"));
        assert_eq!(ending, None);
    }
}
