// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether a client answers, and what it is told of the pointer while it does not.
//!
//! A client that does not read cannot be seen as such behind virtio_wl: what it is sent waits at the host, at most
//! `unread-kib` of it. So it is asked for a sign of life (`xdg_wm_base.ping`) while the pointer moves over it, and while
//! the sign is overdue, motion waits: only the last place counts, and is told before anything that needs it. Nobody
//! is asked who gets no motion, and no timer runs: what is overdue shows when the pointer moves.

use std::collections::BTreeMap;
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

/// Clients with windows.
#[derive(Debug, Default)]
pub struct Answering(BTreeMap<ClientKey, (ShellClient, Answers)>);

impl Answering {
    /// A client that can be asked.
    pub(crate) fn came(&mut self, key: ClientKey, shell: ShellClient) {
        let known = self.0.get(&key);
        if known.is_none_or(|(known, _)| !known.alive()) {
            self.0.insert(key, (shell, Answers::default()));
        }
    }

    /// A client is gone.
    pub(crate) fn went(&mut self, key: ClientKey) {
        self.0.remove(&key);
    }
}

impl Core {
    /// Whether a client does not respond, as far as it was asked.
    #[must_use]
    pub fn is_lost(&self, client: ClientKey) -> bool {
        let known = self.input.ping.0.get(&client);
        known.is_some_and(|(_, answers)| answers.is_lost(self.clock.now()))
    }

    fn answers(&mut self, surface: &WlSurface) -> Option<&mut (ShellClient, Answers)> {
        let (_, key) = self.identity(surface)?;
        self.input.ping.0.get_mut(&key)
    }

    /// Whether a client is told of a motion now that changes nothing else. If not, it is told later.
    pub(super) fn may_tell(&mut self, surface: &WlSurface) -> bool {
        let now = self.clock.now();
        let Some((shell, answers)) = self.answers(surface) else {
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
        let mut known = self.core.input.ping.0.iter_mut();
        let Some((key, (_, answers))) = known.find(|(_, (known, _))| known == shell) else {
            return;
        };
        let (key, behind) = (*key, answers.answered());
        let hovers = self.core.input.hover.as_ref();
        let hovers =
            hovers.is_some_and(|(_, surface)| self.core.identity(surface).is_some_and(|(_, of)| of == key));
        if behind && (hovers || self.core.has_finger_behind(key)) {
            self.core.input.effects.push(super::Effect::TellPlace);
        }
    }

    /// Before an event that has a place: whoever has the pointer is told where that is, if it was not.
    pub(super) fn catch_up(&mut self, vm: &VmName) {
        let pointer = self.core.vms.get(vm).and_then(|vm| vm.seat.get_pointer());
        let behind = pointer
            .and_then(|pointer| pointer.current_focus())
            .and_then(|surface| Some(&mut self.core.answers(&surface)?.1))
            .is_some_and(|answers| std::mem::take(&mut answers.behind));
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
