// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every kind of error, exactly as it is shown.

use crate::parse;

/// What is wrong, the file, and what is shown.
const TABLE: &[(&str, &str, &str)] = &[
    (
        "empty",
        r##""##,
        r##"f.kdl:1:1: the node "schema" is missing
 1 | 
   | ^
 hint: begin the file with: schema 1
"##,
    ),
    (
        "a later schema",
        r##"schema 2
"##,
        r##"f.kdl:1:8: 2 is out of range
 1 | schema 2
   |        ^
 hint: from 1 to 1 (the versions of the language that this program reads)
"##,
    ),
    (
        "misspelt node, and so no colour",
        r##"schema 1
vm "work" { colour "#1f5fbf" }
"##,
        r##"f.kdl:2:1: the VM has no color
 2 | vm "work" { colour "#1f5fbf" }
   | ^^
 hint: for example: color "#1f5fbf"

f.kdl:2:13: unknown node "colour"
 2 | vm "work" { colour "#1f5fbf" }
   |             ^^^^^^
 hint: did you mean "color"?
"##,
    ),
    (
        "unknown node far from any",
        r##"schema 1
vm "work" { color "#1f5fbf"; focus { border 3; }; }
"##,
        r##"f.kdl:2:38: unknown node "border"
 2 | vm "work" { color "#1f5fbf"; focus { border 3; }; }
   |                                      ^^^^^^
 hint: known here: click-guard-ms, on-map
"##,
    ),
    (
        "unknown property",
        r##"schema 1
vm "work" mode="x" { color "#1f5fbf" }
"##,
        r##"f.kdl:2:11: unknown property "mode"
 2 | vm "work" mode="x" { color "#1f5fbf" }
   |           ^^^^^^^^
 hint: "vm" takes no properties
"##,
    ),
    (
        "unknown property, tab",
        r##"schema 1
defaults {
	title "ascii" maximum=5
}
"##,
        r##"f.kdl:3:16: unknown property "maximum"
 3 |  title "ascii" maximum=5
   |                ^^^^^^^^^
 hint: known here: max
"##,
    ),
    (
        "bad VM name",
        r##"schema 1
vm "Work" { color "#1f5fbf" }
"##,
        r##"f.kdl:2:4: "Work": a VM name is 1 to 31 characters of a-z, 0-9 and -
 2 | vm "Work" { color "#1f5fbf" }
   |    ^^^^^^
 hint: for example: vm "work"
"##,
    ),
    (
        "VM without a name",
        r##"schema 1
vm { color "#1f5fbf" }
"##,
        r##"f.kdl:2:1: "vm" lacks a value
 2 | vm { color "#1f5fbf" }
   | ^^
 hint: for example: vm "work" { color "#1f5fbf" }
"##,
    ),
    (
        "duplicate VM",
        r##"schema 1
vm "a" { color "#1f5fbf" }
vm "a" { color "#b3322e" }
"##,
        r##"f.kdl:3:4: there is already a VM "a"
 3 | vm "a" { color "#b3322e" }
   |    ^^^
 hint: it was first named on line 2
"##,
    ),
    (
        "bad colour",
        r##"schema 1
vm "a" { color "blue" }
"##,
        r##"f.kdl:2:16: "blue": a colour is written #rrggbb, with six hexadecimal digits
 2 | vm "a" { color "blue" }
   |                ^^^^^^
 hint: for example: color "#1f5fbf"
"##,
    ),
    (
        "wrong type",
        r##"schema 1
vm "a" { color 5 }
"##,
        r##"f.kdl:2:16: this must be a text, and it is a whole number
 2 | vm "a" { color 5 }
   |                ^
"##,
    ),
    (
        "set twice",
        r##"schema 1
vm "a" { color "#1f5fbf"; color "#1f5fb0" }
"##,
        r##"f.kdl:2:27: "color" is set twice
 2 | vm "a" { color "#1f5fbf"; color "#1f5fb0" }
   |                           ^^^^^
 hint: it was first set on line 2
"##,
    ),
    (
        "misspelt word",
        r##"schema 1
vm "a" { color "#1f5fbf"; pattern "vertcal" }
"##,
        r##"f.kdl:2:35: "vertcal" is not a value of this setting
 2 | vm "a" { color "#1f5fbf"; pattern "vertcal" }
   |                                   ^^^^^^^^^
 hint: did you mean "vertical"?
"##,
    ),
    (
        "two glyphs",
        r##"schema 1
vm "a" { color "#1f5fbf"; glyph "WW" }
"##,
        r##"f.kdl:2:33: not a glyph
 2 | vm "a" { color "#1f5fbf"; glyph "WW" }
   |                                 ^^^^
 hint: one visible character without combining marks, for example: glyph "W"
"##,
    ),
    (
        "invisible character",
        r##"schema 1
vm "a" { color "#1f5fbf"; display-name "a\u{202e}b" }
"##,
        r##"f.kdl:2:40: not a display name
 2 | vm "a" { color "#1f5fbf"; display-name "a\u{202e}b" }
   |                                        ^^^^^^^^^^^^
 hint: U+202E cannot be shown; use letters, digits, punctuation, symbols and spaces
"##,
    ),
    (
        "bad owner",
        r##"schema 1
vm "a" { color "#1f5fbf"; owner "Alice B" }
"##,
        r##"f.kdl:2:33: "Alice B" is not a user
 2 | vm "a" { color "#1f5fbf"; owner "Alice B" }
   |                                 ^^^^^^^^^
 hint: a user's number or name: owner 1000
"##,
    ),
    (
        "out of range",
        r##"schema 1
vm "a" { color "#1f5fbf"; quota { clients 0; }; }
"##,
        r##"f.kdl:2:43: 0 is out of range
 2 | vm "a" { color "#1f5fbf"; quota { clients 0; }; }
   |                                           ^
 hint: from 1 to 1000 connections
"##,
    ),
    (
        "unknown limit",
        r##"schema 1
bound { quota { surface 5; }; }
"##,
        r##"f.kdl:2:17: unknown node "surface"
 2 | bound { quota { surface 5; }; }
   |                 ^^^^^^^
 hint: did you mean "surfaces"?
"##,
    ),
    (
        "hasty watchdog",
        r##"schema 1
watchdog { warn-ms 500; abort-ms 400; }
"##,
        r##"f.kdl:2:1: abort-ms is not longer than warn-ms
 2 | watchdog { warn-ms 500; abort-ms 400; }
   | ^^^^^^^^
 hint: the warning comes first
"##,
    ),
    (
        "fraction",
        r##"schema 1
vm "a" { color "#1f5fbf"; quota { clients 1.5; }; }
"##,
        r##"f.kdl:2:43: this must be a whole number, and it is a number with a fraction
 2 | vm "a" { color "#1f5fbf"; quota { clients 1.5; }; }
   |                                           ^^^
"##,
    ),
    (
        "unknown set",
        r##"schema 1
vm "a" { color "#1f5fbf"; globals "gmaes" }
"##,
        r##"f.kdl:2:35: there is no global-set "gmaes"
 2 | vm "a" { color "#1f5fbf"; globals "gmaes" }
   |                                   ^^^^^^^
 hint: defined so far: base
"##,
    ),
    (
        "colours too close",
        r##"schema 1
vm "a" { color "#1f5fbf" }
vm "b" { color "#2263c0" }
"##,
        r##"f.kdl:3:16: the color is too close to that of VM "a", #1f5fbf
 3 | vm "b" { color "#2263c0" }
   |                ^^^^^^^^^
 hint: the distance is 1.4 and must be 12; see line 2
"##,
    ),
    (
        "same pattern and glyph, near colour",
        r##"schema 1
vm "a" { color "#1f5fbf"; glyph "X" }
vm "b" { color "#4f3fbf"; glyph "X" }
"##,
        r##"f.kdl:3:16: the color is too close to that of VM "a", #1f5fbf, and pattern and glyph are the same
 3 | vm "b" { color "#4f3fbf"; glyph "X" }
   |                ^^^^^^^^^
 hint: the distance is 13.5 and must be 30; see line 2
"##,
    ),
    (
        "the colour of unknown VMs",
        r##"schema 1
vm "a" { color "#8b7089" }
"##,
        r##"f.kdl:2:16: the color is too close to that of an unknown VM, #8a6f88
 2 | vm "a" { color "#8b7089" }
   |                ^^^^^^^^^
 hint: choose a color that is less grey
"##,
    ),
    (
        "confusable names",
        r##"schema 1
vm "work" { color "#1f5fbf" }
vm "b" { color "#b3322e"; display-name "Wоrk" }
"##,
        r##"f.kdl:3:40: the name looks like that of VM "work"
 3 | vm "b" { color "#b3322e"; display-name "Wоrk" }
   |                                        ^^^^^^
 hint: choose another display-name; see line 2
"##,
    ),
    (
        "the name of unknown VMs",
        r##"schema 1
vm "b" { color "#b3322e"; display-name "unknown" }
"##,
        r##"f.kdl:2:40: the name looks like "UNKNOWN", which marks VMs that the file does not name
 2 | vm "b" { color "#b3322e"; display-name "unknown" }
   |                                        ^^^^^^^^^
 hint: choose another display-name
"##,
    ),
    (
        "bad modifier",
        r##"schema 1
keys { close "Mod4+Q" }
"##,
        r##"f.kdl:2:14: "Mod4+Q" is not a key chord
 2 | keys { close "Mod4+Q" }
   |              ^^^^^^^^
 hint: did you mean "Super"?
"##,
    ),
    (
        "a chord that is typed",
        r##"schema 1
keys { close "Shift+Q" }
"##,
        r##"f.kdl:2:14: "Shift+Q" is not a key chord
 2 | keys { close "Shift+Q" }
   |              ^^^^^^^^^
 hint: Shift+Q is needed for typing; add Super, Ctrl or Alt
"##,
    ),
    (
        "bad key",
        r##"schema 1
keys { close "Super+Entr" }
"##,
        r##"f.kdl:2:14: "Super+Entr" is not a key chord
 2 | keys { close "Super+Entr" }
   |              ^^^^^^^^^^^^
 hint: did you mean "Enter"?
"##,
    ),
    (
        "chord of another action",
        r##"schema 1
keys { close "Super+F" }
"##,
        r##"f.kdl:2:14: Super+F is already the chord of "fullscreen"
 2 | keys { close "Super+F" }
   |              ^^^^^^^^^
 hint: choose another chord here or for "fullscreen"
"##,
    ),
    (
        "bad move modifier",
        r##"schema 1
keys { move-modifier "Shift" }
"##,
        r##"f.kdl:2:22: Shift alone cannot be the modifier
 2 | keys { move-modifier "Shift" }
   |                      ^^^^^^^
 hint: Super, Ctrl or Alt
"##,
    ),
    (
        "interfaces that cannot be allowed",
        r##"schema 1
global-set "x" { allow "zwlr_layer_shell_v1" "wl_seats" }
"##,
        r##"f.kdl:2:24: "zwlr_layer_shell_v1" cannot be allowed
 2 | global-set "x" { allow "zwlr_layer_shell_v1" "wl_seats" }
   |                        ^^^^^^^^^^^^^^^^^^^^^
 hint: docs/configuration.md lists the interfaces; others cannot be allowed in this version

f.kdl:2:46: "wl_seats" cannot be allowed
 2 | global-set "x" { allow "zwlr_layer_shell_v1" "wl_seats" }
   |                                              ^^^^^^^^^^
 hint: did you mean "wl_seat"?
"##,
    ),
    (
        "bad layout",
        r##"schema 1
keyboard layout="../x"
"##,
        r##"f.kdl:2:10: not an XKB name
 2 | keyboard layout="../x"
   |          ^^^^^^^^^^^^^
 hint: letters, digits and _ - , : + ( ), at most 128
"##,
    ),
    (
        "host",
        r##"schema 1
host { dir "run/heraldry"; memfd { bytes-per-vm 1 } }
"##,
        r##"f.kdl:2:12: not a folder for sockets
 2 | host { dir "run/heraldry"; memfd { bytes-per-vm 1 } }
   |            ^^^^^^^^^^^^^^
 hint: an absolute path of at most 60 bytes without "..", for example: dir "/run/heraldry"

f.kdl:2:49: 1 is out of range
 2 | host { dir "run/heraldry"; memfd { bytes-per-vm 1 } }
   |                                                 ^
 hint: from 1048576 to 17179869184 bytes
"##,
    ),
    (
        "hand-over",
        r##"schema 1
host { hand-over "names"; }
"##,
        r##"f.kdl:2:18: "names" is not a value of this setting
 2 | host { hand-over "names"; }
   |                  ^^^^^^^
 hint: did you mean "name"?
"##,
    ),
    (
        "sizes that do not fit",
        r##"schema 1
appearance { font-size 30 }
"##,
        r##"f.kdl:2:1: title-height 30 is too small for font-size 30
 2 | appearance { font-size 30 }
   | ^^^^^^^^^^
 hint: at least 38
"##,
    ),
    (
        "type annotation",
        r##"schema 1
appearance { font-size (u8)12 }
"##,
        r##"f.kdl:2:25: type annotations are not used here
 2 | appearance { font-size (u8)12 }
   |                         ^^
"##,
    ),
    (
        "unclosed block",
        r##"schema 1
vm "a" {
    color "#1f5fbf"
"##,
        r##"f.kdl:2:8: syntax: No closing '}' for child block
 2 | vm "a" {
   |        ^

f.kdl:2:9: syntax: Closing '}' was not found after nodes
 2 | vm "a" {
   |         ^
"##,
    ),
    (
        "syntax",
        r##"schema 1
vm "ä" { on-map true }
"##,
        r##"f.kdl:2:17: syntax: Expected identifier string
 2 | vm "ä" { on-map true }
   |                 ^^^^
 hint: in KDL 2 it is written #true
"##,
    ),
];

#[test]
fn errors_are_shown_like_this() {
    let mut wrong = String::new();
    for (what, text, expected) in TABLE {
        let shown = parse("f.kdl", text).map_or_else(|errors| errors.to_string(), |_| "no error".to_owned());
        if shown.trim_end() != expected.trim() {
            wrong.push_str(&format!("--- {what}\n{shown}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
