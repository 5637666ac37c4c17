// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a row is made of, and what its script can use.

use std::time::Duration;

use heraldry_compositor::control::protocol::{InputRequest, KeyAction, Request, WindowInfo};
use heraldry_tests::client::raw::Arg::New;
use heraldry_tests::client::raw::{Raw, RawWindow};
use heraldry_tests::colour::{Area, Pixels};
use heraldry_tests::rig::{Rig, until};

/// The attacker's VM.
pub(crate) const HOSTILE: &str = "untrusted";
/// The VM of the honest client.
pub(crate) const HONEST: &str = "vault";

/// What becomes of the attacker's first client.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    /// Its `wl_display.error` names this rule of the gate.
    Rule(&'static str),
    /// The host ends it, and its log says this.
    Host(&'static str),
    /// It goes on; the script itself looks at what it got.
    Lives,
    /// It is over, because the script says so.
    Left,
}

/// One attack.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    /// Id and name.
    pub(crate) name: &'static str,
    /// What the attacker does.
    pub(crate) attack: fn(&mut Attack<'_>),
    /// What it gets.
    pub(crate) expect: Expect,
}

/// A row of a table.
pub(crate) const fn row(name: &'static str, attack: fn(&mut Attack<'_>), expect: Expect) -> Row {
    Row { name, attack, expect }
}

impl Row {
    /// The first word of its name.
    pub(crate) fn id(&self) -> &'static str {
        self.name.split(' ').next().unwrap()
    }
}

/// An attack that runs.
pub(crate) struct Attack<'a> {
    /// The programs.
    pub(crate) rig: &'a Rig,
    /// The attacker.
    pub(crate) raw: Raw,
    /// The honest client's window.
    pub(crate) honest_window: u64,
    /// What the honest client may be told besides the ordinary.
    pub(crate) allowed: Vec<&'static str>,
    /// What took too long, if the row is about that.
    pub(crate) slow: Vec<String>,
    logs: [usize; 2],
}

impl<'a> Attack<'a> {
    pub(crate) fn new(rig: &'a Rig, honest_window: u64) -> Self {
        let logs = [rig.compositor_log().len(), rig.host_log().len()];
        Self {
            rig,
            raw: attacker(rig),
            honest_window,
            allowed: Vec::new(),
            slow: Vec::new(),
            logs,
        }
    }

    /// Another client of the attacker's VM.
    #[track_caller]
    pub(crate) fn another(&self) -> Raw {
        attacker(self.rig)
    }

    /// Another client of the honest VM.
    #[track_caller]
    pub(crate) fn honest(&self) -> Raw {
        Raw::new(self.rig.connect(HONEST))
    }

    /// The script causes these events at the honest client, on purpose.
    pub(crate) fn honest_may_see(&mut self, events: &[&'static str]) {
        self.allowed.extend(events);
    }

    /// What compositor and device have logged since the row began.
    pub(crate) fn log(&self) -> String {
        self.rig
            .compositor_log()
            .get(self.logs[0]..)
            .unwrap_or_default()
            .to_owned()
    }

    /// What the host has logged since the row began.
    pub(crate) fn host_log(&self) -> String {
        self.rig
            .host_log()
            .get(self.logs[1]..)
            .unwrap_or_default()
            .to_owned()
    }

    /// Does the same with a fresh client for each case; each must be ended by this rule.
    #[track_caller]
    pub(crate) fn each_breaks<T: std::fmt::Debug + Copy>(
        &self,
        rule: &str,
        cases: &[T],
        mut script: impl FnMut(&mut Raw, T),
    ) {
        for case in cases {
            let mut raw = self.another();
            script(&mut raw, *case);
            assert_names(&raw.end(), rule, &format!("{case:?}"));
        }
    }

    /// Looks at what became of the first client.
    #[track_caller]
    pub(crate) fn judge(&mut self, expect: Expect) {
        match expect {
            Expect::Rule(rule) => assert_names(&self.raw.end(), rule, "its error"),
            Expect::Host(text) => {
                self.raw.end();
                until("the host says why", || self.host_log().contains(text));
            }
            Expect::Lives => self.raw.settle(),
            Expect::Left => {}
        }
    }

    /// The screen.
    #[track_caller]
    pub(crate) fn picture(&self) -> Pixels {
        self.rig.picture()
    }

    /// The attacker's windows, from top to bottom.
    #[track_caller]
    pub(crate) fn windows(&self) -> Vec<WindowInfo> {
        let mut windows = self.rig.windows();
        windows.retain(|window| window.vm == HOSTILE);
        windows
    }

    /// The attacker's only window, once it has content.
    #[track_caller]
    pub(crate) fn only_window(&self) -> WindowInfo {
        let mut found = None;
        until("a window with content", || {
            found = self.windows().into_iter().find(|window| window.content.is_some());
            found.is_some()
        });
        found.unwrap()
    }

    /// The content of the attacker's only window.
    #[track_caller]
    pub(crate) fn content(&self) -> Area {
        area(self.only_window().content)
    }

    /// The content of the honest client's window.
    #[track_caller]
    pub(crate) fn honest_content(&self) -> Area {
        content_of(self.rig, self.honest_window)
    }

    /// The user gives a window the keyboard.
    #[track_caller]
    pub(crate) fn focus(&self, id: u64) {
        self.rig.tell(&Request::Focus { id });
    }

    /// The user gives the attacker's only window the keyboard.
    #[track_caller]
    pub(crate) fn focus_attacker(&self) {
        self.focus(self.only_window().id);
    }

    /// The user moves the pointer.
    #[track_caller]
    pub(crate) fn point(&self, (x, y): (i32, i32)) {
        let to = InputRequest::Motion {
            x: x.into(),
            y: y.into(),
        };
        self.rig.tell(&Request::Input(to));
    }

    /// The user presses or releases the left button.
    #[track_caller]
    pub(crate) fn button(&self, action: KeyAction) {
        let name = "left".to_owned();
        self.rig
            .tell(&Request::Input(InputRequest::Button { name, action }));
    }

    /// The user presses or releases a key.
    #[track_caller]
    pub(crate) fn key(&self, name: &str, action: KeyAction) {
        let name = name.to_owned();
        self.rig.tell(&Request::Input(InputRequest::Key { name, action }));
    }

    /// A window of the attacker's that has been clicked: the client holds a serial of a press that is over.
    #[track_caller]
    pub(crate) fn clicked_window(&mut self, size: (i32, i32)) -> RawWindow {
        self.raw.pointer();
        self.raw.keyboard();
        let window = self.raw.show(size, heraldry_tests::colour::key::MAGENTA);
        let (x, y) = middle(self.content());
        self.point((x, y));
        wait_out_the_guard();
        self.rig.click(x, y);
        self.raw.wait("a click", |raw| raw.pressed() != 0).unwrap();
        self.raw.settle();
        window
    }
}

/// A client of the attacker's VM. What the row before has left in the VM's own queue may keep it waiting.
#[track_caller]
fn attacker(rig: &Rig) -> Raw {
    let mut found = None;
    until("the attacker's VM may connect again", || {
        let mut raw = Raw::silent(rig.connect(HOSTILE));
        raw.send(1, "get_registry", &[New]);
        found = raw.roundtrip().is_ok().then_some(raw);
        found.is_some()
    });
    found.unwrap()
}

#[track_caller]
pub(crate) fn assert_names(told: &str, rule: &str, what: &str) {
    let name = format!("(rule {rule} of");
    assert!(
        told.contains(&name),
        "{what}: it was told {told:?}, not of rule {rule}"
    );
}

/// A rectangle that is there.
#[track_caller]
pub(crate) fn area(rect: Option<heraldry_compositor::control::protocol::Rect>) -> Area {
    let rect = rect.unwrap();
    Area {
        x: rect.x,
        y: rect.y,
        w: rect.w,
        h: rect.h,
    }
}

/// The content of a window by its number.
#[track_caller]
pub(crate) fn content_of(rig: &Rig, id: u64) -> Area {
    area(
        rig.windows()
            .iter()
            .find(|window| window.id == id)
            .unwrap()
            .content,
    )
}

/// The pixel in the middle of an area.
pub(crate) fn middle(area: Area) -> (i32, i32) {
    (area.x + area.w / 2, area.y + area.h / 2)
}

/// Longer than clicks are kept from a window that has just appeared.
pub(crate) fn wait_out_the_guard() {
    std::thread::sleep(Duration::from_millis(400));
}
