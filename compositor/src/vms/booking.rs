// SPDX-License-Identifier: MIT OR Apache-2.0
//! For which VM the main thread works right now, and how long it has.
//!
//! Whatever is done for a VM goes through [`Booking::book`]: its requests and what follows from them, input that it gets, and
//! the drawing of its windows. So the watchdog and the supervisor know whom a stuck turn was for, also in the middle of a
//! frame, and nobody pays for another's work.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use heraldry_identity::VmName;
use tracing::warn;

use crate::init::record::{Pause, Record};

/// What is done for a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Serving its requests and what they ask for; what this takes sets the credit of the next turn.
    Requests,
    /// Telling it of the user's input.
    Input,
    /// Composing and drawing its windows.
    Drawing,
}

/// Time of the main thread since it was last taken note of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// On requests.
    pub requests: Duration,
    /// On input. A VM cannot help it that the user is busy with it, so this does not count against its credit.
    pub input: Duration,
    /// On drawing.
    pub drawing: Duration,
}

/// The VM that is served, as the watchdog's thread sees it.
#[derive(Debug, Clone, Default)]
pub struct Serving(Arc<Mutex<Option<VmName>>>);

impl std::fmt::Display for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let serving = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match serving.as_ref() {
            Some(vm) => vm.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// The book; clones are handles to the same one.
#[derive(Debug, Clone, Default)]
pub struct Booking(Rc<Book>);

#[derive(Debug, Default)]
struct Book {
    serving: Serving,
    /// What a supervisor keeps for the next compositor.
    record: Option<Record>,
    /// The record could not be written, and that was said.
    complained: Cell<bool>,
    spent: RefCell<BTreeMap<VmName, Spent>>,
}

impl Booking {
    /// A book whose served VM is also written to the file `record`, for a supervisor.
    pub fn with_record(record: Option<&Path>) -> std::io::Result<Self> {
        let record = record.map(Record::open).transpose()?;
        Ok(Self(Rc::new(Book {
            record,
            ..Book::default()
        })))
    }

    /// The record of a supervisor.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        self.0.record.as_ref()
    }

    /// Writes down that a VM is not to be served, also by the next compositor.
    pub fn paused(&self, pause: &Pause) {
        self.note(|record| record.pause(pause));
    }

    /// Writes down that it is served again.
    pub fn resumed(&self, vm: &VmName) {
        self.note(|record| record.resume(vm));
    }

    /// Tells the supervisor that the main loop turns.
    pub fn note_turns(&self) {
        self.note(Record::set_turns);
    }

    fn note(&self, write: impl FnOnce(&Record) -> std::io::Result<()>) {
        if let Some(record) = &self.0.record
            && write(record).is_err()
            && !self.0.complained.replace(true)
        {
            warn!("the record for the supervisor cannot be written");
        }
    }

    /// Whether a supervisor reads along.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.0.record.is_some()
    }

    /// The VM that is served, for another thread.
    #[must_use]
    pub fn serving(&self) -> Serving {
        self.0.serving.clone()
    }

    /// Does some work for a VM, on its account.
    pub fn book<T>(&self, vm: &VmName, kind: Work, work: impl FnOnce() -> T) -> T {
        let before = self.serve(Some(vm.clone()));
        let start = Instant::now();
        let done = work();
        let took = start.elapsed();
        self.serve(before);
        let mut spent = self.0.spent.borrow_mut();
        let account = spent.entry(vm.clone()).or_default();
        let field = match kind {
            Work::Requests => &mut account.requests,
            Work::Input => &mut account.input,
            Work::Drawing => &mut account.drawing,
        };
        *field = field.saturating_add(took);
        done
    }

    /// What a VM has spent since the last call.
    #[must_use]
    pub fn take(&self, vm: &VmName) -> Spent {
        self.0.spent.borrow_mut().remove(vm).unwrap_or_default()
    }

    /// From now on `vm` is served. Returns who was.
    fn serve(&self, vm: Option<VmName>) -> Option<VmName> {
        self.note(|record| record.serve(vm.as_ref()));
        let mut serving = self.0.serving.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *serving, vm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(name: &str) -> VmName {
        VmName::new(name).expect("a name")
    }

    #[test]
    fn the_record_names_whom_the_work_is_for_and_nobody_afterwards() {
        let kept = Record::create().unwrap();
        let path = format!("/proc/self/fd/{}", kept.number());
        let books = Booking::with_record(Some(Path::new(&path))).unwrap();
        let record = || {
            let text = std::fs::read_to_string(&path).unwrap();
            text.trim_end_matches('\0').to_owned()
        };
        books.book(&vm("work"), Work::Requests, || {
            assert_eq!(
                (record(), books.serving().to_string()),
                ("work".into(), "work".into())
            );
            books.book(&vm("games"), Work::Drawing, || assert_eq!(record(), "games"));
            assert_eq!(record(), "work", "the one whose work it is part of");
        });
        assert_eq!(
            (record(), books.serving().to_string()),
            (String::new(), "none".into())
        );
    }

    #[test]
    fn each_pays_for_what_was_done_for_it() {
        let books = Booking::default();
        books.book(&vm("games"), Work::Drawing, || {
            let until = Instant::now() + Duration::from_millis(2);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        });
        assert_eq!(books.take(&vm("work")), Spent::default());
        let spent = books.take(&vm("games"));
        assert!(spent.drawing >= Duration::from_millis(2), "{spent:?}");
        assert_eq!((spent.requests, spent.input), (Duration::ZERO, Duration::ZERO));
        assert_eq!(books.take(&vm("games")), Spent::default(), "taken once");
    }
}
