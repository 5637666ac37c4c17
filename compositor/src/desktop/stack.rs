// SPDX-License-Identifier: MIT OR Apache-2.0
//! What lies on a screen, from front to back: the one walk that drawing, hit test and view history read.
//!
//! A click follows what is drawn. Whoever walked the windows separately would sooner or later see something else there.

use heraldry_decorations::FrameKind;
use heraldry_identity::VmName;
use smithay::utils::{IsAlive, Logical, Physical, Point, Rectangle};
use wayland_server::protocol::wl_surface::WlSurface;

use crate::desktop::layout::{Mode, WindowId};
use crate::desktop::outputs::Screen;
use crate::desktop::windows::{Window, Windows};
use crate::input::Input;
use crate::state::Core;
use crate::trees::{effective_geometry, has_buffer};
use crate::vms::Vms;

/// A drag icon is shown at most this large, logical pixels.
const MAX_DRAG_ICON: i32 = 128;

/// How far a drag icon is from the pointer or the finger, right and down. Never under it, so that it hides nothing that
/// is about to be clicked.
const DRAG_ICON_OFFSET: (i32, i32) = (12, 12);

/// Something that lies on a screen.
#[derive(Debug, Clone)]
pub enum Item<'a> {
    /// The pointer's picture.
    Pointer,
    /// A notice of ours, and where it is on the screen.
    Notice(Rectangle<i32, Physical>),
    /// What a client shows.
    Framed(Framed<'a>),
}

/// A window, a popup or a drag icon: what a client shows, in the frame of its VM.
#[derive(Debug, Clone)]
pub struct Framed<'a> {
    /// Its VM.
    pub owner: &'a VmName,
    /// The window that it is, or that it is a popup of. A drag icon belongs to none, and takes no input.
    pub window: Option<WindowId>,
    /// How it is framed.
    pub kind: FrameKind,
    /// The rectangle of the desktop that shows it, inside of the frame.
    pub content: Rectangle<i32, Logical>,
    /// The root of its surfaces.
    pub surface: WlSurface,
    /// Where the root's own corner is.
    pub origin: Point<i32, Logical>,
}

impl Core {
    /// What lies on a screen or may reach onto it, from front to back.
    pub fn stack<'a>(&'a self, screen: &Screen) -> impl Iterator<Item = Item<'a>> + use<'a> {
        let pointer = self.input.shows_pointer().then_some(Item::Pointer);
        let notice = self.render.notice_place(screen);
        let icons = drag_icons(&self.vms, &self.input);
        let framed = icons.chain(windows(&self.windows, self.popup_edge()));
        let ours = pointer.into_iter().chain(notice.map(Item::Notice));
        ours.chain(framed.map(Item::Framed))
    }

    /// The popups of a window as they are shown, from front to back.
    pub fn popups_of(&self, id: WindowId) -> impl Iterator<Item = Framed<'_>> {
        let window = self.windows.get(id).into_iter();
        window.flat_map(|window| popups(&self.windows, window, self.popup_edge()))
    }

    /// What a popup's frame takes on each side, in logical pixels.
    fn popup_edge(&self) -> i32 {
        let insets = self.render.style(1.0).logical_insets(FrameKind::Popup);
        i32::try_from(insets.left).unwrap_or(0)
    }
}

/// The frame that a window in this mode has.
#[must_use]
pub fn frame_kind(mode: Mode) -> FrameKind {
    match mode {
        Mode::Floating | Mode::Maximized => FrameKind::Window,
        Mode::Fullscreen => FrameKind::Fullscreen,
    }
}

/// All visible windows from front to back, each behind its popups.
fn windows(windows: &Windows, popup_edge: i32) -> impl Iterator<Item = Framed<'_>> {
    let visible = windows.layout.visible().filter_map(|id| windows.get(id));
    visible.flat_map(move |window| popups(windows, window, popup_edge).chain(itself(windows, window)))
}

fn itself<'a>(windows: &Windows, window: &'a Window) -> Option<Framed<'a>> {
    let content = windows.layout.content(window.id)?;
    Some(Framed {
        owner: &window.vm,
        window: Some(window.id),
        kind: frame_kind(windows.layout.mode(window.id).unwrap_or_default()),
        content,
        surface: window.toplevel.wl_surface().clone(),
        origin: content.loc - window.geometry.loc,
    })
}

fn popups<'a>(
    windows: &Windows,
    window: &'a Window,
    edge: i32,
) -> impl Iterator<Item = Framed<'a>> + use<'a> {
    let place = windows.layout.content(window.id).map(|content| {
        let area = windows.layout.area_of(content);
        // The edge must stay on the screen too, or the popup would be seen without it.
        let room = Rectangle::new(
            (area.loc.x + edge, area.loc.y + edge).into(),
            ((area.size.w - 2 * edge).max(1), (area.size.h - 2 * edge).max(1)).into(),
        );
        (content.loc, room)
    });
    place.into_iter().flat_map(move |(corner, room)| {
        window.popups().filter_map(move |(popup, offset)| {
            let surface = popup.wl_surface().clone();
            if !has_buffer(&surface) {
                return None;
            }
            let geometry = effective_geometry(&surface);
            let at = corner + offset;
            Some(Framed {
                owner: &window.vm,
                window: Some(window.id),
                kind: FrameKind::Popup,
                content: Rectangle::new(at, geometry.size).intersection(room)?,
                surface,
                origin: at - geometry.loc,
            })
        })
    })
}

fn drag_icons<'a>(vms: &'a Vms, input: &'a Input) -> impl Iterator<Item = Framed<'a>> {
    vms.iter().filter_map(move |vm| {
        let icon = vm.drag_icon.as_ref().filter(|_| !vm.is_hidden())?;
        if !icon.alive() || !has_buffer(icon) {
            return None;
        }
        let bounds = effective_geometry(icon);
        let hand = input.touches.dragging(vm).unwrap_or(input.pointer);
        let at = hand.to_i32_round() + Point::from(DRAG_ICON_OFFSET);
        let size = (bounds.size.w.min(MAX_DRAG_ICON), bounds.size.h.min(MAX_DRAG_ICON));
        Some(Framed {
            owner: &vm.name,
            window: None,
            kind: FrameKind::Popup,
            content: Rectangle::new(at, size.into()),
            surface: icon.clone(),
            origin: at - bounds.loc,
        })
    })
}
