// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random walks: clients of three VMs say whatever can be said of content, the user moves windows about, and after every
//! step the screen must tell the truth.
//!
//! `HERALDRY_WALK_SEED` and `HERALDRY_WALK_STEPS` choose another walk; a failure prints what to set.

use heraldry_compositor::backend::kms::RendererChoice;
use heraldry_tests::client::raw::random::Dice;
use heraldry_tests::fixture::walk::Walk;
use heraldry_tests::fixture::{Fixture, Setup};

/// Steps of each walk; there are [`SEEDS`] of them.
const STEPS: usize = 2500;
const SEEDS: u64 = 4;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn small(renderer: RendererChoice) -> Fixture {
    Fixture::new(&Setup {
        size: (360, 240),
        renderer,
        ..Setup::default()
    })
}

/// Takes steps until something is wrong.
fn walk(mut fixture: Fixture, seed: u64, steps: usize) -> Result<(), String> {
    let mut walk = Walk::new(&mut fixture, Dice::new(seed));
    for step in 0..steps {
        let what = walk.step(&mut fixture);
        if let Some(fault) = fixture.fault() {
            return Err(format!("HERALDRY_WALK_SEED={seed} step {step} ({what}): {fault}"));
        }
    }
    Ok(())
}

fn walks(renderer: RendererChoice) {
    let steps = setting("HERALDRY_WALK_STEPS").and_then(|steps| usize::try_from(steps).ok());
    let seeds = setting("HERALDRY_WALK_SEED").map_or(0..SEEDS, |seed| seed..seed + 1);
    for seed in seeds {
        if let Err(fault) = walk(small(renderer), seed, steps.unwrap_or(STEPS)) {
            panic!("{fault}");
        }
    }
}

#[test]
fn after_every_step_of_a_walk_the_screen_tells_the_truth() {
    walks(RendererChoice::Pixman);
}

#[test]
fn after_every_step_of_a_walk_gls_screen_tells_the_truth() {
    walks(RendererChoice::Gles);
}

#[test]
fn a_compositor_that_believes_its_clients_is_found_out() {
    let mut fixture = small(RendererChoice::Pixman);
    fixture.state.core.render.believe_clients();
    let fault = walk(fixture, 0, STEPS).expect_err("something shines through");
    assert!(fault.contains("not what is drawn afresh"), "{fault}");
}
