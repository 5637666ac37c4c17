// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who is told of a frame: clients that may draw the next one, and those that want to know when it is seen.
//!
//! A client may ask thousands of times, and each answer of the second kind names every output that the client has. So many
//! events are sent in a frame; the rest comes with the next ones.

use std::collections::BTreeMap;
use std::time::Duration;

use heraldry_identity::VmName;
use smithay::output::Output;
use smithay::utils::{Monotonic, Time};
use smithay::wayland::compositor::{SurfaceAttributes, SurfaceData};
use smithay::wayland::presentation::{
    PresentationFeedbackCachedState, PresentationFeedbackCallback, Refresh,
};
use wayland_protocols::wp::presentation_time::server::wp_presentation_feedback::Kind;
use wayland_server::protocol::wl_surface::WlSurface;
use wayland_server::{Client, Resource};

use crate::desktop::output_enter::each_surface;

/// Events that tell of a frame: for each VM at most, and for all that ask together.
const EVENTS: (usize, usize) = (1024, 2048);
/// A presentation feedback's events are dearer than a callback's, which only has a number in it.
const FEEDBACK: usize = 2;

/// What was asked by one VM.
#[derive(Debug)]
struct Asked {
    /// The screen as the VM knows it.
    screen: Output,
    feedbacks: Vec<PresentationFeedbackCallback>,
    /// Events that are left to it.
    left: usize,
}

impl Asked {
    /// Answers and takes what one surface asks. Returns whether that is all.
    fn take(&mut self, client: Option<&Client>, states: &SurfaceData, millis: u32) -> bool {
        let mut attributes = states.cached_state.get::<SurfaceAttributes>();
        let callbacks = &mut attributes.current().frame_callbacks;
        let may = callbacks.len().min(self.left);
        for callback in callbacks.drain(..may) {
            callback.done(millis);
        }
        self.left -= may;
        let mut asked = states.cached_state.get::<PresentationFeedbackCachedState>();
        let feedbacks = &mut asked.current().callbacks;
        if !feedbacks.is_empty() {
            let outputs = client.map_or(0, |client| self.screen.client_outputs(client).count());
            let each = FEEDBACK.saturating_mul(outputs.saturating_add(1));
            // One is answered in each frame, however much it costs.
            let may = if self.left == 0 {
                0
            } else {
                (self.left / each).max(1)
            };
            let may = feedbacks.len().min(may);
            self.feedbacks.extend(feedbacks.drain(..may));
            self.left = self.left.saturating_sub(may.saturating_mul(each));
        }
        callbacks.is_empty() && feedbacks.is_empty()
    }
}

/// What clients asked about a frame: those that want to know when it is seen.
#[derive(Debug)]
pub struct FrameFeedback {
    asked: BTreeMap<VmName, Asked>,
    /// Events for each VM.
    share: usize,
}

impl FrameFeedback {
    /// For so many VMs that ask.
    pub(crate) fn new(vms: usize) -> Self {
        Self {
            asked: BTreeMap::new(),
            share: (EVENTS.1 / vms.max(1)).clamp(1, EVENTS.0),
        }
    }

    /// Tells the clients of a tree that they may draw, and takes note of those that want to know when it is seen. Returns
    /// whether all were answered.
    pub(crate) fn take(&mut self, vm: &VmName, screen: &Output, root: &WlSurface, now: Duration) -> bool {
        let asked = self.asked.entry(vm.clone()).or_insert_with(|| Asked {
            screen: screen.clone(),
            feedbacks: Vec::new(),
            left: self.share,
        });
        // The protocol's milliseconds wrap.
        let millis = u32::try_from(now.as_millis() & u128::from(u32::MAX)).unwrap_or(0);
        let mut all = true;
        let client = root.client();
        each_surface(root, |_, states| {
            all &= asked.take(client.as_ref(), states, millis)
        });
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
        for asked in self.asked.values_mut() {
            for feedback in asked.feedbacks.drain(..) {
                feedback.presented(&asked.screen, at, refresh, sequence, flags);
            }
        }
    }

    /// The frame was not shown.
    pub fn discarded(&mut self) {
        let asked = self.asked.values_mut();
        asked
            .flat_map(|asked| asked.feedbacks.drain(..))
            .for_each(PresentationFeedbackCallback::discarded);
    }
}
