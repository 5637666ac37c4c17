// SPDX-License-Identifier: MIT OR Apache-2.0
//! A content composed once and shown often, and what a VM may spend on composing.
//!
//! A picture is made of tiles. Those whose pieces changed are composed again, one after the other, until the VM's budget
//! for this frame is empty; the rest follows in the next frames. A VM whose windows cost more than that sees them change
//! later, and nobody else sees anything.

use std::any::Any;

use smithay::backend::renderer::ContextId;
use smithay::utils::{Physical, Point, Rectangle, Size};
use tracing::debug;

use super::compose_budget::{ComposeBudget, bytes};
use super::painter::Painter;
use super::piece::Piece;

/// Tiles of a picture that is cheap to compose, physical pixels.
const LARGE: (i32, i32) = (256, 128);
/// Tiles of dearer ones, by what a pixel of the picture costs on average.
const SMALLER: [(u64, (i32, i32)); 3] = [(512, (64, 8)), (128, (128, 16)), (32, (256, 32))];

/// The tiles of a picture.
#[derive(Debug)]
struct Tiles {
    size: Size<i32, Physical>,
    tile: (i32, i32),
    columns: usize,
    /// Which must be composed again, row by row.
    dirty: Vec<bool>,
    /// Where the last frame stopped.
    next: usize,
    /// A tile that is composed in parts of a size, and how many of them are.
    begun: Option<(usize, Size<i32, Physical>, usize)>,
}

impl Tiles {
    fn new(size: Size<i32, Physical>, tile: (i32, i32)) -> Self {
        let count = |whole: i32, part: i32| usize::try_from((whole.max(1) + part - 1) / part).unwrap_or(1);
        let columns = count(size.w, tile.0);
        Self {
            size,
            tile,
            columns,
            dirty: vec![true; columns.saturating_mul(count(size.h, tile.1))],
            next: 0,
            begun: None,
        }
    }

    fn rect(&self, index: usize) -> Rectangle<i32, Physical> {
        let at = |index: usize, part: i32| i32::try_from(index).unwrap_or(i32::MAX).saturating_mul(part);
        let (column, row) = (index % self.columns.max(1), index / self.columns.max(1));
        let loc = Point::from((at(column, self.tile.0), at(row, self.tile.1)));
        let rect = Rectangle::new(loc, self.tile.into());
        rect.intersection(Rectangle::from_size(self.size))
            .unwrap_or_default()
    }

    fn soil(&mut self, rect: Rectangle<i32, Physical>) {
        let Some(rect) = rect.intersection(Rectangle::from_size(self.size)) else {
            return;
        };
        let index = |at: i32, part: i32| usize::try_from(at / part).unwrap_or(0);
        let end = rect.loc + rect.size;
        for row in index(rect.loc.y, self.tile.1)..=index((end.y - 1).max(0), self.tile.1) {
            for column in index(rect.loc.x, self.tile.0)..=index((end.x - 1).max(0), self.tile.0) {
                let tile = row * self.columns + column;
                if let Some(dirty) = self.dirty.get_mut(tile) {
                    *dirty = true;
                }
                self.begun.take_if(|(begun, ..)| *begun == tile);
            }
        }
    }

    /// The dirty tile whose turn it is.
    fn turn(&self) -> Option<usize> {
        let (before, after) = self.dirty.split_at_checked(self.next)?;
        let dirty = |dirty: &bool| *dirty;
        let later = after.iter().position(dirty).map(|at| at + self.next);
        later.or_else(|| before.iter().position(dirty))
    }

    fn clean(&mut self, index: usize) {
        if let Some(dirty) = self.dirty.get_mut(index) {
            *dirty = false;
        }
        self.next = (index + 1) % self.dirty.len().max(1);
        self.begun = None;
    }

    /// Parts of a tile that are composed already.
    fn done(&self, index: usize, size: Size<i32, Physical>) -> usize {
        let begun = self.begun.filter(|(tile, of, _)| (*tile, *of) == (index, size));
        begun.map_or(0, |(_, _, done)| done)
    }

    /// So many parts of a tile are composed, and the rest waits.
    fn begin(&mut self, index: usize, size: Size<i32, Physical>, done: usize) {
        self.next = index;
        self.begun = Some((index, size, done));
    }
}

/// Pages of memory that may be fetched in one go: a few milliseconds where nobody has touched them before.
const FETCHED: u64 = 512;

/// Parts of a tile get no smaller than this.
const LEAST: (i32, i32) = (4, 2);

/// The size of parts of a tile that each take no longer than a VM may have everybody wait.
fn part_size<R: Painter>(pieces: &[Piece<R>], tile: Rectangle<i32, Physical>) -> Size<i32, Physical> {
    let mut size = tile.size;
    let fetched = |size| {
        let pages = pieces.iter().map(|piece| piece.pages(tile, size));
        pages.fold(0, u64::saturating_add)
    };
    while fetched(size) > FETCHED && (size.w > LEAST.0 || size.h > LEAST.1) {
        size = ((size.w / 2).max(LEAST.0), (size.h / 2).max(LEAST.1)).into();
    }
    size
}

/// A tile in parts, row by row.
fn parts(
    tile: Rectangle<i32, Physical>,
    size: Size<i32, Physical>,
) -> impl Iterator<Item = Rectangle<i32, Physical>> {
    let starts = |whole: i32, part: i32| (0..whole).step_by(usize::try_from(part).unwrap_or(1).max(1));
    starts(tile.size.h, size.h).flat_map(move |y| {
        starts(tile.size.w, size.w)
            .filter_map(move |x| Rectangle::new(tile.loc + Point::from((x, y)), size).intersection(tile))
    })
}

/// A composed content.
#[derive(Debug)]
pub(super) struct Picture {
    /// The renderer's picture, and which renderer's it is.
    inner: Box<dyn Any>,
    context: Box<dyn Any>,
    tiles: Tiles,
    /// The number of the frame that it was drawn in last.
    drawn: u64,
}

/// Tiles for pieces that cost so much.
fn tile_for<R: Painter>(pieces: &[Piece<R>], size: Size<i32, Physical>) -> (i32, i32) {
    let cost = pieces
        .iter()
        .map(|piece| piece.cost(Rectangle::from_size(size)))
        .fold(0, u64::saturating_add);
    let depth = cost / (bytes(size) / 4).max(1);
    SMALLER
        .iter()
        .find(|(from, _)| depth >= *from)
        .map_or(LARGE, |(_, tile)| *tile)
}

impl Picture {
    /// An empty picture, all of it to be composed; `None` if the renderer has no memory for it.
    pub(super) fn new<R: Painter>(renderer: &mut R, size: Size<i32, Physical>) -> Option<Self> {
        let mut inner = renderer
            .picture(size)
            .inspect_err(|error| debug!(%error, "no memory for a picture"))
            .ok()?;
        let whole = Rectangle::from_size(size);
        // Until its tiles are composed it is the plate.
        renderer.paint(&mut inner, &[], Point::default(), whole).ok()?;
        Some(Self {
            inner: Box::new(inner),
            context: Box::new(renderer.context_id()),
            tiles: Tiles::new(size, LARGE),
            drawn: 0,
        })
    }

    /// Whether it is this renderer's and has this size.
    pub(super) fn is_for<R: Painter>(&self, renderer: &R, size: Size<i32, Physical>) -> bool {
        let context = self.context.downcast_ref::<ContextId<R::TextureId>>();
        self.tiles.size == size && context == Some(&renderer.context_id())
    }

    /// Bytes of its memory.
    pub(super) fn bytes(&self) -> u64 {
        bytes(self.tiles.size)
    }

    /// Whether it was drawn in the frame `number` or later.
    pub(super) fn is_drawn_since(&self, number: u64) -> bool {
        self.drawn >= number
    }

    /// What a renderer draws it from.
    pub(super) fn texture<R: Painter>(&self) -> Option<R::TextureId> {
        self.inner.downcast_ref::<R::Picture>().map(R::texture)
    }

    /// Whether all of its tiles are composed.
    pub(super) fn is_whole(&self) -> bool {
        !self.tiles.dirty.contains(&true)
    }

    /// It is drawn in another frame as it is.
    pub(super) fn draw_again(&mut self, budget: &mut ComposeBudget) {
        self.drawn = budget.frame();
        budget.keep(self.tiles.size);
    }

    /// Takes note of what has changed.
    pub(super) fn soil<R: Painter>(&mut self, pieces: &[Piece<R>], damage: &[Rectangle<i32, Physical>]) {
        let tile = tile_for(pieces, self.tiles.size);
        if self.tiles.tile != tile {
            self.tiles = Tiles::new(self.tiles.size, tile);
        }
        for rect in damage {
            self.tiles.soil(*rect);
        }
    }

    /// Composes dirty tiles as long as there is something in the budget. Returns what has changed on the picture.
    pub(super) fn compose<R: Painter>(
        &mut self,
        renderer: &mut R,
        pieces: &[Piece<R>],
        budget: &mut ComposeBudget,
    ) -> Vec<Rectangle<i32, Physical>> {
        self.drawn = budget.frame();
        let mut changed = Vec::new();
        let Some(inner) = self.inner.downcast_mut::<R::Picture>() else {
            return changed;
        };
        // Pieces that Pixman cannot place from the picture's corner can be placed from a tile's.
        let mut scratch = None;
        if !pieces.iter().all(Piece::fits) {
            scratch = renderer.picture(self.tiles.tile.into()).ok();
        }
        while let Some(index) = self.tiles.turn() {
            let tile = self.tiles.rect(index);
            let size = part_size(pieces, tile);
            let mut done = self.tiles.done(index, size);
            let cost = pieces.iter().map(|piece| piece.cost(tile));
            // What was begun is paid for.
            let cost = match done {
                0 => cost.fold(bytes(tile.size) / 4, u64::saturating_add),
                _ => 0,
            };
            if !budget.pay(cost) {
                break;
            }
            let mut parts = parts(tile, size).skip(done).peekable();
            while let Some(part) = parts.next() {
                let composed = budget.spend(|| match &mut scratch {
                    None => renderer.paint(inner, pieces, Point::default(), part),
                    Some(scratch) => {
                        let corner = Point::default() - part.loc;
                        renderer
                            .paint(scratch, pieces, corner, Rectangle::from_size(part.size))
                            .and_then(|()| renderer.copy(scratch, inner, part))
                    }
                });
                if let Err(error) = composed {
                    debug!(%error, "a part of a tile is not composed");
                }
                super::damage::push(&mut changed, part);
                done += 1;
                if parts.peek().is_some() && budget.must_wait() {
                    self.tiles.begin(index, size, done);
                    return changed;
                }
            }
            self.tiles.clean(index);
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_a_picture_and_take_turns() {
        let size = Size::from((600, 130));
        let mut tiles = Tiles::new(size, (256, 128));
        let area = |rect: Rectangle<i32, Physical>| rect.size.w * rect.size.h;
        let all: Vec<_> = (0..tiles.dirty.len()).map(|index| tiles.rect(index)).collect();
        assert_eq!(all.iter().copied().map(area).sum::<i32>(), 600 * 130);
        let mut order = Vec::new();
        while let Some(index) = tiles.turn() {
            order.push(index);
            tiles.clean(index);
        }
        assert_eq!(order, [0, 1, 2, 3, 4, 5]);
        tiles.clean(1);
        for at in [0, 599] {
            tiles.soil(Rectangle::new((at, 129).into(), (1, 1).into()));
        }
        tiles.soil(Rectangle::new((0, 0).into(), (1, 1).into()));
        assert_eq!(tiles.turn(), Some(3), "the first is not always first");
        tiles.soil(Rectangle::new((-5, -5).into(), (5, 5).into()));
        assert_eq!(
            tiles.dirty.iter().filter(|dirty| **dirty).count(),
            3,
            "outside is nothing"
        );
    }
}
