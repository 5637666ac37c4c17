// SPDX-License-Identifier: MIT OR Apache-2.0
//! The gate's decoder with a client's raw bytes: what passes is strict Wayland, and does not depend on how the bytes are
//! cut.
//!
//! Input: flags and messages a turn, descriptors, cut, then what the client sends. After each turn the compositor does
//! what one does: announces globals, calls back, confirms deletions, and has configured what is acknowledged next. So
//! recorded sessions of real programs are seeds.

use std::collections::VecDeque;

use heraldry_gate::{Globals, Limits};

use crate::wayland::world::{DELETE_ID, News, Transcript, World};
use crate::wayland::{Arg, FIRST_SERVER_ID, GLOBALS, header};

const MOST_INPUT: usize = 1 << 16;
/// The flag for a client that has bound every global before.
const BOUND: u8 = 0x80;
/// `xdg_surface.ack_configure`, and its length.
const ACK: (u16, usize) = (4, 12);
/// The most configures that come before one is acknowledged.
const MOST_CONFIGURES: u32 = 64;
/// Large enough for the pools of recorded programs.
const MEMORY: u64 = 1 << 30;

/// See the module.
pub fn run(data: &[u8]) {
    let _transcript = replay(data);
}

/// What comes out of the session of an input, if that is long enough to be one.
#[must_use]
pub fn replay(data: &[u8]) -> Option<Transcript> {
    let [flags, fds, cut, bytes @ ..] = data else {
        return None;
    };
    let bytes = &bytes[..bytes.len().min(MOST_INPUT)];
    let turn = usize::from(flags % 8) + 1;
    let fds = usize::from(fds % 29);
    let whole = session(bytes, flags & BOUND != 0, turn, fds, usize::MAX);
    let pieces = session(bytes, flags & BOUND != 0, turn, fds, usize::from(*cut).max(1));
    assert!(whole == pieces, "{cut} bytes at a time:\n{whole:?}\n{pieces:?}");
    Some(whole)
}

/// What comes out of a session whose turns arrive in pieces of `cut` bytes.
fn session(bytes: &[u8], bound: bool, turn: usize, fds: usize, cut: usize) -> Transcript {
    let allowed: Globals = GLOBALS
        .iter()
        .map(|interface| (interface().name, interface().version))
        .collect();
    let limits = Limits {
        objects: 2000,
        surfaces: 64,
        pools: 64,
        callbacks: 256,
        ..Limits::default()
    };
    let mut world = World::new(
        limits,
        allowed,
        MEMORY,
        if cut == usize::MAX { 1 << 20 } else { cut.max(4) },
    );
    if bound {
        world.bind_everything();
    }
    let (mut there, mut configures) = (0, 0);
    let mut rest = bytes;
    while !rest.is_empty() {
        configure(&mut world, rest, &mut configures);
        let (now, later) = rest.split_at(messages(rest, turn));
        rest = later;
        let before = world.transcript.fds;
        let mut new: VecDeque<_> = (there..fds).map(|_| world.descriptor()).collect();
        there = there.max(fds);
        for piece in now.chunks(cut) {
            if world.client_sends(piece, std::mem::take(&mut new)).is_err() {
                return world.finish();
            }
        }
        there -= (world.transcript.fds - before).min(there);
        answer(&mut world);
    }
    world.finish()
}

/// The client is about to acknowledge a configure: it was sent as many before, by its own count.
fn configure(world: &mut World, bytes: &[u8], sent: &mut u32) {
    let Some((id, opcode, len)) = header(bytes) else {
        return;
    };
    let number = bytes.get(8..12).and_then(|word| word.try_into().ok());
    let number = u32::from_le_bytes(number.unwrap_or_default());
    let of_shell = world
        .objects
        .live(id)
        .is_some_and(|object| object.interface.name == "xdg_surface");
    if (opcode, len) != ACK || !of_shell || number > *sent + MOST_CONFIGURES {
        return;
    }
    while *sent < number {
        *sent += 1;
        assert!(
            world
                .event(id, 0, &[Arg::Word(10 * *sent)])
                .is_ok_and(|passed| passed)
        );
    }
}

/// Bytes of the next `count` messages, as far as their lengths can be. What may acknowledge a configure comes first.
fn messages(bytes: &[u8], count: usize) -> usize {
    let mut at = 0;
    for _ in 0..count {
        match header(&bytes[at..]) {
            Some((_, opcode, len)) if at > 0 && (opcode, len) == ACK => return at,
            Some((_, _, len)) if len >= 8 && at + len <= bytes.len() => at += len,
            _ => return bytes.len(),
        }
    }
    at
}

/// The compositor's part of a turn.
fn answer(world: &mut World) {
    for news in std::mem::take(&mut world.news) {
        match news {
            News::Created(id) => {
                let Some(object) = world.objects.live(id) else {
                    continue;
                };
                let fine = match object.interface.name {
                    "wl_registry" => {
                        world.announce(id);
                        continue;
                    }
                    "wl_callback" => world.event(id, 0, &[Arg::Word(1)]),
                    _ => continue,
                };
                assert!(fine.is_ok_and(|passed| passed));
                confirm(world, id);
            }
            News::Destroyed(id) if id < FIRST_SERVER_ID && world.objects.find(id).is_some() => {
                confirm(world, id)
            }
            News::Destroyed(_) => {}
        }
    }
}

fn confirm(world: &mut World, id: u32) {
    if world.objects.live(id).is_none() {
        assert!(
            world
                .event(1, DELETE_ID, &[Arg::Word(id)])
                .is_ok_and(|passed| passed)
        );
    }
}
