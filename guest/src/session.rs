// SPDX-License-Identifier: MIT OR Apache-2.0
//! One client: its connection to the compositor, and what is changed on the way.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::Rc;

use heraldry_virtio::guest::{Channel, ChannelError};
use tracing::debug;
use wl_proxy::baseline::Baseline;
use wl_proxy::client::ClientHandler;
use wl_proxy::object::{Object, ObjectRcUtils as _};
use wl_proxy::protocols::wayland::wl_compositor::WlCompositor;
use wl_proxy::protocols::wayland::wl_display::{WlDisplay, WlDisplayHandler};
use wl_proxy::protocols::wayland::wl_registry::{WlRegistry, WlRegistryHandler};
use wl_proxy::protocols::wayland::wl_shm::WlShm;
use wl_proxy::state::{Destructor, State, StateError};

use crate::bridge::{Bridge, BridgeError};
use crate::shm::{Chunks, Shm};
use crate::surface::Compositor;

/// Why a client ends before it wants to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// There is no channel.
    #[error("no connection to the host")]
    Channel(#[from] ChannelError),
    /// The proxy failed.
    #[error("the client or the compositor said what the protocol does not have")]
    Proxy(#[from] StateError),
    /// Nothing is moved any more.
    #[error("the connection ended")]
    Bridge(#[from] BridgeError),
    /// The system failed.
    #[error("the system failed")]
    System(#[from] std::io::Error),
}

/// Serves a client until it goes, or the host does.
pub(crate) fn run(client: OwnedFd, card: &Path) -> Result<(), SessionError> {
    let channel = Rc::new(RefCell::new(Channel::open(card)?));
    let (ours, proxys) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let state = State::builder(Baseline::V6)
        .with_server_fd(&Rc::new(proxys.into()))
        .build()?;
    let chunks = Rc::new(RefCell::new(Chunks::new(Rc::clone(&channel))));
    let client = state.add_client(&Rc::new(client))?;
    client.set_handler(End {
        _destructor: state.create_destructor(),
    });
    client.display().set_handler(Display(Rc::clone(&chunks)));
    drop(client);
    let mut bridge = Bridge::new(ours, channel);
    let mut result = Ok(());
    while state.is_not_destroyed() && result.is_ok() {
        result = turn(&state, &mut bridge);
    }
    // Handlers refer to what refers to them.
    state.destroy();
    debug!(copied = chunks.borrow().copied(), "bytes of pixels were copied");
    result
}

fn turn(state: &Rc<State>, bridge: &mut Bridge) -> Result<(), SessionError> {
    state.before_poll()?;
    bridge.work()?;
    bridge
        .wait(std::os::fd::AsFd::as_fd(&**state.poll_fd()))
        .map_err(BridgeError::from)?;
    // What came from the host goes to the proxy first.
    bridge.work()?;
    if state.is_not_destroyed() {
        state.dispatch_available()?;
    }
    Ok(())
}

/// Ends the session with its client.
struct End {
    _destructor: Destructor,
}

impl ClientHandler for End {}

struct Display(Rc<RefCell<Chunks>>);

impl WlDisplayHandler for Display {
    fn handle_get_registry(&mut self, slf: &Rc<WlDisplay>, registry: &Rc<WlRegistry>) {
        slf.send_get_registry(registry);
        registry.set_handler(Registry(Rc::clone(&self.0)));
    }
}

struct Registry(Rc<RefCell<Chunks>>);

impl WlRegistryHandler for Registry {
    fn handle_bind(&mut self, slf: &Rc<WlRegistry>, name: u32, id: Rc<dyn Object>) {
        slf.send_bind(name, id.clone());
        if let Some(shm) = id.try_downcast::<WlShm>() {
            shm.set_handler(Shm(Rc::clone(&self.0)));
        } else if let Some(compositor) = id.try_downcast::<WlCompositor>() {
            compositor.set_handler(Compositor);
        }
    }
}
