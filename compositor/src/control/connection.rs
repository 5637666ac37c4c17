// SPDX-License-Identifier: MIT OR Apache-2.0
//! One connection of the control socket: requests come in, and each reply goes out as the socket takes it.
//!
//! A list of windows is as long as the VMs make their titles, longer than a socket holds. The loop never waits for who reads it:
//! the rest of a reply waits, and until it is gone no further request of that connection is read.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use calloop::generic::Generic;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventSource, Interest, Mode, Poll, PostAction, Readiness, Token, TokenFactory};

/// A request line may be this long.
const MAX_LINE: usize = 64 * 1024;
/// What has come and what has to go, without the socket.
#[derive(Debug, Default)]
struct Buffers {
    requests: Vec<u8>,
    reply: Vec<u8>,
    sent: usize,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Request,
    /// Room for the rest of a reply; whether some of it has gone.
    Room(bool),
    End,
}

impl Buffers {
    /// Reads and writes what goes now; `answer` makes a reply of a request line.
    fn turn(&mut self, stream: &mut (impl Read + Write), answer: &mut dyn FnMut(&[u8]) -> Vec<u8>) -> Next {
        self.try_turn(stream, answer).unwrap_or(Next::End)
    }

    fn try_turn(
        &mut self,
        stream: &mut (impl Read + Write),
        answer: &mut dyn FnMut(&[u8]) -> Vec<u8>,
    ) -> io::Result<Next> {
        if let Some(waits) = self.answer_all(stream, answer)? {
            return Ok(waits);
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(Next::End),
            Ok(n) => self
                .requests
                .extend_from_slice(chunk.get(..n).unwrap_or_default()),
            Err(error) if not_now(&error) => return Ok(Next::Request),
            Err(error) => return Err(error),
        }
        Ok(match self.answer_all(stream, answer)? {
            Some(waits) => waits,
            None if self.requests.len() > MAX_LINE => Next::End,
            None => Next::Request,
        })
    }

    /// Answers what was read, as long as the replies go out. What it waits for if one does not.
    fn answer_all(
        &mut self,
        stream: &mut impl Write,
        answer: &mut dyn FnMut(&[u8]) -> Vec<u8>,
    ) -> io::Result<Option<Next>> {
        loop {
            let before = self.sent;
            while let Some(rest) = self.reply.get(self.sent..).filter(|rest| !rest.is_empty()) {
                match stream.write(rest) {
                    Ok(0) => return Ok(Some(Next::End)),
                    Ok(n) => self.sent = self.sent.saturating_add(n),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if not_now(&error) => return Ok(Some(Next::Room(self.sent > before))),
                    Err(error) => return Err(error),
                }
            }
            // A long one's memory is not kept for the next.
            self.reply = Vec::new();
            self.sent = 0;
            let Some(end) = self.requests.iter().position(|byte| *byte == b'\n') else {
                return Ok(None);
            };
            let line: Vec<u8> = self.requests.drain(..=end).collect();
            self.reply = answer(&line);
        }
    }
}

fn not_now(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// A connection as the event loop sees it. Its callback makes a reply of a request line.
pub(super) struct Connection {
    stream: Generic<UnixStream>,
    unread: Timer,
    /// So long a reply may wait without any of it being read.
    timeout: Duration,
    /// The timer runs.
    armed: bool,
    buffers: Buffers,
    /// It was told to end.
    over: bool,
}

impl Connection {
    /// Of a socket that does not block. It ends if nothing of a reply is read for as long as `timeout`.
    pub(super) fn new(stream: UnixStream, timeout: Duration) -> Self {
        Self {
            stream: Generic::new(stream, Interest::READ, Mode::Level),
            unread: Timer::from_duration(timeout),
            timeout,
            armed: false,
            buffers: Buffers::default(),
            over: false,
        }
    }
}

impl EventSource for Connection {
    type Event = Vec<u8>;
    type Metadata = ();
    type Ret = Vec<u8>;
    type Error = io::Error;

    fn process_events<F>(
        &mut self,
        readiness: Readiness,
        token: Token,
        mut callback: F,
    ) -> io::Result<PostAction>
    where
        F: FnMut(Vec<u8>, &mut ()) -> Vec<u8>,
    {
        let over = &mut self.over;
        self.unread
            .process_events(readiness, token, |_, ()| {
                *over = true;
                TimeoutAction::Drop
            })
            .map_err(io::Error::other)?;
        if self.over {
            return Ok(PostAction::Remove);
        }
        let (buffers, mut next) = (&mut self.buffers, None);
        self.stream.process_events(readiness, token, |_, stream| {
            let mut stream: &UnixStream = stream;
            next = Some(buffers.turn(&mut stream, &mut |line| callback(line.to_vec(), &mut ())));
            Ok(PostAction::Continue)
        })?;
        let moved = match next {
            None => return Ok(PostAction::Continue),
            Some(Next::End) => return Ok(PostAction::Remove),
            Some(Next::Request) => {
                self.stream.interest = Interest::READ;
                std::mem::take(&mut self.armed)
            }
            Some(Next::Room(moved)) => {
                self.stream.interest = Interest::WRITE;
                if moved || !self.armed {
                    self.unread.set_duration(self.timeout);
                }
                let begins = !std::mem::replace(&mut self.armed, true);
                moved || begins
            }
        };
        Ok(if moved {
            PostAction::Reregister
        } else {
            PostAction::Continue
        })
    }

    fn register(&mut self, poll: &mut Poll, factory: &mut TokenFactory) -> calloop::Result<()> {
        self.stream.register(poll, factory)?;
        if self.armed {
            self.unread.register(poll, factory)?;
        }
        Ok(())
    }

    fn reregister(&mut self, poll: &mut Poll, factory: &mut TokenFactory) -> calloop::Result<()> {
        self.stream.reregister(poll, factory)?;
        self.unread.unregister(poll)?;
        if self.armed {
            self.unread.register(poll, factory)?;
        }
        Ok(())
    }

    fn unregister(&mut self, poll: &mut Poll) -> calloop::Result<()> {
        self.unread.unregister(poll)?;
        self.stream.unregister(poll)
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufRead as _;

    use calloop::EventLoop;

    use super::*;

    /// Turns the loop as long as it has something to do.
    fn turn(events: &mut EventLoop<'_, usize>, answered: &mut usize) {
        for _ in 0..100 {
            events.dispatch(Some(Duration::ZERO), answered).unwrap();
        }
    }

    const HOUR: Duration = Duration::from_secs(3600);

    fn serve<'l>(events: &EventLoop<'l, usize>, reply: usize, timeout: Duration) -> UnixStream {
        let (here, there) = UnixStream::pair().unwrap();
        there.set_nonblocking(true).unwrap();
        let source = Connection::new(there, timeout);
        events
            .handle()
            .insert_source(source, move |line, (), answered: &mut usize| {
                *answered += 1;
                let mut text = vec![b'.'; reply];
                text.extend_from_slice(&line);
                text
            })
            .unwrap();
        here
    }

    #[test]
    fn a_reply_longer_than_the_socket_holds_comes_as_it_is_read_and_nobody_waits() {
        let mut events = EventLoop::try_new().unwrap();
        let (mut answered, size) = (0, 10_000_000);
        let mut slow = serve(&events, size, HOUR);
        let mut other = serve(&events, 1, HOUR);
        slow.write_all(b"one\ntwo\n").unwrap();
        turn(&mut events, &mut answered);
        assert_eq!(answered, 1, "the second waits until the first reply is read");
        other.write_all(b"x\n").unwrap();
        turn(&mut events, &mut answered);
        assert_eq!(answered, 2);
        let mut line = String::new();
        io::BufReader::new(other).read_line(&mut line).unwrap();
        assert_eq!(line, ".x\n");
        slow.set_nonblocking(true).unwrap();
        let mut all = Vec::new();
        while all.len() < 2 * (size + 4) {
            turn(&mut events, &mut answered);
            let mut chunk = vec![0; 1 << 20];
            let n = slow.read(&mut chunk).unwrap();
            all.extend_from_slice(&chunk[..n]);
        }
        assert!(all.ends_with(b".two\n"));
        assert_eq!(all.iter().filter(|byte| **byte == b'\n').count(), 2);
    }

    #[test]
    fn who_hangs_up_or_never_ends_a_line_is_forgotten() {
        let mut events = EventLoop::try_new().unwrap();
        let mut answered = 0;
        let mut leaves = serve(&events, 10_000_000, HOUR);
        leaves.write_all(b"one\n").unwrap();
        turn(&mut events, &mut answered);
        drop(leaves);
        let mut endless = serve(&events, 1, HOUR);
        endless.set_nonblocking(true).unwrap();
        let mut gone = false;
        for _ in 0..100 {
            gone |= endless.write(&[b'x'; 4096]).is_err_and(|error| !not_now(&error));
            turn(&mut events, &mut answered);
        }
        assert!(gone);
        assert_eq!(answered, 1);
    }

    #[test]
    fn a_reply_that_nobody_reads_is_dropped_with_its_connection() {
        let mut events = EventLoop::try_new().unwrap();
        let mut answered = 0;
        let mut silent = serve(&events, 10_000_000, Duration::from_millis(20));
        silent.write_all(b"one\n").unwrap();
        let mut idle = serve(&events, 1, Duration::from_millis(20));
        while silent.write(b"two\n").is_ok() {
            events.dispatch(Some(HOUR), &mut answered).unwrap();
        }
        assert_eq!(answered, 1);
        idle.write_all(b"three\n").unwrap();
        turn(&mut events, &mut answered);
        assert_eq!(answered, 2, "who has nothing to read is not late");
    }
}
