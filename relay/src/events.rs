// SPDX-License-Identifier: MIT OR Apache-2.0
//! What comes in from a VM's side, and what the main thread hears of it.

use std::os::unix::net::UnixStream;

use heraldry_gate::Globals;
use heraldry_identity::VmName;
use heraldry_wire::display::Announcement;

/// Number of a connection, unique for the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey(pub u64);

/// What was decided of a connection when it came. It holds until the connection ends, whatever a reload changes: a client
/// that was told of a global may bind it.
#[derive(Debug, Clone)]
pub struct Admission {
    /// The connection's number.
    pub key: ClientKey,
    /// The VM, as the host daemon named it.
    pub vm: VmName,
    /// What the client's registry shows, for the gate and for the compositor.
    pub globals: Globals,
}

/// One accepted connection, before anything of it was read.
#[derive(Debug)]
pub enum Endpoint {
    /// A development socket's stream.
    Socket(UnixStream),
    /// A connection that the host announced.
    Announced(Announcement),
}

/// What the relays and the thread of the display socket tell the main thread.
#[derive(Debug)]
pub enum VmEvent {
    /// The host has accepted a client.
    Announced(Announcement),
    /// An announced client waits no more.
    Withdrawn(u64),
    /// The host can be told again what its connections may send.
    HostIsThere,
    /// A relay has the connection open; this is the compositor's end of it.
    Connected(Admission, UnixStream),
    /// A relay could not open a connection.
    Failed(ClientKey),
    /// A client of the VM broke a rule and is ended.
    Violated(VmName),
}
