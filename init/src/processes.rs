// SPDX-License-Identifier: MIT OR Apache-2.0
//! Services that run: their output, their ends, and their next starts.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::{Path, PathBuf};

use calloop::channel::{Event, Sender};
use calloop::generic::Generic;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{Interest, LoopHandle, Mode, PostAction};
use rustix::process::{Pid, Signal, WaitStatus, kill_process};
use tracing::{info, warn};

use super::cmdline::{BootOptions, DeviceChoice};
use super::log_ring::{LogRing, MAX_LINE};
use super::services::{self, Backoff, COMPOSITOR, Running, Service, USER};
use super::{Init, InitError, devices, udev, watch_error};

/// So often a program may be stopped and goes on.
const STOPS: u32 = 8;

/// A service and what is known of it.
struct Process {
    service: Service,
    running: Option<Running>,
    backoff: Backoff,
    /// How often it was stopped since it started.
    stops: u32,
}

/// All services.
pub(super) struct Processes {
    processes: Vec<Process>,
    /// What the compositor runs under, if anything.
    under: Option<Vec<std::ffi::OsString>>,
    exe: PathBuf,
    log: LogRing,
    handle: LoopHandle<'static, Init>,
    /// Indices of processes that are to be started.
    due: Sender<usize>,
    stopped: bool,
}

impl Processes {
    pub(super) fn new(handle: &LoopHandle<'static, Init>, log: LogRing) -> Result<Self, InitError> {
        let (due, starts) = calloop::channel::channel();
        handle
            .insert_source(starts, |event, (), init: &mut Init| {
                if let Event::Msg(index) = event {
                    init.processes.start(index);
                }
            })
            .map_err(watch_error("services"))?;
        Ok(Self {
            processes: Vec::new(),
            under: None,
            exe: std::env::current_exe()?,
            log,
            handle: handle.clone(),
            due,
            stopped: false,
        })
    }

    /// Reads the list of further services, which most machines do not have.
    pub(super) fn read_services(&mut self) {
        let Ok(text) = std::fs::read_to_string(services::LIST) else {
            return;
        };
        let (services, errors) = services::parse(&text);
        for error in errors {
            warn!("{error}");
        }
        for service in services {
            if service.name == COMPOSITOR {
                self.under = Some(service.command);
            } else {
                self.add(service);
            }
        }
        info!(
            "{} further services: this image is for demonstration or tests",
            self.processes.len()
        );
    }

    fn add(&mut self, service: Service) {
        self.processes.push(Process {
            service,
            running: None,
            backoff: Backoff::default(),
            stops: 0,
        });
    }

    pub(super) fn start_all(&mut self) {
        for index in 0..self.processes.len() {
            self.start(index);
        }
    }

    pub(super) fn has_compositor(&self) -> bool {
        self.processes
            .iter()
            .any(|process| process.service.name == COMPOSITOR)
    }

    pub(super) fn compositor_runs(&self) -> bool {
        let is = |process: &Process| process.service.name == COMPOSITOR && process.running.is_some();
        self.processes.iter().any(is)
    }

    /// Starts the compositor, from now on for good.
    pub(super) fn start_compositor(&mut self, options: &BootOptions) {
        let device = self.device(&options.device);
        let command = services::compositor(&self.exe, options, device.as_deref(), self.under.as_deref());
        self.add(Service {
            name: COMPOSITOR.to_owned(),
            user: 0,
            command,
        });
        self.start(self.processes.len().saturating_sub(1));
    }

    /// The virtio_wl device that the compositor gets.
    fn device(&self, choice: &DeviceChoice) -> Option<PathBuf> {
        let path = match choice {
            DeviceChoice::None => return None,
            DeviceChoice::Auto => Path::new(devices::WL),
            DeviceChoice::Path(path) => path,
        };
        // An emulated device is no file that could be looked for.
        if self.under.is_none() && !path.exists() {
            warn!(
                "no virtio_wl device {}: no VM can show windows. Give this VM the device and its driver to the image, or \
                 say heraldry.device=none",
                path.display()
            );
            return None;
        }
        // In a folder of devices each is given as it comes.
        if self.under.is_none() && !path.is_dir() {
            udev::give(path, USER, udev::Use::Write);
        }
        Some(path.to_owned())
    }

    fn start(&mut self, index: usize) {
        let Some(process) = self.processes.get_mut(index) else {
            return;
        };
        if self.stopped || process.running.is_some() {
            return;
        }
        let started =
            runtime_folder(&process.service).and_then(|()| services::start(&self.exe, &process.service));
        match started {
            Ok((running, output)) => {
                info!(
                    "{} started, process {}",
                    process.service.name,
                    running.pid.as_raw_nonzero()
                );
                process.running = Some(running);
                process.stops = 0;
                if let Err(error) = listen(&self.handle, output, self.log.clone()) {
                    warn!("the output of {} is lost: {error}", process.service.name);
                }
            }
            Err(error) => {
                warn!("{} cannot be started: {error}", process.service.name);
                self.again(index, std::time::Duration::ZERO);
            }
        }
    }

    /// A program that stands still is of no use to anybody: it goes on, or if it is stopped again and again, another starts.
    pub(super) fn paused(&mut self, pid: Pid) {
        let is = |process: &&mut Process| process.running.as_ref().is_some_and(|running| running.pid == pid);
        let Some(process) = self.processes.iter_mut().find(is) else {
            return;
        };
        process.stops = process.stops.saturating_add(1);
        let (what, signal) = if process.stops > STOPS {
            ("is ended", Signal::KILL)
        } else {
            ("goes on", Signal::CONT)
        };
        warn!("{} was stopped by a signal; it {what}", process.service.name);
        // One that is gone is seen at the next turn.
        let _gone = kill_process(pid, signal);
    }

    /// Takes note of a process that has ended; most are orphans that nobody else waits for.
    pub(super) fn ended(&mut self, pid: Pid, status: WaitStatus) {
        let is = |process: &Process| process.running.as_ref().is_some_and(|running| running.pid == pid);
        let Some(index) = self.processes.iter().position(is) else {
            return;
        };
        let Some(process) = self.processes.get_mut(index) else {
            return;
        };
        let lived = process.running.take().map(|running| running.since.elapsed());
        let how = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => format!("ended with code {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => "ended".to_owned(),
        };
        if self.stopped {
            info!("{} {how}", process.service.name);
        } else {
            warn!("{} {how}", process.service.name);
            self.again(index, lived.unwrap_or_default());
        }
    }

    fn again(&mut self, index: usize, lived: std::time::Duration) {
        let Some(process) = self.processes.get_mut(index) else {
            return;
        };
        let wait = process.backoff.ended(lived);
        info!("{} starts again in {wait:?}", process.service.name);
        let due = self.due.clone();
        let timer = self
            .handle
            .insert_source(Timer::from_duration(wait), move |_, (), _: &mut Init| {
                // The other end lives as long as init.
                let _ended = due.send(index);
                TimeoutAction::Drop
            });
        if let Err(error) = timer {
            warn!("{} will not be started again: {error}", process.service.name);
        }
    }

    /// From now on nothing is started.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }
}

/// The folder for a service's sockets, its own and nobody else's.
fn runtime_folder(service: &Service) -> io::Result<()> {
    let path = services::runtime_dir(service);
    match std::fs::DirBuilder::new().mode(0o700).create(&path) {
        Ok(()) => {
            let owner = services::owner(service);
            chown(&path, Some(owner), Some(owner))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Passes a program's lines on until it has closed its output.
fn listen(handle: &LoopHandle<'static, Init>, output: OwnedFd, log: LogRing) -> Result<(), InitError> {
    let output = io::PipeReader::from(output);
    rustix::io::ioctl_fionbio(&output, true).map_err(io::Error::from)?;
    let mut lines = Lines::default();
    let source = Generic::new(output, Interest::READ, Mode::Level);
    handle
        .insert_source(source, move |_, output, _: &mut Init| {
            let mut chunk = [0; MAX_LINE];
            let mut output: &io::PipeReader = output;
            match output.read(&mut chunk) {
                Ok(0) => {
                    lines.end(|line| log.line(line));
                    return Ok(PostAction::Remove);
                }
                Ok(read) => lines.take(chunk.get(..read).unwrap_or_default(), |line| log.line(line)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(PostAction::Remove),
            }
            Ok(PostAction::Continue)
        })
        .map_err(watch_error("a service's output"))?;
    Ok(())
}

/// Makes lines of what arrives in pieces. A line without an end does not grow for ever.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn take(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (head, rest) = bytes.split_at(end);
            self.0.extend_from_slice(head);
            self.end(&mut line);
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.0.extend_from_slice(bytes);
        if self.0.len() >= MAX_LINE {
            self.end(line);
        }
    }

    fn end(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.0.is_empty() {
            line(&self.0);
            self.0.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_and_cut() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for piece in ["on", "e\ntwo\n\nth", "ree"] {
            lines.take(piece.as_bytes(), |line| seen.push(line.to_vec()));
        }
        lines.end(|line| seen.push(line.to_vec()));
        assert_eq!(seen, [&b"one"[..], b"two", b"three"]);
        let mut count = 0;
        for _ in 0..100 {
            lines.take(&[b'x'; 1000], |_| count += 1);
            assert!(lines.0.len() < MAX_LINE);
        }
        assert_eq!(count, 20);
    }
}
