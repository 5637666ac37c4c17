// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every limit that a VM lives within: default, range, unit and reason, in one table.
//!
//! Numbers that are summed hold for all clients of a VM together, so a VM gains nothing by opening more connections.
//! `docs/limits.md` says what happens at each one and which test shows it.

use std::ops::RangeInclusive;

/// What is known of one limit besides its value.
#[derive(Debug, Clone, Copy)]
pub struct LimitInfo {
    /// Its name in a file: `quota { NAME 5 }`.
    pub name: &'static str,
    /// Its path in [`Origins`](crate::Origins) and in `heraldry effective`.
    pub path: &'static str,
    /// The built-in value.
    pub default: u64,
    /// The least and the largest value that a file may set.
    pub range: (u64, u64),
    /// What is counted.
    pub unit: &'static str,
    /// Why there is such a limit, and why this value.
    pub reason: &'static str,
}

impl LimitInfo {
    /// What a file may set.
    #[must_use]
    pub const fn range(&self) -> RangeInclusive<u64> {
        self.range.0..=self.range.1
    }
}

macro_rules! limits {
    ($($field:ident $name:literal = $default:literal in $min:literal..$max:literal $unit:literal: $reason:literal;)+) => {
        /// The limits of one VM.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Limits {
            $(#[doc = $reason] pub $field: u64,)+
        }

        impl Limits {
            /// Every limit, in the order of the documents.
            pub const ALL: &'static [LimitInfo] = &[$(LimitInfo {
                name: $name,
                path: concat!("quota.", $name),
                default: $default,
                range: ($min, $max),
                unit: $unit,
                reason: $reason,
            },)+];

            /// Every name in a file.
            pub const NAMES: &'static [&'static str] = &[$($name,)+];

            /// The values, in the order of [`Self::ALL`].
            #[must_use]
            pub const fn values(&self) -> [u64; Self::ALL.len()] {
                [$(self.$field,)+]
            }

            /// The limit called `name`, to change it.
            pub(crate) fn by_name_mut(&mut self, name: &str) -> Option<&mut u64> {
                match name {
                    $($name => Some(&mut self.$field),)+
                    _ => None,
                }
            }
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }
    };
}

limits! {
    clients "clients" = 32 in 1..1000 "connections":
        "Each client costs a socket pair, a session of the gate and a place in every loop over clients.";
    connections_per_second "connections-per-second" = 50 in 1..1000 "connections":
        "A connection costs the host, the device and the compositor about a millisecond; twice as many may come at once.";
    toplevels "toplevels" = 64 in 1..4096 "windows":
        "Each window has a frame with pixels of its own; nobody reads more than a few dozen.";
    popups "popups" = 64 in 1..4096 "popups":
        "Each popup has a frame; nested menus use a handful.";
    popup_coverage "popup-coverage" = 60 in 1..100 "percent of the output":
        "Popups appear where the client says, so many of them could tile the screen like a fake desktop.";
    window_coverage "window-coverage" = 50 in 1..100 "percent of the screen":
        "Windows that nobody asked for could bury those of others; beyond this they come up below all of these.";
    surfaces "surfaces" = 1024 in 1..65536 "surfaces":
        "Smithay frees the surfaces of a client in quadratic time: 1000 take 2 ms, 4000 take 18 ms.";
    tree_surfaces "tree-surfaces" = 256 in 1..4096 "surfaces in a tree":
        "A commit of the root walks the tree.";
    subsurface_depth "subsurface-depth" = 8 in 1..64 "levels":
        "Smithay walks a tree recursively: 5000 levels took 7.5 s, 60,000 end the process.";
    parent_depth "parent-depth" = 32 in 1..256 "windows and popups above one":
        "Smithay walks the chain of parents without a bound of its own.";
    objects "objects" = 16384 in 100..1000000 "objects":
        "Smithay frees those of a client at once: 16,000 take 2 ms. A browser with many windows has about 2000.";
    buffers "buffers" = 8192 in 4..100000 "buffers":
        "A buffer keeps its pool's memory mapped.";
    pools "pools" = 512 in 1..8192 "memory pools":
        "A pool costs two descriptors and a mapping, and to unmap 900 takes 5 ms.";
    pool_mib "pool-mib" = 16384 in 1..65536 "MiB of memory pools":
        "Memory that a VM shares is mapped here for as long as a pool, a buffer or a surface uses it. A terminal (foot) has two pools of 512 MiB for each window, most of it never touched.";
    descriptors "descriptors" = 3072 in 64..65536 "descriptors":
        "Descriptors belong to the whole process: without them no VM gets a connection.";
    regions "regions" = 4096 in 1..65536 "regions":
        "A region is copied into each surface that uses it.";
    region_rectangles "region-rectangles" = 1024 in 1..16384 "rectangles in a region":
        "20,000 rectangles cost 0.2 s a commit; beyond the limit a region becomes its bounding box.";
    rectangles "rectangles" = 16384 in 1..262144 "rectangles in all regions":
        "400 small requests made 788 MB of copies; beyond the limit a region becomes its bounding box.";
    damage_rectangles "damage-rectangles" = 64 in 1..1024 "rectangles until new content is shown":
        "Smithay keeps every rectangle until new content is shown; further ones become one bounding box.";
    buffer_dimension "buffer-dimension" = 32767 in 64..32767 "pixels":
        "Pixman's coordinates end there.";
    callbacks "callbacks" = 8192 in 16..100000 "callbacks":
        "Frame callbacks of a hidden window wait in a list.";
    registries "registries" = 64 in 1..1024 "registries of a client":
        "Smithay keeps a registry for the client's life and sends every global to each.";
    instances "instances" = 64 in 4..4096 "seats, outputs, pointers or the like of a client":
        "Smithay looks through a list of them at each event: 15,000 pointers cost 25 ms a motion.";
    listed "listed" = 1024 in 32..65536 "such objects of all interfaces":
        "As above, for all clients together; a client that uses all interfaces has about a dozen.";
    pending_configures "pending-configures" = 256 in 4..4096 "configures of a window":
        "Smithay keeps each configure until it is acknowledged.";
    sources "sources" = 64 in 1..4096 "data sources":
        "A source is a list of types that every paste looks through.";
    mime_types "mime-types" = 256 in 1..4096 "types of a source":
        "Offers repeat the list to every client that may paste.";
    mime_bytes "mime-bytes" = 65536 in 1024..1048576 "bytes of all types":
        "The texts are kept and sent again with each offer.";
    string_bytes "string-bytes" = 4084 in 64..4084 "bytes of a text":
        "Titles, app ids and types are kept. The default is what a message can hold: some page titles are that long.";
    turn_us "turn-us" = 300 in 50..20000 "microseconds a turn":
        "The main thread serves VMs in turns; the bytes a turn that a VM may send follow the time that they took.";
    turn_bytes "turn-bytes" = 16384 in 4096..1048576 "bytes a turn":
        "The most that a VM may send in a turn, however cheap it is.";
    upload_mib "upload-mib-per-frame" = 64 in 1..4096 "MiB a frame":
        "Only the newest content is shown, so a VM that commits more waits for the next frame.";
    composed_megapixels "composed-megapixels" = 16 in 1..16 "million weighted pixels a frame":
        "Scaled, turned and translucent content is composed within this; the rest follows in the next frames.";
    labels_per_frame "labels-per-frame" = 8 in 1..1000 "labels a frame":
        "A new title or size of a window is a label to draw; beyond this the old title stays until the next frame.";
    picture_mib "picture-mib" = 128 in 8..16384 "MiB of composed pictures":
        "Content that cannot be copied to the screen as it is is composed into a picture; without memory it is the plate.";
    texture_mib "texture-mib" = 512 in 8..65536 "MiB of textures":
        "GL copies the buffer of each surface, also where many show the same one.";
    unread_kib "unread-kib" = 1024 in 16..16384 "KiB a client":
        "Events for a client that does not read; a fast mouse fills 4 KiB in half a second.";
    serial_seconds "serial-seconds" = 60 in 1..3600 "seconds":
        "A serial opens a menu, starts a move or sets the clipboard only while the user remembers the press.";
    maps_per_second "maps-per-second" = 20 in 1..1000 "windows":
        "Windows that come and go flicker, and each one asks for attention.";
    transfers "transfers" = 32 in 1..1000 "pastes that wait":
        "The host keeps a pipe of each until the compositor has passed it on.";
    log_lines "log-lines-per-second" = 5 in 1..1000 "lines":
        "A log that a VM can fill hides what others did.";
}

impl Limits {
    /// The limits of a VM that the file does not name: enough for a program or two.
    pub(crate) fn quarantine() -> Self {
        Self {
            clients: 4,
            toplevels: 8,
            popups: 8,
            popup_coverage: 25,
            window_coverage: 25,
            surfaces: 512,
            objects: 8000,
            pool_mib: 256,
            descriptors: 512,
            pools: 128,
            upload_mib: 16,
            composed_megapixels: 10,
            picture_mib: 64,
            texture_mib: 128,
            maps_per_second: 4,
            connections_per_second: 8,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_lie_within_what_a_file_may_set() {
        let values = Limits::default().values();
        for (info, value) in Limits::ALL.iter().zip(values) {
            assert_eq!(info.default, value, "{}", info.name);
            assert!(info.range().contains(&value), "{}", info.name);
            assert!(info.reason.ends_with('.'), "{} says why", info.name);
        }
        for (info, value) in Limits::ALL.iter().zip(Limits::quarantine().values()) {
            assert!(info.range().contains(&value), "{}", info.name);
            assert!(value <= info.default, "{} is stricter in quarantine", info.name);
        }
    }

    #[test]
    fn names_find_their_limit() {
        let mut limits = Limits::default();
        for name in Limits::NAMES {
            *limits.by_name_mut(name).unwrap() = 7;
        }
        assert!(limits.values().iter().all(|value| *value == 7));
        assert!(limits.by_name_mut("clowns").is_none());
    }
}
