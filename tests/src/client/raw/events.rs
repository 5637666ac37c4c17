// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a client is told.

use wayland_client::backend::protocol::{ArgumentType, MessageDesc};

use super::Raw;

/// One argument of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A signed or fixed-point number.
    Int(i32),
    /// A number or an object.
    Uint(u32),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A descriptor: its place in [`Raw::descriptors`].
    Fd(usize),
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The object that it came from.
    pub object: u32,
    /// `interface.name`.
    pub name: String,
    /// Its arguments.
    pub args: Vec<Value>,
}

impl Event {
    /// A number among the arguments; 0 if it is none.
    #[must_use]
    pub fn uint(&self, index: usize) -> u32 {
        match self.args.get(index) {
            Some(Value::Uint(word)) => *word,
            _ => 0,
        }
    }

    /// A signed number among the arguments; 0 if it is none.
    #[must_use]
    pub fn int(&self, index: usize) -> i32 {
        match self.args.get(index) {
            Some(Value::Int(word)) => *word,
            _ => 0,
        }
    }
}

impl Raw {
    pub(super) fn dispatch(&mut self) {
        let input = std::mem::take(&mut self.input);
        let mut rest = input.as_slice();
        while let (Some(id), Some(second)) = (word(rest, 0), word(rest, 4)) {
            let length = usize::try_from(second >> 16).expect("a length");
            let Some(body) = rest.get(8..length) else { break };
            self.event(id, usize::from(u16::try_from(second & 0xffff).unwrap_or(0)), body);
            rest = rest.get(length..).unwrap_or_default();
        }
        self.input = rest.to_vec();
    }

    fn event(&mut self, id: u32, opcode: usize, body: &[u8]) {
        // Events to objects that were destroyed meanwhile may still come.
        let Some(&(interface, version)) = self.objects.get(&id) else {
            return;
        };
        let desc = interface.events.get(opcode).expect("an event of the protocol");
        let args = self.decode(desc, body);
        if let (Some(child), Some(index)) = (
            desc.child_interface,
            desc.signature
                .iter()
                .position(|kind| *kind == ArgumentType::NewId),
        ) && let Some(Value::Uint(made)) = args.get(index)
        {
            self.objects.insert(*made, (child, version));
        }
        let event = Event {
            object: id,
            name: format!("{}.{}", interface.name, desc.name),
            args,
        };
        match event.name.as_str() {
            "wl_display.error" => {
                if let Some(Value::Text(text)) = event.args.get(2) {
                    self.error = Some(text.clone());
                }
            }
            "wl_display.delete_id" => self.freed.push(event.uint(0)),
            "wl_callback.done"
            | "wp_presentation_feedback.presented"
            | "wp_presentation_feedback.discarded" => {
                self.done.insert(id);
                self.objects.remove(&id);
            }
            "wl_registry.global" => {
                if let Some(Value::Text(interface)) = event.args.get(1) {
                    self.globals
                        .insert(event.uint(0), (interface.clone(), event.uint(2)));
                }
            }
            "wl_registry.global_remove" => drop(self.globals.remove(&event.uint(0))),
            _ => self.events.push(event),
        }
    }

    fn decode(&mut self, desc: &MessageDesc, body: &[u8]) -> Vec<Value> {
        let (mut at, mut args) = (0, Vec::new());
        for kind in desc.signature {
            if *kind == ArgumentType::Fd {
                let fd = self
                    .incoming
                    .pop_front()
                    .expect("the event's descriptor came with it");
                self.descriptors.push(fd);
                args.push(Value::Fd(self.descriptors.len() - 1));
                continue;
            }
            let first = word(body, at).expect("the event's argument");
            at += 4;
            args.push(match kind {
                ArgumentType::Int | ArgumentType::Fixed => Value::Int(first.cast_signed()),
                ArgumentType::Str(_) | ArgumentType::Array => {
                    let length = usize::try_from(first).expect("a length");
                    let bytes = body.get(at..at + length).expect("the event's bytes").to_vec();
                    at += length.next_multiple_of(4);
                    match kind {
                        ArgumentType::Array => Value::Bytes(bytes),
                        _ => Value::Text(String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()),
                    }
                }
                _ => Value::Uint(first),
            });
        }
        args
    }

    /// Every event of this name, as `interface.name`.
    #[must_use]
    pub fn told(&self, name: &str) -> Vec<&Event> {
        self.events.iter().filter(|event| event.name == name).collect()
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(word.try_into().ok()?))
}
