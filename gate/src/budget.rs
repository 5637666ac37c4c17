// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the clients of one VM may use together, and what they use.
//!
//! Every session of a VM has an [`Account`] with the VM's [`Budgets`]. What a session takes it gives back when it ends,
//! whatever state it is in. The counters can be read from any thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::Limits;
use crate::rules::instances::is_listed;
use crate::tables::Kind;
use crate::violation::Rule;

macro_rules! budgets {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $field:ident, $rule:ident;)+) => {
        /// What is counted for a whole VM.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Budget {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Budget {
            /// Every budget.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name in statistics and in `docs/limits.md`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The rule that a client breaks which wants more.
            pub(crate) const fn rule(self) -> Rule {
                match self {
                    $(Self::$variant => Rule::$rule,)+
                }
            }

            fn limit(self, limits: &Limits) -> u64 {
                match self {
                    $(Self::$variant => limits.$field,)+
                }
            }
        }
    };
}

budgets! {
    /// Objects of clients, those whose deletion is not confirmed included.
    Objects = "objects", objects, TooManyObjects;
    /// Objects that nothing destroys before their client leaves: seats, pointers and outputs of old versions. Smithay
    /// destroys them all at once, each pointer with a look at every other.
    Lasting = "lasting-objects", lasting, TooManyObjects;
    /// Surfaces.
    Surfaces = "surfaces", surfaces, TooManySurfaces;
    /// Windows.
    Toplevels = "toplevels", toplevels, TooManyToplevels;
    /// Popups.
    Popups = "popups", popups, TooManyPopups;
    /// Buffers.
    Buffers = "buffers", buffers, TooManyBuffers;
    /// Memory pools.
    Pools = "pools", pools, TooManyPools;
    /// Bytes of pools that are mapped.
    PoolBytes = "pool-bytes", pool_bytes, PoolBytes;
    /// Descriptors that pools hold, and those whose message has not come.
    Descriptors = "descriptors", descriptors, TooManyDescriptors;
    /// Regions.
    Regions = "regions", regions, TooManyRegions;
    /// Rectangles of regions, and of their copies in surfaces. Nobody is ended for these: see `rules::region`.
    Rectangles = "rectangles", rectangles, TooManyRegions;
    /// Frame callbacks and their like that have not come back.
    Callbacks = "callbacks", callbacks, TooManyCallbacks;
    /// Data sources.
    Sources = "sources", sources, TooManySources;
    /// Objects that Smithay keeps in lists which it looks through: see `rules::instances`.
    Listed = "listed", listed, TooManyInstances;
    /// Bytes of the types of all sources.
    MimeBytes = "mime-bytes", mime_bytes, MimeBytes;
}

const COUNT: usize = Budget::ALL.len();

impl Budget {
    /// What an object of this kind counts as, besides being an object.
    pub(crate) const fn of(kind: Kind) -> Option<Self> {
        Some(match kind {
            Kind::Surface => Self::Surfaces,
            Kind::Toplevel => Self::Toplevels,
            Kind::Popup => Self::Popups,
            Kind::Buffer => Self::Buffers,
            Kind::ShmPool => Self::Pools,
            Kind::Region => Self::Regions,
            Kind::Callback | Kind::Feedback => Self::Callbacks,
            Kind::DataSource | Kind::PrimarySource => Self::Sources,
            kind if is_listed(kind) => Self::Listed,
            _ => return None,
        })
    }
}

#[derive(Debug, Default)]
struct Entry {
    used: AtomicU64,
    peak: AtomicU64,
    limit: AtomicU64,
    refused: AtomicU64,
}

/// One budget as statistics show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// What is counted.
    pub budget: Budget,
    /// In use now.
    pub used: u64,
    /// The most that was ever in use.
    pub peak: u64,
    /// The most that may be.
    pub limit: u64,
    /// How often more was wanted.
    pub refused: u64,
}

/// The budgets of one VM.
#[derive(Debug)]
pub struct Budgets {
    entries: [Entry; COUNT],
}

impl Budgets {
    /// Budgets of which nothing is used.
    #[must_use]
    pub fn new(limits: &Limits) -> Arc<Self> {
        let budgets = Self {
            entries: std::array::from_fn(|_| Entry::default()),
        };
        budgets.set_limits(limits);
        Arc::new(budgets)
    }

    /// Puts other limits in force. What is in use beyond a lower one stays, and nothing is added to it.
    pub fn set_limits(&self, limits: &Limits) {
        for budget in Budget::ALL {
            self.entry(*budget)
                .limit
                .store(budget.limit(limits), Ordering::Relaxed);
        }
    }

    /// Every budget, in the order of [`Budget::ALL`].
    pub fn usage(&self) -> impl Iterator<Item = Usage> + '_ {
        Budget::ALL.iter().map(|budget| {
            let entry = self.entry(*budget);
            Usage {
                budget: *budget,
                used: entry.used.load(Ordering::Relaxed),
                peak: entry.peak.load(Ordering::Relaxed),
                limit: entry.limit.load(Ordering::Relaxed),
                refused: entry.refused.load(Ordering::Relaxed),
            }
        })
    }

    // A budget is its own place in the table.
    #[expect(clippy::indexing_slicing, reason = "the enum has COUNT variants")]
    fn entry(&self, budget: Budget) -> &Entry {
        &self.entries[budget as usize]
    }
}

/// What one session has taken of its VM's budgets.
#[derive(Debug)]
pub(crate) struct Account {
    budgets: Arc<Budgets>,
    own: [u64; COUNT],
}

/// A budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) budget: Budget,
    pub(crate) limit: u64,
}

impl Account {
    pub(crate) fn new(budgets: Arc<Budgets>) -> Self {
        Self {
            budgets,
            own: [0; COUNT],
        }
    }

    /// The budgets of the VM.
    #[cfg(test)]
    pub(crate) fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Takes `amount`, or nothing.
    pub(crate) fn take(&mut self, budget: Budget, amount: u64) -> Result<(), Full> {
        let entry = self.budgets.entry(budget);
        let limit = entry.limit.load(Ordering::Relaxed);
        // All sessions of a VM are on one thread, so nothing comes between look and change.
        let used = entry.used.load(Ordering::Relaxed).saturating_add(amount);
        if used > limit {
            entry.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Full { budget, limit });
        }
        entry.used.store(used, Ordering::Relaxed);
        entry.peak.fetch_max(used, Ordering::Relaxed);
        let own = self.own_mut(budget);
        *own = own.saturating_add(amount);
        Ok(())
    }

    /// Gives `amount` back, and never more than was taken.
    pub(crate) fn give(&mut self, budget: Budget, amount: u64) {
        let own = self.own_mut(budget);
        let amount = amount.min(*own);
        *own = own.saturating_sub(amount);
        self.budgets
            .entry(budget)
            .used
            .fetch_sub(amount, Ordering::Relaxed);
    }

    #[expect(clippy::indexing_slicing, reason = "the enum has COUNT variants")]
    fn own_mut(&mut self, budget: Budget) -> &mut u64 {
        &mut self.own[budget as usize]
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        for budget in Budget::ALL {
            self.give(*budget, u64::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_s_sessions_share_and_give_back() {
        let limits = Limits {
            surfaces: 10,
            ..Limits::default()
        };
        let budgets = Budgets::new(&limits);
        let (mut one, mut two) = (
            Account::new(Arc::clone(&budgets)),
            Account::new(Arc::clone(&budgets)),
        );
        one.take(Budget::Surfaces, 6).unwrap();
        two.take(Budget::Surfaces, 4).unwrap();
        let full = Full {
            budget: Budget::Surfaces,
            limit: 10,
        };
        assert_eq!(two.take(Budget::Surfaces, 1), Err(full));
        two.give(Budget::Surfaces, 100);
        let of = |budgets: &Budgets| budgets.usage().find(|u| u.budget == Budget::Surfaces).unwrap();
        assert_eq!(of(&budgets).used, 6, "nobody gives back what another took");
        drop(one);
        assert_eq!(
            (of(&budgets).used, of(&budgets).peak, of(&budgets).refused),
            (0, 10, 1)
        );
        assert_eq!(two.take(Budget::Surfaces, u64::MAX), Err(full));
    }
}
