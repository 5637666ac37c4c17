// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests by chance: of the right form, mostly to the right objects, with numbers from everywhere.

use std::collections::VecDeque;
use std::os::fd::AsFd as _;

use wayland_client::backend::protocol::{ArgumentType, Interface, MessageDesc};

use super::{Raw, encoded, memory};
use crate::colour::key::MAGENTA;

/// Numbers by chance, or as somebody chose them.
#[derive(Debug, Clone)]
pub struct Dice(From);

#[derive(Debug, Clone)]
enum From {
    /// The same for the same seed, without end.
    Seed(u64),
    /// A fuzzer's bytes.
    Bytes(VecDeque<u8>),
}

impl Dice {
    /// A generator.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(From::Seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1))
    }

    /// Numbers from bytes, two for each; then zeros.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(From::Bytes(bytes.iter().copied().collect()))
    }

    /// Whether all bytes are used up.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(&self.0, From::Bytes(bytes) if bytes.is_empty())
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        match &mut self.0 {
            // xorshift64*, Vigna 2016
            From::Seed(state) => {
                *state ^= *state >> 12;
                *state ^= *state << 25;
                *state ^= *state >> 27;
                state.wrapping_mul(0x2545_f491_4f6c_dd1d)
            }
            From::Bytes(bytes) => {
                let mut byte = || u64::from(bytes.pop_front().unwrap_or(0));
                // The lowest eight bits are not looked at.
                (byte() | byte() << 8) << 8
            }
        }
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(1);
        usize::try_from((self.any() >> 8) % end).unwrap_or(0)
    }

    /// One of them.
    pub fn one<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        of.get(self.below(of.len())).copied()
    }

    fn word(&mut self) -> u32 {
        match self.below(4) {
            0 => u32::try_from(self.below(5)).unwrap_or(0),
            1 => u32::try_from(self.below(700)).unwrap_or(0),
            2 => {
                let corners = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 32_767, 32_768];
                self.one(&corners).unwrap_or(0)
            }
            _ => u32::try_from(self.any() >> 32).unwrap_or(0),
        }
    }
}

impl Raw {
    fn object_of(&self, interface: Option<&Interface>, dice: &mut Dice) -> u32 {
        let good = |found: &Interface| interface.is_none_or(|wanted| wanted.name == found.name);
        let mut ids: Vec<u32> = self
            .objects
            .iter()
            .filter(|(_, (found, _))| good(found))
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        match dice.below(60) {
            0 => 0,
            1 => dice.word(),
            _ => dice.one(&ids).unwrap_or(0),
        }
    }

    /// Binds everything that there is.
    pub fn bind_everything(&mut self) {
        let all: Vec<_> = self
            .globals
            .iter()
            .map(|(name, (interface, version))| (*name, interface.clone(), *version))
            .collect();
        for (name, interface, version) in all {
            self.bind(name, &interface, version);
        }
    }

    /// A request of an object by chance: object, number of the request, and what it is.
    fn choose(&self, dice: &mut Dice) -> Option<(u32, u16, &'static MessageDesc, u32)> {
        let id = self.object_of(None, dice);
        let (interface, version) = self.objects.get(&id).copied()?;
        let opcode = dice.below(interface.requests.len());
        let desc = interface.requests.get(opcode)?;
        // What was made is of more use than what is gone, and a registry binds by the method above.
        let dull = desc.is_destructor && dice.below(5) > 0;
        if dull || desc.since > version || interface.name == "wl_registry" {
            return None;
        }
        Some((id, u16::try_from(opcode).ok()?, desc, version))
    }

    /// Sends one request by chance; false if it found none to send.
    pub fn random_request(&mut self, dice: &mut Dice) -> bool {
        let Some((id, opcode, desc, version)) = self.choose(dice) else {
            return false;
        };
        let mut interfaces = desc.arg_interfaces.iter();
        let (mut body, mut fds) = (Vec::new(), Vec::new());
        for kind in desc.signature {
            match kind {
                ArgumentType::Object(_) => {
                    let wanted = interfaces.next().copied();
                    body.extend(self.object_of(wanted, dice).to_ne_bytes());
                }
                ArgumentType::NewId => body.extend(self.next.to_ne_bytes()),
                ArgumentType::Str(_) => body.extend(encoded(&"ä\u{202e}x".repeat(dice.below(60)))),
                ArgumentType::Array => body.extend(0_u32.to_ne_bytes()),
                ArgumentType::Fd => fds.push(memory(4096 << dice.below(9))),
                ArgumentType::Int | ArgumentType::Uint | ArgumentType::Fixed => {
                    body.extend(dice.word().to_ne_bytes());
                }
            }
        }
        if let Some(child) = desc.child_interface {
            self.objects.insert(self.next, (child, version));
            self.next += 1;
        }
        let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
        self.message(id, opcode, &body, &fds);
        if desc.is_destructor {
            self.objects.remove(&id);
        }
        true
    }

    /// A window that is really there, so that something is shown meanwhile.
    pub fn random_window(&mut self, dice: &mut Dice) {
        let side = |dice: &mut Dice| i32::try_from(16 + dice.below(400)).unwrap_or(16);
        let size = (side(dice), side(dice));
        self.show(size, MAGENTA);
    }
}
