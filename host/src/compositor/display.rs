// SPDX-License-Identifier: MIT OR Apache-2.0
//! The display socket: the compositor is told who waits, and says what becomes of them.
//!
//! A client's time runs only while a compositor knows of it. Without one (it boots, it has crashed, it changes its
//! renderer), and until its announcement has left for good, a client waits.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use heraldry_wire::descriptors::send;
use heraldry_wire::display::{CompositorRecord, HostRecord};
use heraldry_wire::{Record, RecordReader, WireError};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tracing::{debug, info, warn};

use super::{Compositor, DISPLAY, kind};
use crate::orders::{Word, process_of};
use crate::poller::key;

/// Records that wait for the compositor to read before further announcements do; these wait as connections. Withdrawals
/// come on top, at most one for each announcement.
const MAX_QUEUED: usize = 160;

/// The compositor's display socket.
pub(super) struct DisplayPeer {
    fd: OwnedFd,
    reader: RecordReader<CompositorRecord>,
    greeted: bool,
    out: SendQueue,
    /// Whether epoll tells when it takes more.
    waits: bool,
}

/// Records that the socket did not take yet.
struct SendQueue {
    queue: VecDeque<HostRecord>,
    /// What the socket has of the first.
    sent: usize,
}

impl SendQueue {
    /// Sends the first record, or the rest of it, and returns it once it has gone in full.
    fn send_next(&mut self, fd: &OwnedFd) -> Result<Option<HostRecord>, Errno> {
        let Some(record) = self.queue.front() else {
            return Ok(None);
        };
        let bytes = record.encode();
        let rest = bytes.get(self.sent..).unwrap_or_default();
        self.sent = self.sent.saturating_add(send(fd.as_fd(), rest, &[])?);
        if self.sent < bytes.len() {
            return Err(Errno::AGAIN);
        }
        self.sent = 0;
        Ok(self.queue.pop_front())
    }
}

/// Feeds `input` to a reader and collects the records that are complete.
pub(super) fn drain<R: Record>(
    reader: &mut RecordReader<R>,
    mut input: &[u8],
    records: &mut Vec<R>,
) -> Result<(), WireError> {
    while !input.is_empty() {
        records.extend(reader.feed(&mut input)?);
    }
    Ok(())
}

impl Compositor {
    /// The compositor opens its display socket. A new one replaces the old: a restarted compositor is the one that
    /// counts.
    pub(super) fn accept_display(&mut self) {
        if let Some(fd) = self.accept(DISPLAY) {
            self.take_display(fd);
        }
    }

    /// A connection is the display socket.
    pub(super) fn take_display(&mut self, fd: OwnedFd) {
        if self.display.is_some() {
            info!("a new display socket replaces the old one");
            self.lose_display();
        }
        if self
            .poller
            .add(&fd, key(kind::DISPLAY, 0), EventFlags::IN)
            .is_err()
        {
            return;
        }
        self.display = Some(DisplayPeer {
            fd,
            reader: RecordReader::new(),
            greeted: false,
            out: SendQueue {
                queue: VecDeque::from([HostRecord::Hello]),
                sent: 0,
            },
            waits: false,
        });
        self.fill_display();
    }

    /// There is no compositor any more; who waited for it waits for the next.
    fn lose_display(&mut self) {
        self.display = None;
        self.waiting.forget_announcements();
    }

    /// Sends the compositor what it does not know yet, as far as its socket takes it.
    pub(super) fn fill_display(&mut self) {
        let time = self.withdraw_after();
        let Some(display) = self.display.as_mut() else {
            return;
        };
        loop {
            while display.greeted
                && display.out.queue.len() < MAX_QUEUED
                && let Some(record) = self.waiting.announce_next()
            {
                display.out.queue.push_back(record);
            }
            match display.out.send_next(&display.fd) {
                Ok(None) | Err(Errno::AGAIN | Errno::INTR) => break,
                Ok(Some(HostRecord::Announce(told))) => {
                    self.waiting.told(told.number, time);
                }
                Ok(Some(_)) => {}
                // What it has sent before it closed is still read.
                Err(Errno::PIPE | Errno::CONNRESET) => {
                    display.out.queue.clear();
                    display.greeted = false;
                    self.waiting.forget_announcements();
                    break;
                }
                Err(errno) => {
                    warn!(%errno, "the display socket failed");
                    self.lose_display();
                    return;
                }
            }
        }
        let waits = !display.out.queue.is_empty();
        if waits != display.waits {
            display.waits = waits;
            let mut flags = EventFlags::IN;
            flags.set(EventFlags::OUT, waits);
            // It was added when it was accepted; it cannot be missing.
            let _added = self.poller.modify(&display.fd, key(kind::DISPLAY, 0), flags);
        }
    }

    /// Tells the compositor that an announced connection waits no more.
    pub(super) fn announce_withdrawal(&mut self, number: u64) {
        if let Some(display) = self.display.as_mut().filter(|display| display.greeted) {
            display.out.queue.push_back(HostRecord::Withdraw { number });
            self.fill_display();
        }
    }

    pub(super) fn read_display(&mut self) {
        let Some(display) = self.display.as_mut() else {
            return;
        };
        let mut bytes = [0; 4096];
        let n = match recv(&display.fd, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((0, _)) => {
                info!("the compositor closed its display socket");
                self.lose_display();
                return;
            }
            Ok((n, _)) => n,
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(errno) => {
                warn!(%errno, "the display socket failed");
                self.lose_display();
                return;
            }
        };
        let mut records = Vec::new();
        if let Err(error) = drain(
            &mut display.reader,
            bytes.get(..n).unwrap_or_default(),
            &mut records,
        ) {
            warn!(%error, "the compositor sent something that is no record; the display socket is closed");
            self.lose_display();
            return;
        }
        for record in records {
            self.display_record(&record);
        }
    }

    fn display_record(&mut self, record: &CompositorRecord) {
        match record {
            CompositorRecord::Hello => {
                let Some(display) = self.display.as_mut().filter(|display| !display.greeted) else {
                    return;
                };
                display.greeted = true;
                let waiting = self.waiting.count();
                info!(waiting, "compositor connected");
                // Clients that came before the compositor, or between two of them, have waited for this.
                self.waiting.forget_announcements();
                self.fill_display();
            }
            CompositorRecord::Take { number } => {
                self.waiting.extend(*number, self.withdraw_after());
            }
            CompositorRecord::Credit {
                number,
                bytes,
                descriptors,
            } => {
                let word = Word::Credit {
                    number: *number,
                    bytes: *bytes,
                    descriptors: *descriptors,
                };
                self.tell_vm(process_of(*number), &word);
            }
            CompositorRecord::Refuse { number, reason } => {
                debug!(number, ?reason, "the compositor refused a client");
                if self.waiting.has(*number) {
                    self.withdraw(*number, "the compositor refused it");
                }
            }
        }
    }
}
