// SPDX-License-Identifier: MIT OR Apache-2.0
//! A frame and its content as the damage tracker and the renderer see them: one element.
//!
//! For the tracker it is one opaque rectangle, so what it costs to track does not depend on the client. The frame is drawn
//! whatever becomes of the content, and neither of them can make drawing fail.

use heraldry_identity::VmName;
use smithay::backend::renderer::Renderer;
use smithay::backend::renderer::element::{Element, Id, Kind, RenderElement, UnderlyingStorage};
use smithay::backend::renderer::utils::{CommitCounter, DamageSet, DamageSnapshot, OpaqueRegions};
use smithay::utils::{Buffer, Physical, Point, Rectangle, Scale, Transform};

use super::band::Band;
use super::content::Content;
use super::painter::Painter;
use super::piece::Ground;
use crate::vms::booking::{Booking, Work};

/// Something framed, on the screen.
pub struct Framed<R: Renderer> {
    pub(super) id: Id,
    pub(super) damage: DamageSnapshot<i32, Physical>,
    /// Frame and content.
    pub(super) outer: Rectangle<i32, Physical>,
    /// The content.
    pub(super) inner: Rectangle<i32, Physical>,
    pub(super) band: Band<R>,
    pub(super) content: Content<R>,
    /// What lies under the content.
    pub(super) ground: Ground,
    pub(super) vm: VmName,
    pub(super) books: Booking,
}

impl<R: Renderer> std::fmt::Debug for Framed<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Framed")
            .field("vm", &self.vm)
            .field("outer", &self.outer)
            .finish_non_exhaustive()
    }
}

impl<R: Painter> Element for Framed<R> {
    fn id(&self) -> &Id {
        &self.id
    }

    fn current_commit(&self) -> CommitCounter {
        self.damage.current_commit()
    }

    fn location(&self, _scale: Scale<f64>) -> Point<i32, Physical> {
        self.outer.loc
    }

    fn src(&self) -> Rectangle<f64, Buffer> {
        Rectangle::from_size((self.outer.size.w, self.outer.size.h).into()).to_f64()
    }

    fn transform(&self) -> Transform {
        Transform::Normal
    }

    fn geometry(&self, _scale: Scale<f64>) -> Rectangle<i32, Physical> {
        self.outer
    }

    fn damage_since(&self, _scale: Scale<f64>, commit: Option<CommitCounter>) -> DamageSet<i32, Physical> {
        let whole = Rectangle::from_size(self.outer.size);
        let damage = self.damage.damage_since(commit);
        damage.unwrap_or_else(|| DamageSet::from_slice(&[whole]))
    }

    fn opaque_regions(&self, _scale: Scale<f64>) -> OpaqueRegions<i32, Physical> {
        OpaqueRegions::from_slice(&[Rectangle::from_size(self.outer.size)])
    }

    fn kind(&self) -> Kind {
        Kind::Unspecified
    }
}

impl<R: Painter> RenderElement<R> for Framed<R> {
    fn draw(
        &self,
        frame: &mut R::Frame<'_, '_>,
        _src: Rectangle<f64, Buffer>,
        dst: Rectangle<i32, Physical>,
        damage: &[Rectangle<i32, Physical>],
        _opaque: &[Rectangle<i32, Physical>],
    ) -> Result<(), R::Error> {
        self.books.book(&self.vm, Work::Drawing, || {
            let inside = self.inner.loc - self.outer.loc;
            let whole = Rectangle::from_size(self.inner.size);
            let changed: Vec<_> = damage
                .iter()
                .filter_map(|rect| Rectangle::new(rect.loc - inside, rect.size).intersection(whole))
                .collect();
            if !changed.is_empty() {
                let place = Rectangle::new(dst.loc + inside, self.inner.size);
                self.content.draw(frame, self.ground, place, &changed);
            }
            self.band.draw(frame, dst.loc, damage);
            Ok(())
        })
    }

    fn underlying_storage(&self, _renderer: &mut R) -> Option<UnderlyingStorage<'_>> {
        None
    }
}
