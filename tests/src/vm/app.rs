// SPDX-License-Identifier: MIT OR Apache-2.0
//! App VMs: machines that come to the compositor through a device and the host.

use std::path::PathBuf;
use std::process::Command;

use super::{Setup, app_image};
use crate::rig::{Program, Rig, program, until};

/// The device of one app VM.
#[derive(Debug)]
pub struct AppDevice {
    /// The process.
    pub program: Program,
    socket: PathBuf,
}

impl AppDevice {
    /// Starts the device of a VM, whose contexts connect to that VM's socket of the host.
    #[must_use]
    pub fn start(rig: &Rig, vm: &str) -> Self {
        let socket = rig.file(&format!("{vm}.device"));
        let mut command = Command::new(program("heraldry-device"));
        command
            .args(["--log", "debug", "--socket"])
            .arg(&socket)
            .arg("--sockets")
            .arg(format!("wayland={}", rig.socket(vm).display()));
        let name = format!("device-{vm}");
        let program = Program::start(&name, &mut command, &rig.file(""));
        until("the device listens", || socket.exists());
        Self { program, socket }
    }

    /// A machine that has it.
    #[must_use]
    pub fn machine(&self) -> Setup {
        Setup {
            image: app_image(),
            outputs: 0,
            input: false,
            device: Some(self.socket.clone()),
            ..Setup::default()
        }
    }
}
