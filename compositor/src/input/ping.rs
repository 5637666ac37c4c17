// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether a client answers, and what it is told of the pointer while it does not.
//!
//! A client that does not read cannot be seen as such behind virtio_wl: what it is sent waits at the host, at most
//! `unread-kib` of it. So it is asked for a sign of life (`xdg_wm_base.ping`) while the pointer moves over it, and while
//! the sign is overdue, motion waits: only the last place counts, and is told before anything that needs it. Nobody
//! is asked who gets no motion, and no timer runs: what is overdue shows when the pointer moves.

use std::time::Duration;

use heraldry_identity::VmName;
use heraldry_relay::ClientKey;
use smithay::utils::SERIAL_COUNTER;
use smithay::wayland::shell::xdg::ShellClient;
use wayland_server::protocol::wl_surface::WlSurface;

use crate::state::{Core, State};

/// Motion asks for a sign of life this often.
const EVERY: Duration = Duration::from_secs(1);
/// How long a sign may take before motion waits.
const LATE: Duration = Duration::from_millis(500);
/// How long it may take before the user is told that the client does not respond.
const LOST: Duration = Duration::from_secs(10);

/// What becomes of a motion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Verdict {
    /// Ask for a sign of life.
    ask: bool,
    /// The client is told.
    tell: bool,
}

/// What is known of one client. Times are the compositor's clock.
#[derive(Debug, Clone, Copy, Default)]
struct Answers {
    /// When it was asked last.
    asked: Option<Duration>,
    /// Whether that is not answered.
    open: bool,
    /// Whether it was not told where the pointer is.
    behind: bool,
}

impl Answers {
    fn waits(&self, now: Duration) -> Option<Duration> {
        self.asked
            .filter(|_| self.open)
            .map(|asked| now.saturating_sub(asked))
    }

    fn motion(&mut self, now: Duration) -> Verdict {
        let ask = !self.open && self.asked.is_none_or(|asked| now.saturating_sub(asked) >= EVERY);
        let tell = self.waits(now).is_none_or(|waits| waits <= LATE);
        self.behind = !tell;
        Verdict { ask, tell }
    }

    fn asked(&mut self, now: Duration) {
        self.asked = Some(now);
        self.open = true;
    }

    /// It answered; true if it is to be told where the pointer is.
    fn answered(&mut self) -> bool {
        self.open = false;
        std::mem::take(&mut self.behind)
    }

    fn is_lost(&self, now: Duration) -> bool {
        self.waits(now).is_some_and(|waits| waits > LOST)
    }
}

/// A client that can be asked, because it has a window.
#[derive(Debug)]
pub struct Pings {
    shell: ShellClient,
    answers: Answers,
}

impl Core {
    /// A client has made a window, so it can be asked.
    pub(crate) fn can_be_pinged(&mut self, key: ClientKey, shell: ShellClient) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if client.pings.as_ref().is_none_or(|known| !known.shell.alive()) {
            client.pings = Some(Pings {
                shell,
                answers: Answers::default(),
            });
        }
    }

    /// Whether a client does not respond, as far as it was asked.
    #[must_use]
    pub fn is_lost(&self, client: ClientKey) -> bool {
        let pings = self.clients.get(client).and_then(|client| client.pings.as_ref());
        pings.is_some_and(|pings| pings.answers.is_lost(self.clock.now()))
    }

    fn pings(&mut self, surface: &WlSurface) -> Option<&mut Pings> {
        let (_, key) = self.identity(surface)?;
        self.clients.get_mut(key)?.pings.as_mut()
    }

    /// Whether a client is told of a motion now that changes nothing else. If not, it is told later.
    pub(super) fn may_tell(&mut self, surface: &WlSurface) -> bool {
        let now = self.clock.now();
        let Some(Pings { shell, answers }) = self.pings(surface) else {
            return true;
        };
        let verdict = answers.motion(now);
        if verdict.ask && shell.send_ping(SERIAL_COUNTER.next_serial()).is_ok() {
            answers.asked(now);
        }
        verdict.tell
    }
}

impl State {
    /// A client gave a sign of life.
    pub fn answered(&mut self, shell: &ShellClient) {
        let mut clients = self.core.clients.iter_mut();
        let asked = clients.find_map(|(key, client)| {
            let pings = client.pings.as_mut().filter(|pings| pings.shell == *shell)?;
            Some((key, pings))
        });
        let Some((key, pings)) = asked else { return };
        let behind = pings.answers.answered();
        drop(clients);
        let hovers = self.core.input.hover.as_ref();
        let hovers =
            hovers.is_some_and(|(_, surface)| self.core.identity(surface).is_some_and(|(_, of)| of == key));
        if behind && (hovers || self.core.has_finger_behind(key)) {
            self.core.input.effects.push(super::Effect::TellPlace);
        }
    }

    /// Before an event that has a place: the client that has the pointer is told where that is, if it was not.
    pub(super) fn catch_up(&mut self, vm: &VmName) {
        let pointer = self.core.vms.get(vm).and_then(|vm| vm.seat.get_pointer());
        let behind = pointer
            .and_then(|pointer| pointer.current_focus())
            .and_then(|surface| self.core.pings(&surface))
            .is_some_and(|pings| std::mem::take(&mut pings.answers.behind));
        if behind {
            self.deliver_motion();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    const TELL: Verdict = Verdict {
        ask: false,
        tell: true,
    };
    const WAIT: Verdict = Verdict {
        ask: false,
        tell: false,
    };

    #[test]
    fn a_client_that_answers_is_told_everything_and_asked_once_a_second() {
        let mut answers = Answers::default();
        let mut asked = 0;
        for at in 0..5000 {
            let verdict = answers.motion(ms(at));
            assert!(verdict.tell, "at {at}");
            if verdict.ask {
                answers.asked(ms(at));
                asked += 1;
            }
            // It answers within its time.
            if at % 1000 == 400 {
                assert!(!answers.answered());
            }
        }
        assert_eq!(asked, 5);
    }

    #[test]
    fn a_client_that_does_not_answer_hears_nothing_until_it_does() {
        let mut answers = Answers::default();
        assert!(answers.motion(ms(100)).ask);
        answers.asked(ms(100));
        assert_eq!(answers.motion(ms(600)), TELL);
        for at in 601..10_000 {
            assert_eq!(answers.motion(ms(at)), WAIT, "and is not asked again");
        }
        assert!(!answers.is_lost(ms(10_100)));
        assert!(answers.is_lost(ms(10_101)));
        assert!(answers.answered(), "it is told the last place");
        assert!(!answers.answered(), "once");
        assert!(!answers.is_lost(ms(20_000)));
        assert!(answers.motion(ms(20_000)).tell);
    }

    #[test]
    fn who_was_never_asked_is_not_late() {
        let answers = Answers::default();
        assert!(!answers.is_lost(ms(1_000_000)));
    }
}
