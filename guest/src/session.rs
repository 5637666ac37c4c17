// SPDX-License-Identifier: MIT OR Apache-2.0
//! One client: its connection to the compositor, and what is changed on the way.

use std::cell::RefCell;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::Rc;

use heraldry_virtio::guest::{Channel, ChannelError};
use heraldry_wire::descriptors::send;
use tracing::info;
use wl_proxy::baseline::Baseline;
use wl_proxy::client::ClientHandler;
use wl_proxy::object::{Object, ObjectCoreApi as _, ObjectRcUtils as _};
use wl_proxy::protocols::wayland::wl_compositor::WlCompositor;
use wl_proxy::protocols::wayland::wl_display::{WlDisplay, WlDisplayHandler};
use wl_proxy::protocols::wayland::wl_registry::{WlRegistry, WlRegistryHandler};
use wl_proxy::protocols::wayland::wl_shm::WlShm;
use wl_proxy::state::{Destructor, State, StateError, StateHandler};

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
    state.set_handler(Told(client.try_clone()?));
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
    if let Err(SessionError::Bridge(BridgeError::Closed)) = result {
        // What the compositor said last, an error perhaps, is still to be told.
        drop(bridge);
        while state.is_not_destroyed() && state.dispatch_available()? {}
    }
    // Handlers refer to what refers to them.
    state.destroy();
    let (contents, bytes) = chunks.borrow().copied();
    info!(
        contents,
        copied_bytes = bytes,
        each = bytes / contents.max(1),
        "a client has ended"
    );
    result
}

fn turn(state: &Rc<State>, bridge: &mut Bridge) -> Result<(), SessionError> {
    state.before_poll()?;
    bridge.work()?;
    bridge.wait(state.poll_fd().as_fd()).map_err(BridgeError::from)?;
    // What came from the host goes to the proxy first.
    bridge.work()?;
    if state.is_not_destroyed() {
        state.dispatch_available()?;
    }
    Ok(())
}

/// Tells the client why the compositor ends it: the proxy ends at once when it hears of that.
struct Told(OwnedFd);

/// An event of wl_display, which is object 1 for everybody.
fn error_event(object: u32, code: u32, why: &str) -> Vec<u8> {
    let mut text = why.as_bytes().to_vec();
    let len = u32::try_from(text.len() + 1).unwrap_or(0);
    text.resize((text.len() + 1).next_multiple_of(4), 0);
    let size = u32::try_from(20 + text.len()).unwrap_or(0);
    let words = [1, size << 16, object, code, len];
    let mut event: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
    event.extend(text);
    event
}

impl StateHandler for Told {
    fn display_error(
        self: Box<Self>,
        object: Option<&Rc<dyn Object>>,
        _server_id: u32,
        error: u32,
        why: &str,
    ) {
        // One that the client does not have, or has no more, is its display.
        let object = object.and_then(|object| object.client_id()).unwrap_or(1);
        // A client that does not read hears nothing.
        let _told = send(self.0.as_fd(), &error_event(object, error, why), &[]);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_in_whole_words() {
        let event = error_event(3, 2, "bad!");
        let words: Vec<u32> = event
            .chunks_exact(4)
            .map(|word| u32::from_ne_bytes(word.try_into().unwrap()))
            .collect();
        assert_eq!(words, [1, 28 << 16, 3, 2, 5, u32::from_ne_bytes(*b"bad!"), 0]);
    }
}
