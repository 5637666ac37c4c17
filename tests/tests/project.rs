// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of the project itself: what the documents name exists, crates depend in one direction, and the rules of
//! CONTRIBUTING.md that a machine can read.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use heraldry_tests::rig::program;

/// The most lines of a source file, without its tests.
const MAX_LINES: usize = 600;
/// The most unsafe blocks of what is installed.
const MAX_UNSAFE: usize = 10;
/// Where `unsafe` may be.
const UNSAFE: [&str; 6] = [
    "emulator/src/sys",
    "virtio-backend/src/sys",
    "compositor/src/backend/sys.rs",
    "compositor/src/render/sys.rs",
    "tests/src/stuck/sys.rs",
    "tests/src/escape/sys.rs",
];
const PROGRAMS: [&str; 5] = [
    "heraldry",
    "heraldry-device",
    "heraldry-guest",
    "heraldry-host",
    "heraldry-sim",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files below `folder`, relative to the root, but for what was built.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let (name, path) = (entry.file_name(), folder.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                files(&path, found);
            }
        } else {
            found.push(path);
        }
    }
}

fn with_extension(extension: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(Path::new(""), &mut found);
    found.retain(|path| path.extension().is_some_and(|found| found == extension));
    let text = |path: &PathBuf| std::fs::read_to_string(root().join(path)).unwrap();
    let texts: Vec<_> = found.iter().map(text).collect();
    assert!(!texts.is_empty());
    found.into_iter().zip(texts).collect()
}

fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

/// The text of a document in two parts: the lines of its code blocks, and the rest.
fn code_and_prose(text: &str) -> (Vec<String>, String) {
    let (mut code, mut prose, mut fenced) = (Vec::<String>::new(), String::new(), false);
    for line in text.lines() {
        let indented = line.starts_with("    ") && (prose.ends_with("\n\n") || !code.is_empty());
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced || indented {
            let goes_on = code.last().is_some_and(|last| last.ends_with('\\'))
                || line.trim_start().starts_with("[--")
                || line.trim_start().starts_with("--");
            match code.last_mut().filter(|_| goes_on) {
                Some(last) => *last = format!("{} {}", last.trim_end_matches('\\'), line.trim()),
                None => code.push(line.trim().to_owned()),
            }
        } else {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    (code, prose)
}

/// What stands between backquotes.
fn spans(prose: &str) -> Vec<&str> {
    prose.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_path_in_the_documents_exists() {
    let mut findings = Vec::new();
    for (document, text) in with_extension("md") {
        let (_, prose) = code_and_prose(&text);
        let mut missing = |what: &str, base: &Path| {
            if !root().join(base).join(what).exists() {
                findings.push(format!("{}: there is no {what}", document.display()));
            }
        };
        for span in spans(&prose) {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
            let Some((first, _)) = span.split_once('/').filter(|_| span.chars().all(plain)) else {
                continue;
            };
            let of_source = [".rs", ".md", ".toml", ".kdl"]
                .iter()
                .any(|end| span.ends_with(end));
            let ours = !first.is_empty() && first != "target" && root().join(first).is_dir();
            if ours || (of_source && !first.is_empty()) {
                missing(span, Path::new(""));
            }
        }
        let folder = document.parent().unwrap();
        let targets = prose.split("](").skip(1);
        for target in targets.filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap();
            if !path.is_empty() && !target.contains("://") {
                missing(path, folder);
            }
        }
    }
    assert_none(&findings);
}

/// What is wrong with the last cell of a table's row: it names tests as `file` `function`, `folder`, or ids of rows of the
/// hostile suite.
fn unknown_tests(cell: &str, hostile: &str) -> Option<String> {
    let mut named = 0;
    let mut file = String::new();
    for span in spans(cell) {
        let path = root().join(span);
        if path.is_file() {
            file = std::fs::read_to_string(path).unwrap();
        } else if !path.exists() && !file.contains(&format!("fn {span}(")) {
            return Some(format!("there is no test {span}"));
        }
        named += 1;
    }
    let is_id = |word: &&str| {
        let digits = word.strip_prefix(['A', 'D', 'L', 'Q', 'V']).unwrap_or("");
        digits.starts_with(|c: char| c.is_ascii_digit())
    };
    for id in cell.split(|c: char| !c.is_ascii_alphanumeric()).filter(is_id) {
        // An id without a letter stands for all its variants.
        if !hostile.contains(&format!("\"{id}")) {
            return Some(format!("the hostile suite has no row {id}"));
        }
        named += 1;
    }
    (named == 0).then(|| "no test".to_owned())
}

#[test]
fn every_threat_and_every_limit_names_a_test_that_exists() {
    let mut rows = Vec::new();
    files(Path::new("tests/tests/hostile"), &mut rows);
    let hostile: String = rows
        .iter()
        .map(|path| std::fs::read_to_string(root().join(path)).unwrap())
        .collect();
    let mut findings = Vec::new();
    for (document, header, least) in [
        ("SECURITY.md", "| threat |", 20),
        ("docs/limits.md", "| limit |", 24),
    ] {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        let table: Vec<&str> = text
            .lines()
            .skip_while(|line| !line.starts_with(header))
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .collect();
        assert!(table.len() >= least, "the table of {document} is where it was");
        for row in table {
            let mut cells = row.trim_matches('|').split('|');
            let (first, last) = (cells.next().unwrap().trim(), cells.next_back().unwrap());
            if let Some(why) = unknown_tests(last, &hostile) {
                findings.push(format!("{document}: {first}: {why}"));
            }
        }
    }
    assert_none(&findings);
    assert!(unknown_tests("`tests/tests/project.rs` `no_such_test`", &hostile).is_some());
    assert!(unknown_tests("rows A57, A999", &hostile).is_some());
    assert!(unknown_tests("nothing", &hostile).is_some());
}

/// Names of all crates that `package` is built from, or of those alone that it names itself.
fn dependencies(package: &str, named: bool) -> BTreeSet<String> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["tree", "--offline", "--locked", "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p}", "-p", package])
        .args(named.then_some("--depth=1"))
        .current_dir(root())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let name = |line: &str| line.split(' ').next().unwrap().to_owned();
    let names: BTreeSet<_> = text.lines().map(name).collect();
    assert!(names.contains(package), "{text}");
    names
}

#[test]
fn crates_depend_in_one_direction() {
    // Each crate, what of ours it may be built from, and what else it may not.
    let borders: [(&str, &[&str], &[&str]); 16] = [
        ("program", &[], &["smithay", "wayland", "kdl"]),
        ("seccomp", &[], &["smithay", "wayland", "kdl", "clap"]),
        ("rate", &[], &["rustix", "tracing"]),
        ("identity", &[], &["smithay", "wayland", "kdl"]),
        ("gate", &[], &["smithay", "kdl"]),
        ("wire", &["identity"], &["smithay", "wayland", "kdl"]),
        ("streams", &["identity", "wire"], &["smithay", "wayland", "kdl"]),
        (
            "virtio",
            &["identity", "streams", "wire"],
            &["smithay", "wayland", "kdl"],
        ),
        (
            "sim",
            &["identity", "program", "streams", "virtio", "wire"],
            &["smithay", "wayland", "kdl"],
        ),
        (
            "relay",
            &["config", "gate", "identity", "rate", "streams", "virtio", "wire"],
            &["smithay"],
        ),
        ("decorations", &["identity"], &["smithay", "wayland", "kdl"]),
        ("config", &["identity"], &["smithay", "wayland"]),
        (
            "host",
            &[
                "config", "identity", "program", "rate", "seccomp", "streams", "wire",
            ],
            &["smithay", "wayland"],
        ),
        (
            "device",
            &["identity", "program", "rate", "seccomp", "wire"],
            &["smithay", "wayland", "kdl"],
        ),
        // It speaks Wayland by wl-proxy alone.
        (
            "guest",
            &["identity", "program", "streams", "virtio", "wire"],
            &["smithay", "wayland", "kdl"],
        ),
        (
            "init",
            &["config", "identity", "seccomp"],
            &["smithay", "wayland", "input", "clap"],
        ),
    ];
    let mut findings = Vec::new();
    for (package, ours, forbidden) in borders {
        let package = format!("heraldry-{package}");
        for name in dependencies(&package, false) {
            let allowed = name
                .strip_prefix("heraldry-")
                .is_none_or(|name| ours.contains(&name));
            if name != package && (!allowed || forbidden.iter().any(|start| name.starts_with(start))) {
                findings.push(format!("{package} depends on {name}"));
            }
        }
    }
    // It has what the gate is built from, and speaks no Wayland of its own.
    for name in dependencies("heraldry-relay", true) {
        if name.starts_with("wayland") {
            findings.push(format!("heraldry-relay names {name}"));
        }
    }
    assert_none(&findings);
}

/// What `--help` says: subcommands, and options with whether they take a value.
#[derive(Clone, Default)]
struct Help {
    commands: BTreeSet<String>,
    options: BTreeMap<String, bool>,
}

fn help(program_name: &str, subcommands: &[String]) -> Help {
    let output = Command::new(program(program_name))
        .args(subcommands)
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let mut help = Help::default();
    let mut section = "";
    for line in text.lines() {
        let word = line.trim_start();
        if !line.starts_with(' ') && line.ends_with(':') {
            section = line;
        } else if section == "Commands:" && line.starts_with("  ") && !line.starts_with("   ") {
            help.commands
                .extend(word.split(' ').next().map(ToOwned::to_owned));
        } else if let Some((_, option)) = line.split_once("--").filter(|_| word.starts_with('-')) {
            let option = option.split([' ', '<', '[']).next().unwrap();
            help.options.insert(format!("--{option}"), line.contains('<'));
        }
    }
    help
}

/// Why a command line cannot be one, if it cannot.
fn wrong(line: &str) -> Option<String> {
    let mut words = line.split_whitespace().map(|word| word.trim_matches(['[', ']']));
    let program_name = words.find(|word| !word.contains('=') || word.starts_with("ExecStart="))?;
    let program_name = program_name.rsplit(['/', '=']).next()?;
    if !PROGRAMS.contains(&program_name) {
        return None;
    }
    let mut path = Vec::new();
    let mut here = help(program_name, &path);
    let mut options = here.options.clone();
    while let Some(word) = words.next() {
        if word == "--" {
            let program: Vec<&str> = words.collect();
            return wrong(&program.join(" "));
        }
        if word.starts_with('#') {
            break;
        }
        if word.starts_with("--") {
            let (name, value) = word.split_once('=').map_or((word, None), |(n, v)| (n, Some(v)));
            match options.get(name) {
                None => return Some(format!("{line}: no option {name}")),
                Some(true) if value.is_none() => drop(words.next()),
                Some(_) => {}
            }
        } else if !here.commands.is_empty() {
            if !here.commands.contains(word) {
                return Some(format!("{line}: no subcommand {word}"));
            }
            path.push(word.to_owned());
            here = help(program_name, &path);
            options.extend(here.options.clone());
        }
    }
    None
}

#[test]
fn every_command_line_in_the_documents_works() {
    let mut findings = Vec::new();
    let mut seen = 0;
    for (document, text) in with_extension("md") {
        let (code, prose) = code_and_prose(&text);
        let lines = code
            .iter()
            .map(String::as_str)
            .chain(spans(&prose))
            .filter(|line| PROGRAMS.iter().any(|name| line.contains(name)) && line.contains(' '));
        for line in lines {
            seen += 1;
            findings.extend(wrong(line).map(|why| format!("{}: {why}", document.display())));
        }
    }
    assert!(seen >= 8, "the documents show {seen} command lines");
    assert_none(&findings);
}

#[test]
fn wrong_command_lines_are_found() {
    assert_eq!(wrong("heraldry run --config FILE --size 1x1"), None);
    assert_eq!(wrong("heraldry-sim --sockets a=b -- PROGRAM --no-such"), None);
    for line in [
        "heraldry no-such",
        "heraldry run --no-such",
        "heraldry-sim --sockets a=b -- heraldry no-such",
        "heraldry-host run --sockets a=b",
        "heraldry ctl input no-such",
    ] {
        assert!(wrong(line).is_some(), "{line}");
    }
}

#[test]
fn units_and_services_are_good_and_their_command_lines_work() {
    let folder = tempfile::tempdir().unwrap();
    let mut findings = Vec::new();
    let units = ["heraldry.service", "heraldry-host.service", "heraldry.target"].map(|unit| {
        let text = std::fs::read_to_string(root().join("assets/systemd").join(unit)).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("ExecStart="));
        findings.extend(lines.filter_map(wrong));
        // What it starts need not be installed here.
        let text = text.replace("ExecStart=/usr/bin/heraldry", "ExecStart=/bin/true heraldry");
        let path = folder.path().join(unit);
        std::fs::write(&path, text).unwrap();
        path
    });
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(&units)
        .output()
        .expect("systemd-analyze, of the package systemd");
    let said = String::from_utf8_lossy(&verified.stderr);
    // Other units of this machine are not ours to mend.
    findings.extend(
        said.lines()
            .filter(|line| line.contains("heraldry"))
            .map(ToOwned::to_owned),
    );
    let run = std::fs::read_to_string(root().join("assets/s6-rc/heraldry/run")).unwrap();
    let starts: Vec<_> = run.lines().filter(|line| line.contains("supervise")).collect();
    assert_eq!(starts.len(), 1);
    findings.extend(starts.into_iter().filter_map(wrong));
    assert_none(&findings);
}

fn is_test(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_string_lossy();
    let folder =
        |part: std::path::Component<'_>| part.as_os_str() == "tests" || part.as_os_str() == "benches";
    name.ends_with("tests") || path.components().any(folder)
}

#[test]
fn no_source_file_is_long() {
    let mut findings = Vec::new();
    for (path, text) in with_extension("rs") {
        // Tests of a file itself stand at its end and do not count; one that only names a file of tests does.
        let lines = text
            .split("\n#[cfg(test)]\nmod tests {")
            .next()
            .unwrap()
            .lines()
            .count();
        if !is_test(&path) && lines > MAX_LINES {
            findings.push(format!("{}: {lines} lines", path.display()));
        }
    }
    assert_none(&findings);
}

#[test]
fn unsafe_code_is_where_it_may_be() {
    let keyword = concat!("un", "safe ");
    let mut findings = Vec::new();
    for (path, text) in with_extension("rs") {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            let block = |after: &str| {
                ["{", "fn", "impl", "extern", "trait"]
                    .iter()
                    .any(|word| after.starts_with(word))
            };
            let found = code.split(keyword).skip(1).any(block);
            let allowed = UNSAFE.iter().any(|allowed| path.starts_with(allowed));
            if found && !allowed {
                findings.push(format!("{}:{}: {line}", path.display(), number + 1));
            }
        }
    }
    assert_none(&findings);
}

/// Blocks, without those of tests and of what is for development only, and in which files they are.
fn unsafe_blocks() -> BTreeMap<PathBuf, usize> {
    let keyword = concat!("un", "safe {");
    let count = |text: &str| -> usize {
        let code = text.lines().map(|line| line.split("//").next().unwrap());
        code.map(|line| line.matches(keyword).count()).sum()
    };
    with_extension("rs")
        .into_iter()
        .filter(|(path, _)| !is_test(path) && !path.starts_with("tests") && !path.starts_with("emulator"))
        .map(|(path, text)| (path, count(&text)))
        .filter(|(_, blocks)| *blocks > 0)
        .collect()
}

#[test]
fn unsafe_blocks_are_few_and_security_names_their_places() {
    let blocks = unsafe_blocks();
    let all: usize = blocks.values().sum();
    assert!((1..=MAX_UNSAFE).contains(&all), "{all} blocks: {blocks:?}");
    let text = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let (_, list) = text.split_once("## Unsafe code").unwrap();
    let missing = blocks.keys().filter(|path| {
        let path = path.display().to_string();
        !spans(list).contains(&path.as_str())
    });
    let missing: Vec<String> = missing
        .map(|path| format!("SECURITY.md does not name {}", path.display()))
        .collect();
    assert_none(&missing);
}

#[test]
fn nothing_is_left_to_do_in_the_sources() {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("to", "do!("),
    ];
    let mut findings = Vec::new();
    for (path, text) in with_extension("rs") {
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                findings.push(format!("{}:{}: {line}", path.display(), number + 1));
            }
        }
    }
    assert_none(&findings);
}
