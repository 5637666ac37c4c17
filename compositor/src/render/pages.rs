// SPDX-License-Identifier: MIT OR Apache-2.0
//! How much memory is touched to draw a part of a buffer.
//!
//! Nobody may have touched it before: then the kernel fetches each page when it is read first, which takes as long as to copy
//! thousands of pixels, and a client can take its pages back whenever it wants. A pixel of the screen may lie in a page of its
//! own, where a buffer is made smaller or has long lines.

use smithay::utils::{Buffer, Physical, Size, Transform};

/// Bytes of a page of memory.
pub(super) const PAGE_BYTES: u64 = 4096;

/// Whether the columns of a buffer are lines on the screen.
pub(super) fn lies(transform: Transform) -> bool {
    matches!(
        transform,
        Transform::_90 | Transform::_270 | Transform::Flipped90 | Transform::Flipped270
    )
}

/// Pages of a buffer that are touched where it is drawn on a part of `size`.
pub(super) fn pages(
    src: Size<f64, Buffer>,
    dst: Size<i32, Physical>,
    transform: Transform,
    stride: i32,
    size: Size<i32, Physical>,
) -> u64 {
    let along = |whole: i32, part: i32, src: f64| (src / f64::from(whole.max(1)), f64::from(part));
    let ((step, columns), (steps, rows)) = if lies(transform) {
        (along(dst.h, size.h, src.w), along(dst.w, size.w, src.h))
    } else {
        (along(dst.w, size.w, src.w), along(dst.h, size.h, src.h))
    };
    let page = 4096.0;
    let lines = rows * steps.min(1.0) + 1.0;
    let apart = (f64::from(stride.max(0)) * steps.max(1.0)).min(page);
    let touched = lines * apart.max(columns * step.min(page / 4.0) * 4.0) / page;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to what a buffer can have"
    )]
    let touched = touched.clamp(0.0, f64::from(i32::MAX)).ceil() as u64;
    touched
}

/// Bytes that are fetched to upload so many columns of so many lines: of a line at least what shares a page with the next
/// one, because nobody may have touched that page before.
pub(super) fn fetched_bytes(columns: u64, lines: u64, stride: i32) -> u64 {
    let apart = u64::try_from(stride).unwrap_or(0).min(PAGE_BYTES);
    let line = if columns == 0 {
        0
    } else {
        columns.saturating_mul(4).max(apart)
    };
    lines.saturating_mul(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_that_lie_far_apart_are_pages() {
        let of = |src: (f64, f64), dst: (i32, i32), transform, stride, part: (i32, i32)| {
            pages(src.into(), dst.into(), transform, stride, part.into())
        };
        let plain = Transform::Normal;
        let screen = (1920, 1080);
        let dense = of((1920.0, 1080.0), screen, plain, 7680, screen);
        assert!((2025..2030).contains(&dense), "{dense}");
        let tall = of((64.0, 1000.0), (64, 1000), plain, 4096, (64, 1000));
        assert_eq!(tall, 1001, "a page each line");
        let packed = of((64.0, 1000.0), (64, 1000), plain, 256, (64, 1000));
        assert_eq!(packed, 63);
        let far = of((32_768.0, 64.0), (32, 64), plain, 131_072, (32, 8));
        assert_eq!(far, 9 * 32, "a page each pixel");
        let turned = of((32_768.0, 64.0), (64, 32), Transform::_90, 131_072, (8, 32));
        assert_eq!(turned, far);
    }

    #[test]
    fn a_line_of_an_upload_takes_its_page() {
        assert_eq!(fetched_bytes(1920, 1080, 7680), 1920 * 1080 * 4);
        assert_eq!(fetched_bytes(1, 1080, 131_072), 1080 * PAGE_BYTES);
        assert_eq!(
            fetched_bytes(16, 1000, 64),
            64_000,
            "lines that lie close share pages"
        );
        assert_eq!(fetched_bytes(0, 1000, 4096), 0);
        assert_eq!(fetched_bytes(u64::MAX, u64::MAX, i32::MIN), u64::MAX);
    }
}
