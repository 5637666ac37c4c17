// SPDX-License-Identifier: MIT OR Apache-2.0
//! The client that measures: globals, and an animated window of shared memory.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use wayland_client::protocol::{
    wl_buffer, wl_callback, wl_compositor, wl_region, wl_registry, wl_shm, wl_shm_pool, wl_surface,
};
use wayland_client::{Connection, Dispatch, DispatchError, EventQueue, QueueHandle, delegate_noop};
use wayland_protocols::xdg::shell::client::{xdg_surface, xdg_toplevel, xdg_wm_base};

/// What a client has bound and been told.
#[derive(Default)]
pub(crate) struct Client {
    pub(crate) compositor: Option<wl_compositor::WlCompositor>,
    pub(crate) shm: Option<wl_shm::WlShm>,
    base: Option<xdg_wm_base::XdgWmBase>,
    configured: bool,
    pub(crate) frame_done: bool,
    busy: [bool; 2],
}

/// A client with its globals bound.
pub(crate) fn connect(path: &Path) -> Result<(Client, EventQueue<Client>), DispatchError> {
    let stream = UnixStream::connect(path).map_err(|error| DispatchError::Backend(error.into()))?;
    let connection = Connection::from_socket(stream).unwrap();
    let mut queue = connection.new_event_queue();
    let mut client = Client::default();
    connection.display().get_registry(&queue.handle(), ());
    queue.roundtrip(&mut client)?;
    Ok((client, queue))
}

/// An animated window with two buffers.
pub(crate) struct Window {
    pub(crate) surface: wl_surface::WlSurface,
    pub(crate) toplevel: xdg_toplevel::XdgToplevel,
    size: (i32, i32),
    buffers: Vec<wl_buffer::WlBuffer>,
    memory: OwnedFd,
}

impl Window {
    pub(crate) fn open(client: &mut Client, queue: &mut EventQueue<Client>, dimensions: (i32, i32)) -> Self {
        let handle = queue.handle();
        (client.configured, client.busy) = (false, [false; 2]);
        let (width, height) = dimensions;
        let size = width * height * 4;
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
                    width,
                    height,
                    width * 4,
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
        let toplevel = xdg.get_toplevel(&handle, ());
        toplevel.set_title("bench".to_owned());
        surface.commit();
        while !client.configured {
            queue.blocking_dispatch(client).unwrap();
        }
        client.frame_done = true;
        Self {
            surface,
            toplevel,
            size: dimensions,
            buffers,
            memory,
        }
    }

    /// Paints, commits and waits for the frame callback.
    pub(crate) fn draw(&mut self, client: &mut Client, queue: &mut EventQueue<Client>, frame: u32) {
        while !self.try_draw(client, queue, frame) {
            queue.blocking_dispatch(client).unwrap();
        }
        queue.flush().unwrap();
    }

    /// Paints and commits if the last frame was shown and a buffer is free.
    pub(crate) fn try_draw(&mut self, client: &mut Client, queue: &EventQueue<Client>, frame: u32) -> bool {
        let Some(at) = client
            .busy
            .iter()
            .position(|busy| !busy)
            .filter(|_| client.frame_done)
        else {
            return false;
        };
        let (width, height) = self.size;
        let line = u64::try_from(width * 4).unwrap();
        let row = vec![u8::try_from(frame % 251).unwrap(); usize::try_from(line).unwrap()];
        let base = u64::try_from(at).unwrap() * line * u64::try_from(height).unwrap();
        for y in 0..u64::try_from(height).unwrap() {
            rustix::io::pwrite(&self.memory, &row, base + y * line).unwrap();
        }
        client.frame_done = false;
        *client.busy.get_mut(at).unwrap() = true;
        self.surface.frame(&queue.handle(), ());
        self.surface.attach(self.buffers.get(at), 0, 0);
        self.surface.damage_buffer(0, 0, width, height);
        self.surface.commit();
        true
    }

    /// Shows a buffer again, however busy it is.
    pub(crate) fn flood(&self) {
        self.surface.attach(self.buffers.first(), 0, 0);
        self.surface.damage_buffer(0, 0, self.size.0, self.size.1);
        self.surface.commit();
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
delegate_noop!(Client: ignore wl_region::WlRegion);
