// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory server: memory that the compositor can send to clients, paid from the budget of the VM it is for.
//!
//! It is given in whole pages, and paid so: that is what it costs, and QEMU maps nothing else.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use heraldry_config::MemfdLimits;
use heraldry_identity::VmName;
use heraldry_wire::memfd::{MemfdFailure, MemfdRequest};
use heraldry_wire::virtwl::{MAX_MEMORY, PAGE_SIZE};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

/// All VMs together get at most this many times the budget of one.
const TOTAL_FACTOR: u64 = 64;

/// What one VM has had since its boot instance began.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub struct Used {
    /// Bytes given, in whole pages.
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
    others: Used,
}

/// Who pays.
#[derive(Debug, Clone)]
enum Account {
    Vm(VmName),
    /// All whose names tell no VM, together.
    Others,
}

impl MemoryServer {
    /// Empty accounts.
    pub fn new(limits: MemfdLimits) -> Self {
        Self {
            limits,
            used: BTreeMap::new(),
            others: Used::default(),
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

    /// What went to requests whose names tell no VM.
    pub fn used_by_others(&self) -> &Used {
        &self.others
    }

    /// Nobody is connected any more: who comes next has a fresh account.
    pub fn forget_others(&mut self) {
        self.others = Used::default();
    }

    /// Answers one request. `known` says whether a VM of this name is configured.
    pub fn serve(
        &mut self,
        request: &MemfdRequest,
        known: impl Fn(&VmName) -> bool,
    ) -> Result<OwnedFd, MemfdFailure> {
        let account = match request.vm().filter(|vm| known(vm)) {
            Some(vm) => Account::Vm(vm),
            None if request.is_of_others() => Account::Others,
            None => return Err(MemfdFailure::Malformed),
        };
        let result = self.allocate(&account, request);
        if result.is_err() {
            let used = self.account(&account);
            used.refused = used.refused.saturating_add(1);
        }
        result
    }

    fn account(&mut self, account: &Account) -> &mut Used {
        match account {
            Account::Vm(vm) => self.used.entry(vm.clone()).or_default(),
            Account::Others => &mut self.others,
        }
    }

    fn allocate(&mut self, account: &Account, request: &MemfdRequest) -> Result<OwnedFd, MemfdFailure> {
        if request.size == 0 {
            return Err(MemfdFailure::ZeroSize);
        }
        let budget = match account {
            Account::Vm(_) => self.limits.bytes_per_vm,
            // Without a budget such names are no names.
            Account::Others if self.limits.bytes_for_others == 0 => return Err(MemfdFailure::Malformed),
            Account::Others => self.limits.bytes_for_others,
        };
        let size = request.size.checked_next_multiple_of(PAGE_SIZE);
        let most = budget.min(MAX_MEMORY);
        let size = size.filter(|size| *size <= most).ok_or(MemfdFailure::TooLarge)?;
        let had = match account {
            Account::Vm(vm) => self.used.get(vm).copied().unwrap_or_default(),
            Account::Others => self.others,
        };
        let bytes = had.bytes.saturating_add(size);
        let count = had.count.saturating_add(1);
        if bytes > budget || count > u64::from(self.limits.count_per_vm) {
            return Err(MemfdFailure::VmBudget);
        }
        let all = self.used.values().chain([&self.others]);
        let total: u64 = all.fold(size, |sum, used| sum.saturating_add(used.bytes));
        let most = self.limits.bytes_per_vm.saturating_mul(TOTAL_FACTOR);
        if total > most.saturating_add(self.limits.bytes_for_others) {
            return Err(MemfdFailure::TotalBudget);
        }
        // The size can be trusted by both sides: it never changes again.
        let fd = memfd_create(
            request.clean_name(),
            MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
        )
        .map_err(|_errno| MemfdFailure::NoMemory)?;
        ftruncate(&fd, size).map_err(|_errno| MemfdFailure::NoMemory)?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW).map_err(|_errno| MemfdFailure::NoMemory)?;
        *self.account(account) = Used {
            bytes,
            count,
            refused: had.refused,
        };
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
            bytes_for_others: 0,
        })
    }

    fn ask(server: &mut MemoryServer, name: &str, size: u64) -> Result<OwnedFd, MemfdFailure> {
        server.serve(&MemfdRequest::new(&vm(name), "keymap", size), |vm| {
            vm.as_str() != "stranger"
        })
    }

    #[test]
    fn memory_is_whole_pages_for_good() {
        for (size, pages) in [(1, 1), (4095, 1), (4096, 1), (4097, 2), (0xfbb1, 16)] {
            let fd = ask(&mut server(), "work", size).unwrap();
            let has = rustix::fs::fstat(&fd).unwrap().st_size;
            assert_eq!(has, pages * 4096, "{size}");
            assert!(ftruncate(&fd, 0).is_err() && ftruncate(&fd, 1 << 20).is_err());
        }
    }

    #[test]
    fn what_is_given_in_pages_is_paid_in_pages() {
        let mut server = server();
        ask(&mut server, "work", 4097).unwrap();
        assert_eq!(server.used().next().unwrap().1.bytes, 8192);
        // 100,000 bytes are 24 pages and a piece that nobody gets.
        for (size, granted) in [(23 * 4096, false), (22 * 4096 + 1, false), (22 * 4096, true)] {
            assert_eq!(ask(&mut server, "work", size).is_ok(), granted, "{size}");
        }
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

    /// A request whose name is not ours; Spectrum's wlroots sends such.
    fn ask_as(server: &mut MemoryServer, name: &str, size: u64) -> Result<OwnedFd, MemfdFailure> {
        use heraldry_wire::Record as _;
        let mut bytes = [0; heraldry_wire::memfd::REQUEST_LEN];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        bytes[224..].copy_from_slice(&size.to_le_bytes());
        server.serve(&MemfdRequest::decode(&bytes).unwrap(), |vm| vm.as_str() == "work")
    }

    #[test]
    fn names_that_tell_no_vm_have_an_account_of_their_own_if_the_configuration_gives_one() {
        let mut server = server();
        let off = ask_as(&mut server, "wlroots", 10);
        assert_eq!(off.unwrap_err(), MemfdFailure::Malformed);
        let limits = MemfdLimits {
            bytes_per_vm: 100_000,
            count_per_vm: 3,
            bytes_for_others: 12_288,
        };
        server.set_limits(limits);
        for name in ["wlroots", "other"] {
            let memory = ask_as(&mut server, name, 4097 / 2).unwrap();
            assert_eq!(rustix::fs::fstat(&memory).unwrap().st_size, 4096);
        }
        // What looks like ours has to be ours.
        for name in ["heraldry/stranger/keymap", "heraldry/", "heraldry/work"] {
            assert_eq!(
                ask_as(&mut server, name, 1).unwrap_err(),
                MemfdFailure::Malformed,
                "{name}"
            );
        }
        assert_eq!(
            ask_as(&mut server, "x", 4097).unwrap_err(),
            MemfdFailure::VmBudget
        );
        assert_eq!(
            ask_as(&mut server, "x", 12_289).unwrap_err(),
            MemfdFailure::TooLarge
        );
        assert_eq!(server.used_by_others().bytes, 8192);
        assert_eq!(server.used().count(), 0, "no VM pays for it");
        ask(&mut server, "work", 90_000).unwrap();
        server.forget_others();
        ask_as(&mut server, "wlroots", 12_288).unwrap();
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
