// SPDX-License-Identifier: MIT OR Apache-2.0
//! Notices when the main loop does not come back, and says whom it was serving.
//!
//! Each turn of the loop winds up a timer before the first event is handled, whichever it is, and stops it at its end, so an
//! idle compositor is never woken. Under
//! `heraldry supervise` the VM being served is also written to a record that outlives a crash, and a turn without end is
//! ended by abort.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use calloop::{EventIterator, EventSource, Poll, PostAction, Readiness, Token, TokenFactory};
use heraldry_config::Watchdog;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tracing::{error, warn};

use crate::system::clock::processor_time;
use crate::vms::booking::{Booking, Serving};

/// What the watchdog's thread may look at.
#[derive(Debug, Default)]
struct Shared {
    /// Which turn it is: odd while it runs, even while the main loop rests.
    turn: AtomicU64,
    serving: Serving,
}

/// The main thread's side. Without a timer it beats for nobody. All clones are one heart.
#[derive(Debug, Clone, Default)]
pub struct Heart(Rc<Beat>);

#[derive(Debug, Default)]
struct Beat {
    shared: Arc<Shared>,
    timer: Option<Arc<OwnedFd>>,
    warn: Duration,
    wound: Cell<bool>,
    /// Whether a turn has begun that is not over.
    turning: Cell<bool>,
    /// Processor time of this thread at the end of the last turn.
    processor: Cell<Duration>,
    longest: Cell<Duration>,
}

fn settings(first: Duration) -> Itimerspec {
    let zero = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    Itimerspec {
        it_interval: zero,
        it_value: Timespec::try_from(first).unwrap_or(zero),
    }
}

impl Heart {
    /// A heart that is watched. If a supervisor reads along in `books`, a turn without end is ended by abort.
    pub fn start(limits: Watchdog, books: &Booking) -> std::io::Result<Self> {
        let timer = Arc::new(timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?);
        let shared = Arc::new(Shared {
            serving: books.serving(),
            ..Shared::default()
        });
        let supervised = books.is_recorded();
        let (own_timer, own_shared) = (Arc::clone(&timer), Arc::clone(&shared));
        std::thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || watch(&own_timer, &own_shared, limits, supervised))?;
        Ok(Self(Rc::new(Beat {
            shared,
            timer: Some(timer),
            warn: limits.warn,
            ..Beat::default()
        })))
    }

    /// A turn begins, if none has.
    pub fn begin(&self) {
        let beat = &self.0;
        beat.turning.set(true);
        if let Some(timer) = beat.timer.as_ref().filter(|_| !beat.wound.get()) {
            beat.shared.turn.fetch_add(1, Ordering::SeqCst);
            // A watchdog that cannot be wound up watches nothing, which harms nobody.
            let _unwatched = timerfd_settime(timer, TimerfdTimerFlags::empty(), &settings(beat.warn));
            beat.wound.set(true);
        }
    }

    /// The turn is over.
    pub fn rest(&self) {
        let beat = &self.0;
        if beat.turning.take() {
            let now = processor_time();
            let took = now.saturating_sub(beat.processor.replace(now));
            beat.longest.set(beat.longest.get().max(took));
        }
        if let Some(timer) = beat.timer.as_ref().filter(|_| beat.wound.get()) {
            let _unwatched = timerfd_settime(timer, TimerfdTimerFlags::empty(), &settings(Duration::ZERO));
            beat.shared.turn.fetch_add(1, Ordering::SeqCst);
            beat.wound.set(false);
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
pub struct Wakes(pub Heart);

impl EventSource for Wakes {
    type Event = ();
    type Metadata = ();
    type Ret = ();
    type Error = std::convert::Infallible;

    const NEEDS_EXTRA_LIFECYCLE_EVENTS: bool = true;

    fn before_handle_events(&mut self, _: EventIterator<'_>) {
        self.0.begin();
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

/// What is to be done when the timer has run out.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// The main loop rests: it came back while the timer ran out, or while it was wound up again.
    Rests,
    /// A turn takes long.
    Slow,
    /// It took long at the last look already.
    Stuck,
}

fn look(turn: u64, warned: Option<u64>) -> Finding {
    if turn.is_multiple_of(2) {
        Finding::Rests
    } else if warned == Some(turn) {
        Finding::Stuck
    } else {
        Finding::Slow
    }
}

fn watch(timer: &OwnedFd, shared: &Shared, limits: Watchdog, supervised: bool) {
    let mut count = [0; 8];
    let mut warned = None;
    loop {
        // Waits until a turn takes too long; an interrupted wait is begun again.
        if rustix::io::read(timer, &mut count).is_err() {
            continue;
        }
        let turn = shared.turn.load(Ordering::SeqCst);
        let finding = look(turn, warned);
        if finding == Finding::Rests {
            continue;
        }
        if finding == Finding::Stuck {
            error!(serving = %shared.serving, after = ?limits.abort, "the main loop is stuck; the compositor starts anew");
            std::process::abort();
        }
        warn!(serving = %shared.serving, after = ?limits.warn, "the main loop does not come back");
        if supervised {
            warned = Some(turn);
            // The main thread stops the timer if it comes back after all; if it just has, the next look finds that it rests.
            let rest = settings(limits.abort.saturating_sub(limits.warn));
            let _unwatched = timerfd_settime(timer, TimerfdTimerFlags::empty(), &rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_stuck_only_while_it_runs() {
        assert_eq!(look(1, None), Finding::Slow);
        assert_eq!(look(1, Some(1)), Finding::Stuck);
        assert_eq!(look(2, Some(1)), Finding::Rests, "it came back just now");
        assert_eq!(look(3, Some(1)), Finding::Slow, "another one");
    }

    #[test]
    fn turns_are_counted_at_both_ends() {
        let limits = Watchdog {
            warn: Duration::from_secs(60),
            abort: Duration::from_secs(60),
        };
        let heart = Heart::start(limits, &Booking::default()).unwrap();
        let turn = |heart: &Heart| heart.0.shared.turn.load(Ordering::SeqCst);
        heart.begin();
        heart.begin();
        assert_eq!(turn(&heart), 1);
        heart.rest();
        heart.rest();
        assert_eq!(turn(&heart), 2);
        heart.begin();
        assert_eq!(turn(&heart), 3);
    }

    #[test]
    fn a_turn_begins_before_the_first_event_whatever_that_is() {
        let limits = Watchdog {
            warn: Duration::from_secs(60),
            abort: Duration::from_secs(60),
        };
        let heart = Heart::start(limits, &Booking::default()).unwrap();
        let mut event_loop = calloop::EventLoop::<(Heart, u64)>::try_new().unwrap();
        let handle = event_loop.handle();
        handle
            .insert_source(Wakes(heart.clone()), |(), (), _| {})
            .unwrap();
        let (ping, source) = calloop::ping::make_ping().unwrap();
        handle
            .insert_source(source, |(), (), (heart, seen)| {
                *seen = heart.0.shared.turn.load(Ordering::SeqCst);
            })
            .unwrap();
        ping.ping();
        let mut data = (heart, 0);
        event_loop.dispatch(None, &mut data).unwrap();
        assert_eq!(data.1, 1);
    }
}
