// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU's control connection: JSON objects, one a line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use super::PATIENCE;
use crate::colour::Pixels;

/// The greatest value of an absolute axis.
const AXIS: i32 = 0x7fff;

/// Faster than a person types.
const BETWEEN_KEYS: std::time::Duration = std::time::Duration::from_millis(30);

/// A connection to one QEMU.
#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
}

impl Qmp {
    /// Greets QEMU.
    pub(super) fn new(stream: UnixStream) -> std::io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut qmp = Self {
            reader: BufReader::new(stream),
        };
        qmp.read()?;
        qmp.ask("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    fn read(&mut self) -> std::io::Result<Value> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&line)?)
    }

    fn ask(&mut self, command: &str, arguments: &Value) -> std::io::Result<Value> {
        let text = json!({"execute": command, "arguments": arguments}).to_string();
        self.reader.get_mut().write_all(format!("{text}\n").as_bytes())?;
        loop {
            let mut answer = self.read()?;
            if let Some(error) = answer.get("error") {
                return Err(std::io::Error::other(format!("{command}: {error}")));
            }
            // Events come in between.
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
    }

    /// Runs a command.
    ///
    /// # Panics
    ///
    /// QEMU refuses it, or is gone.
    #[track_caller]
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Value {
        match self.ask(command, arguments) {
            Ok(answer) => answer,
            Err(error) => panic!("QMP: {error}"),
        }
    }

    /// Ends QEMU; it may be gone already.
    pub(super) fn quit(&mut self) {
        let _gone = self.ask("quit", &json!({}));
    }

    /// What output `head` of the GPU shows. `scratch` is a file for it.
    #[track_caller]
    pub fn screendump(&mut self, head: u32, scratch: &Path) -> Pixels {
        self.execute(
            "screendump",
            &json!({"filename": scratch, "format": "png", "device": "gpu0", "head": head}),
        );
        Pixels::load(scratch)
    }

    fn input(&mut self, events: &[Value]) {
        self.execute("input-send-event", &json!({"events": events}));
    }

    /// Presses (and holds) or releases a key by QEMU's name for it: `a`, `ret`, `meta_l`.
    pub fn key(&mut self, name: &str, down: bool) {
        self.input(&[key_event(name, down)]);
    }

    /// Presses keys in this order and releases them in the opposite one.
    pub fn chord(&mut self, names: &[&str]) {
        for name in names {
            self.key(name, true);
        }
        for name in names.iter().rev() {
            self.key(name, false);
        }
        // QEMU drops what finds no room in the device's short queue.
        std::thread::sleep(BETWEEN_KEYS);
    }

    /// Types words of small letters, spaces, line ends and `>`.
    pub fn type_text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                ' ' => self.chord(&["spc"]),
                '\n' => self.chord(&["ret"]),
                '>' => self.chord(&["shift", "dot"]),
                c => self.chord(&[c.encode_utf8(&mut [0; 4])]),
            }
        }
    }

    /// Puts the pointer at a pixel of a screen of this size.
    pub fn point(&mut self, at: (i32, i32), size: (i32, i32)) {
        // The middle of the pixel, so that nothing is lost in rounding.
        let value = |at: i32, size: i32| (2 * at + 1) * AXIS / (2 * size);
        self.input(&[
            json!({"type": "abs", "data": {"axis": "x", "value": value(at.0, size.0)}}),
            json!({"type": "abs", "data": {"axis": "y", "value": value(at.1, size.1)}}),
        ]);
    }

    /// Presses or releases a button of the pointer: `left`, `right`, `wheel-up`.
    pub fn button(&mut self, name: &str, down: bool) {
        self.input(&[json!({"type": "btn", "data": {"button": name, "down": down}})]);
    }
}

fn key_event(name: &str, down: bool) -> Value {
    json!({"type": "key", "data": {"down": down, "key": {"type": "qcode", "data": name}}})
}
