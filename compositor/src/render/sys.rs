// SPDX-License-Identifier: MIT OR Apache-2.0
//! What has to be promised to Pixman.
#![expect(unsafe_code, reason = "Pixman counts references by hand")]

use smithay::reexports::pixman::{Image, ffi};

/// A second handle to an image of our own, so that it can be drawn on and drawn from.
pub(super) fn share(image: &Image<'static, 'static>) -> Image<'static, 'static> {
    // SAFETY: the pointer is alive for as long as `image` is, and nobody but this thread counts its references.
    let shared = unsafe { ffi::pixman_image_ref(image.as_ptr()) };
    // SAFETY: the reference counted just above is the new handle's own. The image owns its pixels, as `'static` says.
    unsafe { Image::from_ptr(shared) }
}
