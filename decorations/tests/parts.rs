// SPDX-License-Identifier: MIT OR Apache-2.0
//! A frame put together from its parts, some of them drawn for another window, is the frame drawn whole.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::tests_outside_test_module,
    reason = "the whole file is a test, and one that panics has failed, as it should"
)]

use heraldry_decorations::{
    Badge, Button, ControlsLook, Extent, Frame, FrameKind, FrameSpec, PxRect, Side, Style, TitleRule, draw,
};
use heraldry_identity::{Arms, Pattern, Rgb, TitleLevel};

const KINDS: [FrameKind; 3] = [FrameKind::Window, FrameKind::Fullscreen, FrameKind::Popup];
const SCALES: [f64; 4] = [1.0, 1.25, 1.5, 2.0];
const WIDTHS: [u32; 12] = [1, 20, 48, 75, 90, 131, 140, 200, 303, 304, 640, 1501];

fn style(scale: f64) -> Style {
    Style {
        frame_width: 6,
        title_height: 30,
        font_size: 13.0,
        scale,
    }
}

fn arms(pattern: Pattern) -> Arms {
    Arms {
        color: Rgb {
            r: 0xd9,
            g: 0x5f,
            b: 0x1e,
        },
        pattern,
        glyph: 'W',
    }
}

fn spec(arms: Arms, kind: FrameKind, content: (u32, u32)) -> FrameSpec<'static> {
    FrameSpec {
        arms,
        display_name: "Personal",
        untrusted_title: "A letter — to somebody",
        title_rule: TitleRule {
            level: TitleLevel::SafeUtf8,
            max: 96,
        },
        kind,
        focused: true,
        maximized: false,
        hover: None,
        badge: None,
        content,
    }
}

fn area(rect: PxRect) -> usize {
    (rect.w * rect.h * 4) as usize
}

/// The pixels of a whole frame.
struct Canvas {
    width: u32,
    pixels: Vec<u8>,
}

impl Canvas {
    fn new(frame: &Frame<'_>) -> Self {
        let (width, height) = frame.geometry().outer;
        Self {
            width,
            pixels: vec![0; (width * height * 4) as usize],
        }
    }

    fn set(&mut self, x: u32, y: u32, pixel: &[u8]) {
        let at = ((y * self.width + x) * 4) as usize;
        self.pixels[at..at + 4].copy_from_slice(pixel);
    }

    fn put(&mut self, rect: PxRect, pixels: &[u8]) {
        for y in 0..rect.h {
            for x in 0..rect.w {
                let from = ((y * rect.w + x) * 4) as usize;
                self.set(rect.x + x, rect.y + y, &pixels[from..from + 4]);
            }
        }
    }
}

fn whole(style: &Style, spec: &FrameSpec<'_>) -> Vec<u8> {
    let frame = Frame::new(style, spec);
    let mut canvas = Canvas::new(&frame);
    for side in Side::ALL {
        let rect = frame.geometry().side(side);
        let mut pixels = vec![0; area(rect)];
        draw(side, style, spec, &mut pixels);
        canvas.put(rect, &pixels);
    }
    canvas.pixels
}

/// A part drawn earlier, for a frame of another size.
#[derive(Default)]
struct Kept {
    owner: Option<(Extent, Vec<u8>)>,
    title: Option<(Extent, Vec<u8>)>,
    controls: Option<(ControlsLook, Vec<u8>)>,
}

impl Kept {
    /// The frame of parts; those that are still right are not drawn again. Returns how many were not.
    fn parts(&mut self, style: &Style, spec: &FrameSpec<'_>) -> (Vec<u8>, usize) {
        let frame = Frame::new(style, spec);
        let mut canvas = Canvas::new(&frame);
        let hatching = frame.hatching();
        let (tile, edge) = (hatching.period() * 3, hatching.edge());
        let mut field = vec![0; (tile * tile * 4) as usize];
        hatching.draw(tile, &mut field);
        let rim = hatching.rim();
        let (width, height) = frame.geometry().outer;
        for rect in Side::ALL.map(|side| frame.geometry().side(side)) {
            for y in rect.y..rect.y + rect.h {
                for x in rect.x..rect.x + rect.w {
                    let at = (((y % tile) * tile + x % tile) * 4) as usize;
                    if x < edge || y < edge || x + edge >= width || y + edge >= height {
                        canvas.set(x, y, &[rim.b, rim.g, rim.r, 255]);
                    } else {
                        canvas.set(x, y, &field[at..at + 4]);
                    }
                }
            }
        }
        let mut kept = 0;
        if spec.kind == FrameKind::Popup {
            return (canvas.pixels, kept);
        }
        if self
            .owner
            .as_ref()
            .is_some_and(|(extent, _)| extent.lasts(&frame))
        {
            kept += 1;
        } else {
            let owner = frame.owner().unwrap();
            let mut pixels = vec![0; area(owner.extent.rect)];
            frame.draw_owner(&owner, &mut pixels);
            self.owner = Some((owner.extent, pixels));
        }
        let (owner, pixels) = self.owner.as_ref().unwrap();
        canvas.put(owner.rect, pixels);
        if self
            .title
            .as_ref()
            .is_some_and(|(extent, _)| extent.lasts(&frame))
        {
            kept += 1;
        } else {
            let title = frame.title(owner);
            let mut pixels = vec![0; area(title.extent.rect)];
            frame.draw_title(&title, &mut pixels);
            self.title = Some((title.extent, pixels));
        }
        let (title, pixels) = self.title.as_ref().unwrap();
        canvas.put(title.rect, pixels);
        let Some(rect) = frame.controls().filter(|_| !owner.is_whole()) else {
            return (canvas.pixels, kept);
        };
        let look = frame.controls_look();
        let pixels = match self.controls.take().filter(|(old, _)| *old == look) {
            Some((_, pixels)) => {
                kept += 1;
                pixels
            }
            None => {
                let mut pixels = vec![0; area(rect)];
                frame.draw_controls(&mut pixels);
                pixels
            }
        };
        canvas.put(rect, &pixels);
        self.controls = Some((look, pixels));
        (canvas.pixels, kept)
    }
}

#[test]
fn parts_of_one_size_serve_another() {
    for scale in SCALES {
        let style = style(scale);
        let mut all = 0;
        for (at, pattern) in Pattern::ALL.into_iter().enumerate() {
            let arms = arms(pattern);
            for kind in KINDS {
                let mut kept = Kept::default();
                // From small to large and back.
                for width in WIDTHS.iter().chain(WIDTHS.iter().rev()) {
                    let mut spec = spec(arms, kind, (style.px(*width), style.px(width % 50 + 1)));
                    spec.badge = [None, Some(Badge::WantsYou), Some(Badge::Throttled)][at % 3];
                    let (parts, count) = kept.parts(&style, &spec);
                    assert!(
                        parts == whole(&style, &spec),
                        "{width} {kind:?} {pattern:?} at {scale}"
                    );
                    all += count;
                }
            }
        }
        assert!(all > 150, "only {all} parts served twice at {scale}");
    }
}

#[test]
fn parts_show_what_the_window_is() {
    let style = style(1.25);
    for pattern in Pattern::ALL {
        let arms = arms(pattern);
        for (at, kind) in KINDS.into_iter().enumerate() {
            for width in WIDTHS {
                let mut spec = spec(arms, kind, (width, 77));
                let titles = ["", "x", "Ünïcödé Ελληνικά and more than fits", "Vault"];
                spec.untrusted_title = titles[(width as usize + at) % 4];
                spec.focused = width % 2 == 0;
                spec.maximized = width % 3 == 0;
                spec.hover = [None, Some(Button::Close), Some(Button::Maximize)][width as usize % 3];
                spec.badge = [None, Some(Badge::Paused)][width as usize % 2];
                let (parts, _) = Kept::default().parts(&style, &spec);
                assert!(parts == whole(&style, &spec), "{width} {kind:?} {pattern:?}");
            }
        }
    }
}
