// SPDX-License-Identifier: MIT OR Apache-2.0
//! Machines with a device of another process: app VMs, and the compositor's where it has no virtio_wl.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Setup, app_image};
use crate::rig::{Host, Program, Rig, program, until};

/// The device of one machine.
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
        Self::start_in(&rig.file(""), vm, &rig.socket(vm))
    }

    /// The same where there is a host and nothing else.
    #[must_use]
    pub fn of_vm(host: &Host, vm: &str) -> Self {
        let socket = host.file("host/vm").join(vm).join("wayland-0");
        Self::start_in(&host.file(""), vm, &socket)
    }

    /// The device of the compositor's VM.
    #[must_use]
    pub fn of_compositor(host: &Host) -> Self {
        let socket = host.file("host/compositor/channel");
        Self::start_in(&host.file(""), "compositor", &socket)
    }

    fn start_in(folder: &Path, name: &str, host: &Path) -> Self {
        let socket = folder.join(format!("{name}.device"));
        let mut command = Command::new(program("heraldry-device"));
        command
            .args(["--log", "debug", "--socket"])
            .arg(&socket)
            .arg("--sockets")
            .arg(format!("wayland={}", host.display()));
        let program = Program::start(&format!("device-{name}"), &mut command, folder);
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

    /// Its socket, for machines of other kinds.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }
}
