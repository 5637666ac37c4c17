// SPDX-License-Identifier: MIT OR Apache-2.0
//! What of a client's title is shown: text that can neither reorder, hide nor stack what stands beside it.

use heraldry_identity::TitleLevel;
use unicode_properties::{GeneralCategory as G, UnicodeGeneralCategory};

/// The rule for a VM's titles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TitleRule {
    /// Which characters pass.
    pub level: TitleLevel,
    /// The most characters that are shown.
    pub max: u32,
}

/// What stands for a character that does not pass.
const REPLACEMENT: char = '·';

/// Filters a title. Whatever it held, the result is one line, at most `rule.max` characters.
#[must_use]
pub fn safe_title(untrusted: &str, rule: TitleRule) -> String {
    let max = usize::try_from(rule.max).unwrap_or(usize::MAX);
    let mut out = String::new();
    let mut count = 0;
    let mut marks = 0;
    let mut space = true;
    for character in untrusted.chars() {
        if count >= max {
            break;
        }
        let shown = match classify(character, rule.level) {
            Class::Space if space => continue,
            Class::Space => ' ',
            // A mark needs a character of the title before it, and one is enough.
            Class::Mark if marks > 0 || space || out.ends_with(REPLACEMENT) => continue,
            Class::Mark => {
                marks += 1;
                out.push(character);
                continue;
            }
            Class::Drop => continue,
            Class::Replace => REPLACEMENT,
            Class::Pass => character,
        };
        marks = 0;
        space = shown == ' ';
        out.push(shown);
        count += 1;
    }
    out.truncate(out.trim_end().len());
    out
}

enum Class {
    Pass,
    Space,
    Mark,
    Drop,
    Replace,
}

fn classify(character: char, level: TitleLevel) -> Class {
    if matches!(character, ' ' | '\t' | '\n' | '\r') {
        return Class::Space;
    }
    if level == TitleLevel::Ascii {
        return if character.is_ascii_graphic() {
            Class::Pass
        } else {
            Class::Replace
        };
    }
    match character.general_category() {
        G::SpaceSeparator | G::LineSeparator | G::ParagraphSeparator => Class::Space,
        // Invisible, so nothing takes their place.
        G::Format => Class::Drop,
        // Those of a script that is not shown have no letter to stand on.
        G::NonspacingMark | G::SpacingMark | G::EnclosingMark if right_to_left(character) => Class::Drop,
        G::Control | G::PrivateUse | G::Surrogate | G::Unassigned => Class::Replace,
        G::NonspacingMark | G::SpacingMark | G::EnclosingMark => Class::Mark,
        _ if right_to_left(character) => Class::Replace,
        _ => Class::Pass,
    }
}

/// Scripts written from right to left would turn around what stands beside them; they need a layout that this label
/// does not have yet.
fn right_to_left(character: char) -> bool {
    matches!(u32::from(character), 0x590..=0x8ff | 0xfb1d..=0xfdff | 0xfe70..=0xfeff | 0x10800..=0x10fff | 0x1e800..=0x1efff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn safe(text: &str) -> String {
        safe_title(
            text,
            TitleRule {
                level: TitleLevel::SafeUtf8,
                max: 20,
            },
        )
    }

    #[test]
    fn titles_are_one_line_of_plain_text() {
        for (from, to) in [
            ("report.odt — Writer", "report.odt — Writer"),
            ("two\nlines\tand  spaces ", "two lines and spaces"),
            ("\u{202e}evil\u{202c}", "evil"),
            ("zero\u{200b}width\u{feff}", "zerowidth"),
            ("Z\u{311}\u{312}\u{313}algo", "Z\u{311}algo"),
            ("\u{301}mark first", "mark first"),
            ("bell\u{7}esc\u{1b}[31m", "bell·esc·[31m"),
            ("שלום", "····"),
            ("\u{5d1}\u{5b0}a\u{5b0}", "·a"),
            ("\u{7}\u{301}", "·"),
            ("Ελληνικά текст", "Ελληνικά текст"),
            ("private \u{e000}", "private ·"),
            ("", ""),
            ("0123456789012345678901234567890", "01234567890123456789"),
        ] {
            assert_eq!(safe(from), to, "{from:?}");
        }
    }

    #[test]
    fn ascii_level_passes_only_ascii() {
        let rule = TitleRule {
            level: TitleLevel::Ascii,
            max: 96,
        };
        assert_eq!(
            safe_title("wоrk ~é", rule),
            "w·rk ~·",
            "the Cyrillic o does not pass for an o"
        );
    }
}
