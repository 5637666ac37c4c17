// SPDX-License-Identifier: MIT OR Apache-2.0
//! The content of a window, popup or drag icon: one opaque rectangle, whatever its client hangs into it.
//!
//! The plate is a part of it, so nothing that a client says can uncover what lies below. Contents that are copies of buffers are
//! drawn where the screen is. All others - scaled, turned, many surfaces deep - are composed into a [`Picture`] first, in
//! tiles, within what their VM may spend in a frame; frames that others cause only copy the picture.

use heraldry_identity::VmName;
use smithay::backend::renderer::utils::CommitCounter;
use smithay::backend::renderer::{Frame as _, Renderer};
use smithay::utils::{Physical, Rectangle, Size, Transform};

use super::compose_budget::ComposeBudget;
use super::damage::{Damage, push};
use super::painter::Painter;
use super::picture::Picture;
use super::piece::{Gathered, Ground, Look, Piece, paint};
use crate::vms::booking::{Booking, Work};

/// A content of so many surfaces is composed into a picture, however plain they are.
const DIRECT: usize = 8;

/// So is one whose pixels cost more than this many copies: three layers that are blended.
const SHALLOW: u64 = 12;

/// So many updates a content stays composed for which there was no share left, lest one that just fits in now and then is made a
/// picture of again each time. How many VMs share is up to others too.
const STAYS: u8 = 60;

/// How pieces may be drawn.
enum Depth {
    /// Where the screen is: it costs no more than a picture would.
    Plain,
    /// So too, if the VM's share is large enough for this cost.
    Shallow(u64),
    /// Into a picture first.
    Deep,
}

/// What is not seen of a tree counts too: it is looked at in each frame.
fn depth<R: Painter>(gathered: &Gathered<R>, size: Size<i32, Physical>) -> Depth {
    let pieces = &gathered.pieces;
    let side = |value: i32| u64::try_from(value).unwrap_or(0);
    let copy = side(size.w).saturating_mul(side(size.h));
    if gathered.surfaces > DIRECT || !pieces.iter().all(|piece| piece.is_plain() && !piece.is_sparse()) {
        return Depth::Deep;
    }
    match pieces.iter().map(Piece::cost_of_all).fold(0, u64::saturating_add) {
        cost if cost <= copy => Depth::Plain,
        cost if cost <= copy.saturating_mul(SHALLOW) => Depth::Shallow(cost),
        _ => Depth::Deep,
    }
}

/// What is remembered of a content from frame to frame.
#[derive(Debug, Default)]
pub(super) struct ContentCache {
    size: Size<i32, Physical>,
    looks: Vec<(Look, CommitCounter)>,
    picture: Option<Picture>,
    /// It could not be shown without a picture.
    deep: bool,
    /// Updates for which it stays so though it could.
    stays: u8,
    /// The fingerprint of the tree that the whole picture shows.
    shows: Option<u64>,
    /// It is the plate, of this size, for want of a picture.
    plate: Option<Size<i32, Physical>>,
}

impl ContentCache {
    /// What it was composed into, if anything.
    pub(super) fn picture(&mut self) -> &mut Option<Picture> {
        &mut self.picture
    }

    /// What there is without looking at the tree again: the picture, if all of it shows the tree of this fingerprint; and the
    /// picture or the plate if the VM has no time for more, or no memory.
    pub(super) fn unchanged<R: Painter>(
        &mut self,
        renderer: &R,
        fingerprint: Option<u64>,
        size: Size<i32, Physical>,
        budget: &mut ComposeBudget,
    ) -> Option<(Content<R>, Damage)> {
        if !self.deep {
            return None;
        }
        let shown = self.shows.is_some() && self.shows == fingerprint;
        let picture = self.picture.as_mut();
        let picture = picture.filter(|picture| picture.is_for::<R>(renderer, size));
        match picture {
            Some(picture) if shown || budget.must_wait() => {
                self.plate = None;
                picture.draw_again(budget);
                let texture = picture.texture::<R>()?;
                Some((Content::Picture(texture), Vec::new()))
            }
            None if !budget.has_memory(size) || budget.must_wait() => Some(self.plate(size)),
            _ => None,
        }
    }

    /// The plate, which is drawn once.
    fn plate<R: Painter>(&mut self, size: Size<i32, Physical>) -> (Content<R>, Damage) {
        self.size = Size::default();
        let same = self.plate.replace(size) == Some(size);
        let damage = if same {
            Vec::new()
        } else {
            vec![Rectangle::from_size(size)]
        };
        (Content::Pieces(Vec::new()), damage)
    }

    /// The content that was just brought up to date is that of the tree of this fingerprint, and nothing of it is missing.
    pub(super) fn remember(&mut self, fingerprint: u64) {
        let whole = self.picture.as_ref().is_some_and(Picture::is_whole);
        self.shows = whole.then_some(fingerprint);
    }

    /// What the client shows now, and what of it has changed, in pixels from the content's corner.
    pub(super) fn update<R: Painter>(
        &mut self,
        renderer: &mut R,
        gathered: Gathered<R>,
        (size, scale): (Size<i32, Physical>, f64),
        account: Account<'_>,
    ) -> (Content<R>, Damage) {
        self.shows = None;
        self.deep = self.is_deep(depth(&gathered, size), account.budget);
        let pieces = gathered.pieces;
        let mut damage = self.changes(&pieces, size, scale);
        if !self.deep {
            self.plate = None;
            if self.picture.take().is_some() {
                damage = vec![Rectangle::from_size(size)];
            }
            return (Content::Pieces(pieces), damage);
        }
        let vm = account.vm;
        let content = account.books.book(vm, Work::Drawing, || {
            self.compose(renderer, &pieces, size, &mut damage, account.budget)
        });
        (content, damage)
    }

    fn is_deep(&mut self, depth: Depth, budget: &mut ComposeBudget) -> bool {
        let cost = match depth {
            Depth::Plain => return false,
            Depth::Deep => return true,
            Depth::Shallow(cost) => cost,
        };
        let fits = budget.draws_at_once(cost);
        self.stays = if fits { self.stays.saturating_sub(1) } else { STAYS };
        self.stays > 0
    }

    /// Brings the picture up to date as far as the VM's budget allows. `damage` becomes what has changed on the picture.
    fn compose<R: Painter>(
        &mut self,
        renderer: &mut R,
        pieces: &[Piece<R>],
        size: Size<i32, Physical>,
        damage: &mut Damage,
        budget: &mut ComposeBudget,
    ) -> Content<R> {
        let kept = self
            .picture
            .take()
            .filter(|picture| picture.is_for::<R>(renderer, size));
        let fresh = kept.is_none();
        if fresh {
            *damage = vec![Rectangle::from_size(size)];
        }
        let picture = kept.or_else(|| {
            budget
                .room_for(size)
                .then(|| budget.spend(|| Picture::new(renderer, size)))
                .flatten()
        });
        // Without memory for a picture there is the plate: this VM has more of them than it may.
        let Some(mut picture) = picture else {
            let (plate, changed) = self.plate(size);
            *damage = changed;
            return plate;
        };
        self.plate = None;
        budget.keep(size);
        picture.soil(pieces, damage);
        let composed = picture.compose(renderer, pieces, budget);
        // What of a fresh picture is not composed yet is its plate, where something else was seen before.
        if !fresh {
            *damage = composed;
        }
        let texture = picture.texture::<R>();
        self.picture = Some(picture);
        texture.map_or_else(|| Content::Pieces(Vec::new()), Content::Picture)
    }

    /// What differs from the last frame, in pixels from the content's corner.
    fn changes<R: Painter>(&mut self, pieces: &[Piece<R>], size: Size<i32, Physical>, scale: f64) -> Damage {
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

/// On whose account a content is drawn.
pub(super) struct Account<'a> {
    pub(super) vm: &'a VmName,
    pub(super) books: &'a Booking,
    pub(super) budget: &'a mut ComposeBudget,
}

/// What fills the content rectangle.
pub(super) enum Content<R: Renderer> {
    /// Copies of buffers on the plate.
    Pieces(Vec<Piece<R>>),
    /// What was composed of them.
    Picture(R::TextureId),
}

impl<R: Painter> Content<R> {
    /// Draws what is damaged, counted from the content's corner. Never fails: what a renderer refuses is the plate.
    pub(super) fn draw(
        &self,
        frame: &mut R::Frame<'_, '_>,
        ground: Ground,
        place: Rectangle<i32, Physical>,
        damage: &[Rectangle<i32, Physical>],
    ) {
        match self {
            Self::Pieces(pieces) => paint::<R>(frame, pieces, ground, place.loc, damage),
            Self::Picture(texture) => {
                let source = Rectangle::from_size((place.size.w, place.size.h).into()).to_f64();
                let whole = [Rectangle::from_size(place.size)];
                let drawn = frame.render_texture_from_to(
                    texture,
                    source,
                    place,
                    damage,
                    &whole,
                    Transform::Normal,
                    1.0,
                );
                if drawn.is_err() {
                    paint::<R>(frame, &[], Ground::Plate, place.loc, damage);
                }
            }
        }
    }
}
