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

use crate::rules::{Action, Context, Patches, Request, State};
use crate::violation::{Rule, Violation, code};

/// Pools and placeholders of a client.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pools: HashMap<u32, Pool>,
    placeholders: HashSet<u32>,
}

#[derive(Debug)]
struct Pool {
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
}

/// Bytes of a pixel at least, by format. Other formats are the compositor's to judge.
fn least_pixel(format: u32) -> i64 {
    let plain = [wl_shm::Format::Argb8888, wl_shm::Format::Xrgb8888].map(u32::from);
    if plain.contains(&format) { 4 } else { 1 }
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
        if self.memory.pools.len() >= context.limits.pools {
            return Err(request.limit(Rule::TooManyPools, context.limits.pools));
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
        self.memory.pools.insert(
            request.args.uint(0),
            Pool {
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
                self.memory.pools.remove(&request.id);
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
        pool.passed = size;
        Ok(Action::Pass)
    }

    fn create_buffer(&mut self, request: &Request<'_>, context: &Context<'_>) -> Result<Action, Violation> {
        let args = &request.args;
        let (id, format) = (args.uint(0), args.uint(5));
        let (offset, width, height, stride) = (args.int(1), args.int(2), args.int(3), args.int(4));
        let Some(pool) = self.memory.pools.get(&request.id) else {
            return Ok(Action::Pass);
        };
        let most = context.limits.buffer_dimension;
        let plausible = offset >= 0
            && (1..=most).contains(&width)
            && (1..=most).contains(&height)
            && i64::from(stride) >= i64::from(width).saturating_mul(least_pixel(format));
        let end = i64::from(offset).saturating_add(i64::from(stride).saturating_mul(i64::from(height)));
        if !plausible || end > i64::from(pool.claimed) {
            let detail = format!(
                "{width}x{height} with {stride} bytes a line at {offset} in a pool of {} bytes",
                pool.claimed
            );
            return Err(request.violation(Rule::BufferBounds, wl_shm::Error::InvalidStride.into(), detail));
        }
        if end <= i64::from(pool.passed) {
            return Ok(Action::Pass);
        }
        if pool.passed < 4 {
            let detail = "the pool is too small to hold a pixel of what was shared";
            return Err(request.violation(Rule::GrownPool, wl_shm::Error::InvalidFd.into(), detail));
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

    pub(super) fn buffer(&mut self, request: &Request<'_>) -> Action {
        if request.opcode == wl_buffer::REQ_DESTROY_OPCODE {
            self.memory.placeholders.remove(&request.id);
        }
        Action::Pass
    }
}
