// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whole sessions through the gate, made by the protocols' tables: requests and events that are mostly good, so that
//! they get far, and now and then are not.
//!
//! Input: limits and globals, then steps. Besides what [`World`] asserts, a client that stays within the protocol is
//! never told that it left it, and an honest compositor's events are never a fault.

use std::collections::{HashSet, VecDeque};
use std::os::fd::OwnedFd;

use arbitrary::{Result, Unstructured};
use heraldry_gate::{Globals, Limits, Rule};
use wayland_backend::protocol::{
    ANONYMOUS_INTERFACE, AllowNull, ArgumentType, Interface, MessageDesc, same_interface,
};

use crate::wayland::world::{DELETE_ID, World};
use crate::wayland::{Arg, FIRST_SERVER_ID, GLOBALS, Object, encode};

const MOST_STEPS: usize = 600;
const MEMORY: u64 = 1 << 16;
/// Ids that the compositor uses for its objects.
const SERVER_IDS: u32 = 8;
const TEXTS: [&str; 6] = [
    "",
    "text/plain",
    "org.example.App",
    "Größe: 中文",
    "a\u{202e}b",
    "x",
];

/// See the module.
pub fn run(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok((limits, allowed, flags)) = settings(&mut u) else {
        return;
    };
    let mut world = World::new(limits, allowed, MEMORY, 1 << usize::from(3 + flags % 10));
    if flags & 0x80 == 0 {
        world.bind_everything();
    }
    if is_large(flags) {
        // So many that its end comes in slices.
        world.make_surfaces(260);
    }
    let mut rig = Rig {
        world,
        selections: HashSet::new(),
        odd: false,
    };
    for _ in 0..MOST_STEPS {
        // The end of the input is the end of the run.
        if u.is_empty() || !rig.step(&mut u).unwrap_or(false) {
            break;
        }
        rig.world.news.clear();
    }
    let _transcript = rig.world.finish();
}

/// Whether the client has many objects from the start: rarely, because it costs time.
const fn is_large(flags: u8) -> bool {
    flags & 0x1c == 0x1c
}

/// Small limits, so that they are met.
fn settings(u: &mut Unstructured<'_>) -> Result<(Limits, Globals, u8)> {
    let flags: u8 = u.arbitrary()?;
    let without: u32 = if flags & 0x40 == 0 { 0 } else { u.arbitrary()? };
    let capped = flags & 0x20 != 0;
    let allowed = GLOBALS
        .iter()
        .enumerate()
        .filter(|(index, _)| without >> index & 1 == 0)
        .map(|(_, interface)| {
            let interface = interface();
            (
                interface.name,
                if capped {
                    1 + interface.version / 2
                } else {
                    interface.version
                },
            )
        });
    let many = if is_large(flags) { 300 } else { 0 };
    let limits = Limits {
        objects: 120 + many,
        surfaces: 24 + many,
        toplevels: 6,
        popups: 6,
        buffers: 8,
        pools: 6,
        pool_bytes: 4 * MEMORY,
        descriptors: 60,
        regions: 6,
        rectangles: 40,
        callbacks: 10,
        sources: 4,
        mime_bytes: 100,
        mime_types: 6,
        string_bytes: 64,
        registries: 4,
        region_rectangles: 6,
        damage_rectangles: 6,
        subsurface_depth: 3,
        tree_surfaces: 8,
        parent_depth: 4,
        ..Limits::default()
    };
    Ok((limits, allowed.collect(), flags))
}

struct Rig {
    world: World,
    /// Devices that have been told of a selection, and not of its end.
    selections: HashSet<u64>,
    /// The client has done something that the protocol does not allow.
    odd: bool,
}

impl Rig {
    /// One step; `false` when the session is over.
    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<bool> {
        match u.arbitrary::<u8>()? {
            0..=169 => self.request(u),
            170..=219 => self.event(u),
            220..=250 => {
                self.confirm(u.arbitrary()?);
                Ok(true)
            }
            251 | 252 => {
                self.odd = true;
                let len = usize::from(u.arbitrary::<u8>()?);
                let bytes = u.bytes(len.min(u.len()))?.to_vec();
                let fds = usize::from(u.arbitrary::<u8>()? % 40);
                Ok(self.send(&bytes, fds))
            }
            253 => {
                let refuses = u.arbitrary()?;
                self.world.refuses.set(refuses);
                self.world.pass_time(u.arbitrary::<u8>()?.into());
                Ok(true)
            }
            _ => {
                let len = usize::from(u.arbitrary::<u8>()?);
                self.world.mad_compositor(u.bytes(len.min(u.len()))?, len % 3);
                Ok(false)
            }
        }
    }

    fn send(&mut self, bytes: &[u8], fds: usize) -> bool {
        let fds: VecDeque<OwnedFd> = (0..fds).map(|_| self.world.descriptor()).collect();
        let Err(violation) = self.world.client_sends(bytes, fds) else {
            return true;
        };
        let of_protocol = matches!(
            violation.rule,
            Rule::MessageLength
                | Rule::UnknownObject
                | Rule::UnknownRequest
                | Rule::BadArguments
                | Rule::WrongObject
                | Rule::BadNewId
                | Rule::BadBind
                | Rule::UnsolicitedDescriptors
                | Rule::MissingDescriptor
        );
        assert!(self.odd || !of_protocol, "an honest client is told: {violation}");
        false
    }

    /// One object of those that `fits` finds.
    fn pick(
        &self,
        u: &mut Unstructured<'_>,
        fits: impl Fn(&Object) -> bool,
    ) -> Result<Option<(u32, Object)>> {
        let found: Vec<(u32, Object)> = self
            .world
            .objects
            .all()
            .filter(|(_, object)| fits(object))
            .map(|(id, object)| (id, *object))
            .collect();
        if found.is_empty() {
            return Ok(None);
        }
        // New objects are where things happen.
        let pick = usize::from(u.arbitrary::<u8>()?);
        let back = if pick < 128 {
            pick % found.len().min(6)
        } else {
            pick % found.len()
        };
        Ok(found.get(found.len() - 1 - back).copied())
    }

    fn request(&mut self, u: &mut Unstructured<'_>) -> Result<bool> {
        let Some((id, object)) =
            self.pick(u, |object| object.live && !object.interface.requests.is_empty())?
        else {
            return Ok(true);
        };
        let requests = object.interface.requests;
        let mut opcode = usize::from(u.arbitrary::<u8>()?) % requests.len();
        if requests[opcode].is_destructor && u.arbitrary::<u8>()? > 64 {
            opcode = (opcode + 1) % requests.len();
        }
        let desc = &requests[opcode];
        let odd = u.arbitrary::<u8>()? == 0;
        if desc.since > object.version && !odd {
            return Ok(true);
        }
        let Some((args, mut fds)) = self.args(u, (id, object), desc, odd)? else {
            return Ok(true);
        };
        let opcode = u16::try_from(opcode).unwrap_or(u16::MAX);
        let mut bytes = encode(id, opcode, &args);
        if odd {
            self.odd = true;
            let (at, byte) = (usize::from(u.arbitrary::<u8>()?), u.arbitrary()?);
            if let Some(slot) = bytes.get_mut(at) {
                *slot = byte;
            }
            fds = usize::from(u.arbitrary::<u8>()? % 3);
        }
        Ok(self.send(&bytes, fds))
    }

    /// Arguments of a request, and how many descriptors it takes; none if something is missing.
    fn args(
        &self,
        u: &mut Unstructured<'_>,
        (id, object): (u32, Object),
        desc: &MessageDesc,
        odd: bool,
    ) -> Result<Option<(Vec<Arg>, usize)>> {
        if object.interface.name == "wl_registry" {
            return self.bind(u);
        }
        if let ("xdg_surface", "ack_configure", false) = (object.interface.name, desc.name, odd)
            && u.arbitrary::<u8>()? < 220
        {
            return self.acknowledgement(u, id);
        }
        let mut interfaces = desc.arg_interfaces.iter();
        let mut args = Vec::new();
        for kind in desc.signature {
            args.push(match kind {
                ArgumentType::NewId if odd => Arg::Word(u.arbitrary::<u8>()?.into()),
                ArgumentType::NewId => Arg::Word(self.world.objects.free_id()),
                ArgumentType::Object(_) if odd => Arg::Word(u.arbitrary::<u8>()?.into()),
                ArgumentType::Object(null) => {
                    let wanted = interfaces.next().copied().unwrap_or(&ANONYMOUS_INTERFACE);
                    match self.object_of(u, wanted, *null)? {
                        Some(id) => Arg::Word(id),
                        None => return Ok(None),
                    }
                }
                other => plain(u, *other)?,
            });
        }
        let fds = args.iter().filter(|arg| **arg == Arg::Fd).count();
        Ok(Some((args, fds)))
    }

    /// One of the last configures of a surface.
    fn acknowledgement(&self, u: &mut Unstructured<'_>, id: u32) -> Result<Option<(Vec<Arg>, usize)>> {
        let told = self.world.configures.iter().rev().filter(|(of, _)| *of == id);
        let last: Vec<u32> = told.map(|(_, number)| *number).take(4).collect();
        if last.is_empty() {
            return Ok(None);
        }
        let number = last.get(u.choose_index(last.len())?).copied().unwrap_or(0);
        Ok(Some((vec![Arg::Word(number)], 0)))
    }

    /// A live object of an interface, or 0 where that is allowed.
    fn object_of(
        &self,
        u: &mut Unstructured<'_>,
        wanted: &'static Interface,
        null: AllowNull,
    ) -> Result<Option<u32>> {
        let any = same_interface(wanted, &ANONYMOUS_INTERFACE);
        let found = self.pick(u, |object| {
            object.live && (any || same_interface(object.interface, wanted))
        })?;
        Ok(match found {
            Some((id, _)) if null == AllowNull::No || u.arbitrary::<u8>()? < 200 => Some(id),
            _ if null == AllowNull::Yes => Some(0),
            _ => None,
        })
    }

    fn bind(&self, u: &mut Unstructured<'_>) -> Result<Option<(Vec<Arg>, usize)>> {
        if self.world.announced.is_empty() {
            return Ok(None);
        }
        let index = u.choose_index(self.world.announced.len())?;
        let Some((name, (interface, version))) = self.world.announced.iter().nth(index) else {
            return Ok(None);
        };
        let id = Arg::Word(self.world.objects.free_id());
        let text = Arg::Text(Some((*interface).to_owned()));
        let version = u.int_in_range(1..=*version)?;
        Ok(Some((vec![Arg::Word(*name), text, Arg::Word(version), id], 0)))
    }

    /// An event of an honest compositor; it may be about an object that the client has just destroyed.
    fn event(&mut self, u: &mut Unstructured<'_>) -> Result<bool> {
        let Some((id, object)) = self.pick(u, |object| !object.interface.events.is_empty())? else {
            return Ok(true);
        };
        let opcode = usize::from(u.arbitrary::<u8>()?) % object.interface.events.len();
        let desc = &object.interface.events[opcode];
        if desc.since > object.version {
            return Ok(true);
        }
        match object.interface.name {
            // Errors end the connection, and deletions are confirmed elsewhere.
            "wl_display" => return Ok(true),
            "wl_registry" => {
                self.registry(id, opcode, u)?;
                return Ok(true);
            }
            _ => {}
        }
        // Only windows and popups are configured.
        if object.interface.name == "xdg_surface" && !self.world.library.has_role_object(object.key) {
            return Ok(true);
        }
        // A destroyed object that an event has destroyed before gets no events.
        if !object.live && desc.is_destructor {
            return Ok(true);
        }
        let mut interfaces = desc.arg_interfaces.iter();
        let mut args = Vec::new();
        for kind in desc.signature {
            args.push(match kind {
                ArgumentType::NewId => {
                    let free = (FIRST_SERVER_ID..FIRST_SERVER_ID + SERVER_IDS)
                        .find(|id| self.world.objects.live(*id).is_none());
                    match free {
                        Some(id) => Arg::Word(id),
                        None => return Ok(true),
                    }
                }
                ArgumentType::Object(null) => {
                    let wanted = interfaces.next().copied().unwrap_or(&ANONYMOUS_INTERFACE);
                    match self.object_of(u, wanted, *null)? {
                        Some(id) => Arg::Word(id),
                        None => return Ok(true),
                    }
                }
                other => plain(u, *other)?,
            });
        }
        let takes = args.contains(&Arg::Fd);
        let refuses = self.world.refuses.get();
        match self
            .world
            .event(id, u16::try_from(opcode).unwrap_or(u16::MAX), &args)
        {
            Ok(passed) => {
                // An end of what never was is no news.
                let no_news = match (desc.name, args.first()) {
                    ("selection", Some(Arg::Word(0))) => !self.selections.remove(&object.key),
                    ("selection", _) => {
                        self.selections.insert(object.key);
                        false
                    }
                    _ => false,
                };
                // Formats are told by their numbers, most of which mean nothing.
                let may_be_lost = object.interface.name == "wl_shm" || (takes && refuses) || no_news;
                assert!(
                    passed || !object.live || may_be_lost,
                    "{}.{} is lost",
                    object.interface.name,
                    desc.name
                );
                Ok(true)
            }
            Err(fault) => {
                assert!(takes && refuses, "an honest compositor is at fault: {fault}");
                Ok(false)
            }
        }
    }

    fn registry(&mut self, id: u32, opcode: usize, u: &mut Unstructured<'_>) -> Result<()> {
        if opcode == 0 {
            self.world.announce(id);
        } else {
            let name = 1000 + 7 * u.int_in_range(0..=20_u32)?;
            self.world.event(id, 1, &[Arg::Word(name)]).expect("a good event");
        }
        Ok(())
    }

    /// Confirms the deletion of one object, or of all.
    fn confirm(&mut self, which: u8) {
        let dead: Vec<u32> = self
            .world
            .objects
            .all()
            .filter(|(id, object)| !object.live && *id < FIRST_SERVER_ID)
            .map(|(id, _)| id)
            .collect();
        let all = which < 64;
        for (index, id) in dead.iter().enumerate() {
            if all || index == usize::from(which) % dead.len() {
                let passed = self.world.event(1, DELETE_ID, &[Arg::Word(*id)]);
                assert!(passed.is_ok_and(|passed| passed));
            }
        }
    }
}

/// An argument that names no object.
fn plain(u: &mut Unstructured<'_>, kind: ArgumentType) -> Result<Arg> {
    Ok(match kind {
        ArgumentType::Fd => Arg::Fd,
        ArgumentType::Str(null) => {
            let pick = usize::from(u.arbitrary::<u8>()?);
            if null == AllowNull::Yes && pick < 16 {
                Arg::Text(None)
            } else {
                Arg::Text(Some(TEXTS[pick % TEXTS.len()].to_owned()))
            }
        }
        ArgumentType::Array => {
            let len = usize::from(u.arbitrary::<u8>()? % 32);
            Arg::Array(u.bytes(len.min(u.len()))?.to_vec())
        }
        _ => Arg::Word(number(u)?),
    })
}

/// Numbers that mean something as sizes, places, or borders of types.
fn number(u: &mut Unstructured<'_>) -> Result<u32> {
    Ok(match u.arbitrary::<u8>()? {
        0..=99 => u32::from(u.arbitrary::<u8>()? % 16),
        100..=199 => 1 << (u.arbitrary::<u8>()? % 18),
        200..=219 => u32::MAX - u32::from(u.arbitrary::<u8>()? % 4),
        220..=229 => i32::MAX.cast_unsigned() - u32::from(u.arbitrary::<u8>()? % 4),
        230..=239 => i32::MIN.cast_unsigned() + u32::from(u.arbitrary::<u8>()? % 4),
        240..=247 => u32::from(u.arbitrary::<u16>()?),
        _ => u.arbitrary()?,
    })
}
