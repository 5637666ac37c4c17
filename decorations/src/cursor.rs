// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pointer's pictures: drawn here at any scale, never by a client, never by a theme on disk.

use tiny_skia::{Color, FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, Stroke, Transform};

use crate::canvas::to_bgra;

/// Side of the picture, logical pixels.
const SIZE: f32 = 24.0;

/// A shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// The arrow.
    Arrow,
    /// A hand, over something that can be clicked.
    Hand,
    /// A bar, over text.
    Text,
    /// A cross, for picking a spot.
    Cross,
    /// Arrows in four directions.
    Move,
    /// Up and down.
    ResizeVertical,
    /// Left and right.
    ResizeHorizontal,
    /// Upper left to lower right.
    ResizeDiagonal,
    /// Upper right to lower left.
    ResizeAntiDiagonal,
    /// Not here.
    Forbidden,
    /// Busy.
    Wait,
}

/// A drawn pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Width and height in physical pixels.
    pub size: u32,
    /// The pixel that points, from the left and from the top.
    pub hotspot: (u32, u32),
    /// Premultiplied B G R A, no padding.
    pub pixels: Vec<u8>,
}

/// Draws a shape at `scale` physical pixels to the logical pixel.
#[must_use]
pub fn draw(shape: Shape, scale: f64) -> Picture {
    #[expect(clippy::cast_possible_truncation, reason = "a scale is a small number")]
    let scale = scale.clamp(0.5, 8.0) as f32;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most 192"
    )]
    let size = (SIZE * scale).ceil() as u32;
    let (x, y) = hotspot(shape);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "inside the picture"
    )]
    let spot = ((x * scale).round() as u32, (y * scale).round() as u32);
    let mut pixels = Vec::new();
    if let Some(mut pixmap) = Pixmap::new(size, size) {
        paint(shape, scale, &mut pixmap);
        pixels = pixmap.take();
        to_bgra(&mut pixels);
    }
    Picture {
        size,
        hotspot: spot,
        pixels,
    }
}

fn hotspot(shape: Shape) -> (f32, f32) {
    match shape {
        Shape::Arrow => (3.0, 2.0),
        Shape::Hand => (9.0, 3.0),
        _ => (SIZE / 2.0, SIZE / 2.0),
    }
}

fn polygon(points: &[(f32, f32)]) -> PathBuilder {
    let mut path = PathBuilder::new();
    for (at, (x, y)) in points.iter().enumerate() {
        if at == 0 {
            path.move_to(*x, *y);
        } else {
            path.line_to(*x, *y);
        }
    }
    path.close();
    path
}

/// A double arrow of half length `reach` turned by `degrees`.
fn double_arrow(degrees: f32, reach: f32) -> Option<Path> {
    let (head, half, line) = (5.0, 4.5, 1.2);
    let path = polygon(&[
        (-reach, 0.0),
        (-reach + head, -half),
        (-reach + head, -line),
        (reach - head, -line),
        (reach - head, -half),
        (reach, 0.0),
        (reach - head, half),
        (reach - head, line),
        (-reach + head, line),
        (-reach + head, half),
    ])
    .finish()?;
    path.transform(Transform::from_rotate(degrees).post_translate(SIZE / 2.0, SIZE / 2.0))
}

type Points = &'static [(f32, f32)];

const ARROW: Points = &[
    (3.0, 2.0),
    (3.0, 18.5),
    (7.2, 14.8),
    (10.0, 21.0),
    (12.8, 19.7),
    (10.1, 13.8),
    (15.6, 13.4),
];
#[rustfmt::skip]
const HAND: Points = &[
    (8.0, 3.0), (10.5, 3.0), (10.5, 10.0), (13.0, 9.6), (13.2, 10.6), (15.6, 10.3), (15.8, 11.3), (18.0, 11.4),
    (18.6, 13.0), (18.0, 17.5), (16.4, 21.5), (9.4, 21.5), (5.0, 15.6), (4.6, 13.6), (6.0, 13.2), (8.0, 15.2),
];
#[rustfmt::skip]
const BAR: Points = &[
    (8.0, 3.5), (11.2, 4.3), (12.0, 4.3), (12.8, 4.3), (16.0, 3.5), (16.0, 5.2), (12.9, 6.0), (12.9, 18.0),
    (16.0, 18.8), (16.0, 20.5), (12.0, 19.7), (8.0, 20.5), (8.0, 18.8), (11.1, 18.0), (11.1, 6.0), (8.0, 5.2),
];
#[rustfmt::skip]
const CROSS: Points = &[
    (11.2, 3.0), (12.8, 3.0), (12.8, 11.2), (21.0, 11.2), (21.0, 12.8), (12.8, 12.8), (12.8, 21.0), (11.2, 21.0),
    (11.2, 12.8), (3.0, 12.8), (3.0, 11.2), (11.2, 11.2),
];
#[rustfmt::skip]
const HOURGLASS: Points = &[
    (6.5, 3.0), (17.5, 3.0), (17.5, 5.0), (13.4, 12.0), (17.5, 19.0), (17.5, 21.0), (6.5, 21.0), (6.5, 19.0),
    (10.6, 12.0), (6.5, 5.0),
];

fn outline(shape: Shape) -> Vec<Path> {
    let paths = match shape {
        Shape::Arrow => vec![polygon(ARROW).finish()],
        Shape::Hand => vec![polygon(HAND).finish()],
        Shape::Text => vec![polygon(BAR).finish()],
        Shape::Cross => vec![polygon(CROSS).finish()],
        Shape::Wait => vec![polygon(HOURGLASS).finish()],
        Shape::Move => vec![double_arrow(0.0, 10.0), double_arrow(90.0, 10.0)],
        Shape::ResizeHorizontal => vec![double_arrow(0.0, 10.0)],
        Shape::ResizeVertical => vec![double_arrow(90.0, 10.0)],
        Shape::ResizeDiagonal => vec![double_arrow(45.0, 10.5)],
        Shape::ResizeAntiDiagonal => vec![double_arrow(-45.0, 10.5)],
        Shape::Forbidden => {
            let stroke = Stroke {
                width: 2.6,
                ..Stroke::default()
            };
            let mut bar = PathBuilder::new();
            bar.move_to(6.9, 6.9);
            bar.line_to(17.1, 17.1);
            [PathBuilder::from_circle(12.0, 12.0, 7.5), bar.finish()]
                .into_iter()
                .map(|path| path.and_then(|path| path.stroke(&stroke, 1.0)))
                .collect()
        }
    };
    paths.into_iter().flatten().collect()
}

/// Dark with a light rim: visible on any content.
fn paint(shape: Shape, scale: f32, pixmap: &mut Pixmap) {
    let transform = Transform::from_scale(scale, scale);
    let paths = outline(shape);
    let mut paint = Paint {
        anti_alias: true,
        ..Paint::default()
    };
    paint.set_color(Color::from_rgba8(0xff, 0xff, 0xff, 0xff));
    let rim = Stroke {
        width: 2.4,
        line_join: LineJoin::Round,
        line_cap: LineCap::Round,
        ..Stroke::default()
    };
    for path in &paths {
        pixmap.stroke_path(path, &paint, &rim, transform, None);
    }
    paint.set_color(Color::from_rgba8(0x16, 0x18, 0x1c, 0xff));
    for path in &paths {
        pixmap.fill_path(path, &paint, FillRule::Winding, transform, None);
    }
}
