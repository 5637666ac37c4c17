// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exact pictures of frames. After a deliberate change of the looks, run once with `HERALDRY_UPDATE_GOLDEN=1`, look at
//! every picture in `decorations/tests/golden/`, and commit them.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::tests_outside_test_module,
    reason = "the whole file is a test, and one that panics has failed, as it should"
)]

use std::path::PathBuf;

use heraldry_decorations::{
    Badge, Button, FrameKind, FrameSpec, Side, Style, TitleRule, cursor, draw, geometry,
};
use heraldry_identity::{Arms, Pattern, Rgb, TitleLevel};

const RULE: TitleRule = TitleRule {
    level: TitleLevel::SafeUtf8,
    max: 96,
};

struct Canvas {
    width: u32,
    height: u32,
    bgra: Vec<u8>,
}

impl Canvas {
    fn new(width: u32, height: u32, fill: [u8; 4]) -> Self {
        Self {
            width,
            height,
            bgra: fill.repeat((width * height) as usize),
        }
    }

    fn put(&mut self, x: u32, y: u32, w: u32, h: u32, bgra: &[u8]) {
        for row in 0..h {
            for column in 0..w {
                let from = ((row * w + column) * 4) as usize;
                let to = (((y + row) * self.width + x + column) * 4) as usize;
                let alpha = u32::from(bgra[from + 3]);
                for channel in 0..4 {
                    let below = u32::from(self.bgra[to + channel]);
                    let value = u32::from(bgra[from + channel]) + below * (255 - alpha) / 255;
                    self.bgra[to + channel] = u8::try_from(value.min(255)).unwrap();
                }
            }
        }
    }

    fn frame(&mut self, x: u32, y: u32, style: &Style, spec: &FrameSpec<'_>) {
        let geometry = geometry(style, spec);
        for side in Side::ALL {
            let rect = geometry.side(side);
            let mut pixels = vec![0; (rect.w * rect.h * 4) as usize];
            draw(side, style, spec, &mut pixels);
            assert!(pixels.chunks(4).all(|pixel| pixel[3] == 255), "a frame is opaque");
            self.put(x + rect.x, y + rect.y, rect.w, rect.h, &pixels);
        }
    }

    fn check(&self, name: &str) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(format!("{name}.png"));
        let rgba: Vec<u8> = self
            .bgra
            .chunks(4)
            .flat_map(|p| [p[2], p[1], p[0], p[3]])
            .collect();
        if std::env::var_os("HERALDRY_UPDATE_GOLDEN").is_some() {
            let file = std::fs::File::create(&path).unwrap();
            let mut encoder = png::Encoder::new(file, self.width, self.height);
            encoder.set_color(png::ColorType::Rgba);
            encoder.write_header().unwrap().write_image_data(&rgba).unwrap();
            return;
        }
        let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut expected = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut expected).unwrap();
        let differing = expected
            .chunks(4)
            .zip(rgba.chunks(4))
            .filter(|(a, b)| a != b)
            .count();
        assert!(
            expected.len() == rgba.len() && differing == 0,
            "{name}: {differing} pixels differ"
        );
    }
}

fn style(scale: f64) -> Style {
    Style {
        frame_width: 6,
        title_height: 30,
        font_size: 13.0,
        scale,
    }
}

struct Vm {
    name: &'static str,
    arms: Arms,
}

fn vm(name: &'static str, glyph: char, color: (u8, u8, u8), pattern: Pattern) -> Vm {
    let color = Rgb::new(color.0, color.1, color.2);
    let arms = Arms {
        color,
        pattern,
        glyph,
    };
    Vm { name, arms }
}

fn vms() -> Vec<Vm> {
    vec![
        vm("Work", 'W', (0x1f, 0x5f, 0xbf), Pattern::Horizontal),
        vm("Personal", 'P', (0x2f, 0x7d, 0x4f), Pattern::Diagonal),
        vm("Untrusted", '!', (0xb3, 0x26, 0x1e), Pattern::Vertical),
        vm("Vault", 'V', (0x6b, 0x3f, 0xa0), Pattern::AntiDiagonal),
        vm("Games", 'G', (0xd9, 0xa4, 0x00), Pattern::Dots),
        vm(
            "Administration of the printers",
            'A',
            (0x2a, 0x2d, 0x33),
            Pattern::Cross,
        ),
        vm("a", '1', (0xee, 0xee, 0xee), Pattern::Solid),
    ]
}

fn sheet(scale: f64, name: &str) {
    let style = style(scale);
    let px = |value: u32| style.px(value);
    let mut canvas = Canvas::new(px(760), px(7 * 74 + 16), [0x2b, 0x24, 0x20, 0xff]);
    let titles = [
        "~/src — foot",
        "",
        "Überweisung: Ελληνικά, текст and a very long title that will have to be cut somewhere",
    ];
    for (row, vm) in (0u32..).zip(&vms()) {
        for (column, focused) in [(0u32, true), (1, false)] {
            let spec = FrameSpec {
                arms: vm.arms,
                display_name: vm.name,
                untrusted_title: titles[(row as usize + column as usize) % 3],
                title_rule: RULE,
                kind: FrameKind::Window,
                focused,
                maximized: row == 1,
                hover: [None, Some(Button::Close), Some(Button::Minimize)][row as usize % 3]
                    .filter(|_| focused),
                badge: None,
                content: (px(340), px(26)),
            };
            let (x, y) = (px(16 + column * 372), px(16 + row * 74));
            canvas.frame(x, y, &style, &spec);
            let insets = style.insets(FrameKind::Window);
            let content = if row % 2 == 0 {
                [0xff; 4]
            } else {
                [0x12, 0x10, 0x10, 0xff]
            };
            let fill = content.repeat((spec.content.0 * spec.content.1) as usize);
            canvas.put(
                x + insets.left,
                y + insets.top,
                spec.content.0,
                spec.content.1,
                &fill,
            );
        }
    }
    canvas.check(name);
}

#[test]
fn windows_at_scale_1() {
    sheet(1.0, "windows-1x");
}

#[test]
fn windows_at_scale_1_5() {
    sheet(1.5, "windows-1.5x");
}

#[test]
fn windows_at_scale_2() {
    sheet(2.0, "windows-2x");
}

#[test]
fn small_windows_popups_and_fullscreen() {
    let style = style(1.0);
    let mut canvas = Canvas::new(640, 150, [0x2b, 0x24, 0x20, 0xff]);
    let vms = vms();
    for (at, width) in (0u32..).zip([48, 60, 90, 140]) {
        let spec = FrameSpec {
            arms: vms[at as usize].arms,
            display_name: vms[at as usize].name,
            untrusted_title: "title",
            title_rule: RULE,
            kind: FrameKind::Window,
            focused: true,
            maximized: false,
            hover: None,
            badge: None,
            content: (width, 24),
        };
        canvas.frame(8 + at * 110 + at * at * 4, 8, &style, &spec);
    }
    for (at, kind) in [(0u32, FrameKind::Popup), (1, FrameKind::Fullscreen)] {
        let spec = FrameSpec {
            arms: vms[2].arms,
            display_name: vms[2].name,
            untrusted_title: "video.mp4",
            title_rule: RULE,
            kind,
            focused: true,
            maximized: false,
            hover: None,
            badge: None,
            content: (280, 36),
        };
        canvas.frame(8 + at * 310, 84, &style, &spec);
    }
    canvas.check("small");
}

#[test]
fn badges() {
    for (scale, name) in [(1.0, "badges-1x"), (2.0, "badges-2x")] {
        let style = style(scale);
        let unit = if scale > 1.0 { 2 } else { 1 };
        let mut canvas = Canvas::new(640 * unit, 250 * unit, [0x2b, 0x24, 0x20, 0xff]);
        let vms = vms();
        let rows = [
            (0u32, 8u32, 600u32, Badge::Throttled),
            (1, 70, 300, Badge::Paused),
            (2, 130, 140, Badge::Paused),
            (3, 190, 600, Badge::WantsYou),
        ];
        for (vm, y, width, badge) in rows {
            let spec = FrameSpec {
                arms: vms[vm as usize].arms,
                display_name: vms[vm as usize].name,
                untrusted_title: "A document with a title that is long enough to be cut",
                title_rule: RULE,
                kind: FrameKind::Window,
                focused: vm != 1,
                maximized: false,
                hover: None,
                badge: Some(badge),
                content: (width * unit, 10 * unit),
            };
            canvas.frame(8 * unit, y * unit, &style, &spec);
        }
        let spec = FrameSpec {
            arms: vms[3].arms,
            display_name: vms[3].name,
            untrusted_title: "video",
            title_rule: RULE,
            kind: FrameKind::Fullscreen,
            focused: true,
            maximized: false,
            hover: None,
            badge: Some(Badge::Throttled),
            content: (270 * unit, 10 * unit),
        };
        canvas.frame(340 * unit, 70 * unit, &style, &spec);
        canvas.check(name);
    }
}

#[test]
fn the_title_cannot_change_the_owner() {
    let style = style(1.0);
    let vm = &vms()[0];
    let top = |title: &str| {
        let spec = FrameSpec {
            arms: vm.arms,
            display_name: vm.name,
            untrusted_title: title,
            title_rule: RULE,
            kind: FrameKind::Window,
            focused: true,
            maximized: false,
            hover: None,
            badge: None,
            content: (400, 100),
        };
        let rect = geometry(&style, &spec).side(Side::Top);
        let mut pixels = vec![0; (rect.w * rect.h * 4) as usize];
        draw(Side::Top, &style, &spec, &mut pixels);
        // The owner's box of this VM ends left of x = 74.
        pixels
            .chunks((rect.w * 4) as usize)
            .flat_map(|row| row[..74 * 4].to_vec())
            .collect::<Vec<_>>()
    };
    let plain = top("");
    let long = "W".repeat(4000);
    for title in [
        "Vault",
        "[Vault]",
        "\u{202e}krow",
        "\u{200b}\u{200b}",
        "a\u{300}\u{301}\u{302}",
        "\n\n\n",
        &long,
    ] {
        assert!(top(title) == plain, "{title:?} changed pixels of the owner's box");
    }
}

#[test]
fn cursors() {
    use cursor::Shape::{
        Arrow, Cross, Forbidden, Hand, Move, ResizeAntiDiagonal, ResizeDiagonal, ResizeHorizontal,
        ResizeVertical, Text, Wait,
    };
    let mut canvas = Canvas::new(11 * 52, 110, [0x90, 0x90, 0x90, 0xff]);
    let shapes = [
        Arrow,
        Hand,
        Text,
        Cross,
        Move,
        ResizeVertical,
        ResizeHorizontal,
        ResizeDiagonal,
        ResizeAntiDiagonal,
        Forbidden,
        Wait,
    ];
    for (at, shape) in (0u32..).zip(shapes) {
        for (scale, y) in [(1.0, 8), (2.0, 52)] {
            let picture = cursor::draw(shape, scale);
            assert!(picture.hotspot.0 < picture.size && picture.hotspot.1 < picture.size);
            canvas.put(4 + at * 52, y, picture.size, picture.size, &picture.pixels);
        }
    }
    canvas.check("cursors");
}

#[test]
fn notices() {
    let mut canvas = Canvas::new(460, 64, [0x2b, 0x24, 0x20, 0xff]);
    for (scale, x) in [(1.0, 8), (2.0, 190)] {
        let notice = heraldry_decorations::notice("NOT ISOLATED", &style(scale));
        canvas.put(x, 8, notice.size.0, notice.size.1, &notice.pixels);
    }
    canvas.check("notice");
}
