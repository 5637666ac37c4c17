// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sync round trip and the compositor's CPU time per frame of an animated 1200x680 window.
//!
//! Everything runs on one core, because waking another core costs more than all of the work measured. Rounds are
//! interleaved and the median counts.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::subjects::{Subject, cpu, direct, pin, weston, whole_path};
use wayland_client::protocol::{
    wl_buffer, wl_callback, wl_compositor, wl_registry, wl_shm, wl_shm_pool, wl_surface,
};
use wayland_client::{Connection, Dispatch, EventQueue, QueueHandle, delegate_noop};
use wayland_protocols::xdg::shell::client::{xdg_surface, xdg_toplevel, xdg_wm_base};

const WIDTH: i32 = 1200;
const HEIGHT: i32 = 680;
const SYNCS: usize = 3000;
const FRAMES: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;

pub(crate) fn run(bin: &Path) {
    let dir = tempfile::tempdir().unwrap();
    pin();
    let mut subjects = vec![
        weston(dir.path()),
        direct(bin, dir.path()),
        whole_path(bin, dir.path()),
    ];
    let mut results: Vec<Vec<Round>> = subjects.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (subject, rounds) in subjects.iter().zip(&mut results) {
            rounds.push(measure(subject));
        }
    }
    println!("one core, median of {ROUNDS} interleaved rounds; CPU of all processes but the client");
    println!(
        "{:<34} {:>12} {:>8} {:>14} {:>8} {:>8}",
        "", "sync p50 us", "ratio", "CPU/frame us", "ratio", "frames/s"
    );
    let base = median(results.first().unwrap());
    for (subject, rounds) in subjects.iter().zip(&results) {
        let m = median(rounds);
        println!(
            "{:<34} {:>12.1} {:>8.2} {:>14.0} {:>8.2} {:>8.0}",
            subject.name,
            m.sync,
            m.sync / base.sync,
            m.cpu,
            m.cpu / base.cpu,
            m.rate
        );
        for (name, cpu) in subject.names.iter().zip(&m.parts) {
            println!("    of which {name:<21} {:>12} {:>8} {cpu:>14.0}", "", "");
        }
    }
    subjects.clear();
}

/// One measurement of one subject.
#[derive(Clone, Default)]
struct Round {
    sync: f64,
    cpu: f64,
    parts: Vec<f64>,
    rate: f64,
}

fn median(rounds: &[Round]) -> Round {
    let middle = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    };
    let parts = rounds.first().map_or(0, |round| round.parts.len());
    Round {
        sync: middle(rounds.iter().map(|round| round.sync).collect()),
        cpu: middle(rounds.iter().map(|round| round.cpu).collect()),
        parts: (0..parts)
            .map(|at| {
                middle(
                    rounds
                        .iter()
                        .filter_map(|round| round.parts.get(at).copied())
                        .collect(),
                )
            })
            .collect(),
        rate: middle(rounds.iter().map(|round| round.rate).collect()),
    }
}

fn measure(subject: &Subject) -> Round {
    let connection = Connection::from_socket(UnixStream::connect(&subject.socket).unwrap()).unwrap();
    let mut queue = connection.new_event_queue();
    let handle = queue.handle();
    let mut client = Client::default();
    connection.display().get_registry(&handle, ());
    queue.roundtrip(&mut client).unwrap();
    let mut times: Vec<f64> = (0..SYNCS)
        .map(|_| {
            let start = Instant::now();
            queue.roundtrip(&mut client).unwrap();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let sync = times.get(SYNCS / 2).copied().unwrap_or(0.0);

    let mut window = Window::open(&mut client, &mut queue);
    let before: Vec<u64> = subject.children.iter().map(|child| cpu(child.id())).collect();
    let start = Instant::now();
    let mut frames = 0_u32;
    while start.elapsed() < FRAMES {
        window.draw(&mut client, &mut queue, frames);
        frames += 1;
    }
    let elapsed = start.elapsed().as_secs_f64();
    let parts: Vec<f64> = subject
        .children
        .iter()
        .zip(before)
        .map(|(child, before)| (cpu(child.id()) - before) as f64 / 1e3 / f64::from(frames))
        .collect();
    let total = parts.iter().sum();
    Round {
        sync,
        cpu: total,
        parts: if parts.len() > 1 { parts } else { vec![] },
        rate: f64::from(frames) / elapsed,
    }
}

#[derive(Default)]
struct Client {
    compositor: Option<wl_compositor::WlCompositor>,
    shm: Option<wl_shm::WlShm>,
    base: Option<xdg_wm_base::XdgWmBase>,
    configured: bool,
    frame_done: bool,
    busy: [bool; 2],
}

/// An animated window with two buffers.
struct Window {
    surface: wl_surface::WlSurface,
    buffers: Vec<wl_buffer::WlBuffer>,
    memory: OwnedFd,
}

impl Window {
    fn open(client: &mut Client, queue: &mut EventQueue<Client>) -> Self {
        let handle = queue.handle();
        let size = WIDTH * HEIGHT * 4;
        let memory = rustix::fs::memfd_create(
            "bench",
            rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING,
        )
        .unwrap();
        rustix::fs::ftruncate(&memory, u64::try_from(2 * size).unwrap()).unwrap();
        let pool = client
            .shm
            .as_ref()
            .unwrap()
            .create_pool(memory.as_fd(), 2 * size, &handle, ());
        let buffers = (0..2)
            .map(|at| {
                let format = wl_shm::Format::Xrgb8888;
                pool.create_buffer(
                    at * size,
                    WIDTH,
                    HEIGHT,
                    WIDTH * 4,
                    format,
                    &handle,
                    usize::try_from(at).unwrap(),
                )
            })
            .collect();
        let surface = client.compositor.as_ref().unwrap().create_surface(&handle, ());
        let xdg = client
            .base
            .as_ref()
            .unwrap()
            .get_xdg_surface(&surface, &handle, ());
        xdg.get_toplevel(&handle, ()).set_title("bench".to_owned());
        surface.commit();
        while !client.configured {
            queue.blocking_dispatch(client).unwrap();
        }
        client.frame_done = true;
        Self {
            surface,
            buffers,
            memory,
        }
    }

    /// Paints, commits and waits for the frame callback.
    fn draw(&mut self, client: &mut Client, queue: &mut EventQueue<Client>, frame: u32) {
        let at = loop {
            match client.busy.iter().position(|busy| !busy) {
                Some(at) if client.frame_done => break at,
                _ => queue.blocking_dispatch(client).map(drop).unwrap(),
            }
        };
        let row = vec![u8::try_from(frame % 251).unwrap(); usize::try_from(WIDTH * 4).unwrap()];
        let base = u64::try_from(at).unwrap() * u64::try_from(WIDTH * HEIGHT * 4).unwrap();
        for y in 0..u64::try_from(HEIGHT).unwrap() {
            rustix::io::pwrite(&self.memory, &row, base + y * u64::try_from(WIDTH * 4).unwrap()).unwrap();
        }
        client.frame_done = false;
        *client.busy.get_mut(at).unwrap() = true;
        self.surface.frame(&queue.handle(), ());
        self.surface.attach(self.buffers.get(at), 0, 0);
        self.surface.damage_buffer(0, 0, WIDTH, HEIGHT);
        self.surface.commit();
        queue.flush().unwrap();
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
        if let wl_registry::Event::Global { name, interface, .. } = event {
            match interface.as_str() {
                "wl_compositor" => state.compositor = Some(registry.bind(name, 4, handle, ())),
                "wl_shm" => state.shm = Some(registry.bind(name, 1, handle, ())),
                "xdg_wm_base" => state.base = Some(registry.bind(name, 1, handle, ())),
                _ => {}
            }
        }
    }
}

impl Dispatch<wl_callback::WlCallback, ()> for Client {
    fn event(
        state: &mut Self,
        _: &wl_callback::WlCallback,
        _: wl_callback::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        state.frame_done = true;
    }
}

impl Dispatch<wl_buffer::WlBuffer, usize> for Client {
    fn event(
        state: &mut Self,
        _: &wl_buffer::WlBuffer,
        _: wl_buffer::Event,
        at: &usize,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let Some(busy) = state.busy.get_mut(*at) {
            *busy = false;
        }
    }
}

impl Dispatch<xdg_surface::XdgSurface, ()> for Client {
    fn event(
        state: &mut Self,
        surface: &xdg_surface::XdgSurface,
        event: xdg_surface::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_surface::Event::Configure { serial } = event {
            surface.ack_configure(serial);
            state.configured = true;
        }
    }
}

impl Dispatch<xdg_wm_base::XdgWmBase, ()> for Client {
    fn event(
        _: &mut Self,
        base: &xdg_wm_base::XdgWmBase,
        event: xdg_wm_base::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_wm_base::Event::Ping { serial } = event {
            base.pong(serial);
        }
    }
}

delegate_noop!(Client: ignore wl_compositor::WlCompositor);
delegate_noop!(Client: ignore wl_shm::WlShm);
delegate_noop!(Client: ignore wl_shm_pool::WlShmPool);
delegate_noop!(Client: ignore wl_surface::WlSurface);
delegate_noop!(Client: ignore xdg_toplevel::XdgToplevel);
