// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether this machine knows the keyboards that a configuration names.
//!
//! The configuration's own rules cannot say: layouts are files of the machine, which the image of a VM has too.

use std::collections::BTreeSet;

use heraldry_config::{Config, Keyboard, Origins};
use smithay::input::keyboard::xkb;

/// What is wrong with the keyboards, each with its place, sorted by it.
pub(super) fn unknown(config: &Config) -> BTreeSet<String> {
    let own = config.vms.values().map(|vm| (&vm.keyboard, &vm.origins));
    let all = std::iter::once((&config.keyboard, &config.origins)).chain(own);
    all.filter(|(keyboard, _)| !is_known(keyboard))
        .map(|(keyboard, origins)| complaint(keyboard, origins))
        .collect()
}

fn is_known(keyboard: &Keyboard) -> bool {
    let mut context = xkb::Context::new(xkb::CONTEXT_NO_FLAGS);
    // It says in ten lines what is said in one here.
    context.set_log_level(xkb::LogLevel::Critical);
    let options = (!keyboard.options.is_empty()).then(|| keyboard.options.clone());
    let (layout, variant) = (keyboard.layout.as_str(), keyboard.variant.as_str());
    xkb::Keymap::new_from_names(&context, "", "", layout, variant, options, xkb::COMPILE_NO_FLAGS).is_some()
}

fn complaint(keyboard: &Keyboard, origins: &Origins) -> String {
    let Keyboard { layout, variant, .. } = keyboard;
    let place = origins.of("keyboard.layout");
    let (with, list) = if variant.is_empty() {
        (String::new(), "localectl list-x11-keymap-layouts".to_owned())
    } else {
        let list = format!("localectl list-x11-keymap-variants {layout}");
        (format!(" with the variant {variant:?}"), list)
    };
    format!("{place}: this machine knows no keyboard layout {layout:?}{with}\n hint: {list}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyboards_that_this_machine_lacks_are_named_with_their_line() {
        let text = "schema 1\nkeyboard { layout \"de\"; variant \"nodeadkeys\"; }\n\
                    vm \"work\" {\n    color \"#1f5fbf\"; pattern \"solid\"; glyph \"W\";\n    keyboard { layout \"xx\"; }\n}\n\
                    vm \"play\" {\n    color \"#b3261e\"; pattern \"vertical\"; glyph \"P\";\n    keyboard { layout \"de\"; variant \"never\"; }\n}\n";
        let config = heraldry_config::parse("a.kdl", text).unwrap_or_else(|errors| panic!("{errors}"));
        let found: Vec<String> = unknown(&config).into_iter().collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].starts_with("a.kdl:5:") && found[0].contains("\"xx\""),
            "{found:?}"
        );
        assert!(
            found[1].starts_with("a.kdl:9:") && found[1].contains("\"never\""),
            "{found:?}"
        );
    }
}
