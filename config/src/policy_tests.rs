// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a VM gets in the end: every setting with its origin, chords, arms that an eye could confuse.

use heraldry_identity::VmName;

use crate::keys::{KeyChord, Modifiers};
use crate::screens::{ModeChoice, Transform};
use crate::{Config, Limits, builtin, effective, parse};

fn good(text: &str) -> Config {
    parse("f.kdl", text).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

fn name(text: &str) -> VmName {
    VmName::new(text).unwrap()
}

/// The first message and hint of a file that is wrong.
fn wrong(text: &str) -> (String, String) {
    let errors = parse("f.kdl", text).map_or_else(|errors| errors.errors, |_| panic!("{text} is good"));
    (
        errors[0].message.clone(),
        errors[0].hint.clone().unwrap_or_default(),
    )
}

/// The lines of `heraldry effective`, without the limits.
fn settings(config: &Config, vm: &str) -> Vec<String> {
    let list = effective(config, &name(vm)).unwrap();
    let (list, limits) = list.split_at(list.len() - Limits::ALL.len());
    for (setting, info) in limits.iter().zip(Limits::ALL) {
        assert_eq!(setting.setting, info.path);
    }
    let line = |setting: &crate::EffectiveSetting| setting.to_string();
    list.iter().map(line).collect()
}

#[test]
fn settings_are_printed_as_the_file_says_them() {
    let config = good(
        r##"schema 1
vm "a" { color "#1F5FBF"; pattern "anti-diagonal"; glyph "♞"; display-name "Knight"; owner 1000
  keyboard layout="de" variant="neo" options="caps:none" repeat-rate=30 repeat-delay=250
  title "ascii" max=20; fullscreen "deny"; cursor "shapes"; unsealed-memory "allow"
  focus { click-guard-ms 5; on-map #true; }
  globals "few"; on-violation "hide-vm" }
vm "b" { color "#b3322e"; owner "bob"; on-violation "pause-vm" }
global-set "few" { allow "wl_shm" }
"##,
    );
    let row = |setting: &str, value: &str, origin: &str| format!("{setting:28} {value:24} {origin}");
    assert_eq!(
        settings(&config, "a"),
        [
            row("display-name", "\"Knight\"", "f.kdl:2:63"),
            row("color", "\"#1f5fbf\"", "f.kdl:2:10"),
            row("pattern", "\"anti-diagonal\"", "f.kdl:2:27"),
            row("glyph", "\"♞\"", "f.kdl:2:52"),
            row("owner", "1000", "f.kdl:2:86"),
            row("keyboard.layout", "\"de\"", "f.kdl:3:12"),
            row("keyboard.variant", "\"neo\"", "f.kdl:3:24"),
            row("keyboard.options", "\"caps:none\"", "f.kdl:3:38"),
            row("keyboard.repeat-rate", "30", "f.kdl:3:58"),
            row("keyboard.repeat-delay", "250", "f.kdl:3:73"),
            row("title", "\"ascii\"", "f.kdl:4:3"),
            row("title.max", "20", "f.kdl:4:17"),
            row("fullscreen", "\"deny\"", "f.kdl:4:25"),
            row("cursor", "\"shapes\"", "f.kdl:4:44"),
            row("unsealed-memory", "\"allow\"", "f.kdl:4:61"),
            row("focus.click-guard-ms", "5", "f.kdl:5:11"),
            row("focus.on-map", "#true", "f.kdl:5:29"),
            row("globals", "\"few\"", "f.kdl:6:3"),
            row("on-violation", "\"hide-vm\"", "f.kdl:6:18"),
        ]
    );
    let b = settings(&config, "b");
    assert_eq!(b[4], row("owner", "\"bob\"", "f.kdl:7:27"));
    assert!(b.contains(&row("on-violation", "\"pause-vm\"", "f.kdl:7:40")));
}

#[test]
fn a_stranger_gets_the_strictest_rules() {
    let config = good(
        "schema 1\ndefaults { unknown-vm \"quarantine\"; title \"safe-utf8\" max=90 }\nkeyboard { layout \"fr\" }",
    );
    let row = |setting: &str, value: &str, origin: &str| format!("{setting:28} {value:24} {origin}");
    let built_in = |setting: &str, value: &str| row(setting, value, "built-in");
    assert_eq!(
        settings(&config, "stranger"),
        [
            built_in("display-name", "\"UNKNOWN stranger\""),
            built_in("color", "\"#8a6f88\""),
            built_in("pattern", "\"cross\""),
            built_in("glyph", "\"?\""),
            built_in("owner", "(the user of heraldry-host)"),
            row("keyboard.layout", "\"fr\"", "f.kdl:3:19"),
            built_in("keyboard.variant", "\"\""),
            built_in("keyboard.options", "\"\""),
            built_in("keyboard.repeat-rate", "25"),
            built_in("keyboard.repeat-delay", "400"),
            built_in("title", "\"ascii\""),
            built_in("title.max", "32"),
            built_in("fullscreen", "\"deny\""),
            built_in("cursor", "\"shapes\""),
            built_in("unsealed-memory", "\"refuse\""),
            built_in("focus.click-guard-ms", "300"),
            built_in("focus.on-map", "#false"),
            built_in("globals", "\"base\""),
            built_in("on-violation", "\"end-client\""),
        ]
    );
    let limits = config.vm(&name("stranger")).config().unwrap().rules.limits;
    let ordinary = Limits::default();
    for (info, (strict, usual)) in Limits::ALL
        .iter()
        .zip(limits.values().into_iter().zip(ordinary.values()))
    {
        let halved = [
            "clients",
            "connections-per-second",
            "toplevels",
            "popups",
            "popup-coverage",
            "window-coverage",
            "surfaces",
            "objects",
            "pool-mib",
            "descriptors",
            "pools",
            "upload-mib-per-frame",
            "composed-megapixels",
            "picture-mib",
            "texture-mib",
            "maps-per-second",
        ]
        .contains(&info.name);
        assert_eq!(strict < usual, halved, "{}: {strict} of {usual}", info.name);
    }
    // Without a file nobody gets in at all.
    let none = builtin::config().unwrap();
    assert!(none.vms.is_empty() && none.vm(&name("work")).config().is_none());
}

#[test]
fn chords_are_read_and_written() {
    for (written, read, shown) in [
        ("Super+q", ("q", "l"), "Super+Q"),
        ("Super+Q", ("q", "l"), "Super+Q"),
        ("Alt+Shift+Home", ("Home", "as"), "Alt+Shift+Home"),
        ("Shift+Ctrl+Super+Alt+7", ("7", "lcas"), "Super+Ctrl+Alt+Shift+7"),
        ("Ctrl+PageUp", ("Prior", "c"), "Ctrl+Prior"),
        ("Super+Enter", ("Return", "l"), "Super+Return"),
        ("Alt+Esc", ("Escape", "a"), "Alt+Escape"),
        // What types nothing needs no modifier.
        ("F1", ("F1", ""), "F1"),
        ("F24", ("F24", ""), "F24"),
        ("Shift+Print", ("Print", "s"), "Shift+Print"),
        ("Pause", ("Pause", ""), "Pause"),
        ("XF86AudioMute", ("XF86AudioMute", ""), "XF86AudioMute"),
        ("XF86_a", ("XF86_a", ""), "XF86_a"),
    ] {
        let config = good(&format!("schema 1\nkeys {{ close {written:?} }}"));
        let (key, modifiers) = read;
        let has = |letter| modifiers.contains(letter);
        let chord = KeyChord {
            modifiers: Modifiers {
                ctrl: has('c'),
                alt: has('a'),
                shift: has('s'),
                logo: has('l'),
            },
            key: key.to_owned(),
        };
        assert_eq!(config.keys.close, chord, "{written}");
        assert_eq!(chord.to_string(), shown);
        assert_eq!(chord.modifiers.is_empty(), modifiers.is_empty(), "{written}");
    }
    let longest = format!("XF86{}", "x".repeat(40));
    assert_eq!(
        good(&format!("schema 1\nkeys {{ close {longest:?} }}"))
            .keys
            .close
            .key,
        longest
    );
}

#[test]
fn what_is_no_chord_is_explained() {
    let super_is_needed = |chord: &str| format!("{chord} is needed for typing; add Super, Ctrl or Alt");
    let no_key = |key: &str| format!("there is no key {key:?}; for example: Super+Q, Alt+Tab");
    let rows = [
        ("q", super_is_needed("q")),
        ("Shift+Tab", super_is_needed("Shift+Tab")),
        ("Up", super_is_needed("Up")),
        ("Super+Super+q", "Super is there twice".to_owned()),
        (
            "Super+Shift",
            "a chord ends with a key that is not a modifier".to_owned(),
        ),
        ("Win+q", "did you mean \"Super\"?".to_owned()),
        ("Meta+q", "did you mean \"Super\"?".to_owned()),
        ("Strg+q", "did you mean \"Ctrl\"?".to_owned()),
        ("control+q", "did you mean \"Ctrl\"?".to_owned()),
        ("alt+q", "did you mean \"Alt\"?".to_owned()),
        ("Mod1+q", "did you mean \"Alt\"?".to_owned()),
        ("Shft+q", "did you mean \"Shift\"?".to_owned()),
        (
            "q+Super",
            "modifiers are Super, Ctrl, Alt, Shift; a key comes last".to_owned(),
        ),
        ("Super+Escap", "did you mean \"Escape\"?".to_owned()),
        ("Super+", no_key("")),
        ("Super+F0", no_key("F0")),
        ("Super+F01", no_key("F01")),
        ("Super+F25", no_key("F25")),
        ("Super+!", no_key("!")),
        ("Super+é", no_key("é")),
        ("Super+XF86", no_key("XF86")),
    ];
    for (written, hint) in rows {
        let said = wrong(&format!("schema 1\nkeys {{ close {written:?} }}"));
        assert_eq!(said, (format!("{written:?} is not a key chord"), hint));
    }
    let long = format!("XF86{}", "x".repeat(41));
    let said = wrong(&format!("schema 1\nkeys {{ close {long:?} }}"));
    assert_eq!(said.1, no_key(&format!("XF86{}", "x".repeat(28))));
    assert!(
        wrong("schema 1\nkeys { close \"XF86-a\" }")
            .1
            .starts_with("there is no key")
    );
}

#[test]
fn windows_are_moved_with_a_modifier_that_types_nothing() {
    for (written, ctrl, alt, logo) in [
        ("Super", false, false, true),
        ("Ctrl+Shift", true, false, false),
        ("Alt", false, true, false),
    ] {
        let config = good(&format!("schema 1\nkeys {{ move-modifier {written:?} }}"));
        let read = config.keys.move_modifier;
        assert_eq!((read.ctrl, read.alt, read.logo), (ctrl, alt, logo));
    }
    let said = |written: &str| wrong(&format!("schema 1\nkeys {{ move-modifier {written:?} }}")).0;
    assert_eq!(said("Shift"), "Shift alone cannot be the modifier");
    assert_eq!(said("Super+q"), "\"Super+q\" is not a modifier");
}

#[test]
fn two_vms_that_look_alike_are_refused() {
    let two = |one: &str, other: &str| {
        format!("schema 1\nvm \"a\" {{ color {one} }}\nvm \"b\" {{ color {other} }}\n")
    };
    // About 24 apart: enough beside another pattern or glyph, and too little alone.
    let (red, brick) = ("\"#b3322e\"", "\"#d97a3a\"");
    for marks in ["", "; pattern \"dots\"; glyph \"x\""] {
        let differ = |text: &str| two(&format!("{red}{marks}"), &format!("{brick}{text}"));
        good(&differ("; pattern \"cross\"; glyph \"x\""));
        good(&differ("; pattern \"dots\"; glyph \"y\""));
    }
    let (message, hint) = wrong(&two(
        &format!("{red}; glyph \"x\""),
        &format!("{brick}; glyph \"x\""),
    ));
    assert_eq!(
        message,
        "the color is too close to that of VM \"a\", #b3322e, and pattern and glyph are the same"
    );
    assert!(hint.ends_with(" and must be 30; see line 2"), "{hint}");
    let (message, hint) = wrong(&two(red, "\"#b3322f\""));
    assert_eq!(message, "the color is too close to that of VM \"a\", #b3322e");
    assert!(hint.starts_with("the distance is 0.") && hint.ends_with(" and must be 12; see line 2"));
    // The marks of a VM that the file does not name are nobody's.
    assert_eq!(
        wrong("schema 1\nvm \"a\" { color \"#8a6f80\" }"),
        (
            "the color is too close to that of an unknown VM, #8a6f88".to_owned(),
            "choose a color that is less grey".to_owned()
        )
    );
    let marked = |display: &str| {
        format!(
            "schema 1\nvm \"a\" {{ color {red} }}\nvm \"b\" {{ color \"#1f5fbf\"; display-name {display:?} }}"
        )
    };
    good(&marked("ab"));
    assert_eq!(
        wrong(&marked("A")),
        (
            "the name looks like that of VM \"a\"".to_owned(),
            "choose another display-name; see line 2".to_owned()
        )
    );
    assert_eq!(
        wrong(&marked("unkn0wn")).0,
        "the name looks like \"UNKNOWN\", which marks VMs that the file does not name"
    );
}

#[test]
fn transforms_and_modes_have_words() {
    let words = Transform::WORDS.map(|(word, transform)| {
        assert_eq!(transform.as_str(), word);
        word
    });
    assert_eq!(
        words,
        [
            "normal",
            "90",
            "180",
            "270",
            "flipped",
            "flipped-90",
            "flipped-180",
            "flipped-270"
        ]
    );
    let rate = |text: &str| match text.parse() {
        Ok(ModeChoice::Size { millihertz, .. }) => millihertz,
        _ => None,
    };
    for (written, read) in [
        ("1x1@1", Some(1000)),
        ("1x1@1000.999", Some(1_000_999)),
        ("16384x16384@23.976", Some(23_976)),
        ("1x1@60.5", Some(60_500)),
        ("1x1@60.", Some(60_000)),
        ("1x1@60.05", Some(60_050)),
    ] {
        assert_eq!(rate(written), read, "{written}");
    }
    for bad in [
        "1x1@1001",
        "1x1@60.-1",
        "1x1@60.1a",
        "16385x1",
        "1x16385",
        "1x0",
        "1x1@6_0",
        "1x1@.5",
    ] {
        assert!(bad.parse::<ModeChoice>().is_err(), "{bad}");
    }
}

#[test]
fn a_watchdog_warns_before_it_ends_us() {
    let times = |text: &str| {
        let dog = good(&format!("schema 1\nwatchdog {{ {text} }}")).watchdog;
        (dog.warn.as_millis(), dog.abort.as_millis())
    };
    assert_eq!(times(""), (1000, 10_000));
    assert_eq!(times("warn-ms 50; abort-ms 51"), (50, 51));
    for (text, message) in [
        ("warn-ms 500; abort-ms 500", "abort-ms is not longer than warn-ms"),
        ("warn-ms 10000", "abort-ms is not longer than warn-ms"),
        ("warn-ms 49", "49 is out of range"),
    ] {
        assert_eq!(wrong(&format!("schema 1\nwatchdog {{ {text} }}")).0, message);
    }
}

#[test]
fn a_quota_is_checked_and_bound() {
    let config = good(concat!(
        "schema 1\ndefaults { quota { pools 30; }; }\n",
        "vm \"a\" { color \"#1f5fbf\"; quota { clients 4; }; }\n",
        "bound { quota { pools 30; clients 3; }; }\n"
    ));
    let a = config.vms[&name("a")].clone();
    assert_eq!((a.rules.limits.pools, a.rules.limits.clients), (30, 3));
    assert_eq!(
        a.origins.of("quota.pools").to_string(),
        "f.kdl:2:20",
        "not lowered"
    );
    assert_eq!(a.origins.of("quota.clients").to_string(), "f.kdl:4:27");
    for (text, message) in [
        (
            "vm \"a\" { color \"#1f5fbf\"; quota { clients 0; }; }",
            "0 is out of range",
        ),
        ("defaults { quota { clients 1001; }; }", "1001 is out of range"),
        ("bound { quota { clowns 1; }; }", "unknown node \"clowns\""),
        ("bound { clients 1; }", "unknown node \"clients\""),
    ] {
        assert_eq!(wrong(&format!("schema 1\n{text}")).0, message);
    }
}

#[test]
fn long_lines_are_shown_in_part_and_without_tricks() {
    let shown = |text: &str| parse("f.kdl", text).unwrap_err().to_string();
    let said = shown("schema 1\nkeys { close \"\u{202e}\u{200b}é\t\" }");
    let line = said.lines().nth(1).unwrap();
    assert_eq!(line, " 2 | keys { close \"\u{fffd}\u{fffd}é \" }", "{said}");
    for (at, carets) in [(100, 60), (159, 1), (160, 0)] {
        let said = shown(&format!("schema 1\n{}close{} 1", " ".repeat(at), "x".repeat(200)));
        let line = said.lines().nth(1).unwrap();
        assert_eq!(line.chars().count(), 5 + 160, "{said}");
        assert_eq!(said.matches('^').count(), carets, "{said}");
    }
}
