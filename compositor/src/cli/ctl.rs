// SPDX-License-Identifier: MIT OR Apache-2.0
//! `heraldry ctl`: what it asks, and how it shows the answer.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use heraldry_program::{self as program, chain};

use super::{EXIT_BUG, EXIT_INPUT, fail};
use crate::control::ClientError;
use crate::control::protocol::{Reply, Request, ScreenInfo, VmStats};
use crate::init::client;

#[derive(Debug, Args)]
pub(super) struct CtlArgs {
    /// The control socket [default: $XDG_RUNTIME_DIR/heraldry.ctl].
    #[arg(long, value_name = "SOCKET", global = true)]
    control: Option<PathBuf>,
    /// Print the answer as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: CtlCommand,
}

#[derive(Debug, Subcommand)]
enum CtlCommand {
    #[command(flatten)]
    Compositor(Request),
    #[command(flatten)]
    Machine(MachineCommand),
}

/// What PID 1 is asked for instead of the compositor.
#[derive(Debug, Clone, Copy, Subcommand)]
enum MachineCommand {
    /// Show the log of init and compositor (in a VM whose PID 1 is `heraldry-init`).
    Log,
    /// Start the machine again (in a VM whose PID 1 is `heraldry-init`).
    Reboot,
    /// Switch the machine off (in a VM whose PID 1 is `heraldry-init`).
    PowerOff,
}

pub(super) fn default_control() -> Option<PathBuf> {
    std::env::var_os("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("heraldry.ctl"))
}

fn ctl_machine(command: MachineCommand) -> ExitCode {
    let request = match command {
        MachineCommand::Log => client::Request::Log,
        MachineCommand::Reboot => client::Request::Reboot,
        MachineCommand::PowerOff => client::Request::PowerOff,
    };
    match client::request(request) {
        Ok(text) => program::print(&text),
        Err(error) => fail(EXIT_INPUT, &chain(&error)),
    }
}

pub(super) fn ctl(args: CtlArgs) -> ExitCode {
    let mut request = match args.command {
        CtlCommand::Compositor(request) => request,
        CtlCommand::Machine(command) => return ctl_machine(command),
    };
    if let Request::Screenshot { path, .. } = &mut request {
        *path = match std::path::absolute(&path) {
            Ok(path) => path,
            Err(error) => return fail(EXIT_INPUT, &format!("{}: {error}", path.display())),
        };
    }
    let Some(path) = args.control.or_else(default_control) else {
        return fail(
            EXIT_INPUT,
            "XDG_RUNTIME_DIR is not set; name the compositor's socket with --control",
        );
    };
    match ask(&path, request) {
        Ok(Reply::Error(error)) => fail(EXIT_INPUT, &error),
        Ok(reply) if args.json => match serde_json::to_string_pretty(&reply) {
            Ok(text) => program::print(format!("{}\n", plain_json(&text)).as_bytes()),
            Err(error) => fail(EXIT_BUG, &error.to_string()),
        },
        Ok(reply) => program::print(table(&reply).as_bytes()),
        Err(error) => fail(EXIT_INPUT, &chain(&error)),
    }
}

/// Asks, and puts a picture where it is wanted: the compositor itself may have no leave to write but beside its socket.
fn ask(control: &Path, request: Request) -> Result<Reply, ClientError> {
    let Request::Screenshot {
        path: wanted,
        screen,
        shown,
    } = request
    else {
        return crate::control::request(control, &request);
    };
    let name = format!(".screenshot-{}.png", std::process::id());
    let path = std::path::absolute(control)?.with_file_name(name);
    let made = path.clone();
    let reply = crate::control::request(control, &Request::Screenshot { path, screen, shown });
    if !matches!(reply, Ok(Reply::Ok)) {
        return reply;
    }
    let moved = std::fs::copy(&made, &wanted);
    let removed = std::fs::remove_file(&made);
    Ok(match moved.and(removed) {
        Ok(()) => Reply::Ok,
        Err(error) => Reply::Error(format!("{}: {error}", wanted.display())),
    })
}

/// JSON in ASCII alone: titles are the VMs' own texts, and must not talk to a terminal here either.
fn plain_json(json: &str) -> String {
    let mut plain = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || (' '..='~').contains(&c) {
            plain.push(c);
        } else {
            // Outside of texts JSON has nothing but printable ASCII, so this is within one.
            for unit in c.encode_utf16(&mut [0; 2]) {
                plain.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    plain
}

/// An answer for people to read.
fn table(reply: &Reply) -> String {
    match reply {
        Reply::Ok => String::new(),
        Reply::Error(error) => format!("{error}\n"),
        Reply::Windows(windows) => windows
            .iter()
            .map(|window| {
                let place = window.content.map_or_else(
                    || "not shown".to_owned(),
                    |c| format!("{}x{}+{}+{}", c.w, c.h, c.x, c.y),
                );
                let mark = if window.focused { '*' } else { ' ' };
                // The title is the VM's own text: escaped, so that it cannot talk to the terminal.
                let title = window.untrusted_title.escape_default();
                let silent = match (window.minimized, window.not_responding) {
                    (true, _) => " minimized",
                    (false, true) => " not responding",
                    (false, false) => "",
                };
                format!(
                    "{mark}{:>4} {:<16} {:<10} {place:<20}{silent} {title}\n",
                    window.id, window.vm, window.mode
                )
            })
            .collect(),
        Reply::Vms(vms) => vms
            .iter()
            .map(|vm| {
                let mark = match &vm.paused {
                    Some(why) if vm.hidden => format!("  paused and hidden: {why}"),
                    Some(why) => format!("  paused: {why}"),
                    None if vm.throttled => "  throttled".to_owned(),
                    None => String::new(),
                };
                format!(
                    "{:<16} {} clients {:>3} windows {:>3}{mark}\n",
                    vm.name, vm.color, vm.clients, vm.windows
                )
            })
            .collect(),
        Reply::Screens(screens) => screens.iter().map(screen_line).collect(),
        Reply::Stats(stats) => {
            let mut text = format!(
                "heraldry {} on {}, {}x{} at scale {}: {} clients, {} windows, {} frames\n",
                stats.version,
                stats.backend,
                stats.size.0,
                stats.size.1,
                stats.scale,
                stats.clients,
                stats.windows,
                stats.frames
            );
            for vm in &stats.vms {
                text.push_str(&vm_table(vm));
            }
            text
        }
    }
}

/// What a VM uses of what it may.
fn vm_table(vm: &VmStats) -> String {
    let mut text = format!(
        "\n{}: {} broken rules, {} turns used up, {} frames waited for, {} drawn in part, {} windows delayed, \
         {} popups closed, {} connections refused, {} ms of drawing, {} contents of {} copied bytes each\n",
        vm.name,
        vm.violations,
        vm.exhausted_turns,
        vm.held_frames,
        vm.partial_frames,
        vm.delayed_maps,
        vm.dismissed_popups,
        vm.refused_connections,
        vm.drawing_ms,
        vm.contents,
        vm.copied_bytes / vm.contents.max(1)
    );
    for budget in &vm.budgets {
        text.push_str(&format!(
            "  {:<16} {:>12} of {:>12}   most {:>12}   refused {:>6}\n",
            budget.name, budget.used, budget.limit, budget.peak, budget.refused
        ));
    }
    text
}

fn screen_line(screen: &ScreenInfo) -> String {
    format!(
        "{:<10} {:<10} {}x{}@{:.2} scale {} at {},{} {}x{}\n",
        screen.name,
        screen.connector.as_deref().unwrap_or("-"),
        screen.size.0,
        screen.size.1,
        screen.refresh,
        screen.scale,
        screen.rect.x,
        screen.rect.y,
        screen.rect.w,
        screen.rect.h
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_talks_to_no_terminal_and_loses_nothing() {
        let title = "a\u{9b}31m\u{202e}\u{7f}\n\"\\ü🦀";
        let json = serde_json::to_string_pretty(&[title]).unwrap();
        let plain = plain_json(&json);
        assert!(
            plain
                .chars()
                .all(|c| c == '\n' || c.is_ascii_graphic() || c == ' '),
            "{plain}"
        );
        assert_eq!(serde_json::from_str::<Vec<String>>(&plain).unwrap(), [title]);
    }
}
