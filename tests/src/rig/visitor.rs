// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client of the real path, which waits for its answers.

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_protocols::xdg::shell::client::xdg_surface::XdgSurface;
use wayland_protocols::xdg::shell::client::xdg_toplevel::XdgToplevel;

use super::PATIENCE;
use crate::client::{Client, Name, Seen, buffer};
use crate::colour::Colour;

/// A client that waits for its answers.
#[derive(Debug)]
pub struct Visitor {
    client: Client,
    number: u32,
    buffers: VecDeque<WlBuffer>,
}

/// A window of a visitor.
#[derive(Debug)]
pub struct VisitorWindow {
    name: Name,
    /// Its surface.
    pub surface: WlSurface,
    xdg: XdgSurface,
    /// The toplevel.
    pub toplevel: XdgToplevel,
}

impl Visitor {
    /// A client with its globals bound.
    ///
    /// # Errors
    ///
    /// The connection ended before it had an answer; why.
    pub fn new(stream: UnixStream) -> Result<Self, String> {
        let mut visitor = Self::bare(stream);
        visitor.roundtrip()?;
        visitor.client.bind_all();
        visitor.roundtrip()?;
        Ok(visitor)
    }

    /// A client that has only asked for the registry.
    #[must_use]
    pub fn bare(stream: UnixStream) -> Self {
        let name = "visitor".parse().expect("a name");
        Self {
            client: Client::new(name, stream),
            number: 0,
            buffers: VecDeque::new(),
        }
    }

    /// What it was told.
    pub fn seen(&mut self) -> &mut Seen {
        &mut self.client.seen
    }

    /// The client itself.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Waits for the answer to everything that it has sent.
    ///
    /// # Errors
    ///
    /// The connection ended; why.
    ///
    /// # Panics
    ///
    /// It takes too long.
    pub fn roundtrip(&mut self) -> Result<(), String> {
        let number = self.client.sync();
        self.wait("a round trip", |client| client.seen.synced >= number)
    }

    /// Waits until `done`.
    ///
    /// # Errors
    ///
    /// The connection ended; why.
    ///
    /// # Panics
    ///
    /// It takes too long.
    pub fn wait(&mut self, what: &str, done: impl Fn(&Client) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.client.pump();
            if done(&self.client) {
                return Ok(());
            }
            if let Some(why) = &self.client.ended {
                return Err(why.clone());
            }
            assert!(Instant::now() < deadline, "a client waited in vain for {what}");
            let backend = self.client.connection.backend();
            let fd = backend.poll_fd();
            let limit = Timespec {
                tv_sec: 0,
                tv_nsec: 100_000_000,
            };
            // Interrupted is as good as nothing to read.
            let _ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit));
        }
    }

    /// Sends and reads what goes without waiting.
    pub fn push(&mut self) {
        self.client.pump();
    }

    /// Waits for the end of the connection; why it ended.
    pub fn end(&mut self) -> String {
        match self.wait("the end of its connection", |_| false) {
            Ok(()) => String::new(),
            Err(why) => why,
        }
    }

    /// Shows a window of one colour.
    ///
    /// # Errors
    ///
    /// The connection ended; why.
    pub fn show(&mut self, size: (i32, i32), colour: Colour) -> Result<VisitorWindow, String> {
        self.number += 1;
        let name = Name(format!("w{}", self.number));
        let handle = self.client.handle();
        let bound = self.client.bound();
        let surface = bound.compositor.create_surface(&handle, ());
        let xdg = bound.wm_base.get_xdg_surface(&surface, &handle, name.clone());
        let toplevel = xdg.get_toplevel(&handle, name.clone());
        toplevel.set_title("visitor".to_owned());
        surface.commit();
        self.client.seen.name(&surface, &name);
        let window = VisitorWindow {
            name,
            surface,
            xdg,
            toplevel,
        };
        self.roundtrip()?;
        self.draw(&window, size, colour)?;
        Ok(window)
    }

    /// Draws a window again.
    ///
    /// # Errors
    ///
    /// The connection ended; why.
    pub fn draw(&mut self, window: &VisitorWindow, size: (i32, i32), colour: Colour) -> Result<(), String> {
        if let Some(serial) = self.client.seen.take_serial(&window.name) {
            window.xdg.ack_configure(serial);
        }
        let buffer = buffer(&self.client.bound().shm, &self.client.handle(), size, colour);
        window.surface.attach(Some(&buffer), 0, 0);
        window.surface.damage_buffer(0, 0, size.0, size.1);
        window.surface.commit();
        self.buffers.push_back(buffer);
        // The last ones may still be shown.
        if self.buffers.len() > 16 {
            self.buffers
                .pop_front()
                .into_iter()
                .for_each(|buffer| buffer.destroy());
        }
        self.roundtrip()
    }
}
