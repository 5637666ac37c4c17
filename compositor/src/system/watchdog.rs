// SPDX-License-Identifier: MIT OR Apache-2.0
//! Notices when the main loop does not come back, and says whom it was serving.
//!
//! Each turn of the loop says when it begins, before the first event is handled, whichever it is, and when it ends. A thread
//! looks at that while turns follow each other, so that a turn costs no system call; once after the last turn it finds that
//! the loop rests, and sleeps until the next. Under `heraldry supervise` the VM being served is also written to a record that
//! outlives a crash, and a turn without end is ended by abort.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use calloop::{EventIterator, EventSource, Poll, PostAction, Readiness, Token, TokenFactory};
use heraldry_config::Watchdog as Limits;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tracing::{error, warn};

use super::turn_timer::{Finding, TurnTimer};
use crate::system::clock::processor_time;
use crate::vms::booking::{Booking, Serving};

/// What the watchdog's thread looks at.
#[derive(Debug)]
struct Shared {
    /// What times are counted from.
    start: Instant,
    /// Which turn it is: odd while it runs, even while the main loop rests.
    turn: AtomicU64,
    /// When that turn began, in nanoseconds since `start`.
    since: AtomicU64,
    /// The timer is set, so the thread will look.
    looks: AtomicBool,
    serving: Serving,
    timer: OwnedFd,
}

impl Shared {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn begin(&self, warn: Duration) {
        let now = u64::try_from(self.now().as_nanos()).unwrap_or(u64::MAX);
        self.since.store(now, Ordering::SeqCst);
        self.turn.fetch_add(1, Ordering::SeqCst);
        if !self.looks.swap(true, Ordering::SeqCst) {
            self.look_in(warn);
        }
    }

    fn end(&self) {
        self.turn.fetch_add(1, Ordering::SeqCst);
    }

    /// A watchdog whose timer cannot be set watches nothing, which harms nobody.
    fn look_in(&self, time: Duration) {
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let timer = Itimerspec {
            it_interval: zero,
            // Zero would stop it.
            it_value: Timespec::try_from(time.max(Duration::from_nanos(1))).unwrap_or(zero),
        };
        let _unwatched = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &timer);
    }

    /// The turn that runs and how long ago it began; `None` while the main loop rests.
    fn running(&self) -> Option<(u64, Duration)> {
        loop {
            let turn = self.turn.load(Ordering::SeqCst);
            if turn.is_multiple_of(2) {
                return None;
            }
            let since = Duration::from_nanos(self.since.load(Ordering::SeqCst));
            if self.turn.load(Ordering::SeqCst) == turn {
                return Some((turn, self.now().saturating_sub(since)));
            }
        }
    }
}

/// The main thread's side. One that was not started is watched by nobody. All clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Watchdog(Rc<Main>);

#[derive(Debug, Default)]
struct Main {
    shared: Option<Arc<Shared>>,
    warn: Duration,
    /// Whether a turn has begun that is not over.
    turning: Cell<bool>,
    /// Processor time of this thread at the end of the last turn.
    processor: Cell<Duration>,
    longest: Cell<Duration>,
}

impl Watchdog {
    /// Starts the thread. If a supervisor reads along in `books`, a turn without end is ended by abort.
    pub fn start(limits: Limits, books: &Booking) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            start: Instant::now(),
            turn: AtomicU64::new(0),
            since: AtomicU64::new(0),
            looks: AtomicBool::new(false),
            serving: books.serving(),
            timer: timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?,
        });
        let supervised = books.is_recorded();
        let watched = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || watch(&watched, limits, supervised))?;
        Ok(Self(Rc::new(Main {
            shared: Some(shared),
            warn: limits.warn,
            ..Main::default()
        })))
    }

    /// A turn begins, if none has.
    pub fn turn_begins(&self) {
        let main = &self.0;
        if !main.turning.replace(true)
            && let Some(shared) = &main.shared
        {
            shared.begin(main.warn);
        }
    }

    /// The turn is over.
    pub fn turn_ends(&self) {
        let main = &self.0;
        if !main.turning.take() {
            return;
        }
        let now = processor_time();
        let took = now.saturating_sub(main.processor.replace(now));
        main.longest.set(main.longest.get().max(took));
        if let Some(shared) = &main.shared {
            shared.end();
        }
    }

    /// Processor time of the longest turn since the last call. What others on the machine take is not in it.
    #[must_use]
    pub fn take_longest(&self) -> Duration {
        self.0.longest.take()
    }
}

/// Begins a turn whenever the loop wakes, before any event is handled. It has no events of its own.
#[derive(Debug)]
pub struct TurnBegins(pub Watchdog);

impl EventSource for TurnBegins {
    type Event = ();
    type Metadata = ();
    type Ret = ();
    type Error = std::convert::Infallible;

    const NEEDS_EXTRA_LIFECYCLE_EVENTS: bool = true;

    fn before_handle_events(&mut self, _: EventIterator<'_>) {
        self.0.turn_begins();
    }

    fn process_events<F>(&mut self, _: Readiness, _: Token, _: F) -> Result<PostAction, Self::Error>
    where
        F: FnMut((), &mut ()),
    {
        Ok(PostAction::Continue)
    }

    fn register(&mut self, _: &mut Poll, _: &mut TokenFactory) -> calloop::Result<()> {
        Ok(())
    }

    fn reregister(&mut self, _: &mut Poll, _: &mut TokenFactory) -> calloop::Result<()> {
        Ok(())
    }

    fn unregister(&mut self, _: &mut Poll) -> calloop::Result<()> {
        Ok(())
    }
}

fn watch(shared: &Shared, limits: Limits, supervised: bool) {
    let mut count = [0; 8];
    let mut turn_timer = TurnTimer::default();
    loop {
        // Waits until it is time to look; an interrupted wait is begun again.
        if rustix::io::read(&shared.timer, &mut count).is_err() {
            continue;
        }
        let Some((turn, began)) = shared.running() else {
            // A turn that begins from now on sets the timer; one that has begun since found it set.
            shared.looks.store(false, Ordering::SeqCst);
            if shared.running().is_some() && !shared.looks.swap(true, Ordering::SeqCst) {
                shared.look_in(limits.warn);
            }
            continue;
        };
        match turn_timer.look(turn, began, limits) {
            Finding::Wait(after) => shared.look_in(after),
            Finding::Slow(after) => {
                warn!(serving = %shared.serving, after = ?limits.warn, "the main loop does not come back");
                shared.look_in(after);
            }
            Finding::Stuck if supervised => {
                error!(serving = %shared.serving, after = ?limits.abort, "the main loop is stuck; the compositor starts again");
                std::process::abort();
            }
            // Nobody would start another one; it may still come back.
            Finding::Stuck => shared.look_in(limits.abort),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        warn: Duration::from_secs(1),
        abort: Duration::from_secs(10),
    };

    fn started(warn: Duration) -> (Watchdog, Arc<Shared>) {
        let limits = Limits { warn, ..LIMITS };
        let watchdog = Watchdog::start(limits, &Booking::default()).unwrap();
        let shared = Arc::clone(watchdog.0.shared.as_ref().unwrap());
        (watchdog, shared)
    }

    #[test]
    fn turns_are_counted_at_both_ends() {
        let (watchdog, shared) = started(Duration::from_secs(60));
        assert_eq!(shared.running(), None);
        watchdog.turn_begins();
        watchdog.turn_begins();
        assert_eq!(shared.running().map(|(turn, _)| turn), Some(1));
        watchdog.turn_ends();
        watchdog.turn_ends();
        assert_eq!(shared.running(), None);
        watchdog.turn_begins();
        assert_eq!(shared.running().map(|(turn, _)| turn), Some(3));
    }

    #[test]
    fn who_rests_is_looked_at_once_and_watched_again_when_it_turns() {
        let (watchdog, shared) = started(Duration::from_millis(5));
        let until = |looks: bool| {
            let deadline = Instant::now() + Duration::from_secs(10);
            while shared.looks.load(Ordering::SeqCst) != looks {
                assert!(Instant::now() < deadline, "looks: {looks}");
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        for _ in 0..3 {
            watchdog.turn_begins();
            assert!(shared.looks.load(Ordering::SeqCst));
            watchdog.turn_ends();
            until(false);
        }
    }

    #[test]
    fn a_turn_begins_before_the_first_event_whatever_that_is() {
        let (watchdog, shared) = started(Duration::from_secs(60));
        let mut event_loop = calloop::EventLoop::<u64>::try_new().unwrap();
        let handle = event_loop.handle();
        handle
            .insert_source(TurnBegins(watchdog), |(), (), _| {})
            .unwrap();
        let (ping, source) = calloop::ping::make_ping().unwrap();
        handle
            .insert_source(source, move |(), (), seen| {
                *seen = shared.turn.load(Ordering::SeqCst);
            })
            .unwrap();
        ping.ping();
        let mut seen = 0;
        event_loop.dispatch(None, &mut seen).unwrap();
        assert_eq!(seen, 1);
    }
}
