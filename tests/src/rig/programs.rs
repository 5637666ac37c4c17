// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the programs under test are.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Cargo builds the binaries of a package for that package's own tests only, so the first test of a process that
/// wants one has them built here: of the same profile, in the same folder, and never an outdated one.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let this = std::env::current_exe().expect("the test's own path");
        // TARGET/PROFILE/deps/NAME-HASH
        let folder = this
            .parent()
            .and_then(|deps| deps.parent())
            .expect("a folder of cargo's")
            .to_owned();
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(name) => name,
        };
        let target = folder.parent().expect("cargo's target folder");
        let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args([
                "build",
                "--quiet",
                "--workspace",
                "--bins",
                "--locked",
                "--profile",
                profile,
            ])
            .arg("--target-dir")
            .arg(target)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .status()
            .expect("cargo");
        assert!(built.success(), "the programs under test do not build");
        folder
    })
}

/// The path of one of the workspace's programs.
///
/// # Panics
///
/// There is no such program.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(
        path.exists(),
        "there is no {}: run `cargo build --workspace`",
        path.display()
    );
    path
}
