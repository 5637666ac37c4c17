// SPDX-License-Identifier: MIT OR Apache-2.0
//! For tests with machines: a client with much of everything, and with memory of kinds that are seldom seen. Prints what works, then
//! `40 clients`, and stays until its compositor is gone. `heraldry-plenty BUFFERS [CLIENTS]`.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a program of the tests, read by them"
)]

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use heraldry_tests::client::filled;
use heraldry_tests::client::raw::Arg::{Fd, I, New, U};
use heraldry_tests::client::raw::{Raw, Value, memory};
use heraldry_tests::colour::key::{CYAN, MAGENTA, YELLOW};
use rustix::fs::{Mode, OFlags, SealFlags, fcntl_add_seals, fstat, open};

const SIZE: (i32, i32) = (64, 48);
/// wl_shm's XRGB8888.
const XRGB: u32 = 1;
const SPARSE: i32 = 512 << 20;

fn connect() -> Raw {
    let folder = std::env::var_os("XDG_RUNTIME_DIR").expect("XDG_RUNTIME_DIR");
    let name = std::env::var_os("WAYLAND_DISPLAY").expect("WAYLAND_DISPLAY");
    Raw::new(UnixStream::connect(PathBuf::from(folder).join(name)).expect("a compositor"))
}

/// As many buffers as a busy browser has, all of them alive, each shown once.
fn buffers(raw: &mut Raw, count: u32) {
    let window = raw.show(SIZE, MAGENTA);
    let all: Vec<u32> = (0..count)
        .map(|number| {
            let [red, green, ..] = number.to_be_bytes();
            raw.buffer(SIZE, [red, green, 0x80])
        })
        .collect();
    for buffer in &all {
        raw.put(window.surface, *buffer);
        raw.settle();
    }
    println!("{} buffers", all.len());
    raw.draw(window, SIZE, MAGENTA);
}

/// A pool that is nearly all holes, with a picture at its very end.
fn sparse(raw: &mut Raw) {
    let (pixels, bytes) = filled(SIZE, CYAN);
    let fd = memory(u64::try_from(SPARSE).expect("a size"));
    let at = SPARSE - bytes;
    let mut picture = vec![0; usize::try_from(bytes).expect("a size")];
    rustix::io::pread(&pixels, &mut *picture, 0).expect("pixels");
    rustix::io::pwrite(&fd, &picture, u64::try_from(at).expect("a place")).expect("memory");
    let shm = raw.global("wl_shm");
    let pool = raw.send(shm, "create_pool", &[New, Fd(fd.as_fd()), I(SPARSE)]);
    let args = [New, I(at), I(SIZE.0), I(SIZE.1), I(SIZE.0 * 4), U(XRGB)];
    let buffer = raw.send(pool, "create_buffer", &args);
    let window = raw.window();
    raw.put(window.surface, buffer);
    raw.settle();
    println!("512 MiB");
}

/// Memory that nobody may write to any more, and memory that was opened for reading.
fn read_only(raw: &mut Raw) {
    let (sealed, bytes) = filled(SIZE, YELLOW);
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    fcntl_add_seals(&sealed, seals).expect("seals");
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&sealed));
    let opened = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("memory");
    for (name, fd) in [("write-sealed", sealed), ("read-only", opened)] {
        let buffer = raw.buffer_of(&fd, bytes, SIZE, XRGB);
        let window = raw.window();
        raw.put(window.surface, buffer);
        raw.settle();
        println!("{name}");
    }
}

/// The keymap, whose size is that of a text.
fn keymap(raw: &mut Raw) {
    raw.keyboard();
    raw.settle();
    let told = raw.told("wl_keyboard.keymap");
    let event = told.first().expect("a keymap");
    let (Some(Value::Fd(place)), size) = (event.args.get(1), event.uint(2)) else {
        return;
    };
    let fd: &OwnedFd = raw.descriptors.get(*place).expect("its memory");
    let mut text = vec![7; usize::try_from(size).expect("a size")];
    let read = rustix::io::pread(fd, &mut *text, 0).expect("a keymap");
    let has = u64::try_from(fstat(fd).expect("memory").st_size).unwrap_or(0);
    let whole = read == text.len() && has >= u64::from(size);
    let good = whole && text.starts_with(b"xkb_keymap") && text.ends_with(b"\0");
    println!("keymap in whole pages {}, good {good}", size % 4096 == 0);
}

fn main() {
    let mut counts = std::env::args().skip(1).map(|count| count.parse::<u32>().ok());
    let mut count = || counts.next().flatten();
    let (count, clients) = (count().expect("how many buffers"), count().unwrap_or(40));
    let mut raw = connect();
    buffers(&mut raw, count);
    sparse(&mut raw);
    read_only(&mut raw);
    keymap(&mut raw);
    let mut all = vec![raw];
    while u32::try_from(all.len()).is_ok_and(|have| have < clients) {
        let mut raw = connect();
        raw.show(SIZE, MAGENTA);
        all.push(raw);
    }
    println!("{} clients", all.len());
    while all.iter().any(|raw| !raw.ended) {
        for raw in &mut all {
            raw.pump(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
