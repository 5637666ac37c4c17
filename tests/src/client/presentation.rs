// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a client was told of frames that were seen.

use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{Connection, Dispatch, Proxy, QueueHandle};
use wayland_protocols::wp::presentation_time::client::wp_presentation::WpPresentation;
use wayland_protocols::wp::presentation_time::client::wp_presentation_feedback::{
    self, WpPresentationFeedback,
};

use super::Client;
use super::seen::Seen;

wayland_client::delegate_noop!(Seen: ignore WpPresentation);

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
    /// Asks when the next content of a surface is seen.
    pub fn ask_when_seen(&self, surface: &WlSurface) {
        let presentation: WpPresentation = self.bind();
        presentation.feedback(surface, &self.handle(), ());
    }
}
