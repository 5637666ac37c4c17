// SPDX-License-Identifier: MIT OR Apache-2.0
//! A random walk over the whole path: programs of three VMs say whatever can be said of content, the user clicks, drags and
//! reloads, and after every step what the frames have left on the screen is what a fresh drawing shows, and true: each pixel
//! is ours, or it lies within the arms of the VM whose colour it has.
//!
//! `HERALDRY_WALK_SEED` and `HERALDRY_WALK_STEPS` choose another walk; a failure prints what to set.

use std::time::{Duration, Instant};

use heraldry_compositor::control::protocol::{InputRequest, KeyAction, Rect, Request, WindowInfo};
use heraldry_compositor::render::Render;
use heraldry_compositor::render::geometry::pixels;
use heraldry_decorations::FrameKind;
use heraldry_tests::client::raw::Arg::{I, New, U};
use heraldry_tests::client::raw::random::Dice;
use heraldry_tests::client::raw::{Raw, RawPopup, RawWindow, memory};
use heraldry_tests::fixture::truth::{Framed, Scene, channel};
use heraldry_tests::rig::{CONFIG, Options, Rig};
use smithay::utils::{Logical, Rectangle};

const VMS: [&str; 3] = ["work", "personal", "untrusted"];
const STEPS: usize = 600;
const SIZE: (i32, i32) = (400, 300);
/// The corner in which the pointer rests, pixels.
const POINTER: i32 = 24;
/// The most that it takes until what was said is on the screen.
const SOON: Duration = Duration::from_secs(10);
/// Colours of the VM `work`, between which the user changes.
const COLORS: [&str; 2] = ["#2a5fb0", "#b08a2a"];

fn number(dice: &mut Dice, from: i32, to: i32) -> i32 {
    from + i32::try_from(dice.below(usize::try_from(to - from).expect("a range"))).expect("of the range")
}

fn pick<T: Copy>(dice: &mut Dice, of: &[T]) -> T {
    dice.one(of).expect("one of some")
}

/// A surface and what it shows.
#[derive(Debug, Clone, Copy)]
struct Shown {
    surface: u32,
    viewport: u32,
    /// Where it has a place below a window's.
    role: u32,
    /// Of its buffer; sides that every scale divides.
    size: (i32, i32),
}

#[derive(Debug)]
struct Tree {
    vm: usize,
    window: RawWindow,
    own: Shown,
    inner: Vec<Shown>,
    popup: Option<RawPopup>,
}

struct Walk {
    rig: Rig,
    scale: f64,
    dice: Dice,
    clients: Vec<Raw>,
    trees: Vec<Tree>,
    color: usize,
}

/// Bits of a fixed-point number.
fn fixed(thirds: i32) -> i32 {
    thirds * 256 / 3
}

impl Walk {
    fn new(seed: u64, scale: f64) -> Self {
        let rig = Rig::start(Options {
            size: SIZE,
            scale,
            ..Options::default()
        });
        let clients = VMS.map(|vm| Raw::new(rig.connect(vm)));
        let mut walk = Self {
            rig,
            scale,
            dice: Dice::new(seed),
            clients: clients.into(),
            trees: Vec::new(),
            color: 0,
        };
        walk.open();
        walk.open();
        walk
    }

    fn raw(&mut self, vm: usize) -> &mut Raw {
        self.clients.get_mut(vm).expect("a client for each VM")
    }

    fn surface(&mut self, vm: usize, surface: u32) -> Shown {
        let raw = self.raw(vm);
        let viewporter = raw.global("wp_viewporter");
        Shown {
            surface,
            viewport: raw.send(viewporter, "get_viewport", &[New, U(surface)]),
            role: 0,
            size: (12, 12),
        }
    }

    fn open(&mut self) {
        let vm = self.dice.below(VMS.len());
        let window = self.raw(vm).window();
        let mut own = self.surface(vm, window.surface);
        self.repaint(vm, &mut own);
        self.raw(vm).send(own.surface, "commit", &[]);
        let (inner, popup) = (Vec::new(), None);
        self.trees.push(Tree {
            vm,
            window,
            own,
            inner,
            popup,
        });
    }

    fn close(&mut self) {
        if self.trees.len() < 2 {
            return;
        }
        let index = self.dice.below(self.trees.len());
        let tree = self.trees.swap_remove(index);
        let raw = self.raw(tree.vm);
        if let Some(popup) = tree.popup {
            hide(raw, popup);
        }
        for shown in tree.inner {
            raw.send(shown.role, "destroy", &[]);
            raw.send(shown.surface, "destroy", &[]);
        }
        for id in [tree.window.toplevel, tree.window.xdg, tree.window.surface] {
            raw.send(id, "destroy", &[]);
        }
    }

    /// A new buffer in the VM's colour, more or less opaque.
    fn repaint(&mut self, vm: usize, shown: &mut Shown) {
        let dice = &mut self.dice;
        let size = (12 * number(dice, 1, 18), 12 * number(dice, 1, 14));
        let (format, alpha) = (pick(dice, &[0, 1]), pick(dice, &[0, 1, 90, 200, 254, 255]));
        let twist = number(dice, 1, 90);
        let pixel = |index: i32| {
            let bright = u32::try_from(128 + (index * twist) % 127).expect("at most 255");
            let mut pixel = [0, 0, 0, u8::try_from(alpha).expect("a byte")];
            let value = u8::try_from(bright * alpha / 255).expect("a byte");
            if let Some(place) = pixel.get_mut(2 - channel(VMS.get(vm).expect("a VM"))) {
                *place = value;
            }
            pixel
        };
        let bytes: Vec<u8> = (0..size.0 * size.1).flat_map(pixel).collect();
        let fd = memory(u64::try_from(bytes.len()).expect("a size"));
        rustix::io::pwrite(&fd, &bytes, 0).expect("memory");
        let raw = self.raw(vm);
        let length = i32::try_from(bytes.len()).expect("a size");
        let buffer = raw.buffer_of(&fd, length, size, format);
        raw.send(shown.viewport, "set_source", &[I(-256); 4]);
        raw.send(shown.surface, "attach", &[U(buffer), I(0), I(0)]);
        raw.send(
            shown.surface,
            "damage_buffer",
            &[I(0), I(0), I(i32::MAX), I(i32::MAX)],
        );
        raw.send(buffer, "destroy", &[]);
        shown.size = size;
    }

    fn single_pixel(&mut self, vm: usize, shown: &mut Shown) {
        let share = pick(&mut self.dice, &[0, 1 << 20, 1 << 31, u32::MAX]);
        let alpha = pick(&mut self.dice, &[share, u32::MAX]);
        let mut colour = [0; 3];
        if let Some(part) = colour.get_mut(channel(VMS.get(vm).expect("a VM"))) {
            *part = share;
        }
        let [r, g, b] = colour;
        let raw = self.raw(vm);
        let manager = raw.global("wp_single_pixel_buffer_manager_v1");
        let buffer = raw.send(
            manager,
            "create_u32_rgba_buffer",
            &[New, U(r), U(g), U(b), U(alpha)],
        );
        raw.send(shown.viewport, "set_source", &[I(-256); 4]);
        raw.send(shown.surface, "set_buffer_scale", &[I(1)]);
        raw.send(shown.surface, "attach", &[U(buffer), I(0), I(0)]);
        raw.send(shown.surface, "damage_buffer", &[I(0), I(0), I(1), I(1)]);
        shown.size = (1, 1);
    }

    /// What can be said of a surface besides its buffer.
    fn say(&mut self, vm: usize, shown: Shown) {
        let mut dice = self.dice.clone();
        let raw = self.raw(vm);
        let surface = shown.surface;
        match dice.below(5) {
            0 => {
                let region = raw.region();
                for _ in 0..dice.below(20) {
                    let (x, y) = (number(&mut dice, -20, 150), number(&mut dice, -20, 150));
                    let size = pick(&mut dice, &[3, 40, 10_000]);
                    raw.send(region, "add", &[I(x), I(y), I(size), I(size)]);
                }
                raw.send(surface, "set_opaque_region", &[U(region)]);
                raw.send(region, "destroy", &[]);
            }
            1 => {
                let (w, h) = pick(
                    &mut dice,
                    &[(-1, -1), (1, 1), (20, 20), (100, 70), (333, 222), (3000, 3)],
                );
                // A source with a fraction must not become the size of the surface.
                raw.send(shown.viewport, "set_source", &[I(-256); 4]);
                raw.send(shown.viewport, "set_destination", &[I(w), I(h)]);
            }
            2 if shown.size.0 > 1 => {
                let part = |dice: &mut Dice, whole: i32| fixed(number(dice, 1, whole.max(2)));
                let (w, h) = (part(&mut dice, shown.size.0), part(&mut dice, shown.size.1));
                raw.send(surface, "set_buffer_scale", &[I(1)]);
                raw.send(surface, "set_buffer_transform", &[U(0)]);
                raw.send(shown.viewport, "set_source", &[I(0), I(0), I(w), I(h)]);
                let (w, h) = pick(&mut dice, &[(7, 9), (64, 48), (150, 100)]);
                raw.send(shown.viewport, "set_destination", &[I(w), I(h)]);
            }
            3 if shown.size.0 > 1 => {
                raw.send(shown.viewport, "set_source", &[I(-256); 4]);
                raw.send(surface, "set_buffer_scale", &[I(number(&mut dice, 1, 5))]);
            }
            _ => {
                raw.send(shown.viewport, "set_source", &[I(-256); 4]);
                let turn = u32::try_from(dice.below(8)).expect("one of eight");
                raw.send(surface, "set_buffer_transform", &[U(turn)]);
            }
        }
        self.dice = dice;
    }

    /// A client does something with one of its surfaces, or with the tree of one.
    fn client(&mut self, index: usize) -> &'static str {
        let Some(mut tree) = (index < self.trees.len()).then(|| self.trees.swap_remove(index)) else {
            return "nothing";
        };
        let vm = tree.vm;
        let what = match self.dice.below(8) {
            0 if tree.inner.len() < 4 => {
                let surface = self.raw(vm).surface();
                let mut shown = self.surface(vm, surface);
                let (x, y) = (number(&mut self.dice, -40, 120), number(&mut self.dice, -40, 90));
                let raw = self.raw(vm);
                shown.role = raw.subsurface(surface, tree.window.surface);
                raw.send(shown.role, "set_position", &[I(x), I(y)]);
                raw.send(shown.role, "set_desync", &[]);
                self.repaint(vm, &mut shown);
                self.raw(vm).send(surface, "commit", &[]);
                tree.inner.push(shown);
                "a subsurface"
            }
            1 if !tree.inner.is_empty() => {
                let at = self.dice.below(tree.inner.len());
                let shown = tree.inner.swap_remove(at);
                let raw = self.raw(vm);
                raw.send(shown.role, "destroy", &[]);
                raw.send(shown.surface, "destroy", &[]);
                "a subsurface goes"
            }
            2 => {
                let raw = self.clients.get_mut(vm).expect("a client for each VM");
                if let Some(popup) = tree.popup.take() {
                    hide(raw, popup);
                } else {
                    let at = (number(&mut self.dice, 0, 90), number(&mut self.dice, 0, 60));
                    let popup = raw.popup(tree.window.xdg, at, (48, 36));
                    let mut colour = [0; 3];
                    colour[channel(VMS.get(vm).expect("a VM"))] = 0xe0;
                    raw.show_popup(popup, (48, 36), colour);
                    tree.popup = Some(popup);
                }
                "a popup"
            }
            3 => {
                let mode = pick(
                    &mut self.dice,
                    &["set_maximized", "unset_maximized", "unset_fullscreen"],
                );
                self.raw(vm).send(tree.window.toplevel, mode, &[]);
                "a mode"
            }
            _ => {
                let at = self.dice.below(tree.inner.len() + 1);
                let mut shown = tree.inner.get(at).copied().unwrap_or(tree.own);
                match self.dice.below(4) {
                    0 => self.single_pixel(vm, &mut shown),
                    1 => self.repaint(vm, &mut shown),
                    _ => self.say(vm, shown),
                }
                *tree.inner.get_mut(at).unwrap_or(&mut tree.own) = shown;
                self.raw(vm).send(shown.surface, "commit", &[]);
                "a content"
            }
        };
        let raw = self.raw(vm);
        raw.ack(tree.window.xdg);
        raw.send(tree.window.surface, "commit", &[]);
        self.trees.push(tree);
        what
    }

    /// The user does something with a window, or changes a VM's colour.
    fn user(&mut self) -> &'static str {
        let windows = self.rig.windows();
        let index = self.dice.below(windows.len());
        let Some(window) = windows.get(index) else {
            return "nothing";
        };
        match self.dice.below(4) {
            0 => {
                self.rig.tell(&Request::Focus { id: window.id });
                "a focus"
            }
            1 => {
                self.color = (self.color + 1) % COLORS.len();
                std::fs::write(self.rig.file("heraldry.kdl"), self.config()).expect("a configuration");
                self.rig.tell(&Request::Reload);
                "a reload"
            }
            2 => {
                let key = pick(&mut self.dice, &["Up", "Down", "f"]);
                for (name, action) in [
                    ("Super_L", KeyAction::Press),
                    (key, KeyAction::Tap),
                    ("Super_L", KeyAction::Release),
                ] {
                    let name = name.to_owned();
                    self.rig.tell(&Request::Input(InputRequest::Key { name, action }));
                }
                "a chord"
            }
            _ => {
                self.drag(window);
                "a drag"
            }
        }
    }

    fn drag(&mut self, window: &WindowInfo) {
        let Some(outer) = window.outer else { return };
        let from = (f64::from(outer.x) + 20.0, f64::from(outer.y) + 12.0);
        let by = (
            number(&mut self.dice, -150, 150),
            number(&mut self.dice, -100, 100),
        );
        let motion = |(x, y): (f64, f64)| InputRequest::Motion { x, y };
        let button = |action| InputRequest::Button {
            name: "left".to_owned(),
            action,
        };
        for input in [
            motion(from),
            button(KeyAction::Press),
            motion((from.0 + f64::from(by.0), from.1 + f64::from(by.1))),
            button(KeyAction::Release),
            // Where only the compositor's own picture of it is.
            motion((f64::from(SIZE.0) - 1.0, f64::from(SIZE.1) - 1.0)),
        ] {
            self.rig.tell(&Request::Input(input));
        }
    }

    fn config(&self) -> String {
        CONFIG.replace(COLORS[0], COLORS.get(self.color).expect("one of two"))
    }

    /// What should be on the screen, by what `ctl windows` says and the configuration.
    fn scene(&self, windows: &[WindowInfo]) -> Scene {
        let config = heraldry_config::parse("test", &self.config()).expect("a configuration");
        let style = Render::new(&config.appearance).style(self.scale);
        let place = |rect: Rect| {
            let rect: Rectangle<i32, Logical> =
                Rectangle::new((rect.x, rect.y).into(), (rect.w, rect.h).into());
            pixels(rect, self.scale)
        };
        let mut framed = Vec::new();
        for window in windows.iter().filter(|window| !window.minimized) {
            let Some(content) = window.content else { continue };
            let mut vms = config.vms.values();
            let vm = vms.find(|vm| vm.name.as_str() == window.vm);
            let vm = vm.expect("a VM of the configuration");
            let mut push = |rect, kind, focused| {
                framed.push(Framed {
                    vm: vm.name.clone(),
                    arms: vm.arms,
                    kind,
                    focused,
                    inner: place(rect),
                });
            };
            for rect in &window.popup_contents {
                push(*rect, FrameKind::Popup, true);
            }
            let kind = if window.mode == "fullscreen" {
                FrameKind::Fullscreen
            } else {
                FrameKind::Window
            };
            push(content, kind, window.focused);
        }
        Scene {
            size: (SIZE.0, SIZE.1).into(),
            style,
            framed,
            ours: Some(Rectangle::new(
                (SIZE.0 - POINTER, SIZE.1 - POINTER).into(),
                (POINTER, POINTER).into(),
            )),
        }
    }

    /// What is wrong with the screen now.
    fn fault(&self) -> Option<String> {
        let windows = self.rig.windows();
        let (shown, fresh) = (self.rig.shown(), self.rig.picture());
        if let Some(difference) = shown.first_difference(&fresh) {
            return Some(format!("not what is drawn afresh: {difference}"));
        }
        self.scene(&windows).lie(&shown)
    }

    fn step(&mut self) -> Result<(), String> {
        let index = self.dice.below(self.trees.len());
        let what = match self.dice.below(16) {
            0 if self.trees.len() < 6 => {
                self.open();
                "a window opens"
            }
            1 => {
                self.close();
                "a window closes"
            }
            2 | 3 => self.user(),
            _ => self.client(index),
        };
        for raw in &mut self.clients {
            raw.roundtrip()
                .map_err(|why| format!("after {what} a client ended: {why}"))?;
        }
        let start = Instant::now();
        while let Some(fault) = self.fault() {
            if start.elapsed() > SOON {
                return Err(format!("after {what}: {fault}"));
            }
        }
        Ok(())
    }
}

fn hide(raw: &mut Raw, popup: RawPopup) {
    for id in [popup.popup, popup.xdg, popup.surface] {
        raw.send(id, "destroy", &[]);
    }
}

fn walk(seed: u64, scale: f64) {
    let setting = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seed = setting("HERALDRY_WALK_SEED").unwrap_or(seed);
    let steps = setting("HERALDRY_WALK_STEPS").and_then(|steps| usize::try_from(steps).ok());
    let mut walk = Walk::new(seed, scale);
    for step in 0..steps.unwrap_or(STEPS) {
        if let Err(fault) = walk.step() {
            panic!("HERALDRY_WALK_SEED={seed} step {step}, scale {scale}: {fault}");
        }
    }
}

#[test]
fn over_the_whole_path_the_screen_tells_the_truth_after_every_step() {
    walk(1, 1.0);
}

#[test]
fn with_a_scale_the_screen_tells_the_truth_after_every_step() {
    walk(2, 1.5);
}
