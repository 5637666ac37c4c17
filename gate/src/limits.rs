// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every bound of the gate, in one place.

/// The bounds of one client's session. All of them are far above what honest programs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Objects that a client may have at one time, including those whose deletion is not confirmed yet. A browser with
    /// many windows has about 2000.
    pub objects: usize,
    /// Objects that the compositor may have made for a client at one time (data offers).
    pub server_objects: usize,
    /// Callbacks (`wl_display.sync`, `wl_surface.frame`) that may be outstanding: each is a list entry in the compositor
    /// until a frame is shown, and a hidden window is shown no frames.
    pub callbacks: usize,
    /// Registries. The library keeps each one for the client's life and sends every global to each.
    pub registries: usize,
    /// Surfaces. The library frees them in quadratic time when a client goes: 60,000 took 3.3 s.
    pub surfaces: usize,
    /// Shared memory pools; each is a mapping and a descriptor in the compositor.
    pub pools: usize,
    /// Largest width and height of a buffer in pixels: pixman ends there.
    pub buffer_dimension: i32,
    /// Levels of subsurfaces below a root surface. A commit walks the whole chain: 5000 levels took 7.5 s.
    pub subsurface_depth: usize,
    /// Surfaces in one tree, the root included; a commit of the root walks them all.
    pub tree_surfaces: usize,
    /// Parents above a popup or a window with a parent, up to the window without one.
    pub parent_depth: usize,
    /// Rectangles in one region. 20,000 cost the library 0.2 s a commit.
    pub region_rectangles: u32,
    /// Regions; the library copies a region to each surface that uses it.
    pub regions: usize,
    /// Damage rectangles that are passed on between two commits of a surface; further ones become one bounding box.
    pub damage_rectangles: u32,
    /// MIME types of one data source.
    pub mime_types: u32,
    /// Descriptors that may be there before their message: one sendmsg carries at most 28.
    pub early_descriptors: usize,
    /// Bytes that may wait for a descriptor of their message. Honest clients send both together.
    pub waiting_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            objects: 20_000,
            server_objects: 1024,
            callbacks: 4096,
            registries: 64,
            surfaces: 1024,
            pools: 512,
            buffer_dimension: 32_767,
            subsurface_depth: 8,
            tree_surfaces: 256,
            parent_depth: 32,
            region_rectangles: 1024,
            regions: 1024,
            damage_rectangles: 64,
            mime_types: 256,
            early_descriptors: 28,
            waiting_bytes: 16 << 10,
        }
    }
}
