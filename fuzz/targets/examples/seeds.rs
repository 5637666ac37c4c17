// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes the seeds of `records` and `label` that are made by hand: `seeds FOLDER`, which is `fuzz/seeds`.
#![expect(
    clippy::expect_used,
    reason = "a tool for developers: what goes wrong ends it"
)]

use std::io::Result;
use std::path::Path;

use heraldry_identity::VmName;
use heraldry_wire::ContextName;
use heraldry_wire::connection::TokenRecord;
use heraldry_wire::display::{Announcement, CompositorRecord, HostRecord, RefuseReason, Way};

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).expect("the folder");
    let put = |target: &str, name: &str, parts: &[&[u8]]| -> Result<()> {
        let folder = Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(name), parts.concat())
    };
    records(&put)?;
    for (name, title) in [
        ("plain", "report.odt — Writer"),
        ("long", &"a title that does not fit ".repeat(12)),
        ("direction", "\u{202e}gpj.exe\u{202c}\u{2066}x\u{2069}"),
        ("hebrew", "שלום עולם"),
        ("marks", "Z\u{311}\u{312}\u{313}a\u{300}\u{301}lgo"),
        ("wide", "中文標題 한국어 日本語"),
        ("control", "bell\u{7}esc\u{1b}[31m\r\n\t\u{85}\u{2028}"),
        (
            "hidden",
            "zero\u{200b}\u{200d}\u{feff}\u{ad}\u{2060}\u{e0041}width",
        ),
        ("empty", ""),
        ("emoji", "👩‍👩‍👧‍👦 🏳️‍🌈 ⚙"),
    ] {
        // Level, most characters, font, band, height, scale, colour, pattern, name, kind, state, size.
        let window = [1, 96, 6, 2, 4, 1, 0x1f, 0x5f, 0xbf, 1, 0, 0, 0, 200, 4, 8];
        put("label", &format!("window-{name}"), &[&window, title.as_bytes()])?;
        let fullscreen = [4, 96, 6, 2, 4, 6, 0xf0, 0xe0, 0x10, 5, 2, 2, 1, 255, 0, 4];
        put(
            "label",
            &format!("fullscreen-{name}"),
            &[&fullscreen, title.as_bytes()],
        )?;
    }
    Ok(())
}

/// Records of each kind, cut in an odd place.
fn records(put: &impl Fn(&str, &str, &[&[u8]]) -> Result<()>) -> Result<()> {
    let vm = VmName::new("work").expect("a name");
    let announce = |number, way| {
        HostRecord::Announce(Announcement {
            number,
            boot: 7,
            vm: vm.clone(),
            way,
        })
        .encode()
    };
    let name = ContextName::new("wl-conn-12").expect("a name");
    let host = [
        HostRecord::Hello.encode(),
        announce(1, Way::Token([5; 32])),
        announce(2, Way::Name(name)),
        HostRecord::Withdraw { number: 1 }.encode(),
    ];
    put("records", "host", &[&[0, 50], &host.concat()])?;
    let reason = RefuseReason::Limit;
    let compositor = [
        CompositorRecord::Hello.encode(),
        CompositorRecord::Take { number: 1 }.encode(),
        CompositorRecord::Refuse { number: 2, reason }.encode(),
    ];
    put("records", "compositor", &[&[1, 95], &compositor.concat()])?;
    let token = TokenRecord {
        number: 1,
        token: [9; 32],
    };
    put("records", "token", &[&[2, 47], &token.encode(), &token.encode()])
}
