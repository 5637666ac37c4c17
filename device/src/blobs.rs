// SPDX-License-Identifier: MIT OR Apache-2.0
//! Blobs: memory that has a number, in the guest or on the host, and where of the window it is mapped.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use heraldry_wire::virtwl::PAGE_SIZE;

use crate::control::Piece;
use crate::gpu::Vmm;
use crate::limits::{BLOBS, MAPPINGS, WINDOW};

/// Why a blob can't be had or mapped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobError {
    #[error("there is blob {0} already")]
    Exists(u32),
    #[error("there are {BLOBS} blobs")]
    TooMany,
    #[error("there is no blob {0} of this kind")]
    Unknown(u32),
    #[error("a blob of {0} bytes is larger than its memory")]
    Size(u64),
    #[error("{MAPPINGS} blobs are mapped")]
    TooManyMapped,
    #[error("a blob cannot be mapped at {0:#x}")]
    Place(u64),
    #[error("the VMM does not map or unmap it")]
    Vmm(#[source] io::Error),
}

/// Memory on the host.
#[derive(Debug)]
pub(crate) struct HostMemory {
    pub(crate) file: OwnedFd,
    /// Whole pages.
    pub(crate) size: u64,
}

#[derive(Debug)]
enum Blob {
    Guest(Vec<Piece>),
    Host(HostMemory, Option<u64>),
}

/// All blobs of a boot.
#[derive(Debug, Default)]
pub(crate) struct Blobs {
    table: BTreeMap<u32, Blob>,
    /// Where something is mapped, and how long it is.
    window: BTreeMap<u64, u64>,
}

impl Blobs {
    fn add(&mut self, id: u32, blob: Blob) -> Result<(), BlobError> {
        self.check(id)?;
        self.table.insert(id, blob);
        Ok(())
    }

    /// Whether a blob may have this number, before anything is used up for it.
    pub(crate) fn check(&self, id: u32) -> Result<(), BlobError> {
        if self.table.contains_key(&id) {
            return Err(BlobError::Exists(id));
        }
        if self.table.len() >= BLOBS {
            return Err(BlobError::TooMany);
        }
        Ok(())
    }

    /// Whether there is a blob of this number.
    pub(crate) fn has(&self, id: u32) -> bool {
        self.table.contains_key(&id)
    }

    pub(crate) fn add_guest(&mut self, id: u32, pieces: Vec<Piece>) -> Result<(), BlobError> {
        self.add(id, Blob::Guest(pieces))
    }

    pub(crate) fn add_host(&mut self, id: u32, memory: HostMemory) -> Result<(), BlobError> {
        self.add(id, Blob::Host(memory, None))
    }

    pub(crate) fn guest(&self, id: u32) -> Option<&[Piece]> {
        match self.table.get(&id) {
            Some(Blob::Guest(pieces)) => Some(pieces),
            _ => None,
        }
    }

    pub(crate) fn host(&self, id: u32) -> Option<BorrowedFd<'_>> {
        match self.table.get(&id) {
            Some(Blob::Host(memory, _)) => Some(memory.file.as_fd()),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, id: u32, vmm: &dyn Vmm) -> Result<(), BlobError> {
        if matches!(self.table.get(&id), Some(Blob::Host(_, Some(_)))) {
            self.unmap(id, vmm)?;
        }
        self.table.remove(&id).map(drop).ok_or(BlobError::Unknown(id))
    }

    pub(crate) fn map(&mut self, id: u32, at: u64, vmm: &dyn Vmm) -> Result<(), BlobError> {
        if self.window.len() >= MAPPINGS {
            return Err(BlobError::TooManyMapped);
        }
        let Some(Blob::Host(memory, place @ None)) = self.table.get_mut(&id) else {
            return Err(BlobError::Unknown(id));
        };
        let end = at.checked_add(memory.size).filter(|end| *end <= WINDOW);
        let end = end
            .filter(|_| at.is_multiple_of(PAGE_SIZE))
            .ok_or(BlobError::Place(at))?;
        let before = self.window.range(..end).next_back();
        if before.is_some_and(|(start, len)| start.saturating_add(*len) > at) {
            return Err(BlobError::Place(at));
        }
        vmm.map(at, memory.size, memory.file.as_fd())
            .map_err(BlobError::Vmm)?;
        *place = Some(at);
        self.window.insert(at, memory.size);
        Ok(())
    }

    pub(crate) fn unmap(&mut self, id: u32, vmm: &dyn Vmm) -> Result<(), BlobError> {
        let Some(Blob::Host(_, place)) = self.table.get_mut(&id) else {
            return Err(BlobError::Unknown(id));
        };
        let at = place.take().ok_or(BlobError::Unknown(id))?;
        let len = self.window.remove(&at).unwrap_or(0);
        vmm.unmap(at, len).map_err(BlobError::Vmm)
    }

    /// The guest has ended: where something is still mapped, and how long it is.
    pub(crate) fn end(&mut self) -> impl Iterator<Item = (u64, u64)> + use<> {
        std::mem::take(&mut self.window).into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::tests::FakeVmm;
    use crate::memory::make;

    fn memory(size: u64) -> HostMemory {
        HostMemory {
            file: make(size).unwrap(),
            size,
        }
    }

    #[test]
    fn mappings_do_not_overlap_and_are_bounded() {
        let vmm = FakeVmm::default();
        let mut blobs = Blobs::default();
        for id in 0..10 {
            blobs.add_host(id, memory(8192)).unwrap();
        }
        blobs.map(0, 0x4000, &vmm).unwrap();
        for (id, at, fits) in [
            (1, 0x4000, false),
            (1, 0x5000, false),
            (1, 0x3000, false),
            (1, 0x2001, false),
            (1, u64::MAX, false),
            (1, WINDOW - 4096, false),
            // It is mapped already.
            (0, 0x10000, false),
            (99, 0x10000, false),
            (1, 0x2000, true),
            (2, 0x6000, true),
            (3, WINDOW - 8192, true),
        ] {
            assert_eq!(blobs.map(id, at, &vmm).is_ok(), fits, "{id} at {at:#x}");
        }
        blobs.unmap(0, &vmm).unwrap();
        assert!(blobs.unmap(0, &vmm).is_err());
        blobs.map(4, 0x4000, &vmm).unwrap();
        blobs.remove(4, &vmm).unwrap();
        assert_eq!(vmm.mapped(), 3);
        assert_eq!(blobs.end().count(), 3);
    }

    #[test]
    fn numbers_and_mappings_run_out() {
        let vmm = FakeVmm::default();
        let mut blobs = Blobs::default();
        for id in 0..u32::try_from(BLOBS).unwrap() {
            blobs.add_guest(id, Vec::new()).unwrap();
        }
        assert!(matches!(blobs.check(u32::MAX), Err(BlobError::TooMany)));
        let mut blobs = Blobs::default();
        for id in 0..=u32::try_from(MAPPINGS).unwrap() {
            blobs.add_host(id, memory(4096)).unwrap();
            let mapped = blobs.map(id, u64::from(id) * 4096, &vmm);
            assert_eq!(mapped.is_ok(), vmm.mapped() == usize::try_from(id).unwrap() + 1);
        }
        assert_eq!(vmm.mapped(), MAPPINGS);
        assert!(matches!(blobs.check(0), Err(BlobError::Exists(0))));
    }
}
