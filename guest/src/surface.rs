// SPDX-License-Identifier: MIT OR Apache-2.0
//! Surfaces: which lines of which buffer are to be copied when a client commits.
//!
//! Damage says where a surface's new content differs from its last. A buffer's shadow is as old as its last commit, so it also
//! lacks what was damaged in the meantime, when the client committed other buffers.

use std::rc::{Rc, Weak};

use wl_proxy::object::{ObjectCoreApi as _, ObjectUtils as _};
use wl_proxy::protocols::wayland::wl_buffer::WlBuffer;
use wl_proxy::protocols::wayland::wl_compositor::{WlCompositor, WlCompositorHandler};
use wl_proxy::protocols::wayland::wl_surface::{WlSurface, WlSurfaceHandler};

use crate::shm::{Buffer, Lines, Shadowed};

pub(crate) struct Compositor;

impl WlCompositorHandler for Compositor {
    fn handle_create_surface(&mut self, slf: &Rc<WlCompositor>, id: &Rc<WlSurface>) {
        slf.send_create_surface(id);
        id.set_handler(Surface::default());
    }
}

#[derive(Default)]
struct Surface {
    attached: Option<Rc<Buffer>>,
    damage: Lines,
    /// Damage that was told in the surface's coordinates, which may be scaled and turned.
    all: bool,
    /// The buffers that were committed here.
    committed: Vec<Weak<Buffer>>,
}

impl Surface {
    fn commit(&mut self, surface: u64) {
        let (damage, all) = (std::mem::take(&mut self.damage), std::mem::take(&mut self.all));
        let damage = if all { Lines(0, usize::MAX) } else { damage };
        self.committed.retain(|buffer| buffer.strong_count() > 0);
        for buffer in self.committed.iter().filter_map(Weak::upgrade) {
            buffer.changed(damage);
        }
        let Some(buffer) = self.attached.take() else {
            return;
        };
        if buffer.surface.replace(Some(surface)) != Some(surface) {
            // It was shown elsewhere, or nowhere: what it lacks is not known.
            buffer.changed(Lines(0, buffer.height));
            self.committed.push(Rc::downgrade(&buffer));
        }
        buffer.commit();
    }
}

impl WlSurfaceHandler for Surface {
    fn handle_attach(&mut self, slf: &Rc<WlSurface>, buffer: Option<&Rc<WlBuffer>>, x: i32, y: i32) {
        self.attached = buffer.and_then(|buffer| {
            let handler = buffer.try_get_handler_ref::<Shadowed>().ok()?;
            Some(Rc::clone(&handler.0))
        });
        slf.send_attach(buffer, x, y);
    }

    fn handle_damage(&mut self, slf: &Rc<WlSurface>, x: i32, y: i32, width: i32, height: i32) {
        self.all = true;
        slf.send_damage(x, y, width, height);
    }

    fn handle_damage_buffer(&mut self, slf: &Rc<WlSurface>, x: i32, y: i32, width: i32, height: i32) {
        let line = |value: i32| usize::try_from(value).unwrap_or(0);
        let lines = Lines(line(y), line(y.saturating_add(height)));
        self.damage = self.damage.and(lines);
        slf.send_damage_buffer(x, y, width, height);
    }

    fn handle_commit(&mut self, slf: &Rc<WlSurface>) {
        self.commit(slf.unique_id());
        slf.send_commit();
    }
}
