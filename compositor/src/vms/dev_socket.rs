// SPDX-License-Identifier: MIT OR Apache-2.0
//! Development sockets: a Unix listener for each VM name, for nested and headless development only. Their clients go
//! through the same gate as those of a real VM; what is missing is the VM.

use std::path::PathBuf;
use std::str::FromStr;

use calloop::generic::Generic;
use calloop::{Interest, LoopHandle, Mode, PostAction};
use heraldry_identity::VmName;
use heraldry_relay::Endpoint;
use tracing::info;

use super::transports::TransportError;
use crate::state::State;

/// One socket: `VM=NAME`, where NAME is a file in `XDG_RUNTIME_DIR` or an absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevSocket {
    /// Whose clients connect here.
    pub vm: VmName,
    /// Where.
    pub name: String,
}

impl FromStr for DevSocket {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (vm, name) = text
            .split_once('=')
            .ok_or("write it as VM=NAME, for example work=wayland-work")?;
        let vm = vm
            .parse()
            .map_err(|error| format!("{vm:?} is no VM name: {error}"))?;
        if name.is_empty() {
            return Err("the socket's name is empty".to_owned());
        }
        Ok(Self {
            vm,
            name: name.to_owned(),
        })
    }
}

impl DevSocket {
    /// The socket's path.
    pub fn path(&self) -> Result<PathBuf, TransportError> {
        if self.name.starts_with('/') {
            return Ok(PathBuf::from(&self.name));
        }
        let dir = std::env::var_os("XDG_RUNTIME_DIR").ok_or(TransportError::NoRuntimeDir)?;
        Ok(PathBuf::from(dir).join(&self.name))
    }
}

/// Connections accepted in one turn of the event loop.
const ACCEPTS: usize = 8;

/// Listens on one development socket.
pub(super) fn listen(handle: &LoopHandle<'static, State>, socket: DevSocket) -> Result<(), TransportError> {
    let path = socket.path()?;
    let (listener, files) = crate::system::listen::listen(&path)?;
    info!(vm = %socket.vm, path = %path.display(), "development socket: NOT ISOLATED");
    handle
        .insert_source(
            Generic::new(listener, Interest::READ, Mode::Level),
            move |_, listener, state: &mut State| {
                // They go when nobody listens any more.
                let _kept = &files;
                // Bounded: a client that connects in a loop must not hold the main loop. The rest waits for the next turn.
                for (stream, _) in std::iter::from_fn(|| listener.accept().ok()).take(ACCEPTS) {
                    if let Err(error) = state.take(&socket.vm, Endpoint::Socket(stream)) {
                        state.core.refused(&socket.vm, &error);
                    }
                }
                Ok(PostAction::Continue)
            },
        )
        .map_err(|error| TransportError::Watch(error.to_string()))?;
    Ok(())
}
