// SPDX-License-Identifier: MIT OR Apache-2.0
//! The content of a window, popup or drag icon: one element, whatever its client hangs into it.
//!
//! For the damage tracker it is one opaque rectangle: the plate is part of it, so nothing that a client says can uncover
//! what lies below, and what it costs to track does not depend on the client. Contents that are copies of buffers are
//! drawn where the screen is. All others - scaled, turned, many surfaces deep - are composed into a [`Picture`] first, in
//! tiles, within what their VM may spend in a frame; frames that others cause only copy the picture.

use heraldry_config::VmName;
use smithay::backend::renderer::element::{Element, Id, Kind, RenderElement, UnderlyingStorage};
use smithay::backend::renderer::utils::{CommitCounter, DamageBag, DamageSet, DamageSnapshot, OpaqueRegions};
use smithay::backend::renderer::{Frame as _, Renderer};
use smithay::utils::{Buffer, Physical, Point, Rectangle, Scale, Size, Transform};

use super::damage::push;
use super::painter::Painter;
use super::picture::{Picture, Purse};
use super::piece::{Ground, Look, Piece, paint};
use crate::booking::{Booking, Work};

/// A content of so many surfaces is composed into a picture, however plain they are.
const DIRECT: usize = 8;

/// What is remembered of a content from frame to frame.
#[derive(Debug)]
pub struct ContentCache {
    id: Id,
    bag: DamageBag<i32, Physical>,
    size: Size<i32, Physical>,
    looks: Vec<(Look, CommitCounter)>,
    picture: Option<Picture>,
}

impl Default for ContentCache {
    fn default() -> Self {
        Self {
            id: Id::new(),
            bag: DamageBag::default(),
            size: Size::default(),
            looks: Vec::new(),
            picture: None,
        }
    }
}

impl ContentCache {
    /// Everything must be drawn again.
    pub fn invalidate(&mut self) {
        self.looks.clear();
        self.size = Size::default();
    }

    /// The element for what the client shows now.
    pub(super) fn update<R: Painter>(
        &mut self,
        renderer: &mut R,
        pieces: Vec<Piece<R>>,
        place: Place,
        account: Account<'_>,
    ) -> Content<R> {
        let Place {
            rect,
            outer,
            scale,
            ground,
        } = place;
        let mut damage = self.changes(&pieces, rect.size, scale);
        let simple = pieces.len() <= DIRECT && pieces.iter().all(Piece::is_plain);
        let shown = if simple {
            if self.picture.take().is_some() {
                damage = vec![Rectangle::from_size(rect.size)];
            }
            Shown::Pieces(pieces)
        } else {
            let vm = account.vm;
            account.books.book(vm, Work::Drawing, || {
                self.compose(renderer, &pieces, rect.size, &mut damage, account.purse)
            })
        };
        if !damage.is_empty() {
            self.bag.add(damage);
        }
        Content {
            id: self.id.clone(),
            damage: self.bag.snapshot(),
            rect,
            opaque: Rectangle::new(outer.loc - rect.loc, outer.size),
            shown,
            ground,
            vm: account.vm.clone(),
            books: account.books.clone(),
        }
    }

    /// Brings the picture up to date as far as the VM's purse allows. `damage` becomes what has changed on the picture.
    fn compose<R: Painter>(
        &mut self,
        renderer: &mut R,
        pieces: &[Piece<R>],
        size: Size<i32, Physical>,
        damage: &mut Vec<Rectangle<i32, Physical>>,
        purse: &mut Purse,
    ) -> Shown<R> {
        let kept = self
            .picture
            .take()
            .filter(|picture| picture.is_for::<R>(renderer, size));
        let picture = match kept {
            Some(picture) => Some(picture),
            None => {
                *damage = vec![Rectangle::from_size(size)];
                purse
                    .room_for(size)
                    .then(|| Picture::new(renderer, size))
                    .flatten()
            }
        };
        // Without memory for a picture there is the plate: this VM has more of them than it may.
        let Some(mut picture) = picture else {
            return Shown::Pieces(Vec::new());
        };
        purse.keep(size);
        picture.soil(pieces, damage);
        *damage = picture.compose(renderer, pieces, purse);
        let texture = picture.texture::<R>();
        self.picture = Some(picture);
        texture.map_or_else(|| Shown::Pieces(Vec::new()), Shown::Picture)
    }

    /// What differs from the last frame, in pixels from the content's corner.
    fn changes<R: Painter>(
        &mut self,
        pieces: &[Piece<R>],
        size: Size<i32, Physical>,
        scale: f64,
    ) -> Vec<Rectangle<i32, Physical>> {
        let looks: Vec<_> = pieces.iter().map(Piece::look).collect();
        let before = std::mem::replace(&mut self.looks, looks);
        if std::mem::replace(&mut self.size, size) != size {
            return vec![Rectangle::from_size(size)];
        }
        let mut damage = Vec::new();
        let mut old = before.iter();
        for (piece, (look, _)) in pieces.iter().zip(&self.looks) {
            // Surfaces that are gone from the front of what is left of the old list.
            let known = old.clone().position(|(before, _)| before.id == look.id);
            let Some(known) = known else {
                push(&mut damage, look.visible);
                continue;
            };
            for (gone, _) in old.by_ref().take(known) {
                push(&mut damage, gone.visible);
            }
            let Some((was, commit)) = old.next() else { continue };
            if was == look {
                for rect in piece.damage_since(scale, *commit) {
                    push(&mut damage, rect);
                }
            } else {
                push(&mut damage, was.visible);
                push(&mut damage, look.visible);
            }
        }
        for (gone, _) in old {
            push(&mut damage, gone.visible);
        }
        damage
    }
}

/// Where a content is on the screen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The content rectangle.
    pub(super) rect: Rectangle<i32, Physical>,
    /// The same with its frame.
    pub(super) outer: Rectangle<i32, Physical>,
    /// Physical pixels per logical pixel.
    pub(super) scale: f64,
    /// What lies under it.
    pub(super) ground: Ground,
}

/// On whose account a content is drawn.
pub(super) struct Account<'a> {
    pub(super) vm: &'a VmName,
    pub(super) books: &'a Booking,
    pub(super) purse: &'a mut Purse,
}

/// What fills the content rectangle.
enum Shown<R: Renderer> {
    /// Copies of buffers on the plate.
    Pieces(Vec<Piece<R>>),
    /// What was composed of them.
    Picture(R::TextureId),
}

/// A content as the damage tracker and the renderer see it.
pub struct Content<R: Renderer> {
    id: Id,
    damage: DamageSnapshot<i32, Physical>,
    rect: Rectangle<i32, Physical>,
    opaque: Rectangle<i32, Physical>,
    shown: Shown<R>,
    ground: Ground,
    vm: VmName,
    books: Booking,
}

impl<R: Renderer> std::fmt::Debug for Content<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content")
            .field("vm", &self.vm)
            .field("rect", &self.rect)
            .finish_non_exhaustive()
    }
}

impl<R: Painter> Element for Content<R> {
    fn id(&self) -> &Id {
        &self.id
    }

    fn current_commit(&self) -> CommitCounter {
        self.damage.current_commit()
    }

    fn location(&self, _scale: Scale<f64>) -> Point<i32, Physical> {
        self.rect.loc
    }

    fn src(&self) -> Rectangle<f64, Buffer> {
        Rectangle::from_size((self.rect.size.w, self.rect.size.h).into()).to_f64()
    }

    fn transform(&self) -> Transform {
        Transform::Normal
    }

    fn geometry(&self, _scale: Scale<f64>) -> Rectangle<i32, Physical> {
        self.rect
    }

    fn damage_since(&self, _scale: Scale<f64>, commit: Option<CommitCounter>) -> DamageSet<i32, Physical> {
        let whole = Rectangle::from_size(self.rect.size);
        let damage = self.damage.damage_since(commit);
        damage.unwrap_or_else(|| DamageSet::from_slice(&[whole]))
    }

    /// The frame in front is opaque too, and all of it is drawn: one rectangle for the tracker instead of five.
    fn opaque_regions(&self, _scale: Scale<f64>) -> OpaqueRegions<i32, Physical> {
        OpaqueRegions::from_slice(&[self.opaque])
    }

    fn kind(&self) -> Kind {
        Kind::Unspecified
    }
}

impl<R: Painter> RenderElement<R> for Content<R> {
    fn draw(
        &self,
        frame: &mut R::Frame<'_, '_>,
        src: Rectangle<f64, Buffer>,
        dst: Rectangle<i32, Physical>,
        damage: &[Rectangle<i32, Physical>],
        _opaque: &[Rectangle<i32, Physical>],
    ) -> Result<(), R::Error> {
        self.books.book(&self.vm, Work::Drawing, || {
            match &self.shown {
                Shown::Pieces(pieces) => paint::<R>(frame, pieces, self.ground, dst.loc, damage),
                Shown::Picture(texture) => {
                    let whole = [Rectangle::from_size(dst.size)];
                    let drawn = frame.render_texture_from_to(
                        texture,
                        src,
                        dst,
                        damage,
                        &whole,
                        Transform::Normal,
                        1.0,
                    );
                    if drawn.is_err() {
                        paint::<R>(frame, &[], Ground::Plate, dst.loc, damage);
                    }
                }
            }
            Ok(())
        })
    }

    fn underlying_storage(&self, _renderer: &mut R) -> Option<UnderlyingStorage<'_>> {
        None
    }
}
