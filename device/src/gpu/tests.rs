// SPDX-License-Identifier: MIT OR Apache-2.0
use std::cell::RefCell;

use super::*;

/// A guest of one page a blob, and a window.
#[derive(Default)]
pub(crate) struct FakeVmm {
    mapped: RefCell<BTreeMap<u64, u64>>,
    pub(crate) memory: RefCell<BTreeMap<u64, Vec<u8>>>,
}

impl FakeVmm {
    pub(crate) fn mapped(&self) -> usize {
        self.mapped.borrow().len()
    }
}

impl Vmm for FakeVmm {
    fn map(&self, at: u64, len: u64, _file: BorrowedFd<'_>) -> io::Result<()> {
        assert!(self.mapped.borrow_mut().insert(at, len).is_none());
        Ok(())
    }

    fn unmap(&self, at: u64, len: u64) -> io::Result<()> {
        assert_eq!(self.mapped.borrow_mut().remove(&at), Some(len));
        Ok(())
    }

    fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        self.memory.borrow_mut().insert(address, bytes.to_vec());
        Ok(())
    }
}
