// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration: any text is read in time, to settings or to errors that each have a place and can be shown.

use std::time::{Duration, Instant};

use heraldry_config::{Config, ConfigErrors, effective, parse};

/// Far above what the largest text takes on a busy machine.
const TIME: Duration = Duration::from_secs(8);

/// See the module.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let start = Instant::now();
    match parse("heraldry.kdl", &text) {
        Ok(config) => settings(&config),
        Err(errors) => shown(&errors, &text),
    }
    assert!(start.elapsed() < TIME, "{:?}", start.elapsed());
}

/// Every VM's settings can be asked for.
fn settings(config: &Config) {
    for name in config.vms.keys() {
        let settings = effective(config, name).expect("the VM is known");
        for setting in settings {
            assert!(!setting.setting.is_empty());
            printable(&setting.value);
        }
    }
}

fn shown(errors: &ConfigErrors, text: &str) {
    assert!(!errors.errors.is_empty());
    let lines = text.lines().count().max(1) + 1;
    for error in &errors.errors {
        let of_file = ["too large", "too many blocks"]
            .iter()
            .any(|part| error.message.contains(part));
        assert!(
            error.line > 0 || of_file,
            "an error without a line: {}",
            error.message
        );
        assert!(error.line <= lines, "{} of {lines} lines", error.line);
        if error.line > 0 {
            assert!(error.column >= 1 && error.width >= 1, "{error:?}");
        }
        assert!(!error.message.is_empty());
    }
    assert!(
        errors.errors.is_sorted_by_key(|error| (error.line, error.column)),
        "in the order of the file"
    );
    let all = errors.to_string();
    printable(&all.replace('\n', ""));
    assert!(all.len() < 1 << 20);
}

/// Somebody reads it in a terminal.
fn printable(text: &str) {
    let bad = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!text.contains(bad), "{text:?}");
}
