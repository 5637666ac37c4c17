// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bitmaps of frames, drawn anew only when something on them changed.

use heraldry_decorations::{Arms, Badge, Button, FrameKind, FrameSpec, Side, Style, TitleRule};
use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::element::memory::MemoryRenderBuffer;
use smithay::utils::{Buffer, Physical, Rectangle, Size, Transform};

use super::content::ContentCache;

/// Everything that a frame's pixels depend on.
#[derive(Debug, Clone, PartialEq)]
struct Key {
    style: Style,
    arms: Arms,
    title: String,
    title_rule: TitleRule,
    kind: FrameKind,
    focused: bool,
    maximized: bool,
    hover: Option<Button>,
    badge: Option<Badge>,
    content: (u32, u32),
}

/// The bitmaps of one frame, and what is remembered of the content in it.
#[derive(Debug, Default)]
pub struct FrameCache {
    key: Option<Key>,
    sides: Vec<(Side, MemoryRenderBuffer, Rectangle<i32, Physical>)>,
    /// The content.
    pub content: ContentCache,
}

impl FrameCache {
    /// Draws what changed. A title is drawn only if there is one left in `labels`; until then the old one stays, or there is
    /// none. Arms are always drawn. True if a title waits.
    pub fn update(&mut self, style: &Style, spec: &FrameSpec<'_>, labels: &mut u64) -> bool {
        let mut key = Key {
            style: *style,
            arms: spec.arms.clone(),
            title: spec.untrusted_title.to_owned(),
            title_rule: spec.title_rule,
            kind: spec.kind,
            focused: spec.focused,
            maximized: spec.maximized,
            hover: spec.hover,
            badge: spec.badge,
            content: spec.content,
        };
        if self.key.as_ref() == Some(&key) {
            return false;
        }
        let waits = *labels == 0 && !key.title.is_empty();
        let mut spec = spec.clone();
        if waits {
            let same_but_title = self.key.as_ref().filter(|old| {
                let title = old.title.clone();
                Key { title, ..key.clone() } == **old
            });
            if same_but_title.is_some() {
                return true;
            }
            key.title.clear();
            spec.untrusted_title = "";
        }
        *labels = labels.saturating_sub(1);
        // A title, a badge or a lit button only changes the label.
        let label_only = self.key.as_ref().is_some_and(|old| {
            Key {
                title: key.title.clone(),
                hover: key.hover,
                badge: key.badge,
                ..old.clone()
            } == key
        });
        let geometry = heraldry_decorations::geometry(style, &spec);
        for side in Side::ALL {
            if label_only && side != Side::Top {
                continue;
            }
            self.redraw(side, &geometry, style, &spec);
        }
        self.key = Some(key);
        waits
    }

    fn redraw(
        &mut self,
        side: Side,
        geometry: &heraldry_decorations::Geometry,
        style: &Style,
        spec: &FrameSpec<'_>,
    ) {
        let px = geometry.side(side);
        let signed = |value: u32| i32::try_from(value).unwrap_or(i32::MAX / 4);
        let rect = Rectangle::new(
            (signed(px.x), signed(px.y)).into(),
            (signed(px.w), signed(px.h)).into(),
        );
        let size = Size::<i32, Buffer>::from((rect.size.w, rect.size.h));
        let at = self.sides.iter().position(|(known, ..)| *known == side);
        let entry = match at.and_then(|at| self.sides.get_mut(at)) {
            Some(entry) => entry,
            None => {
                let buffer = MemoryRenderBuffer::new(Fourcc::Argb8888, size, 1, Transform::Normal, None);
                self.sides.push((side, buffer, rect));
                match self.sides.last_mut() {
                    Some(entry) => entry,
                    None => return,
                }
            }
        };
        entry.2 = rect;
        let mut context = entry.1.render();
        context.resize(size);
        let drawn: Result<(), std::convert::Infallible> = context.draw(|pixels| {
            heraldry_decorations::draw(side, style, spec, pixels);
            Ok(vec![Rectangle::from_size(size)])
        });
        match drawn {
            Ok(()) => {}
            Err(never) => match never {},
        }
    }

    /// The bitmaps with their places relative to the frame's corner.
    pub fn sides(&self) -> impl Iterator<Item = (&MemoryRenderBuffer, Rectangle<i32, Physical>)> {
        self.sides.iter().map(|(_, buffer, rect)| (buffer, *rect))
    }
}

#[cfg(test)]
mod tests {
    use heraldry_decorations::{Pattern, Rgb, TitleLevel};

    use super::*;

    #[test]
    fn titles_wait_and_arms_do_not() {
        let style = Style {
            frame_width: 4,
            title_height: 26,
            font_size: 13.0,
            scale: 1.0,
        };
        let arms = |r| Arms {
            color: Rgb { r, g: 0, b: 0 },
            pattern: Pattern::Dots,
            glyph: "W".to_owned(),
            name: "Work".to_owned(),
        };
        let (red, black) = (arms(200), arms(0));
        let spec = |arms, title, width| FrameSpec {
            arms,
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
        };
        let mut cache = FrameCache::default();
        let shown = |cache: &FrameCache| {
            let key = cache.key.as_ref().unwrap();
            (key.title.clone(), key.content.0, key.arms == black)
        };
        let mut labels = 1;
        assert!(!cache.update(&style, &spec(&red, "one", 300), &mut labels));
        assert!(
            cache.update(&style, &spec(&red, "two", 300), &mut labels),
            "no label is left"
        );
        assert_eq!(
            shown(&cache),
            ("one".to_owned(), 300, false),
            "the old title stays"
        );
        assert!(cache.update(&style, &spec(&red, "two", 310), &mut labels));
        assert_eq!(
            shown(&cache),
            (String::new(), 310, false),
            "no old title at a new size"
        );
        assert!(cache.update(&style, &spec(&black, "two", 310), &mut labels));
        assert_eq!(
            shown(&cache),
            (String::new(), 310, true),
            "arms are drawn at once"
        );
        labels = 1;
        assert!(!cache.update(&style, &spec(&black, "two", 310), &mut labels));
        assert_eq!(shown(&cache).0, "two");
        assert!(
            !cache.update(&style, &spec(&black, "two", 310), &mut labels),
            "nothing changed"
        );
    }
}
