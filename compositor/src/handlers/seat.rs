// SPDX-License-Identifier: MIT OR Apache-2.0
//! Seats: pointer, keyboard and touch as clients ask for them, and the pointer's picture.

use smithay::delegate_cursor_shape;
use smithay::input::pointer::CursorImageStatus;
use smithay::input::{Seat, SeatHandler, SeatState};
use smithay::wayland::seat::{
    KeyboardUserData, PointerUserData, SeatGlobalData, SeatUserData, TouchUserData,
};
use wayland_server::backend::ClientId;
use wayland_server::protocol::wl_keyboard::WlKeyboard;
use wayland_server::protocol::wl_pointer::WlPointer;
use wayland_server::protocol::wl_seat::{self, WlSeat};
use wayland_server::protocol::wl_surface::WlSurface;
use wayland_server::protocol::wl_touch::WlTouch;
use wayland_server::{Client, DataInit, Dispatch, DisplayHandle, GlobalDispatch, New, delegate_dispatch};

use crate::state::State;
use crate::vms::clients::ClientState;

impl SeatHandler for State {
    type KeyboardFocus = WlSurface;
    type PointerFocus = WlSurface;
    type TouchFocus = WlSurface;

    fn seat_state(&mut self) -> &mut SeatState<Self> {
        &mut self.core.seats
    }

    fn cursor_image(&mut self, seat: &Seat<Self>, image: CursorImageStatus) {
        if let Some(vm) = self.core.vms.by_seat(seat) {
            vm.cursor = image;
            self.core.render.schedule();
        }
    }
}

/// A seat's global between its creation by Smithay and its adoption by [`crate::vms::globals`]: nobody may see it in that
/// moment, or every VM would learn that another one has started.
impl GlobalDispatch<WlSeat, SeatGlobalData<Self>> for State {
    fn bind(
        state: &mut Self,
        handle: &DisplayHandle,
        client: &Client,
        resource: New<WlSeat>,
        global_data: &SeatGlobalData<Self>,
        data_init: &mut DataInit<'_, Self>,
    ) {
        <SeatState<Self> as GlobalDispatch<WlSeat, SeatGlobalData<Self>, Self>>::bind(
            state,
            handle,
            client,
            resource,
            global_data,
            data_init,
        );
    }

    fn can_view(_client: Client, _global_data: &SeatGlobalData<Self>) -> bool {
        false
    }
}

/// Who asks for touches is told of them as such.
impl Dispatch<WlSeat, SeatUserData<Self>> for State {
    fn request(
        state: &mut Self,
        client: &Client,
        resource: &WlSeat,
        request: wl_seat::Request,
        data: &SeatUserData<Self>,
        handle: &DisplayHandle,
        data_init: &mut DataInit<'_, Self>,
    ) {
        if let wl_seat::Request::GetTouch { .. } = &request
            && state.core.input.touches.offered()
            && let Some(client) = client.get_data::<ClientState>()
            && let Some(record) = state.core.clients.get_mut(client.key)
        {
            record.takes_touch = true;
        }
        <SeatState<Self> as Dispatch<WlSeat, SeatUserData<Self>, Self>>::request(
            state, client, resource, request, data, handle, data_init,
        );
    }

    fn destroyed(state: &mut Self, client: ClientId, resource: &WlSeat, data: &SeatUserData<Self>) {
        <SeatState<Self> as Dispatch<WlSeat, SeatUserData<Self>, Self>>::destroyed(
            state, client, resource, data,
        );
    }
}

delegate_dispatch!(State: [WlPointer: PointerUserData<State>] => SeatState<State>);
delegate_dispatch!(State: [WlKeyboard: KeyboardUserData<State>] => SeatState<State>);
delegate_dispatch!(State: [WlTouch: TouchUserData<State>] => SeatState<State>);
delegate_cursor_shape!(State);
