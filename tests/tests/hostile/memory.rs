// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared memory: pools, buffers, and what a client does to them while they are read.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use heraldry_tests::client::filled;
use heraldry_tests::client::raw::Arg::{Fd, I, New, U};
use heraldry_tests::client::raw::{Raw, Value, memory, pipe};
use heraldry_tests::colour::key::MAGENTA;
use rustix::fs::{FallocateFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_get_seals, ftruncate};

use super::attack::Expect::{Lives, Rule};
use super::attack::{Attack, Row, row};

pub(crate) const ROWS: &[Row] = &[
    row("A57a pool resized to zero", |a| resize(a, 0), Rule("pool-size")),
    row("A57b pool resized to -1", |a| resize(a, -1), Rule("pool-size")),
    row(
        "A57c pool resized to the smallest number",
        |a| resize(a, i32::MIN),
        Rule("pool-size"),
    ),
    row("A57d pool that shrinks", |a| resize(a, 4095), Rule("pool-size")),
    row("A57e pool without size", pool_of_nothing, Rule("pool-size")),
    row(
        "A57f pool that grows beyond its memory, and is shown",
        grown,
        Rule("grown-pool"),
    ),
    row("A57g pool resized 10,000 times", resized_often, Lives),
    row("A58a memory truncated after it was shared", truncated, Lives),
    row(
        "A58b pool larger than its memory",
        |a| {
            a.raw.pool(4096, 8192);
        },
        Rule("pool-memory"),
    ),
    row("A58c holes punched into memory that is shown", punched, Lives),
    row("A58d pool of a pipe", pool_of_a_pipe, Rule("pool-memory")),
    row(
        "A58e pool and descriptor gone while the window shows",
        pool_gone,
        Lives,
    ),
    row("A59a buffer corners in every integer", corners, Lives),
    row(
        "A59b lines shorter than their pixels",
        short_lines,
        Rule("buffer-bounds"),
    ),
    row(
        "A59c format that nobody offered",
        |a| format(a, 0x3432_5258),
        Rule("buffer-format"),
    ),
    row(
        "A59d format of all ones",
        |a| format(a, u32::MAX),
        Rule("buffer-format"),
    ),
    row(
        "A59e buffer of one byte more than its pool",
        one_byte_more,
        Rule("buffer-bounds"),
    ),
    row(
        "A37 memory that the compositor shares holds a keymap and nothing else",
        keymap_alone,
        Lives,
    ),
    row(
        "A55a keymap that is written to is this VM's alone",
        keymap_written,
        Lives,
    ),
    row("A55b keymap shrunk, grown and unsealed", keymap_resized, Lives),
    row("A76 pixels that change while they are read", mutated, Lives),
    row(
        "A82a keyboards without number take no more of the host's memory",
        keyboards,
        Lives,
    ),
];

fn resize(a: &mut Attack<'_>, size: i32) {
    let pool = a.raw.pool(8192, 4096);
    a.raw.send(pool, "resize", &[I(size)]);
}

fn pool_of_nothing(a: &mut Attack<'_>) {
    a.each_breaks("pool-size", &[-1, i32::MIN], |raw, size| {
        raw.pool(4096, size);
    });
    a.raw.pool(4096, 0);
}

fn grown(a: &mut Attack<'_>) {
    let window = a.raw.window();
    let pool = a.raw.pool(4096, 4096);
    a.raw.send(pool, "resize", &[I(1 << 20)]);
    let args = [New, I(4096), I(64), I(64), I(256), U(1)];
    let buffer = a.raw.send(pool, "create_buffer", &args);
    a.raw.put(window.surface, buffer);
}

fn resized_often(a: &mut Attack<'_>) {
    let pool = a.raw.pool(1 << 20, 4096);
    for size in 4097..14_097 {
        a.raw.send(pool, "resize", &[I(size)]);
    }
}

fn truncated(a: &mut Attack<'_>) {
    let (fd, bytes) = filled((64, 64), MAGENTA);
    let window = a.raw.window();
    let buffer = a.raw.buffer_of(&fd, bytes, (64, 64), 1);
    a.raw.put(window.surface, buffer);
    a.raw.settle();
    assert!(ftruncate(&fd, 0).is_err(), "the host has sealed it");
    assert!(ftruncate(&fd, 100).is_err(), "the host has sealed it");
    a.raw.put(window.surface, buffer);
    a.raw.settle();
    a.picture().assert_only_in(MAGENTA, a.content());
}

fn punched(a: &mut Attack<'_>) {
    let (fd, bytes) = filled((64, 64), MAGENTA);
    let window = a.raw.window();
    let buffer = a.raw.buffer_of(&fd, bytes, (64, 64), 1);
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    for _ in 0..50 {
        a.raw.put(window.surface, buffer);
        a.raw.settle();
        fallocate(&fd, hole, 0, u64::try_from(bytes).unwrap()).unwrap();
    }
}

fn pool_of_a_pipe(a: &mut Attack<'_>) {
    let shm = a.raw.global("wl_shm");
    // What stands for a pipe on the way is a page of nothing.
    let (read, _write) = pipe();
    a.raw.send(shm, "create_pool", &[New, Fd(read.as_fd()), I(8192)]);
}

fn pool_gone(a: &mut Attack<'_>) {
    // The helper destroys the pool and closes the descriptor at once.
    let window = a.raw.show((64, 64), MAGENTA);
    for _ in 0..20 {
        a.raw.send(window.surface, "damage", &[I(0), I(0), I(64), I(64)]);
        a.raw.send(window.surface, "commit", &[]);
        a.raw.settle();
    }
    a.picture().assert_only_in(MAGENTA, a.content());
}

fn corners(a: &mut Attack<'_>) {
    let odd = [i32::MIN, -1, 0, 1, 32_768, 65_536, i32::MAX];
    let mut cases = Vec::new();
    for value in odd {
        // offset, width, height, stride; what is good is 0, 16, 16, 64 in a pool of 4096 bytes.
        cases.push((value, 16, 16, 64));
        cases.push((0, value, 16, 64));
        cases.push((0, 16, value, 64));
        cases.push((0, 16, 16, value));
        cases.push((4096, value, value, value));
        cases.push((value, value, value, value));
    }
    cases.retain(|&(offset, width, height, stride)| {
        let fits = offset >= 0 && width > 0 && height > 0 && stride >= width.saturating_mul(4);
        let end = i64::from(offset) + i64::from(stride) * i64::from(height);
        !(fits && end <= 4096)
    });
    assert!(cases.len() > 20);
    a.each_breaks("buffer-bounds", &cases, |raw, (offset, width, height, stride)| {
        let pool = raw.pool(4096, 4096);
        let args = [New, I(offset), I(width), I(height), I(stride), U(1)];
        raw.send(pool, "create_buffer", &args);
    });
}

fn short_lines(a: &mut Attack<'_>) {
    let pool = a.raw.pool(4096, 4096);
    a.raw
        .send(pool, "create_buffer", &[New, I(0), I(16), I(16), I(63), U(1)]);
}

fn format(a: &mut Attack<'_>, format: u32) {
    let pool = a.raw.pool(4096, 4096);
    a.raw
        .send(pool, "create_buffer", &[New, I(0), I(8), I(8), I(64), U(format)]);
}

fn one_byte_more(a: &mut Attack<'_>) {
    let pool = a.raw.pool(4096, 4096);
    a.raw
        .send(pool, "create_buffer", &[New, I(1), I(32), I(32), I(128), U(1)]);
}

/// The keymap that a client was given, and how large it is said to be.
fn keymap(raw: &mut Raw) -> (OwnedFd, usize) {
    raw.keyboard();
    raw.wait("a keymap", |raw| !raw.told("wl_keyboard.keymap").is_empty())
        .unwrap();
    let event = raw.told("wl_keyboard.keymap").pop().unwrap().clone();
    let Some(Value::Fd(index)) = event.args.get(1) else {
        panic!("no descriptor: {event:?}");
    };
    let fd = raw.descriptors[*index].try_clone().unwrap();
    (fd, usize::try_from(event.uint(2)).unwrap())
}

fn keymap_alone(a: &mut Attack<'_>) {
    let (fd, size) = keymap(&mut a.raw);
    let there = usize::try_from(rustix::fs::fstat(&fd).unwrap().st_size).unwrap();
    assert!(there < size + 4096, "{there} bytes for a keymap of {size}");
    let mut bytes = vec![0xaa; there];
    let mut got = 0;
    while got < there {
        let n = rustix::io::pread(&fd, &mut bytes[got..], u64::try_from(got).unwrap()).unwrap();
        assert!(n > 0);
        got += n;
    }
    let text = &bytes[..size - 1];
    assert!(text.starts_with(b"xkb_keymap") && text.is_ascii());
    assert!(
        bytes[size - 1..].iter().all(|byte| *byte == 0),
        "nothing behind its end"
    );
}

/// What a keymap holds.
fn text_of(fd: &OwnedFd, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    let got = rustix::io::pread(fd, &mut bytes, 0).unwrap();
    assert_eq!(got, size);
    bytes
}

fn keymap_written(a: &mut Attack<'_>) {
    let (fd, size) = keymap(&mut a.raw);
    let before = text_of(&fd, size);
    // A VM's programs share one copy; that one may be spoilt by its own.
    let written = rustix::io::pwrite(&fd, b"owned", 0);
    let mut honest = a.honest();
    let (fd, size) = keymap(&mut honest);
    assert_eq!(text_of(&fd, size), before, "another VM has its own");
    if written.is_ok() {
        rustix::io::pwrite(keymap(&mut a.raw).0, &before[..5], 0).unwrap();
    }
}

fn keymap_resized(a: &mut Attack<'_>) {
    let (fd, _) = keymap(&mut a.raw);
    assert!(ftruncate(&fd, 1).is_err());
    assert!(ftruncate(&fd, 1 << 20).is_err());
    let seals = fcntl_get_seals(&fd).unwrap();
    assert!(seals.contains(SealFlags::SHRINK | SealFlags::GROW));
    // Whatever else a client seals, the compositor has written already.
    let _sealed = fcntl_add_seals(&fd, SealFlags::FUTURE_WRITE);
    let (again, size) = keymap(&mut a.another());
    assert!(text_of(&again, size).starts_with(b"xkb_keymap"));
}

fn mutated(a: &mut Attack<'_>) {
    let fd = memory(64 * 64 * 4);
    let window = a.raw.window();
    let buffer = a.raw.buffer_of(&fd, 64 * 64 * 4, (64, 64), 0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut value = 0_u8;
            while !stop.load(Ordering::SeqCst) {
                value = value.wrapping_add(37);
                rustix::io::pwrite(&fd, &[value; 64 * 64 * 4], 0).unwrap();
            }
        });
        for _ in 0..200 {
            a.raw.put(window.surface, buffer);
            a.raw.settle();
        }
        stop.store(true, Ordering::SeqCst);
    });
}

fn keyboards(a: &mut Attack<'_>) {
    let count = |a: &Attack<'_>| a.rig.host_stats()["vms"][super::attack::HOSTILE]["memory"]["count"].clone();
    let before = count(a);
    for _ in 0..60 {
        a.raw.keyboard();
    }
    a.raw.settle();
    assert_eq!(a.raw.told("wl_keyboard.keymap").len(), 60);
    assert_eq!(count(a), before, "one keymap is enough for a VM");
}
