// SPDX-License-Identifier: MIT OR Apache-2.0
//! Puts the compositor together and runs it until it is told to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use calloop::generic::Generic;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, Interest, LoopHandle, Mode, PostAction};
use heraldry_config::Config;
use heraldry_decorations::{FrameKind, Style};
use heraldry_identity::VmName;
use heraldry_rate::LogBudget;
use smithay::desktop::PopupManager;
use smithay::input::SeatState;
use smithay::utils::{Physical, Size};
use tracing::{error, info, warn};
use wayland_server::Display;

use crate::backend::kms::KmsOptions;
use crate::backend::{Backend, headless::Headless, winit};
use crate::control;
use crate::desktop::frame_clock::FrameClock;
use crate::desktop::layout::{Insets, Layout};
use crate::desktop::outputs::{Outputs, Setup};
use crate::desktop::windows::Windows;
use crate::init::record::Pause;
use crate::input::Input;
use crate::render::Render;
use crate::stacking::Announcements;
use crate::state::{Core, State};
use crate::system::clock::Clock;
use crate::system::watchdog::{TurnBegins, Watchdog};
use crate::vms::Vms;
use crate::vms::booking::Booking;
use crate::vms::clients::Clients;
use crate::vms::dev_socket::DevSocket;
use crate::vms::dispatch::Dispatcher;
use crate::vms::globals::Globals;
use crate::vms::pause::PauseReason;
use crate::vms::transports::{HostLink, Transports};

/// A client's events may pile up to this many bytes before it is disconnected (wayland-backend's default is 4 KiB,
/// which a fast mouse fills in half a second of not reading).
const CLIENT_BUFFER: usize = 1024 * 1024;

/// Which backend to run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum BackendChoice {
    /// A window if there is a display, else headless. Never screens and input devices: these must be asked for.
    #[default]
    Auto,
    /// Real screens and input devices: the compositor's VM.
    Kms,
    /// A window of another compositor or an X server.
    Winit,
    /// Into memory.
    Headless,
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The configuration and where it came from.
    pub config: Config,
    /// The file to read again on reload.
    pub config_path: Option<PathBuf>,
    /// Which backend.
    pub backend: BackendChoice,
    /// Whether the configuration is the built-in one because the user's is broken: what to say on the screen.
    pub fallback: Option<String>,
    /// An inherited descriptor that gets a newline once the compositor runs.
    pub ready_fd: Option<u32>,
    /// How screens and input devices are had.
    pub kms: KmsOptions,
    /// Size of the output, physical pixels.
    pub size: Size<i32, Physical>,
    /// Physical pixels per logical one.
    pub scale: f64,
    /// How the host is reached; `None` runs without VMs.
    pub host: Option<HostLink>,
    /// The control socket; `None` for none.
    pub control: Option<PathBuf>,
    /// Development sockets, one for each VM name.
    pub dev_sockets: Vec<DevSocket>,
    /// Stop by itself after this time.
    pub exit_after: Option<Duration>,
    /// What a supervisor keeps from one crash to the next; `None` without one.
    pub served_record: Option<PathBuf>,
    /// VMs that are not served until the user resumes them.
    pub paused: Vec<VmName>,
}

/// Why the compositor could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The event loop failed.
    #[error("the event loop failed")]
    Loop(#[from] calloop::Error),
    /// A source could not be watched.
    #[error("cannot watch {what}: {why}")]
    Watch {
        /// What.
        what: &'static str,
        /// The event loop's word.
        why: String,
    },
    /// The Wayland display could not be made.
    #[error("cannot make the Wayland display")]
    Display(#[from] wayland_server::backend::InitError),
    /// The renderer could not be made.
    #[error("cannot make the renderer")]
    Render(#[from] crate::backend::RenderError),
    /// The nested window could not be opened.
    #[error("cannot open a window; without a display use --backend headless ({0})")]
    Window(String),
    /// There are no screens.
    #[error(transparent)]
    Kms(#[from] crate::backend::kms::KmsError),
    /// `--dev-socket` with real screens.
    #[error(
        "--dev-socket is for development: who connects there comes from no VM. It does not go with --backend kms"
    )]
    NotIsolated,
    /// The control socket could not be opened.
    #[error(transparent)]
    Control(#[from] control::ControlError),
    /// A transport to VMs could not be opened.
    #[error(transparent)]
    Link(#[from] crate::vms::transports::TransportError),
    /// A thread or a descriptor could not be made.
    #[error("a resource of the system is missing")]
    Io(#[from] std::io::Error),
}

/// The compositor's parts, without input, transports and control socket: also what tests start from.
pub fn assemble(
    handle: &LoopHandle<'static, State>,
    config: Config,
    size: Size<i32, Physical>,
    scale: f64,
    clock: Clock,
) -> Result<State, RunError> {
    let display = Display::<State>::new()?;
    let display_handle = display.handle();
    display_handle.set_default_max_buffer_size(CLIENT_BUFFER);
    let outputs = Outputs::new(Setup::plain(size, scale));
    let render = Render::new(&config.appearance);
    let (frame, thin) = insets(&render.style(1.0));
    let layout = Layout::new(outputs.areas(), frame, thin);
    let globals = Globals::new(&display_handle);
    let dispatcher = Dispatcher::new()?;
    watch_clients(handle, &dispatcher)?;
    let mut state = State {
        backend: Backend::Blind,
        core: Core {
            globals,
            config: Arc::new(config),
            vms: Vms::default(),
            windows: Windows::new(layout),
            popups: PopupManager::default(),
            popups_gone: false,
            unmeasured: Vec::new(),
            input: Input::new(),
            render,
            outputs,
            clock,
            seats: SeatState::new(),
            clients: Clients::default(),
            display: Some(display),
            display_handle,
            handle: handle.clone(),
            frame_clock: FrameClock::new(crate::backend::FRAME_INTERVAL),
            frames: 0,
            transports: Transports::default(),
            dispatcher,
            refused_unknown: LogBudget::per_second(5),
            watchdog: Watchdog::default(),
            books: Booking::default(),
            maps_due: None,
            marks_due: None,
            config_path: None,
            fallback_notice: None,
            unknown_pauses: Vec::new(),
            announcements: Announcements::default(),
            stopping: false,
        },
    };
    state.core.publish_outputs();
    Ok(state)
}

/// Space that frames take, as the layout wants it.
#[must_use]
pub fn insets(style: &Style) -> (Insets, Insets) {
    let convert = |kind| {
        let insets = style.logical_insets(kind);
        let signed = |value: u32| i32::try_from(value).unwrap_or(0);
        Insets {
            top: signed(insets.top),
            right: signed(insets.right),
            bottom: signed(insets.bottom),
            left: signed(insets.left),
        }
    };
    (convert(FrameKind::Window), convert(FrameKind::Fullscreen))
}

fn watch_clients(handle: &LoopHandle<'static, State>, dispatcher: &Dispatcher) -> Result<(), RunError> {
    use std::os::fd::AsFd;
    let fd = dispatcher.as_fd().try_clone_to_owned()?;
    handle
        .insert_source(
            Generic::new(fd, Interest::READ, Mode::Level),
            |_, _, state: &mut State| {
                state.dispatch_clients();
                // Output that a client waits for before it goes on must not sit until the end of a long turn.
                let _per_client = state.core.display_handle.flush_clients();
                Ok(PostAction::Continue)
            },
        )
        .map_err(|error| RunError::Watch {
            what: "clients",
            why: error.to_string(),
        })?;
    Ok(())
}

/// Runs until a signal, the quit key, `ctl quit` or the time limit.
pub fn run(options: Options) -> Result<(), RunError> {
    if options.backend == BackendChoice::Kms && !options.dev_sockets.is_empty() {
        return Err(RunError::NotIsolated);
    }
    // Every client costs descriptors for its connection and its memory: one VM could use up what the others need.
    if let Err(errno) = heraldry_wire::descriptors::raise_limit() {
        warn!(%errno, "cannot raise the limit of open files");
    }
    // Goes last: a second signal would end the process before the files of its sockets are removed.
    let _blocked;
    let mut event_loop: EventLoop<'static, State> = EventLoop::try_new()?;
    let handle = event_loop.handle();
    // Before any thread starts: a thread that does not block the signals would take them, and end the process.
    _blocked = watch_signals(&handle)?;
    let Options {
        config, size, scale, ..
    } = options;
    let mut state = assemble(&handle, config, size, scale, Clock::system())?;
    state.core.config_path = options.config_path;
    let limits = state.core.config.watchdog;
    state.core.books = Booking::with_record(options.served_record.as_deref())?;
    state.core.watchdog = Watchdog::start(limits, &state.core.books)?;
    handle
        .insert_source(TurnBegins(state.core.watchdog.clone()), |(), (), _| {})
        .map_err(|error| RunError::Watch {
            what: "the turns of the loop",
            why: error.to_string(),
        })?;
    if options.served_record.is_some() {
        // A compositor whose supervisor was killed would be one that nobody can stop or replace.
        let signal = Some(rustix::process::Signal::TERM);
        if let Err(errno) = rustix::process::set_parent_process_death_signal(signal) {
            warn!(%errno, "the end of the supervisor would go unnoticed");
        }
    }
    let first = begin_paused(&mut state, options.paused);
    if let Some(why) = options.fallback {
        state.core.render.show_notice(&why);
        state.core.fallback_notice = Some(why);
    }
    open_backend(&handle, &mut state, options.backend, options.kms)?;
    // A picture before anything that it does not need. Events wait for the loop, so nothing is lost by that.
    state.tick();
    state.init_input();
    crate::backend::kms::open_input(&handle, &mut state)?;
    let _control = open_control(&handle, options.control.as_deref(), first)?;
    crate::vms::transports::start(&mut state, options.host, options.dev_sockets)?;
    if let Some(limit) = options.exit_after {
        handle
            .insert_source(Timer::from_duration(limit), |_, (), state: &mut State| {
                state.core.stopping = true;
                TimeoutAction::Drop
            })
            .map_err(|error| RunError::Watch {
                what: "the time limit",
                why: error.to_string(),
            })?;
    }
    let screen = state.core.outputs.first();
    let shown = screen.size();
    info!(
        backend = state.backend.name(),
        width = shown.w,
        height = shown.h,
        scale = screen.scale(),
        "running"
    );
    state.tick();
    crate::system::notify::ready(&handle, options.ready_fd);
    state.core.books.note_turns();
    while !state.core.stopping {
        let now = state.core.clock.now();
        let wait = state.next_deadline().map(|due| due.saturating_sub(now));
        event_loop.dispatch(wait, &mut state)?;
        state.tick();
    }
    crate::system::notify::stopping();
    info!("stopped");
    Ok(())
}

/// VMs that are not to be served are paused. Returns whether this is the first start.
fn begin_paused(state: &mut State, told: Vec<VmName>) -> bool {
    state.restore_pauses();
    let record = state.core.books.record();
    let first = record.is_none_or(crate::init::record::Record::take_first_start);
    // The user may have resumed them since the supervisor was told.
    for vm in told.into_iter().filter(|_| first) {
        state.pause_once_known(Pause {
            vm,
            reason: PauseReason::User,
            hidden: false,
        });
    }
    first
}

/// Opens the control socket, if there is to be one.
fn open_control(
    handle: &LoopHandle<'static, State>,
    path: Option<&std::path::Path>,
    first: bool,
) -> Result<Option<crate::system::listen::Files>, RunError> {
    match path.map(|path| control::listen(handle, path)).transpose() {
        // What a compositor that was taken over left at its path is no reason for dark screens.
        Err(error) if !first => {
            error!(%error, "nobody can control this compositor");
            Ok(None)
        }
        other => Ok(other?),
    }
}

fn open_backend(
    handle: &LoopHandle<'static, State>,
    state: &mut State,
    choice: BackendChoice,
    kms: KmsOptions,
) -> Result<(), RunError> {
    let has_display = ["WAYLAND_DISPLAY", "WAYLAND_SOCKET", "DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    let nested = match choice {
        BackendChoice::Kms => return Ok(crate::backend::kms::open(handle, state, kms)?),
        BackendChoice::Winit => true,
        BackendChoice::Headless => false,
        BackendChoice::Auto => has_display,
    };
    if !nested {
        state.backend = Backend::Headless(Box::new(Headless::new(state.core.outputs.first(), kms.renderer)?));
        return Ok(());
    }
    let size = state.core.outputs.first().size();
    let (graphics, events) = winit::open(size).map_err(|error| RunError::Window(error.to_string()))?;
    let screen = state.core.outputs.first();
    let backend = winit::Winit::new(graphics, screen);
    let (id, setup) = (
        screen.id(),
        Setup {
            size: backend.size(),
            ..*screen.setup()
        },
    );
    state.backend = Backend::Winit(Box::new(backend));
    state.set_up(id, setup);
    handle
        .insert_source(events, |event, (), state: &mut State| winit::handle(state, event))
        .map_err(|error| RunError::Watch {
            what: "the window",
            why: error.to_string(),
        })?;
    Ok(())
}

/// While what it returns lives, these signals end nothing.
fn watch_signals(handle: &LoopHandle<'static, State>) -> Result<impl Sized + use<>, RunError> {
    use calloop::signals::{Signal, Signals};
    let signals = Signals::new(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])?;
    let watched = calloop::Dispatcher::new(
        signals,
        |event: calloop::signals::Event, (), state: &mut State| {
            if event.signal() == Signal::SIGHUP {
                if let Err(error) = state.reload() {
                    warn!("configuration not reloaded, the old one stays in force:\n{error}");
                }
            } else {
                state.core.stopping = true;
            }
        },
    );
    handle
        .register_dispatcher(watched.clone())
        .map_err(|error| RunError::Watch {
            what: "signals",
            why: error.to_string(),
        })?;
    Ok(watched)
}

impl State {
    /// Reads the configuration again; a broken one changes nothing.
    pub fn reload(&mut self) -> Result<(), String> {
        let Some(path) = self.core.config_path.clone() else {
            return Err("no configuration file was given at the start".to_owned());
        };
        let config = heraldry_config::load(&path).map_err(|errors| errors.to_string())?;
        self.adopt(config);
        info!("configuration reloaded");
        Ok(())
    }

    /// From now on this is the configuration.
    pub fn adopt(&mut self, config: Config) {
        self.core.render.apply(&config.appearance);
        self.core.config = Arc::new(config);
        // Records of other VMs are made when they come: each costs a keymap, and a start should be quick.
        self.core.reconfigure_vms();
        self.pause_known();
        if let Some(notice) = self.core.fallback_notice.take() {
            self.core.render.hide_notice(&notice);
        }
        self.kms_reload();
        self.output_changed();
    }
}
