// SPDX-License-Identifier: MIT OR Apache-2.0
//! Windows, popups, buffers: what most tests begin with.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};

use super::Arg::{Fd, I, New, S, U};
use super::Raw;
use crate::client::filled;
use crate::colour::Colour;

/// A window's objects.
#[derive(Debug, Clone, Copy)]
pub struct RawWindow {
    /// `wl_surface`.
    pub surface: u32,
    /// `xdg_surface`.
    pub xdg: u32,
    /// `xdg_toplevel`.
    pub toplevel: u32,
}

/// A popup's objects.
#[derive(Debug, Clone, Copy)]
pub struct RawPopup {
    /// `wl_surface`.
    pub surface: u32,
    /// `xdg_surface`.
    pub xdg: u32,
    /// `xdg_popup`.
    pub popup: u32,
}

/// Memory that can be sealed.
///
/// # Panics
///
/// There is none.
#[must_use]
pub fn memory(size: u64) -> OwnedFd {
    let fd = memfd_create("hostile", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("memory");
    ftruncate(&fd, size).expect("memory");
    fd
}

/// A pipe: its reading and its writing end.
///
/// # Panics
///
/// There is none.
#[must_use]
pub fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC).expect("a pipe")
}

impl Raw {
    /// A surface.
    pub fn surface(&mut self) -> u32 {
        let compositor = self.global("wl_compositor");
        self.send(compositor, "create_surface", &[New])
    }

    /// A region.
    pub fn region(&mut self) -> u32 {
        let compositor = self.global("wl_compositor");
        self.send(compositor, "create_region", &[New])
    }

    /// A subsurface object for `child`.
    pub fn subsurface(&mut self, child: u32, parent: u32) -> u32 {
        let sub = self.global("wl_subcompositor");
        self.send(sub, "get_subsurface", &[New, U(child), U(parent)])
    }

    /// A pool that claims a size, of memory that has one.
    pub fn pool(&mut self, has: u64, claims: i32) -> u32 {
        let shm = self.global("wl_shm");
        let fd = memory(has);
        self.send(shm, "create_pool", &[New, Fd(fd.as_fd()), I(claims)])
    }

    /// A buffer of one colour.
    pub fn buffer(&mut self, size: (i32, i32), colour: Colour) -> u32 {
        let (fd, bytes) = filled(size, colour);
        self.buffer_of(&fd, bytes, size, 1)
    }

    /// A buffer that one can see through.
    pub fn clear(&mut self, size: (i32, i32)) -> u32 {
        let bytes = size.0 * size.1 * 4;
        let fd = memory(u64::try_from(bytes).expect("a size"));
        self.buffer_of(&fd, bytes, size, 0)
    }

    /// A buffer at the start of this memory, in a format of `wl_shm`.
    pub fn buffer_of(&mut self, fd: &OwnedFd, bytes: i32, size: (i32, i32), format: u32) -> u32 {
        let shm = self.global("wl_shm");
        let pool = self.send(shm, "create_pool", &[New, Fd(fd.as_fd()), I(bytes)]);
        let args = [New, I(0), I(size.0), I(size.1), I(size.0 * 4), U(format)];
        let buffer = self.send(pool, "create_buffer", &args);
        self.send(pool, "destroy", &[]);
        buffer
    }

    /// Shows a buffer on a surface.
    pub fn put(&mut self, surface: u32, buffer: u32) {
        self.send(surface, "attach", &[U(buffer), I(0), I(0)]);
        self.send(surface, "damage_buffer", &[I(0), I(0), I(i32::MAX), I(i32::MAX)]);
        self.send(surface, "commit", &[]);
    }

    /// A window without content.
    #[track_caller]
    pub fn window(&mut self) -> RawWindow {
        let surface = self.surface();
        let base = self.global("xdg_wm_base");
        let xdg = self.send(base, "get_xdg_surface", &[New, U(surface)]);
        let toplevel = self.send(xdg, "get_toplevel", &[New]);
        self.send(toplevel, "set_title", &[S("raw")]);
        self.send(surface, "commit", &[]);
        self.settle();
        self.ack(xdg);
        RawWindow {
            surface,
            xdg,
            toplevel,
        }
    }

    /// A window of one colour.
    #[track_caller]
    pub fn show(&mut self, size: (i32, i32), colour: Colour) -> RawWindow {
        let window = self.window();
        self.draw(window, size, colour);
        window
    }

    /// Draws a window again.
    #[track_caller]
    pub fn draw(&mut self, window: RawWindow, size: (i32, i32), colour: Colour) {
        self.ack(window.xdg);
        let buffer = self.buffer(size, colour);
        self.put(window.surface, buffer);
        self.settle();
    }

    /// The serial of the newest configure of an `xdg_surface`, 0 if there was none.
    #[must_use]
    pub fn configured(&self, xdg: u32) -> u32 {
        let configures = self.told("xdg_surface.configure");
        let last = configures.iter().rev().find(|event| event.object == xdg);
        last.map_or(0, |event| event.uint(0))
    }

    /// Acknowledges the newest configure, once.
    pub fn ack(&mut self, xdg: u32) {
        let serial = self.configured(xdg);
        if serial != 0 && self.acknowledged.insert(xdg, serial) != Some(serial) {
            self.send(xdg, "ack_configure", &[U(serial)]);
        }
    }

    /// A popup without content: its size, and its offset from the corner of its parent.
    #[track_caller]
    pub fn popup(&mut self, parent_xdg: u32, at: (i32, i32), size: (i32, i32)) -> RawPopup {
        let surface = self.surface();
        let base = self.global("xdg_wm_base");
        let positioner = self.send(base, "create_positioner", &[New]);
        self.send(positioner, "set_size", &[I(size.0), I(size.1)]);
        self.send(positioner, "set_anchor_rect", &[I(0), I(0), I(1), I(1)]);
        // The corner at the upper left of the anchor, growing to the lower right.
        self.send(positioner, "set_anchor", &[U(5)]);
        self.send(positioner, "set_gravity", &[U(8)]);
        self.send(positioner, "set_offset", &[I(at.0), I(at.1)]);
        let xdg = self.send(base, "get_xdg_surface", &[New, U(surface)]);
        let popup = self.send(xdg, "get_popup", &[New, U(parent_xdg), U(positioner)]);
        self.send(positioner, "destroy", &[]);
        RawPopup { surface, xdg, popup }
    }

    /// Shows a popup.
    #[track_caller]
    pub fn show_popup(&mut self, popup: RawPopup, size: (i32, i32), colour: Colour) {
        self.send(popup.surface, "commit", &[]);
        self.settle();
        self.ack(popup.xdg);
        let buffer = self.buffer(size, colour);
        self.put(popup.surface, buffer);
        self.settle();
    }

    /// The seat's pointer.
    pub fn pointer(&mut self) -> u32 {
        let seat = self.global("wl_seat");
        self.send(seat, "get_pointer", &[New])
    }

    /// The seat's keyboard.
    pub fn keyboard(&mut self) -> u32 {
        let seat = self.global("wl_seat");
        self.send(seat, "get_keyboard", &[New])
    }

    /// The seat's clipboard.
    pub fn data_device(&mut self) -> u32 {
        let seat = self.global("wl_seat");
        let manager = self.global("wl_data_device_manager");
        self.send(manager, "get_data_device", &[New, U(seat)])
    }

    /// The seat's primary selection.
    pub fn primary_device(&mut self) -> u32 {
        let seat = self.global("wl_seat");
        let manager = self.global("zwp_primary_selection_device_manager_v1");
        self.send(manager, "get_device", &[New, U(seat)])
    }

    /// A source for the clipboard.
    pub fn source(&mut self, mime: &str) -> u32 {
        let manager = self.global("wl_data_device_manager");
        let source = self.send(manager, "create_data_source", &[New]);
        self.send(source, "offer", &[S(mime)]);
        source
    }

    /// The serial of the newest key or button press, 0 if there was none.
    #[must_use]
    pub fn pressed(&self) -> u32 {
        let press = |name: &str, index: usize| {
            let events = self.told(name);
            let last = events.iter().rev().find(|event| event.uint(index) == 1);
            last.map_or(0, |event| event.uint(0))
        };
        press("wl_keyboard.key", 3).max(press("wl_pointer.button", 3))
    }
}
