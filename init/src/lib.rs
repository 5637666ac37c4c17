// SPDX-License-Identifier: MIT OR Apache-2.0
//! `heraldry-init`: PID 1 of the compositor's VM, and who starts the compositor again.
//!
//! A program of its own, with no library but C's: it starts in a tenth of the compositor's time, and what runs as root has
//! little in it. PID 1 mounts what programs expect, loads the drivers of the devices that are there, does the little of udevd that the
//! compositor needs, starts the compositor as a user without rights, and keeps it running. It never ends: what fails
//! is told on the console, and the machine can still be restarted.
//!
//! Start reading at [`main`]. It may not draw, know a VM, or parse what a VM sends.
#![forbid(unsafe_code)]

pub mod client;
mod cmdline;
pub mod confine;
mod devices;
pub mod filter;
mod log_ring;
mod modules;
mod mounts;
mod power;
mod processes;
pub mod record;
mod services;
mod shutdown;
mod socket;
pub mod supervise;
mod udev;

use std::sync::Arc;
use std::time::Duration;

use calloop::channel::Event as ChannelEvent;
use calloop::generic::Generic;
use calloop::signals::{Signal, Signals};
use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, Interest, LoopHandle, LoopSignal, Mode, PostAction};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::system::{RebootCommand, reboot};
use tracing::{info, warn};
use tracing_subscriber::prelude::*;

use cmdline::BootOptions;
use log_ring::{LogRing, Uptime};
use modules::Loader;
use processes::Processes;
use services::USER;
use shutdown::Ending;
use socket::Server;
use udev::{Change, Udev};

/// How long a GPU may take before the console says that there is none.
const GPU_PATIENCE: Duration = Duration::from_secs(5);
/// How long keyboard and pointer may take.
const INPUT_PATIENCE: Duration = Duration::from_secs(2);
/// How long programs may take to end before they are made to.
const END_PATIENCE: Duration = Duration::from_secs(3);
/// Open descriptors that a program may ask for.
const DESCRIPTORS: u64 = 65_536;

/// Why PID 1 cannot go on.
#[derive(Debug, thiserror::Error)]
enum InitError {
    /// The event loop failed.
    #[error("the event loop failed")]
    Loop(#[from] calloop::Error),
    /// Something cannot be watched.
    #[error("cannot watch {what}: {why}")]
    Watch { what: &'static str, why: String },
    /// The system refused something.
    #[error("a resource of the system is missing")]
    Io(#[from] std::io::Error),
}

/// Runs PID 1, to the machine's end.
pub fn main() -> ! {
    let failures = mounts::mount_all();
    let log = LogRing::open("/dev/console");
    let why = match std::panic::catch_unwind(|| run(&log, &failures)) {
        Ok(Ok(ending)) => shutdown::finish(ending, &log),
        Ok(Err(error)) => match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
        Err(_) => "this is a bug: PID 1 panicked, see above".to_owned(),
    };
    shutdown::emergency(&log, &why)
}

/// PID 1's state.
struct Init {
    options: BootOptions,
    loader: Loader,
    udev: Udev,
    processes: Processes,
    ending: Option<Ending>,
    handle: LoopHandle<'static, Init>,
    signal: LoopSignal,
}

fn run(log: &LogRing, failures: &[String]) -> Result<Ending, InitError> {
    let text = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let (options, warnings) = cmdline::parse(&text);
    let lines = tracing_subscriber::fmt::layer()
        .with_timer(Uptime)
        .with_writer(log.clone())
        .with_target(false)
        .with_ansi(false);
    let filter = options.filter();
    tracing_subscriber::registry().with(lines).with(filter).init();
    info!("heraldry init {}", env!("CARGO_PKG_VERSION"));
    for problem in failures.iter().chain(&warnings) {
        warn!("{problem}");
    }
    prepare();
    let mut event_loop: EventLoop<'static, Init> = EventLoop::try_new()?;
    let handle = event_loop.handle();
    // Before any thread starts, so that every thread leaves the signals to the loop.
    watch_signals(&handle)?;
    let udev = Udev::open(USER)?;
    let mut loader = Loader::new();
    loader.coldplug();
    udev.coldplug();
    watch_udev(&handle, &udev)?;
    serve(&handle, log)?;
    let mut init = Init {
        processes: Processes::new(&handle, log.clone())?,
        options,
        loader,
        udev,
        ending: None,
        signal: event_loop.get_signal(),
        handle,
    };
    init.begin()?;
    event_loop.run(None, &mut init, |_| {})?;
    // The loop stops for an ending only.
    Ok(init.ending.unwrap_or(Ending::Reboot))
}

/// What the kernel lets PID 1 decide for all that come after it.
fn prepare() {
    // Ctrl-Alt-Del comes as a signal instead of a restart on the spot.
    if let Err(errno) = reboot(RebootCommand::CadOff) {
        warn!(%errno, "Ctrl-Alt-Del restarts without ending programs");
    }
    let limit = Rlimit {
        current: Some(1024),
        maximum: Some(DESCRIPTORS),
    };
    if let Err(errno) = setrlimit(Resource::Nofile, limit) {
        warn!(%errno, "the limit of open files stays the kernel's");
    }
    silence_console();
}

/// What is typed while nobody reads must not be shown on the console: with a virtual terminal there, that is everything
/// that is typed into the compositor.
fn silence_console() {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let console = std::io::stdin();
    if let Ok(mut settings) = tcgetattr(&console) {
        settings.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        if let Err(errno) = tcsetattr(&console, OptionalActions::Now, &settings) {
            warn!(%errno, "the console shows what is typed");
        }
    }
}

fn watch_error<T>(what: &'static str) -> impl FnOnce(calloop::InsertError<T>) -> InitError {
    move |error| InitError::Watch {
        what,
        why: error.error.to_string(),
    }
}

fn watch_signals(handle: &LoopHandle<'static, Init>) -> Result<(), InitError> {
    let signals = Signals::new(&[Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM])?;
    handle
        .insert_source(signals, |event, (), init: &mut Init| match event.signal() {
            Signal::SIGCHLD => init.reap(),
            Signal::SIGINT => init.end(Ending::Reboot, "Ctrl-Alt-Del"),
            _ => init.end(Ending::PowerOff, "a signal"),
        })
        .map_err(watch_error("signals"))?;
    Ok(())
}

fn watch_udev(handle: &LoopHandle<'static, Init>, udev: &Udev) -> Result<(), InitError> {
    use std::os::fd::AsFd as _;
    let socket = udev.as_fd().try_clone_to_owned()?;
    handle
        .insert_source(
            Generic::new(socket, Interest::READ, Mode::Level),
            |_, _, init: &mut Init| {
                init.devices_changed();
                Ok(PostAction::Continue)
            },
        )
        .map_err(watch_error("devices"))?;
    Ok(())
}

fn serve(handle: &LoopHandle<'static, Init>, log: &LogRing) -> Result<(), InitError> {
    let (endings, asked) = calloop::channel::channel();
    handle
        .insert_source(asked, |event, (), init: &mut Init| {
            if let ChannelEvent::Msg(ending) = event {
                init.end(ending, "asked to");
            }
        })
        .map_err(watch_error("requests"))?;
    let listener = match socket::listen() {
        Ok(listener) => listener,
        Err(error) => {
            // Everything else goes on without it.
            warn!(%error, "no requests to init: `heraldry ctl log`, `reboot` and `power-off` will not work");
            return Ok(());
        }
    };
    let server = Server {
        log: log.clone(),
        endings,
        peers: Arc::new(()),
    };
    handle
        .insert_source(
            Generic::new(listener, Interest::READ, Mode::Level),
            move |_, listener, _: &mut Init| {
                if let Ok((stream, _)) = listener.accept() {
                    server.serve(stream);
                }
                Ok(PostAction::Continue)
            },
        )
        .map_err(watch_error("requests"))?;
    Ok(())
}

impl Init {
    /// Starts what can be started, and what waits for a device as soon as it comes.
    fn begin(&mut self) -> Result<(), InitError> {
        self.processes.read_services();
        if devices::gpu().is_some() {
            self.start_compositor();
        } else {
            info!("waiting for a GPU");
            self.after(GPU_PATIENCE, Self::no_gpu)?;
        }
        self.processes.start_all();
        power::watch(&self.handle);
        self.after(INPUT_PATIENCE, |_| {
            let inputs = devices::inputs();
            if inputs.is_empty() {
                warn!(
                    "no keyboard and no pointer after {INPUT_PATIENCE:?}: give this VM one (QEMU: -device \
                     virtio-keyboard-pci -device virtio-tablet-pci) or pass one through; it is used as soon as it comes"
                );
            } else {
                info!("input: {}", inputs.join(", "));
            }
        })
    }

    fn after(&self, time: Duration, what: fn(&mut Self)) -> Result<(), InitError> {
        self.handle
            .insert_source(Timer::from_duration(time), move |_, (), init: &mut Self| {
                if init.ending.is_none() {
                    what(init);
                }
                TimeoutAction::Drop
            })
            .map_err(watch_error("a timer"))?;
        Ok(())
    }

    fn no_gpu(&mut self) {
        if !self.processes.has_compositor() {
            warn!(
                "no GPU (/dev/dri/card*) after {GPU_PATIENCE:?}, so there is no picture: give this VM one (QEMU: -device \
                 virtio-gpu-pci, or a passed-through PCI device) and its driver to the image; the compositor starts as \
                 soon as it comes"
            );
        }
    }

    fn start_compositor(&mut self) {
        if let Some(card) = devices::gpu() {
            info!("GPU {} ({})", card.display(), devices::driver(&card));
        }
        self.processes.start_compositor(&self.options);
    }

    fn devices_changed(&mut self) {
        for (change, modalias) in self.udev.receive() {
            if let Some(modalias) = modalias {
                self.loader.load_for(&modalias);
            }
            // The kernel speaks of a card once before there is one to open.
            let gpu = change == Change::Gpu && devices::gpu().is_some();
            if gpu && !self.processes.has_compositor() && self.ending.is_none() {
                self.start_compositor();
            }
        }
    }

    fn reap(&mut self) {
        let processes = &mut self.processes;
        shutdown::reap(|pid, status| {
            if status.stopped() {
                processes.paused(pid);
            } else {
                processes.ended(pid, status);
            }
        });
        if self.ending.is_some() {
            self.finish_if_alone();
        }
    }

    /// Begins the end, once.
    fn end(&mut self, ending: Ending, why: &str) {
        if self.ending.is_some() {
            return;
        }
        info!("{} ({why})", ending.text());
        self.ending = Some(ending);
        self.processes.stop();
        shutdown::signal_all(rustix::process::Signal::TERM);
        let timer = Timer::from_duration(END_PATIENCE);
        let waiting = self.handle.insert_source(timer, |_, (), init: &mut Self| {
            warn!("some programs did not end in {END_PATIENCE:?}");
            init.signal.stop();
            TimeoutAction::Drop
        });
        if waiting.is_err() {
            self.signal.stop();
        }
        self.finish_if_alone();
    }

    /// Every program whose parent has ended is a child of PID 1, so without children there are no programs.
    fn finish_if_alone(&self) {
        if !shutdown::has_children() {
            self.signal.stop();
        }
    }
}
