// SPDX-License-Identifier: MIT OR Apache-2.0
//! How hard a VM presses on the compositor, and what that costs it: less credit, waiting for the next frame, windows that
//! appear later, popups that close. The user sees it as a mark on the label.

use std::time::Duration;

use heraldry_decorations::Badge;
use heraldry_identity::VmName;
use heraldry_rate::TokenBucket;

use crate::state::Core;

/// A VM that pressed for so long without a pause of [`PAUSE`] is marked as throttled.
const PRESSING: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(100);
/// The mark stays for so long after the last time.
pub(super) const MARKED: Duration = Duration::from_secs(1);

/// The load of one VM.
#[derive(Debug, Clone, Default)]
pub struct Load {
    /// Time of the main thread that its requests took in the last turn.
    pub(crate) last_turn: Duration,
    /// Time of the main thread that drawing it has taken, ever.
    pub drawing: Duration,
    /// Bytes of new content since the last frame.
    pub uploaded: u64,
    /// How often it has shown new content, ever.
    pub contents: u64,
    /// Bytes of that, where it had to be copied into the renderer's memory.
    pub copied: u64,
    /// It has committed more than a frame's worth, and waits for the frame.
    pub(super) held: bool,
    maps: TokenBucket,
    pressing: Option<(Duration, Duration)>,
    /// Whether it is marked as throttled.
    pub throttled: bool,
    /// Frames that it had to wait for.
    pub held_frames: u64,
    /// A part of its windows had to wait for the next frame.
    pub(super) drawing_waits: bool,
    /// Frames in which that was so.
    pub partial_frames: u64,
    /// Windows that appeared later than their client wanted.
    pub delayed_maps: u64,
    /// Popups that were closed because too much was covered.
    pub dismissed_popups: u64,
    /// Connections that were refused.
    pub refused_connections: u64,
    /// Clients that Smithay ended, which the gate should have.
    pub ended_by_smithay: u64,
}

impl Load {
    /// Takes note of new content; more than `limit` bytes wait for the next frame.
    fn upload(&mut self, bytes: u64, limit: u64) {
        self.uploaded = self.uploaded.saturating_add(bytes);
        if self.uploaded > limit && !self.held {
            self.held = true;
            self.held_frames = self.held_frames.saturating_add(1);
        }
    }

    /// A frame is drawn.
    fn frame(&mut self) {
        self.uploaded = 0;
        self.held = false;
    }

    /// The VM wanted more than it got, or did not. True if the mark changes.
    pub(super) fn press(&mut self, now: Duration, pressed: bool) -> bool {
        if pressed {
            let since = self
                .pressing
                .filter(|(_, last)| now.saturating_sub(*last) < PAUSE)
                .map_or(now, |(since, _)| since);
            self.pressing = Some((since, now));
        }
        let throttled = self.pressing.is_some_and(|(since, last)| {
            let recent = now.saturating_sub(last) < MARKED;
            recent && (self.throttled || last.saturating_sub(since) >= PRESSING)
        });
        std::mem::replace(&mut self.throttled, throttled) != throttled
    }
}

impl Core {
    /// A VM has shown new content of so many bytes.
    pub fn uploaded(&mut self, vm: &VmName, bytes: u64) {
        let copies = self.render.copies;
        if let Some(vm) = self.vms.get_mut(vm) {
            vm.load.contents = vm.load.contents.saturating_add(1);
            if copies {
                vm.load.copied = vm.load.copied.saturating_add(bytes);
            }
            vm.load
                .upload(bytes, vm.limits().upload_mib.saturating_mul(1 << 20));
        }
    }

    /// A VM's windows cost more to compose than it may spend in a frame: the rest is composed in the next.
    pub fn drawing_waits(&mut self, vm: &VmName) {
        let Some(vm) = self.vms.get_mut(vm) else { return };
        if vm.paused().is_none() && !std::mem::replace(&mut vm.load.drawing_waits, true) {
            vm.load.partial_frames = vm.load.partial_frames.saturating_add(1);
        }
        self.render.schedule();
    }

    /// What a VM's labels say of its state.
    #[must_use]
    pub fn badge(&self, vm: &VmName) -> Option<Badge> {
        let vm = self.vms.get(vm)?;
        if vm.paused().is_some() {
            return Some(Badge::Paused);
        }
        vm.load.throttled.then_some(Badge::Throttled)
    }

    /// A frame is drawn: the VMs that waited for it go on.
    pub fn uploads_drawn(&mut self) {
        for vm in self.vms.iter_mut() {
            vm.load.frame();
        }
    }

    /// Asks whether a window of the VM may appear now; if not, how long until then.
    pub fn may_map(&mut self, vm: &VmName) -> Result<(), Duration> {
        let now = self.clock.now();
        let Some(vm) = self.vms.get_mut(vm) else {
            return Ok(());
        };
        let taken = vm.load.maps.take(now, vm.limits().maps_per_second, 1);
        if taken.is_err() {
            vm.load.delayed_maps = vm.load.delayed_maps.saturating_add(1);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(1_000_000 + ms)
    }

    #[test]
    fn who_presses_for_long_is_marked_and_who_stops_is_not() {
        let mut load = Load::default();
        for ms in (0..500).step_by(50) {
            assert!(!load.press(at(ms), true), "{ms}");
        }
        assert!(load.press(at(500), true) && load.throttled);
        assert!(!load.press(at(1400), false) && load.throttled);
        assert!(load.press(at(1500), false) && !load.throttled);
        // Bursts with pauses between them are not pressing.
        for ms in (2000..9000).step_by(150) {
            assert!(!load.press(at(ms), true), "{ms}");
        }
    }

    #[test]
    fn more_than_a_frame_s_worth_waits_for_the_frame() {
        let mut load = Load::default();
        load.upload(100, 100);
        assert!(!load.held);
        load.upload(1, 100);
        load.upload(1, 100);
        assert!(load.held);
        assert_eq!(load.held_frames, 1);
        load.frame();
        assert!(!load.held);
    }
}
