// SPDX-License-Identifier: MIT OR Apache-2.0
//! The screens: where each lies, at which scale, and what clients see of them.
//!
//! Clients learn nothing about the hardware: a screen is called `screen-N`, has no size in millimetres and no maker.
//! There is always at least one screen, so that windows keep a place while nothing is plugged in.

use std::collections::BTreeMap;

use heraldry_identity::VmName;
use smithay::output::{Mode, Output, PhysicalProperties, Scale, Subpixel};
use smithay::utils::{Logical, Physical, Point, Rectangle, Size, Transform};
use wayland_server::backend::GlobalId;
use wayland_server::protocol::wl_surface::WlSurface;

/// Names a screen for as long as it is plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScreenId(u32);

/// What a screen is set to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setup {
    /// Size of its picture in physical pixels, before it is turned.
    pub size: Size<i32, Physical>,
    /// Frames in a thousand seconds.
    pub refresh: i32,
    /// Physical pixels per logical one.
    pub scale: f64,
    /// How the picture is turned.
    pub transform: heraldry_config::Transform,
    /// Where its upper left corner is; `None` puts it right of those before it.
    pub position: Option<Point<i32, Logical>>,
}

impl Setup {
    /// An unturned picture with 60 frames a second.
    #[must_use]
    pub fn plain(size: Size<i32, Physical>, scale: f64) -> Self {
        Self {
            size,
            refresh: 60_000,
            scale,
            transform: heraldry_config::Transform::Normal,
            position: None,
        }
    }

    /// The size on the desktop.
    fn logical(&self) -> Size<i32, Logical> {
        let turned = wayland(self.transform).transform_size(self.size);
        let size: Size<i32, Logical> = turned.to_f64().to_logical(self.scale).to_i32_round();
        Size::from((size.w.max(1), size.h.max(1)))
    }

    fn mode(&self) -> Mode {
        Mode {
            size: self.size,
            refresh: self.refresh,
        }
    }
}

/// One screen.
#[derive(Debug)]
pub struct Screen {
    id: ScreenId,
    output: Output,
    setup: Setup,
    rect: Rectangle<i32, Logical>,
    /// What the kernel calls where it is plugged in.
    pub(crate) connector: Option<String>,
    /// What clients of each VM bind.
    vm_outputs: BTreeMap<VmName, VmOutput>,
}

/// A screen as one VM knows it. Smithay looks through all objects that clients have of an output, of whatever client, each
/// time that a surface comes or goes; so every VM has outputs of its own, and pays for its own objects alone.
#[derive(Debug)]
struct VmOutput {
    output: Output,
    global: Option<GlobalId>,
}

impl Screen {
    fn new(id: ScreenId, setup: Setup) -> Self {
        Self {
            id,
            output: output_of(id),
            setup,
            rect: Rectangle::default(),
            connector: None,
            vm_outputs: BTreeMap::new(),
        }
    }

    /// Tells an output, and the clients that have bound it, how the screen is set.
    fn configure(&self, output: &Output) {
        let setup = &self.setup;
        output.set_preferred(setup.mode());
        output.change_current_state(
            Some(setup.mode()),
            Some(wayland(setup.transform)),
            Some(Scale::Fractional(setup.scale)),
            Some(self.rect.loc),
        );
    }

    /// Puts the screen on the registry of a VM that does not have it yet.
    pub(crate) fn publish(&mut self, vm: &VmName, create: impl FnOnce(&Output) -> Option<GlobalId>) {
        if self.vm_outputs.contains_key(vm) {
            return;
        }
        let output = output_of(self.id);
        self.configure(&output);
        let global = create(&output);
        self.vm_outputs.insert(vm.clone(), VmOutput { output, global });
    }

    /// The screen as the clients of a VM know it.
    #[must_use]
    pub fn output_for(&self, vm: &VmName) -> Option<&Output> {
        self.vm_outputs.get(vm).map(|vm_output| &vm_output.output)
    }

    /// A surface is gone, or on this screen no more.
    pub(crate) fn forget(&self, surface: &WlSurface) {
        for vm_output in self.vm_outputs.values() {
            vm_output.output.leave(surface);
        }
    }

    /// What clients can bind of a screen that is gone.
    pub(crate) fn into_globals(self) -> impl Iterator<Item = GlobalId> {
        self.vm_outputs
            .into_values()
            .filter_map(|vm_output| vm_output.global)
    }

    /// Its name inside the compositor.
    #[must_use]
    pub fn id(&self) -> ScreenId {
        self.id
    }

    /// What it is drawn for. Clients know each their VM's output of it.
    #[must_use]
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// What the kernel calls where it is plugged in; nothing for a screen that no backend shows.
    #[must_use]
    pub fn connector(&self) -> Option<&str> {
        self.connector.as_deref()
    }

    /// Physical pixels per logical one.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.setup.scale
    }

    /// What it is set to.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Size of the picture as the user sees it.
    #[must_use]
    pub fn size(&self) -> Size<i32, Physical> {
        wayland(self.setup.transform).transform_size(self.setup.size)
    }

    /// Its place on the desktop.
    #[must_use]
    pub fn rect(&self) -> Rectangle<i32, Logical> {
        self.rect
    }
}

/// All screens, in the order in which they came.
#[derive(Debug)]
pub struct Outputs {
    screens: Vec<Screen>,
    next: u32,
}

impl Outputs {
    /// One screen.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let mut outputs = Self {
            screens: vec![Screen::new(ScreenId(1), setup)],
            next: 2,
        };
        outputs.arrange();
        outputs
    }

    /// Adds a screen. The caller puts it on the registry.
    pub fn add(&mut self, setup: Setup) -> ScreenId {
        // The lowest free number, so that a screen that comes back has its old name.
        let taken = |number: u32| self.screens.iter().any(|screen| screen.id.0 == number);
        let number = (1..self.next).find(|number| !taken(*number)).unwrap_or(self.next);
        self.next = self.next.max(number.saturating_add(1));
        let id = ScreenId(number);
        self.screens.push(Screen::new(id, setup));
        self.screens.sort_by_key(|screen| screen.id);
        self.arrange();
        id
    }

    /// Takes a screen out, and returns it; the last one stays.
    pub fn remove(&mut self, id: ScreenId) -> Option<Screen> {
        if self.screens.len() < 2 {
            return None;
        }
        let index = self.screens.iter().position(|screen| screen.id == id)?;
        let screen = self.screens.remove(index);
        self.arrange();
        Some(screen)
    }

    /// Changes what a screen is set to.
    pub fn set(&mut self, id: ScreenId, setup: Setup) {
        if let Some(screen) = self.screens.iter_mut().find(|screen| screen.id == id) {
            screen.setup = setup;
        }
        self.arrange();
    }

    /// Gives every screen its place and tells clients.
    fn arrange(&mut self) {
        let mut right = 0_i32;
        for screen in &mut self.screens {
            let size = screen.setup.logical();
            let loc = screen.setup.position.unwrap_or_else(|| (right, 0).into());
            screen.rect = Rectangle::new(loc, size);
            right = right.max(loc.x.saturating_add(size.w));
            let vm_outputs = screen.vm_outputs.values().map(|vm_output| &vm_output.output);
            for output in vm_outputs.chain([&screen.output]) {
                screen.configure(output);
            }
        }
    }

    /// Every screen.
    pub fn iter(&self) -> impl Iterator<Item = &Screen> {
        self.screens.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Screen> {
        self.screens.iter_mut()
    }

    pub(crate) fn get_mut(&mut self, id: ScreenId) -> Option<&mut Screen> {
        self.screens.iter_mut().find(|screen| screen.id == id)
    }

    /// The screen of this name.
    #[must_use]
    pub fn get(&self, id: ScreenId) -> Option<&Screen> {
        self.screens.iter().find(|screen| screen.id == id)
    }

    /// The screen that a client or a user calls by this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Screen> {
        self.screens.iter().find(|screen| screen.output.name() == name)
    }

    /// The first screen.
    #[must_use]
    pub fn first(&self) -> &Screen {
        #[expect(
            clippy::indexing_slicing,
            reason = "new makes one, and remove leaves the last"
        )]
        &self.screens[0]
    }

    /// Where screens are.
    #[must_use]
    pub fn areas(&self) -> Vec<Rectangle<i32, Logical>> {
        self.screens.iter().map(|screen| screen.rect).collect()
    }

    /// The screen at a point, or the one nearest to it.
    #[must_use]
    pub fn at(&self, point: Point<f64, Logical>) -> &Screen {
        self.screens
            .iter()
            .min_by(|a, b| distance(a.rect, point).total_cmp(&distance(b.rect, point)))
            .unwrap_or_else(|| self.first())
    }

    /// The screen that shows most of `rect`, or is nearest to it.
    #[must_use]
    pub fn showing(&self, rect: Rectangle<i32, Logical>) -> &Screen {
        let areas = self.areas();
        let index = crate::desktop::layout::most_covered(&areas, rect);
        self.screens.get(index).unwrap_or_else(|| self.first())
    }

    /// The point nearest to `point` that is on a screen.
    #[must_use]
    pub fn nearest(&self, point: Point<f64, Logical>) -> Point<f64, Logical> {
        clamp(self.at(point).rect, point)
    }
}

/// An output that tells nothing of the hardware.
fn output_of(id: ScreenId) -> Output {
    Output::new(
        format!("screen-{}", id.0),
        PhysicalProperties {
            size: (0, 0).into(),
            subpixel: Subpixel::Unknown,
            make: "Heraldry".to_owned(),
            model: "screen".to_owned(),
        },
    )
}

/// The last point inside is a whole logical pixel before the edge, as pointers have it.
fn clamp(rect: Rectangle<i32, Logical>, point: Point<f64, Logical>) -> Point<f64, Logical> {
    let rect = rect.to_f64();
    let right = (rect.loc.x + rect.size.w - 1.0).max(rect.loc.x);
    let bottom = (rect.loc.y + rect.size.h - 1.0).max(rect.loc.y);
    Point::from((
        point.x.clamp(rect.loc.x, right),
        point.y.clamp(rect.loc.y, bottom),
    ))
}

fn wayland(transform: heraldry_config::Transform) -> Transform {
    use heraldry_config::Transform as Config;
    match transform {
        Config::Normal => Transform::Normal,
        Config::Quarter => Transform::_90,
        Config::Half => Transform::_180,
        Config::ThreeQuarters => Transform::_270,
        Config::Flipped => Transform::Flipped,
        Config::FlippedQuarter => Transform::Flipped90,
        Config::FlippedHalf => Transform::Flipped180,
        Config::FlippedThreeQuarters => Transform::Flipped270,
    }
}

/// How far a point is from a rectangle, squared; 0 inside.
fn distance(rect: Rectangle<i32, Logical>, point: Point<f64, Logical>) -> f64 {
    let rect = rect.to_f64();
    let beyond = |value: f64, from: f64, length: f64| (from - value).max(value - from - length).max(0.0);
    let inside = rect.contains(point);
    if inside {
        return -1.0;
    }
    let x = beyond(point.x, rect.loc.x, rect.size.w);
    let y = beyond(point.y, rect.loc.y, rect.size.h);
    x.mul_add(x, y * y)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(w: i32, h: i32, scale: f64) -> Setup {
        Setup::plain((w, h).into(), scale)
    }

    #[test]
    fn screens_stand_side_by_side_in_logical_pixels() {
        let mut outputs = Outputs::new(screen(1280, 800, 1.0));
        outputs.add(screen(3840, 2160, 2.0));
        assert_eq!(
            outputs.areas(),
            vec![
                Rectangle::new((0, 0).into(), (1280, 800).into()),
                Rectangle::new((1280, 0).into(), (1920, 1080).into()),
            ]
        );
        assert_eq!(outputs.at((1279.9, 10.0).into()).id(), ScreenId(1));
        assert_eq!(outputs.at((1280.0, 1079.0).into()).id(), ScreenId(2));
        // Below the first screen there is nothing: the pointer stops at its edge.
        assert_eq!(
            outputs.nearest((100.0, 900.0).into()),
            Point::from((100.0, 799.0))
        );
    }

    #[test]
    fn a_turned_screen_has_its_sides_swapped() {
        let setup = Setup {
            transform: heraldry_config::Transform::Quarter,
            ..screen(1280, 800, 1.0)
        };
        let outputs = Outputs::new(setup);
        assert_eq!(outputs.first().rect().size, Size::from((800, 1280)));
        assert_eq!(outputs.first().size(), Size::from((800, 1280)));
    }

    #[test]
    fn the_last_screen_stays_and_a_returning_one_has_its_old_name() {
        let mut outputs = Outputs::new(screen(1280, 800, 1.0));
        assert!(outputs.remove(ScreenId(1)).is_none());
        let second = outputs.add(screen(640, 480, 1.0));
        assert!(outputs.remove(ScreenId(1)).is_some());
        assert_eq!(outputs.areas(), vec![Rectangle::from_size((640, 480).into())]);
        assert_eq!(outputs.add(screen(1280, 800, 1.0)), ScreenId(1));
        assert!(outputs.get(second).is_some());
        assert_eq!(outputs.first().id(), ScreenId(1));
    }
}
