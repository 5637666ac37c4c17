// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which mode a screen gets, and which of the device's pipes shows which connector: pure.

use std::collections::HashMap;
use std::time::Duration;

use heraldry_config::ModeChoice;
use smithay::reexports::drm::control::{Mode, ModeTypeFlags, connector, crtc};

/// A mode's size in pixels and its rate in thousandths of a hertz.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ModeInfo {
    pub(super) size: (u16, u16),
    pub(super) millihertz: u32,
    pub(super) preferred: bool,
}

impl From<&Mode> for ModeInfo {
    fn from(mode: &Mode) -> Self {
        let (_, _, total_w) = mode.hsync();
        let (_, _, total_h) = mode.vsync();
        let pixels = u64::from(total_w) * u64::from(total_h);
        // The clock is in kHz.
        let exact = (u64::from(mode.clock()) * 1_000_000)
            .checked_div(pixels)
            .unwrap_or(0);
        let rate = u32::try_from(exact).ok().filter(|rate| *rate > 0);
        Self {
            size: mode.size(),
            millihertz: rate.unwrap_or_else(|| mode.vrefresh().saturating_mul(1000)),
            preferred: mode.mode_type().contains(ModeTypeFlags::PREFERRED),
        }
    }
}

impl ModeInfo {
    /// The time from one frame to the next.
    pub(super) fn interval(&self) -> Duration {
        let rate = u64::from(self.millihertz.clamp(1_000, 1_000_000));
        Duration::from_nanos(1_000_000_000_000 / rate)
    }
}

/// The mode to use, by its place in `modes`, and whether it is the one that was asked for. `None` if there are none.
pub(super) fn choose(modes: &[ModeInfo], wanted: ModeChoice) -> Option<(usize, bool)> {
    let preferred = || {
        let marked = modes.iter().position(|mode| mode.preferred);
        // Drivers put the best one first.
        marked.or((!modes.is_empty()).then_some(0))
    };
    let ModeChoice::Size {
        width,
        height,
        millihertz,
    } = wanted
    else {
        return Some((preferred()?, true));
    };
    let fitting = modes
        .iter()
        .enumerate()
        .filter(|(_, mode)| mode.size == (width, height));
    let best = match millihertz {
        None => fitting.max_by_key(|(_, mode)| mode.millihertz),
        // A mode that calls itself 60 Hz is often 59.94.
        Some(rate) => fitting
            .filter(|(_, mode)| mode.millihertz.abs_diff(rate) <= 500)
            .min_by_key(|(_, mode)| mode.millihertz.abs_diff(rate)),
    };
    match best {
        Some((index, _)) => Some((index, true)),
        None => Some((preferred()?, false)),
    }
}

/// Gives each connector a pipe: those that have one keep it, the others get a free one that can drive them.
pub(super) fn assign(
    wanted: &[(connector::Handle, Vec<crtc::Handle>)],
    current: &HashMap<connector::Handle, crtc::Handle>,
) -> HashMap<connector::Handle, crtc::Handle> {
    let mut assigned: HashMap<_, _> = wanted
        .iter()
        .filter_map(|(connector, _)| Some((*connector, *current.get(connector)?)))
        .collect();
    for (connector, possible) in wanted {
        if assigned.contains_key(connector) {
            continue;
        }
        let free = possible
            .iter()
            .find(|crtc| !assigned.values().any(|taken| taken == *crtc));
        if let Some(crtc) = free {
            assigned.insert(*connector, *crtc);
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(w: u16, h: u16, millihertz: u32, preferred: bool) -> ModeInfo {
        ModeInfo {
            size: (w, h),
            millihertz,
            preferred,
        }
    }

    #[test]
    fn the_wanted_mode_or_the_preferred_one() {
        let modes = [
            mode(1024, 768, 60_000, false),
            mode(1280, 800, 59_810, true),
            mode(1280, 800, 74_930, false),
        ];
        let size = |width, height, millihertz| ModeChoice::Size {
            width,
            height,
            millihertz,
        };
        assert_eq!(choose(&modes, ModeChoice::Preferred), Some((1, true)));
        assert_eq!(choose(&modes, size(1280, 800, None)), Some((2, true)));
        assert_eq!(choose(&modes, size(1280, 800, Some(60_000))), Some((1, true)));
        assert_eq!(choose(&modes, size(1280, 800, Some(120_000))), Some((1, false)));
        assert_eq!(choose(&modes, size(640, 480, None)), Some((1, false)));
        assert_eq!(choose(&[], ModeChoice::Preferred), None);
        assert_eq!(choose(&modes[..1], ModeChoice::Preferred), Some((0, true)));
    }

    #[test]
    fn a_new_connector_takes_no_pipe_from_another() {
        let handle = |number: u32| std::num::NonZeroU32::new(number).unwrap();
        let (a, b) = (
            connector::Handle::from(handle(1)),
            connector::Handle::from(handle(2)),
        );
        let (one, two) = (crtc::Handle::from(handle(11)), crtc::Handle::from(handle(12)));
        let both = vec![one, two];
        let current = HashMap::from([(b, one)]);
        let assigned = assign(&[(a, both.clone()), (b, both)], &current);
        assert_eq!(assigned, HashMap::from([(a, two), (b, one)]));
        let short = assign(&[(a, vec![one]), (b, vec![one])], &HashMap::new());
        assert_eq!(short, HashMap::from([(a, one)]), "who comes too late gets none");
    }
}
