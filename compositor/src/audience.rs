// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who is told of a frame: clients that may draw the next one, and those that want to know when it is seen.
//!
//! A client may ask thousands of times, and each answer of the second kind names every output that the client has. A VM
//! gets so many answers a frame; the rest comes with the next ones.

use std::collections::BTreeMap;
use std::time::Duration;

use heraldry_config::VmName;
use smithay::output::Output;
use smithay::utils::{Monotonic, Time};
use smithay::wayland::compositor::{SurfaceAttributes, SurfaceData};
use smithay::wayland::presentation::{
    PresentationFeedbackCachedState, PresentationFeedbackCallback, Refresh,
};
use wayland_protocols::wp::presentation_time::server::wp_presentation_feedback::Kind;
use wayland_server::protocol::wl_surface::WlSurface;

use crate::presence::each_surface;

/// Frame callbacks of a VM that are answered in a frame.
const CALLBACKS: usize = 1024;
/// Presentation feedbacks of a VM that are answered in a frame.
const FEEDBACKS: usize = 64;

/// What was asked by one VM.
#[derive(Debug)]
struct Asked {
    /// The screen as the VM knows it.
    screen: Output,
    feedbacks: Vec<PresentationFeedbackCallback>,
    /// Frame callbacks that were answered.
    callbacks: usize,
}

impl Asked {
    /// Answers and takes what one surface asks. Returns whether that is all.
    fn take(&mut self, states: &SurfaceData, millis: u32) -> bool {
        let mut attributes = states.cached_state.get::<SurfaceAttributes>();
        let callbacks = &mut attributes.current().frame_callbacks;
        let may = callbacks.len().min(CALLBACKS.saturating_sub(self.callbacks));
        for callback in callbacks.drain(..may) {
            callback.done(millis);
        }
        self.callbacks = self.callbacks.saturating_add(may);
        let mut asked = states.cached_state.get::<PresentationFeedbackCachedState>();
        let feedbacks = &mut asked.current().callbacks;
        let may = feedbacks
            .len()
            .min(FEEDBACKS.saturating_sub(self.feedbacks.len()));
        self.feedbacks.extend(feedbacks.drain(..may));
        callbacks.is_empty() && feedbacks.is_empty()
    }
}

/// The clients that want to know when a frame is seen.
#[derive(Debug, Default)]
pub struct Audience(BTreeMap<VmName, Asked>);

impl Audience {
    /// Tells the clients of a tree that they may draw, and takes note of those that want to know when it is seen. Returns
    /// whether all were answered.
    pub(crate) fn take(&mut self, vm: &VmName, screen: &Output, root: &WlSurface, now: Duration) -> bool {
        let asked = self.0.entry(vm.clone()).or_insert_with(|| Asked {
            screen: screen.clone(),
            feedbacks: Vec::new(),
            callbacks: 0,
        });
        // The protocol's milliseconds wrap.
        let millis = u32::try_from(now.as_millis() & u128::from(u32::MAX)).unwrap_or(0);
        let mut all = true;
        each_surface(root, |_, states| all &= asked.take(states, millis));
        all
    }

    /// The frame is on the screen. `blank` is the number of the screen's refresh where the device counts them: frames are
    /// not, because their number would tell each VM when others draw.
    pub fn presented(&mut self, at: Time<Monotonic>, refresh: Refresh, blank: Option<u64>, flags: Kind) {
        let interval = match refresh {
            Refresh::Fixed(interval) | Refresh::Variable(interval) => interval.as_nanos().max(1),
            Refresh::Unknown => 1,
        };
        let at = Duration::from(at);
        let sequence = blank.unwrap_or_else(|| u64::try_from(at.as_nanos() / interval).unwrap_or(u64::MAX));
        for asked in self.0.values_mut() {
            for feedback in asked.feedbacks.drain(..) {
                feedback.presented(&asked.screen, at, refresh, sequence, flags);
            }
        }
    }

    /// The frame was not shown.
    pub fn discarded(&mut self) {
        let asked = self.0.values_mut();
        asked
            .flat_map(|asked| asked.feedbacks.drain(..))
            .for_each(PresentationFeedbackCallback::discarded);
    }
}
