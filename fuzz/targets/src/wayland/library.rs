// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the compositor's library ends a client for, as far as it can be told from requests: none of it may pass.

use std::collections::HashMap;

use super::Arg;
use super::rules::Passed;

/// What Smithay knows of one client. Objects go by their keys.
#[derive(Debug, Default)]
pub struct Library {
    roles: HashMap<u64, &'static str>,
    /// The surface and the `xdg_wm_base` of each `xdg_surface`.
    shells: HashMap<u64, (u64, u64)>,
    /// The `xdg_surface` of each window and popup.
    objects: HashMap<u64, u64>,
    /// Serials of each `xdg_surface` that are not acknowledged.
    waiting: HashMap<u64, Vec<u32>>,
    /// What each viewport, fractional scale and decoration belongs to.
    extensions: HashMap<u64, (&'static str, u64)>,
    /// Whether the source of a viewport has a whole size, and whether there is a destination.
    viewports: HashMap<u64, (bool, bool)>,
    formats: Vec<u32>,
}

impl Library {
    /// Whether a window or popup belongs to an `xdg_surface` now.
    #[must_use]
    pub fn has_role_object(&self, xdg: u64) -> bool {
        self.objects.values().any(|of| *of == xdg)
    }

    /// The compositor sends a configure.
    pub fn configures(&mut self, xdg: u64, serial: u32) {
        self.waiting.entry(xdg).or_default().push(serial);
    }

    /// The client is told of a format.
    pub fn tells_format(&mut self, format: u32) {
        self.formats.push(format);
    }

    /// Judges a request that reached the compositor.
    pub fn judge(&mut self, passed: &Passed<'_>) {
        let own = passed.object.key;
        match (passed.object.interface.name, passed.request) {
            ("wl_surface", "attach") if passed.object.version >= 5 => {
                assert_eq!([passed.int(1), passed.int(2)], [0, 0], "{passed:?}");
            }
            ("wl_surface", "commit") => self.committed(own, passed),
            ("wl_subcompositor", "get_subsurface") => self.role(passed.key(1), "subsurface"),
            ("wl_pointer", "set_cursor") => self.role(passed.key(1), "cursor"),
            ("wl_data_device", "start_drag") => self.role(passed.key(2), "icon"),
            ("wl_data_offer", "set_actions") => {
                let preferred = passed.word(1);
                assert!([0, 1, 2, 4].contains(&preferred), "{passed:?}");
            }
            ("wl_shm_pool", "create_buffer") => {
                let (stride, width, format) = (passed.int(4), passed.int(2), passed.word(5));
                assert!(format < 2 || self.formats.contains(&format), "{passed:?}");
                assert!(format > 1 || stride / 4 >= width, "{passed:?}");
            }
            ("wp_viewporter", "get_viewport") => self.extend(passed, "viewport"),
            ("wp_fractional_scale_manager_v1", "get_fractional_scale") => self.extend(passed, "scale"),
            ("zxdg_decoration_manager_v1", "get_toplevel_decoration") => self.extend(passed, "decoration"),
            ("wp_viewport" | "wp_fractional_scale_v1" | "zxdg_toplevel_decoration_v1", _) => {
                self.extension(own, passed);
            }
            _ => self.shell(own, passed),
        }
    }

    fn role(&mut self, surface: u64, role: &'static str) {
        if surface != 0 {
            let has = *self.roles.entry(surface).or_insert(role);
            assert_eq!(has, role, "a surface with two roles");
        }
    }

    fn extend(&mut self, passed: &Passed<'_>, kind: &'static str) {
        let of = (kind, passed.key(1));
        // What is gone has no more than its own.
        self.extensions.retain(|key, _| passed.is_live(*key));
        assert!(!self.extensions.values().any(|other| *other == of), "{passed:?}");
        self.extensions.insert(passed.key(0), of);
        self.viewports.insert(passed.key(0), (true, false));
    }

    fn extension(&mut self, own: u64, passed: &Passed<'_>) {
        let (_, of) = self.extensions[&own];
        let viewport = self.viewports.entry(own).or_default();
        match passed.request {
            "destroy" => drop(self.extensions.remove(&own)),
            "set_source" => viewport.0 = [2, 3].iter().all(|at| passed.int(*at) % 256 == 0),
            "set_destination" => viewport.1 = passed.int(0) > 0,
            _ => {}
        }
        if passed.request.starts_with("set_") && passed.object.interface.name == "wp_viewport" {
            assert!(passed.is_live(of), "{passed:?} of a destroyed surface");
        }
    }

    fn committed(&self, surface: u64, passed: &Passed<'_>) {
        let of = ("viewport", surface);
        let viewport = self.extensions.iter().find(|(_, other)| **other == of);
        if let Some((key, _)) = viewport {
            let (whole, sized) = self.viewports[key];
            assert!(whole || sized, "{passed:?} with a source of no whole size");
        }
    }

    fn shell(&mut self, own: u64, passed: &Passed<'_>) {
        match (passed.object.interface.name, passed.request) {
            ("xdg_wm_base", "get_xdg_surface") => {
                self.shells.insert(passed.key(0), (passed.key(1), own));
            }
            ("xdg_wm_base", "destroy") => {
                assert!(self.shells.values().all(|(_, base)| *base != own), "{passed:?}");
            }
            ("xdg_surface", "get_toplevel" | "get_popup") => {
                let role = if passed.request == "get_popup" {
                    "popup"
                } else {
                    "window"
                };
                self.role(self.shells[&own].0, role);
                self.objects.insert(passed.key(0), own);
            }
            ("xdg_surface", "set_window_geometry") => self.has_role(own, passed),
            ("xdg_surface", "ack_configure") => {
                self.has_role(own, passed);
                let waiting = self.waiting.entry(own).or_default();
                let at = waiting.iter().position(|serial| *serial == passed.word(0));
                let at = at.unwrap_or_else(|| panic!("{passed:?}, and {waiting:?} wait"));
                waiting.drain(..=at);
            }
            ("xdg_surface", "destroy") => {
                let surface = self.shells.remove(&own).map_or(0, |(surface, _)| surface);
                let early = self.has_role_object(own) && passed.is_live(surface);
                assert!(!early, "{passed:?} before its role object");
                self.waiting.remove(&own);
            }
            ("xdg_toplevel" | "xdg_popup", "destroy") => {
                let xdg = self.objects.remove(&own);
                drop(xdg.and_then(|xdg| self.waiting.remove(&xdg)));
            }
            ("xdg_positioner", "set_anchor_rect") => {
                assert!(passed.int(2) > 0 && passed.int(3) > 0, "{passed:?}");
            }
            _ => {}
        }
    }

    fn has_role(&self, xdg: u64, passed: &Passed<'_>) {
        let role = self.roles.get(&self.shells[&xdg].0);
        assert!(
            role.is_some_and(|role| ["window", "popup"].contains(role)),
            "{passed:?}"
        );
    }
}

/// The number of a configure, if these are the arguments of one.
#[must_use]
pub fn serial_of(args: &[Arg]) -> Option<u32> {
    match args {
        [Arg::Word(serial)] => Some(*serial),
        _ => None,
    }
}
