// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the gate needs of its surroundings: memory and pipes that a client of another VM can use.
//!
//! Nothing of this VM's own memory can be sent through virtio_wl, so a keymap is copied into memory of the host, once
//! for each content and VM. Development sockets have no device; for them a sealed copy in our own memory does the same.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use heraldry_config::VmName;
use heraldry_gate::{MemoryCache, MemoryPurpose, RateLimited, ServiceError, Services};
use heraldry_virtio::guest::{Device, MemfdClient, ReadPipe, memory_covers};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// The services of a VM, as its clients' sessions share them. They never leave the VM's thread.
#[derive(Clone)]
pub(super) struct Shared(Rc<RefCell<VmServices>>);

/// Services for the clients of one VM.
struct VmServices {
    vm: VmName,
    device: Option<Arc<Device>>,
    memory: Option<MemfdClient>,
    cache: MemoryCache,
    transfers: Vec<(ReadPipe, OwnedFd)>,
    log: RateLimited,
}

impl Shared {
    pub(super) fn new(vm: VmName, device: Option<Arc<Device>>, log_lines: u32) -> Self {
        let memory = device.clone().map(MemfdClient::new);
        Self(Rc::new(RefCell::new(VmServices {
            vm,
            device,
            memory,
            cache: MemoryCache::new(),
            transfers: Vec::new(),
            log: RateLimited::new(log_lines),
        })))
    }

    /// Lets the VM cause so many log lines a second.
    pub(super) fn set_log_lines(&self, log_lines: u32) {
        self.0.borrow_mut().log = RateLimited::new(log_lines);
    }

    /// Copies started since the last call: from the new pipe to whoever asked.
    pub(super) fn take_transfers(&self) -> Vec<(ReadPipe, OwnedFd)> {
        std::mem::take(&mut self.0.borrow_mut().transfers)
    }

    /// Writes a log line that this VM caused, unless it has caused too many.
    pub(super) fn log(&self, more: impl FnOnce(u64), line: impl FnOnce()) {
        self.0.borrow_mut().log.log(Instant::now(), more, line);
    }
}

impl Services for Shared {
    fn share_memory(
        &mut self,
        purpose: MemoryPurpose,
        fd: OwnedFd,
        size: u32,
    ) -> Result<OwnedFd, ServiceError> {
        self.0.borrow_mut().share_memory(purpose, &fd, size)
    }

    fn pass_pipe(&mut self, fd: OwnedFd) -> Result<OwnedFd, ServiceError> {
        self.0.borrow_mut().pass_pipe(fd)
    }

    fn memory_covers(&self, fd: BorrowedFd<'_>, size: u64) -> bool {
        self.0.borrow().memory_covers(fd, size)
    }
}

impl VmServices {
    fn share_memory(
        &mut self,
        purpose: MemoryPurpose,
        fd: &OwnedFd,
        size: u32,
    ) -> Result<OwnedFd, ServiceError> {
        let content = heraldry_gate::read_memory(fd, size)?;
        let (vm, memory) = (&self.vm, &mut self.memory);
        self.cache
            .get_or_create(purpose, content, |content| match memory {
                Some(server) => {
                    let name = match purpose {
                        MemoryPurpose::Keymap => "keymap",
                        _ => "table",
                    };
                    let refused = |error: &dyn std::error::Error| ServiceError::Refused(error.to_string());
                    let memory = server
                        .allocate(vm.as_str(), name, u64::from(size))
                        .map_err(|error| refused(&error))?;
                    memory.fill(content).map_err(|error| refused(&error))?;
                    Ok(memory.into_fd())
                }
                None => sealed_copy(content),
            })
    }

    fn pass_pipe(&mut self, fd: OwnedFd) -> Result<OwnedFd, ServiceError> {
        let Some(device) = &self.device else { return Ok(fd) };
        // The vfd itself is sent: the device gives its far end to the host.
        let read = device
            .pipe_read()
            .map_err(|error| ServiceError::Refused(error.to_string()))?;
        let send = read.as_fd().try_clone_to_owned()?;
        self.transfers.push((read, fd));
        Ok(send)
    }

    fn memory_covers(&self, fd: BorrowedFd<'_>, size: u64) -> bool {
        if !memory_covers(fd, size) {
            return false;
        }
        // Memory of this machine tells its size; the kernel would map more than there is.
        let told = || {
            rustix::fs::fstat(fd).is_ok_and(|stat| u64::try_from(stat.st_size).is_ok_and(|has| has >= size))
        };
        self.device.is_some() || told()
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
