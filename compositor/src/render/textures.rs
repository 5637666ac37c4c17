// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that a renderer takes for clients' buffers: GL copies each surface's buffer into a texture of its own, also
//! where many surfaces show the same one.

use std::collections::HashMap;

use heraldry_config::VmName;
use smithay::backend::renderer::utils::with_renderer_surface_state;
use wayland_server::Resource;
use wayland_server::protocol::wl_surface::WlSurface;

/// The textures of each VM's surfaces.
#[derive(Debug, Default)]
pub(super) struct Textures(HashMap<VmName, Account>);

#[derive(Debug, Default)]
struct Account {
    /// Bytes of each surface's texture.
    surfaces: HashMap<WlSurface, u64>,
    total: u64,
    /// A surface was refused, so it is worth looking which are gone.
    refused: bool,
}

impl Account {
    /// Surfaces that are gone or empty have no texture any more.
    fn sweep(&mut self) {
        let shown = |surface: &WlSurface| {
            surface.is_alive()
                && with_renderer_surface_state(surface, |state| state.buffer().is_some()) == Some(true)
        };
        self.surfaces.retain(|surface, _| shown(surface));
        self.total = self.surfaces.values().copied().fold(0, u64::saturating_add);
    }
}

impl Textures {
    /// Forgets surfaces that are gone, where one was refused. Not to be called while a surface tree is walked, which
    /// holds its locks.
    pub(super) fn sweep(&mut self) {
        for account in self.0.values_mut() {
            if std::mem::take(&mut account.refused) {
                account.sweep();
            }
        }
    }

    /// Whether a surface of the VM may have a texture of so many bytes, and takes note of it.
    pub(super) fn may_have(&mut self, vm: &VmName, surface: &WlSurface, bytes: u64, limit: u64) -> bool {
        if !self.0.contains_key(vm) {
            self.0.insert(vm.clone(), Account::default());
        }
        let Some(account) = self.0.get_mut(vm) else {
            return false;
        };
        let known = account.surfaces.get(surface).copied().unwrap_or(0);
        if known == bytes {
            return true;
        }
        let others = account
            .total
            .saturating_sub(account.surfaces.remove(surface).unwrap_or(0));
        let may = others.saturating_add(bytes) <= limit;
        account.total = others;
        account.refused |= !may;
        if may {
            account.total = others.saturating_add(bytes);
            account.surfaces.insert(surface.clone(), bytes);
        }
        may
    }
}
