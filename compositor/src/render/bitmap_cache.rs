// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bitmaps of ours in the renderer's memory, the only copy that is kept of them; and those that a VM's windows share.
//!
//! Frames of a VM are mostly one repeated tile and the same owner's box and buttons. Each VM has a cache of them, of bounded
//! length, so that none pays for what another's windows look like. What a window uses it also holds: a cache that is
//! too short makes windows draw for themselves, nothing worse.

use std::any::Any;
use std::collections::HashMap;
use std::rc::Rc;

use heraldry_decorations::{
    Badge, Button, ControlsLook, Extent, Frame, FrameKind, FrameSpec, Hatching, Style,
};
use heraldry_identity::{Arms, VmName};
use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::ContextId;
use smithay::utils::{Physical, Size};

use super::painter::Painter;

/// Frames are opaque, and a copy costs less than blending.
const OPAQUE: Fourcc = Fourcc::Xrgb8888;

/// Each tile is repeated at least this far before it is drawn again, physical pixels.
const TILE: u32 = 256;

/// Something of ours as a renderer has it.
#[derive(Debug)]
pub(super) struct Bitmap {
    texture: Box<dyn Any>,
    /// Its size.
    pub(super) size: Size<i32, Physical>,
}

impl Bitmap {
    /// Has something drawn and hands it to the renderer.
    pub(super) fn draw<R: Painter>(
        renderer: &mut R,
        size: (u32, u32),
        draw: impl FnOnce(&mut [u8]),
    ) -> Result<Rc<Self>, R::Error> {
        let side = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
        let mut pixels = vec![0; side(size.0).saturating_mul(side(size.1)).saturating_mul(4)];
        draw(&mut pixels);
        let signed = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let (width, height) = (signed(size.0), signed(size.1));
        let texture = renderer.import_memory(&pixels, OPAQUE, (width, height).into(), false)?;
        Ok(Rc::new(Self {
            texture: Box::new(texture),
            size: (width, height).into(),
        }))
    }

    /// What the renderer draws it from.
    pub(super) fn texture<R: Painter>(&self) -> Option<R::TextureId> {
        self.texture.downcast_ref::<R::TextureId>().cloned()
    }
}

/// The hatched field of a VM's frames, to be repeated.
#[derive(Debug)]
pub(super) struct Tiles {
    /// What it was drawn from.
    pub(super) hatching: Hatching,
    /// A wide one for the bands above and below.
    pub(super) across: Rc<Bitmap>,
    /// A high one for the bands at the sides.
    pub(super) down: Rc<Bitmap>,
}

impl Tiles {
    fn draw<R: Painter>(renderer: &mut R, style: &Style, hatching: Hatching) -> Result<Rc<Self>, R::Error> {
        let period = hatching.period().max(1);
        let insets =
            [FrameKind::Window, FrameKind::Fullscreen, FrameKind::Popup].map(|kind| style.insets(kind));
        let whole = |length: u32| length.div_ceil(period).saturating_mul(period);
        // A band may begin anywhere in a period.
        let over = period.saturating_sub(1);
        let high = insets
            .iter()
            .map(|insets| insets.top.max(insets.bottom.saturating_add(over)));
        let wide = insets
            .iter()
            .map(|insets| insets.left.max(insets.right.saturating_add(over)));
        let mut tile = |width: u32, height: u32| {
            let size = (whole(width), whole(height));
            Bitmap::draw(renderer, size, |pixels| hatching.draw(size.0, pixels))
        };
        Ok(Rc::new(Self {
            across: tile(TILE, high.max().unwrap_or(1))?,
            down: tile(wide.max().unwrap_or(1), TILE)?,
            hatching,
        }))
    }
}

/// What was used lately, the newest last.
#[derive(Debug)]
struct Lru<K, V> {
    most: usize,
    entries: Vec<(K, V)>,
}

impl<K, V: Clone> Lru<K, V> {
    fn new(most: usize) -> Self {
        Self {
            most,
            entries: Vec::new(),
        }
    }

    fn get(&mut self, fits: impl Fn(&K, &V) -> bool) -> Option<V> {
        let at = self.entries.iter().position(|(key, value)| fits(key, value))?;
        let entry = self.entries.remove(at);
        let value = entry.1.clone();
        self.entries.push(entry);
        Some(value)
    }

    fn put(&mut self, key: K, value: V) {
        if self.entries.len() >= self.most {
            self.entries.remove(0);
        }
        self.entries.push((key, value));
    }
}

/// What controls depend on besides the arms.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ControlsKey {
    style: Style,
    kind: FrameKind,
    focused: bool,
    maximized: bool,
    hover: Option<Button>,
    badge: Option<Badge>,
    look: ControlsLook,
}

/// What the windows of one VM share.
#[derive(Debug)]
pub(super) struct BitmapCache {
    arms: Arms,
    display_name: String,
    generation: u64,
    tiles: Lru<(Style, bool), Rc<Tiles>>,
    owners: Lru<(Style, FrameKind, bool), (Extent, Rc<Bitmap>)>,
    controls: Lru<ControlsKey, Rc<Bitmap>>,
}

impl BitmapCache {
    fn new(spec: &FrameSpec<'_>, generation: u64) -> Self {
        Self {
            arms: spec.arms,
            display_name: spec.display_name.to_owned(),
            generation,
            tiles: Lru::new(6),
            owners: Lru::new(12),
            // Twelve places in a period, with the focus and without it, lit and not.
            controls: Lru::new(32),
        }
    }

    /// Bitmaps of another generation belong to a renderer that is gone.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The field of a frame.
    pub(super) fn tiles<R: Painter>(
        &mut self,
        renderer: &mut R,
        style: &Style,
        focused: bool,
    ) -> Result<Rc<Tiles>, R::Error> {
        let key = (*style, focused);
        if let Some(tiles) = self.tiles.get(|known, _| *known == key) {
            return Ok(tiles);
        }
        let tiles = Tiles::draw(renderer, style, Hatching::new(style, &self.arms, focused))?;
        self.tiles.put(key, tiles.clone());
        Ok(tiles)
    }

    /// The owner's box of a frame.
    pub(super) fn owner<R: Painter>(
        &mut self,
        renderer: &mut R,
        style: &Style,
        kind: FrameKind,
        focused: bool,
        frame: &Frame<'_>,
    ) -> Result<Option<(Extent, Rc<Bitmap>)>, R::Error> {
        let key = (*style, kind, focused);
        let known = self
            .owners
            .get(|known, (extent, _)| *known == key && extent.lasts(frame));
        if known.is_some() {
            return Ok(known);
        }
        let Some(owner) = frame.owner() else {
            return Ok(None);
        };
        let rect = owner.extent.rect;
        let bitmap = Bitmap::draw(renderer, (rect.w, rect.h), |pixels| {
            frame.draw_owner(&owner, pixels);
        })?;
        let drawn = (owner.extent, bitmap);
        if owner.extent.is_common() {
            self.owners.put(key, drawn.clone());
        }
        Ok(Some(drawn))
    }

    /// Badge and buttons of a frame.
    pub(super) fn controls<R: Painter>(
        &mut self,
        renderer: &mut R,
        style: &Style,
        spec: &FrameSpec<'_>,
        frame: &Frame<'_>,
        size: (u32, u32),
    ) -> Result<Rc<Bitmap>, R::Error> {
        let key = ControlsKey {
            style: *style,
            kind: spec.kind,
            focused: spec.focused,
            maximized: spec.maximized,
            hover: spec.hover,
            badge: spec.badge,
            look: frame.controls_look(),
        };
        if let Some(bitmap) = self.controls.get(|known, _| *known == key) {
            return Ok(bitmap);
        }
        let bitmap = Bitmap::draw(renderer, size, |pixels| frame.draw_controls(pixels))?;
        self.controls.put(key, bitmap.clone());
        Ok(bitmap)
    }
}

/// The caches of all VMs.
#[derive(Debug, Default)]
pub(super) struct BitmapCaches {
    /// The renderer whose bitmaps they are.
    context: Option<Box<dyn Any>>,
    generation: u64,
    vms: HashMap<VmName, BitmapCache>,
}

impl BitmapCaches {
    /// Forgets what another renderer has drawn, and VMs that are gone.
    pub(super) fn sweep<R: Painter>(&mut self, renderer: &R, known: impl Fn(&VmName) -> bool) {
        let context = renderer.context_id();
        let of_old = self
            .context
            .as_ref()
            .and_then(|of| of.downcast_ref::<ContextId<R::TextureId>>());
        if of_old != Some(&context) {
            self.context = Some(Box::new(context));
            self.generation = self.generation.wrapping_add(1);
            self.vms.clear();
        }
        self.vms.retain(|vm, _| known(vm));
    }

    /// The cache of a VM that has the arms and the display name of this frame.
    pub(super) fn of(&mut self, vm: &VmName, spec: &FrameSpec<'_>) -> &mut BitmapCache {
        let generation = self.generation;
        let new = || BitmapCache::new(spec, generation);
        let cache = self.vms.entry(vm.clone()).or_insert_with(new);
        if cache.arms != spec.arms || cache.display_name != spec.display_name {
            *cache = new();
        }
        cache
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_has_an_end_and_keeps_what_is_used() {
        let mut recent = Lru::new(3);
        for value in 0..50 {
            recent.put(value, value * 2);
            assert_eq!(recent.get(|key, _| *key == 0), Some(0), "used each time");
            assert!(recent.entries.len() <= 3);
        }
        assert_eq!(recent.get(|key, _| *key == 7), None);
        assert_eq!(recent.get(|key, _| *key == 49), Some(98));
    }
}
