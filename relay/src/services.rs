// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the gate needs of its surroundings: memory that a client of another VM can use.
//!
//! Nothing of this VM's own memory can be sent through virtio_wl, so a keymap is copied into memory of the host, once
//! for each content and VM. Development sockets have no host; for them a sealed copy in our own memory does the same.

use std::cell::RefCell;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use heraldry_gate::{MemoryCache, ServiceError, Services};
use heraldry_identity::VmName;
use heraldry_rate::LogBudget;
use heraldry_virtio::guest::{Device, MemfdClient, memory_covers};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// The services of a VM, as its clients' sessions share them. They never leave the VM's thread.
#[derive(Clone)]
pub(crate) struct Shared(Rc<RefCell<VmServices>>);

/// Services for the clients of one VM.
struct VmServices {
    vm: VmName,
    memory: Option<MemfdClient>,
    /// Memory tells its size: it is this machine's.
    tells_size: bool,
    cache: MemoryCache,
    log: LogBudget,
}

impl Shared {
    pub(crate) fn new(vm: VmName, device: Option<Arc<Device>>, log_lines: u32) -> Self {
        let tells_size = device.as_ref().is_none_or(|device| device.is_local());
        let memory = device.map(MemfdClient::new);
        Self(Rc::new(RefCell::new(VmServices {
            vm,
            memory,
            tells_size,
            cache: MemoryCache::new(),
            log: LogBudget::per_second(log_lines),
        })))
    }

    /// Lets the VM cause so many log lines a second.
    pub(crate) fn set_log_lines(&self, log_lines: u32) {
        self.0.borrow_mut().log = LogBudget::per_second(log_lines);
    }

    /// Writes a log line that this VM caused, unless it has caused too many.
    pub(crate) fn log(&self, more: impl FnOnce(u64), line: impl FnOnce()) {
        self.0.borrow_mut().log.log(Instant::now(), more, line);
    }
}

impl Services for Shared {
    fn share_memory(&mut self, fd: OwnedFd, size: u32) -> Result<OwnedFd, ServiceError> {
        self.0.borrow_mut().share_memory(&fd, size)
    }

    fn memory_covers(&self, fd: BorrowedFd<'_>, size: u64) -> bool {
        self.0.borrow().memory_covers(fd, size)
    }
}

impl VmServices {
    fn share_memory(&mut self, fd: &OwnedFd, size: u32) -> Result<OwnedFd, ServiceError> {
        let content = heraldry_gate::read_memory(fd, size)?;
        let (vm, memory) = (&self.vm, &mut self.memory);
        self.cache.get_or_create(content, |content| match memory {
            Some(server) => {
                let refused = |error: &dyn std::error::Error| ServiceError::Refused(error.to_string());
                let memory = server
                    .allocate(vm, "keymap", u64::from(size))
                    .map_err(|error| refused(&error))?;
                memory.fill(content).map_err(|error| refused(&error))?;
                Ok(memory.into_fd())
            }
            None => sealed_copy(content),
        })
    }

    fn memory_covers(&self, fd: BorrowedFd<'_>, size: u64) -> bool {
        if !memory_covers(fd, size) {
            return false;
        }
        // Memory of this machine tells its size; the kernel would map more than there is.
        let told = || {
            rustix::fs::fstat(fd).is_ok_and(|stat| u64::try_from(stat.st_size).is_ok_and(|has| has >= size))
        };
        !self.tells_size || told()
    }
}

fn sealed_copy(content: &[u8]) -> Result<OwnedFd, ServiceError> {
    let fd = memfd_create("heraldry", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .map_err(std::io::Error::from)?;
    let mut rest = content;
    while !rest.is_empty() {
        let n = rustix::io::write(&fd, rest).map_err(std::io::Error::from)?;
        rest = rest.get(n..).unwrap_or_default();
    }
    fcntl_add_seals(
        &fd,
        SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL,
    )
    .map_err(std::io::Error::from)?;
    Ok(fd)
}
