// SPDX-License-Identifier: MIT OR Apache-2.0
#![no_main]
libfuzzer_sys::fuzz_target!(init: heraldry_fuzz_targets::start(), |data: &[u8]| heraldry_fuzz_targets::gate_bytes::run(data));
