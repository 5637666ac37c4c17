// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which protocols the gate can decode, and which interfaces have rules of their own.
//!
//! All signatures come from the generated tables of the protocol crates; nothing here is typed by hand. To add a
//! protocol, add its global to [`GLOBALS`] (its other interfaces follow from there), and rules if it needs some.

use wayland_backend::protocol::Interface;
use wayland_protocols::wp::cursor_shape::v1::server::wp_cursor_shape_manager_v1::WpCursorShapeManagerV1;
use wayland_protocols::wp::fractional_scale::v1::server::wp_fractional_scale_manager_v1::WpFractionalScaleManagerV1;
use wayland_protocols::wp::presentation_time::server::wp_presentation::WpPresentation;
use wayland_protocols::wp::primary_selection::zv1::server::zwp_primary_selection_device_manager_v1::ZwpPrimarySelectionDeviceManagerV1;
use wayland_protocols::wp::single_pixel_buffer::v1::server::wp_single_pixel_buffer_manager_v1::WpSinglePixelBufferManagerV1;
use wayland_protocols::wp::tablet::zv2::server::zwp_tablet_manager_v2::ZwpTabletManagerV2;
use wayland_protocols::wp::viewporter::server::wp_viewporter::WpViewporter;
use wayland_protocols::xdg::decoration::zv1::server::zxdg_decoration_manager_v1::ZxdgDecorationManagerV1;
use wayland_protocols::xdg::shell::server::xdg_wm_base::XdgWmBase;
use wayland_protocols::xdg::xdg_output::zv1::server::zxdg_output_manager_v1::ZxdgOutputManagerV1;
use wayland_protocols_misc::server_decoration::server::org_kde_kwin_server_decoration_manager::OrgKdeKwinServerDecorationManager;
use wayland_server::Resource;
use wayland_server::protocol::__interfaces::WL_DISPLAY_INTERFACE;
use wayland_server::protocol::wl_compositor::WlCompositor;
use wayland_server::protocol::wl_data_device_manager::WlDataDeviceManager;
use wayland_server::protocol::wl_output::WlOutput;
use wayland_server::protocol::wl_seat::WlSeat;
use wayland_server::protocol::wl_shm::WlShm;
use wayland_server::protocol::wl_subcompositor::WlSubcompositor;

/// The interface of object 1.
#[must_use]
pub fn display() -> &'static Interface {
    &WL_DISPLAY_INTERFACE
}

/// The globals that the gate can decode. Which of them a client may have is not decided here.
///
/// Sessions that were recorded for fuzzing name globals by their place here, from 1: a new one goes to the end.
pub const GLOBALS: &[fn() -> &'static Interface] = &[
    WlCompositor::interface,
    WlShm::interface,
    WlSubcompositor::interface,
    WlDataDeviceManager::interface,
    WlOutput::interface,
    WlSeat::interface,
    XdgWmBase::interface,
    ZxdgDecorationManagerV1::interface,
    OrgKdeKwinServerDecorationManager::interface,
    WpViewporter::interface,
    WpFractionalScaleManagerV1::interface,
    WpCursorShapeManagerV1::interface,
    WpPresentation::interface,
    WpSinglePixelBufferManagerV1::interface,
    ZwpPrimarySelectionDeviceManagerV1::interface,
    ZxdgOutputManagerV1::interface,
    ZwpTabletManagerV2::interface,
];

/// The global called `name`, if the gate can decode it.
#[must_use]
pub fn global(name: &str) -> Option<&'static Interface> {
    GLOBALS
        .iter()
        .map(|interface| interface())
        .find(|interface| interface.name == name)
}

macro_rules! kinds {
    ($($variant:ident = $name:literal,)+) => {
        /// The interfaces that the rules know; resolved once when an object is made.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Kind {
            $($variant,)+
            /// Decoded and passed on without further rules.
            Other,
        }

        impl Kind {
            /// The kind of `interface`.
            pub(crate) fn of(interface: &Interface) -> Self {
                match interface.name {
                    $($name => Self::$variant,)+
                    _ => Self::Other,
                }
            }

            /// The interfaces with rules, by name.
            #[cfg(test)]
            pub(crate) const NAMES: &'static [&'static str] = &[$($name,)+];
        }
    };
}

kinds! {
    Display = "wl_display",
    Registry = "wl_registry",
    Callback = "wl_callback",
    Feedback = "wp_presentation_feedback",
    Compositor = "wl_compositor",
    Surface = "wl_surface",
    Region = "wl_region",
    Subcompositor = "wl_subcompositor",
    Subsurface = "wl_subsurface",
    Shm = "wl_shm",
    ShmPool = "wl_shm_pool",
    Buffer = "wl_buffer",
    Output = "wl_output",
    XdgOutput = "zxdg_output_v1",
    Seat = "wl_seat",
    Pointer = "wl_pointer",
    Keyboard = "wl_keyboard",
    Touch = "wl_touch",
    TabletSeat = "zwp_tablet_seat_v2",
    TabletTool = "zwp_tablet_tool_v2",
    DataDeviceManager = "wl_data_device_manager",
    DataDevice = "wl_data_device",
    DataOffer = "wl_data_offer",
    DataSource = "wl_data_source",
    PrimaryManager = "zwp_primary_selection_device_manager_v1",
    PrimaryDevice = "zwp_primary_selection_device_v1",
    PrimarySource = "zwp_primary_selection_source_v1",
    WmBase = "xdg_wm_base",
    Positioner = "xdg_positioner",
    XdgSurface = "xdg_surface",
    Toplevel = "xdg_toplevel",
    Popup = "xdg_popup",
    Viewporter = "wp_viewporter",
    Viewport = "wp_viewport",
    FractionalManager = "wp_fractional_scale_manager_v1",
    FractionalScale = "wp_fractional_scale_v1",
    DecorationManager = "zxdg_decoration_manager_v1",
    Decoration = "zxdg_toplevel_decoration_v1",
}
