// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread that keeps the display socket: announcements in, answers out. It decides nothing; the main thread does.
//!
//! Losing the host ends no client. The socket is opened again, with growing patience, for as long as it takes.

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
use crate::watch::Bell;

/// First and longest wait before the host is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// The main thread's handle to the doorman; dropping it ends the thread.
#[derive(Debug)]
pub struct Doorman {
    answers: Arc<Sender<CompositorRecord>>,
    bell: Bell,
}

/// A gate's line to the host, which does not keep the doorman at its post.
#[derive(Debug, Clone)]
pub struct Line {
    answers: Weak<Sender<CompositorRecord>>,
    bell: Bell,
}

impl Line {
    /// Sends a record to the host.
    pub(crate) fn say(&self, record: CompositorRecord) {
        if let Some(answers) = self.answers.upgrade() {
            // The thread is only gone when we are.
            let _stopping = answers.send(record);
            self.bell.ring();
        }
    }
}

impl Doorman {
    /// Starts the thread.
    pub fn start(device: Arc<Device>, main: MainSender<VmEvent>) -> std::io::Result<Self> {
        let (answers, inbox) = channel();
        let bell = Bell::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let own = bell.clone();
        std::thread::Builder::new()
            .name("display".to_owned())
            .spawn(move || {
                serve(&device, &main, &inbox, &own);
            })?;
        Ok(Self {
            answers: Arc::new(answers),
            bell,
        })
    }

    /// A line for a gate.
    pub fn line(&self) -> Line {
        Line {
            answers: Arc::downgrade(&self.answers),
            bell: self.bell.clone(),
        }
    }

    /// Sends an answer to the host.
    pub fn answer(&self, record: CompositorRecord) {
        // The thread is only gone when we are.
        let _stopping = self.answers.send(record);
        self.bell.ring();
    }
}

impl Drop for Doorman {
    fn drop(&mut self) {
        let (nobody, _) = channel();
        self.answers = Arc::new(nobody);
        self.bell.ring();
    }
}

fn serve(device: &Device, main: &MainSender<VmEvent>, inbox: &Receiver<CompositorRecord>, bell: &Bell) {
    let mut patience = RETRY.0;
    let mut reported = false;
    loop {
        match DisplaySocket::connect(device) {
            Ok(socket) => {
                info!("display socket open");
                if main.send(VmEvent::HostIsThere).is_err() {
                    return;
                }
                (patience, reported) = (RETRY.0, false);
                match session(socket, main, inbox, bell) {
                    Ended::Stopping => return,
                    Ended::Lost(error) => {
                        warn!(%error, "the host closed the display socket; clients live on")
                    }
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut reported, true) {
                    warn!(%error, "the host has no display socket; waiting for it");
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
        let wait = Timespec::try_from(patience).unwrap_or(wait);
        // Woken early means that there is something to answer or an end to come to; the loop sees to both.
        let _woken = poll(&mut [PollFd::new(bell, PollFlags::IN)], Some(&wait));
        bell.silence();
        patience = (patience * 2).min(RETRY.1);
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
    bell: &Bell,
) -> Ended {
    loop {
        let fd = socket.as_fd();
        let mut fds = [PollFd::new(&fd, PollFlags::IN), PollFd::new(bell, PollFlags::IN)];
        // An interrupted wait is a wait of no time.
        let _interrupted = poll(&mut fds, None);
        bell.silence();
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
