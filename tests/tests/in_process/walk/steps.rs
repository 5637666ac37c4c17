// SPDX-License-Identifier: MIT OR Apache-2.0
//! The steps of a walk.

use heraldry_compositor::input::Effect;
use heraldry_compositor::layout::Mode;
use heraldry_compositor::outputs::Setup;
use heraldry_tests::client::painted;
use heraldry_tests::client::raw::random::Dice;
use heraldry_tests::colour::Area;
use heraldry_tests::fixture::truth::channel;
use heraldry_tests::fixture::{ClientId, Fixture, Inner, Popup, Window};
use wayland_client::protocol::wl_output::Transform;
use wayland_client::protocol::wl_shm::Format;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_protocols::wp::viewporter::client::wp_viewport::WpViewport;

const VMS: [&str; 3] = ["work", "personal", "untrusted"];
const TRANSFORMS: [Transform; 8] = [
    Transform::Normal,
    Transform::_90,
    Transform::_180,
    Transform::_270,
    Transform::Flipped,
    Transform::Flipped90,
    Transform::Flipped180,
    Transform::Flipped270,
];

/// A surface and what it shows.
struct Shown {
    client: ClientId,
    channel: usize,
    surface: WlSurface,
    viewport: WpViewport,
    size: (i32, i32),
    format: Format,
    pixels: Vec<[u8; 4]>,
}

/// A window and what hangs on it.
struct Tree {
    window: Window,
    own: Shown,
    inner: Vec<(Inner, Shown)>,
    popup: Option<(Popup, Shown)>,
}

/// Where a walk is.
pub(super) struct Walk {
    dice: Dice,
    clients: Vec<ClientId>,
    trees: Vec<Tree>,
}

fn number(dice: &mut Dice, from: i32, to: i32) -> i32 {
    let span = usize::try_from(to - from).expect("a range");
    from + i32::try_from(dice.below(span)).expect("a number of the range")
}

impl Shown {
    fn new(fixture: &Fixture, client: ClientId, channel: usize, surface: &WlSurface) -> Self {
        let this = fixture.client(client);
        let viewport = this.bound().viewporter.get_viewport(surface, &this.handle(), ());
        Self {
            client,
            channel,
            surface: surface.clone(),
            viewport,
            size: (12, 12),
            format: Format::Xrgb8888,
            pixels: Vec::new(),
        }
    }

    /// A pixel of its VM's channel, premultiplied, B G R A.
    fn pixel(&self, brightness: u8, alpha: u8) -> [u8; 4] {
        let mut pixel = [0, 0, 0, alpha];
        let value = u16::from(brightness) * u16::from(alpha) / 255;
        if let Some(place) = pixel.get_mut(2 - self.channel) {
            *place = u8::try_from(value).expect("at most 255");
        }
        pixel
    }

    fn attach(&self, fixture: &Fixture) {
        let this = fixture.client(self.client);
        let width = self.size.0;
        let at = |x, y| usize::try_from(y * width + x).expect("a pixel");
        let buffer = painted(
            &this.bound().shm,
            &this.handle(),
            self.size,
            self.format,
            |x, y| self.pixels.get(at(x, y)).copied().unwrap_or_default(),
        );
        self.surface.attach(Some(&buffer), 0, 0);
    }

    /// A new buffer. Its sides can be divided by every scale.
    fn repaint(&mut self, fixture: &Fixture, dice: &mut Dice) {
        self.size = (12 * number(dice, 1, 14), 12 * number(dice, 1, 10));
        self.format = dice
            .one(&[Format::Xrgb8888, Format::Argb8888])
            .expect("one of two");
        let alpha = dice.one(&[0, 1, 90, 200, 254, 255]).expect("one of some");
        let twist = number(dice, 1, 90);
        let count = self.size.0 * self.size.1;
        self.pixels = (0..count)
            .map(|index| {
                let step = u8::try_from((index * twist) % 127).expect("below 127");
                self.pixel(128 + step, alpha)
            })
            .collect();
        self.attach(fixture);
        self.surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
        self.viewport.set_source(-1.0, -1.0, -1.0, -1.0);
    }

    /// A part of the buffer changes, and nothing else is said to.
    fn retouch(&mut self, fixture: &Fixture, dice: &mut Dice) {
        let (width, height) = self.size;
        if self.pixels.is_empty() {
            return;
        }
        let (x, y) = (number(dice, 0, width), number(dice, 0, height));
        let (w, h) = (number(dice, 1, width - x + 1), number(dice, 1, height - y + 1));
        let alpha = dice.one(&[0, 128, 255]).expect("one of some");
        let pixel = self.pixel(255, alpha);
        for (index, place) in (0_i32..).zip(&mut self.pixels) {
            if (x..x + w).contains(&(index % width)) && (y..y + h).contains(&(index / width)) {
                *place = pixel;
            }
        }
        self.attach(fixture);
        self.surface.damage_buffer(x, y, w, h);
    }

    fn single_pixel(&mut self, fixture: &Fixture, dice: &mut Dice) {
        let this = fixture.client(self.client);
        let share = dice.one(&[0, 1 << 20, 1 << 31, u32::MAX]).expect("one of some");
        let mut colour = [0; 3];
        if let Some(part) = colour.get_mut(self.channel) {
            *part = share;
        }
        let [r, g, b] = colour;
        let alpha = dice.one(&[share, u32::MAX]).expect("one of two");
        let buffer = this
            .bound()
            .single_pixel
            .create_u32_rgba_buffer(r, g, b, alpha, &this.handle(), ());
        self.surface.attach(Some(&buffer), 0, 0);
        self.surface.damage_buffer(0, 0, 1, 1);
        self.surface.set_buffer_scale(1);
        self.viewport.set_source(-1.0, -1.0, -1.0, -1.0);
        self.pixels.clear();
        self.size = (1, 1);
    }

    fn claim_opaque(&self, fixture: &Fixture, dice: &mut Dice) {
        let this = fixture.client(self.client);
        let region = this.bound().compositor.create_region(&this.handle(), ());
        match dice.below(3) {
            0 => region.add(-100, -100, 10_000, 10_000),
            1 => {
                for _ in 0..dice.below(20) {
                    let (x, y) = (number(dice, -20, 150), number(dice, -20, 150));
                    region.add(x, y, number(dice, 1, 60), number(dice, 1, 60));
                }
            }
            _ => {}
        }
        self.surface.set_opaque_region(Some(&region));
        region.destroy();
    }

    /// What can be said of a surface besides its buffer.
    fn say(&self, fixture: &Fixture, dice: &mut Dice) -> &'static str {
        match dice.below(5) {
            0 => {
                self.claim_opaque(fixture, dice);
                "opaque region"
            }
            1 => {
                let size = dice.one(&[(-1, -1), (1, 1), (20, 20), (100, 70), (333, 222), (3000, 3)]);
                let (w, h) = size.expect("one of some");
                // A source with a fraction must not become the size of the surface.
                if w < 0 {
                    self.viewport.set_source(-1.0, -1.0, -1.0, -1.0);
                }
                self.viewport.set_destination(w, h);
                "viewport destination"
            }
            2 => {
                let (w, h) = self.size;
                let part = |dice: &mut Dice, whole: i32| f64::from(number(dice, 1, whole.max(2))) / 3.0;
                self.viewport.set_source(0.0, 0.0, part(dice, w), part(dice, h));
                let (w, h) = dice.one(&[(7, 9), (64, 48), (150, 100)]).expect("one of some");
                self.viewport.set_destination(w, h);
                "viewport source"
            }
            3 if !self.pixels.is_empty() => {
                self.surface.set_buffer_scale(number(dice, 1, 5));
                "buffer scale"
            }
            _ => {
                let transform = dice.one(&TRANSFORMS).expect("one of eight");
                self.surface.set_buffer_transform(transform);
                "transform"
            }
        }
    }
}

impl Walk {
    pub(super) fn new(fixture: &mut Fixture, seed: u64) -> Self {
        let clients = VMS.iter().map(|vm| fixture.add_client(vm)).collect();
        let mut walk = Self {
            dice: Dice::new(seed),
            clients,
            trees: Vec::new(),
        };
        for _ in 0..3 {
            walk.open(fixture);
        }
        walk
    }

    fn open(&mut self, fixture: &mut Fixture) {
        let index = self.dice.below(self.clients.len());
        let (Some(client), Some(vm)) = (self.clients.get(index).copied(), VMS.get(index)) else {
            return;
        };
        let window = fixture.toplevel(client);
        let mut own = Shown::new(fixture, client, channel(vm), &window.surface);
        if let Some(serial) = fixture.client_mut(client).seen.take_serial(&window.name) {
            window.xdg.ack_configure(serial);
        }
        own.repaint(fixture, &mut self.dice);
        window.surface.commit();
        fixture.double_roundtrip(client);
        self.trees.push(Tree {
            window,
            own,
            inner: Vec::new(),
            popup: None,
        });
    }

    fn close(&mut self) {
        if self.trees.len() < 2 {
            return;
        }
        let index = self.dice.below(self.trees.len());
        let tree = self.trees.swap_remove(index);
        if let Some((popup, shown)) = tree.popup {
            popup.popup.destroy();
            shown.surface.destroy();
        }
        for (inner, shown) in tree.inner {
            inner.role.destroy();
            shown.surface.destroy();
        }
        tree.window.toplevel.destroy();
        tree.window.xdg.destroy();
        tree.window.surface.destroy();
    }

    /// Does one thing, lets it be drawn, and says what it was.
    pub(super) fn step(&mut self, fixture: &mut Fixture) -> String {
        let index = self.dice.below(self.trees.len());
        let what = match self.dice.below(20) {
            0 if self.trees.len() < 7 => {
                self.open(fixture);
                "a window opens"
            }
            1 => {
                self.close();
                "a window closes"
            }
            2..=5 => self.user(fixture, index),
            6 => self.hang(fixture, index),
            7 => self.popup(fixture, index),
            _ => self.client(fixture, index),
        };
        fixture.frame();
        for client in &self.clients {
            assert_eq!(fixture.client(*client).ended, None, "after {what}");
        }
        what.to_owned()
    }

    /// The user does something with a window, or with the screen.
    fn user(&mut self, fixture: &mut Fixture, index: usize) -> &'static str {
        let dice = &mut self.dice;
        let Some(id) = self.trees.get(index).map(|tree| tree.window.id) else {
            return "nothing";
        };
        let layout = &mut fixture.state.core.windows.layout;
        let what = match dice.below(7) {
            0 | 1 => {
                layout.move_to(id, (number(dice, -60, 340), number(dice, -20, 230)).into());
                "move"
            }
            2 => {
                layout.raise(id);
                "raise"
            }
            3 => {
                let minimized = layout.is_visible(id);
                layout.set_minimized(id, minimized);
                "minimise or restore"
            }
            4 => {
                let mode = dice.one(&[Mode::Floating, Mode::Maximized, Mode::Fullscreen]);
                layout.set_mode(id, mode.expect("one of three"));
                "mode"
            }
            5 => {
                fixture.state.perform(Effect::Focus(id));
                "focus"
            }
            _ => {
                let scale = dice
                    .one(&[1.0, 1.0, 1.25, 1.5, 2.0, 3.0, 0.5])
                    .expect("one of some");
                let screen = fixture.state.core.outputs.first();
                let setup = Setup {
                    scale,
                    ..*screen.setup()
                };
                let id = screen.id();
                fixture.state.set_up(id, setup);
                "scale of the screen"
            }
        };
        fixture.state.core.render.schedule();
        what
    }

    /// A subsurface comes, moves, changes its place in the pile or goes.
    fn hang(&mut self, fixture: &mut Fixture, index: usize) -> &'static str {
        let Some(tree) = self.trees.get_mut(index) else {
            return "nothing";
        };
        let dice = &mut self.dice;
        let (x, y) = (number(dice, -40, 120), number(dice, -40, 90));
        if tree.inner.len() < 5 && dice.below(2) == 0 {
            let inner = fixture.subsurface(&tree.window, (x, y), (24, 12), [0, 0, 0]);
            let mut shown = Shown::new(fixture, tree.own.client, tree.own.channel, &inner.surface);
            if dice.below(4) == 0 {
                inner.role.set_sync();
            }
            shown.repaint(fixture, dice);
            shown.surface.commit();
            tree.inner.push((inner, shown));
            tree.own.surface.commit();
            fixture.double_roundtrip(tree.own.client);
            return "a subsurface";
        }
        let at = dice.below(tree.inner.len());
        let Some((inner, _)) = tree.inner.get(at) else {
            return "nothing";
        };
        let what = match dice.below(4) {
            0 => {
                inner.role.set_position(x, y);
                "a subsurface moves"
            }
            1 => {
                inner.role.place_below(&tree.own.surface);
                "a subsurface below its window"
            }
            2 => {
                inner.role.place_above(&tree.own.surface);
                "a subsurface right above its window"
            }
            _ => {
                let (inner, shown) = tree.inner.swap_remove(at);
                inner.role.destroy();
                shown.surface.destroy();
                "a subsurface goes"
            }
        };
        tree.own.surface.commit();
        fixture.double_roundtrip(tree.own.client);
        what
    }

    fn popup(&mut self, fixture: &mut Fixture, index: usize) -> &'static str {
        let Some(tree) = self.trees.get_mut(index) else {
            return "nothing";
        };
        if let Some((popup, shown)) = tree.popup.take() {
            popup.popup.destroy();
            shown.surface.destroy();
            fixture.double_roundtrip(tree.own.client);
            return "a popup goes";
        }
        let dice = &mut self.dice;
        let anchor = Area {
            x: number(dice, 0, 100),
            y: number(dice, 0, 60),
            w: 10,
            h: 10,
        };
        let popup = fixture.popup(&tree.window, anchor, (48, 36), [0, 0, 0]);
        let mut shown = Shown::new(fixture, tree.own.client, tree.own.channel, &popup.surface);
        shown.repaint(fixture, dice);
        shown.surface.commit();
        fixture.double_roundtrip(tree.own.client);
        tree.popup = Some((popup, shown));
        "a popup"
    }

    /// A client shows something else, or says something else of what it shows.
    fn client(&mut self, fixture: &mut Fixture, index: usize) -> &'static str {
        let Some(tree) = self.trees.get_mut(index) else {
            return "nothing";
        };
        let dice = &mut self.dice;
        let client = tree.own.client;
        if let Some(serial) = fixture.client_mut(client).seen.take_serial(&tree.window.name) {
            tree.window.xdg.ack_configure(serial);
        }
        if dice.below(12) == 0 {
            tree.window.toplevel.set_title(format!("{}", dice.any()));
            fixture.double_roundtrip(client);
            return "title";
        }
        if dice.below(12) == 0 {
            let (x, y) = (number(dice, 0, 40), number(dice, 0, 40));
            tree.window
                .xdg
                .set_window_geometry(x, y, number(dice, 1, 150), number(dice, 1, 110));
            tree.window.surface.commit();
            fixture.double_roundtrip(client);
            return "geometry";
        }
        let targets = 1 + tree.inner.len() + usize::from(tree.popup.is_some());
        let target = dice.below(targets);
        let shown = match target.checked_sub(1) {
            None => &mut tree.own,
            Some(at) => match tree.inner.get_mut(at) {
                Some((_, shown)) => shown,
                None => match &mut tree.popup {
                    Some((_, shown)) => shown,
                    None => return "nothing",
                },
            },
        };
        let what = match dice.below(8) {
            0 | 1 => {
                shown.repaint(fixture, dice);
                "new content"
            }
            2..=4 => {
                shown.retouch(fixture, dice);
                "a part of the content"
            }
            5 => {
                shown.single_pixel(fixture, dice);
                "a single pixel"
            }
            _ => shown.say(fixture, dice),
        };
        shown.surface.commit();
        tree.own.surface.commit();
        fixture.double_roundtrip(client);
        what
    }
}
