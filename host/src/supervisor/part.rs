// SPDX-License-Identifier: MIT OR Apache-2.0
//! A process that the supervisor has started: how it starts, what it says, whether it turns.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use heraldry_identity::VmName;
use rustix::event::epoll::EventFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::link::{self, Link, LinkError};
use crate::orders::{CompositorCounters, FromCompositor, FromVm, ToCompositor, ToVm, VmCounters};
use crate::poller::{Poller, key};

/// Questions that a process may leave open, one a second.
const MISSED: u32 = 5;
/// Messages of a process that are read at once, so that the others are heard in between.
const AT_ONCE: usize = 64;
/// How often a process may have lost the compositor's from one question to the next.
const LOST: u32 = 8;

/// Which process it is, and what it said last that it counts.
pub(super) enum Role {
    Compositor(CompositorCounters),
    Vm(VmName, VmCounters),
}

/// The link to it.
enum PartLink {
    Compositor(Link<ToCompositor, FromCompositor>),
    Vm(Link<ToVm, FromVm>),
    /// It is closed: only the end of the process is still of interest.
    Closed,
}

/// A process.
pub(super) struct Running {
    pub(super) process: u64,
    pub(super) role: Role,
    link: PartLink,
    child: Child,
    /// Readable when it has ended.
    end: OwnedFd,
    pub(super) since: Instant,
    /// The rules that are in force with it.
    pub(super) settled: u64,
    /// The last question, and the last answer.
    asked: u64,
    pub(super) answered: u64,
    missed: u32,
    /// How often it has lost the compositor's process since.
    lost: u32,
    /// Nobody waits for it any more.
    over: bool,
}

impl Running {
    /// Starts the compositor's process, or that of a VM.
    pub(super) fn start(
        poller: &Poller,
        process: u64,
        vm: Option<&VmName>,
        filter: &str,
    ) -> io::Result<Self> {
        let (ours, theirs) = link::pair()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("heraldry-host").args(["--log", filter]);
        match vm {
            None => command.arg("part-compositor"),
            Some(vm) => command.args(["part-vm", vm.as_str()]),
        };
        // It ends with its link, whatever signals a terminal or a service manager sends to all.
        let child = command
            .env_clear()
            .stdin(Stdio::from(theirs))
            .process_group(0)
            .spawn()?;
        let end = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        let (role, link) = match vm {
            None => (
                Role::Compositor(CompositorCounters::default()),
                PartLink::Compositor(Link::new(ours)),
            ),
            Some(vm) => (
                Role::Vm(vm.clone(), VmCounters::default()),
                PartLink::Vm(Link::new(ours)),
            ),
        };
        let running = Self {
            process,
            role,
            link,
            child,
            end,
            since: Instant::now(),
            settled: 0,
            asked: 0,
            answered: 0,
            missed: 0,
            lost: 0,
            over: false,
        };
        poller.add(&running.end, key(super::kind::END, process), EventFlags::IN)?;
        running.watch(poller, true)?;
        Ok(running)
    }

    fn watch(&self, poller: &Poller, new: bool) -> Result<(), rustix::io::Errno> {
        let key = key(super::kind::LINK, self.process);
        let (fd, interest) = match &self.link {
            PartLink::Compositor(link) => (link.as_fd(), link.interest()),
            PartLink::Vm(link) => (link.as_fd(), link.interest()),
            PartLink::Closed => return Ok(()),
        };
        if new {
            poller.add(fd, key, interest)
        } else {
            poller.modify(fd, key, interest)
        }
    }

    /// Tells a VM's process something.
    pub(super) fn tell_vm(
        &mut self,
        poller: &Poller,
        order: &ToVm,
        fds: Vec<OwnedFd>,
    ) -> Result<(), LinkError> {
        let PartLink::Vm(link) = &mut self.link else {
            return Ok(());
        };
        link.send(order, fds)?;
        self.watch(poller, false).map_err(LinkError::Socket)
    }

    /// Tells the compositor's process something.
    pub(super) fn tell_compositor(
        &mut self,
        poller: &Poller,
        order: &ToCompositor,
        fds: Vec<OwnedFd>,
    ) -> Result<(), LinkError> {
        let PartLink::Compositor(link) = &mut self.link else {
            return Ok(());
        };
        link.send(order, fds)?;
        self.watch(poller, false).map_err(LinkError::Socket)
    }

    /// Asks whether it turns, and what it counts.
    pub(super) fn ask(&mut self, poller: &Poller, round: u64) -> Result<(), LinkError> {
        self.asked = round;
        match self.role {
            Role::Compositor(..) => self.tell_compositor(poller, &ToCompositor::Ask { round }, Vec::new()),
            Role::Vm(..) => self.tell_vm(poller, &ToVm::Ask { round }, Vec::new()),
        }
    }

    /// The VM that it is for, if it is not the compositor's.
    pub(super) fn vm(&self) -> Option<&VmName> {
        match &self.role {
            Role::Compositor(..) => None,
            Role::Vm(vm, ..) => Some(vm),
        }
    }

    /// Another beat: whether it has missed too many.
    pub(super) fn beat(&mut self) -> bool {
        self.lost = 0;
        self.missed = if self.has_answered() { 0 } else { self.missed + 1 };
        self.missed >= MISSED
    }

    /// Whether the last question has been answered.
    pub(super) fn has_answered(&self) -> bool {
        self.answered >= self.asked
    }

    /// Whether it is worth waiting for.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.over && self.missed == 0
    }

    /// Whether it counts as the process of its VM, or of the compositor.
    pub(super) fn serves(&self) -> bool {
        !self.over
    }

    /// Takes in some of what it says; returns whether it has lost the compositor's process.
    pub(super) fn hear(&mut self, poller: &Poller) -> Result<bool, LinkError> {
        let mut alone = false;
        for _ in 0..AT_ONCE {
            let heard = match (&mut self.link, &mut self.role) {
                (PartLink::Compositor(link), Role::Compositor(counters)) => {
                    link.flush()?;
                    link.receive()?.map(|(said, _)| match said {
                        FromCompositor::Settled { generation } => (Some(generation), None),
                        FromCompositor::Report { round, counters: new } => {
                            *counters = new;
                            (None, Some(round))
                        }
                    })
                }
                (PartLink::Vm(link), Role::Vm(_, counters)) => {
                    link.flush()?;
                    link.receive()?.map(|(said, _)| match said {
                        FromVm::Settled { generation } => (Some(generation), None),
                        FromVm::Alone => {
                            alone = true;
                            (None, None)
                        }
                        FromVm::Report { round, counters: new } => {
                            *counters = new;
                            (None, Some(round))
                        }
                    })
                }
                _ => None,
            };
            let Some((settled, answered)) = heard else {
                break;
            };
            self.settled = settled.map_or(self.settled, |settled| self.settled.max(settled));
            self.answered = answered.map_or(self.answered, |answered| self.answered.max(answered));
        }
        // Each time the compositor's process is told of it: it does not end for what another one says.
        self.lost = self.lost.saturating_add(u32::from(alone));
        if self.lost > LOST {
            return Err(LinkError::Malformed);
        }
        self.watch(poller, false).map_err(LinkError::Socket)?;
        Ok(alone)
    }

    /// Kills it. To wait for its end may take for ever.
    pub(super) fn kill(&mut self) {
        self.dismiss();
        // It may have ended by itself.
        let _ended = self.child.kill();
    }

    /// Ends the link, and thereby the process if it can.
    pub(super) fn dismiss(&mut self) {
        self.over = true;
        self.link = PartLink::Closed;
    }

    /// It has closed its link: it ends, or is missed like one that does not turn.
    pub(super) fn hung_up(&mut self) {
        self.link = PartLink::Closed;
    }

    /// What becomes readable when it has ended.
    pub(super) fn end_event(&self) -> Option<OwnedFd> {
        self.end.try_clone().ok()
    }

    /// How it has ended, if it has.
    pub(super) fn status(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}
