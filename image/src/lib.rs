// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the compositor VM's initramfs from lists of what goes in, the same bytes each time.
//!
//! A list (`assets/image/*.list`, see [`recipe`]) names folders, files, programs, trees and kernel modules. [`build`]
//! collects them with the libraries that programs need and the modules that modules need, and [`cpio`] writes the
//! archive: sorted, without times, everything root's unless the list says otherwise. No step needs rights.
#![forbid(unsafe_code)]

pub mod build;
pub mod cpio;
pub mod modules;
pub mod recipe;

use std::path::PathBuf;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A line of a list cannot be understood.
    #[error("{list}:{line}: {why}")]
    Recipe {
        /// The list.
        list: String,
        /// Its line.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// Something that goes in cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The result cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A tool failed.
    #[error("{tool} failed: {why}")]
    Tool {
        /// Which.
        tool: &'static str,
        /// What it said.
        why: String,
    },
    /// A program needs a library that is not there.
    #[error("{program} needs {library}, which is not installed")]
    Library {
        /// The program.
        program: PathBuf,
        /// The library's name.
        library: String,
    },
    /// A module is neither a file nor built in.
    #[error("the kernel has no module {0}")]
    Module(String),
    /// Two things want the same path.
    #[error("{0} is in the image twice, with different contents")]
    Twice(String),
    /// A name or a file is too long for the archive.
    #[error("{0} is too long for an archive")]
    TooLong(String),
}
