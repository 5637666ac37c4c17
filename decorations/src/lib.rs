// SPDX-License-Identifier: MIT OR Apache-2.0
//! Arms and frames to pixels in a caller's buffer.
//!
//! Knows no renderer, no Wayland, no configuration file. [`geometry`] says where the parts of a frame are, [`draw`]
//! fills the pixels of one side, [`Frame`] those of the parts that a side is made of. Input is only what [`FrameSpec`]
//! lists: the arms come from the user's configuration; the title is the one thing a VM has a say in, and it is filtered,
//! cut first and drawn as the lesser text.
#![forbid(unsafe_code)]

mod canvas;
mod controls;
pub mod cursor;
mod geometry;
mod hatch;
mod label;
mod notice;
mod raster;
mod spec;
mod text;
mod title;

pub use controls::ControlsLook;
pub use geometry::{Geometry, PxRect, Side, geometry};
pub use hatch::Hatching;
pub use label::{Extent, Owner, Title};
pub use notice::{Notice, notice};
pub use raster::{Frame, draw};
pub use spec::{Badge, Button, FrameKind, FrameSpec, Insets, Style};
pub use title::{TitleRule, safe_title};
