// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sends a VM's socket on the host a descriptor that makes whoever gets it wait: `heraldry-stuck KIND WAY SOCKET`. It stays, and
//! while it does, nobody who waits can go on.

use std::io::Write as _;
use std::path::PathBuf;

use heraldry_tests::stuck::{DONE, KINDS, SERVE, WAYS, send, serve};

fn main() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().unwrap_or_default();
    let (kind, way, socket) = (next(), next(), PathBuf::from(next()));
    if kind == SERVE {
        serve();
        return Ok(());
    }
    let kind = KINDS.iter().find(|(name, _)| *name == kind);
    let way = WAYS.iter().find(|(name, _)| *name == way);
    let (Some((_, kind)), Some((_, way))) = (kind, way) else {
        return Err("KIND is linger, fuse, memory or pipe; WAY is sent, hang-up or backlog".to_owned());
    };
    send(*kind, *way, &socket)?;
    let mut out = std::io::stdout();
    writeln!(out, "{DONE}").map_err(|error| error.to_string())?;
    loop {
        std::thread::park();
    }
}
