// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a VM's registry shows, and everything that it does not.

use heraldry_config::policy::globals::KNOWN;
use heraldry_tests::client::raw::{Raw, Value};
use heraldry_tests::colour::key::MAGENTA;

use super::attack::Expect::{Lives, Rule};
use super::attack::{Attack, Row, row};

pub(crate) const ROWS: &[Row] = &[
    row(
        "A78 registry has what the list says and nothing else",
        golden,
        Lives,
    ),
    row("A38b output tells nothing of the machine", neutral_output, Lives),
    row("A41 serials count what this client was sent", serials, Lives),
    row(
        "A19a layer-shell and overlays bound by name",
        |a| hidden(a, &["zwlr_layer_shell_v1", "zcosmic_overlap_notify_v1"]),
        Rule("bad-bind"),
    ),
    row(
        "A19b session lock bound by name",
        |a| hidden(a, &["ext_session_lock_manager_v1"]),
        Rule("bad-bind"),
    ),
    row(
        "A19c input method and its popup bound by name",
        |a| hidden(a, &["zwp_input_method_manager_v2", "zwp_text_input_manager_v3"]),
        Rule("bad-bind"),
    ),
    row(
        "A36a screencopy and image-copy bound by name",
        |a| {
            hidden(
                a,
                &[
                    "zwlr_screencopy_manager_v1",
                    "ext_image_copy_capture_manager_v1",
                    "ext_output_image_capture_source_manager_v1",
                ],
            )
        },
        Rule("bad-bind"),
    ),
    row(
        "A36b dmabuf export bound by name",
        |a| hidden(a, &["zwlr_export_dmabuf_manager_v1"]),
        Rule("bad-bind"),
    ),
    row(
        "A38a window and workspace lists bound by name",
        |a| {
            hidden(
                a,
                &[
                    "ext_foreign_toplevel_list_v1",
                    "zwlr_foreign_toplevel_manager_v1",
                    "ext_workspace_manager_v1",
                ],
            )
        },
        Rule("bad-bind"),
    ),
    row(
        "A49 inhibitor of shortcuts bound by name",
        |a| {
            hidden(
                a,
                &[
                    "zwp_keyboard_shortcuts_inhibit_manager_v1",
                    "zwp_xwayland_keyboard_grab_manager_v1",
                ],
            )
        },
        Rule("bad-bind"),
    ),
    row(
        "A50 pointer lock and warp bound by name",
        |a| {
            hidden(
                a,
                &[
                    "zwp_pointer_constraints_v1",
                    "zwp_relative_pointer_manager_v1",
                    "wp_pointer_warp_v1",
                ],
            )
        },
        Rule("bad-bind"),
    ),
    row(
        "A54 idle notification and inhibitor bound by name",
        |a| hidden(a, &["ext_idle_notifier_v1", "zwp_idle_inhibit_manager_v1"]),
        Rule("bad-bind"),
    ),
    row(
        "A74 dmabuf import bound by name",
        |a| hidden(a, &["zwp_linux_dmabuf_v1", "wl_drm"]),
        Rule("bad-bind"),
    ),
    row(
        "A75 explicit sync bound by name",
        |a| {
            hidden(
                a,
                &[
                    "wp_linux_drm_syncobj_manager_v1",
                    "zwp_linux_explicit_synchronization_v1",
                ],
            )
        },
        Rule("bad-bind"),
    ),
    row(
        "A77 activation and handles of foreign windows bound by name",
        |a| hidden(a, &["xdg_activation_v1", "zxdg_exporter_v2", "zxdg_importer_v2"]),
        Rule("bad-bind"),
    ),
    row(
        "A83 security context bound by name",
        |a| hidden(a, &["wp_security_context_manager_v1"]),
        Rule("bad-bind"),
    ),
    row(
        "A27a data control bound by name",
        |a| {
            hidden(
                a,
                &["ext_data_control_manager_v1", "zwlr_data_control_manager_v1"],
            )
        },
        Rule("bad-bind"),
    ),
    row(
        "A46a virtual input bound by name",
        |a| {
            hidden(
                a,
                &[
                    "zwp_virtual_keyboard_manager_v1",
                    "zwlr_virtual_pointer_manager_v1",
                ],
            )
        },
        Rule("bad-bind"),
    ),
];

/// By its name with every number that a global may have.
fn hidden(a: &mut Attack<'_>, interfaces: &[&'static str]) {
    for interface in interfaces {
        assert!(a.raw.globals.values().all(|(offered, _)| offered != interface));
        let names: Vec<u32> = (1..=24).collect();
        a.each_breaks("bad-bind", &names, |raw, name| {
            raw.bind(name, interface, 1);
        });
    }
    let interface = interfaces.first().unwrap();
    a.raw.bind(1, interface, 1);
}

fn golden(a: &mut Attack<'_>) {
    let mut shown: Vec<_> = a.raw.globals.values().cloned().collect();
    shown.sort();
    let expected: Vec<_> = KNOWN
        .iter()
        .map(|(name, version)| ((*name).to_owned(), *version))
        .collect();
    assert_eq!(shown, expected);
    let names: Vec<u32> = a.raw.globals.keys().copied().collect();
    let dense: Vec<u32> = (1..).take(names.len()).collect();
    assert_eq!(names, dense, "no gap tells of a hidden global");
}

fn neutral_output(a: &mut Attack<'_>) {
    a.raw.global("wl_output");
    a.raw.settle();
    let texts: Vec<String> = a
        .raw
        .events
        .iter()
        .filter(|event| event.name.starts_with("wl_output."))
        .flat_map(|event| &event.args)
        .filter_map(|arg| match arg {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(texts, OUTPUT_TEXTS);
}

/// Make, model, name and description.
const OUTPUT_TEXTS: [&str; 4] = ["Heraldry", "screen", "screen-1", "Heraldry - screen - screen-1"];

fn serials(a: &mut Attack<'_>) {
    a.honest_may_see(&["wl_keyboard.key"]);
    let window = a.raw.show((64, 48), MAGENTA);
    let change = |raw: &mut Raw| {
        for request in ["set_maximized", "unset_maximized"] {
            raw.send(window.toplevel, request, &[]);
            raw.settle();
            raw.ack(window.xdg);
        }
    };
    change(&mut a.raw);
    a.focus(a.honest_window);
    a.rig.type_text(&"secret ".repeat(15));
    change(&mut a.raw);
    let told = a.raw.told("xdg_surface.configure");
    let serials: Vec<u32> = told.iter().map(|event| event.uint(0)).collect();
    assert!(serials.len() >= 4, "{serials:?}");
    let gaps = serials.windows(2).any(|pair| pair[1] != pair[0] + 1);
    assert!(!gaps, "105 keys of another VM are in {serials:?}");
}
