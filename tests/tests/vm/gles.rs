// SPDX-License-Identifier: MIT OR Apache-2.0
//! The GL path, drawn by the processor because there is no GPU here: only if asked for, and the same picture as Pixman's.

use heraldry_tests::colour::Pixels;
use heraldry_tests::rig::CONFIG;
use heraldry_tests::vm::{Files, Machine, Setup, attempt, image_with_gl};

use super::session::{settled, start_still, wait_for_windows};

/// The test starts the compositor itself, with one renderer and then the other.
const SERVICES: &str = "shell 0 /usr/lib/heraldry-test/shell\n\
                        host 990 heraldry-host run --config /etc/heraldry/heraldry.kdl --dir /run/host\n\
                        compositor 990 /usr/lib/heraldry-test/after /run/go\n";

/// A channel's value may differ by this much: GL rounds where Pixman cuts.
const ROUNDING: u8 = 2;

fn said(machine: &mut Machine, renderer: &str, words: &str) {
    let question = format!("grep -q -e '{words}' /tmp/{renderer}.log");
    machine.until(words, |machine| machine.shell.try_run(&question).0 == 0);
}

/// A terminal of a VM on the screen, drawn by `renderer`.
fn picture(machine: &mut Machine, renderer: &str) -> Pixels {
    let host = "/run/host/compositor";
    machine.shell.start(
        renderer,
        &format!(
            "exec heraldry-init confine 990 busybox env XDG_RUNTIME_DIR=/run/heraldry \
             heraldry-sim --sockets heraldry-display={host}/display,heraldry-connection={host}/connection,__crosvm_memfd={host}/memfd \
             -- heraldry run --backend kms --session direct --renderer {renderer} --device /dev/wl0 \
             --config /etc/heraldry/heraldry.kdl --control /run/heraldry/heraldry.ctl"
        ),
    );
    said(machine, renderer, "screen lit");
    start_still(machine, "work");
    wait_for_windows(machine, 1);
    settled(machine)
}

fn stop(machine: &mut Machine, renderer: &str) {
    machine.shell.run("ctl quit");
    said(machine, renderer, "stopped");
}

#[test]
fn gl_on_the_processor_only_if_asked_for_and_with_the_same_picture() {
    let setup = Setup {
        image: image_with_gl(),
        files: Files::default()
            .with("/etc/heraldry/services", SERVICES)
            .with("/etc/heraldry/heraldry.kdl", CONFIG),
        ..Setup::default()
    };
    attempt(&setup, |machine| {
        machine.wait_for("compositor started");
        let pixman = picture(machine, "auto");
        said(machine, "auto", "renderer=\"pixman\"");
        stop(machine, "auto");
        picture(machine, "gles");
        said(
            machine,
            "gles",
            "GL runs on the processor; --renderer pixman is faster",
        );
        let far = |a: [u8; 3], b: [u8; 3]| a.into_iter().zip(b).any(|(a, b)| a.abs_diff(b) > ROUNDING);
        // A client that has just started draws its cursor last.
        machine.until("GL's picture is Pixman's", |machine| {
            let gl = machine.screen();
            let mut both = pixman.iter().zip(gl.iter());
            !both.any(|((_, _, pixman), (_, _, gl))| far(pixman, gl))
        });
    });
}
