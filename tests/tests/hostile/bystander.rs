// SPDX-License-Identifier: MIT OR Apache-2.0
//! The honest client beside every attack: it draws one frame after the other and asks for round trips.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use heraldry_tests::client::raw::Arg::{I, New, U};
use heraldry_tests::client::raw::{Event, Raw, RawWindow, Value};
use heraldry_tests::colour::Colour;

/// An answer at worst. Generous, because tests share their machine; what is looked for takes for ever.
const PROMPT: Duration = Duration::from_secs(5);
/// What it sees at least of an attack.
const ROUNDS: usize = 3;

/// Its colours, in turns; no frame and no attacker has them.
pub(crate) const COLOURS: [Colour; 2] = [[0x02, 0xfd, 0x01], [0x01, 0x02, 0xfd]];
/// Size of its window.
pub(crate) const SIZE: (i32, i32) = (160, 100);

/// What a client is told while others come and go, and the keyboard with them.
const ORDINARY: &[&str] = &[
    "wl_buffer.release",
    "xdg_surface.configure",
    "xdg_toplevel.configure",
    "xdg_wm_base.ping",
    "wl_keyboard.enter",
    "wl_keyboard.leave",
    "wl_keyboard.modifiers",
    "wl_data_device.selection",
    "zwp_primary_selection_device_v1.selection",
];

/// What it saw of one attack.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Its round trips.
    pub(crate) answers: Vec<Duration>,
    /// How long it worked.
    pub(crate) worked: Duration,
    /// The longest wait for a frame.
    pub(crate) frame: Duration,
    /// Frames drawn.
    pub(crate) frames: usize,
    /// What it was told.
    pub(crate) events: Vec<Event>,
}

/// The honest client.
pub(crate) struct Bystander {
    pub(crate) raw: Raw,
    window: RawWindow,
    buffers: [u32; 2],
    drawn: usize,
}

impl Bystander {
    pub(crate) fn new(mut raw: Raw) -> Self {
        for get in [Raw::pointer, Raw::keyboard, Raw::data_device, Raw::primary_device] {
            get(&mut raw);
        }
        raw.global("wl_output");
        raw.thrifty = true;
        let window = raw.show(SIZE, COLOURS[0]);
        let buffers = COLOURS.map(|colour| raw.buffer(SIZE, colour));
        raw.settle();
        Self {
            raw,
            window,
            buffers,
            drawn: 0,
        }
    }

    /// Draws and asks until it is told to stop.
    pub(crate) fn live(&mut self, stop: &AtomicBool) -> Result<Report, String> {
        self.raw.events.clear();
        let start = Instant::now();
        let mut report = Report::default();
        while !stop.load(Ordering::SeqCst) || report.frames < ROUNDS {
            self.beat(&mut report)?;
        }
        report.events = std::mem::take(&mut self.raw.events);
        report.worked = start.elapsed();
        Ok(report)
    }

    fn beat(&mut self, report: &mut Report) -> Result<(), String> {
        let pings: Vec<_> = self
            .raw
            .told("xdg_wm_base.ping")
            .iter()
            .map(|ping| ping.uint(0))
            .collect();
        let base = self.raw.global("xdg_wm_base");
        for serial in pings {
            self.raw.send(base, "pong", &[U(serial)]);
        }
        self.raw.ack(self.window.xdg);
        self.raw
            .events
            .retain(|event| !["xdg_surface.configure", "xdg_wm_base.ping"].contains(&event.name.as_str()));

        let surface = self.window.surface;
        let callback = self.raw.send(surface, "frame", &[New]);
        let buffer = self.buffers[self.drawn % 2];
        self.raw.send(surface, "attach", &[U(buffer), I(0), I(0)]);
        self.raw
            .send(surface, "damage_buffer", &[I(0), I(0), I(SIZE.0), I(SIZE.1)]);
        self.raw.send(surface, "commit", &[]);
        self.drawn += 1;

        let start = Instant::now();
        self.raw
            .roundtrip()
            .map_err(|why| format!("the honest client lost its connection: {why}"))?;
        report.answers.push(start.elapsed());
        self.raw
            .wait("a frame", |raw| raw.is_done(callback))
            .map_err(|why| format!("the honest client got no frame: {why}"))?;
        report.frame = report.frame.max(start.elapsed());
        report.frames += 1;
        Ok(())
    }
}

impl Report {
    /// The round trip than which so many of a thousand are no slower.
    pub(crate) fn answer(&self, of_thousand: usize) -> Duration {
        let mut answers = self.answers.clone();
        answers.sort_unstable();
        let last = answers.len().saturating_sub(1);
        answers
            .get(last * of_thousand / 1000)
            .copied()
            .unwrap_or_default()
    }

    /// Frames a second.
    pub(crate) fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a few thousand frames")]
        let frames = self.frames as f64;
        frames / self.worked.as_secs_f64()
    }

    /// Whether it was there for long enough to say how fast it was.
    pub(crate) fn tells(&self) -> bool {
        self.worked > Duration::from_secs(1)
    }

    /// How it fared.
    pub(crate) fn fared(&self) -> String {
        let (rate, median, p99) = (self.rate(), self.answer(500), self.answer(990));
        format!("{rate:.0} frames/s, round trips {median:?}, p99 {p99:?}")
    }

    /// What is wrong with it, if the attack may only cause events that begin with one of `allowed`.
    pub(crate) fn faults(&self, allowed: &[&str]) -> Vec<String> {
        let mut faults = Vec::new();
        for (what, worst) in [("answer", self.answer(1000)), ("frame", self.frame)] {
            if worst > PROMPT {
                faults.push(format!("the honest client waited {worst:?} for its {what}"));
            }
        }
        for event in &self.events {
            let offered = event.name.ends_with(".selection") && event.args != [Value::Uint(0)];
            let ordinary = ORDINARY.contains(&event.name.as_str()) && !offered;
            if !ordinary && !allowed.iter().any(|start| event.name.starts_with(start)) {
                faults.push(format!(
                    "the honest client was told {} {:?}",
                    event.name, event.args
                ));
            }
        }
        faults.truncate(8);
        faults
    }
}
