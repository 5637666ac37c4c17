// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many objects of one interface a client has. Smithay keeps those of seats, outputs and data devices in lists, and looks
//! through a list at each event: 15,000 `wl_pointer`s cost 25 ms a motion.

use std::collections::HashMap;

use super::{Request, State};
use crate::limits::Limits;
use crate::tables::Kind;
use crate::violation::{Rule, Violation};

/// How many a client has of each kind that is kept in a list.
#[derive(Debug, Default)]
pub(super) struct Instances(HashMap<Kind, u32>);

/// Whether Smithay keeps objects of this kind in a list that it looks through.
pub(crate) const fn is_listed(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Output
            | Kind::XdgOutput
            | Kind::Seat
            | Kind::Pointer
            | Kind::Keyboard
            | Kind::Touch
            | Kind::DataDevice
            | Kind::PrimaryDevice
            | Kind::TabletSeat
    )
}

impl State {
    /// A client makes one more.
    pub(super) fn instance_made(
        &mut self,
        request: &Request<'_>,
        kind: Kind,
        limits: &Limits,
    ) -> Result<(), Violation> {
        if !is_listed(kind) {
            return Ok(());
        }
        let count = self.instances.0.entry(kind).or_default();
        if *count >= limits.instances {
            return Err(request.limit(Rule::TooManyInstances, limits.instances));
        }
        *count = count.saturating_add(1);
        Ok(())
    }

    /// A client has destroyed one.
    pub(super) fn instance_destroyed(&mut self, kind: Kind) {
        if let Some(count) = self.instances.0.get_mut(&kind) {
            *count = count.saturating_sub(1);
        }
    }
}
