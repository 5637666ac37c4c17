// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's sockets on the same machine: what a VMM would connect a context to.

use std::os::unix::net::UnixStream;
use std::path::Path;

use heraldry_wire::{CONNECTION_CONTEXT, ContextName, DISPLAY_CONTEXT, MEMFD_CONTEXT};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

use super::{Context, NewError};

/// The name of a context's socket in the host's folder. A context that the host makes at run time has a socket of its own
/// name.
fn file(context: &str) -> &str {
    match context {
        DISPLAY_CONTEXT => "display",
        CONNECTION_CONTEXT => "connection",
        MEMFD_CONTEXT => "memfd",
        other => other,
    }
}

/// Connects without waiting: a host that takes nobody is one that is not there.
pub(super) fn connect(folder: &Path, name: &ContextName) -> Result<Context, NewError> {
    let name = name.as_str();
    if name.contains('/') || name.starts_with('.') {
        return Err(NewError::Refused);
    }
    connect_to(&folder.join(file(name))).map(Context::of_socket)
}

/// A connected socket that doesn't block.
pub(super) fn connect_to(path: &Path) -> Result<UnixStream, NewError> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let address = SocketAddrUnix::new(path).map_err(NewError::Other)?;
    match net::connect(&socket, &address) {
        Ok(()) => Ok(UnixStream::from(socket)),
        Err(Errno::NOENT | Errno::CONNREFUSED | Errno::AGAIN) => Err(NewError::Refused),
        Err(other) => Err(NewError::Other(other)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::super::Device;
    use super::*;

    #[test]
    fn sockets_are_found_by_the_names_of_contexts() {
        let folder = tempfile::tempdir().unwrap();
        let device = Device::local(folder.path().to_owned());
        let refused = device.context(DISPLAY_CONTEXT);
        assert!(matches!(refused, Err(NewError::Refused)), "{refused:?}");
        for (context, name) in [
            (DISPLAY_CONTEXT, "display"),
            (CONNECTION_CONTEXT, "connection"),
            (MEMFD_CONTEXT, "memfd"),
            ("wl-conn-17", "wl-conn-17"),
        ] {
            let listener = UnixListener::bind(folder.path().join(name)).unwrap();
            device.context(context).unwrap().send(b"hi", &[]).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            let mut got = String::new();
            std::io::Read::read_to_string(&mut stream, &mut got).unwrap();
            assert_eq!(got, "hi");
        }
        for beyond in ["../display", "/display", ".."] {
            assert!(
                matches!(device.context(beyond), Err(NewError::Refused)),
                "{beyond}"
            );
        }
        assert!(matches!(device.alloc(4096), Err(NewError::Unsupported)));
    }
}
