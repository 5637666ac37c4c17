// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stand-ins: what the compositor gets, what comes of them, and what they cost.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::{read, write};

use super::*;

fn party(vm: &str, connection: u64) -> Party {
    Party {
        vm: VmName::new(vm).unwrap(),
        connection,
        most: 4,
    }
}

/// A pipe as a program makes it: what it reads, what it sends.
fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC).unwrap()
}

/// Whether whoever reads finds an end, rather than having to wait.
fn ended(reader: &OwnedFd) -> bool {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(reader, PollFlags::IN)];
    poll(&mut fds, Some(&now)).unwrap();
    fds[0].revents().contains(PollFlags::HUP)
}

#[track_caller]
fn pipe_of(returned: Result<Returned, GiveBackError>) -> OwnedFd {
    match returned.unwrap() {
        Returned::Pipe(end) => end,
        Returned::Other => panic!("it is no stand-in"),
    }
}

/// Who writes into it learns that nobody reads.
#[track_caller]
fn assert_unread(end: &OwnedFd) {
    assert_eq!(write(end, b"x"), Err(Errno::PIPE));
}

#[test]
fn what_was_kept_comes_back_once() {
    let mut all = StandIns::new();
    let ((reader, end), asks, has) = (pipe(), party("work", 1), party("work", 2));
    let stand_in = all.replace(&asks, end).unwrap();
    let stat = fstat(&stand_in).unwrap();
    assert_eq!(
        FileType::from_raw_mode(stat.st_mode),
        FileType::RegularFile,
        "a device would write into a pipe"
    );
    assert!(ftruncate(&stand_in, 0).is_err());
    let end = pipe_of(all.give_back(&has, &stand_in));
    write(&end, b"data").unwrap();
    let mut data = [0; 4];
    assert_eq!(
        (read(&reader, &mut data), &data),
        (Ok(4), b"data"),
        "the same pipe"
    );
    assert!(!ended(&reader));
    drop(end);
    assert!(ended(&reader));
    assert_unread(&pipe_of(all.give_back(&has, &stand_in)));
}

#[test]
fn nothing_that_a_vm_can_make_is_a_stand_in() {
    let mut all = StandIns::new();
    let (_reader, end) = pipe();
    let stand_in = all.replace(&party("work", 1), end).unwrap();
    // The same name, size, seals and content.
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let likeness = memfd_create("heraldry/pipe", flags).unwrap();
    ftruncate(&likeness, PAGE_SIZE).unwrap();
    fcntl_add_seals(&likeness, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL).unwrap();
    let mut content = [0; 4096];
    rustix::io::pread(&stand_in, &mut content, 0).unwrap();
    rustix::io::pwrite(&likeness, &content, 0).unwrap();
    let returned = all.give_back(&party("work", 2), &likeness).unwrap();
    assert!(matches!(returned, Returned::Other));
    assert_eq!(all.kept(&party("work", 1).vm), 1);
}

#[test]
fn a_stand_in_that_another_process_made_is_known_as_such() {
    let (mut work, mut play) = (StandIns::new(), StandIns::new());
    let (_reader, end) = pipe();
    let stand_in = work.replace(&party("work", 1), end).unwrap();
    let returned = play.give_back(&party("play", 2), &stand_in);
    assert_eq!(returned.unwrap_err(), GiveBackError::Foreign);
    pipe_of(work.give_back(&party("work", 2), &stand_in));
}

#[test]
fn another_vm_gets_nothing_and_the_owner_still_does() {
    let mut all = StandIns::new();
    let (_reader, end) = pipe();
    let stand_in = all.replace(&party("work", 1), end).unwrap();
    let foreign = all.give_back(&party("play", 2), &stand_in);
    assert_eq!(foreign.unwrap_err(), GiveBackError::Foreign);
    let end = pipe_of(all.give_back(&party("work", 1), &stand_in));
    write(&end, b"x").unwrap();
    // Not even when it stands for nothing any more, or for nothing from the start.
    let foreign = all.give_back(&party("play", 2), &stand_in);
    assert_eq!(foreign.unwrap_err(), GiveBackError::Foreign);
    let spare = all.spare(&party("work", 1)).unwrap();
    let foreign = all.give_back(&party("play", 2), &spare);
    assert_eq!(foreign.unwrap_err(), GiveBackError::Foreign);
}

#[test]
fn a_stand_in_that_nobody_holds_any_more_closes_its_pipe() {
    let mut all = StandIns::new();
    let (reader, end) = pipe();
    let stand_in = all.replace(&party("work", 1), end).unwrap();
    // A device may have it open and mapped in other ways.
    let again = rustix::io::fcntl_dupfd_cloexec(&stand_in, 0).unwrap();
    let path = format!("/proc/self/fd/{}", stand_in.as_raw_fd());
    let mapped = std::fs::File::open(path).unwrap();
    drop(stand_in);
    drop(mapped);
    all.notice();
    assert!(!ended(&reader), "somebody still has it");
    drop(again);
    all.notice();
    assert!(ended(&reader));
    assert!(all.known.is_empty() && all.watched.is_empty());
}

#[test]
fn pipes_beyond_the_limit_end_at_once_and_cost_little() {
    let mut all = StandIns::new();
    let (asks, other) = (party("work", 1), party("play", 2));
    let mut pages = Vec::new();
    let mut readers = Vec::new();
    for number in 0..1000 {
        let (reader, end) = pipe();
        pages.push(all.replace(&asks, end).unwrap());
        assert_eq!(ended(&reader), number >= asks.most, "{number}");
        // Those that were closed are of no interest.
        if number < asks.most {
            readers.push(reader);
        }
    }
    assert_eq!(all.kept(&asks.vm), asks.most);
    assert!(all.known.len() <= asks.most * KNOWN_FOR_KEPT + 1);
    assert_unread(&pipe_of(all.give_back(&asks, pages.last().unwrap())));
    // Others have their own.
    let (reader, end) = pipe();
    let page = all.replace(&other, end).unwrap();
    assert!(!ended(&reader));
    drop(pipe_of(all.give_back(&other, &page)));
    // The one that stands for many goes with the VM's last connection, and is known while somebody has it.
    all.vm_idle(&asks.vm);
    assert!(all.spare.is_empty());
    assert_unread(&pipe_of(all.give_back(&asks, pages.last().unwrap())));
    // With the next that comes back there is room for another.
    drop(pipe_of(all.give_back(&asks, &pages[0])));
    pages.clear();
    all.notice();
    let (reader, end) = pipe();
    let _page = all.replace(&asks, end).unwrap();
    assert!(!ended(&reader));
}

#[test]
fn the_end_of_the_client_closes_its_pipes() {
    let mut all = StandIns::new();
    let pipes = [pipe(), pipe(), pipe()];
    let parties = [party("work", 1), party("work", 2), party("play", 3)];
    let mut readers = Vec::new();
    let mut pages = Vec::new();
    for ((reader, end), party) in pipes.into_iter().zip(&parties) {
        readers.push(reader);
        pages.push(all.replace(party, end).unwrap());
    }
    let ends = |readers: &[OwnedFd]| readers.iter().map(ended).collect::<Vec<_>>();
    all.connection_gone(1);
    assert_eq!(ends(&readers), [true, false, false]);
    assert_unread(&pipe_of(all.give_back(&parties[1], &pages[0])));
    all.connection_gone(2);
    assert_eq!(ends(&readers), [true, true, false]);
}

#[test]
fn a_stand_in_that_is_held_for_too_long_closes_its_pipe() {
    let mut all = StandIns::new();
    let (reader, end) = pipe();
    let party = party("work", 1);
    let page = all.replace(&party, end).unwrap();
    let deadline = all.next_deadline().unwrap();
    all.expire(deadline - Duration::from_millis(1));
    assert!(!ended(&reader));
    all.expire(deadline);
    assert!(ended(&reader));
    assert_eq!(all.next_deadline(), None);
    assert_unread(&pipe_of(all.give_back(&party, &page)));
    drop(page);
    all.notice();
    assert!(all.known.is_empty());
}
