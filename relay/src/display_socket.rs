// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread that keeps the display socket: announcements in, answers out. It decides nothing; the main thread does.
//!
//! Losing the host ends no client. The socket is opened again, with growing pauses, for as long as it takes.

use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use calloop::channel::Sender as MainSender;
use heraldry_virtio::guest::{Device, DisplayError, DisplaySocket};
use heraldry_wire::display::{CompositorRecord, HostRecord};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tracing::{debug, info, warn};

use crate::events::VmEvent;
use crate::watch::Waker;

/// First and longest wait before the host is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// The main thread's handle to the thread of the display socket; dropping it ends the thread.
#[derive(Debug)]
pub struct DisplayThread {
    answers: Arc<Sender<CompositorRecord>>,
    waker: Waker,
}

/// A relay's line to the host, which does not keep the thread alive.
#[derive(Debug, Clone)]
pub struct HostLine {
    answers: Weak<Sender<CompositorRecord>>,
    waker: Waker,
}

impl HostLine {
    /// Sends a record to the host.
    pub(crate) fn say(&self, record: CompositorRecord) {
        if let Some(answers) = self.answers.upgrade() {
            // The thread is only gone when we are.
            let _stopping = answers.send(record);
            self.waker.wake();
        }
    }
}

impl DisplayThread {
    /// Starts the thread.
    pub fn start(device: Arc<Device>, main: MainSender<VmEvent>) -> std::io::Result<Self> {
        let (answers, inbox) = channel();
        let waker = Waker::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let own = waker.clone();
        std::thread::Builder::new()
            .name("display".to_owned())
            .spawn(move || {
                serve(&device, &main, &inbox, &own);
            })?;
        Ok(Self {
            answers: Arc::new(answers),
            waker,
        })
    }

    /// A line for a relay.
    pub fn line(&self) -> HostLine {
        HostLine {
            answers: Arc::downgrade(&self.answers),
            waker: self.waker.clone(),
        }
    }

    /// Sends an answer to the host.
    pub fn answer(&self, record: CompositorRecord) {
        // The thread is only gone when we are.
        let _stopping = self.answers.send(record);
        self.waker.wake();
    }
}

impl Drop for DisplayThread {
    fn drop(&mut self) {
        let (nobody, _) = channel();
        self.answers = Arc::new(nobody);
        self.waker.wake();
    }
}

fn serve(device: &Device, main: &MainSender<VmEvent>, inbox: &Receiver<CompositorRecord>, waker: &Waker) {
    let mut pause = RETRY.0;
    let mut reported = false;
    loop {
        match DisplaySocket::connect(device) {
            Ok(socket) => {
                info!("display socket open");
                if main.send(VmEvent::HostIsThere).is_err() {
                    return;
                }
                (pause, reported) = (RETRY.0, false);
                match session(socket, main, inbox, waker) {
                    Ended::Stopping => return,
                    Ended::Lost(error) => {
                        warn!(
                            error = &error as &dyn std::error::Error,
                            "the host closed the display socket; clients live on"
                        );
                    }
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut reported, true) {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "the host has no display socket; waiting for it"
                    );
                }
            }
        }
        // Answers that wait were for the old host.
        loop {
            match inbox.try_recv() {
                Ok(_) => {}
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let wait = Timespec::try_from(pause).unwrap_or(wait);
        // Woken early means that there is something to answer or an end to come to; the loop does both.
        let _woken = poll(&mut [PollFd::new(waker, PollFlags::IN)], Some(&wait));
        waker.reset();
        pause = (pause * 2).min(RETRY.1);
    }
}

enum Ended {
    Stopping,
    Lost(DisplayError),
}

fn session(
    mut socket: DisplaySocket,
    main: &MainSender<VmEvent>,
    inbox: &Receiver<CompositorRecord>,
    waker: &Waker,
) -> Ended {
    loop {
        let fd = socket.as_fd();
        let mut fds = [PollFd::new(&fd, PollFlags::IN), PollFd::new(waker, PollFlags::IN)];
        // An interrupted wait is a wait of no time.
        let _interrupted = poll(&mut fds, None);
        waker.reset();
        loop {
            match inbox.try_recv() {
                Ok(record) => {
                    if let Err(error) = socket.send(&record) {
                        return Ended::Lost(error);
                    }
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Ended::Stopping,
            }
        }
        let mut records = Vec::new();
        let received = socket.receive(&mut records);
        for record in records {
            debug!(?record, "host");
            let event = match record {
                HostRecord::Announce(announcement) => VmEvent::Announced(announcement),
                HostRecord::Withdraw { number } => VmEvent::Withdrawn(number),
                HostRecord::Hello => continue,
            };
            if main.send(event).is_err() {
                return Ended::Stopping;
            }
        }
        if let Err(error) = received {
            return Ended::Lost(error);
        }
    }
}
