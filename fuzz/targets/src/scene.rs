// SPDX-License-Identifier: MIT OR Apache-2.0
//! States of surfaces, to elements, to pixels: the compositor with clients of three VMs, which say what the bytes choose.

use heraldry_tests::client::raw::random::Dice;
use heraldry_tests::fixture::walk::Walk;
use heraldry_tests::fixture::{Fixture, Setup};

/// An input has no more steps than this, however short its steps are.
const STEPS: usize = 200;

/// Takes the steps that the bytes choose. After each the screen must tell the truth.
pub fn run(data: &[u8]) {
    let mut fixture = Fixture::new(&Setup {
        size: (240, 160),
        ..Setup::default()
    });
    let mut walk = Walk::new(&mut fixture, Dice::of(data));
    for _ in 0..STEPS {
        if walk.is_over() {
            return;
        }
        let what = walk.step(&mut fixture);
        if let Some(fault) = fixture.fault() {
            panic!("after {what}: {fault}");
        }
    }
}
