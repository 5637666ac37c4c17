// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is booted.

use heraldry_tests::vm::{lists, skipped};

#[test]
fn an_image_is_the_same_bytes_each_time() {
    if skipped() {
        return;
    }
    let build = || lists(&["base.list", "test.list"]).archive().unwrap();
    assert!(build() == build(), "two builds differ");
}

#[test]
fn the_image_that_users_boot_has_nothing_for_tests() {
    if skipped() {
        return;
    }
    let tree = lists(&["base.list"]);
    for (path, _) in tree.iter() {
        for word in [
            "busybox",
            "services",
            "heraldry-sim",
            "heraldry-host",
            "heraldry-test",
            "weston",
        ] {
            assert!(!path.contains(word), "{path}");
        }
    }
}
