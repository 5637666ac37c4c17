// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text with the bundled fonts: shaped by rustybuzz, filled by tiny-skia. System fonts are never looked at, so a label
//! looks the same on every machine.

use std::sync::LazyLock;

use rustybuzz::{Face, UnicodeBuffer, ttf_parser};
use tiny_skia::{Path, PathBuilder, Transform};

/// Atkinson Hyperlegible was made so that no letter passes for another, which is what a name that must not be
/// mistaken needs. Noto Sans has the scripts that it lacks.
static BOLD: LazyLock<Vec<Face<'static>>> = LazyLock::new(|| {
    faces(&[
        include_bytes!("../fonts/AtkinsonHyperlegible-latin-700.ttf"),
        include_bytes!("../fonts/AtkinsonHyperlegible-latin-ext-700.ttf"),
        include_bytes!("../fonts/NotoSans-Regular.ttf"),
    ])
});
static REGULAR: LazyLock<Vec<Face<'static>>> =
    LazyLock::new(|| faces(&[include_bytes!("../fonts/NotoSans-Regular.ttf")]));

fn faces(files: &[&'static [u8]]) -> Vec<Face<'static>> {
    files
        .iter()
        .filter_map(|file| Face::from_slice(file, 0))
        .collect()
}

/// Which of the bundled fonts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// For VM names and glyphs.
    Bold,
    /// For titles.
    Regular,
}

/// A line of text, laid out.
#[derive(Debug)]
pub(crate) struct Line {
    path: Option<Path>,
    /// Width in pixels.
    pub(crate) width: f32,
    /// Height of a capital letter in pixels.
    pub(crate) cap_height: f32,
}

impl Line {
    /// The outlines of its letters; `x` is its left end, `baseline` its base.
    pub(crate) fn at(&self, x: f32, baseline: f32) -> Option<Path> {
        let path = self.path.clone()?;
        path.transform(Transform::from_translate(x, baseline))
    }
}

/// Lays out one line at `size` pixels.
pub(crate) fn layout(text: &str, weight: Weight, size: f32) -> Line {
    let fonts = match weight {
        Weight::Bold => &*BOLD,
        Weight::Regular => &*REGULAR,
    };
    let mut builder = PathBuilder::new();
    let mut x = 0.0;
    for (font, run) in runs(fonts, text) {
        let Some(face) = fonts.get(font) else { continue };
        let scale = size / f32::from(u16::try_from(face.units_per_em()).unwrap_or(1000).max(1));
        let mut buffer = UnicodeBuffer::new();
        buffer.push_str(&run);
        buffer.guess_segment_properties();
        let shaped = rustybuzz::shape(face, &[], buffer);
        for (info, position) in shaped.glyph_infos().iter().zip(shaped.glyph_positions()) {
            let glyph = ttf_parser::GlyphId(u16::try_from(info.glyph_id).unwrap_or(0));
            let mut outline = Outline {
                builder: &mut builder,
                scale,
                x: x + units(position.x_offset) * scale,
                y: units(position.y_offset) * scale,
            };
            // A glyph without an outline is a space.
            let _space = face.outline_glyph(glyph, &mut outline);
            x += units(position.x_advance) * scale;
        }
    }
    let cap_height = fonts
        .first()
        .and_then(|face| {
            face.capital_height()
                .map(|height| f32::from(height) / units(face.units_per_em()))
        })
        .unwrap_or(0.7)
        * size;
    Line {
        path: builder.finish(),
        width: x,
        cap_height,
    }
}

/// The longest beginning of `text` that fits `room`, with an ellipsis if something had to go; and whether all of it fits.
pub(crate) fn fit(text: &str, weight: Weight, size: f32, room: f32) -> (Option<Line>, bool) {
    let whole = layout(text, weight, size);
    if whole.width <= room {
        return (Some(whole), true);
    }
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let (mut low, mut high) = (0, ends.len());
    let cut = |count: usize| {
        let end = ends.get(count).copied().unwrap_or(text.len());
        layout(
            &format!("{}…", text.get(..end).unwrap_or_default().trim_end()),
            weight,
            size,
        )
    };
    while low < high {
        let middle = low.midpoint(high + 1);
        if cut(middle).width <= room {
            low = middle;
        } else {
            high = middle.saturating_sub(1);
        }
    }
    ((low > 0).then(|| cut(low)), false)
}

/// Splits text by the first font that has each character.
fn runs(fonts: &[Face<'static>], text: &str) -> Vec<(usize, String)> {
    let mut runs: Vec<(usize, String)> = Vec::new();
    for character in text.chars() {
        let font = fonts
            .iter()
            .position(|face| face.glyph_index(character).is_some())
            .unwrap_or(0);
        match runs.last_mut() {
            Some((last, run)) if *last == font => run.push(character),
            _ => runs.push((font, character.to_string())),
        }
    }
    runs
}

#[expect(clippy::cast_precision_loss, reason = "font units are small integers")]
fn units(value: i32) -> f32 {
    value as f32
}

struct Outline<'a> {
    builder: &'a mut PathBuilder,
    scale: f32,
    x: f32,
    y: f32,
}

impl Outline<'_> {
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + x * self.scale, -(self.y + y * self.scale))
    }
}

impl ttf_parser::OutlineBuilder for Outline<'_> {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.builder.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.builder.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.builder.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.builder.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.builder.close();
    }
}
