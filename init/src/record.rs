// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must outlive a crash of the compositor: which VM it was serving, and which VMs are not to be served.
//!
//! The supervisor keeps the record, in memory, as long as it lives; each compositor that it starts gets it by descriptor,
//! reads it at its start and writes what changes. A compositor may end in the middle of anything, so each entry is written
//! by itself and lies within one page: it is there in full or not at all.
//!
//! Nobody can make the file shorter or longer, and each compositor gets one of its own: whatever else the last one did to it
//! is not the next one's.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use heraldry_identity::VmName;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// Space for a VM's name, padded with zeros.
const NAME: usize = 32;
/// The VM that is being served has the first entry.
const ENTRY: usize = 64;
/// Behind its name: a compositor has started, and the main loop of this one turns.
const STARTED: u64 = NAME as u64;
const TURNS: u64 = STARTED + 1;
/// VMs that can be paused at one time; no configuration has as many.
const PAUSES: usize = 1023;

/// Why a VM is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseReason {
    /// The user said so.
    User,
    /// A client broke a rule, and the configuration wants the VM paused then.
    Violation,
    /// It was being served when the compositor ended unexpectedly, twice in a row or several times lately.
    Crashes,
}

impl PauseReason {
    const ALL: [Self; 3] = [Self::User, Self::Violation, Self::Crashes];

    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "by the user",
            Self::Violation => "a client broke a rule",
            Self::Crashes => "it was being served when the compositor crashed, more than once",
        }
    }

    const fn byte(self) -> u8 {
        match self {
            Self::User => b'u',
            Self::Violation => b'v',
            Self::Crashes => b'c',
        }
    }
}

/// A VM that is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Which.
    pub vm: VmName,
    /// Why.
    pub reason: PauseReason,
    /// Its windows are hidden.
    pub hidden: bool,
}

/// The record; clones of its file are the same one.
#[derive(Debug)]
pub struct Record(File);

impl Record {
    /// A record in which nothing stands. Children inherit it.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn create() -> io::Result<Self> {
        let file = File::from(memfd_create("heraldry-record", MemfdFlags::ALLOW_SEALING)?);
        file.set_len(offset(PAUSES + 1))?;
        // One that is cut would hold no pause any more, and a long one keeps memory for as long as the supervisor lives.
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(Self(file))
    }

    /// What stands in it, in another file: how the descriptors of this one write and who may open it is for whoever has it to
    /// change.
    ///
    /// # Errors
    ///
    /// There is no memory for it, or nothing can be read.
    pub fn renew(&self) -> io::Result<Self> {
        let new = Self::create()?;
        new.0.write_all_at(&self.read()?, 0)?;
        new.set_flag(TURNS, false)?;
        Ok(new)
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let mut all = vec![0; (PAUSES + 1) * ENTRY];
        self.0.read_exact_at(&mut all, 0)?;
        Ok(all)
    }

    /// The record that a supervisor gave.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(File::options().read(true).write(true).open(path)?))
    }

    /// By which number a child inherits it.
    #[must_use]
    pub fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Writes down who is served.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn serve(&self, vm: Option<&VmName>) -> io::Result<()> {
        self.0.write_all_at(&name_field(vm), 0)
    }

    /// Who was served last, if anybody; it stands there no more.
    #[must_use]
    pub fn take_served(&self) -> Option<VmName> {
        let mut field = [0; NAME];
        self.0.read_exact_at(&mut field, 0).ok()?;
        let _unwritable = self.serve(None);
        name_in(&field)
    }

    /// All VMs that are not to be served, in the order in which they were paused.
    #[must_use]
    pub fn pauses(&self) -> Vec<Pause> {
        let mut found: Vec<_> = self
            .entries()
            .into_iter()
            .filter_map(|(_, entry)| entry)
            .collect();
        found.sort_by_key(|(order, _)| *order);
        found.into_iter().map(|(_, pause)| pause).collect()
    }

    /// Writes down that a VM is not to be served.
    ///
    /// # Errors
    ///
    /// It cannot be written, or there are too many.
    pub fn pause(&self, pause: &Pause) -> io::Result<()> {
        let (mut free, mut own, mut last) = (None, None, 0);
        for (at, entry) in self.entries() {
            match entry {
                None => free = free.or(Some(at)),
                Some((order, known)) => {
                    last = last.max(order);
                    if known.vm == pause.vm {
                        own = Some(at);
                    }
                }
            }
        }
        let at = own.or(free).ok_or(io::ErrorKind::StorageFull)?;
        let mut entry = [0; ENTRY];
        let [reason, hidden, rest @ ..] = &mut entry;
        *reason = pause.reason.byte();
        *hidden = u8::from(pause.hidden);
        let order = last.saturating_add(1).to_le_bytes();
        let fields = order.into_iter().chain(name_field(Some(&pause.vm)));
        for (byte, from) in rest.iter_mut().zip(fields) {
            *byte = from;
        }
        self.0.write_all_at(&entry, offset(at))
    }

    /// Writes down that a VM is served again.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn resume(&self, vm: &VmName) -> io::Result<()> {
        for (at, entry) in self.entries() {
            if entry.is_some_and(|(_, known)| known.vm == *vm) {
                self.0.write_all_at(&[0; ENTRY], offset(at))?;
            }
        }
        Ok(())
    }

    /// Whether no compositor has started with this record before; one has, from now on.
    #[must_use]
    pub fn take_first_start(&self) -> bool {
        let first = !self.flag(STARTED);
        let _unwritable = self.set_flag(STARTED, true);
        first
    }

    /// Writes down that the compositor's main loop turns.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn set_turns(&self) -> io::Result<()> {
        self.set_flag(TURNS, true)
    }

    /// Whether the main loop of the compositor that has this record has turned.
    #[must_use]
    pub fn turns(&self) -> bool {
        self.flag(TURNS)
    }

    /// Whether a byte is set; one that cannot be read is.
    fn flag(&self, at: u64) -> bool {
        let mut byte = [1];
        let _unreadable = self.0.read_exact_at(&mut byte, at);
        byte != [0]
    }

    fn set_flag(&self, at: u64, set: bool) -> io::Result<()> {
        self.0.write_all_at(&[u8::from(set)], at)
    }

    /// Every place for a pause, with what stands there.
    fn entries(&self) -> Vec<(usize, Option<(u64, Pause)>)> {
        let Ok(all) = self.read() else {
            return Vec::new();
        };
        let entries = all.as_chunks().0.iter().zip(0..);
        entries.skip(1).map(|(entry, at)| (at, parse(entry))).collect()
    }
}

/// Where an entry lies.
fn offset(entry: usize) -> u64 {
    u64::try_from(entry * ENTRY).unwrap_or(u64::MAX)
}

/// An entry and its place in the order; `None` if it is free or makes no sense.
fn parse(entry: &[u8; ENTRY]) -> Option<(u64, Pause)> {
    let [reason, hidden, rest @ ..] = entry;
    let reason = PauseReason::ALL
        .into_iter()
        .find(|known| known.byte() == *reason)?;
    let (order, rest) = rest.split_first_chunk()?;
    let vm = name_in(rest.first_chunk()?)?;
    let pause = Pause {
        vm,
        reason,
        hidden: *hidden != 0,
    };
    Some((u64::from_le_bytes(*order), pause))
}

fn name_field(vm: Option<&VmName>) -> [u8; NAME] {
    let mut field = [0; NAME];
    for (byte, from) in field.iter_mut().zip(vm.iter().flat_map(|vm| vm.as_str().bytes())) {
        *byte = from;
    }
    field
}

fn name_in(field: &[u8; NAME]) -> Option<VmName> {
    let name = field.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(name).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(vm: &str, reason: PauseReason, hidden: bool) -> Pause {
        let vm = vm.parse().unwrap();
        Pause { vm, reason, hidden }
    }

    #[test]
    fn pauses_stand_there_in_their_order_until_they_are_over() {
        let record = Record::create().unwrap();
        assert_eq!(record.pauses(), []);
        let longest = "a".repeat(NAME - 1);
        let all = [
            pause("work", PauseReason::User, true),
            pause(&longest, PauseReason::Violation, false),
            pause("vault", PauseReason::Crashes, true),
        ];
        for pause in &all {
            record.pause(pause).unwrap();
        }
        let again = Record::open(Path::new(&format!("/proc/self/fd/{}", record.number()))).unwrap();
        assert_eq!(again.pauses(), all);
        again.resume(&all[0].vm).unwrap();
        // The place is taken again, and the order is that of pausing.
        let hidden = pause(&longest, PauseReason::User, true);
        again.pause(&pause("games", PauseReason::User, false)).unwrap();
        again.pause(&hidden).unwrap();
        let names: Vec<_> = record.pauses().iter().map(|pause| pause.vm.to_string()).collect();
        assert_eq!(names, ["vault", "games", &longest]);
        assert_eq!(record.pauses()[2], hidden);
    }

    #[test]
    fn nobody_makes_it_shorter_or_longer() {
        let record = Record::create().unwrap();
        record.pause(&pause("vault", PauseReason::User, true)).unwrap();
        let path = format!("/proc/self/fd/{}", record.number());
        let taken_over = File::options().write(true).open(path).unwrap();
        for length in [0, 64, 1 << 30] {
            assert!(taken_over.set_len(length).is_err(), "{length}");
        }
        assert!(taken_over.write_all_at(b"x", 1 << 30).is_err());
        assert_eq!(record.pauses().len(), 1);
        record.pause(&pause("work", PauseReason::User, false)).unwrap();
    }

    #[test]
    fn what_was_done_to_the_file_is_not_the_next_one_s() {
        let record = Record::create().unwrap();
        record.pause(&pause("vault", PauseReason::User, true)).unwrap();
        record.serve(Some(&"work".parse().unwrap())).unwrap();
        assert!(record.take_first_start());
        assert!(!record.turns());
        record.set_turns().unwrap();
        assert!(record.turns());
        // A child has the same open file: from now on who writes to it writes at its end.
        rustix::fs::fcntl_setfl(&record.0, rustix::fs::OFlags::APPEND).unwrap();
        rustix::fs::fchmod(&record.0, rustix::fs::Mode::empty()).unwrap();
        assert!(record.pause(&pause("work", PauseReason::Crashes, false)).is_err());
        let next = record.renew().unwrap();
        assert_eq!(next.pauses(), record.pauses());
        assert!(!next.take_first_start());
        assert!(!next.turns(), "the next one has not turned");
        assert_eq!(next.take_served(), "work".parse().ok());
        next.pause(&pause("work", PauseReason::Crashes, false)).unwrap();
        assert_eq!((next.pauses().len(), next.take_served()), (2, None));
        let mode = next.0.metadata().unwrap().permissions();
        assert_ne!(
            std::os::unix::fs::PermissionsExt::mode(&mode) & 0o006,
            0,
            "another user opens it"
        );
    }

    #[test]
    fn who_is_served_is_told_once() {
        let record = Record::create().unwrap();
        assert_eq!(record.take_served(), None);
        record.pause(&pause("vault", PauseReason::User, false)).unwrap();
        record.serve(Some(&"work".parse().unwrap())).unwrap();
        assert_eq!(record.take_served(), "work".parse().ok());
        assert_eq!(record.take_served(), None);
        assert_eq!(record.pauses().len(), 1);
    }

    #[test]
    fn there_is_room_for_many_and_rubbish_is_nobody() {
        let record = Record::create().unwrap();
        for n in 0..PAUSES {
            record
                .pause(&pause(&format!("vm{n}"), PauseReason::User, false))
                .unwrap();
        }
        let more = record.pause(&pause("one-more", PauseReason::User, false));
        assert_eq!(more.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(record.pauses().len(), 1023);
        record.0.write_all_at(&[0xff; 64 * 1024], 0).unwrap();
        assert_eq!((record.pauses(), record.take_served()), (vec![], None));
    }
}
