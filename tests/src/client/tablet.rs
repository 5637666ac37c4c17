// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a client was told of pens.

use wayland_client::{Connection, Dispatch, QueueHandle, WEnum, delegate_noop, event_created_child};
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_manager_v2::ZwpTabletManagerV2;
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_pad_v2::ZwpTabletPadV2;
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_seat_v2::{
    self, EVT_PAD_ADDED_OPCODE, EVT_TABLET_ADDED_OPCODE, EVT_TOOL_ADDED_OPCODE, ZwpTabletSeatV2,
};
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_tool_v2::{self, ZwpTabletToolV2};
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_v2::{self, ZwpTabletV2};

use super::events::Seen;

delegate_noop!(Seen: ZwpTabletManagerV2);
delegate_noop!(Seen: ignore ZwpTabletPadV2);

impl Dispatch<ZwpTabletSeatV2, ()> for Seen {
    fn event(
        state: &mut Self,
        _: &ZwpTabletSeatV2,
        event: zwp_tablet_seat_v2::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        use zwp_tablet_seat_v2::Event as E;
        let text = match event {
            E::TabletAdded { .. } => "a tablet",
            E::ToolAdded { .. } => "a tool",
            _ => "a pad",
        };
        state.log.push(text.to_owned());
    }

    event_created_child!(Seen, ZwpTabletSeatV2, [
        EVT_TABLET_ADDED_OPCODE => (ZwpTabletV2, ()),
        EVT_TOOL_ADDED_OPCODE => (ZwpTabletToolV2, ()),
        EVT_PAD_ADDED_OPCODE => (ZwpTabletPadV2, ()),
    ]);
}

impl Dispatch<ZwpTabletV2, ()> for Seen {
    fn event(
        state: &mut Self,
        _: &ZwpTabletV2,
        event: zwp_tablet_v2::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if !matches!(event, zwp_tablet_v2::Event::Done) {
            state.log.push(format!("tablet: {event:?}"));
        }
    }
}

impl Dispatch<ZwpTabletToolV2, ()> for Seen {
    fn event(
        state: &mut Self,
        _: &ZwpTabletToolV2,
        event: zwp_tablet_tool_v2::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        use zwp_tablet_tool_v2::Event as E;
        let text = match event {
            E::ProximityIn { surface, .. } => format!("pen over {}", state.surface(&surface)),
            E::ProximityOut => "pen away".to_owned(),
            E::Down { serial } => {
                state.press_serial = serial;
                "pen down".to_owned()
            }
            E::Up => "pen up".to_owned(),
            E::Motion { x, y } => format!("pen at {x},{y}"),
            E::Pressure { pressure } => format!("pressure {pressure}"),
            E::Wheel { degrees, clicks } => format!("pen's wheel {degrees},{clicks}"),
            E::Tilt { tilt_x, tilt_y } => format!("tilt {tilt_x},{tilt_y}"),
            E::Button {
                button,
                state: WEnum::Value(pressed),
                ..
            } => format!("pen's button {button} {pressed:?}"),
            E::Type {
                tool_type: WEnum::Value(kind),
            } => format!("tool: {kind:?}"),
            E::HardwareSerial {
                hardware_serial_hi: 0,
                hardware_serial_lo: 0,
            }
            | E::HardwareIdWacom {
                hardware_id_hi: 0,
                hardware_id_lo: 0,
            }
            | E::Done
            | E::Frame { .. } => return,
            other => format!("tool: {other:?}"),
        };
        state.log.push(text);
    }
}
