// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compositor's end of the control socket.

use std::collections::VecDeque;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::time::Duration;

use calloop::generic::Generic;
use calloop::{Interest, LoopHandle, Mode, PostAction, RegistrationToken};
use tracing::{debug, warn};

use super::connection::Connection;
use super::input::input;
use super::protocol::{BudgetInfo, Rect, Reply, Request, ScreenInfo, Stats, VmInfo, VmStats, WindowInfo};
use crate::backend::Backend;
use crate::desktop::layout::{Mode as WindowMode, WindowId};
use crate::desktop::outputs::Screen;
use crate::input::Effect;
use crate::state::{Core, State};
use crate::system::listen::{self, Files, ListenError};
use crate::vms::Vm;
use crate::vms::pause::PauseReason;
use heraldry_identity::VmName;

/// Connections accepted in one turn of the event loop.
const ACCEPTS: usize = 8;
/// Characters of a title that are told.
const MAX_TITLE: usize = 256;
/// Connections that are open at one time.
const CONNECTIONS: usize = 16;
/// So long a reply waits for who asked, as `heraldry ctl` waits for a reply.
const UNREAD: Duration = Duration::from_secs(10);

/// Why the control socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The path is taken or not allowed.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The event loop did not take it.
    #[error("cannot watch the control socket: {0}")]
    Watch(String),
}

/// Opens the socket; connections are served by the event loop.
pub fn listen(handle: &LoopHandle<'static, State>, path: &Path) -> Result<Files, ControlError> {
    let (listener, files) = listen::listen(path)?;
    let mut open = Connections::default();
    handle
        .insert_source(
            Generic::new(listener, Interest::READ, Mode::Level),
            move |_, listener, state: &mut State| {
                for (stream, _) in std::iter::from_fn(|| listener.accept().ok()).take(ACCEPTS) {
                    serve(state, &mut open, stream);
                }
                Ok(PostAction::Continue)
            },
        )
        .map_err(|error| ControlError::Watch(error.to_string()))?;
    Ok(files)
}

/// Connections that are open, the oldest first.
#[derive(Debug, Default)]
struct Connections(VecDeque<(Weak<()>, RegistrationToken)>);

impl Connections {
    /// Makes room for one more: who came first goes, so that tools which hang keep no other tool out.
    fn make_room(&mut self, handle: &LoopHandle<'static, State>) {
        self.0.retain(|(alive, _)| alive.strong_count() > 0);
        while self.0.len() >= CONNECTIONS {
            if let Some((_, token)) = self.0.pop_front() {
                warn!("too many control connections; the oldest is closed");
                handle.remove(token);
            }
        }
    }
}

fn serve(state: &State, open: &mut Connections, stream: UnixStream) {
    let peer = rustix::net::sockopt::socket_peercred(&stream);
    if peer.is_ok_and(|peer| peer.uid != rustix::process::getuid()) {
        warn!("a peer of another user was refused at the control socket");
        return;
    }
    if stream.set_nonblocking(true).is_err() {
        return;
    }
    open.make_room(&state.core.handle);
    let alive = Rc::new(());
    let watch = Rc::downgrade(&alive);
    let watched = state.core.handle.insert_source(
        Connection::new(stream, UNREAD),
        move |line, (), state: &mut State| {
            let _as_long_as_the_source = &alive;
            let reply = match serde_json::from_slice(&line) {
                Ok(request) => answer(state, request),
                Err(error) => Reply::Error(format!("not a request: {error}")),
            };
            let mut text = serde_json::to_vec(&reply).unwrap_or_default();
            text.push(b'\n');
            text
        },
    );
    match watched {
        Ok(token) => open.0.push_back((watch, token)),
        Err(error) => warn!(%error, "a control connection cannot be watched"),
    }
}

fn answer(state: &mut State, request: Request) -> Reply {
    debug!(request = request_name(&request), "control");
    match request {
        Request::Windows => Reply::Windows(windows(state)),
        Request::Vms => Reply::Vms(vms(state)),
        Request::Stats => Reply::Stats(stats(state)),
        Request::Screens => Reply::Screens(screens(&state.core)),
        Request::Screenshot { path, screen, shown } => screenshot(state, &path, screen.as_deref(), shown),
        Request::Focus { id } => effect(state, id, Effect::Focus),
        Request::Close { id } => effect(state, id, Effect::Close),
        Request::Kill { vm } => named(state, &vm, |state, name| state.core.disconnect(name)),
        Request::Pause { vm } => named(state, &vm, |state, name| {
            state.pause(name, PauseReason::User, false);
        }),
        Request::Resume { vm } => named(state, &vm, |state, name| {
            state.resume(name);
        }),
        Request::Reload => match state.reload() {
            Ok(()) => Reply::Ok,
            Err(error) => Reply::Error(error),
        },
        Request::Quit => {
            state.core.stopping = true;
            Reply::Ok
        }
        Request::Input(request) => match state.backend {
            Backend::Headless(_) => match input(state, request) {
                Ok(()) => Reply::Ok,
                Err(error) => Reply::Error(error),
            },
            Backend::Blind | Backend::Winit(_) | Backend::Kms(_) => {
                Reply::Error("input can only be given to the headless backend".to_owned())
            }
        },
    }
}

fn request_name(request: &Request) -> &'static str {
    match request {
        Request::Windows => "windows",
        Request::Vms => "vms",
        Request::Stats => "stats",
        Request::Screens => "screens",
        Request::Screenshot { .. } => "screenshot",
        Request::Focus { .. } => "focus",
        Request::Close { .. } => "close",
        Request::Kill { .. } => "kill",
        Request::Pause { .. } => "pause",
        Request::Resume { .. } => "resume",
        Request::Reload => "reload",
        Request::Quit => "quit",
        Request::Input(_) => "input",
    }
}

fn effect(state: &mut State, id: u64, effect: impl Fn(WindowId) -> Effect) -> Reply {
    let id = WindowId(id);
    let Some(window) = state.core.windows.get(id) else {
        return Reply::Error(format!("there is no window {id}"));
    };
    if matches!(effect(id), Effect::Focus(_)) && state.core.windows.layout.is_hidden(id) {
        let vm = &window.vm;
        return Reply::Error(format!(
            "VM {vm} is hidden; `heraldry ctl resume {vm}` brings it back"
        ));
    }
    state.perform(effect(id));
    state.apply_focus();
    Reply::Ok
}

/// Does something to a VM that is configured, whether or not it has connected, or that has connected without that.
fn named(state: &mut State, vm: &str, what: impl FnOnce(&mut State, &VmName)) -> Reply {
    let known =
        |name: &VmName| state.core.vms.get(name).is_some() || state.core.config.vms.contains_key(name);
    let Some(name) = VmName::new(vm).ok().filter(known) else {
        let names = state.core.config.vms.keys().map(VmName::as_str);
        let names: Vec<_> = names.collect();
        return Reply::Error(format!("there is no VM {vm}; there are: {}", names.join(", ")));
    };
    what(state, &name);
    Reply::Ok
}

fn rect(rect: smithay::utils::Rectangle<i32, smithay::utils::Logical>) -> Rect {
    Rect {
        x: rect.loc.x,
        y: rect.loc.y,
        w: rect.size.w,
        h: rect.size.h,
    }
}

fn windows(state: &State) -> Vec<WindowInfo> {
    let core = &state.core;
    let placed: Vec<_> = core.windows.layout.top_to_bottom().collect();
    let waiting = core
        .windows
        .iter()
        .map(|window| window.id)
        .filter(|id| !placed.contains(id));
    placed
        .iter()
        .copied()
        .chain(waiting)
        .filter_map(|id| core.windows.get(id))
        .map(|window| {
            (
                window,
                core.popups_of(window.id)
                    .map(|popup| rect(popup.content))
                    .collect(),
            )
        })
        .map(|(window, popup_contents): (_, Vec<_>)| WindowInfo {
            id: window.id.0,
            vm: window.vm.to_string(),
            untrusted_title: shortened(&window.untrusted_title),
            content: core.windows.layout.content(window.id).map(rect),
            outer: core.windows.layout.outer(window.id).map(rect),
            mode: match core.windows.layout.mode(window.id) {
                None | Some(WindowMode::Floating) => "floating",
                Some(WindowMode::Maximized) => "maximized",
                Some(WindowMode::Fullscreen) => "fullscreen",
            }
            .to_owned(),
            focused: core.input.focus() == Some(window.id),
            minimized: window.mapped.is_some() && !core.windows.layout.is_visible(window.id),
            popups: popup_contents.len(),
            popup_contents,
            not_responding: core.is_lost(window.client),
        })
        .collect()
}

/// As much of a title as tells windows apart: how long the list gets, and so how soon it is there, is not for VMs to say.
fn shortened(title: &str) -> String {
    match title.char_indices().nth(MAX_TITLE) {
        None => title.to_owned(),
        Some((end, _)) => format!("{}…", title.get(..end).unwrap_or_default()),
    }
}

fn vms(state: &State) -> Vec<VmInfo> {
    let core = &state.core;
    core.vms
        .iter()
        .map(|vm| VmInfo {
            name: vm.name.to_string(),
            display_name: vm.config.display_name.to_string(),
            color: vm.config.arms.color.to_string(),
            clients: core.clients.connected(&vm.name),
            connections: vm.connections,
            windows: core.windows.iter().filter(|window| window.vm == vm.name).count(),
            paused: vm.paused().map(|reason| reason.as_str().to_owned()),
            hidden: vm.is_hidden(),
            throttled: vm.load.throttled,
        })
        .collect()
}

fn screens(core: &Core) -> Vec<ScreenInfo> {
    let info = |screen: &Screen| {
        let (setup, rect) = (screen.setup(), screen.rect());
        ScreenInfo {
            name: screen.output().name(),
            connector: screen.connector().map(str::to_owned),
            size: (setup.size.w, setup.size.h),
            refresh: f64::from(setup.refresh) / 1000.0,
            scale: setup.scale,
            transform: setup.transform.as_str().to_owned(),
            rect: Rect {
                x: rect.loc.x,
                y: rect.loc.y,
                w: rect.size.w,
                h: rect.size.h,
            },
        }
    };
    core.outputs.iter().map(info).collect()
}

fn stats(state: &mut State) -> Stats {
    let longest = state.core.watchdog.take_longest();
    let core = &state.core;
    let screen = core.outputs.first();
    let size = screen.size();
    Stats {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        backend: state.backend.name().to_owned(),
        frames: core.frames,
        clients: core.vms.iter().map(|vm| core.clients.connected(&vm.name)).sum(),
        windows: core.windows.iter().count(),
        scale: screen.scale(),
        size: (size.w, size.h),
        longest_turn_us: u64::try_from(longest.as_micros()).unwrap_or(u64::MAX),
        vms: core.vms.iter().map(|vm| vm_stats(core, vm)).collect(),
    }
}

fn vm_stats(core: &Core, vm: &Vm) -> VmStats {
    let (usage, (violations, exhausted_turns)) = core.transports.usage(&vm.name).unwrap_or_default();
    let clients = u64::try_from(core.clients.connected(&vm.name)).unwrap_or(u64::MAX);
    let connections = BudgetInfo {
        name: "clients".to_owned(),
        used: clients,
        peak: clients,
        limit: vm.limits().clients,
        refused: vm.load.refused_connections,
    };
    let budgets = usage.into_iter().map(|usage| BudgetInfo {
        name: usage.budget.name().to_owned(),
        used: usage.used,
        peak: usage.peak,
        limit: usage.limit,
        refused: usage.refused,
    });
    VmStats {
        name: vm.name.to_string(),
        budgets: std::iter::once(connections).chain(budgets).collect(),
        violations,
        exhausted_turns,
        held_frames: vm.load.held_frames,
        partial_frames: vm.load.partial_frames,
        drawing_ms: u64::try_from(vm.load.drawing.as_millis()).unwrap_or(u64::MAX),
        contents: vm.load.contents,
        copied_bytes: vm.load.copied,
        delayed_maps: vm.load.delayed_maps,
        dismissed_popups: vm.load.dismissed_popups,
        refused_connections: vm.load.refused_connections,
        ended_by_smithay: vm.load.ended_by_smithay,
    }
}

fn screenshot(state: &mut State, path: &Path, screen: Option<&str>, shown: bool) -> Reply {
    let outputs = &state.core.outputs;
    let known = screen.map_or_else(|| Some(outputs.first()), |name| outputs.by_name(name));
    let Some(screen) = known.map(Screen::id) else {
        let names: Vec<_> = outputs.iter().map(|screen| screen.output().name()).collect();
        return Reply::Error(format!(
            "there is no such screen; there are: {}",
            names.join(", ")
        ));
    };
    let picture = if shown {
        state.backend.shown()
    } else {
        state.backend.screenshot(&mut state.core, screen)
    };
    let picture = match picture {
        Ok(picture) => picture,
        Err(error) => return Reply::Error(format!("cannot draw the screen: {error}")),
    };
    let written = plain_file(path)
        .map_err(|error| error.to_string())
        .and_then(|file| {
            picture
                .write_png(std::io::BufWriter::new(file))
                .map_err(|error| error.to_string())
        });
    match written {
        Ok(()) => Reply::Ok,
        Err(error) => Reply::Error(format!("cannot write {}: {error}", path.display())),
    }
}

/// A file to write to. Anything else may keep the main loop waiting: a pipe for its reader.
fn plain_file(path: &Path) -> std::io::Result<std::fs::File> {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(std::io::Error::other("not a plain file"))
    }
}
