// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens once after every dispatch of the event loop, in this order:
//!
//! 1. connections that ended are forgotten, windows that had to wait appear;
//! 2. effects that handlers asked for are performed, windows that came or went settle the focus;
//! 3. seats learn of a moved keyboard focus, clients of changed sizes and states;
//! 4. the pointer's surface is looked up anew if anything under it changed;
//! 5. a frame is drawn if one is due, and its callbacks are sent;
//! 6. everything is flushed, once, and the gates may feed the next turn.

use std::time::Duration;

use calloop::timer::{TimeoutAction, Timer};
use smithay::desktop::utils::{
    OutputPresentationFeedback, send_frames_surface_tree, take_presentation_feedback_surface_tree,
};
use smithay::utils::{IsAlive, Monotonic, Time};
use smithay::wayland::presentation::Refresh;
use tracing::error;
use wayland_protocols::wp::presentation_time::server::wp_presentation_feedback::Kind;
use wayland_server::protocol::wl_surface::WlSurface;

use crate::backend::FRAME_INTERVAL;
use crate::state::State;

/// When frames are drawn: at most one each interval, none while nothing asks for one.
#[derive(Debug, Default)]
pub struct Pacer {
    last: Option<Duration>,
    armed: bool,
    sequence: u64,
}

impl Pacer {
    /// Frames so far.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.sequence
    }
}

impl State {
    /// The end of one turn of the event loop.
    pub fn tick(&mut self) {
        self.core.heart.begin();
        self.forget_departed();
        self.map_waiting();
        self.core.popups.cleanup();
        self.end_dead_popup_grabs();
        self.end_unfounded_drags();
        for effect in std::mem::take(&mut self.core.input.effects) {
            self.perform(effect);
        }
        self.settle_focus();
        self.apply_focus();
        let focus = self.core.input.focus();
        self.core.send_configures(focus);
        self.refresh_pointer();
        self.frame_if_due();
        // Errors belong to single clients, which the library drops by itself.
        let _per_client = self.core.display_handle.flush_clients();
        self.next_turns();
        self.core.heart.rest();
    }

    fn frame_if_due(&mut self) {
        if !self.core.render.is_dirty() || self.core.pacer.armed {
            return;
        }
        let now = self.core.clock.now();
        let due = self.core.pacer.last.map_or(now, |last| last + FRAME_INTERVAL);
        if now >= due {
            self.frame(now);
            return;
        }
        if !self.core.clock.runs() {
            return;
        }
        let timer = Timer::from_duration(due.saturating_sub(now));
        let armed = self.core.handle.insert_source(timer, |_, (), state: &mut Self| {
            state.core.pacer.armed = false;
            let now = state.core.clock.now();
            state.frame(now);
            TimeoutAction::Drop
        });
        match armed {
            Ok(_) => self.core.pacer.armed = true,
            Err(error) => {
                error!(%error, "cannot arm the frame timer; drawing at once");
                self.frame(now);
            }
        }
    }

    /// Draws a frame and tells clients that they may draw the next.
    fn frame(&mut self, now: Duration) {
        self.core.heart.begin();
        self.core.render.take_dirty();
        self.core.uploads_drawn();
        if let Err(error) = self.backend.render(&mut self.core) {
            error!(%error, "a frame could not be drawn");
        }
        self.core.pacer.last = Some(now);
        self.core.pacer.sequence = self.core.pacer.sequence.saturating_add(1);
        let sequence = self.core.pacer.sequence;
        let output = self.core.output.clone();
        let mut feedback = OutputPresentationFeedback::new(&output);
        for surface in self.surfaces() {
            send_frames_surface_tree(&surface, &output, now, Some(Duration::ZERO), |_, _| {
                Some(output.clone())
            });
            take_presentation_feedback_surface_tree(
                &surface,
                &mut feedback,
                |_, _| Some(output.clone()),
                |_, _| Kind::empty(),
            );
        }
        feedback.presented(
            Time::<Monotonic>::from(now),
            Refresh::fixed(FRAME_INTERVAL),
            sequence,
            Kind::empty(),
        );
    }

    /// Roots of every surface tree that is shown or may be: covered and minimised windows get their callbacks too,
    /// so that the rate tells a VM nothing about the windows of others.
    fn surfaces(&self) -> Vec<WlSurface> {
        let mut surfaces = Vec::new();
        for window in self.core.windows.iter() {
            surfaces.push(window.toplevel.wl_surface().clone());
            surfaces.extend(
                smithay::desktop::PopupManager::popups_for_surface(window.toplevel.wl_surface())
                    .map(|(popup, _)| popup.wl_surface().clone()),
            );
        }
        for vm in self.core.vms.iter() {
            surfaces.extend(vm.drag_icon.clone());
            if let smithay::input::pointer::CursorImageStatus::Surface(surface) = &vm.cursor {
                surfaces.push(surface.clone());
            }
        }
        surfaces.retain(IsAlive::alive);
        surfaces
    }

    /// Size or scale of the output changed.
    pub fn output_changed(&mut self) {
        let area = crate::run::area_of(&self.core.output);
        let (frame, thin) = crate::run::insets(&self.core.render.style);
        self.core.windows.layout.set_area(area, frame, thin);
        self.core.input.refresh_pointer = true;
        self.core.render.schedule();
    }
}
