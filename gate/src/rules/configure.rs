// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configures and their acknowledgements: Smithay ends a client that acknowledges what it does not wait for.
//!
//! It keeps what it has sent for a window or popup until it is acknowledged, or the role object goes. Here the same list is
//! kept for each `xdg_surface`, of the configures that came by on their way to the client. One that was sent before the
//! library knew that the role object is gone is not on its list: such a one comes before the deletion is confirmed. A
//! client cannot know that, and its acknowledgement is dropped.

use std::collections::VecDeque;

use wayland_protocols::xdg::shell::server::xdg_surface;

use crate::rules::{Action, Patches, Request};
use crate::violation::{Rule, Violation};

/// Configures of one surface that are kept. The compositor stops long before; see the limit `pending-configures`.
const KEPT: usize = 1024;

/// The configures of one `xdg_surface`.
#[derive(Debug, Default)]
pub(crate) struct Configures {
    /// The client's numbers and the compositor's serials of those that Smithay waits for, oldest first.
    waiting: VecDeque<(u32, u32)>,
    /// The last number that was acknowledged.
    acknowledged: Option<u32>,
    /// The newest number that was sent at all.
    newest: Option<u32>,
    /// Role objects that are destroyed and whose deletion is not confirmed.
    unconfirmed: u32,
}

/// Whether `number` was given out after `other`.
const fn is_after(number: u32, other: u32) -> bool {
    number.wrapping_sub(other).cast_signed() > 0
}

impl Configures {
    /// A configure goes to the client as `number`.
    pub(crate) fn sent(&mut self, number: u32, serial: u32) {
        if self.newest.is_none_or(|newest| is_after(number, newest)) {
            self.newest = Some(number);
        }
        if self.unconfirmed > 0 {
            return;
        }
        if self.waiting.len() >= KEPT {
            self.waiting.pop_front();
        }
        self.waiting.push_back((number, serial));
    }

    /// The client has destroyed the role object: Smithay forgets what it waits for.
    pub(crate) fn role_destroyed(&mut self) {
        self.waiting.clear();
        self.acknowledged = None;
        self.unconfirmed = self.unconfirmed.saturating_add(1);
    }

    /// Smithay has confirmed that.
    pub(crate) fn role_confirmed(&mut self) {
        self.unconfirmed = self.unconfirmed.saturating_sub(1);
    }

    /// `xdg_surface.ack_configure`.
    pub(crate) fn acknowledge(&mut self, request: &Request<'_>) -> Result<Action, Violation> {
        let number = request.args.uint(0);
        let refuse = |detail: String| {
            let code = xdg_surface::Error::InvalidSerial.into();
            Err(request.violation(Rule::UnsentConfigure, code, detail))
        };
        if let Some(at) = self.waiting.iter().position(|(known, _)| *known == number) {
            // What was sent before needs no acknowledgement any more, and may have none.
            let serial = self.waiting.drain(..=at).next_back().map(|(_, serial)| serial);
            self.acknowledged = Some(number);
            let word = serial.unwrap_or_default().cast_signed();
            return Ok(Patches::default().with(0, word).action());
        }
        if self.newest.is_none_or(|newest| is_after(number, newest)) {
            return refuse(format!("configure {number} was never sent"));
        }
        if self.acknowledged.is_some_and(|last| !is_after(number, last)) {
            return refuse(format!("configure {number} was acknowledged before"));
        }
        Ok(Action::Drop)
    }
}
