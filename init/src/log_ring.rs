// SPDX-License-Identifier: MIT OR Apache-2.0
//! The log: what init and the compositor say goes to the console, and into a ring in memory that `heraldry ctl log`
//! shows.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// How much of the log is kept.
const RING: usize = 256 * 1024;
/// A longer line of a program is cut.
pub(super) const MAX_LINE: usize = 4096;
/// How long a console that takes nothing may hold up PID 1, per line.
const CONSOLE_PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// The newest lines, up to a number of bytes.
#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<Box<[u8]>>,
    bytes: usize,
}

impl Ring {
    fn push(&mut self, line: &[u8]) {
        self.bytes = self.bytes.saturating_add(line.len());
        self.lines.push_back(line.into());
        while self.bytes > RING {
            let Some(oldest) = self.lines.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(oldest.len());
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    ring: Ring,
    console: Option<File>,
}

/// The log; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct LogRing(Arc<Mutex<Inner>>);

impl LogRing {
    /// A log that is also written to the console at `path`, if that can be opened.
    pub(super) fn open(path: &str) -> Self {
        let console = File::options().write(true).custom_flags(libc_flags()).open(path);
        Self(Arc::new(Mutex::new(Inner {
            ring: Ring::default(),
            console: console.ok(),
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic while writing leaves the ring as good as it was.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One line of a program, without its end. Control characters are taken out: it may hold anything.
    pub(super) fn line(&self, line: &[u8]) {
        let mut clean = plain(line);
        clean.push(b'\n');
        self.write(&clean);
    }

    fn write(&self, line: &[u8]) {
        let mut inner = self.inner();
        inner.ring.push(line);
        if let Some(console) = &inner.console {
            to_console(console, line);
        }
    }

    /// Everything that is kept, oldest first.
    pub(super) fn text(&self) -> Vec<u8> {
        let inner = self.inner();
        inner.ring.lines.iter().flatten().copied().collect()
    }
}

fn libc_flags() -> i32 {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    i32::try_from(flags.bits()).unwrap_or(0)
}

/// Printable ASCII and UTF-8 as it is; anything that could talk to a terminal as a dot.
fn plain(line: &[u8]) -> Vec<u8> {
    let cut = line.get(..MAX_LINE).unwrap_or(line);
    String::from_utf8_lossy(cut)
        .chars()
        .map(|c| if c.is_control() && c != '\t' { '.' } else { c })
        .collect::<String>()
        .into_bytes()
}

/// Writes what the console takes within its time: PID 1 must not wait for a serial line that nobody reads.
fn to_console(mut console: &File, mut text: &[u8]) {
    while !text.is_empty() {
        match console.write(text) {
            Ok(written) => text = text.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut ready = [PollFd::new(&console, PollFlags::OUT)];
                if !matches!(poll(&mut ready, Some(&CONSOLE_PATIENCE)), Ok(1..)) {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

/// What a line of `tracing` is written with.
impl Write for LogRing {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        Self::write(self, text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogRing {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Time since the kernel started, as the kernel's own lines have it: at boot there may be no other clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Uptime;

impl FormatTime for Uptime {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        write!(w, "[{:5}.{:03}]", now.tv_sec, now.tv_nsec / 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_newest_lines_and_never_more_than_its_size() {
        let mut ring = Ring::default();
        for number in 0..3000 {
            ring.push(format!("{number:0>99}\n").as_bytes());
            assert!(ring.bytes <= RING);
        }
        assert_eq!(ring.lines.len(), RING / 100);
        assert!(ring.lines.back().unwrap().ends_with(b"2999\n"));
        let kept: usize = ring.lines.iter().map(|line| line.len()).sum();
        assert_eq!(ring.bytes, kept);
        ring.push(&[b'x'; RING + 1]);
        assert_eq!((ring.lines.len(), ring.bytes), (0, 0));
    }

    #[test]
    fn a_programs_line_talks_to_no_terminal_and_has_an_end() {
        let log = LogRing::default();
        log.line(b"\x1b[31mred\x07\tgr\xc3\xbcn \xff");
        log.line(&[b'y'; 2 * MAX_LINE]);
        let text = log.text();
        let lines: Vec<_> = text.split(|byte| *byte == b'\n').collect();
        assert_eq!(lines[0], ".[31mred.\tgrün \u{fffd}".as_bytes());
        assert_eq!(lines[1].len(), MAX_LINE);
    }
}
