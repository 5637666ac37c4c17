// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens once after every dispatch of the event loop, in this order:
//!
//! 1. connections that ended are forgotten, trees that changed are measured, windows that had to wait appear;
//! 2. grabs and drags that lost their ground end, effects that handlers asked for are performed, windows that came or went
//!    settle the focus;
//! 3. seats learn of a moved keyboard focus, clients of changed sizes and states;
//! 4. the pointer's surface is looked up again if anything under it changed;
//! 5. a frame is drawn if one is due, and its callbacks are sent;
//! 6. everything is flushed, once, and the gates may feed the next turn.

use std::collections::BTreeSet;
use std::time::Duration;

use heraldry_identity::VmName;
use smithay::utils::{IsAlive, Monotonic, Time};
use smithay::wayland::presentation::Refresh;
use tracing::error;
use wayland_protocols::wp::presentation_time::server::wp_presentation_feedback::Kind;
use wayland_server::protocol::wl_surface::WlSurface;

use crate::backend::Backend;
use crate::desktop::frame_clock::Drawn;
use crate::desktop::outputs::{Screen, ScreenId};
use crate::frame_feedback::FrameFeedback;
use crate::input::Effect;
use crate::state::{Core, State};
use crate::trees;
use crate::vms::booking::Work;

impl State {
    /// The end of one turn of the event loop.
    pub fn tick(&mut self) {
        self.core.watchdog.turn_begins();
        self.forget_disconnected();
        self.measure_trees();
        self.map_waiting();
        if std::mem::take(&mut self.core.popups_gone) {
            self.core.popups.cleanup();
        }
        self.end_dead_popup_grabs();
        self.end_unfounded_drags();
        for effect in self.core.input.effects.take() {
            self.perform_booked(effect);
        }
        self.settle_focus();
        self.core.end_announcements();
        self.apply_focus();
        self.send_configures();
        self.refresh_pointer();
        self.frame_if_due();
        // Errors belong to single clients, which wayland-backend drops by itself.
        let _per_client = self.core.display_handle.flush_clients();
        self.next_turns();
        self.core.watchdog.turn_ends();
    }

    /// Performs an effect on the account of the VM whose window it is about.
    fn perform_booked(&mut self, effect: Effect) {
        let window = effect.window().and_then(|id| self.core.windows.get(id));
        match window.map(|window| window.vm.clone()) {
            Some(vm) => {
                let books = self.core.books.clone();
                books.book(&vm, Work::Requests, || self.perform(effect));
            }
            None => self.perform(effect),
        }
    }

    fn frame_if_due(&mut self) {
        if matches!(self.backend, Backend::Kms(_)) {
            self.kms_frames();
            return;
        }
        if self.core.render.take_dirty() {
            self.core.frame_clock.want();
        }
        let now = self.core.clock.now();
        if self.core.frame_clock.is_due(now) {
            self.frame(now);
        }
    }

    /// When there is something to do though nothing happens; the loop waits no longer than that.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        let core = &self.core;
        if core.render.is_dirty() {
            return Some(core.clock.now());
        }
        let frame = match self.backend {
            Backend::Kms(_) => self.kms_deadline(),
            Backend::Blind | Backend::Headless(_) | Backend::Winit(_) => core.frame_clock.deadline(),
        };
        let deadlines = [
            frame,
            core.maps_due,
            core.marks_due,
            core.announcements.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Draws a frame and tells clients that they may draw the next.
    fn frame(&mut self, start: Duration) {
        self.core.uploads_drawn();
        if let Err(error) = self.backend.render(&mut self.core) {
            // Nobody has seen it: it is drawn again, less and less often, and nobody is told of it.
            if self.core.frame_clock.failures() == 0 {
                error!(%error, "a frame could not be drawn; trying again");
            }
            let end = self.core.clock.now();
            self.core.frame_clock.failed(Drawn { start, end });
            return;
        }
        let screens: Vec<_> = self.core.outputs.iter().map(Screen::id).collect();
        for screen in screens {
            if let Some(mut feedback) = self.core.frame_drawn(screen, start) {
                let refresh = Refresh::fixed(self.core.frame_clock.interval());
                feedback.presented(Time::<Monotonic>::from(start), refresh, None, Kind::empty());
            }
        }
        let end = self.core.clock.now();
        self.core.frame_clock.shown(Drawn { start, end });
    }

    /// Screens came or went, or one has another size or scale.
    pub fn output_changed(&mut self) {
        let areas = self.core.outputs.areas();
        let (frame, thin) = crate::run::insets(&self.core.render.style(1.0));
        let places = self.core.places();
        self.core.windows.layout.set_areas(areas, frame, thin);
        self.core.stand_again(&places);
        self.core.input.pointer = self.core.outputs.nearest(self.core.input.pointer);
        self.core.input.refresh_pointer = true;
        self.core.render.schedule();
    }
}

impl Core {
    /// A screen's frame is drawn: tells the clients on it that they may draw the next. Returns who wants to know when it
    /// is seen; `None` if the screen is gone.
    pub(crate) fn frame_drawn(&mut self, screen: ScreenId, now: Duration) -> Option<FrameFeedback> {
        self.note_view(screen);
        self.frames = self.frames.saturating_add(1);
        let asking = self.surfaces_of(screen);
        let vms: BTreeSet<_> = asking.iter().map(|(vm, _)| vm).collect();
        let mut feedback = FrameFeedback::new(vms.len());
        let mut more = false;
        for (vm, root) in asking {
            let Some(output) = self.outputs.get(screen)?.output_for(&vm) else {
                continue;
            };
            let all = self
                .books
                .book(&vm, Work::Drawing, || feedback.take(&vm, output, &root, now));
            if all {
                trees::set_told(&root);
            }
            more |= !all;
        }
        if more {
            self.render.schedule();
        }
        Some(feedback)
    }

    /// Roots of every surface tree that this screen shows or might: covered and minimised windows get their callbacks
    /// too, so that the rate tells a VM nothing about the windows of others.
    ///
    /// Pictures of pointers and drags are on the first screen, wherever the pointer is: it may be over other VMs' windows.
    fn surfaces_of(&self, screen: ScreenId) -> Vec<(VmName, WlSurface)> {
        let mut surfaces = Vec::new();
        let windows = self
            .windows
            .iter()
            .filter(|window| self.screen_of_window(window.id) == screen);
        for window in windows {
            surfaces.extend(window.roots().map(|root| (window.vm.clone(), root)));
        }
        if self.outputs.first().id() == screen {
            for vm in self.vms.iter() {
                surfaces.extend(vm.drag_icon.clone().map(|icon| (vm.name.clone(), icon)));
                if let smithay::input::pointer::CursorImageStatus::Surface(surface) = &vm.cursor {
                    surfaces.push((vm.name.clone(), surface.clone()));
                }
            }
        }
        surfaces.retain(|(_, surface)| surface.alive() && trees::asks(surface));
        surfaces
    }
}
