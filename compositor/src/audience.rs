// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who wants to know when a frame is seen.

use std::collections::BTreeMap;

use heraldry_config::VmName;
use smithay::desktop::utils::{OutputPresentationFeedback, take_presentation_feedback_surface_tree};
use smithay::output::Output;
use smithay::utils::{Monotonic, Time};
use smithay::wayland::presentation::Refresh;
use wayland_protocols::wp::presentation_time::server::wp_presentation_feedback::Kind;
use wayland_server::protocol::wl_surface::WlSurface;

/// The clients that asked, each VM with the screen as it knows it.
#[derive(Debug, Default)]
pub struct Audience(BTreeMap<VmName, OutputPresentationFeedback>);

impl Audience {
    /// Takes what was asked for the surfaces of a tree.
    pub(crate) fn take(&mut self, vm: &VmName, screen: &Output, root: &WlSurface) {
        let feedback = self.0.entry(vm.clone());
        let feedback = feedback.or_insert_with(|| OutputPresentationFeedback::new(screen));
        take_presentation_feedback_surface_tree(
            root,
            feedback,
            |_, _| Some(screen.clone()),
            |_, _| Kind::empty(),
        );
    }

    /// The frame is on the screen. `blank` is the number of the screen's refresh where the device counts them: frames are
    /// not, because their number would tell each VM when others draw.
    pub fn presented(&mut self, at: Time<Monotonic>, refresh: Refresh, blank: Option<u64>, flags: Kind) {
        let interval = match refresh {
            Refresh::Fixed(interval) | Refresh::Variable(interval) => interval.as_nanos().max(1),
            Refresh::Unknown => 1,
        };
        let since_boot = std::time::Duration::from(at).as_nanos();
        let sequence = blank.unwrap_or_else(|| u64::try_from(since_boot / interval).unwrap_or(u64::MAX));
        for feedback in self.0.values_mut() {
            feedback.presented(at, refresh, sequence, flags);
        }
    }

    /// The frame was not shown.
    pub fn discarded(&mut self) {
        self.0
            .values_mut()
            .for_each(OutputPresentationFeedback::discarded);
    }
}
