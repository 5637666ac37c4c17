// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client whose content lies about itself, for tests in machines: `heraldry-liar KIND` shows one window and stays.
//! Kinds: `pixel` and `alpha` call themselves opaque and are not, `comb` has a region that becomes 40,000 rectangles, `wide` a
//! buffer beyond the renderers' numbers, `grow` a small window that fills the screen once there is a file `/tmp/grow`.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use heraldry_tests::client::raw::Arg::{I, New, U};
use heraldry_tests::client::raw::{Raw, RawWindow};
use heraldry_tests::colour::key::MAGENTA;

const SIZE: (i32, i32) = (300, 200);

fn main() -> Result<(), String> {
    let kind = std::env::args().nth(1).ok_or("what shall it lie about?")?;
    let folder = std::env::var_os("XDG_RUNTIME_DIR").ok_or("XDG_RUNTIME_DIR is not set")?;
    let name = std::env::var_os("WAYLAND_DISPLAY").ok_or("WAYLAND_DISPLAY is not set")?;
    let stream = UnixStream::connect(PathBuf::from(folder).join(name)).map_err(|error| error.to_string())?;
    let mut raw = Raw::new(stream);
    let window = raw.show(if kind == "grow" { (48, 24) } else { SIZE }, MAGENTA);
    match kind.as_str() {
        "pixel" => {
            claim(&mut raw, window, 1);
            viewport(&mut raw, window, SIZE);
            let manager = raw.global("wp_single_pixel_buffer_manager_v1");
            let buffer = raw.send(manager, "create_u32_rgba_buffer", &[New, U(0), U(0), U(0), U(0)]);
            raw.put(window.surface, buffer);
        }
        "alpha" => {
            claim(&mut raw, window, 1);
            let buffer = raw.clear(SIZE);
            raw.put(window.surface, buffer);
        }
        "comb" => {
            claim(&mut raw, window, 200);
            let buffer = raw.clear(SIZE);
            raw.put(window.surface, buffer);
        }
        "wide" => {
            viewport(&mut raw, window, (20, 20));
            let buffer = raw.buffer((30_000, 16), MAGENTA);
            raw.put(window.surface, buffer);
        }
        "grow" => {
            while !Path::new("/tmp/grow").exists() {
                std::thread::sleep(Duration::from_millis(2));
            }
            raw.draw(window, (4000, 3000), MAGENTA);
        }
        other => return Err(format!("unknown kind {other:?}")),
    }
    loop {
        raw.settle();
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Calls everything opaque: in one piece, or in rows and columns that cut each other.
fn claim(raw: &mut Raw, window: RawWindow, teeth: i32) {
    let region = raw.region();
    for at in 0..teeth {
        if teeth == 1 {
            raw.send(region, "add", &[I(0), I(0), I(i32::MAX), I(i32::MAX)]);
        } else {
            raw.send(region, "add", &[I(0), I(2 * at), I(600), I(1)]);
            raw.send(region, "add", &[I(3 * at), I(0), I(1), I(400)]);
        }
    }
    raw.send(window.surface, "set_opaque_region", &[U(region)]);
}

fn viewport(raw: &mut Raw, window: RawWindow, size: (i32, i32)) {
    let viewporter = raw.global("wp_viewporter");
    let viewport = raw.send(viewporter, "get_viewport", &[New, U(window.surface)]);
    raw.send(viewport, "set_destination", &[I(size.0), I(size.1)]);
}
