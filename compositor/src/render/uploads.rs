// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a renderer with textures of its own uploads for a surface, where that is more than the client says has changed.

use std::cell::Cell;

use smithay::backend::renderer::buffer_dimensions;
use smithay::backend::renderer::utils::RendererSurfaceStateUserData;
use smithay::utils::{Buffer, Logical, Size, Transform};
use smithay::wayland::compositor::{BufferAssignment, Damage, SurfaceAttributes, SurfaceData};
use smithay::wayland::shm::with_buffer_contents;
use smithay::wayland::viewporter::ViewportCachedState;

use super::pages::{self, fetched_bytes};

/// Smithay remembers the damage of so many commits. When it comes to look after one more, everything has changed.
const REMEMBERED: u32 = 4;

/// What is known of a surface's texture.
#[derive(Debug, Default)]
struct Uploads {
    /// New content since the texture was last brought up to date.
    commits: Cell<u32>,
    /// Each new content is uploaded whole.
    replaced: Cell<bool>,
}

/// A surface's texture is up to date.
pub(super) fn imported(states: &SurfaceData) {
    states.data_map.get_or_insert(Uploads::default).commits.set(0);
}

/// Whether each new content of a surface is uploaded whole from now on.
pub(super) fn set_replaced(states: &SurfaceData, replaced: bool) {
    if let Some(uploads) = states.data_map.get::<Uploads>() {
        uploads.replaced.set(replaced);
    }
}

/// Whether a surface has a texture beside Smithay's.
pub(super) fn is_replaced(states: &SurfaceData) -> bool {
    states
        .data_map
        .get::<Uploads>()
        .is_some_and(|uploads| uploads.replaced.get())
}

/// Bytes that the new content of a surface takes to upload. To be asked at each commit, before the content is taken over.
pub(crate) fn bytes(states: &SurfaceData) -> u64 {
    let mut viewport = states.cached_state.get::<ViewportCachedState>();
    let viewport = *viewport.current();
    let scaled = viewport.src.is_some() || viewport.dst.is_some();
    let mut cached = states.cached_state.get::<SurfaceAttributes>();
    let attributes = cached.current();
    let Some(BufferAssignment::NewBuffer(buffer)) = &attributes.buffer else {
        return 0;
    };
    let size = buffer_dimensions(buffer).unwrap_or_default();
    let stride = with_buffer_contents(buffer, |_, _, data| data.stride).unwrap_or(0);
    let bytes = |(columns, lines)| fetched_bytes(columns, lines, stride);
    let all = bytes(sides(0, 0, size.w, size.h, size));
    // A buffer of another size is uploaded whole, whatever is said to have changed.
    if shown(states) != Some(size) || is_whole(states) {
        return all;
    }
    let scale = attributes.buffer_scale.max(1);
    let transform: Transform = attributes.buffer_transform.into();
    let turned = transform.transform_size(size);
    let surface = Size::<i32, Logical>::from((turned.w / scale, turned.h / scale));
    let scale = u64::try_from(scale).unwrap_or(1);
    let damaged = attributes.damage.iter().map(|damage| match damage {
        Damage::Buffer(rect) => bytes(sides(rect.loc.x, rect.loc.y, rect.size.w, rect.size.h, size)),
        // A viewport may show all of the buffer on one pixel.
        Damage::Surface(_) if scaled => all,
        Damage::Surface(rect) => {
            let (columns, lines) = sides(rect.loc.x, rect.loc.y, rect.size.w, rect.size.h, surface);
            let (columns, lines) = (columns.saturating_mul(scale), lines.saturating_mul(scale));
            bytes(if pages::lies(transform) {
                (lines, columns)
            } else {
                (columns, lines)
            })
        }
    });
    let damaged = damaged.fold(0, u64::saturating_add).min(all);
    // Where nothing is said to have changed, all of it is uploaded.
    if damaged == 0 { all } else { damaged }
}

/// The size of the buffer that a surface shows.
fn shown(states: &SurfaceData) -> Option<Size<i32, Buffer>> {
    let state = states
        .data_map
        .get::<RendererSurfaceStateUserData>()?
        .lock()
        .ok()?;
    buffer_dimensions(state.buffer()?)
}

/// Whether the new content is uploaded whole for reasons that its client does not give.
fn is_whole(states: &SurfaceData) -> bool {
    let Some(uploads) = states.data_map.get::<Uploads>() else {
        return false;
    };
    let commits = uploads.commits.get();
    uploads.commits.set(commits.saturating_add(1));
    uploads.replaced.get() || commits == REMEMBERED
}

/// Columns and lines of a rectangle inside of a buffer or surface.
fn sides<Kind>(x: i32, y: i32, width: i32, height: i32, whole: Size<i32, Kind>) -> (u64, u64) {
    let side = |from: i32, length: i32, whole: i32| {
        let (from, whole) = (i64::from(from), i64::from(whole.max(0)));
        let end = from.saturating_add(i64::from(length.max(0)));
        u64::try_from(end.clamp(0, whole) - from.clamp(0, whole)).unwrap_or(0)
    };
    (side(x, width, whole.w), side(y, height, whole.h))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_inside_counts() {
        let whole = Size::<i32, Buffer>::from((100, 50));
        let area = |x, y, w, h| {
            let (columns, lines) = sides(x, y, w, h, whole);
            columns * lines
        };
        assert_eq!(area(0, 0, i32::MAX, i32::MAX), 5000);
        assert_eq!(area(i32::MIN, i32::MIN, i32::MAX, i32::MAX), 0);
        assert_eq!(area(-5, 40, 10, 20), 50);
        assert_eq!(area(100, 0, 1, 1), 0);
        assert_eq!(area(10, 10, -1, 5), 0);
    }
}
