// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a client, in slices.
//!
//! When a connection closes, Smithay destroys everything that its client had at once, and keeps every other client
//! waiting for as long. So the gate destroys the client's objects first, in the order that the protocol wants, a few in
//! each turn of the main loop, and the connection is closed when little is left. What no request destroys is left to the
//! library, and there are few of these: [`Budget::Lasting`](crate::Budget::Lasting).
//!
//! Of a client with little only that is destroyed which Smithay would keep.

use std::collections::VecDeque;

use crate::send_queue::SendQueue;
use crate::services::Services;
use crate::session::Session;
use crate::tables::Kind;
use crate::wire::Writer;

/// Clients with fewer objects than this are not worth slices.
const WORTH_SLICING: usize = 256;

/// What is still to be destroyed: object and request.
#[derive(Debug, Default)]
pub struct Teardown(VecDeque<(u32, u16)>);

impl Teardown {
    /// Whether everything is said.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends the next requests, `count` at most, and says how many. They go to the compositor as they are.
    pub fn slice(&mut self, count: usize, out: &mut SendQueue) -> usize {
        let count = count.min(self.0.len());
        for (object, opcode) in self.0.drain(..count) {
            out.message(&Writer::new(object, opcode).finish());
        }
        count
    }
}

/// Objects that must go before others go first: what extends a role, the role, its xdg_surface, the surface, the buffer.
fn rank(kind: Kind) -> Option<u8> {
    Some(match kind {
        Kind::Display
        | Kind::Registry
        | Kind::Callback
        | Kind::Feedback
        | Kind::Compositor
        | Kind::Subcompositor
        | Kind::Shm
        | Kind::WmBase
        | Kind::DataDeviceManager
        | Kind::PrimaryManager => return None,
        Kind::Popup => 1,
        Kind::Toplevel => 2,
        Kind::XdgSurface => 3,
        Kind::Subsurface => 4,
        Kind::Surface => 5,
        Kind::Buffer => 6,
        Kind::ShmPool => 7,
        _ => 0,
    })
}

/// Whether Smithay keeps an object of this kind for as long as the VM's seat, unless a request destroys it.
fn is_kept(kind: Kind) -> bool {
    matches!(kind, Kind::DataDevice | Kind::PrimaryDevice)
}

impl<S: Services> Session<S> {
    /// The client is gone: what is to be said to the compositor before its connection is closed.
    ///
    /// A message that had come in part is forgotten; it never reached the compositor.
    #[must_use]
    pub fn teardown(&self) -> Teardown {
        let much = self.objects.count() >= WORTH_SLICING;
        let mut all: Vec<(u8, u32, u16)> = self
            .objects
            .live_of_client()
            .filter(|(_, object)| much || is_kept(object.kind))
            .filter_map(|(id, object)| {
                let rank = rank(object.kind)?;
                Some((rank, id, object.destructor()?))
            })
            .collect();
        // Children are made after their parents, so the newest goes first.
        all.sort_unstable_by_key(|(rank, id, _)| (*rank, std::cmp::Reverse(*id)));
        Teardown(all.into_iter().map(|(_, id, opcode)| (id, opcode)).collect())
    }
}
