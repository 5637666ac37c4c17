// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pointer's picture: always one of our own shapes. A client may choose among them by name while the pointer is
//! over its content; a bitmap of its own is not shown.

use std::collections::HashMap;

use heraldry_decorations::cursor::{self, Shape};
use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::element::memory::MemoryRenderBuffer;
use smithay::input::pointer::{CursorIcon, CursorImageStatus};
use smithay::utils::{Physical, Rectangle, Transform};

use super::per_scale::PerScale;
use crate::desktop::layout::Edges;
use crate::input::hit::Hit;
use crate::state::Core;

type Pictures = HashMap<Shape, (MemoryRenderBuffer, Rectangle<i32, Physical>)>;

/// Pictures drawn so far.
#[derive(Debug, Default)]
pub(super) struct Pointers {
    pictures: PerScale<Pictures>,
}

impl Pointers {
    /// A shape's bitmap, and its place relative to the point that it points at.
    pub(super) fn picture(
        &mut self,
        shape: Shape,
        scale: f64,
    ) -> (&MemoryRenderBuffer, Rectangle<i32, Physical>) {
        let (buffer, rect) = self.pictures.at(scale).entry(shape).or_insert_with(|| {
            let picture = cursor::draw(shape, scale);
            let signed = |value: u32| i32::try_from(value).unwrap_or(0);
            let size = signed(picture.size);
            let buffer = MemoryRenderBuffer::from_slice(
                &picture.pixels,
                Fourcc::Argb8888,
                (size, size),
                1,
                Transform::Normal,
                None,
            );
            let (x, y) = picture.hotspot;
            (
                buffer,
                Rectangle::new((-signed(x), -signed(y)).into(), (size, size).into()),
            )
        });
        (buffer, *rect)
    }
}

/// The shape to show; `None` while a client hides the pointer over its own content.
pub(super) fn shape(core: &Core) -> Option<Shape> {
    if let Some(edges) = core.input.own_cursor() {
        return Some(if edges.is_empty() {
            Shape::Move
        } else {
            resize(edges)
        });
    }
    if core.input.pens.is_near_client() {
        return Some(Shape::Cross);
    }
    match core.hit(core.input.pointer) {
        Hit::Band(_, edges) if !edges.is_empty() => Some(resize(edges)),
        Hit::Button(..) => Some(Shape::Hand),
        Hit::Band(..) | Hit::Label(_) | Hit::Desktop | Hit::Notice => Some(Shape::Arrow),
        Hit::Content { vm, .. } if core.input.hovered_vm() == Some(&vm) => {
            match core.vms.get(&vm).map(|vm| &vm.cursor) {
                Some(CursorImageStatus::Hidden) => None,
                Some(CursorImageStatus::Named(icon)) => Some(named(*icon)),
                Some(CursorImageStatus::Surface(_)) | None => Some(Shape::Arrow),
            }
        }
        Hit::Content { .. } => Some(Shape::Arrow),
    }
}

fn resize(edges: Edges) -> Shape {
    let (left, right) = (edges.contains(Edges::LEFT), edges.contains(Edges::RIGHT));
    let (top, bottom) = (edges.contains(Edges::TOP), edges.contains(Edges::BOTTOM));
    if (left && top) || (right && bottom) {
        Shape::ResizeDiagonal
    } else if (right && top) || (left && bottom) {
        Shape::ResizeAntiDiagonal
    } else if left || right {
        Shape::ResizeHorizontal
    } else {
        Shape::ResizeVertical
    }
}

fn named(icon: CursorIcon) -> Shape {
    match icon {
        CursorIcon::Pointer => Shape::Hand,
        CursorIcon::Text | CursorIcon::VerticalText => Shape::Text,
        CursorIcon::Crosshair | CursorIcon::Cell => Shape::Cross,
        CursorIcon::Move | CursorIcon::AllScroll | CursorIcon::Grab | CursorIcon::Grabbing => Shape::Move,
        CursorIcon::NResize | CursorIcon::SResize | CursorIcon::NsResize | CursorIcon::RowResize => {
            Shape::ResizeVertical
        }
        CursorIcon::EResize | CursorIcon::WResize | CursorIcon::EwResize | CursorIcon::ColResize => {
            Shape::ResizeHorizontal
        }
        CursorIcon::NwResize | CursorIcon::SeResize | CursorIcon::NwseResize => Shape::ResizeDiagonal,
        CursorIcon::NeResize | CursorIcon::SwResize | CursorIcon::NeswResize => Shape::ResizeAntiDiagonal,
        CursorIcon::NoDrop | CursorIcon::NotAllowed => Shape::Forbidden,
        CursorIcon::Wait | CursorIcon::Progress => Shape::Wait,
        _ => Shape::Arrow,
    }
}
