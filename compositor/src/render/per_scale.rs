// SPDX-License-Identifier: MIT OR Apache-2.0
//! One thing for each scale that screens have: bitmaps are drawn for physical pixels.

/// More scales than this at a time are not kept.
const MOST: usize = 4;

/// A value for each scale, made when first asked for.
#[derive(Debug)]
pub struct PerScale<T> {
    values: Vec<(f64, T)>,
}

impl<T> Default for PerScale<T> {
    fn default() -> Self {
        Self { values: Vec::new() }
    }
}

impl<T> PerScale<T> {
    /// The value for `scale`.
    pub fn get_or_insert_with(&mut self, scale: f64, make: impl FnOnce() -> T) -> &mut T {
        let known = self
            .values
            .iter()
            .position(|(known, _)| known.to_bits() == scale.to_bits());
        let index = known.unwrap_or_else(|| {
            if self.values.len() >= MOST {
                self.values.remove(0);
            }
            self.values.push((scale, make()));
            self.values.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "found or pushed just above")]
        &mut self.values[index].1
    }

    /// The value for `scale`, if it was made.
    pub fn get(&self, scale: f64) -> Option<&T> {
        let mut values = self.values.iter();
        values
            .find(|(known, _)| known.to_bits() == scale.to_bits())
            .map(|(_, value)| value)
    }

    /// The values for all scales.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.values.iter_mut().map(|(_, value)| value)
    }

    /// Forgets all values.
    pub fn clear(&mut self) {
        self.values.clear();
    }
}

impl<T: Default> PerScale<T> {
    /// The value for `scale`.
    pub fn at(&mut self, scale: f64) -> &mut T {
        self.get_or_insert_with(scale, T::default)
    }
}
