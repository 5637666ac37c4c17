// SPDX-License-Identifier: MIT OR Apache-2.0
//! No text makes the reader panic, hang or exhaust its stack.

use proptest::prelude::*;

use crate::{MAX_FILE_BYTES, parse};

const ASSET: &str = include_str!("../../assets/heraldry.kdl");

#[test]
fn the_worst_texts_for_the_parsers_stack() {
    let limit = usize::try_from(MAX_FILE_BYTES).unwrap();
    for piece in [
        "{",
        "}",
        "a{",
        "/*",
        "/-{",
        "a=",
        "=",
        ";=",
        ") ",
        "(",
        "\"",
        "\"\"\"",
        "#\"",
        "#",
        "\\\n",
        "a 1\n",
        "vm \"a\"\n",
    ] {
        for levels in [4096, limit / piece.len()] {
            let outcome = parse("worst", &piece.repeat(levels));
            assert!(outcome.is_err(), "{piece}");
            assert!(outcome.unwrap_err().to_string().len() < 1 << 20);
        }
    }
}

#[test]
fn many_vms_are_read_in_time() {
    let vm = |i: usize| {
        format!(
            "vm \"v{i}\" {{ color \"#{:06x}\"; glyph \"{}\" }}\n",
            i * 65_521 % 0xff_ffff,
            i % 10
        )
    };
    let text = |count| format!("schema 1\n{}", (0..count).map(vm).collect::<String>());
    let many = parse("many", &text(256)).unwrap_err();
    assert!(many.errors.len() <= 200);
    let too_many = parse("many", &text(257)).unwrap_err().to_string();
    assert!(too_many.contains("too many VMs"), "{too_many}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        let _ = parse("any", &text).map_err(|errors| errors.to_string());
    }

    #[test]
    fn any_tokens(tokens in prop::collection::vec(prop::sample::select(vec![
        "schema", "1", "vm", "\"a\"", "{", "}", "\n", ";", " ", "color", "\"#123456\"", "=", "#true", "title", "max=", "-5",
        "99999999999999999999999999999999999999999999", "defaults", "keys", "(u8)", "host", "memfd", "é", "\"\u{202e}\"", "allow",
        "global-set", "extends=", "/-", "keyboard", "layout=", "#null", "1.5", "glyph", "owner", "focus",
    ]), 0..60)) {
        let _ = parse("tokens", &tokens.concat()).map_err(|errors| errors.to_string());
    }

    #[test]
    fn a_damaged_default_file(cut in 0..ASSET.len(), len in 0usize..40, put in "\\PC{0,6}") {
        let floor = |mut at: usize| { while !ASSET.is_char_boundary(at) { at -= 1; } at };
        let (start, end) = (floor(cut), floor((cut + len).min(ASSET.len())));
        let text = format!("{}{}{}", ASSET.get(..start).unwrap(), put, ASSET.get(end.max(start)..).unwrap());
        let _ = parse("damaged", &text).map_err(|errors| errors.to_string());
    }
}
