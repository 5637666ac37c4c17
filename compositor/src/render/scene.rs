// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one scene: everything that is on the screen, front to back.
//!
//! Each piece of a client goes through [`Builder::framed`], which draws the VM's frame in front of it, clips it to its
//! content rectangle and puts an opaque plate under it. There is no other way for a client's pixels into the scene.

use std::collections::HashMap;

use heraldry_decorations::{Badge, FrameKind, FrameSpec, Style};
use heraldry_identity::{Arms, VmName};
use smithay::backend::renderer::element::Kind;
use smithay::backend::renderer::element::memory::{MemoryRenderBuffer, MemoryRenderBufferRenderElement};
use smithay::utils::{Logical, Physical, Point, Rectangle};
use tracing::warn;
use wayland_server::Resource;
use wayland_server::backend::ObjectId;
use wayland_server::protocol::wl_surface::WlSurface;

use super::content::{Account, Content};
use super::damage::{Damage, push};
use super::elements::{Exact, SceneElement};
use super::fingerprint::Fingerprints;
use super::framed::Framed;
use super::frames::{FrameCache, Updated};
use super::geometry::{self, frame_kind, outer, pixels, unsigned};
use super::painter::Painter;
use super::per_scale::PerScale;
use super::picture::Picture;
use super::piece::{Ground, Weight, gather};
use super::purse::{Purse, Till};
use super::shelf::Shelves;
use super::textures::Textures;
use crate::booking::{Booking, Work};
use crate::layout::{Mode, WindowId};
use crate::outputs::ScreenId;
use crate::state::Core;
use crate::trees::effective_geometry;

/// A drag icon is shown at most this large, logical pixels.
const MAX_DRAG_ICON: i32 = 128;

/// Frames in front that are looked at to leave out what they cover.
const COVERS: usize = 64;

/// Builds the scene of one screen; empty if there is none of that name.
pub fn build<R: Painter>(renderer: &mut R, core: &mut Core, screen: ScreenId) -> Vec<SceneElement<R>> {
    let Some(screen) = core.outputs.get(screen) else {
        return Vec::new();
    };
    let (rect, size, scale) = (screen.rect(), screen.size(), screen.scale());
    // Once for each scene, and not for each turn: every window is looked at.
    if std::mem::take(&mut core.render.moved) {
        core.update_presence();
        core.limit_popups();
    }
    let mut textures = std::mem::take(&mut core.render.textures);
    textures.sweep();
    let mut shelves = std::mem::take(&mut core.render.shelves);
    shelves.sweep(renderer, |vm| core.vms.iter().any(|known| known.name == *vm));
    core.render.number = core.render.number.saturating_add(1);
    let till = Till::new(
        core.render.number,
        core.outputs.iter().count(),
        core.render.composing_time(core.clock.runs()),
    );
    let mut builder = Builder {
        renderer,
        screen: rect,
        pixels: Rectangle::from_size(size),
        style: core.render.style(scale),
        elements: Vec::new(),
        covers: Vec::new(),
        ground: core.render.ground,
        books: core.books.clone(),
        budgets: budgets(core, &till),
        textures,
        shelves,
        fingerprints: std::mem::take(&mut core.render.fingerprints),
    };
    let mut popup_frames = std::mem::take(&mut core.render.popups);
    let mut kept = HashMap::new();

    builder.pointer(core);
    builder.notice(core);
    builder.drag_icons(core, &mut popup_frames, &mut kept);
    builder.windows(core, &mut popup_frames, &mut kept);
    core.render.popups = kept;
    let Builder {
        elements,
        budgets,
        textures,
        shelves,
        fingerprints,
        ..
    } = builder;
    core.render.fingerprints = fingerprints;
    core.render.textures = textures;
    core.render.shelves = shelves;
    let composing = budgets.values().filter(|budget| budget.purse.is_opened());
    let composing = u64::try_from(composing.count()).unwrap_or(u64::MAX);
    // Forgotten one after the other, or VMs that compose in every second frame would find all of it for themselves.
    core.render.composing = composing.max(core.render.composing.saturating_sub(1));
    core.render.balances.clear();
    for (vm, budget) in budgets {
        let carried = budget.purse.carried();
        if carried != 0 {
            core.render.balances.insert(vm.clone(), carried);
        }
        if budget.waits || budget.purse.is_empty() {
            core.drawing_waits(&vm);
        }
    }
    put_pictures_away(core);
    elements
}

/// Pictures of windows that are covered or minimised stay for when these are seen again, unless their VM has more pictures
/// than it may. Those of popups are bounded by what popups may cover.
fn put_pictures_away(core: &mut Core) {
    let screens = u64::try_from(core.outputs.iter().count()).unwrap_or(u64::MAX);
    let shown_since = core.render.number.saturating_sub(screens);
    let mut kept: HashMap<VmName, u64> = HashMap::new();
    for window in core.windows.iter_mut() {
        let pictures = window
            .frame
            .values_mut()
            .filter_map(|cache| cache.content.picture().as_ref());
        let bytes = pictures.map(Picture::bytes).fold(0, u64::saturating_add);
        if bytes > 0 {
            let sum = kept.entry(window.vm.clone()).or_default();
            *sum = sum.saturating_add(bytes);
        }
    }
    let limit = |vm: &VmName| {
        core.vms
            .get(vm)
            .map_or(0, |vm| vm.limits.picture_mib.saturating_mul(1 << 20))
    };
    kept.retain(|vm, bytes| *bytes > limit(vm));
    for window in core
        .windows
        .iter_mut()
        .filter(|window| kept.contains_key(&window.vm))
    {
        for cache in window.frame.values_mut() {
            cache
                .content
                .picture()
                .take_if(|picture| !picture.is_drawn_since(shown_since));
        }
    }
}

/// What each VM may spend on this frame.
struct Budget {
    purse: Purse,
    /// Labels that may be drawn again.
    labels: u64,
    /// A label has to wait.
    waits: bool,
    /// Bytes of textures.
    texture_bytes: u64,
    /// Bytes that may be uploaded at once: a larger buffer would have everybody wait for it.
    upload_bytes: u64,
}

fn budgets(core: &Core, till: &Till) -> HashMap<VmName, Budget> {
    let budget = |vm: &crate::vm::Vm| Budget {
        purse: Purse::new(
            vm.limits.composed_megapixels,
            vm.limits.picture_mib,
            core.render.composing,
            core.render.balances.get(&vm.name).copied().unwrap_or_default(),
            till,
        ),
        labels: vm.limits.labels_per_frame,
        waits: false,
        texture_bytes: vm.limits.texture_mib.saturating_mul(1 << 20),
        upload_bytes: vm.limits.upload_mib.saturating_mul(1 << 20),
    };
    core.vms.iter().map(|vm| (vm.name.clone(), budget(vm))).collect()
}

/// A piece of a client on the desktop.
struct Subject<'a> {
    /// Whose it is.
    vm: &'a VmName,
    /// The rectangle that shows it.
    content: Rectangle<i32, Logical>,
    /// The root of its surfaces.
    surface: &'a WlSurface,
    /// Where the root's own corner is.
    origin: Point<i32, Logical>,
}

struct Builder<'a, R: Painter> {
    renderer: &'a mut R,
    /// Where the screen is on the desktop.
    screen: Rectangle<i32, Logical>,
    /// All its pixels. Where its scale does not divide them, these are more or fewer than `screen` says.
    pixels: Rectangle<i32, Physical>,
    style: Style,
    elements: Vec<SceneElement<R>>,
    /// Outer rectangles of what is in front.
    covers: Vec<Rectangle<i32, Physical>>,
    ground: Ground,
    books: Booking,
    budgets: HashMap<VmName, Budget>,
    textures: Textures,
    shelves: Shelves,
    fingerprints: Fingerprints,
}

impl<R: Painter> Builder<'_, R> {
    /// All windows, each behind its popups.
    fn windows(
        &mut self,
        core: &mut Core,
        frames: &mut HashMap<ObjectId, PerScale<FrameCache>>,
        kept: &mut HashMap<ObjectId, PerScale<FrameCache>>,
    ) {
        let order: Vec<_> = core.windows.layout.visible().collect();
        for id in order {
            let Some(vm) = core.windows.get(id).map(|window| window.vm.clone()) else {
                continue;
            };
            let (arms, name) = (core.arms(&vm), core.display_name(&vm));
            for popup in geometry::popups(core, id) {
                let mut cache = frames.remove(&popup.surface.id()).unwrap_or_default();
                let shown = Subject {
                    vm: &vm,
                    content: popup.rect,
                    surface: &popup.surface,
                    origin: popup.origin,
                };
                self.framed(&mut cache, &popup_spec(arms, &name), &shown);
                kept.insert(popup.surface.id(), cache);
            }
            self.window(core, id, arms, &name);
        }
    }

    fn window(&mut self, core: &mut Core, id: WindowId, arms: Arms, display_name: &str) {
        let focused = core.input.focus() == Some(id);
        let mode = core.windows.layout.mode(id).unwrap_or_default();
        let Some(title_rule) = core.windows.get(id).map(|window| core.title_rule(&window.vm)) else {
            return;
        };
        let badge = core.windows.get(id).and_then(|window| {
            let new = window.wants_attention.then_some(Badge::WantsYou);
            core.badge(&window.vm).or(new)
        });
        let Some(content) = core.windows.layout.content(id) else {
            return;
        };
        let Some(window) = core.windows.get_mut(id) else {
            return;
        };
        let mut cache = std::mem::take(&mut window.frame);
        let spec = FrameSpec {
            arms,
            display_name,
            untrusted_title: &window.untrusted_title,
            title_rule,
            kind: frame_kind(mode),
            focused,
            maximized: mode == Mode::Maximized,
            hover: window.hover,
            badge,
            content: (0, 0),
        };
        let shown = Subject {
            vm: &window.vm,
            content,
            surface: window.toplevel.wl_surface(),
            origin: content.loc - window.geometry.loc,
        };
        self.framed(&mut cache, &spec, &shown);
        window.frame = cache;
    }

    /// The pointer, from our own shapes.
    fn pointer(&mut self, core: &mut Core) {
        if !core.input.pointer_seen || core.input.by_finger {
            return;
        }
        let Some(shape) = super::pointer::shape(core) else {
            return;
        };
        let local = core.input.pointer - self.screen.loc.to_f64();
        let at: Point<i32, Physical> = local.to_physical(self.style.scale).to_i32_round();
        let (buffer, rect) = core.render.pointer.picture(shape, self.style.scale);
        let buffer = buffer.clone();
        let place = Rectangle::new(at + rect.loc, rect.size);
        // Parts of it may reach over from the screen beside.
        if place.overlaps(self.pixels) {
            self.bitmap(&buffer, place, Kind::Cursor);
        }
    }

    /// The compositor's own notice, at the bottom of the screen.
    fn notice(&mut self, core: &mut Core) {
        let Some(buffer) = core.render.notice(self.style.scale) else {
            return;
        };
        if let Some(place) = core.render.notice_place(self.pixels.size, self.style.scale) {
            self.bitmap(&buffer, place, Kind::Unspecified);
        }
    }

    /// One of our own bitmaps that may be missing if it cannot be uploaded: it guards nothing.
    fn bitmap(&mut self, buffer: &MemoryRenderBuffer, rect: Rectangle<i32, Physical>, kind: Kind) {
        let element = MemoryRenderBufferRenderElement::from_buffer(
            self.renderer,
            rect.loc.to_f64(),
            buffer,
            None,
            None,
            None,
            kind,
        );
        match element {
            Ok(element) => self
                .elements
                .push(SceneElement::Bitmap(Exact::new(element, rect))),
            Err(error) => warn!(%error, "cannot upload a picture of ours"),
        }
    }

    fn drag_icons(
        &mut self,
        core: &Core,
        frames: &mut HashMap<ObjectId, PerScale<FrameCache>>,
        kept: &mut HashMap<ObjectId, PerScale<FrameCache>>,
    ) {
        for vm in core.vms.iter() {
            let icon = vm.drag_icon.as_ref().filter(|_| !vm.hidden);
            let Some(icon) = icon.filter(|icon| icon.is_alive()) else {
                continue;
            };
            let mapped = smithay::backend::renderer::utils::with_renderer_surface_state(icon, |state| {
                state.buffer().is_some()
            });
            if mapped != Some(true) {
                continue;
            }
            let bounds = effective_geometry(icon);
            // Never under the pointer itself, so that it hides nothing that is about to be clicked.
            let at = core.input.pointer.to_i32_round() + Point::from((12, 12));
            let size = (bounds.size.w.min(MAX_DRAG_ICON), bounds.size.h.min(MAX_DRAG_ICON));
            let mut cache = frames.remove(&icon.id()).unwrap_or_default();
            let shown = Subject {
                vm: &vm.name,
                content: Rectangle::new(at, size.into()),
                surface: icon,
                origin: at - bounds.loc,
            };
            self.framed(&mut cache, &popup_spec(vm.arms, &vm.display_name), &shown);
            kept.insert(icon.id(), cache);
        }
    }

    /// A rectangle of the desktop as this screen has it.
    fn local(&self, rect: Rectangle<i32, Logical>) -> Rectangle<i32, Logical> {
        Rectangle::new(rect.loc - self.screen.loc, rect.size)
    }

    /// The only way a client's pixels get on the screen: frame in front, content clipped, plate below.
    fn framed(&mut self, cache: &mut PerScale<FrameCache>, spec: &FrameSpec<'_>, shown: &Subject<'_>) {
        let scale = self.style.scale;
        let inner = pixels(self.local(shown.content), scale);
        let outer = outer(inner, self.style.insets(spec.kind));
        if !self.is_seen(outer) {
            return;
        }
        let spec = FrameSpec {
            content: unsigned(inner.size),
            ..spec.clone()
        };
        let cache = cache.at(scale);
        let Some(updated) = self.frame(cache, &spec, shown.vm) else {
            return;
        };
        let Some(band) = cache.band() else { return };
        let Some((content, changed)) = self.content(cache, shown, inner) else {
            return;
        };
        let mut damage = updated.damage;
        let inside = inner.loc - outer.loc;
        for rect in changed {
            push(&mut damage, Rectangle::new(rect.loc + inside, rect.size));
        }
        let (id, damage) = cache.soil(damage);
        self.elements.push(SceneElement::Framed(Framed {
            id,
            damage,
            outer,
            inner,
            band,
            content,
            ground: self.ground,
            vm: shown.vm.clone(),
            books: self.books.clone(),
        }));
        if self.covers.len() < COVERS {
            self.covers.push(outer);
        }
    }

    /// Brings a frame up to date. `None` if it cannot be drawn.
    fn frame(&mut self, cache: &mut FrameCache, spec: &FrameSpec<'_>, vm: &VmName) -> Option<Updated> {
        let Self {
            renderer,
            style,
            books,
            budgets,
            shelves,
            ..
        } = self;
        let budget = budgets.get_mut(vm)?;
        let updated = books.book(vm, Work::Drawing, || {
            let shelf = shelves.of(vm, spec);
            let mut labels = if budget.purse.has_time() { budget.labels } else { 0 };
            let before = labels;
            let update = || cache.update(&mut **renderer, shelf, style, spec, &mut labels);
            let updated = budget.purse.spend(update);
            budget.labels -= before - labels;
            updated
        });
        // Without its frame nothing of this client may be shown.
        let updated = updated
            .inspect_err(|error| warn!(%error, "cannot upload a frame; its window is not drawn"))
            .ok()?;
        budget.waits |= updated.waits;
        Some(updated)
    }

    /// Whether anything of a rectangle is on this screen and not behind what is in front of it.
    fn is_seen(&self, rect: Rectangle<i32, Physical>) -> bool {
        let Some(rect) = rect.intersection(self.pixels) else {
            return false;
        };
        let covers = self.covers.iter().filter(|cover| cover.overlaps(rect)).copied();
        !Rectangle::subtract_rects_many_in_place(vec![rect], covers).is_empty()
    }

    /// What the client shows, and what of it has changed.
    fn content(
        &mut self,
        cache: &mut FrameCache,
        shown: &Subject<'_>,
        inner: Rectangle<i32, Physical>,
    ) -> Option<(Content<R>, Damage)> {
        let scale = self.style.scale;
        let local = shown.origin - self.screen.loc;
        let corner: Point<i32, Physical> = local.to_f64().to_physical(scale).to_i32_round();
        let Self {
            renderer,
            books,
            budgets,
            textures,
            fingerprints,
            ..
        } = self;
        let budget = budgets.get_mut(shown.vm)?;
        let limit = budget.texture_bytes;
        let origin = corner - inner.loc;
        let fingerprint = || {
            books.book(shown.vm, Work::Drawing, || {
                fingerprints.of(shown.surface, origin, scale)
            })
        };
        let before = cache.content.picture().is_some().then(fingerprint);
        let purse = &mut budget.purse;
        if let Some(content) = cache.content.unchanged(&**renderer, before, inner.size, purse) {
            return Some(content);
        }
        let largest = budget.upload_bytes;
        let may_have = |surface: &_, weight: Weight, copies| {
            let bytes = weight.texture.saturating_mul(copies);
            weight.fetched <= largest && textures.may_have(shown.vm, surface, bytes, limit)
        };
        let place = (origin, scale, inner.size);
        let in_time = budget.purse.has_time();
        let collect = || gather(&mut **renderer, shown.surface, place, may_have);
        let gathered = books.book(shown.vm, Work::Drawing, || budget.purse.spend(collect));
        budget.purse.grant(in_time);
        let complete = gathered.complete;
        let account = Account {
            vm: shown.vm,
            books,
            purse: &mut budget.purse,
        };
        let updated = cache
            .content
            .update(&mut **renderer, gathered, (inner.size, scale), account);
        if complete && cache.content.picture().is_some() {
            cache.content.remember(before.unwrap_or_else(fingerprint));
        }
        Some(updated)
    }
}

fn popup_spec(arms: Arms, display_name: &str) -> FrameSpec<'_> {
    FrameSpec {
        arms,
        display_name,
        untrusted_title: "",
        title_rule: geometry::NO_TITLE,
        kind: FrameKind::Popup,
        focused: true,
        maximized: false,
        hover: None,
        badge: None,
        content: (0, 0),
    }
}
