// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text with the bundled fonts: shaped by harfrust, filled by tiny-skia. System fonts are never looked at, so a label
//! looks the same on every machine.

use std::sync::LazyLock;

use harfrust::font::glyph::outline::{DrawMemory, DrawOptions, PathSink};
use harfrust::{Buffer, Font, GlyphId, ShapeOptions, ShaperFont};
use tiny_skia::{Path, PathBuilder, Transform};

/// Atkinson Hyperlegible was made so that no letter passes for another, which is what a name that must not be
/// mistaken needs. Noto Sans has the scripts that it lacks.
static BOLD: LazyLock<Vec<Font>> = LazyLock::new(|| {
    faces(&[
        include_bytes!("../fonts/AtkinsonHyperlegible-latin-700.ttf"),
        include_bytes!("../fonts/AtkinsonHyperlegible-latin-ext-700.ttf"),
        include_bytes!("../fonts/NotoSans-Regular.ttf"),
    ])
});
static REGULAR: LazyLock<Vec<Font>> =
    LazyLock::new(|| faces(&[include_bytes!("../fonts/NotoSans-Regular.ttf")]));

fn faces(files: &[&'static [u8]]) -> Vec<Font> {
    files.iter().filter_map(|file| Font::new(*file, 0)).collect()
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
        let scale = size / units_per_em(face);
        let mut buffer = Buffer::new();
        buffer.push_str(&run);
        buffer.guess_segment_properties();
        // The direction is known by now, and without a plan nothing else can be wrong.
        let _shaped = harfrust::shape(&ShaperFont::new(face), &mut buffer, ShapeOptions::default());
        let outlines = face.outline_glyphs();
        for (info, position) in buffer.glyph_infos().iter().zip(buffer.glyph_positions()) {
            let mut outline = Outline {
                builder: &mut builder,
                scale,
                x: x + units(position.x_offset) * scale,
                y: units(position.y_offset) * scale,
            };
            // A glyph without an outline is a space.
            if let Some(glyph) = outlines.get(GlyphId::new(info.glyph_id)) {
                let _drawn = glyph.draw(&DrawOptions::default(), DrawMemory::Scratch, &mut outline);
            }
            x += units(position.x_advance) * scale;
        }
    }
    let cap_height = fonts.first().and_then(|face| {
        let height = face.metrics().cap_height?;
        Some(height.to_f32() / units_per_em(face))
    });
    Line {
        path: builder.finish(),
        width: x,
        cap_height: cap_height.unwrap_or(0.7) * size,
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
fn runs(fonts: &[Font], text: &str) -> Vec<(usize, String)> {
    let mut runs: Vec<(usize, String)> = Vec::new();
    for character in text.chars() {
        let font = fonts
            .iter()
            .position(|face| face.charmap().map_unicode(character).is_some())
            .unwrap_or(0);
        match runs.last_mut() {
            Some((last, run)) if *last == font => run.push(character),
            _ => runs.push((font, character.to_string())),
        }
    }
    runs
}

fn units_per_em(face: &Font) -> f32 {
    f32::from(face.units_per_em().max(1))
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

impl PathSink for Outline<'_> {
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
