// SPDX-License-Identifier: MIT OR Apache-2.0
//! The only place where Wayland globals come into being, and the filter that every one of them has.
//!
//! Smithay creates a global, [`adopt`] takes it off the registry and puts it back behind [`Filtered`], which asks what
//! the policy allowed when a client came. So a global that a library update adds is invisible until it is created here
//! and listed in the policy.

use std::collections::VecDeque;
use std::sync::Arc;

use heraldry_identity::VmName;
use smithay::backend::renderer::pixman::PixmanRenderer;
use smithay::wayland::compositor::CompositorState;
use smithay::wayland::cursor_shape::CursorShapeManagerState;
use smithay::wayland::fractional_scale::FractionalScaleManagerState;
use smithay::wayland::output::{OutputManagerState, OutputUserData, WlOutputData, XdgOutputUserData};
use smithay::wayland::presentation::PresentationState;
use smithay::wayland::selection::data_device::DataDeviceState;
use smithay::wayland::selection::primary_selection::PrimarySelectionState;
use smithay::wayland::shell::kde::decoration::KdeDecorationState;
use smithay::wayland::shell::xdg::XdgShellState;
use smithay::wayland::shell::xdg::decoration::XdgDecorationState;
use smithay::wayland::shm::ShmState;
use smithay::wayland::single_pixel_buffer::SinglePixelBufferState;
use smithay::wayland::tablet_manager::TabletManagerState;
use smithay::wayland::viewporter::ViewporterState;
use wayland_protocols::xdg::shell::server::xdg_toplevel::WmCapabilities;
use wayland_protocols::xdg::xdg_output::zv1::server::zxdg_output_manager_v1::ZxdgOutputManagerV1;
use wayland_protocols::xdg::xdg_output::zv1::server::zxdg_output_v1::ZxdgOutputV1;
use wayland_protocols_misc::server_decoration::server::org_kde_kwin_server_decoration_manager::Mode as KdeMode;
use wayland_server::backend::{ClientData, ClientId, GlobalHandler, GlobalId, Handle, ObjectData, ObjectId};
use wayland_server::protocol::wl_output::WlOutput;
use wayland_server::{Client, DataInit, DisplayHandle, GlobalDispatch, New};

use crate::state::{Core, State};
use crate::vms::clients::ClientState;

/// What presentation times count, as `clock_gettime` numbers it.
const CLOCK_MONOTONIC: u32 = 1;

/// Globals that were taken off the registry and may still be bound. A client that binds one which is gone would be ended
/// by wayland-backend, however late it has read of the removal.
const RETIRED: usize = 512;

/// Smithay's protocol states; they live as long as the display.
#[derive(Debug)]
pub struct Globals {
    /// `wl_compositor`, `wl_subcompositor`.
    pub compositor: CompositorState,
    /// `wl_shm`.
    pub shm: ShmState,
    /// `xdg_wm_base`.
    pub xdg_shell: XdgShellState,
    /// `wl_data_device_manager`.
    pub data_device: DataDeviceState,
    /// `zwp_primary_selection_device_manager_v1`.
    pub primary_selection: PrimarySelectionState,
    /// `org_kde_kwin_server_decoration_manager`, which GTK asks instead of the xdg one.
    pub kde_decoration: KdeDecorationState,
    retired: VecDeque<GlobalId>,
    _rest: Vec<GlobalId>,
}

impl Globals {
    /// Creates every global and puts each behind the filter.
    #[must_use]
    pub fn new(display: &DisplayHandle) -> Self {
        let compositor = CompositorState::new_v6::<State>(display);
        let formats = smithay::backend::renderer::ImportMemWl::shm_formats;
        // The formats that both renderers read; offering one that only GL has would tie clients to the backend.
        let shm = match PixmanRenderer::new() {
            Ok(renderer) => ShmState::new::<State>(display, formats(&renderer)),
            Err(_) => ShmState::new::<State>(display, []),
        };
        // No window menu: it would be the compositor's own surface in a client's place.
        let xdg_shell = XdgShellState::new_with_capabilities::<State>(
            display,
            [
                WmCapabilities::Maximize,
                WmCapabilities::Fullscreen,
                WmCapabilities::Minimize,
            ],
        );
        let data_device = DataDeviceState::new::<State>(display);
        let primary_selection = PrimarySelectionState::new::<State>(display);
        let kde_decoration = KdeDecorationState::new::<State>(display, KdeMode::Server);
        let xdg_decoration = XdgDecorationState::new::<State>(display);
        let outputs = OutputManagerState::new_with_xdg_output::<State>(display);
        let viewporter = ViewporterState::new::<State>(display);
        let fractional = FractionalScaleManagerState::new::<State>(display);
        let single_pixel = SinglePixelBufferState::new::<State>(display);
        let cursor_shape = CursorShapeManagerState::new::<State>(display);
        let tablets = TabletManagerState::new::<State>(display);
        let presentation = PresentationState::new::<State>(display, CLOCK_MONOTONIC);

        let mut globals = vec![
            compositor.compositor_global(),
            compositor.subcompositor_global(),
            shm.global(),
            xdg_shell.global(),
            data_device.global(),
            primary_selection.global(),
            kde_decoration.global(),
            xdg_decoration.global(),
            viewporter.global(),
            fractional.global(),
            single_pixel.global(),
            cursor_shape.global(),
            tablets.global(),
            presentation.global(),
        ];
        globals.extend(outputs.xdg_output_manager_global());
        let rest = globals
            .into_iter()
            .filter_map(|id| adopt(display, id, None))
            .collect();
        Self {
            compositor,
            shm,
            xdg_shell,
            data_device,
            primary_selection,
            kde_decoration,
            retired: VecDeque::new(),
            _rest: rest,
        }
    }
}

impl Core {
    /// Puts every screen on the registry of every VM that does not have it yet.
    pub fn publish_outputs(&mut self) {
        for vm in self.vms.iter() {
            for screen in self.outputs.iter_mut() {
                screen.publish(&vm.name, |output| {
                    let global = output.create_global::<State>(&self.display_handle);
                    adopt(&self.display_handle, global, Some(vm.name.clone()))
                });
            }
        }
    }

    /// Takes a global off the registry. It can still be bound, because a client may be about to: that would be our
    /// error, not its. The last ones stay for good.
    pub fn retire_global(&mut self, global: GlobalId) {
        self.display_handle.disable_global::<State>(global.clone());
        let retired = &mut self.globals.retired;
        retired.push_back(global);
        if retired.len() > RETIRED
            && let Some(oldest) = retired.pop_front()
        {
            self.display_handle.remove_global::<State>(oldest);
        }
    }
}

/// The global of a screen that is plugged in comes into being while clients are there. Nobody may see it before [`adopt`]
/// has put it behind the filter: a client that binds at once would be killed for a global that is gone already.
impl GlobalDispatch<WlOutput, WlOutputData> for State {
    fn bind(
        state: &mut Self,
        display: &DisplayHandle,
        client: &Client,
        resource: New<WlOutput>,
        data: &WlOutputData,
        init: &mut DataInit<'_, Self>,
    ) {
        <OutputManagerState as GlobalDispatch<WlOutput, WlOutputData, Self>>::bind(
            state, display, client, resource, data, init,
        );
    }

    fn can_view(_client: Client, _data: &WlOutputData) -> bool {
        false
    }
}

// The rest of what smithay's delegate_output! says.
wayland_server::delegate_global_dispatch!(State: [ZxdgOutputManagerV1: ()] => OutputManagerState);
wayland_server::delegate_dispatch!(State: [WlOutput: OutputUserData] => OutputManagerState);
wayland_server::delegate_dispatch!(State: [ZxdgOutputV1: XdgOutputUserData] => OutputManagerState);
wayland_server::delegate_dispatch!(State: [ZxdgOutputManagerV1: ()] => OutputManagerState);

/// Puts `global` behind the filter. With an `owner`, no other VM sees it whatever the policy says.
///
/// Returns the new identifier; `None` if wayland-backend no longer knows the old one.
pub fn adopt(display: &DisplayHandle, global: GlobalId, owner: Option<VmName>) -> Option<GlobalId> {
    let handle = display.backend_handle();
    let info = handle.global_info(global.clone()).ok()?;
    let inner = handle.get_global_handler::<State>(global.clone()).ok()?;
    handle.remove_global::<State>(global);
    let filtered = Filtered {
        inner,
        interface: info.interface.name,
        owner,
    };
    Some(handle.create_global::<State>(info.interface, info.version, Arc::new(filtered)))
}

/// A global as a VM's registry sees it: there only if the policy listed it when the client came.
struct Filtered {
    inner: Arc<dyn GlobalHandler<State>>,
    interface: &'static str,
    owner: Option<VmName>,
}

impl GlobalHandler<State> for Filtered {
    fn can_view(&self, _client: ClientId, data: &Arc<dyn ClientData>, _global: GlobalId) -> bool {
        // A client without an identity sees nothing.
        let Some(client) = data.downcast_ref::<ClientState>() else {
            return false;
        };
        self.owner.as_ref().is_none_or(|owner| *owner == client.vm)
            && client.globals.allowed(self.interface).is_some()
    }

    fn bind(
        self: Arc<Self>,
        handle: &Handle,
        data: &mut State,
        client: ClientId,
        global: GlobalId,
        object: ObjectId,
    ) -> Arc<dyn ObjectData<State>> {
        Arc::clone(&self.inner).bind(handle, data, client, global, object)
    }
}
