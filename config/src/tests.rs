// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whole files: what is accepted, what a VM gets, and that the documents are true.

use std::time::Duration;

use heraldry_identity::{Pattern, Rgb, VmName};

use crate::policy::globals::KNOWN;
use crate::{Config, Fullscreen, MAX_FILE_BYTES, Owner, VmVerdict, effective, load, parse};

const ASSET: &str = include_str!("../../assets/heraldry.kdl");
const DOCS: &str = include_str!("../../docs/configuration.md");

fn good(text: &str) -> Config {
    parse("test.kdl", text).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

fn name(text: &str) -> VmName {
    VmName::new(text).unwrap()
}

#[test]
fn the_default_file_is_good() {
    let config = good(ASSET);
    let names: Vec<_> = config.vms.keys().map(VmName::as_str).collect();
    assert_eq!(names, ["personal", "untrusted", "work"]);
    assert_eq!(config.vms[&name("work")].arms.pattern, Pattern::Horizontal);
    assert_eq!(
        config.keys,
        crate::builtin::keys(),
        "the default file shows the default keys"
    );
}

#[test]
fn every_example_of_the_documents_is_good() {
    let examples: Vec<_> = DOCS
        .split("```kdl\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(examples.len() >= 8);
    for example in examples {
        good(example);
    }
}

#[test]
fn the_documents_list_every_interface_and_default() {
    for (interface, version) in KNOWN {
        assert!(
            DOCS.contains(&format!("| `{interface}` | {version} |")),
            "{interface}"
        );
    }
    for (path, _) in effective::rule_rows(&crate::builtin::rules()) {
        // `title.max` is written as a property.
        let (node, within) = path.split_once('.').unwrap_or((path, ""));
        let tells = |line: &str| line.starts_with(&format!("| `{node}")) && line.contains(within);
        assert!(DOCS.lines().any(tells), "{path}");
    }
    for (name, chord) in crate::builtin::keys().chords() {
        assert!(
            DOCS.contains(&format!("{name} \"{chord}\"")) || chord.key.len() == 1,
            "{name} {chord}"
        );
    }
    let all = DOCS
        .split("```kdl\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap());
    let config = good(
        &all.filter(|e| !e.contains("vm \"") && !e.contains("caps:escape"))
            .collect::<String>()
            .replace("schema 1\n", "")
            .replacen("", "schema 1\n", 1),
    );
    let builtin = good("schema 1");
    assert_eq!(format!("{:?}", config.host), format!("{:?}", builtin.host));
    assert_eq!(
        format!("{:?}", config.appearance),
        format!("{:?}", builtin.appearance)
    );
    assert_eq!(
        format!("{:?}", config.defaults.rules),
        format!("{:?}", builtin.defaults.rules)
    );
}

#[test]
fn settings_are_merged_in_order() {
    let text = "schema 1
vm \"a\" { color \"#1f5fbf\"; title max=20; keyboard layout=\"de\"; owner 1000 }
vm \"b\" { color \"#b3322e\"; focus { on-map #true }; owner \"bob\" }
defaults { title \"ascii\" max=40; fullscreen \"deny\"; focus { click-guard-ms 0 } }
keyboard { layout \"fr\"; repeat-rate 30 }
";
    let config = good(text);
    let (a, b) = (&config.vms[&name("a")], &config.vms[&name("b")]);
    assert_eq!((a.rules.title.max, b.rules.title.max), (20, 40));
    assert_eq!(
        (a.keyboard.layout.as_str(), b.keyboard.layout.as_str()),
        ("de", "fr")
    );
    assert_eq!(
        (a.keyboard.repeat_rate, a.rules.fullscreen),
        (30, Fullscreen::Deny)
    );
    assert_eq!((a.rules.focus.on_map, b.rules.focus.on_map), (false, true));
    assert_eq!(b.rules.focus.click_guard, Duration::ZERO);
    assert_eq!(
        (a.owner.clone(), b.owner.clone()),
        (Some(Owner::Uid(1000)), Some(Owner::Name("bob".into())))
    );
    assert_eq!((a.arms.glyph, &*a.display_name), ('A', "a"));
    let list = effective(&config, &name("a")).unwrap();
    let shown: Vec<_> = list
        .iter()
        .map(|s| format!("{}={} {}", s.setting, s.value, s.origin))
        .collect();
    for line in [
        "display-name=\"a\" built-in",
        "color=\"#1f5fbf\" test.kdl:2:10",
        "title=\"ascii\" test.kdl:4:12",
        "title.max=20 test.kdl:2:33",
        "keyboard.layout=\"de\" test.kdl:2:50",
        "keyboard.repeat-rate=30 test.kdl:5:37",
        "focus.on-map=#false built-in",
        "globals=\"base\" built-in",
    ] {
        assert!(shown.iter().any(|s| s == line), "{line} is not in {shown:#?}");
    }
}

#[test]
fn vms_that_the_file_does_not_name() {
    let stranger = name("stranger");
    let refused = good("schema 1");
    assert!(matches!(refused.vm(&stranger), VmVerdict::Refuse { .. }));
    assert_eq!(refused.vm(&stranger).origin().to_string(), "built-in");
    assert_eq!(effective(&refused, &stranger), None);
    let quarantined = good("schema 1\ndefaults { unknown-vm \"quarantine\"; quota { clients 900 } }");
    let verdict = quarantined.vm(&stranger);
    assert_eq!(verdict.origin().to_string(), "test.kdl:2:12");
    let vm = verdict.config().unwrap();
    assert_eq!(
        (&*vm.display_name, vm.arms.glyph, vm.rules.limits.clients),
        ("UNKNOWN stranger", '?', 4)
    );
}

#[test]
fn globals_are_denied_unless_a_line_allows_them() {
    let text = "schema 1
global-set \"small\" { allow \"wl_compositor\" \"wl_shm\" }
global-set \"more\" extends=\"small\" { allow \"wl_seat\" }
vm \"a\" { color \"#1f5fbf\" }
vm \"b\" { color \"#b3322e\"; globals \"more\" }
";
    let config = good(text);
    let ask = |vm: &str, interface: &str| {
        let allowed = &config.vms[&name(vm)].rules.globals.allowed;
        let rule = allowed.get(interface)?;
        Some((rule.max_version, rule.origin.to_string()))
    };
    assert_eq!(ask("a", "wl_seat"), Some((9, "built-in".to_owned())));
    assert_eq!(ask("a", "wl_compositor"), Some((6, "built-in".to_owned())));
    assert_eq!(ask("a", "zwlr_layer_shell_v1"), None);
    assert_eq!(ask("b", "wl_shm"), Some((2, "test.kdl:2:44".to_owned())));
    assert_eq!(ask("b", "wl_seat"), Some((9, "test.kdl:3:43".to_owned())));
    assert_eq!(ask("b", "xdg_wm_base"), None);
}

#[test]
fn unusual_files() {
    assert_eq!(parse("f", "").unwrap_err().errors.len(), 1);
    let comments = good("/* a */ schema 1 // b\n/- vm \"broken\" { nonsense }\n");
    assert!(comments.vms.is_empty());
    let windows = good("schema 1\r\nvm \"a\" {\r\n  color \"#1f5fbf\"\r\n}\r\n");
    assert_eq!(windows.vms[&name("a")].arms.color, Rgb::new(0x1f, 0x5f, 0xbf));
    let missing = load(std::path::Path::new("/nonexistent/heraldry.kdl")).unwrap_err();
    assert!(
        missing
            .to_string()
            .starts_with("/nonexistent/heraldry.kdl: the file cannot be read: "),
        "{missing}"
    );
}

#[test]
fn files_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.kdl");
    std::fs::write(&path, ASSET).unwrap();
    assert_eq!(load(&path).unwrap().vms.len(), 3);
    std::fs::write(&path, vec![b' '; usize::try_from(MAX_FILE_BYTES).unwrap() + 1]).unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("too large"));
    std::fs::write(&path, b"schema \xff1").unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn what_is_no_file_is_refused_and_nobody_waits_for_it() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    std::os::unix::fs::symlink("pipe", at("link-to-pipe")).unwrap();
    std::fs::create_dir(at("folder")).unwrap();
    let (said, heard) = std::sync::mpsc::channel();
    let paths = [at("pipe"), at("link-to-pipe"), at("folder"), "/dev/zero".into()];
    let count = paths.len();
    std::thread::spawn(move || {
        for path in paths {
            let _nobody_hears = said.send(load(&path).unwrap_err().to_string());
        }
    });
    for _ in 0..count {
        let text = heard.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(text.contains("it is not a file"), "{text}");
    }
    std::fs::write(at("file"), ASSET).unwrap();
    std::os::unix::fs::symlink("file", at("link-to-file")).unwrap();
    assert_eq!(load(&at("link-to-file")).unwrap().vms.len(), 3);
}

#[test]
fn the_host_hands_over_by_token_unless_the_file_says_name() {
    use crate::HandOver;
    assert_eq!(good("schema 1").host.hand_over, HandOver::Token);
    let config = good("schema 1\nhost { hand-over \"name\" }");
    assert_eq!(config.host.hand_over, HandOver::Name);
    assert!(config.origins.of("host.hand-over").to_string().contains(":2:"));
}

#[test]
fn a_bound_only_lowers_and_says_so() {
    let config = good(concat!(
        "schema 1\ndefaults { unknown-vm \"quarantine\" }\n",
        "vm \"a\" { color \"#1f5fbf\"; quota { surfaces 900; pools 10; }; }\n",
        "bound { quota { surfaces 500; pools 20; clients 2; }; }\n"
    ));
    let a = config.vm(&"a".parse().unwrap());
    let a = a.config().unwrap();
    let limits = a.rules.limits;
    assert_eq!((limits.surfaces, limits.pools, limits.clients), (500, 10, 2));
    assert_eq!(a.origins.of("quota.surfaces").to_string(), "test.kdl:4:17");
    assert_eq!(a.origins.of("quota.pools").to_string(), "test.kdl:3:49");
    let stranger = config.vm(&"stranger".parse().unwrap());
    assert_eq!(stranger.config().unwrap().rules.limits.clients, 2);
}

#[test]
fn the_documents_have_every_limit_with_its_default() {
    let page = include_str!("../../docs/limits.md");
    let rows: Vec<(&str, &str)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .collect();
    let expected: Vec<(&str, String)> = crate::Limits::ALL
        .iter()
        .map(|info| (info.name, format!("{} {} | ", info.default, info.unit)))
        .collect();
    assert_eq!(rows.len(), expected.len());
    for ((name, rest), (limit, begin)) in rows.iter().zip(&expected) {
        assert_eq!(name, limit);
        assert!(rest.starts_with(begin.as_str()), "{name}: {rest}");
    }
}
