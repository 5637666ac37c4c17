// SPDX-License-Identifier: MIT OR Apache-2.0
//! Labels: any title, at any scale. What a VM writes is filtered, and changes no pixel of the owner's box, of the buttons
//! or of the frame.
//!
//! Input: 16 bytes of settings, then the title.

use heraldry_decorations::{
    Button, FrameKind, FrameSpec, Side, Style, TitleRule, draw, geometry, notice, safe_title,
};
use heraldry_identity::{Arms, Pattern, Rgb, TitleLevel};

const SCALES: [f64; 8] = [0.5, 1.0, 1.0, 1.25, 1.5, 1.75, 2.0, 4.0];

const KINDS: [FrameKind; 4] = [
    FrameKind::Window,
    FrameKind::Window,
    FrameKind::Fullscreen,
    FrameKind::Popup,
];
const HOVERS: [Option<Button>; 4] = [
    None,
    Some(Button::Close),
    Some(Button::Maximize),
    Some(Button::Minimize),
];
const NAMES: [&str; 5] = [
    "work",
    "w",
    "Untrusted web browsing",
    "Größe 中",
    "0123456789012345678901234567890",
];
/// Larger than any title that the protocol carries.
const MOST_TITLE: usize = 4096;
const SETTINGS: usize = 16;

/// See the module.
pub fn run(data: &[u8]) {
    let Some((set, title)) = data.split_first_chunk::<SETTINGS>() else {
        return;
    };
    let title = String::from_utf8_lossy(&title[..title.len().min(MOST_TITLE)]);
    let rule = TitleRule {
        level: if set[0] % 4 == 0 {
            TitleLevel::Ascii
        } else {
            TitleLevel::SafeUtf8
        },
        max: u32::from(set[1]),
    };
    let safe = filtered(&title, rule);

    // The ranges of the configuration.
    let font_size = 8 + u32::from(set[2] % 25);
    let style = Style {
        frame_width: 2 + u32::from(set[3] % 15),
        title_height: (font_size + 8 + u32::from(set[4] % 40)).clamp(16, 64),
        font_size: f32::from(u8::try_from(font_size).unwrap_or(8)),
        scale: SCALES[usize::from(set[5]) % SCALES.len()],
    };
    let arms = Arms {
        color: Rgb {
            r: set[6],
            g: set[7],
            // Never as light as parchment, by which the owner's box is found.
            b: set[8] & 0x7f,
        },
        pattern: Pattern::ALL[usize::from(set[9]) % Pattern::ALL.len()],
        glyph: ['W', '⚙', '中', 'é'][usize::from(set[10] / 8) % 4],
    };
    let spec = FrameSpec {
        arms,
        display_name: NAMES[usize::from(set[10]) % NAMES.len()],
        untrusted_title: &title,
        title_rule: rule,
        kind: KINDS[usize::from(set[11]) % KINDS.len()],
        focused: set[12] % 2 == 0,
        maximized: set[12] % 4 < 2,
        hover: HOVERS[usize::from(set[12] / 4) % HOVERS.len()],
        badge: None,
        content: (
            u32::from(set[13]) * 3 + u32::from(set[14] % 4),
            u32::from(set[15] % 32),
        ),
    };
    frames(&style, &spec, &safe);
    if set[14] / 4 == 0 {
        let notice = notice(&safe, &style);
        let area = usize::try_from(notice.size.0 * notice.size.1);
        assert_eq!(Ok(notice.pixels.len()), area.map(|area| area * 4));
        assert!(notice.pixels.chunks_exact(4).all(|pixel| pixel[3] == 255));
    }
}

fn filtered(title: &str, rule: TitleRule) -> String {
    let safe = safe_title(title, rule);
    let max = usize::try_from(rule.max).unwrap_or(0);
    // One mark may stand on each character.
    assert!(safe.chars().count() <= 2 * max, "{safe:?}");
    for c in safe.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let hidden = matches!(c, '\u{200b}'..='\u{200d}' | '\u{feff}' | '\u{ad}' | '\u{2060}'..='\u{2064}' | '\u{e0000}'..='\u{e007f}');
        let right_to_left =
            matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}');
        let breaks = matches!(c, '\u{2028}' | '\u{2029}' | '\u{85}');
        assert!(
            !c.is_control() && !turns && !hidden && !right_to_left && !breaks,
            "{c:?} in {safe:?}"
        );
        assert!(
            rule.level == TitleLevel::SafeUtf8 || c == '·' || (' '..='~').contains(&c),
            "{c:?}"
        );
    }
    assert_eq!(safe.trim(), safe);
    assert!(!safe.contains("  "));
    assert_eq!(safe_title(&safe, rule), safe, "what is filtered passes as it is");
    safe
}

/// Draws with the title and without.
fn frames(style: &Style, spec: &FrameSpec<'_>, safe: &str) {
    let plain = FrameSpec {
        untrusted_title: "",
        ..spec.clone()
    };
    let layout = geometry(style, spec);
    assert_eq!(layout, geometry(style, &plain), "a title moves nothing");
    for side in Side::ALL {
        let rect = layout.side(side);
        assert!(rect.x + rect.w <= layout.outer.0 && rect.y + rect.h <= layout.outer.1);
        let len = usize::try_from(rect.w * rect.h * 4).expect("small");
        let (mut with, mut without) = (vec![0; len], vec![0; len]);
        draw(side, style, spec, &mut with);
        draw(side, style, &plain, &mut without);
        assert!(
            with.chunks_exact(4).all(|pixel| pixel[3] == 255),
            "a frame is opaque"
        );
        if side != Side::Top || spec.kind == FrameKind::Popup || safe.is_empty() {
            assert!(with == without, "a title is drawn on {side:?}");
            continue;
        }
        let width = usize::try_from(rect.w).expect("small");
        let end = layout.buttons.first().map_or(rect.w, |(_, button)| button.x);
        title_keeps_its_place(
            &with,
            &without,
            width,
            usize::try_from(end).expect("small"),
            style,
        );
    }
}

/// Whatever a title changes lies between the owner's box and the buttons, and not on the frame's edge.
fn title_keeps_its_place(with: &[u8], without: &[u8], width: usize, end: usize, style: &Style) {
    let changed = with
        .chunks_exact(4)
        .zip(without.chunks_exact(4))
        .enumerate()
        .filter(|(_, (a, b))| a != b)
        .map(|(at, _)| (at % width, at / width));
    let corners = changed.fold(None, |corners, (x, y)| {
        let (left, top, right, bottom) = corners.unwrap_or((x, y, x, y));
        Some((left.min(x), top.min(y), right.max(x), bottom.max(y)))
    });
    let Some((left, top, right, lower)) = corners else {
        return;
    };
    // Nothing but the owner's box has the colour of parchment; beyond it is a dark rim.
    let parchment = [[0xe4, 0xf0, 0xf4, 255], [0xba, 0xc2, 0xc4, 255]];
    let owner = without
        .chunks_exact(4)
        .enumerate()
        .filter(|(_, pixel)| parchment.iter().any(|color| color == pixel))
        .map(|(at, _)| at % width)
        .filter(|x| *x < end)
        .max()
        .expect("a title without an owner beside it");
    let rim = usize::try_from(style.px(1)).expect("small");
    let bottom = with.len() / 4 / width - 1;
    assert!(
        left > owner + rim + 1,
        "column {left} of the owner's box, which ends at {owner}"
    );
    assert!(right < end, "column {right} of the buttons, which begin at {end}");
    assert!(
        top >= rim && lower < bottom,
        "rows {top} to {lower} of the frame's edge"
    );
}
