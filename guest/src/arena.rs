// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where in a piece of memory there is room. Pure.

use std::collections::BTreeMap;

/// Buffers begin at multiples of this.
const ALIGN: usize = 4096;

/// The free ranges of a piece of memory: where each begins, and how long it is. No two touch.
#[derive(Debug)]
pub(crate) struct Arena {
    free: BTreeMap<usize, usize>,
    size: usize,
}

/// What `size` bytes take, if that can be said.
fn rounded(size: usize) -> Option<usize> {
    size.max(1).checked_next_multiple_of(ALIGN)
}

impl Arena {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            free: [(0, size)].into(),
            size,
        }
    }

    /// Takes the first room there is for so many bytes.
    pub(crate) fn take(&mut self, size: usize) -> Option<usize> {
        let size = rounded(size)?;
        let (at, len) = self
            .free
            .iter()
            .find(|(_, len)| **len >= size)
            .map(|(at, len)| (*at, *len))?;
        self.free.remove(&at);
        if len > size {
            self.free.insert(at + size, len - size);
        }
        Some(at)
    }

    /// Gives back what was taken.
    pub(crate) fn give_back(&mut self, at: usize, size: usize) {
        let (mut at, mut len) = (at, rounded(size).unwrap_or(0));
        if let Some(after) = self.free.remove(&(at + len)) {
            len += after;
        }
        if let Some((before, room)) = self.free.range(..at).next_back().map(|(at, len)| (*at, *len))
            && before + room == at
        {
            at = before;
            len += room;
        }
        self.free.insert(at, len);
    }

    /// Whether all of it is free.
    pub(crate) fn is_empty(&self) -> bool {
        self.free.get(&0) == Some(&self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again_as_one() {
        let mut arena = Arena::new(4 * ALIGN);
        let places: Vec<_> = (0..4).map(|_| arena.take(100).unwrap()).collect();
        assert_eq!(places, [0, ALIGN, 2 * ALIGN, 3 * ALIGN]);
        assert_eq!(arena.take(1), None);
        for order in [[1, 3, 2, 0], [0, 1, 2, 3], [3, 2, 1, 0], [0, 2, 1, 3]] {
            for index in order {
                assert!(!arena.is_empty());
                arena.give_back(places[index], 100);
            }
            assert!(arena.is_empty());
            assert_eq!(arena.take(4 * ALIGN), Some(0));
            arena.give_back(0, 4 * ALIGN);
            for place in &places {
                assert_eq!(arena.take(ALIGN), Some(*place));
            }
        }
        assert_eq!(arena.take(usize::MAX), None);
    }
}
