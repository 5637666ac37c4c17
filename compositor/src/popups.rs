// SPDX-License-Identifier: MIT OR Apache-2.0
//! Popups appear where their client wants, so what a VM covers with them is bounded, and what it learns by them too.

use std::collections::BTreeMap;

use heraldry_identity::VmName;
use smithay::desktop::PopupKind;
use smithay::desktop::{PopupManager, find_popup_root_surface, get_popup_toplevel_coords};
use smithay::utils::{Logical, Rectangle, Size};
use smithay::wayland::shell::xdg::PositionerState;
use tracing::debug;
use wayland_server::protocol::wl_surface::WlSurface;

use crate::state::Core;
use crate::trees::{effective_geometry, has_buffer};

/// Shares of a screen are counted in millionths.
const WHOLE: u64 = 1_000_000;

impl Core {
    /// Every popup of every VM with its share of the screen that it is on.
    ///
    /// Of a VM that the user has nothing to do with, what lies beyond the edge counts as if it were seen: where its popups
    /// are closed would tell it where its windows are.
    fn shares(&self) -> BTreeMap<VmName, Vec<(WlSurface, u64)>> {
        let mut shares: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for window in self.windows.iter() {
            let told = self.has_keyboard(&window.vm) || self.input.is_with(&window.vm);
            let popups: Vec<_> = if told {
                let popups = self.popups_of(window.id);
                popups.map(|popup| (popup.surface, popup.content.size)).collect()
            } else {
                let popups = window.popups().map(|(popup, _)| popup.wl_surface().clone());
                let shown = popups.filter(has_buffer);
                shown
                    .map(|popup| (popup.clone(), effective_geometry(&popup).size))
                    .collect()
            };
            if popups.is_empty() {
                continue;
            }
            let screen = self.windows.layout.outer(window.id);
            let screen = screen.map(|outer| self.windows.layout.area_of(outer).size);
            let screen = area(screen.unwrap_or_default()).max(1);
            let popups = popups.into_iter().map(|(popup, size)| {
                let share = area(size).saturating_mul(WHOLE) / screen;
                (popup, share.min(WHOLE))
            });
            shares.entry(window.vm.clone()).or_default().extend(popups);
        }
        shares
    }

    /// Where a popup goes: by its client's rules, so that it lies within the work area.
    ///
    /// What slides at an edge tells its client where its window is, and so where others are, which it was put beside. A VM
    /// that the user has to do with may know that. The popup of another one is placed as if its window lay in the middle of
    /// the screen; what of it is beyond the edge is not seen.
    pub(crate) fn place_popup(
        &self,
        popup: &PopupKind,
        positioner: &PositionerState,
    ) -> Rectangle<i32, Logical> {
        let window = find_popup_root_surface(popup).ok();
        let window = window.and_then(|root| self.windows.by_surface(&root));
        let window = window.and_then(|id| self.windows.get(id));
        let content = window.and_then(|window| self.windows.layout.content(window.id));
        let (Some(window), Some(content)) = (window, content) else {
            return positioner.get_geometry();
        };
        let mut target = self.windows.layout.area_of(content);
        if self.has_keyboard(&window.vm) || self.input.is_with(&window.vm) {
            target.loc -= content.loc;
        } else {
            let middle = |room: i32, size: i32| size.saturating_sub(room) / 2;
            target.loc.x = middle(target.size.w, content.size.w);
            target.loc.y = middle(target.size.h, content.size.h);
        }
        target.loc -= get_popup_toplevel_coords(popup);
        positioner.get_unconstrained_geometry(target)
    }

    /// Something has new content, has moved or has another size: popups that were within their VM's share may not be any more.
    pub(crate) fn limit_popups(&mut self) {
        for (vm, shares) in self.shares() {
            let mut covered = shares
                .iter()
                .map(|(_, share)| *share)
                .fold(0, u64::saturating_add);
            let most = self.most_covered(&vm);
            // The newest go first.
            for (surface, share) in shares.iter().rev() {
                if covered <= most {
                    break;
                }
                covered = covered.saturating_sub(*share);
                self.close_popup(&vm, surface);
            }
        }
    }

    fn most_covered(&self, vm: &VmName) -> u64 {
        let percent = self.vms.get(vm).map_or(0, |vm| vm.limits().popup_coverage);
        percent.saturating_mul(WHOLE / 100)
    }

    fn close_popup(&mut self, vm: &VmName, surface: &WlSurface) {
        let Some(entry) = self.vms.get_mut(vm) else {
            return;
        };
        entry.load.dismissed_popups = entry.load.dismissed_popups.saturating_add(1);
        debug!(%vm, "popups cover too much; this one is closed");
        if let Some(popup) = self.popups.find_popup(surface)
            && let Ok(root) = find_popup_root_surface(&popup)
        {
            // Already gone is as good as dismissed.
            let _gone = PopupManager::dismiss_popup(&root, &popup);
        }
    }
}

/// Pixels of a rectangle.
fn area(size: Size<i32, Logical>) -> u64 {
    let side = |value: i32| u64::try_from(value).unwrap_or(0);
    side(size.w).saturating_mul(side(size.h))
}
