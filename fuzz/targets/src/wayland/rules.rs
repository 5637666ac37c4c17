// SPDX-License-Identifier: MIT OR Apache-2.0
//! What no passed request may do, whatever the client sent. Written from the compositor's needs, not from the gate.

use std::collections::HashMap;

use heraldry_gate::Limits;

use super::{Arg, Object, Objects};

/// Coordinates beyond this overflow when a few of them are added and scaled.
const FAR: i32 = 1 << 29;

/// What the compositor knows of one client. Objects go by their keys.
#[derive(Debug, Default)]
pub struct Rules {
    /// Sizes of pools.
    pools: HashMap<u64, i32>,
    rectangles: HashMap<u64, u32>,
    damage: HashMap<u64, u32>,
    /// The surface of each subsurface and its parent.
    subsurfaces: HashMap<u64, (u64, u64)>,
    /// The `xdg_surface` of each window and popup.
    shells: HashMap<u64, u64>,
    /// Parents of `xdg_surface`s.
    parents: HashMap<u64, u64>,
    types: HashMap<u64, u32>,
}

/// A passed request and what it is judged by.
#[derive(Clone, Copy)]
pub struct Passed<'a> {
    /// The object that it is to.
    pub object: Object,
    /// Its name.
    pub request: &'a str,
    /// Its arguments.
    pub args: &'a [Arg],
    /// All objects, a new one included.
    pub objects: &'a Objects,
    /// The limits of the gate.
    pub limits: &'a Limits,
    /// The size of all memory that a client shares.
    pub memory: u64,
}

impl std::fmt::Debug for Passed<'_> {
    /// Not the object: an interface shows all interfaces that it leads to, which some do in circles.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let interface = self.object.interface.name;
        write!(f, "{interface}.{} {:?}", self.request, self.args)
    }
}

impl Passed<'_> {
    pub(super) fn word(&self, index: usize) -> u32 {
        match self.args.get(index) {
            Some(Arg::Word(word)) => *word,
            other => panic!("argument {index} is {other:?}"),
        }
    }

    pub(super) fn int(&self, index: usize) -> i32 {
        self.word(index).cast_signed()
    }

    /// The key of the object that an argument names; 0 if it names none.
    pub(super) fn key(&self, index: usize) -> u64 {
        self.objects.find(self.word(index)).map_or(0, |object| object.key)
    }

    fn near(&self, first: usize, count: usize) {
        for at in first..first + count {
            assert!(self.int(at).unsigned_abs() <= FAR.unsigned_abs(), "{self:?}");
        }
    }

    /// A rectangle of a region or of damage, or a box around many: from one end of what is near to the other at most.
    fn area(&self) {
        self.near(0, 2);
        for at in [2, 3] {
            assert!((1..=2 * FAR).contains(&self.int(at)), "{self:?}");
        }
    }

    fn at_least(&self, least: i32, places: [usize; 2]) {
        assert!(
            places.iter().all(|at| (least..=FAR).contains(&self.int(*at))),
            "{self:?}"
        );
    }

    pub(super) fn is_live(&self, key: u64) -> bool {
        self.objects
            .all()
            .any(|(_, object)| object.live && object.key == key)
    }
}

/// Steps upward from `from`; panics at a cycle.
fn height(parents: &HashMap<u64, u64>, from: u64) -> usize {
    let mut seen = vec![from];
    while let Some(parent) = seen.last().and_then(|last| parents.get(last)) {
        assert!(!seen.contains(parent), "an object is its own ancestor");
        seen.push(*parent);
    }
    seen.len() - 1
}

impl Rules {
    /// Judges a request that reached the compositor.
    pub fn judge(&mut self, passed: &Passed<'_>) {
        let Passed {
            object,
            objects,
            limits,
            ..
        } = passed;
        match (object.interface.name, passed.request) {
            ("wl_shm" | "wl_shm_pool", _) => self.memory(passed),
            ("wl_surface", "damage" | "damage_buffer") => {
                passed.area();
                let count = self.damage.entry(object.key).or_default();
                *count += 1;
                // Of two kinds, and a box for the rest of each.
                assert!(
                    *count <= 2 * (limits.damage_rectangles + 1),
                    "{count} rectangles of damage"
                );
            }
            ("wl_surface", "commit") => drop(self.damage.remove(&object.key)),
            ("wl_surface", "set_buffer_scale") => assert!(passed.int(0) > 0),
            ("wl_surface", "attach") => passed.near(1, 2),
            ("wl_surface", "offset") | ("wl_subsurface", "set_position") => passed.near(0, 2),
            ("wl_region", "add" | "subtract") => {
                passed.area();
                let count = self.rectangles.entry(object.key).or_default();
                *count += 1;
                // Beyond, a box that grows by doubling.
                assert!(*count <= limits.region_rectangles + 128);
            }
            ("wl_data_source" | "zwp_primary_selection_source_v1", "offer") => {
                let count = self.types.entry(object.key).or_default();
                *count += 1;
                assert!(*count <= limits.mime_types);
            }
            ("wl_subcompositor", "get_subsurface") => self.subsurface(passed),
            ("wp_viewport", "set_source") => {
                let values = [0, 1, 2, 3].map(|at| passed.int(at));
                let good = values.iter().all(|v| *v >= 0) && values[2] > 0 && values[3] > 0;
                assert!(good || values == [-256; 4], "{passed:?}");
            }
            ("wp_viewport", "set_destination") => {
                let size = [0, 1].map(|at| passed.int(at));
                assert!(size == [-1; 2] || size.iter().all(|v| *v > 0), "{passed:?}");
            }
            _ => self.shell(passed),
        }
        assert!(objects.count("wl_registry") <= limits.registries);
    }

    fn memory(&mut self, passed: &Passed<'_>) {
        let there = |size: i32| u64::try_from(size).is_ok_and(|size| size <= passed.memory);
        match passed.request {
            "create_pool" => {
                let size = passed.int(2);
                assert!(size > 0 && there(size), "{passed:?}");
                self.pools.insert(passed.key(0), size);
            }
            "resize" => {
                let size = passed.int(0);
                let before = self.pools.insert(passed.object.key, size);
                assert!(before < Some(size) && there(size), "{passed:?}");
            }
            "create_buffer" => {
                let size = i64::from(self.pools[&passed.object.key]);
                let [offset, width, height, stride] = [1, 2, 3, 4].map(|at| passed.int(at));
                assert!(
                    offset >= 0 && width > 0 && height > 0 && stride >= width,
                    "{passed:?}"
                );
                let most = passed.limits.buffer_dimension;
                assert!(width <= most && height <= most, "{passed:?}");
                let end = i64::from(offset) + i64::from(stride) * i64::from(height);
                assert!(end <= size, "{passed:?} in {size} bytes");
            }
            _ => {}
        }
    }

    fn subsurface(&mut self, passed: &Passed<'_>) {
        let (surface, parent) = (passed.key(1), passed.key(2));
        let live = |key: &u64| passed.is_live(*key);
        self.subsurfaces
            .retain(|key, (surface, parent)| live(key) && live(surface) && live(parent));
        let already = self.subsurfaces.values().any(|(child, _)| *child == surface);
        assert!(!already, "a surface with two parents");
        self.subsurfaces.insert(passed.key(0), (surface, parent));
        let parents: HashMap<u64, u64> = self.subsurfaces.values().copied().collect();
        for child in parents.keys() {
            assert!(
                height(&parents, *child) <= passed.limits.subsurface_depth,
                "a deep tree"
            );
        }
    }

    /// Windows and popups.
    fn shell(&mut self, passed: &Passed<'_>) {
        match (passed.object.interface.name, passed.request) {
            ("xdg_surface", "set_window_geometry") => {
                passed.near(0, 2);
                passed.at_least(1, [2, 3]);
            }
            ("xdg_surface", "get_toplevel") => drop(self.shells.insert(passed.key(0), passed.object.key)),
            ("xdg_surface", "get_popup") => {
                self.shells.insert(passed.key(0), passed.object.key);
                assert_ne!(passed.word(1), 0, "a popup without a parent");
                self.parent(passed.object.key, passed.key(1), passed);
            }
            ("xdg_toplevel", "set_parent") => {
                // Without its xdg_surface a window is defunct, and the compositor refuses the request.
                let Some(own) = self.shells.get(&passed.object.key).copied() else {
                    return;
                };
                match self.shells.get(&passed.key(0)).copied() {
                    None => drop(self.parents.remove(&own)),
                    Some(parent) => self.parent(own, parent, passed),
                }
            }
            ("xdg_toplevel", "set_min_size" | "set_max_size") => passed.at_least(0, [0, 1]),
            ("xdg_positioner", "set_size") => passed.at_least(1, [0, 1]),
            ("xdg_positioner", "set_parent_size") => passed.at_least(0, [0, 1]),
            ("xdg_positioner", "set_anchor_rect") => {
                passed.near(0, 2);
                passed.at_least(1, [2, 3]);
            }
            ("xdg_positioner", "set_offset") => passed.near(0, 2),
            _ => {}
        }
    }

    fn parent(&mut self, own: u64, parent: u64, passed: &Passed<'_>) {
        // A chain breaks where its window or popup is gone.
        let live = |key: &u64| passed.is_live(*key);
        self.shells.retain(|role, surface| live(role) && live(surface));
        let shown: Vec<u64> = self.shells.values().copied().collect();
        self.parents
            .retain(|own, parent| shown.contains(own) && shown.contains(parent));
        self.parents.insert(own, parent);
        assert!(
            height(&self.parents, own) <= passed.limits.parent_depth,
            "a long chain of parents"
        );
    }
}
