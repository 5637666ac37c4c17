// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every bound of the gate, in one place.

use std::time::Duration;

/// The bounds of a VM's sessions. All of them are far above what honest programs use.
///
/// Those marked *VM* are summed over all clients of a VM (see [`Budgets`](crate::Budgets)); the others hold for each
/// client, tree or object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// *VM*: objects, including those whose deletion is not confirmed yet. A browser with many windows has about 2000.
    pub objects: u64,
    /// *VM*: surfaces. Smithay frees them in quadratic time when a client goes: 60,000 took 3.3 s.
    pub surfaces: u64,
    /// *VM*: windows.
    pub toplevels: u64,
    /// *VM*: popups.
    pub popups: u64,
    /// *VM*: buffers; each keeps its pool mapped.
    pub buffers: u64,
    /// *VM*: shared memory pools; each is a mapping and two descriptors.
    pub pools: u64,
    /// *VM*: bytes of pools that are mapped: until pool, buffers and the surfaces that show them are gone.
    pub pool_bytes: u64,
    /// *VM*: descriptors of pools, and those that came before their message.
    pub descriptors: u64,
    /// *VM*: regions; Smithay copies a region to each surface that uses it.
    pub regions: u64,
    /// *VM*: objects that nothing destroys before their client leaves.
    pub lasting: u64,
    /// *VM*: rectangles of all regions and their copies in surfaces.
    pub rectangles: u64,
    /// *VM*: callbacks (`wl_display.sync`, `wl_surface.frame`, presentation feedback) that may be outstanding: each is a
    /// list entry in the compositor until a frame is shown, and a hidden window is shown no frames.
    pub callbacks: u64,
    /// *VM*: seats, outputs, pointers, keyboards and their like: Smithay looks through lists of them at each event.
    pub listed: u64,
    /// Objects of one such interface of a client.
    pub instances: u32,
    /// *VM*: data sources.
    pub sources: u64,
    /// *VM*: bytes of the MIME types of all data sources.
    pub mime_bytes: u64,
    /// MIME types of one data source.
    pub mime_types: u32,
    /// Bytes of one text.
    pub string_bytes: usize,
    /// Objects that the compositor may have made for a client at one time (data offers).
    pub server_objects: usize,
    /// Registries. Smithay keeps each one for the client's life and sends every global to each.
    pub registries: usize,
    /// Largest width and height of a buffer in pixels: pixman ends there.
    pub buffer_dimension: i32,
    /// Levels of subsurfaces below a root surface. A commit walks the whole chain: 5000 levels took 7.5 s.
    pub subsurface_depth: usize,
    /// Ids of one client, in use or not. Smithay's table of objects has a place for each up to the highest, for as long
    /// as the client lives; who uses ids again, as every library of clients does, needs as many as it has objects.
    pub ids: u32,
    /// Surfaces in one tree, the root included; a commit of the root walks them all.
    pub tree_surfaces: usize,
    /// Parents above a popup or a window with a parent, up to the window without one.
    pub parent_depth: usize,
    /// Rectangles in one region; beyond, it becomes its bounding box. 20,000 cost Smithay 0.2 s a commit.
    pub region_rectangles: u32,
    /// Damage rectangles that are passed on between two commits of a surface; further ones become one bounding box.
    pub damage_rectangles: u32,
    /// Commits of a subsurface that may wait for its parent's; each is a copy of everything that was set.
    pub waiting_commits: u32,
    /// How long a serial opens a menu, starts a move or a drag, or sets the clipboard.
    pub serial_age: Duration,
    /// Descriptors that may be there before their message: one sendmsg carries at most 28.
    pub early_descriptors: usize,
    /// Bytes that may wait for a descriptor of their message. Honest clients send both together.
    pub waiting_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            objects: 16_384,
            surfaces: 1024,
            toplevels: 64,
            popups: 64,
            buffers: 8192,
            pools: 512,
            pool_bytes: 16_384 << 20,
            descriptors: 3072,
            lasting: 1024,
            regions: 4096,
            rectangles: 16_384,
            callbacks: 8192,
            listed: 1024,
            instances: 64,
            sources: 64,
            mime_bytes: 65_536,
            mime_types: 256,
            string_bytes: 4084,
            server_objects: 1024,
            registries: 64,
            buffer_dimension: 32_767,
            ids: 131_072,
            subsurface_depth: 8,
            tree_surfaces: 256,
            parent_depth: 32,
            region_rectangles: 1024,
            damage_rectangles: 64,
            waiting_commits: 8,
            serial_age: Duration::from_secs(60),
            early_descriptors: 28,
            waiting_bytes: 16 << 10,
        }
    }
}
