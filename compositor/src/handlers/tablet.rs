// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tablets: pens as clients ask for them.

use smithay::wayland::tablet_manager::{
    TabletManagerState, TabletSeatHandler, TabletSeatUserData, TabletToolUserData, TabletUserData,
};
use wayland_protocols::wp::tablet::zv2::server::zwp_tablet_manager_v2::{self, ZwpTabletManagerV2};
use wayland_protocols::wp::tablet::zv2::server::zwp_tablet_seat_v2::ZwpTabletSeatV2;
use wayland_protocols::wp::tablet::zv2::server::zwp_tablet_tool_v2::ZwpTabletToolV2;
use wayland_protocols::wp::tablet::zv2::server::zwp_tablet_v2::ZwpTabletV2;
use wayland_server::{
    Client, DataInit, Dispatch, DisplayHandle, delegate_dispatch, delegate_global_dispatch,
};

use crate::state::State;
use crate::vms::clients::ClientState;

/// What a client wants a pen to look like is not heard: it is a cross over every client that takes pens.
impl TabletSeatHandler for State {}

/// Who asks for tablets is told of pens as such.
impl Dispatch<ZwpTabletManagerV2, ()> for State {
    fn request(
        state: &mut Self,
        client: &Client,
        resource: &ZwpTabletManagerV2,
        request: zwp_tablet_manager_v2::Request,
        data: &(),
        handle: &DisplayHandle,
        data_init: &mut DataInit<'_, Self>,
    ) {
        if let zwp_tablet_manager_v2::Request::GetTabletSeat { .. } = &request
            && let Some(client) = client.get_data::<ClientState>()
            && let Some(record) = state.core.clients.get_mut(client.key)
        {
            record.takes_pen = true;
        }
        <TabletManagerState as Dispatch<ZwpTabletManagerV2, (), Self>>::request(
            state, client, resource, request, data, handle, data_init,
        );
    }
}

delegate_global_dispatch!(State: [ZwpTabletManagerV2: ()] => TabletManagerState);
delegate_dispatch!(State: [ZwpTabletSeatV2: TabletSeatUserData] => TabletManagerState);
delegate_dispatch!(State: [ZwpTabletToolV2: TabletToolUserData] => TabletManagerState);
delegate_dispatch!(State: [ZwpTabletV2: TabletUserData] => TabletManagerState);
