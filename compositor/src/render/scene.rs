// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one scene: everything that is on the screen, front to back.
//!
//! Each piece of a client goes through [`Builder::framed`], which draws the VM's frame in front of it, clips it to its
//! content rectangle and puts an opaque plate under it. There is no other way for a client's pixels into the scene.

use std::collections::{HashMap, HashSet};

use heraldry_decorations::{Badge, FrameKind, FrameSpec, Style};
use heraldry_identity::{Arms, VmName};
use smithay::backend::renderer::element::Kind;
use smithay::backend::renderer::element::memory::{MemoryRenderBuffer, MemoryRenderBufferRenderElement};
use smithay::utils::{Logical, Physical, Point, Rectangle};
use tracing::warn;
use wayland_server::Resource;

use super::Caches;
use super::bitmap_cache::BitmapCaches;
use super::compose_budget::{ComposeBudget, SharedBudget};
use super::content::{Account, Content};
use super::damage::{Damage, push};
use super::elements::{Exact, SceneElement};
use super::fingerprint::Fingerprints;
use super::framed::Framed;
use super::frames::{FrameCache, Updated};
use super::geometry::{self, Placed, unsigned};
use super::painter::Painter;
use super::per_scale::PerScale;
use super::picture::Picture;
use super::piece::{Ground, Weight, gather};
use super::textures::Textures;
use crate::desktop::layout::{Mode, WindowId};
use crate::desktop::outputs::{Screen, ScreenId};
use crate::desktop::stack::{self, Item};
use crate::state::Core;
use crate::vms::booking::{Booking, Work};

/// Frames in front that are looked at to leave out what they cover.
const COVERS: usize = 64;

/// Builds the scene of one screen; empty if there is none of that name.
pub fn build<R: Painter>(renderer: &mut R, core: &mut Core, screen: ScreenId) -> Vec<SceneElement<R>> {
    core.render.copies = R::COPIES;
    let Some(scale) = core.outputs.get(screen).map(Screen::scale) else {
        return Vec::new();
    };
    // Once for each scene, and not for each turn: every window is looked at.
    if std::mem::take(&mut core.render.moved) {
        core.update_presence();
        core.limit_popups();
    }
    let ours = Ours::draw(core, screen, scale);
    let Some(screen) = core.outputs.get(screen) else {
        return Vec::new();
    };
    let mut textures = std::mem::take(&mut core.render.textures);
    textures.sweep();
    let mut bitmaps = std::mem::take(&mut core.render.bitmaps);
    bitmaps.sweep(renderer, |vm| core.vms.iter().any(|known| known.name == *vm));
    let mut caches = std::mem::take(&mut core.render.caches);
    caches.windows.retain(|id, _| core.windows.get(*id).is_some());
    let fingerprints = std::mem::take(&mut core.render.fingerprints);
    core.render.number = core.render.number.saturating_add(1);
    let shared = SharedBudget::new(
        core.render.number,
        core.outputs.iter().count(),
        showing(core),
        core.render.composing_time(core.clock.runs()),
    );
    let budgets = budgets(core, &shared);
    let mut builder = Builder {
        renderer,
        screen,
        pixels: Rectangle::from_size(screen.size()),
        style: core.render.style(scale),
        elements: Vec::new(),
        covers: Vec::new(),
        ground: core.render.ground,
        books: core.books.clone(),
        budgets,
        textures,
        bitmaps,
        fingerprints,
    };
    builder.all(core, &ours, &mut caches);
    let Builder {
        elements,
        budgets,
        textures,
        bitmaps,
        fingerprints,
        ..
    } = builder;
    core.render.fingerprints = fingerprints;
    core.render.textures = textures;
    core.render.bitmaps = bitmaps;
    put_pictures_away(core, &mut caches);
    core.render.caches = caches;
    let composing = budgets.values().filter(|budget| budget.compose.is_used());
    let composing = u64::try_from(composing.count()).unwrap_or(u64::MAX);
    // Forgotten one after the other, or VMs that compose in every second frame would find all of it for themselves.
    core.render.composing = composing.max(core.render.composing.saturating_sub(1));
    core.render.balances.clear();
    for (vm, budget) in budgets {
        let carried = budget.compose.carried();
        if carried != 0 {
            core.render.balances.insert(vm.clone(), carried);
        }
        if budget.waits || budget.compose.is_exhausted() {
            core.drawing_waits(&vm);
        }
    }
    elements
}

/// Pictures of windows that are covered or minimised stay for when these are seen again, unless their VM has more pictures
/// than it may. Those of popups are bounded by what popups may cover.
fn put_pictures_away(core: &Core, caches: &mut Caches) {
    let screens = u64::try_from(core.outputs.iter().count()).unwrap_or(u64::MAX);
    let shown_since = core.render.number.saturating_sub(screens);
    let mut kept: HashMap<&VmName, u64> = HashMap::new();
    let owner = |id: &WindowId| core.windows.get(*id).map(|window| &window.vm);
    for (id, frame) in &mut caches.windows {
        let pictures = frame
            .values_mut()
            .filter_map(|cache| cache.content.picture().as_ref());
        let bytes = pictures.map(Picture::bytes).fold(0, u64::saturating_add);
        if let Some(vm) = owner(id).filter(|_| bytes > 0) {
            let sum = kept.entry(vm).or_default();
            *sum = sum.saturating_add(bytes);
        }
    }
    let limit = |vm: &VmName| {
        core.vms
            .get(vm)
            .map_or(0, |vm| vm.limits().picture_mib.saturating_mul(1 << 20))
    };
    kept.retain(|vm, bytes| *bytes > limit(vm));
    let too_many = |id: &WindowId| owner(id).is_some_and(|vm| kept.contains_key(vm));
    for (_, frame) in caches.windows.iter_mut().filter(|(id, _)| too_many(id)) {
        for cache in frame.values_mut() {
            cache
                .content
                .picture()
                .take_if(|picture| !picture.is_drawn_since(shown_since));
        }
    }
}

/// Our own bitmaps, as they are to be seen now.
struct Ours {
    /// The pointer's, and its place relative to the point that it points at.
    pointer: Option<(MemoryRenderBuffer, Rectangle<i32, Physical>)>,
    notice: Option<MemoryRenderBuffer>,
}

impl Ours {
    fn draw(core: &mut Core, screen: ScreenId, scale: f64) -> Self {
        let notice = core.render.notice(screen, scale);
        let shape = core.input.shows_pointer().then(|| super::pointer::shape(core));
        let pointer = shape.flatten().map(|shape| {
            let (buffer, rect) = core.render.pointer.picture(shape, scale);
            (buffer.clone(), rect)
        });
        Self { pointer, notice }
    }
}

/// What each VM may spend on this frame.
struct Budget {
    compose: ComposeBudget,
    /// Labels that may be drawn again.
    labels: u64,
    /// A label has to wait.
    waits: bool,
    /// Bytes of textures.
    texture_bytes: u64,
    /// Bytes that may be uploaded at once: a larger buffer would have everybody wait for it.
    upload_bytes: u64,
}

/// How many VMs have windows that are not minimised or hidden.
fn showing(core: &Core) -> usize {
    let windows = core.windows.layout.visible();
    let vms: HashSet<&VmName> = windows
        .filter_map(|id| core.windows.get(id).map(|window| &window.vm))
        .collect();
    vms.len()
}

fn budgets(core: &Core, shared: &SharedBudget) -> HashMap<VmName, Budget> {
    let budget = |vm: &crate::vms::Vm| Budget {
        compose: ComposeBudget::new(
            vm.limits().composed_megapixels,
            vm.limits().picture_mib,
            core.render.composing,
            core.render.balances.get(&vm.name).copied().unwrap_or_default(),
            shared,
        ),
        labels: vm.limits().labels_per_frame,
        waits: false,
        texture_bytes: vm.limits().texture_mib.saturating_mul(1 << 20),
        upload_bytes: vm.limits().upload_mib.saturating_mul(1 << 20),
    };
    core.vms.iter().map(|vm| (vm.name.clone(), budget(vm))).collect()
}

struct Builder<'a, R: Painter> {
    renderer: &'a mut R,
    screen: &'a Screen,
    /// All its pixels. Where its scale does not divide them, these are more or fewer than its place on the desktop says.
    pixels: Rectangle<i32, Physical>,
    style: Style,
    elements: Vec<SceneElement<R>>,
    /// Outer rectangles of what is in front.
    covers: Vec<Rectangle<i32, Physical>>,
    ground: Ground,
    books: Booking,
    budgets: HashMap<VmName, Budget>,
    textures: Textures,
    bitmaps: BitmapCaches,
    fingerprints: Fingerprints,
}

impl<R: Painter> Builder<'_, R> {
    /// Everything, from front to back.
    fn all(&mut self, core: &Core, ours: &Ours, caches: &mut Caches) {
        let mut before = std::mem::take(&mut caches.others);
        for item in core.stack(self.screen) {
            let shown = match item {
                Item::Pointer => {
                    self.pointer(core.input.pointer, ours);
                    continue;
                }
                Item::Notice(place) => {
                    if let Some(buffer) = &ours.notice {
                        self.bitmap(buffer, place, Kind::Unspecified);
                    }
                    continue;
                }
                Item::Framed(shown) => shown,
            };
            let name = core.display_name(shown.owner);
            let window = shown.window.filter(|_| shown.kind != FrameKind::Popup);
            let (cache, spec) = if let Some(id) = window {
                let Some(spec) = window_spec(core, id, &shown, &name) else {
                    continue;
                };
                (caches.windows.entry(id).or_default(), spec)
            } else {
                let id = shown.surface.id();
                let cache = before.remove(&id).unwrap_or_default();
                let spec = popup_spec(core.arms(shown.owner), &name);
                (caches.others.entry(id).or_insert(cache), spec)
            };
            self.framed(cache, &spec, &shown);
        }
    }

    /// The pointer, from our own shapes.
    fn pointer(&mut self, at: Point<f64, Logical>, ours: &Ours) {
        let Some((buffer, rect)) = &ours.pointer else {
            return;
        };
        let local = at - self.screen.rect().loc.to_f64();
        let at: Point<i32, Physical> = local.to_physical(self.style.scale).to_i32_round();
        let place = Rectangle::new(at + rect.loc, rect.size);
        // Parts of it may reach over from the screen beside.
        if place.overlaps(self.pixels) {
            self.bitmap(buffer, place, Kind::Cursor);
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

    /// The only way a client's pixels get on the screen: frame in front, content clipped, plate below.
    fn framed(&mut self, cache: &mut PerScale<FrameCache>, spec: &FrameSpec<'_>, shown: &stack::Framed<'_>) {
        let scale = self.style.scale;
        let Placed { outer, inner } = geometry::placed(shown, self.screen, &self.style);
        if !self.is_seen(outer) {
            return;
        }
        let spec = FrameSpec {
            content: unsigned(inner.size),
            ..spec.clone()
        };
        let cache = cache.at(scale);
        let Some(updated) = self.frame(cache, &spec, shown.owner) else {
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
            vm: shown.owner.clone(),
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
            bitmaps,
            ..
        } = self;
        let budget = budgets.get_mut(vm)?;
        let updated = books.book(vm, Work::Drawing, || {
            let shared = bitmaps.of(vm, spec);
            let mut labels = if budget.compose.has_time() {
                budget.labels
            } else {
                0
            };
            let before = labels;
            let update = || cache.update(&mut **renderer, shared, style, spec, &mut labels);
            let updated = budget.compose.spend(update);
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
        shown: &stack::Framed<'_>,
        inner: Rectangle<i32, Physical>,
    ) -> Option<(Content<R>, Damage)> {
        let scale = self.style.scale;
        let local = shown.origin - self.screen.rect().loc;
        let corner: Point<i32, Physical> = local.to_f64().to_physical(scale).to_i32_round();
        let Self {
            renderer,
            books,
            budgets,
            textures,
            fingerprints,
            ..
        } = self;
        let budget = budgets.get_mut(shown.owner)?;
        let limit = budget.texture_bytes;
        let origin = corner - inner.loc;
        let fingerprint = || {
            books.book(shown.owner, Work::Drawing, || {
                fingerprints.of(&shown.surface, origin, scale)
            })
        };
        let before = cache.content.picture().is_some().then(fingerprint);
        let compose = &mut budget.compose;
        if let Some(content) = cache.content.unchanged(&**renderer, before, inner.size, compose) {
            return Some(content);
        }
        let largest = budget.upload_bytes;
        let may_have = |surface: &_, weight: Weight, copies| {
            let bytes = weight.texture.saturating_mul(copies);
            weight.fetched <= largest && textures.may_have(shown.owner, surface, bytes, limit)
        };
        let place = (origin, scale, inner.size);
        let in_time = budget.compose.has_time();
        let collect = || gather(&mut **renderer, &shown.surface, place, may_have);
        let gathered = books.book(shown.owner, Work::Drawing, || budget.compose.spend(collect));
        budget.compose.grant(in_time);
        let complete = gathered.complete;
        let account = Account {
            vm: shown.owner,
            books,
            budget: &mut budget.compose,
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

fn window_spec<'a>(
    core: &'a Core,
    id: WindowId,
    shown: &stack::Framed<'_>,
    display_name: &'a str,
) -> Option<FrameSpec<'a>> {
    let window = core.windows.get(id)?;
    let new = window.wants_attention.then_some(Badge::WantsYou);
    Some(FrameSpec {
        arms: core.arms(&window.vm),
        display_name,
        untrusted_title: &window.untrusted_title,
        title_rule: core.title_rule(&window.vm),
        kind: shown.kind,
        focused: core.input.focus() == Some(id),
        maximized: core.windows.layout.mode(id) == Some(Mode::Maximized),
        hover: window.hover,
        badge: core.badge(&window.vm).or(new),
        content: (0, 0),
    })
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
