// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a client was told of frames that were seen, and of the scale to draw at.

use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{Connection, Dispatch, Proxy, QueueHandle};
use wayland_protocols::wp::fractional_scale::v1::client::wp_fractional_scale_manager_v1::WpFractionalScaleManagerV1;
use wayland_protocols::wp::fractional_scale::v1::client::wp_fractional_scale_v1::{
    self, WpFractionalScaleV1,
};
use wayland_protocols::wp::presentation_time::client::wp_presentation::WpPresentation;
use wayland_protocols::wp::presentation_time::client::wp_presentation_feedback::{
    self, WpPresentationFeedback,
};

use super::Client;
use super::events::Seen;

wayland_client::delegate_noop!(Seen: ignore WpPresentation);
wayland_client::delegate_noop!(Seen: ignore WpFractionalScaleManagerV1);

impl Dispatch<WpFractionalScaleV1, ()> for Seen {
    fn event(
        state: &mut Self,
        _: &WpFractionalScaleV1,
        event: wp_fractional_scale_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wp_fractional_scale_v1::Event::PreferredScale { scale } = event {
            state.log.push(format!("scale {scale}/120"));
        }
    }
}

impl Dispatch<WpPresentationFeedback, ()> for Seen {
    fn event(
        state: &mut Self,
        _: &WpPresentationFeedback,
        event: wp_presentation_feedback::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        use wp_presentation_feedback::Event as E;
        let text = match event {
            E::SyncOutput { output } => format!("on output {}", output.id().protocol_id()),
            E::Presented { seq_lo, .. } => format!("presented {seq_lo}"),
            _ => "discarded".to_owned(),
        };
        state.log.push(text);
    }
}

impl Client {
    /// Asks for the scale to draw a surface at.
    pub fn ask_for_scale(&self, surface: &WlSurface) {
        let manager: WpFractionalScaleManagerV1 = self.bind();
        manager.get_fractional_scale(surface, &self.handle(), ());
    }

    /// Asks when the next content of a surface is seen.
    pub fn ask_when_seen(&self, surface: &WlSurface) {
        let presentation: WpPresentation = self.bind();
        presentation.feedback(surface, &self.handle(), ());
    }
}
