// SPDX-License-Identifier: MIT OR Apache-2.0
//! How often something may happen: lines of the log that a peer causes ([`LogBudget`]), and what a VM may do a second
//! ([`TokenBucket`]).
//!
//! Pure and without dependencies, so that every crate may have it. The clock is the caller's.
#![forbid(unsafe_code)]

mod log_budget;
mod token_bucket;

pub use log_budget::LogBudget;
pub use token_bucket::TokenBucket;
