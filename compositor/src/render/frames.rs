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
    /// Draws what changed.
    pub fn update(&mut self, style: &Style, spec: &FrameSpec<'_>) {
        let key = Key {
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
            return;
        }
        // A title, a badge or a lit button only changes the label.
        let label_only = self.key.as_ref().is_some_and(|old| {
            Key {
                title: key.title.clone(),
                hover: key.hover,
                badge: key.badge,
                ..old.clone()
            } == key
        });
        let geometry = heraldry_decorations::geometry(style, spec);
        for side in Side::ALL {
            if label_only && side != Side::Top {
                continue;
            }
            self.redraw(side, &geometry, style, spec);
        }
        self.key = Some(key);
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
