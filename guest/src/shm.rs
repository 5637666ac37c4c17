// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pools and buffers of a client's shared memory, and their shadows in memory of the host.
//!
//! A client's pool stays here: nothing is mapped of it, and it may grow, shrink or be mostly holes. A buffer gets room in a chunk
//! of host memory, which many buffers share: a guest can have only so many pieces of host memory mapped.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;

use heraldry_virtio::guest::{Channel, ChannelError, SharedMemory};
use tracing::warn;
use wl_proxy::object::{Object, ObjectCoreApi as _};
use wl_proxy::protocols::wayland::wl_buffer::{WlBuffer, WlBufferHandler};
use wl_proxy::protocols::wayland::wl_callback::{WlCallback, WlCallbackHandler};
use wl_proxy::protocols::wayland::wl_shm::{WlShm, WlShmFormat, WlShmHandler};
use wl_proxy::protocols::wayland::wl_shm_pool::{WlShmPool, WlShmPoolHandler};

use crate::arena::Arena;

/// The size of a chunk, unless a buffer is larger.
const CHUNK: usize = 4 << 20;
/// wl_display.error.no_memory
const NO_MEMORY: u32 = 2;
/// wl_shm.error.invalid_stride
const INVALID_STRIDE: u32 = 1;

/// Host memory, and the compositor's pool of it.
struct Chunk {
    memory: SharedMemory,
    pool: Rc<WlShmPool>,
    arena: Arena,
}

/// All chunks of a client.
pub(crate) struct Chunks {
    channel: Rc<RefCell<Channel>>,
    /// Places keep their numbers.
    chunks: Vec<Option<Chunk>>,
    /// Commits that had something to copy, and bytes that were copied.
    copied: (u64, u64),
}

/// Where a buffer's shadow is.
#[derive(Debug, Clone, Copy)]
struct Place {
    chunk: usize,
    at: usize,
    size: usize,
}

impl Chunks {
    pub(crate) const fn new(channel: Rc<RefCell<Channel>>) -> Self {
        Self {
            channel,
            chunks: Vec::new(),
            copied: (0, 0),
        }
    }

    /// Commits that had something to copy, and bytes that were copied.
    pub(crate) const fn copied(&self) -> (u64, u64) {
        self.copied
    }

    fn take(&mut self, shm: &WlShm, size: usize) -> Result<Place, ChannelError> {
        let place = |(chunk, found): (usize, &mut Option<Chunk>)| {
            let at = found.as_mut()?.arena.take(size)?;
            Some(Place { chunk, at, size })
        };
        if let Some(place) = self.chunks.iter_mut().enumerate().find_map(place) {
            return Ok(place);
        }
        let wanted = size.max(CHUNK);
        let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
        let refused = || ChannelError::Memory(wanted);
        let memory = self.channel.borrow_mut().allocate(wanted)?;
        let (Ok(bytes), Ok(whole)) = (i32::try_from(memory.size()), usize::try_from(memory.size())) else {
            return Err(refused());
        };
        let pool = shm.create_child::<WlShmPool>();
        let fd = memory.as_fd().try_clone_to_owned().map_err(|_full| refused())?;
        shm.send_create_pool(&pool, &Rc::new(fd), bytes);
        let mut arena = Arena::new(whole);
        let at = arena.take(size).ok_or_else(refused)?;
        let chunk = Some(Chunk { memory, pool, arena });
        let number = match self.chunks.iter().position(Option::is_none) {
            Some(number) => number,
            None => {
                self.chunks.push(None);
                self.chunks.len() - 1
            }
        };
        if let Some(slot) = self.chunks.get_mut(number) {
            *slot = chunk;
        }
        Ok(Place {
            chunk: number,
            at,
            size,
        })
    }

    fn give_back(&mut self, place: Place) {
        // The last empty chunk stays for the next buffer, unless it is a large one.
        let only = self.chunks.iter().flatten().count() == 1;
        let Some(slot) = self.chunks.get_mut(place.chunk) else {
            return;
        };
        if let Some(chunk) = slot {
            chunk.arena.give_back(place.at, place.size);
            let large = usize::try_from(chunk.memory.size()).is_ok_and(|size| size > CHUNK);
            if chunk.arena.is_empty() && (!only || large) {
                chunk.pool.send_destroy();
                let memory = slot.take().map(|chunk| chunk.memory);
                if let Some(memory) = memory {
                    self.channel.borrow_mut().free(memory);
                }
            }
        }
    }
}

/// A client's buffer: where its pixels are, where their shadow is, and which lines of it are old.
pub(crate) struct Buffer {
    chunks: Rc<RefCell<Chunks>>,
    file: Rc<OwnedFd>,
    offset: u64,
    stride: usize,
    /// Lines.
    pub(crate) height: usize,
    place: Place,
    stale: Cell<Lines>,
    /// The surface that all of its commits were for.
    pub(crate) surface: Cell<Option<u64>>,
    /// The compositor may look at it.
    busy: Cell<bool>,
}

/// Lines, from the first to the one after the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lines(pub(crate) usize, pub(crate) usize);

impl Lines {
    /// All that are in either, and those between.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self.0 < self.1, other.0 < other.1) {
            (false, _) => other,
            (_, false) => self,
            _ => Self(self.0.min(other.0), self.1.max(other.1)),
        }
    }
}

impl Buffer {
    /// These lines of the client's pixels are others now.
    pub(crate) fn changed(&self, lines: Lines) {
        self.stale.set(self.stale.get().and(lines));
    }

    /// The compositor is about to look at it: brings the shadow up to date.
    pub(crate) fn commit(&self) {
        self.busy.set(true);
        let Lines(first, end) = self.stale.take();
        let end = end.min(self.height);
        let Some(lines) = end.checked_sub(first).filter(|lines| *lines > 0) else {
            return;
        };
        let mut chunks = self.chunks.borrow_mut();
        let Some(Some(chunk)) = chunks.chunks.get_mut(self.place.chunk) else {
            return;
        };
        let (from, len) = (
            first.saturating_mul(self.stride),
            lines.saturating_mul(self.stride),
        );
        // The last line may be shorter than the others.
        let len = len.min(self.place.size.saturating_sub(from));
        let offset = self
            .offset
            .saturating_add(u64::try_from(from).unwrap_or(u64::MAX));
        match chunk
            .memory
            .copy_from(self.place.at.saturating_add(from), len, self.file.as_fd(), offset)
        {
            Ok(count) => {
                let (commits, bytes) = chunks.copied;
                let count = u64::try_from(count).unwrap_or(0);
                chunks.copied = (commits.saturating_add(1), bytes.saturating_add(count));
            }
            Err(errno) => warn!(%errno, "a client's pixels cannot be read"),
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.chunks.borrow_mut().give_back(self.place);
    }
}

pub(crate) struct Shm(pub(crate) Rc<RefCell<Chunks>>);

impl WlShmHandler for Shm {
    fn handle_create_pool(&mut self, slf: &Rc<WlShm>, id: &Rc<WlShmPool>, fd: &Rc<OwnedFd>, _size: i32) {
        id.set_handler(Pool {
            shm: Rc::clone(slf),
            chunks: Rc::clone(&self.0),
            file: Rc::clone(fd),
        });
    }
}

struct Pool {
    shm: Rc<WlShm>,
    chunks: Rc<RefCell<Chunks>>,
    file: Rc<OwnedFd>,
}

/// Where a buffer begins, how long a line is, how many there are, and how many bytes that is; nothing if that can't be.
fn layout(offset: i32, width: i32, height: i32, stride: i32) -> Option<(u64, usize, usize, usize)> {
    let positive = |value: i32| usize::try_from(value).ok().filter(|value| *value > 0);
    let (width, height, stride) = (positive(width)?, positive(height)?, positive(stride)?);
    let size = stride.checked_mul(height).filter(|_| width <= stride)?;
    Some((u64::try_from(offset).ok()?, stride, height, size))
}

impl WlShmPoolHandler for Pool {
    fn handle_create_buffer(
        &mut self,
        slf: &Rc<WlShmPool>,
        id: &Rc<WlBuffer>,
        offset: i32,
        width: i32,
        height: i32,
        stride: i32,
        format: WlShmFormat,
    ) {
        let Some((offset, line, lines, size)) = layout(offset, width, height, stride) else {
            fail(slf, INVALID_STRIDE, "the buffer has no such size");
            return;
        };
        let taken = self.chunks.borrow_mut().take(&self.shm, size);
        let place = match taken {
            Ok(place) => place,
            Err(error) => {
                warn!(%error, "a client's buffer has no room");
                fail(slf, NO_MEMORY, "the host has no memory for the buffer");
                return;
            }
        };
        if let Some(Some(chunk)) = self.chunks.borrow().chunks.get(place.chunk) {
            let at = i32::try_from(place.at).unwrap_or(i32::MAX);
            chunk
                .pool
                .send_create_buffer(id, at, width, height, stride, format);
        }
        let buffer = Buffer {
            chunks: Rc::clone(&self.chunks),
            file: Rc::clone(&self.file),
            offset,
            stride: line,
            height: lines,
            place,
            stale: Cell::new(Lines(0, lines)),
            surface: Cell::new(None),
            busy: Cell::new(false),
        };
        id.set_handler(Shadowed(Rc::new(buffer)));
    }

    fn handle_resize(&mut self, _slf: &Rc<WlShmPool>, _size: i32) {
        // The file is read where buffers are.
    }

    fn handle_destroy(&mut self, slf: &Rc<WlShmPool>) {
        // The compositor never heard of it.
        slf.delete_id();
    }
}

/// Tells the client what is wrong, after which it is over.
fn fail(object: &Rc<WlShmPool>, code: u32, why: &str) {
    if let Some(client) = object.client() {
        let told: Rc<dyn Object> = object.clone();
        client.display().send_error(told, code, why);
    }
}

/// The handler of a buffer.
pub(crate) struct Shadowed(pub(crate) Rc<Buffer>);

impl WlBufferHandler for Shadowed {
    fn handle_release(&mut self, slf: &Rc<WlBuffer>) {
        self.0.busy.set(false);
        slf.send_release();
    }

    fn handle_destroy(&mut self, slf: &Rc<WlBuffer>) {
        slf.send_destroy();
        if self.0.busy.get() {
            // Its place is another's only when the compositor has seen that it is gone.
            let seen = slf.create_child::<WlCallback>();
            slf.state().display().send_sync(&seen);
            seen.set_handler(Seen {
                _buffer: Rc::clone(&self.0),
            });
        }
        slf.unset_handler();
    }
}

/// Keeps a buffer until the compositor has answered.
struct Seen {
    _buffer: Rc<Buffer>,
}

impl WlCallbackHandler for Seen {
    fn handle_done(&mut self, slf: &Rc<WlCallback>, _data: u32) {
        slf.unset_handler();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_that_cannot_be_are_none() {
        assert_eq!(layout(8, 10, 20, 40), Some((8, 40, 20, 800)));
        for (offset, width, height, stride) in [
            (-1, 10, 20, 40),
            (0, 0, 20, 40),
            (0, 10, -20, 40),
            (0, 10, 20, 9),
            (0, 10, 20, i32::MIN),
        ] {
            assert_eq!(layout(offset, width, height, stride), None);
        }
    }

    #[test]
    fn lines_are_put_together() {
        assert_eq!(Lines(2, 4).and(Lines(7, 9)), Lines(2, 9));
        assert_eq!(Lines(2, 4).and(Lines(9, 7)), Lines(2, 4));
        assert_eq!(Lines::default().and(Lines(3, 5)), Lines(3, 5));
    }
}
