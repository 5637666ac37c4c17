// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames, drawn again only where something on them changed. A window has its title for itself; all else comes from its
//! VM's [`BitmapCache`].

use std::rc::Rc;

use heraldry_decorations::{
    Badge, Button, Extent, Frame, FrameKind, FrameSpec, PxRect, Side, Style, TitleRule,
};
use heraldry_identity::Arms;
use smithay::backend::renderer::element::Id;
use smithay::backend::renderer::utils::{DamageBag, DamageSnapshot};
use smithay::utils::{Physical, Rectangle, Size};

use super::band::{Band, Part, Tile};
use super::bitmap_cache::{Bitmap, BitmapCache, Tiles};
use super::content::ContentCache;
use super::damage::{Damage, push};
use super::painter::Painter;

/// Everything that a frame's pixels depend on.
#[derive(Debug, Clone, PartialEq)]
struct Key {
    style: Style,
    arms: Arms,
    display_name: String,
    title: String,
    title_rule: TitleRule,
    kind: FrameKind,
    focused: bool,
    maximized: bool,
    hover: Option<Button>,
    badge: Option<Badge>,
    content: (u32, u32),
}

impl Key {
    fn new(style: &Style, spec: &FrameSpec<'_>) -> Self {
        Self {
            style: *style,
            arms: spec.arms,
            display_name: spec.display_name.to_owned(),
            title: spec.untrusted_title.to_owned(),
            title_rule: spec.title_rule,
            kind: spec.kind,
            focused: spec.focused,
            maximized: spec.maximized,
            hover: spec.hover,
            badge: spec.badge,
            content: spec.content,
        }
    }

    /// Whether what was written for `old` looks right here, if it says the same and has room.
    fn writes_as(&self, old: &Self) -> bool {
        let look = |key: &Self| (key.style, key.title_rule, key.kind, key.focused);
        look(self) == look(old) && self.arms == old.arms && self.display_name == old.display_name
    }

    fn is_but_for_title(&self, old: &Self) -> bool {
        let title = old.title.clone();
        Self {
            title,
            ..self.clone()
        } == *old
    }
}

/// Something on a frame.
#[derive(Debug, Clone)]
struct Placed {
    rect: Rectangle<i32, Physical>,
    bitmap: Rc<Bitmap>,
}

/// A frame as it was drawn.
#[derive(Debug)]
struct Drawn {
    key: Key,
    /// The renderer's, as the cache of bitmaps counts them.
    generation: u64,
    outer: Size<i32, Physical>,
    sides: [Rectangle<i32, Physical>; 4],
    tiles: Rc<Tiles>,
    owner: Option<(Extent, Placed)>,
    /// Nothing is placed if the title is empty or has no room.
    title: Option<(Extent, Option<Placed>)>,
    controls: Option<Placed>,
}

impl Drawn {
    fn parts(&self) -> [Option<&Placed>; 3] {
        let owner = self.owner.as_ref().map(|(_, placed)| placed);
        let title = self.title.as_ref().and_then(|(_, placed)| placed.as_ref());
        [owner, title, self.controls.as_ref()]
    }

    /// What looks different from the last frame.
    fn changes(&self, old: Option<&Self>) -> Damage {
        let field = |drawn: &Self| (drawn.outer, drawn.sides, Rc::as_ptr(&drawn.tiles));
        let Some(old) = old.filter(|old| field(old) == field(self)) else {
            return vec![Rectangle::from_size(self.outer)];
        };
        let mut damage = Damage::new();
        for (new, old) in self.parts().into_iter().zip(old.parts()) {
            let same = match (new, old) {
                (Some(new), Some(old)) => new.rect == old.rect && Rc::ptr_eq(&new.bitmap, &old.bitmap),
                (new, old) => new.is_none() && old.is_none(),
            };
            for placed in [new, old].into_iter().flatten().filter(|_| !same) {
                push(&mut damage, placed.rect);
            }
        }
        damage
    }
}

/// What an update has come to.
#[derive(Debug, Default)]
pub(super) struct Updated {
    /// What looks different, from the frame's corner.
    pub(super) damage: Damage,
    /// A title waits.
    pub(super) waits: bool,
}

/// What is remembered of something framed.
#[derive(Debug)]
pub struct FrameCache {
    id: Id,
    bag: DamageBag<i32, Physical>,
    drawn: Option<Drawn>,
    /// The content.
    pub(super) content: ContentCache,
}

impl Default for FrameCache {
    fn default() -> Self {
        Self {
            id: Id::new(),
            bag: DamageBag::default(),
            drawn: None,
            content: ContentCache::default(),
        }
    }
}

impl FrameCache {
    /// Draws what changed. A title is drawn only if there is one left in `labels`; until then the old one stays where it
    /// fits, else there is none. Arms are always drawn. After an error there is no frame.
    pub(super) fn update<R: Painter>(
        &mut self,
        renderer: &mut R,
        bitmaps: &mut BitmapCache,
        style: &Style,
        spec: &FrameSpec<'_>,
        labels: &mut u64,
    ) -> Result<Updated, R::Error> {
        let mut key = Key::new(style, spec);
        let generation = bitmaps.generation();
        let is_current = |old: &Drawn| old.generation == generation;
        let current = self.drawn.as_ref().is_some_and(is_current);
        if current && self.drawn.as_ref().is_some_and(|old| old.key == key) {
            return Ok(Updated::default());
        }
        let old = self.drawn.take();
        let kept = old.as_ref().filter(|old| is_current(old));
        let frame = Frame::new(style, spec);
        let geometry = frame.geometry();
        let tiles = bitmaps.tiles(renderer, style, spec.focused)?;
        let owner = match kept.and_then(|old| kept_owner(old, &key, &frame)) {
            Some(owner) => Some(owner),
            None => {
                let drawn = bitmaps.owner(renderer, style, spec.kind, spec.focused, &frame)?;
                drawn.map(|(extent, bitmap)| (extent, placed(extent.rect, bitmap)))
            }
        };
        let mut waits = false;
        let mut title = None;
        if let Some((owner, _)) = &owner {
            let known = kept.and_then(|old| kept_title(old, &key, &frame));
            // What was there and went with its renderer is nobody's doing.
            let lost = old.as_ref().filter(|old| !is_current(old));
            let free = key.title.is_empty() || lost.is_some_and(|lost| lost.key.title == key.title);
            title = match known {
                Some((text, title)) if text == key.title => Some(title),
                known if *labels == 0 && !free => {
                    waits = true;
                    let (text, title) = known.unzip();
                    key.title = text.unwrap_or_default();
                    title
                }
                _ => {
                    *labels = labels.saturating_sub(u64::from(!free));
                    Some(write(renderer, &frame, owner)?)
                }
            };
        }
        let covered = owner.as_ref().is_some_and(|(owner, _)| owner.is_whole());
        let controls = match frame.controls().filter(|_| !covered) {
            Some(rect) => {
                let bitmap = bitmaps.controls(renderer, style, spec, &frame, (rect.w, rect.h))?;
                Some(placed(rect, bitmap))
            }
            None => None,
        };
        let sides = [Side::Top, Side::Bottom, Side::Left, Side::Right];
        let drawn = Drawn {
            key,
            generation,
            outer: physical(PxRect {
                w: geometry.outer.0,
                h: geometry.outer.1,
                ..PxRect::default()
            })
            .size,
            sides: sides.map(|side| physical(geometry.side(side))),
            tiles,
            owner,
            title,
            controls,
        };
        let damage = drawn.changes(kept);
        self.drawn = Some(drawn);
        Ok(Updated { damage, waits })
    }

    /// The frame, to be drawn.
    pub(super) fn band<R: Painter>(&self) -> Option<Band<R>> {
        let drawn = self.drawn.as_ref()?;
        let tile = |bitmap: &Bitmap| {
            Some(Tile {
                texture: bitmap.texture::<R>()?,
                size: bitmap.size,
            })
        };
        let part = |placed: &Placed| {
            Some(Part {
                texture: placed.bitmap.texture::<R>()?,
                rect: placed.rect,
            })
        };
        let hatching = drawn.tiles.hatching;
        Some(Band {
            outer: drawn.outer,
            sides: drawn.sides,
            across: tile(&drawn.tiles.across)?,
            down: tile(&drawn.tiles.down)?,
            period: signed(hatching.period()),
            edge: signed(hatching.edge()),
            rim: hatching.rim(),
            ground: hatching.ground(),
            parts: drawn
                .parts()
                .into_iter()
                .flatten()
                .map(part)
                .collect::<Option<_>>()?,
        })
    }

    /// Takes note of what looks different. Returns what the damage tracker knows this by.
    pub(super) fn soil(
        &mut self,
        damage: Vec<Rectangle<i32, Physical>>,
    ) -> (Id, DamageSnapshot<i32, Physical>) {
        if !damage.is_empty() {
            self.bag.add(damage);
        }
        (self.id.clone(), self.bag.snapshot())
    }
}

/// The owner's box of the last frame, if it is right for this one.
fn kept_owner(old: &Drawn, key: &Key, frame: &Frame<'_>) -> Option<(Extent, Placed)> {
    let lasts = |(extent, _): &&(Extent, Placed)| key.writes_as(&old.key) && extent.lasts(frame);
    let owner = old.owner.as_ref();
    owner
        .filter(|owner| key.is_but_for_title(&old.key) || lasts(owner))
        .cloned()
}

/// The title of the last frame and what it says, if it has room on this one.
fn kept_title(old: &Drawn, key: &Key, frame: &Frame<'_>) -> Option<(String, (Extent, Option<Placed>))> {
    let title = old.title.as_ref();
    let title = title.filter(|(extent, _)| key.writes_as(&old.key) && extent.lasts(frame))?;
    Some((old.key.title.clone(), title.clone()))
}

/// Draws a title beside the owner's box.
fn write<R: Painter>(
    renderer: &mut R,
    frame: &Frame<'_>,
    owner: &Extent,
) -> Result<(Extent, Option<Placed>), R::Error> {
    let title = frame.title(owner);
    let rect = title.extent.rect;
    if rect.w == 0 || rect.h == 0 {
        return Ok((title.extent, None));
    }
    let bitmap = Bitmap::draw(renderer, (rect.w, rect.h), |pixels| {
        frame.draw_title(&title, pixels);
    })?;
    Ok((title.extent, Some(placed(rect, bitmap))))
}

fn placed(rect: PxRect, bitmap: Rc<Bitmap>) -> Placed {
    Placed {
        rect: physical(rect),
        bitmap,
    }
}

fn signed(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX / 4)
}

fn physical(rect: PxRect) -> Rectangle<i32, Physical> {
    Rectangle::new(
        (signed(rect.x), signed(rect.y)).into(),
        (signed(rect.w), signed(rect.h)).into(),
    )
}

#[cfg(test)]
mod tests {
    use heraldry_identity::{Pattern, Rgb, TitleLevel};
    use smithay::backend::renderer::pixman::PixmanRenderer;

    use super::*;
    use crate::render::bitmap_cache::BitmapCaches;

    const STYLE: Style = Style {
        frame_width: 4,
        title_height: 26,
        font_size: 13.0,
        scale: 1.0,
    };

    fn arms(r: u8) -> Arms {
        Arms {
            color: Rgb { r, g: 0, b: 0 },
            pattern: Pattern::Dots,
            glyph: 'W',
        }
    }

    fn spec<'a>(arms: &Arms, title: &'a str, width: u32) -> FrameSpec<'a> {
        FrameSpec {
            arms: *arms,
            display_name: "Work",
            untrusted_title: title,
            title_rule: TitleRule {
                level: TitleLevel::Ascii,
                max: 100,
            },
            kind: FrameKind::Window,
            focused: true,
            maximized: false,
            hover: None,
            badge: None,
            content: (width, 100),
        }
    }

    /// A renderer, and the caches of VMs.
    struct World {
        renderer: PixmanRenderer,
        bitmaps: BitmapCaches,
    }

    impl World {
        fn new() -> Self {
            let renderer = PixmanRenderer::new().unwrap();
            let mut bitmaps = BitmapCaches::default();
            bitmaps.sweep(&renderer, |_| true);
            Self { renderer, bitmaps }
        }

        fn update(&mut self, cache: &mut FrameCache, spec: &FrameSpec<'_>, labels: &mut u64) -> Updated {
            let bitmaps = self.bitmaps.of(&"work".parse().unwrap(), spec);
            let updated = cache.update(&mut self.renderer, bitmaps, &STYLE, spec, labels);
            updated.unwrap()
        }
    }

    #[test]
    fn windows_share_all_but_their_titles() {
        let (mut world, arms) = (World::new(), arms(200));
        let mut caches = [FrameCache::default(), FrameCache::default()];
        for (cache, (title, width)) in caches.iter_mut().zip([("one", 300), ("two", 360)]) {
            world.update(cache, &spec(&arms, title, width), &mut 1);
        }
        let [one, two] = caches.each_ref().map(|cache| cache.drawn.as_ref().unwrap());
        let shared: Vec<_> = one
            .parts()
            .into_iter()
            .zip(two.parts())
            .map(|(one, two)| Rc::ptr_eq(&one.unwrap().bitmap, &two.unwrap().bitmap))
            .collect();
        assert_eq!(shared, [true, false, true], "owner, title, controls");
        assert!(Rc::ptr_eq(&one.tiles, &two.tiles));
    }

    #[test]
    fn what_changes_is_drawn_again_and_no_more() {
        let (mut world, arms) = (World::new(), arms(200));
        let mut cache = FrameCache::default();
        let mut changes = |spec: &FrameSpec<'_>| world.update(&mut cache, spec, &mut 1).damage;
        let first = spec(&arms, "one", 300);
        let whole = vec![Rectangle::from_size((308, 130).into())];
        assert_eq!(changes(&first), whole);
        assert_eq!(changes(&first), vec![]);
        let title = changes(&spec(&arms, "two", 300));
        let label = Rectangle::new((60, 0).into(), (150, 26).into());
        assert!(!title.is_empty() && title.iter().all(|rect| label.contains_rect(*rect)));
        // A fullscreen window's label is not as high, but its content may be higher by as much.
        let slim = FrameSpec {
            kind: FrameKind::Fullscreen,
            content: (300, 104),
            ..spec(&arms, "two", 300)
        };
        assert_eq!(changes(&slim), whole, "the size is the same, the sides are not");
    }

    #[test]
    fn titles_wait_and_arms_do_not() {
        let (red, black) = (arms(200), arms(0));
        let mut world = World::new();
        let mut cache = FrameCache::default();
        let shown = |cache: &FrameCache| {
            let key = &cache.drawn.as_ref().unwrap().key;
            (key.title.clone(), key.content.0, key.arms == black)
        };
        let mut update = |cache: &mut FrameCache, spec: &FrameSpec<'_>, labels: &mut u64| {
            world.update(cache, spec, labels).waits
        };
        let mut labels = 1;
        assert!(!update(&mut cache, &spec(&red, "one", 300), &mut labels));
        assert!(
            update(&mut cache, &spec(&red, "two", 300), &mut labels),
            "no label is left"
        );
        assert_eq!(
            shown(&cache),
            ("one".to_owned(), 300, false),
            "the old title stays"
        );
        assert!(update(&mut cache, &spec(&red, "two", 310), &mut labels));
        assert_eq!(
            shown(&cache),
            ("one".to_owned(), 310, false),
            "the old title stays where it has room"
        );
        assert!(update(&mut cache, &spec(&red, "two", 120), &mut labels));
        assert_eq!(
            shown(&cache),
            (String::new(), 120, false),
            "no old title where it has none"
        );
        assert!(update(&mut cache, &spec(&black, "two", 310), &mut labels));
        assert_eq!(
            shown(&cache),
            (String::new(), 310, true),
            "arms are drawn at once"
        );
        labels = 1;
        assert!(!update(&mut cache, &spec(&black, "two", 310), &mut labels));
        assert_eq!(shown(&cache).0, "two");
        assert!(
            !update(&mut cache, &spec(&black, "two", 310), &mut labels),
            "nothing changed"
        );
    }
}
