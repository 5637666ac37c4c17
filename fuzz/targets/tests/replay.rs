// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every seed and every regression, through the same code as under the fuzzer; and that they are complete.
#![expect(
    clippy::unwrap_used,
    clippy::tests_outside_test_module,
    reason = "the whole file is a test, and one that panics has failed, as it should"
)]

use std::path::{Path, PathBuf};

use heraldry_fuzz_targets::TARGETS;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn inputs(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

#[test]
fn seeds_and_regressions_find_nothing() {
    for (name, run) in TARGETS {
        let seeds = inputs(&fuzz().join("seeds").join(name));
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for input in seeds
            .into_iter()
            .chain(inputs(&fuzz().join("regressions").join(name)))
        {
            let bytes = std::fs::read(&input).unwrap();
            let found = std::panic::catch_unwind(|| run(&bytes));
            assert!(found.is_ok(), "{} finds a bug", input.display());
        }
        run(&[]);
    }
}

/// Recorded programs do nothing wrong, and the gate finds that they do not.
#[test]
fn recorded_sessions_pass_whole() {
    let seeds = inputs(&fuzz().join("seeds/gate_bytes"));
    assert!(seeds.len() >= 4);
    for seed in seeds {
        let bytes = std::fs::read(&seed).unwrap();
        let transcript = heraldry_fuzz_targets::gate_bytes::replay(&bytes).unwrap();
        assert_eq!(transcript.end, None, "{}", seed.display());
        assert!(
            transcript.up.len() > bytes.len() / 2,
            "{} is passed on",
            seed.display()
        );
    }
}

#[test]
fn the_list_of_programs_is_the_list_of_targets() {
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let programs: Vec<&str> = manifest
        .split("[[bin]]\nname = \"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(programs, targets);
}

/// A cheap stand-in for fuzzing, where there is no fuzzer: damaged seeds.
#[test]
fn damaged_seeds_find_nothing() {
    let mut state = 1_u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from(state >> 8).unwrap()
    };
    for (name, run) in TARGETS {
        for input in inputs(&fuzz().join("seeds").join(name)) {
            let seed = std::fs::read(&input).unwrap();
            for _ in 0..8 {
                let mut bytes = seed.clone();
                for _ in 0..1 + random() % 6 {
                    let at = random() % bytes.len().max(1);
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = u8::try_from(random() % 256).unwrap();
                    }
                }
                let found = std::panic::catch_unwind(|| run(&bytes));
                if found.is_err() {
                    eprintln!("{name}: {bytes:02x?}");
                }
                assert!(found.is_ok(), "{} with damage finds a bug", input.display());
            }
        }
    }
}
