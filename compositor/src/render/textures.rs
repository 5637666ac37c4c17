// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that a renderer takes for clients' buffers: GL copies each surface's buffer into a texture of its own, also
//! where many surfaces show the same one.

use std::collections::HashMap;

use heraldry_identity::VmName;
use wayland_server::Resource;
use wayland_server::protocol::wl_surface::WlSurface;

/// The textures of each VM's surfaces.
#[derive(Debug, Default)]
pub(super) struct Textures(HashMap<VmName, Account>);

#[derive(Debug, Default)]
struct Account {
    /// Bytes of each surface's texture. A surface keeps its texture for as long as it lives, also while it shows nothing or
    /// may not show what it wants to: Smithay frees it no sooner.
    surfaces: HashMap<WlSurface, u64>,
    total: u64,
    /// It was looked in this frame which surfaces are gone.
    swept: bool,
    /// Surfaces that were left when that was looked at last.
    left: usize,
}

/// So many more surfaces than the last time are worth looking: what is remembered of one that is gone keeps its memory.
const MORE: usize = 64;

impl Account {
    /// Surfaces that are gone have no texture any more.
    fn sweep(&mut self) {
        self.surfaces.retain(|surface, _| surface.is_alive());
        self.total = self.surfaces.values().copied().fold(0, u64::saturating_add);
        self.left = self.surfaces.len();
    }
}

impl Textures {
    /// A frame begins: forgets surfaces that are gone where many came.
    pub(super) fn sweep(&mut self) {
        for account in self.0.values_mut() {
            account.swept = account.surfaces.len() > account.left.saturating_add(MORE);
            if account.swept {
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
        if known == bytes || bytes == 0 {
            return true;
        }
        let with = |account: &Account| account.total.saturating_sub(known).saturating_add(bytes);
        if with(account) > limit && !std::mem::replace(&mut account.swept, true) {
            account.sweep();
        }
        let may = with(account) <= limit;
        if may {
            account.total = with(account);
            account.surfaces.insert(surface.clone(), bytes);
        }
        may
    }
}
