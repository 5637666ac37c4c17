// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients that do by chance what is mostly allowed: surfaces get roles, lose them, come back, wait for each other and go,
//! in every order. What the gate knows of them and what Smithay knows must stay the same, or Smithay ends one.

use heraldry_tests::client::raw::Arg::{I, New, U};
use heraldry_tests::client::raw::Raw;
use heraldry_tests::client::raw::random::Dice;
use heraldry_tests::colour::key::{MAGENTA, YELLOW};

use super::attack::Expect::Lives;
use super::attack::{Attack, Row, row};

pub(crate) const ROWS: &[Row] = &[
    row(
        "L18a lives of windows and popups by chance",
        |a| lives(a, 1),
        Lives,
    ),
    row(
        "L18b lives of trees and viewports by chance",
        |a| lives(a, 2),
        Lives,
    ),
];

/// Clients, and requests of each at most.
const CLIENTS: u64 = 60;
const REQUESTS: usize = 400;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Role {
    Window,
    Popup,
    Child,
}

/// One surface, as its client knows it.
#[derive(Debug, Clone, Copy, Default)]
struct Surface {
    id: u32,
    role: Option<Role>,
    /// Its `xdg_surface`, role object, subsurface, viewport, fractional scale and decoration; 0 for none.
    xdg: u32,
    object: u32,
    subsurface: u32,
    viewport: u32,
    scale: u32,
    decoration: u32,
}

struct Life<'a> {
    raw: &'a mut Raw,
    dice: Dice,
    surfaces: Vec<Surface>,
    buffers: [u32; 3],
    positioner: u32,
}

fn lives(a: &mut Attack<'_>, theme: u64) {
    let mut requests = 0;
    for seed in 0..CLIENTS {
        let mut raw = a.another();
        raw.thrifty = seed % 2 == 0;
        let buffers = [raw.buffer((64, 48), MAGENTA), raw.buffer((9, 7), YELLOW), 0];
        let base = raw.global("xdg_wm_base");
        let positioner = raw.send(base, "create_positioner", &[New]);
        raw.send(positioner, "set_size", &[I(10), I(10)]);
        let mut life = Life {
            raw: &mut raw,
            dice: Dice::new(seed * 2 + theme),
            surfaces: Vec::new(),
            buffers,
            positioner,
        };
        for step in 0..REQUESTS {
            if theme == 1 {
                life.shell();
            } else {
                life.tree();
            }
            // Answers come at every distance from what they are to.
            let waits = life.dice.below(12) == 0;
            if waits && life.raw.roundtrip().is_err() || life.raw.ended {
                requests += step;
                break;
            }
        }
        if let Err(told) = raw.roundtrip() {
            assert!(told.contains("(rule "), "{told}");
        } else {
            requests += REQUESTS;
        }
    }
    assert!(requests > 5000, "they end too early: {requests} requests");
}

impl Life<'_> {
    /// One surface by chance, or a new one.
    fn pick(&mut self) -> usize {
        if self.surfaces.len() < 3 || self.surfaces.len() < 9 && self.dice.below(12) == 0 {
            let id = self.raw.surface();
            self.surfaces.push(Surface {
                id,
                ..Surface::default()
            });
        }
        self.dice.below(self.surfaces.len())
    }

    /// Now and then, what is not allowed.
    fn odd(&mut self) -> bool {
        self.dice.below(400) == 0
    }

    fn shell(&mut self) {
        let at = self.pick();
        let mut s = self.surfaces[at];
        let base = self.raw.global("xdg_wm_base");
        match self.dice.below(14) {
            0 | 1 if s.xdg == 0 || self.odd() => {
                s.xdg = self.raw.send(base, "get_xdg_surface", &[New, U(s.id)]);
            }
            0..=2 if s.xdg != 0 && (s.object == 0 || self.odd()) => {
                let parents = self.surfaces.iter().filter(|p| p.object != 0 && p.id != s.id);
                let parents: Vec<u32> = parents.map(|p| p.xdg).collect();
                let parent = self.dice.one(&parents);
                let popup = s.role == Some(Role::Popup) || s.role.is_none() && self.dice.below(2) == 0;
                if let Some(parent) = parent.filter(|_| popup) {
                    let args = [New, U(parent), U(self.positioner)];
                    s.object = self.raw.send(s.xdg, "get_popup", &args);
                    s.role = Some(Role::Popup);
                } else if s.role != Some(Role::Popup) {
                    s.object = self.raw.send(s.xdg, "get_toplevel", &[New]);
                    s.role = Some(Role::Window);
                }
            }
            3..=5 => self.commit(&s),
            6..=8 if s.xdg != 0 => self.acknowledge(&s),
            9 if s.role.is_some() && s.xdg != 0 => {
                self.raw
                    .send(s.xdg, "set_window_geometry", &[I(0), I(0), I(9), I(9)]);
            }
            10 if s.object != 0 && s.role == Some(Role::Window) => self.window(&mut s),
            10 if s.object != 0 => {
                let args = [U(self.positioner), U(7)];
                self.raw.send(s.object, "reposition", &args);
            }
            11 if s.object != 0 => self.take(&mut s, |s| &mut s.object),
            12 if s.xdg != 0 && (s.object == 0 || self.odd()) => self.take(&mut s, |s| &mut s.xdg),
            13 if self.dice.below(4) == 0 => return self.destroy(at),
            _ => {}
        }
        self.surfaces[at] = s;
    }

    /// A window's own requests.
    fn window(&mut self, s: &mut Surface) {
        let request = [
            "set_maximized",
            "unset_maximized",
            "set_fullscreen",
            "set_parent",
            "",
        ];
        match self.dice.one(&request) {
            Some("set_fullscreen") => drop_id(self.raw.send(s.object, "set_fullscreen", &[U(0)])),
            Some("set_parent") => {
                let windows = self.surfaces.iter().filter(|p| p.role == Some(Role::Window));
                let mut windows: Vec<u32> = windows.map(|p| p.object).collect();
                windows.push(0);
                let parent = self.dice.one(&windows).unwrap_or(0);
                // A circle now and then.
                if parent == 0 || parent < s.object || self.odd() {
                    self.raw.send(s.object, "set_parent", &[U(parent)]);
                }
            }
            Some("") if s.decoration == 0 => {
                let manager = self.raw.global("zxdg_decoration_manager_v1");
                let args = [New, U(s.object)];
                s.decoration = self.raw.send(manager, "get_toplevel_decoration", &args);
            }
            Some("") => {
                if self.dice.below(2) == 0 {
                    self.raw.send(s.decoration, "set_mode", &[U(1)]);
                } else {
                    self.take(s, |s| &mut s.decoration);
                }
            }
            Some(request) => drop_id(self.raw.send(s.object, request, &[])),
            None => {}
        }
    }

    fn tree(&mut self) {
        let at = self.pick();
        let mut s = self.surfaces[at];
        let other = self.pick();
        let other = self.surfaces[other];
        match self.dice.below(14) {
            0 | 1 if s.subsurface == 0 && (other.id < s.id || self.odd()) && other.id != s.id => {
                s.subsurface = self.raw.subsurface(s.id, other.id);
                s.role = Some(Role::Child);
            }
            2 if s.subsurface != 0 && self.odd() => {
                self.raw.send(s.subsurface, "place_above", &[U(other.id)]);
            }
            2 | 3 if s.subsurface != 0 => {
                let request = self.dice.one(&["set_sync", "set_desync"]).unwrap_or("set_sync");
                self.raw.send(s.subsurface, request, &[]);
            }
            4 if s.viewport == 0 || self.odd() => {
                let viewporter = self.raw.global("wp_viewporter");
                s.viewport = self.raw.send(viewporter, "get_viewport", &[New, U(s.id)]);
            }
            4 | 5 if s.viewport != 0 => {
                let part = if self.odd() { 3 } else { 0 };
                let side = [256, 512, 9 * 256, 64 * 256, 300 * 256][self.dice.below(5)];
                let args = [I(part), I(0), I(side + part), I(side)];
                self.raw.send(s.viewport, "set_source", &args);
            }
            6 if s.viewport != 0 => {
                let side = [-1, 1, 20][self.dice.below(3)];
                self.raw.send(s.viewport, "set_destination", &[I(side), I(side)]);
            }
            7 if s.scale == 0 => {
                let manager = self.raw.global("wp_fractional_scale_manager_v1");
                s.scale = self.raw.send(manager, "get_fractional_scale", &[New, U(s.id)]);
            }
            8..=10 => self.commit(&s),
            11 if s.viewport != 0 => self.take(&mut s, |s| &mut s.viewport),
            11 if s.scale != 0 => self.take(&mut s, |s| &mut s.scale),
            12 if s.subsurface != 0 => self.take(&mut s, |s| &mut s.subsurface),
            13 if self.dice.below(3) == 0 => return self.destroy(at),
            _ => {}
        }
        self.surfaces[at] = s;
    }

    fn commit(&mut self, s: &Surface) {
        if self.dice.below(2) == 0 {
            let buffer = self.dice.one(&self.buffers).unwrap_or(0);
            self.raw.send(s.id, "attach", &[U(buffer), I(0), I(0)]);
        }
        if self.dice.below(4) == 0 {
            let (scale, transform) = (1 + self.dice.below(3), self.dice.below(8));
            let number = |value: usize| I(i32::try_from(value).unwrap());
            self.raw.send(s.id, "set_buffer_scale", &[number(scale)]);
            self.raw.send(s.id, "set_buffer_transform", &[number(transform)]);
        }
        self.raw.send(s.id, "commit", &[]);
    }

    /// The newest configure that was told, or now and then one before it.
    fn acknowledge(&mut self, s: &Surface) {
        let told = self.raw.told("xdg_surface.configure");
        let told = told.iter().filter(|event| event.object == s.xdg);
        let serials: Vec<u32> = told.map(|event| event.uint(0)).collect();
        let Some(newest) = serials.last().copied() else {
            return;
        };
        let serial = if self.odd() { serials[0] } else { newest };
        self.raw
            .events
            .retain(|event| event.object != s.xdg || event.name != "xdg_surface.configure");
        self.raw.send(s.xdg, "ack_configure", &[U(serial)]);
    }

    /// Destroys an object of a surface.
    fn take(&mut self, s: &mut Surface, which: fn(&mut Surface) -> &mut u32) {
        let id = std::mem::take(which(s));
        self.raw.send(id, "destroy", &[]);
        self.forget(id);
    }

    /// Its id may come again, and what was said of it is not of the next.
    fn forget(&mut self, id: u32) {
        self.raw.events.retain(|event| event.object != id);
    }

    /// Destroys a surface, mostly in order.
    fn destroy(&mut self, at: usize) {
        let s = self.surfaces.swap_remove(at);
        let mut all = vec![
            s.decoration,
            s.object,
            s.xdg,
            s.subsurface,
            s.viewport,
            s.scale,
            s.id,
        ];
        if self.dice.below(8) == 0 {
            all.rotate_right(1);
        }
        for id in all.into_iter().filter(|id| *id != 0) {
            if self.dice.below(40) > 0 || id == s.id {
                self.raw.send(id, "destroy", &[]);
                self.forget(id);
            }
        }
    }
}

/// A request that makes nothing.
const fn drop_id(_: u32) {}
