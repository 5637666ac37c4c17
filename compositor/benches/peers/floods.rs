// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client that works beside one that floods: heraldry, weston and sway under the same floods.
//!
//! The two clients are of different VMs. The victim animates a window and sends syncs, again and again; the numbers are its
//! round trips, and its frames per second as a share of those without a flood. Both cores are used: the aggressor must not
//! steal the victim's own time slice.

use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::client::{Client, Window, connect};
use crate::subjects::{DIRECT, Subject, WHOLE_PATH, direct, sway, weston, whole_path};
use wayland_client::EventQueue;

const SPAN: Duration = Duration::from_secs(3);

/// What the aggressor does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flood {
    None,
    /// Syncs without end.
    Messages,
    /// A window of 640x480, all of it new, as fast as it goes.
    Commits,
    /// A surface without content, damaged and committed.
    EmptyCommits,
    Surfaces,
    /// 28 descriptors with every message, which no request takes.
    Descriptors,
    /// Titles of 4000 bytes.
    LongMessages,
    NotReading,
    Connections,
}

const FLOODS: [Flood; 9] = [
    Flood::None,
    Flood::Messages,
    Flood::Commits,
    Flood::EmptyCommits,
    Flood::Surfaces,
    Flood::Descriptors,
    Flood::LongMessages,
    Flood::NotReading,
    Flood::Connections,
];

struct Figures {
    p50: f64,
    p99: f64,
    worst: f64,
    frames: f64,
}

pub(crate) fn run(bin: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let mut subjects = vec![weston(dir.path())];
    subjects.extend(sway(dir.path()));
    subjects.extend([
        direct(DIRECT, bin, dir.path()),
        whole_path(WHOLE_PATH, bin, dir.path()),
    ]);
    println!(
        "a client beside one of another VM that floods: round trips in us, frames as a share of those without"
    );
    println!(
        "{:<30} {:<14} {:>8} {:>8} {:>8} {:>9} {:>9} {:>7}",
        "", "flood", "p50", "p99", "worst", "p50/idle", "frames/s", "share"
    );
    for subject in &subjects {
        let mut idle = (1.0, 1.0);
        for flood in FLOODS {
            let m = measure(subject, flood);
            if flood == Flood::None {
                idle = (m.p50, m.frames);
            }
            println!(
                "{:<30} {:<14} {:>8.0} {:>8.0} {:>8.0} {:>9.1} {:>9.1} {:>6.0}%",
                subject.name,
                format!("{flood:?}"),
                m.p50,
                m.p99,
                m.worst,
                m.p50 / idle.0,
                m.frames,
                100.0 * m.frames / idle.1
            );
        }
    }
    subjects.clear();
}

fn measure(subject: &Subject, flood: Flood) -> Figures {
    let stop = Arc::new(AtomicBool::new(false));
    let (path, flag) = (subject.other.clone(), Arc::clone(&stop));
    let (mut client, mut queue) = connect(&subject.socket).unwrap();
    let mut window = Window::open(&mut client, &mut queue, (320, 240));
    let mut frames = 0_u32;
    window.draw(&mut client, &mut queue, frames);
    let aggressor = std::thread::spawn(move || {
        while !flag.load(Ordering::Relaxed) {
            // An aggressor that was ended comes again.
            attack(&path, flood, &flag);
        }
    });
    std::thread::sleep(Duration::from_millis(200));
    let mut times = Vec::new();
    frames = 0;
    let start = Instant::now();
    while start.elapsed() < SPAN {
        frames += u32::from(window.try_draw(&mut client, &queue, frames));
        let sent = Instant::now();
        queue.roundtrip(&mut client).unwrap();
        times.push(sent.elapsed().as_secs_f64() * 1e6);
    }
    let elapsed = start.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    aggressor.join().unwrap();
    times.sort_by(f64::total_cmp);
    let at = |share: usize| {
        times
            .get((times.len() - 1) * share / 1000)
            .copied()
            .unwrap_or(0.0)
    };
    Figures {
        p50: at(500),
        p99: at(990),
        worst: at(1000),
        frames: f64::from(frames) / elapsed,
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn impatient(path: &Path) -> Option<UnixStream> {
    let stream = UnixStream::connect(path).ok()?;
    stream.set_write_timeout(Some(Duration::from_millis(200))).ok()?;
    Some(stream)
}

/// Floods until told to stop, or until the compositor has had enough of it.
fn attack(path: &Path, flood: Flood, stop: &AtomicBool) {
    match flood {
        Flood::None => std::thread::sleep(Duration::from_millis(10)),
        Flood::Messages => typed(path, stop, 500, |client, queue, _| {
            if let Some(compositor) = &client.compositor {
                compositor.create_region(&queue.handle(), ()).destroy();
            }
        }),
        Flood::Surfaces => typed(path, stop, 200, |client, queue, _| {
            if let Some(compositor) = &client.compositor {
                compositor.create_surface(&queue.handle(), ()).destroy();
            }
        }),
        Flood::Commits => typed(path, stop, 50, |_, _, window| window.flood()),
        Flood::LongMessages => {
            let title = "x".repeat(4000);
            typed(path, stop, 20, |_, _, window| {
                window.toplevel.set_title(title.clone())
            });
        }
        Flood::EmptyCommits => empty_commits(path, stop),
        Flood::Descriptors => descriptors(path, stop),
        Flood::NotReading => not_reading(path, stop),
        Flood::Connections => {
            while !stop.load(Ordering::Relaxed) {
                drop(UnixStream::connect(path));
            }
        }
    }
}

/// A client with a window that does something so many times between two round trips.
fn typed(path: &Path, stop: &AtomicBool, times: usize, once: impl Fn(&Client, &EventQueue<Client>, &Window)) {
    let Ok((mut client, mut queue)) = connect(path) else {
        return;
    };
    let window = Window::open(&mut client, &mut queue, (640, 480));
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..times {
            once(&client, &queue, &window);
        }
        if queue.roundtrip(&mut client).is_err() {
            return;
        }
    }
}

/// Damage and commits of a surface without content, written without a pause.
fn empty_commits(path: &Path, stop: &AtomicBool) {
    let Ok((mut client, mut queue)) = connect(path) else {
        return;
    };
    let Some(compositor) = &client.compositor else {
        return;
    };
    let surface = compositor.create_surface(&queue.handle(), ());
    if queue.roundtrip(&mut client).is_err() {
        return;
    }
    let id = wayland_client::Proxy::id(&surface).protocol_id();
    // damage(0, 0, 100, 100), commit
    let burst = words(&[id, 24 << 16 | 2, 0, 0, 100, 100, id, 8 << 16 | 6]).repeat(512);
    let Ok(socket) = queue.as_fd().try_clone_to_owned() else {
        return;
    };
    let mut stream = UnixStream::from(socket);
    let blocking = stream.set_nonblocking(false);
    let limited = stream.set_write_timeout(Some(Duration::from_millis(200)));
    if blocking.is_err() || limited.is_err() {
        return;
    }
    while !stop.load(Ordering::Relaxed) && stream.write_all(&burst).is_ok() {}
}

/// wl_display.sync with ever new ids, whose answers are never read.
fn not_reading(path: &Path, stop: &AtomicBool) {
    let Some(mut stream) = impatient(path) else { return };
    let mut id = 2_u32;
    while !stop.load(Ordering::Relaxed) {
        let burst: Vec<u8> = (0..200).flat_map(|n| words(&[1, 12 << 16, id + n])).collect();
        id += 200;
        if stream.write_all(&burst).is_err() {
            return;
        }
    }
}

/// Syncs with 28 descriptors each.
fn descriptors(path: &Path, stop: &AtomicBool) {
    let Some(stream) = impatient(path) else { return };
    let Ok(memory) = rustix::fs::memfd_create("bench", rustix::fs::MemfdFlags::CLOEXEC) else {
        return;
    };
    let many = [memory.as_fd(); 28];
    let mut id = 2_u32;
    while !stop.load(Ordering::Relaxed) {
        let message = words(&[1, 12 << 16, id]);
        id += 1;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(28))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&many));
        let sent = sendmsg(
            &stream,
            &[IoSlice::new(&message)],
            &mut control,
            SendFlags::NOSIGNAL,
        );
        if sent.is_err() {
            return;
        }
    }
}
