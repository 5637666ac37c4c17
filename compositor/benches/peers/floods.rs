// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client that round-trips beside one that floods: heraldry and weston under the same floods.
//!
//! The two clients are of different VMs. The victim sends a sync and waits, again and again; the numbers are its round
//! trips, in microseconds. Both cores are used: the aggressor must not steal the victim's own time slice.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::subjects::{Subject, direct, weston, whole_path};
use wayland_client::protocol::{wl_callback, wl_compositor, wl_registry, wl_surface};
use wayland_client::{Connection, Dispatch, EventQueue, QueueHandle, delegate_noop};

const SPAN: Duration = Duration::from_secs(3);

/// What the aggressor does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flood {
    None,
    Commits,
    Surfaces,
    NotReading,
    Connections,
}

pub(crate) fn run(bin: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let mut subjects = vec![
        weston(dir.path()),
        direct(bin, dir.path()),
        whole_path(bin, dir.path()),
    ];
    println!("round trips of a client beside one of another VM that floods, us");
    println!(
        "{:<30} {:<26} {:>8} {:>8} {:>8} {:>8}",
        "", "flood", "p50", "p99", "worst", "p50/idle"
    );
    for subject in &subjects {
        let mut idle = 1.0;
        for flood in [
            Flood::None,
            Flood::Commits,
            Flood::Surfaces,
            Flood::NotReading,
            Flood::Connections,
        ] {
            let (p50, p99, worst) = measure(subject, flood);
            if flood == Flood::None {
                idle = p50;
            }
            println!(
                "{:<30} {:<26} {p50:>8.0} {p99:>8.0} {worst:>8.0} {:>8.1}",
                subject.name,
                format!("{flood:?}"),
                p50 / idle
            );
        }
    }
    subjects.clear();
}

fn measure(subject: &Subject, flood: Flood) -> (f64, f64, f64) {
    let stop = Arc::new(AtomicBool::new(false));
    let (path, flag) = (subject.other.clone(), Arc::clone(&stop));
    let aggressor = std::thread::spawn(move || attack(&path, flood, &flag));
    let (mut client, mut queue) = connect(&subject.socket);
    std::thread::sleep(Duration::from_millis(200));
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < SPAN {
        let sent = Instant::now();
        queue.roundtrip(&mut client).unwrap();
        times.push(sent.elapsed().as_secs_f64() * 1e6);
    }
    stop.store(true, Ordering::Relaxed);
    aggressor.join().unwrap();
    times.sort_by(f64::total_cmp);
    let at = |share: usize| {
        times
            .get((times.len() - 1) * share / 1000)
            .copied()
            .unwrap_or(0.0)
    };
    (at(500), at(990), at(1000))
}

#[derive(Default)]
struct Client {
    compositor: Option<wl_compositor::WlCompositor>,
}

fn connect(path: &Path) -> (Client, EventQueue<Client>) {
    let connection = Connection::from_socket(UnixStream::connect(path).unwrap()).unwrap();
    let mut queue = connection.new_event_queue();
    let mut client = Client::default();
    connection.display().get_registry(&queue.handle(), ());
    queue.roundtrip(&mut client).unwrap();
    (client, queue)
}

/// Floods until told to stop, or until the compositor has had enough of it.
fn attack(path: &Path, flood: Flood, stop: &AtomicBool) {
    let running = || !stop.load(Ordering::Relaxed);
    match flood {
        Flood::None => {}
        Flood::Commits => {
            let (client, mut queue) = connect(path);
            let surface = client
                .compositor
                .as_ref()
                .unwrap()
                .create_surface(&queue.handle(), ());
            let mut client = client;
            queue.roundtrip(&mut client).unwrap();
            let socket = queue.as_fd_owned();
            let id = wayland_client::Proxy::id(&surface).protocol_id();
            // damage(0, 0, 100, 100), commit
            let words = [id, 24 << 16 | 2, 0, 0, 100, 100, id, 8 << 16 | 6];
            let once: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let burst = once.repeat(512);
            let mut stream = UnixStream::from(socket);
            stream.set_nonblocking(false).unwrap();
            while running() && stream.write_all(&burst).is_ok() {}
        }
        Flood::Surfaces => {
            let (mut client, mut queue) = connect(path);
            while running() {
                for _ in 0..200 {
                    let surface = client
                        .compositor
                        .as_ref()
                        .unwrap()
                        .create_surface(&queue.handle(), ());
                    surface.destroy();
                }
                if queue.roundtrip(&mut client).is_err() {
                    return;
                }
            }
        }
        Flood::NotReading => {
            let mut stream = UnixStream::connect(path).unwrap();
            stream
                .set_write_timeout(Some(Duration::from_millis(200)))
                .unwrap();
            // wl_display.sync with ever new ids, whose answers are never read.
            let mut id = 2_u32;
            while running() {
                let mut burst = Vec::new();
                for _ in 0..200 {
                    burst.extend([1_u32, 12 << 16, id].iter().flat_map(|word| word.to_ne_bytes()));
                    id += 1;
                }
                if stream.write_all(&burst).is_err() {
                    stream = UnixStream::connect(path).unwrap();
                    stream
                        .set_write_timeout(Some(Duration::from_millis(200)))
                        .unwrap();
                    id = 2;
                }
            }
        }
        Flood::Connections => {
            while running() {
                drop(UnixStream::connect(path));
            }
        }
    }
}

/// The queue's socket, to write to it directly.
trait Socket {
    fn as_fd_owned(&self) -> std::os::fd::OwnedFd;
}

impl Socket for EventQueue<Client> {
    fn as_fd_owned(&self) -> std::os::fd::OwnedFd {
        use std::os::fd::AsFd;
        self.as_fd().try_clone_to_owned().unwrap()
    }
}

impl Dispatch<wl_registry::WlRegistry, ()> for Client {
    fn event(
        state: &mut Self,
        registry: &wl_registry::WlRegistry,
        event: wl_registry::Event,
        (): &(),
        _: &Connection,
        handle: &QueueHandle<Self>,
    ) {
        if let wl_registry::Event::Global { name, interface, .. } = event
            && interface == "wl_compositor"
        {
            state.compositor = Some(registry.bind(name, 4, handle, ()));
        }
    }
}

delegate_noop!(Client: ignore wl_callback::WlCallback);
delegate_noop!(Client: ignore wl_compositor::WlCompositor);
delegate_noop!(Client: ignore wl_surface::WlSurface);
