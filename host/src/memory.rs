// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory server: memory that the compositor can send to clients, paid from the budget of the VM it is for.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use heraldry_config::MemfdLimits;
use heraldry_virtio::wire::VmName;
use heraldry_virtio::wire::memfd::{MemfdFailure, MemfdRequest};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

/// All VMs together get at most this many times the budget of one.
const TOTAL_FACTOR: u64 = 64;

/// What one VM has had since its boot instance began.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct Used {
    /// Bytes given.
    pub bytes: u64,
    /// Pieces given.
    pub count: u64,
    /// Requests refused.
    pub refused: u64,
}

/// The accounts.
#[derive(Debug)]
pub struct MemoryServer {
    limits: MemfdLimits,
    used: BTreeMap<VmName, Used>,
}

impl MemoryServer {
    /// Empty accounts.
    pub fn new(limits: MemfdLimits) -> Self {
        Self {
            limits,
            used: BTreeMap::new(),
        }
    }

    /// New limits; what was given stays given.
    pub fn set_limits(&mut self, limits: MemfdLimits) {
        self.limits = limits;
    }

    /// A VM is gone: its next start has a fresh account.
    pub fn forget(&mut self, vm: &VmName) {
        self.used.remove(vm);
    }

    /// The accounts, for statistics.
    pub fn used(&self) -> impl Iterator<Item = (&VmName, &Used)> {
        self.used.iter()
    }

    /// Answers one request. `known` says whether a VM of this name is configured.
    pub fn serve(
        &mut self,
        request: &MemfdRequest,
        known: impl Fn(&VmName) -> bool,
    ) -> Result<OwnedFd, MemfdFailure> {
        let vm = request
            .vm()
            .filter(|vm| known(vm))
            .ok_or(MemfdFailure::Malformed)?;
        let result = self.allocate(&vm, request);
        if result.is_err() {
            let used = self.used.entry(vm).or_default();
            used.refused = used.refused.saturating_add(1);
        }
        result
    }

    fn allocate(&mut self, vm: &VmName, request: &MemfdRequest) -> Result<OwnedFd, MemfdFailure> {
        if request.size == 0 {
            return Err(MemfdFailure::ZeroSize);
        }
        if request.size > self.limits.bytes_per_vm || request.size > u64::from(u32::MAX) {
            return Err(MemfdFailure::TooLarge);
        }
        let had = self.used.get(vm).copied().unwrap_or_default();
        let bytes = had.bytes.saturating_add(request.size);
        let count = had.count.saturating_add(1);
        if bytes > self.limits.bytes_per_vm || count > u64::from(self.limits.count_per_vm) {
            return Err(MemfdFailure::VmBudget);
        }
        let total: u64 = self
            .used
            .values()
            .fold(request.size, |sum, used| sum.saturating_add(used.bytes));
        if total > self.limits.bytes_per_vm.saturating_mul(TOTAL_FACTOR) {
            return Err(MemfdFailure::TotalBudget);
        }
        // The size can be trusted by both sides: it never changes again.
        let fd = memfd_create(
            request.clean_name(),
            MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
        )
        .map_err(|_errno| MemfdFailure::NoMemory)?;
        ftruncate(&fd, request.size).map_err(|_errno| MemfdFailure::NoMemory)?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW).map_err(|_errno| MemfdFailure::NoMemory)?;
        self.used.insert(
            vm.clone(),
            Used {
                bytes,
                count,
                refused: had.refused,
            },
        );
        Ok(fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(name: &str) -> VmName {
        VmName::new(name).unwrap()
    }

    fn server() -> MemoryServer {
        MemoryServer::new(MemfdLimits {
            bytes_per_vm: 100_000,
            count_per_vm: 3,
        })
    }

    fn ask(server: &mut MemoryServer, name: &str, size: u64) -> Result<OwnedFd, MemfdFailure> {
        server.serve(&MemfdRequest::new(&vm(name), "keymap", size), |vm| {
            vm.as_str() != "stranger"
        })
    }

    #[test]
    fn memory_has_its_size_for_good() {
        let fd = ask(&mut server(), "work", 5000).unwrap();
        assert_eq!(rustix::fs::fstat(&fd).unwrap().st_size, 5000);
        assert!(ftruncate(&fd, 4000).is_err() && ftruncate(&fd, 6000).is_err());
    }

    #[test]
    fn one_vm_cannot_use_up_anothers_budget() {
        let mut server = server();
        for _ in 0..3 {
            ask(&mut server, "work", 1000).unwrap();
        }
        assert_eq!(
            ask(&mut server, "work", 1000).unwrap_err(),
            MemfdFailure::VmBudget
        );
        ask(&mut server, "personal", 1000).unwrap();
        server.forget(&vm("work"));
        ask(&mut server, "work", 1000).expect("a new start has a fresh account");
    }

    #[test]
    fn refusals_say_why() {
        let mut server = server();
        assert_eq!(ask(&mut server, "work", 0).unwrap_err(), MemfdFailure::ZeroSize);
        assert_eq!(
            ask(&mut server, "work", 100_001).unwrap_err(),
            MemfdFailure::TooLarge
        );
        assert_eq!(
            ask(&mut server, "work", u64::MAX).unwrap_err(),
            MemfdFailure::TooLarge
        );
        assert_eq!(
            ask(&mut server, "stranger", 10).unwrap_err(),
            MemfdFailure::Malformed
        );
    }
}
