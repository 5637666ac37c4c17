// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random walks: clients of three VMs say whatever can be said of content, the user moves windows about, and after every
//! step the screen must tell the truth.
//!
//! `HERALDRY_WALK_SEED` and `HERALDRY_WALK_STEPS` choose another walk; a failure prints what to set.

use std::time::Duration;

use heraldry_compositor::backend::kms::RendererChoice;
use heraldry_tests::client::raw::random::Dice;
use heraldry_tests::fixture::walk::Walk;
use heraldry_tests::fixture::{Fixture, Setup, truth};

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

/// Time for composing in a frame in which hardly anything gets done.
const SHORT: Duration = Duration::from_micros(30);
/// Steps in want of time, before there is enough of it again.
const IN_A_HURRY: usize = 7;

/// What waits for time is seen as it was, or as nothing, but never as another VM's; and it comes when there is time.
#[test]
fn a_walk_in_want_of_time_tells_the_truth_too() {
    let mut fixture = small(RendererChoice::Pixman);
    let seed = setting("HERALDRY_WALK_SEED").unwrap_or(5);
    let mut walk = Walk::new(&mut fixture, Dice::new(seed));
    let mut waited = 0;
    for round in 0..STEPS / IN_A_HURRY / 3 {
        fixture.state.core.render.limit_composing(Some(SHORT));
        for step in 0..IN_A_HURRY {
            let what = walk.step(&mut fixture);
            let shown = fixture.shown();
            if let Some(lie) = truth::lie(&fixture.state.core, &shown) {
                panic!("HERALDRY_WALK_SEED={seed} round {round} step {step} ({what}): {lie}");
            }
        }
        let in_haste = fixture.shown();
        fixture.state.core.render.limit_composing(None);
        // Balances are paid back in some frames.
        for _ in 0..3 {
            fixture.frame();
        }
        let fault = fixture.fault();
        assert_eq!(fault, None, "HERALDRY_WALK_SEED={seed} round {round}");
        waited += usize::from(in_haste.first_difference(&fixture.shown()).is_some());
    }
    assert!(waited > 10, "only {waited} times something had to wait");
}

#[test]
fn a_compositor_that_believes_its_clients_is_found_out() {
    let mut fixture = small(RendererChoice::Pixman);
    fixture.state.core.render.believe_clients();
    let fault = walk(fixture, 0, STEPS).expect_err("something shines through");
    assert!(fault.contains("not what is drawn afresh"), "{fault}");
}
