// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tables of the globals that a client may bind.

use wayland_client::Proxy as _;
use wayland_client::backend::protocol::Interface;
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_data_device_manager::WlDataDeviceManager;
use wayland_client::protocol::wl_display::WlDisplay;
use wayland_client::protocol::wl_output::WlOutput;
use wayland_client::protocol::wl_seat::WlSeat;
use wayland_client::protocol::wl_shm::WlShm;
use wayland_client::protocol::wl_subcompositor::WlSubcompositor;
use wayland_protocols::wp::cursor_shape::v1::client::wp_cursor_shape_manager_v1::WpCursorShapeManagerV1;
use wayland_protocols::wp::fractional_scale::v1::client::wp_fractional_scale_manager_v1::WpFractionalScaleManagerV1;
use wayland_protocols::wp::presentation_time::client::wp_presentation::WpPresentation;
use wayland_protocols::wp::primary_selection::zv1::client::zwp_primary_selection_device_manager_v1::ZwpPrimarySelectionDeviceManagerV1;
use wayland_protocols::wp::single_pixel_buffer::v1::client::wp_single_pixel_buffer_manager_v1::WpSinglePixelBufferManagerV1;
use wayland_protocols::wp::viewporter::client::wp_viewporter::WpViewporter;
use wayland_protocols::xdg::decoration::zv1::client::zxdg_decoration_manager_v1::ZxdgDecorationManagerV1;
use wayland_protocols::xdg::shell::client::xdg_wm_base::XdgWmBase;
use wayland_protocols::xdg::xdg_output::zv1::client::zxdg_output_manager_v1::ZxdgOutputManagerV1;
use wayland_protocols_misc::server_decoration::client::org_kde_kwin_server_decoration_manager::OrgKdeKwinServerDecorationManager;

const GLOBALS: &[fn() -> &'static Interface] = &[
    OrgKdeKwinServerDecorationManager::interface,
    WlCompositor::interface,
    WlDataDeviceManager::interface,
    WlOutput::interface,
    WlSeat::interface,
    WlShm::interface,
    WlSubcompositor::interface,
    WpCursorShapeManagerV1::interface,
    WpFractionalScaleManagerV1::interface,
    WpPresentation::interface,
    WpSinglePixelBufferManagerV1::interface,
    WpViewporter::interface,
    XdgWmBase::interface,
    ZwpPrimarySelectionDeviceManagerV1::interface,
    ZxdgDecorationManagerV1::interface,
    ZxdgOutputManagerV1::interface,
];

/// The interface of object 1.
pub(super) fn display() -> &'static Interface {
    WlDisplay::interface()
}

/// The global of this name.
pub(super) fn find(name: &str) -> Option<&'static Interface> {
    GLOBALS
        .iter()
        .map(|interface| interface())
        .find(|interface| interface.name == name)
}
