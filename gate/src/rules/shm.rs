// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared memory: pools whose memory is really there, and buffers that lie within it.
//!
//! Memory that comes over virtio_wl has a fixed size. A client that grows its pool (ftruncate, then `resize`) grows only
//! its own side. Such a pool stays at its old size for the compositor, and is *short*. A buffer in the part that is not
//! there becomes a *placeholder* of one pixel: clients make such buffers for cursor themes, whose pictures are never
//! shown. A window that shows one ends its client with an error that says why.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};

use wayland_server::protocol::{wl_buffer, wl_shm, wl_shm_pool};

use crate::budget::{Account, Budget};
use crate::rules::{Action, Context, Patches, Request, State};
use crate::violation::{Rule, Violation, code};

/// Names a mapping of the compositor for as long as anything uses it.
type Key = u64;

/// What of a mapping is counted: its bytes and this many descriptors, Smithay's and ours.
const DESCRIPTORS: u64 = 2;

/// Pools, buffers and placeholders of a client.
///
/// Smithay unmaps a pool when the pool, its buffers and the surfaces that show one of them are gone, so the memory is
/// counted for as long.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pools: HashMap<u32, Pool>,
    placeholders: HashSet<u32>,
    /// The mapping behind each buffer that lies in one.
    buffers: HashMap<u32, Key>,
    /// Formats that the client was told of.
    formats: HashSet<u32>,
    mappings: HashMap<Key, Mapping>,
    last_key: Key,
}

#[derive(Debug)]
struct Mapping {
    bytes: u64,
    users: u64,
}

#[derive(Debug)]
struct Pool {
    key: Key,
    fd: OwnedFd,
    /// The size that the client says.
    claimed: i32,
    /// The size that the compositor knows: memory that is there.
    passed: i32,
}

impl Memory {
    /// Whether the buffer `id` stands for memory that the compositor does not have.
    pub(crate) fn is_placeholder(&self, id: u32) -> bool {
        self.placeholders.contains(&id)
    }

    /// Bytes of a pixel of a format that the client may use.
    fn pixel(&self, format: u32) -> Option<i64> {
        let always = [wl_shm::Format::Argb8888, wl_shm::Format::Xrgb8888].map(u32::from);
        let may = always.contains(&format) || self.formats.contains(&format);
        pixel_bytes(format).filter(|_| may)
    }

    fn map(&mut self, bytes: u64) -> Key {
        self.last_key = self.last_key.saturating_add(1);
        self.mappings.insert(self.last_key, Mapping { bytes, users: 1 });
        self.last_key
    }

    fn retain(&mut self, key: Key) {
        if let Some(mapping) = self.mappings.get_mut(&key) {
            mapping.users = mapping.users.saturating_add(1);
        }
    }

    fn release(&mut self, key: Key, account: &mut Account) {
        let Some(mapping) = self.mappings.get_mut(&key) else {
            return;
        };
        mapping.users = mapping.users.saturating_sub(1);
        if mapping.users == 0 {
            account.give(Budget::PoolBytes, mapping.bytes);
            account.give(Budget::Descriptors, DESCRIPTORS);
            self.mappings.remove(&key);
        }
    }

    /// A surface gets the buffer `id`, or none, to show at its next commit.
    pub(crate) fn attach(&mut self, shown: &mut Shown, id: u32, account: &mut Account) {
        let key = self.buffers.get(&id).copied();
        if let Some(key) = key {
            self.retain(key);
        }
        if let Some(before) = shown.pending.replace(key).flatten() {
            self.release(before, account);
        }
    }

    /// A surface is gone.
    pub(crate) fn forget(&mut self, shown: &Shown, account: &mut Account) {
        let all = shown.cached.iter().copied();
        let all = all.chain([shown.pending.flatten(), shown.current]);
        for key in all.flatten() {
            self.release(key, account);
        }
    }

    /// What was committed is shown from now on, and with it what was attached last.
    pub(crate) fn apply(&mut self, shown: &mut Shown, account: &mut Account) {
        shown.wait();
        for next in shown.cached.drain(..) {
            if let Some(before) = std::mem::replace(&mut shown.current, next) {
                self.release(before, account);
            }
        }
    }
}

/// The mappings that a surface keeps.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// Attached and not committed; `Some(None)` is "no buffer".
    pending: Option<Option<Key>>,
    /// Committed and waiting for the parent's commit: Smithay keeps them all until then.
    cached: Vec<Option<Key>>,
    current: Option<Key>,
}

impl Shown {
    /// What was attached last is committed, and waits for the parent's commit.
    pub(crate) fn wait(&mut self) {
        self.cached.extend(self.pending.take());
    }
}

/// Bytes of a pixel of the formats that a renderer offers. Two of them are always there.
fn pixel_bytes(format: u32) -> Option<i64> {
    use wl_shm::Format as F;
    match F::try_from(format) {
        Ok(F::Rgb565) => Some(2),
        Ok(
            F::Argb8888
            | F::Xrgb8888
            | F::Xbgr8888
            | F::Abgr8888
            | F::Rgbx8888
            | F::Rgba8888
            | F::Bgrx8888
            | F::Bgra8888
            | F::Xrgb2101010
            | F::Argb2101010
            | F::Xbgr2101010
            | F::Abgr2101010,
        ) => Some(4),
        _ => None,
    }
}

impl State {
    pub(super) fn shm(&mut self, request: &Request<'_>, context: &Context<'_>) -> Result<Action, Violation> {
        if request.opcode != wl_shm::REQ_CREATE_POOL_OPCODE {
            return Ok(Action::Pass);
        }
        let size = request.args.int(2);
        let Ok(bytes) = u64::try_from(size) else {
            return Err(request.violation(
                Rule::PoolSize,
                wl_shm::Error::InvalidStride.into(),
                format!("size {size}"),
            ));
        };
        if bytes == 0 {
            return Err(request.violation(Rule::PoolSize, wl_shm::Error::InvalidStride.into(), "size 0"));
        }
        let covered = context.fd.filter(|fd| (context.covers)(*fd, bytes));
        let Some(fd) = covered else {
            let detail = format!("the descriptor is not memory of {size} bytes");
            return Err(request.violation(Rule::PoolMemory, wl_shm::Error::InvalidFd.into(), detail));
        };
        let Ok(fd) = fd.try_clone_to_owned() else {
            return Err(request.display_violation(
                Rule::PoolMemory,
                code::NO_MEMORY,
                "no descriptor is left",
            ));
        };
        self.take(request, Budget::PoolBytes, bytes)?;
        self.take(request, Budget::Descriptors, DESCRIPTORS)?;
        let key = self.memory.map(bytes);
        self.memory.pools.insert(
            request.args.uint(0),
            Pool {
                key,
                fd,
                claimed: size,
                passed: size,
            },
        );
        Ok(Action::Pass)
    }

    pub(super) fn pool(&mut self, request: &Request<'_>, context: &Context<'_>) -> Result<Action, Violation> {
        match request.opcode {
            wl_shm_pool::REQ_CREATE_BUFFER_OPCODE => self.create_buffer(request, context),
            wl_shm_pool::REQ_RESIZE_OPCODE => self.resize(request, context),
            wl_shm_pool::REQ_DESTROY_OPCODE => {
                if let Some(pool) = self.memory.pools.remove(&request.id) {
                    self.memory.release(pool.key, &mut self.account);
                }
                Ok(Action::Pass)
            }
            _ => Ok(Action::Pass),
        }
    }

    fn resize(&mut self, request: &Request<'_>, context: &Context<'_>) -> Result<Action, Violation> {
        let size = request.args.int(0);
        let Some(pool) = self.memory.pools.get_mut(&request.id) else {
            return Ok(Action::Drop);
        };
        if size <= 0 || size < pool.claimed {
            let detail = format!("from {} to {size} bytes", pool.claimed);
            // Error codes of wl_shm are told with the pool, as libwayland does.
            return Err(request.violation(Rule::PoolSize, wl_shm::Error::InvalidFd.into(), detail));
        }
        pool.claimed = size;
        let there = u64::try_from(size).is_ok_and(|bytes| (context.covers)(pool.fd.as_fd(), bytes));
        if !there || size == pool.passed {
            return Ok(Action::Drop);
        }
        let more = u64::try_from(size.saturating_sub(pool.passed)).unwrap_or(0);
        let key = pool.key;
        pool.passed = size;
        if let Some(mapping) = self.memory.mappings.get_mut(&key) {
            mapping.bytes = mapping.bytes.saturating_add(more);
        }
        self.take(request, Budget::PoolBytes, more)?;
        Ok(Action::Pass)
    }

    fn create_buffer(&mut self, request: &Request<'_>, context: &Context<'_>) -> Result<Action, Violation> {
        let args = &request.args;
        let (id, format) = (args.uint(0), args.uint(5));
        let (offset, width, height, stride) = (args.int(1), args.int(2), args.int(3), args.int(4));
        let Some(pool) = self.memory.pools.get(&request.id) else {
            return Ok(Action::Pass);
        };
        let Some(pixel) = self.memory.pixel(format) else {
            let code = wl_shm::Error::InvalidFormat.into();
            return Err(request.violation(Rule::BufferFormat, code, format!("format {format:#x}")));
        };
        let most = context.limits.buffer_dimension;
        let plausible = offset >= 0
            && (1..=most).contains(&width)
            && (1..=most).contains(&height)
            && i64::from(stride) >= i64::from(width).saturating_mul(pixel)
            // Pixman takes lines of whole words only; Smithay would complain at each frame.
            && stride & 3 == 0;
        let end = i64::from(offset).saturating_add(i64::from(stride).saturating_mul(i64::from(height)));
        if !plausible || end > i64::from(pool.claimed) {
            let detail = format!(
                "{width}x{height} with {stride} bytes a line at {offset} in a pool of {} bytes",
                pool.claimed
            );
            return Err(request.violation(Rule::BufferBounds, wl_shm::Error::InvalidStride.into(), detail));
        }
        let (key, passed) = (pool.key, pool.passed);
        // A buffer has at least a line of four bytes, so it is not one of those that lie in what was shared.
        if passed < 4 {
            let detail = "the pool is too small to hold a pixel of what was shared";
            return Err(request.violation(Rule::GrownPool, wl_shm::Error::InvalidFd.into(), detail));
        }
        self.memory.retain(key);
        self.memory.buffers.insert(id, key);
        if end <= i64::from(passed) {
            return Ok(Action::Pass);
        }
        self.memory.placeholders.insert(id);
        let argb = u32::from(wl_shm::Format::Argb8888).cast_signed();
        Ok(Patches::default()
            .with(1, 0)
            .with(2, 1)
            .with(3, 1)
            .with(4, 4)
            .with(5, argb)
            .action())
    }

    /// The compositor offers a format; whether the client is told.
    pub(crate) fn offers_format(&mut self, format: u32) -> bool {
        let known = pixel_bytes(format).is_some();
        if known {
            self.memory.formats.insert(format);
        }
        known
    }

    pub(super) fn buffer(&mut self, request: &Request<'_>) -> Action {
        if request.opcode == wl_buffer::REQ_DESTROY_OPCODE {
            self.memory.placeholders.remove(&request.id);
            if let Some(key) = self.memory.buffers.remove(&request.id) {
                self.memory.release(key, &mut self.account);
            }
        }
        Action::Pass
    }
}
