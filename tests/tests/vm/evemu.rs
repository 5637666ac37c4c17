// SPDX-License-Identifier: MIT OR Apache-2.0
//! Input devices of the kernel's own that a test makes with evemu in the machine.

use heraldry_tests::vm::Machine;

/// Coordinates of absolute devices, as many as the screen has pixels.
pub(crate) const WIDTH: i32 = 1280;
pub(crate) const HEIGHT: i32 = 800;

/// What a device says of itself.
pub(crate) struct Description {
    pub(crate) name: &'static str,
    pub(crate) keys: &'static [usize],
    /// Code and count of values.
    pub(crate) axes: &'static [(usize, i32)],
}

impl Description {
    /// In the form that evemu reads: an absolute device that is the screen.
    fn text(&self) -> String {
        let bits = |kind: u8, set: &[usize]| {
            let mut bytes = [0_u8; 96];
            for bit in set {
                bytes[bit / 8] |= 1 << (bit % 8);
            }
            let lines = bytes.chunks(8).map(|row| {
                let row: Vec<_> = row.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("B: {kind:02x} {}", row.join(" "))
            });
            lines.collect::<Vec<_>>().join("\\n")
        };
        let codes: Vec<usize> = self.axes.iter().map(|(code, _)| *code).collect();
        let axes = self
            .axes
            .iter()
            .map(|(code, count)| format!("A: {code:02x} 0 {} 0 0 4", count - 1));
        [
            "# EVEMU 1.2".to_owned(),
            format!("N: {}", self.name),
            "I: 0018 1234 5678 0100".to_owned(),
            "P: 02 00 00 00 00 00 00 00".to_owned(),
            // SYN, KEY and ABS.
            bits(0, &[0, 1, 3]),
            bits(1, self.keys),
            bits(3, &codes),
            axes.collect::<Vec<_>>().join("\\n"),
        ]
        .join("\\n")
    }

    /// Makes the device and waits until the compositor has it. Returns its node.
    pub(crate) fn plug(&self, machine: &mut Machine) -> String {
        machine
            .shell
            .run(&format!("printf '{}\\n' >/tmp/device.desc", self.text()));
        machine
            .shell
            .start("device", "exec evemu-device /tmp/device.desc");
        machine.until("the kernel has it", |machine| {
            machine
                .shell
                .try_run("grep -q /dev/input/event /tmp/device.log")
                .0
                == 0
        });
        let said = machine.shell.run("cat /tmp/device.log");
        let node = said
            .split_whitespace()
            .find(|word| word.starts_with("/dev/input/event"));
        let node = node.unwrap_or_else(|| panic!("a node: {said}")).to_owned();
        let name = node.trim_start_matches("/dev/input/").to_owned();
        let told = format!("ctl log | grep 'input device' | grep -q '{name}'");
        machine.until("the compositor has it", |machine| {
            machine.shell.try_run(&told).0 == 0
        });
        node
    }
}

/// Events of a device, each by kind and code as the kernel numbers them.
#[derive(Default)]
pub(crate) struct Events(String);

impl Events {
    pub(crate) fn event(mut self, (kind, code): (u16, u16), value: i32) -> Self {
        // The shell's printf turns the text into lines.
        self.0
            .push_str(&format!("E: 0.000001 {kind:04x} {code:04x} {value}\\n"));
        self
    }

    /// What belongs together ends.
    pub(crate) fn end(self) -> Self {
        self.event((0, 0), 0)
    }

    /// The device tells them.
    pub(crate) fn tell(self, machine: &mut Machine, node: &str) {
        machine
            .shell
            .run(&format!("printf '{}' | evemu-play {node}", self.0));
    }
}
