// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client's surfaces as the renderer gets them.
//!
//! Everything that a client says of its content is checked here or not used at all: places and sizes, the part of the
//! buffer, the scale. What it calls opaque is never asked for; a piece is opaque if its buffer has no alpha. Smithay
//! computes with these numbers unchecked, and Pixman's coordinates end at 16 bits: what does not fit is not drawn, and
//! the plate is seen. See `docs/decisions/0010-what-is-believed-in-drawing.md`.

use std::cell::RefCell;

use smithay::backend::allocator::format::has_alpha as format_has_alpha;
use smithay::backend::renderer::element::surface::{WaylandSurfaceRenderElement, WaylandSurfaceTexture};
use smithay::backend::renderer::element::{Element, Id, Kind, RenderElement, UnderlyingStorage};
use smithay::backend::renderer::utils::{CommitCounter, RendererSurfaceStateUserData};
use smithay::backend::renderer::{
    BufferType, Color32F, Frame, Renderer, Texture, buffer_dimensions, buffer_has_alpha, buffer_type,
};
use smithay::utils::{Buffer, Physical, Point, Rectangle, Size, Transform};
use smithay::wayland::compositor::{SurfaceData, TraversalAction, with_surface_tree_downward};
use smithay::wayland::shm::with_buffer_contents;
use wayland_server::protocol::wl_surface::WlSurface;

use super::pages::{PAGE_BYTES, fetched_bytes, pages};
use super::painter::Painter;
use super::uploads;

/// Colour of the plate: what shows where a client has drawn nothing.
pub const PLATE: Color32F = Color32F::new(0.10, 0.11, 0.12, 1.0);

/// A place or size beyond this is not drawn; no screen is near it.
const FAR: i32 = 1 << 20;

/// Pixman computes in 16.16: with a scale, neither a source coordinate nor a place times the scale may be beyond this.
/// Its own limit is 32768, less a margin for filters.
const FIXED: f64 = 32_000.0;

/// A copy is drawn where the screen is, which may be turned: buffer and place together must stay within [`FIXED`].
const COPY_REACH: i32 = 16_000;

/// Opaque pieces that are looked at to leave out what lies below them.
const COVERS: usize = 8;

/// One surface of a client, checked. Places are physical pixels from the corner of the content rectangle.
pub struct Piece<R: Renderer> {
    element: WaylandSurfaceRenderElement<R>,
    /// What is drawn instead of the element's own texture.
    texture: Option<R::TextureId>,
    src: Rectangle<f64, Buffer>,
    dst: Rectangle<i32, Physical>,
    /// The part of `dst` inside the content rectangle.
    visible: Rectangle<i32, Physical>,
    /// The colour, if it is one; else there is a buffer.
    colour: Option<Color32F>,
    /// Pixels of the buffer for one of the screen, the larger of both directions, at least one.
    scale: f64,
    opaque: bool,
    /// Neither scaled nor turned: a copy.
    plain: bool,
    /// Bytes of a line of the buffer, if it is read where it is.
    stride: Option<i32>,
}

impl<R: Painter> std::fmt::Debug for Piece<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Piece")
            .field("dst", &self.dst)
            .field("opaque", &self.opaque)
            .field("plain", &self.plain)
            .finish_non_exhaustive()
    }
}

/// All that a piece's pixels depend on besides its buffer's content.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Look {
    pub(super) id: Id,
    pub(super) visible: Rectangle<i32, Physical>,
    src: Rectangle<f64, Buffer>,
    dst: Rectangle<i32, Physical>,
    transform: Transform,
    alpha: f32,
    colour: Option<Color32F>,
    opaque: bool,
}

impl<R: Painter> Piece<R> {
    /// What it looks like, and which content it shows.
    pub(super) fn look(&self) -> (Look, CommitCounter) {
        let look = Look {
            id: self.element.id().clone(),
            visible: self.visible,
            src: self.src,
            dst: self.dst,
            transform: self.element.transform(),
            alpha: self.element.alpha(),
            colour: self.colour,
            opaque: self.opaque,
        };
        (look, self.element.current_commit())
    }

    /// Whether it can be drawn where the screen is, without a picture in between.
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }

    /// Pages of memory that are touched where it is drawn on no more than `most` within `part`: each may have to be fetched,
    /// whatever was fetched before.
    pub(super) fn pages(&self, part: Rectangle<i32, Physical>, most: Size<i32, Physical>) -> u64 {
        let (Some(stride), Some(part)) = (self.stride, self.visible.intersection(part)) else {
            return 0;
        };
        let size = (part.size.w.min(most.w), part.size.h.min(most.h)).into();
        pages(
            self.src.size,
            self.dst.size,
            self.element.transform(),
            stride,
            size,
        )
    }

    /// Whether it is spread over more memory than its pixels take.
    pub(super) fn is_sparse(&self) -> bool {
        let side = |value: i32| u64::try_from(value).unwrap_or(0);
        let size = self.visible.size;
        let dense = side(size.w).saturating_mul(side(size.h)).saturating_mul(4) / PAGE_BYTES;
        self.pages(self.visible, size) > dense + dense / 2 + 16
    }

    /// Whether Pixman can place it on a picture of the whole content.
    pub(super) fn fits(&self) -> bool {
        let end = |at: i32, size: i32| f64::from(at).abs().max(f64::from(at.saturating_add(size)).abs());
        let far = end(self.dst.loc.x, self.dst.size.w).max(end(self.dst.loc.y, self.dst.size.h));
        self.plain || far * self.scale < FIXED
    }

    /// What a pixel of it costs.
    fn weight(&self) -> u64 {
        let weights = R::WEIGHTS;
        match (self.plain, self.opaque) {
            (true, true) => weights.copy,
            (true, false) => weights.blend,
            (false, _) if self.element.transform() == Transform::Normal => weights.scale,
            (false, _) => weights.turn,
        }
    }

    /// What it costs to draw it within `part`.
    pub(super) fn cost(&self, part: Rectangle<i32, Physical>) -> u64 {
        let Some(part) = self.visible.intersection(part) else {
            return 0;
        };
        self.cost_of(part.size).saturating_add(R::WEIGHTS.call)
    }

    /// What the pixels of it that are seen cost.
    pub(super) fn cost_of_all(&self) -> u64 {
        self.cost_of(self.visible.size)
    }

    fn cost_of(&self, size: Size<i32, Physical>) -> u64 {
        let side = |value: i32| u64::try_from(value).unwrap_or(0);
        let pixels = side(size.w).saturating_mul(side(size.h));
        pixels.saturating_mul(self.weight())
    }
}

/// Whether a part of a buffer can be shown at a place. Returns how many of the buffer's pixels make one of the screen.
fn checked(
    src: Rectangle<f64, Buffer>,
    dst: Rectangle<i32, Physical>,
    buffer: Option<Size<i32, Buffer>>,
    transform: Transform,
) -> Option<(f64, bool)> {
    let near = |value: i32| (-FAR..=FAR).contains(&value);
    let placed = near(dst.loc.x) && near(dst.loc.y) && near(dst.size.w) && near(dst.size.h);
    if !placed || dst.size.w <= 0 || dst.size.h <= 0 {
        return None;
    }
    let Some(buffer) = buffer else {
        // A colour has no pixels that could be missing.
        return Some((1.0, true));
    };
    let values = [src.loc.x, src.loc.y, src.size.w, src.size.h];
    if values.iter().any(|value| !value.is_finite()) || src.size.w <= 0.0 || src.size.h <= 0.0 {
        return None;
    }
    // Smithay's division may leave a source a little beyond the buffer that it was checked against.
    let within = |from: f64, size: f64, whole: i32| from >= -0.01 && from + size <= f64::from(whole) + 0.01;
    if !within(src.loc.x, src.size.w, buffer.w) || !within(src.loc.y, src.size.h, buffer.h) {
        return None;
    }
    let whole = src.loc.x.fract() == 0.0 && src.loc.y.fract() == 0.0;
    let same = (src.size.w, src.size.h) == (f64::from(dst.size.w), f64::from(dst.size.h));
    let handy = |value: i32| (-COPY_REACH..=COPY_REACH).contains(&value);
    let handy = handy(dst.loc.x) && handy(dst.loc.y) && handy(buffer.w) && handy(buffer.h);
    if transform == Transform::Normal && whole && same && handy {
        return Some((1.0, true));
    }
    let turned = transform.transform_size(src.size);
    let scale = (turned.w / f64::from(dst.size.w)).max(turned.h / f64::from(dst.size.h));
    let reach = (src.loc.x + src.size.w).max(src.loc.y + src.size.h);
    (reach < FIXED && scale < FIXED).then_some((scale.max(1.0), false))
}

/// What a tree of surfaces shows.
pub(super) struct Gathered<R: Renderer> {
    /// What can be seen of it, topmost first.
    pub(super) pieces: Vec<Piece<R>>,
    /// Nothing is missing that may be there another time.
    pub(super) complete: bool,
    /// Surfaces that were looked at, seen or not.
    pub(super) surfaces: usize,
}

/// The surfaces of a tree, as far as they can be seen in a content rectangle of `size`, at a scale. `origin` is where the
/// root's own corner is. `may_import` is asked before a client's buffer of so many bytes takes that memory of the
/// renderer's, once or twice.
pub(super) fn gather<R: Painter>(
    renderer: &mut R,
    root: &WlSurface,
    (origin, scale, size): (Point<i32, Physical>, f64, Size<i32, Physical>),
    mut may_import: impl FnMut(&WlSurface, Weight, u64) -> bool,
) -> Gathered<R> {
    let mut pieces = Vec::new();
    let mut complete = true;
    let mut surfaces: usize = 0;
    let clip = Rectangle::from_size(size);
    let offset = |states: &SurfaceData| {
        let state = states
            .data_map
            .get::<RendererSurfaceStateUserData>()?
            .lock()
            .ok()?;
        state.view().map(|view| view.offset.to_f64().to_physical(scale))
    };
    with_surface_tree_downward(
        root,
        origin.to_f64(),
        |_, states, at| match offset(states) {
            Some(offset) => TraversalAction::DoChildren(*at + offset),
            None => TraversalAction::SkipChildren,
        },
        |surface, states, at| {
            let Some(offset) = offset(states) else { return };
            surfaces = surfaces.saturating_add(1);
            // One texture of Smithay's, and where that would not do, one of ours.
            let textures = if uploads::is_replaced(states) { 2 } else { 1 };
            if R::COPIES && !may_import(surface, weigh(states), textures) {
                complete = false;
                return;
            }
            let element = WaylandSurfaceRenderElement::from_surface(
                renderer,
                surface,
                states,
                *at + offset,
                1.0,
                Kind::Unspecified,
            );
            if R::COPIES {
                uploads::imported(states);
            }
            // An error is a buffer that cannot be read; Smithay has logged it. The plate is seen.
            complete &= element.is_ok();
            if let Ok(Some(element)) = element {
                pieces.extend(piece(renderer, states, element, scale, clip));
            }
        },
        |_, _, _| true,
    );
    Gathered {
        pieces,
        complete,
        surfaces,
    }
}

/// What a surface's buffer takes, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weight {
    /// As a texture.
    pub(super) texture: u64,
    /// To read all of it.
    pub(super) fetched: u64,
}

/// What a surface's buffer takes; nothing for a colour, for which no texture is made or freed.
fn weigh(states: &SurfaceData) -> Weight {
    let Some(state) = states.data_map.get::<RendererSurfaceStateUserData>() else {
        return Weight::default();
    };
    let Ok(state) = state.lock() else {
        return Weight::default();
    };
    let buffer = state
        .buffer()
        .filter(|buffer| !matches!(buffer_type(buffer), Some(BufferType::SinglePixel)));
    let Some(buffer) = buffer else {
        return Weight::default();
    };
    let size = buffer_dimensions(buffer).unwrap_or_default();
    let stride = with_buffer_contents(buffer, |_, _, data| data.stride).unwrap_or(0);
    let side = |value: i32| u64::try_from(value).unwrap_or(0);
    let (columns, lines) = (side(size.w), side(size.h));
    Weight {
        texture: columns.saturating_mul(lines).saturating_mul(4),
        fetched: fetched_bytes(columns, lines, stride),
    }
}

fn piece<R: Painter>(
    renderer: &mut R,
    states: &SurfaceData,
    element: WaylandSurfaceRenderElement<R>,
    scale: f64,
    clip: Rectangle<i32, Physical>,
) -> Option<Piece<R>> {
    let dst = element.geometry(scale.into());
    let (colour, buffer, texture_alpha) = match element.texture() {
        WaylandSurfaceTexture::Texture(texture) => {
            (None, Some(texture.size()), texture.format().map(format_has_alpha))
        }
        WaylandSurfaceTexture::SolidColor(colour) => (Some(*colour), None, None),
    };
    let src = element.src();
    let (reduction, plain) = checked(src, dst, buffer, element.transform())?;
    let visible = dst.intersection(clip)?;
    let has_alpha = match (colour, element.underlying_storage(renderer)) {
        (Some(colour), _) => colour.a() < 1.0,
        (None, Some(UnderlyingStorage::Wayland(buffer))) => buffer_has_alpha(buffer).unwrap_or(true),
        (None, _) => true,
    };
    let stride = match element.underlying_storage(renderer) {
        Some(UnderlyingStorage::Wayland(buffer)) if !R::COPIES && colour.is_none() => {
            with_buffer_contents(buffer, |_, _, data| data.stride).ok()
        }
        _ => None,
    };
    let mut texture = None;
    let replaced = texture_alpha.is_some_and(|alpha| alpha != has_alpha);
    uploads::set_replaced(states, replaced);
    if replaced {
        texture = Some(own_texture(renderer, states, &element)?);
    } else if let Some(kept) = states.data_map.get::<OwnTexture<R::TextureId>>() {
        kept.0.take();
    }
    Some(Piece {
        opaque: !has_alpha && element.alpha() >= 1.0,
        element,
        texture,
        src,
        dst,
        visible,
        colour,
        scale: reduction,
        plain,
        stride,
    })
}

/// What lies under pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    /// The opaque plate.
    Plate,
    /// Whatever was there, as if clients were believed. For the test that shows that this would be seen.
    Nothing,
}

/// A texture of a surface's buffer, kept for as long as it shows the same content.
struct OwnTexture<T>(RefCell<Option<(CommitCounter, T)>>);

/// Smithay keeps a surface's GL texture for as long as the size is the same: one that was made for a buffer with alpha is
/// blended when the next buffer has none, and the other way round. Such a buffer gets a texture that is made for it.
fn own_texture<R: Painter>(
    renderer: &mut R,
    states: &SurfaceData,
    element: &WaylandSurfaceRenderElement<R>,
) -> Option<R::TextureId> {
    let commit = element.current_commit();
    let kept = states
        .data_map
        .get_or_insert(|| OwnTexture::<R::TextureId>(RefCell::new(None)));
    if let Some((of, texture)) = &*kept.0.borrow()
        && *of == commit
    {
        return Some(texture.clone());
    }
    let Some(UnderlyingStorage::Wayland(buffer)) = element.underlying_storage(renderer) else {
        return None;
    };
    let texture = renderer.import_buffer(buffer, None, &[])?.ok()?;
    *kept.0.borrow_mut() = Some((commit, texture.clone()));
    Some(texture)
}

/// Paints pieces, topmost first in the list, on their ground. `corner` is where the content's corner is in the frame;
/// `damage` counts from there. Never fails: what a renderer refuses is the plate.
pub(super) fn paint<R: Painter>(
    frame: &mut R::Frame<'_, '_>,
    pieces: &[Piece<R>],
    ground: Ground,
    corner: Point<i32, Physical>,
    damage: &[Rectangle<i32, Physical>],
) {
    let mut covers: Vec<Rectangle<i32, Physical>> = Vec::new();
    let uncovered =
        |rects: Vec<_>, covers: &[_]| Rectangle::subtract_rects_many_in_place(rects, covers.iter().copied());
    let mut seen = Vec::new();
    for piece in pieces {
        let rects = damage.iter().filter_map(|rect| rect.intersection(piece.visible));
        let rects = uncovered(rects.collect(), &covers);
        if rects.is_empty() {
            continue;
        }
        seen.push((piece, rects));
        // Only a copy is sure to write every pixel, or to say that it did not.
        if piece.opaque && piece.plain && covers.len() < COVERS {
            covers.push(piece.visible);
        }
    }
    if ground == Ground::Plate {
        plate::<R>(frame, corner, &uncovered(damage.to_vec(), &covers));
    }
    for (piece, rects) in seen.iter().rev() {
        if piece.draw(frame, corner, rects).is_err() {
            plate::<R>(frame, corner, rects);
        }
    }
}

fn plate<R: Renderer>(
    frame: &mut R::Frame<'_, '_>,
    corner: Point<i32, Physical>,
    rects: &[Rectangle<i32, Physical>],
) {
    for rect in rects {
        let place = Rectangle::new(rect.loc + corner, rect.size);
        // A renderer that cannot fill a rectangle draws nothing at all; the next frame tries again.
        let _filled = frame.draw_solid(place, &[Rectangle::from_size(rect.size)], PLATE);
    }
}

impl<R: Painter> Piece<R> {
    /// What has changed since the content that `commit` names, in pixels from the content's corner.
    pub(super) fn damage_since(
        &self,
        scale: f64,
        commit: CommitCounter,
    ) -> impl Iterator<Item = Rectangle<i32, Physical>> {
        // A pixel that is enlarged is also seen between itself and its neighbours.
        let spread = if self.plain { 0 } else { self.spread() };
        let damage = self.element.damage_since(scale.into(), Some(commit));
        let changed: Vec<_> = damage
            .iter()
            .filter_map(|rect| {
                let near = |value: i32| value.clamp(-FAR, FAR);
                let from = Point::from((
                    near(rect.loc.x) + self.dst.loc.x - spread,
                    near(rect.loc.y) + self.dst.loc.y - spread,
                ));
                let size = Size::from((near(rect.size.w) + 2 * spread, near(rect.size.h) + 2 * spread));
                Rectangle::new(from, size).intersection(self.visible)
            })
            .collect();
        changed.into_iter()
    }

    /// Pixels of the screen that one of the buffer reaches.
    fn spread(&self) -> i32 {
        let turned = self.element.transform().transform_size(self.src.size);
        let enlarged = (f64::from(self.dst.size.w) / turned.w).max(f64::from(self.dst.size.h) / turned.h);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "clamped to what a screen can show"
        )]
        let spread = enlarged.ceil().clamp(1.0, f64::from(FAR)) as i32;
        spread.saturating_add(1)
    }

    fn draw(
        &self,
        frame: &mut R::Frame<'_, '_>,
        corner: Point<i32, Physical>,
        rects: &[Rectangle<i32, Physical>],
    ) -> Result<(), R::Error> {
        let place = Rectangle::new(self.dst.loc + corner, self.dst.size);
        let local: Vec<_> = rects
            .iter()
            .map(|rect| Rectangle::new(rect.loc - self.dst.loc, rect.size))
            .collect();
        match &self.texture {
            Some(texture) => {
                let (transform, alpha) = (self.element.transform(), self.element.alpha());
                frame.render_texture_from_to(texture, self.src, place, &local, &[], transform, alpha)
            }
            None => self.element.draw(frame, self.src, place, &local, &[]),
        }
    }
}
