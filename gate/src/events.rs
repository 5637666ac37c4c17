// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way of one event: decoded, filtered, and its descriptor translated.

use std::os::fd::OwnedFd;

use wayland_backend::protocol::{ArgumentType, MessageDesc};
use wayland_protocols::wp::primary_selection::zv1::server::{
    zwp_primary_selection_device_v1, zwp_primary_selection_source_v1,
};
use wayland_server::protocol::{wl_data_device, wl_data_source, wl_keyboard, wl_registry, wl_shm, wl_touch};

use crate::objects::{FIRST_SERVER_ID, Object};
use crate::send_queue::SendQueue;
use crate::serials::{self, Cause};
use crate::services::Services;
use crate::session::{Announced, Session, Step};
use crate::tables::{self, Kind};
use crate::violation::ServerFault;
use crate::wire::{Args, Header, fd_count};

/// `wl_display.delete_id`; the server's code generator has no constants for `wl_display`.
const DELETE_ID: u16 = 1;

/// What an event's descriptor becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carries {
    /// No descriptor.
    Nothing,
    /// Memory whose size is the argument at the index.
    Memory(usize),
    /// The writing end of a pipe, or what stands for it: it is what another client of the VM sent.
    Pipe,
    /// Something that is not on the list.
    Unlisted,
}

impl<S: Services> Session<S> {
    /// Handles the event at the start of `bytes`.
    pub(crate) fn event(&mut self, bytes: &[u8], out: &mut SendQueue) -> Result<Step, ServerFault> {
        let header = match Header::read(bytes) {
            None => return Ok(Step::NeedBytes),
            Some(Ok(header)) => header,
            Some(Err(bad)) => return Err(ServerFault::Malformed(format!("{} bytes", bad.0))),
        };
        let Some(object) = self.objects.find(header.object) else {
            return Err(ServerFault::Malformed(format!(
                "to object {}, which does not exist",
                header.object
            )));
        };
        let Some(desc) = object.interface.events.get(usize::from(header.opcode)) else {
            let name = object.interface.name;
            return Err(ServerFault::Malformed(format!(
                "{name}@{} has no event {}",
                header.object, header.opcode
            )));
        };
        let Some(message) = bytes.get(..header.len) else {
            return Ok(Step::NeedBytes);
        };
        let fds = fd_count(desc);
        if self.server_fds.len() < fds {
            return Ok(Step::NeedDescriptor);
        }
        let what = || format!("{}@{}.{}", object.interface.name, header.object, desc.name);
        let args = Args::parse(message, desc)
            .map_err(|bad| ServerFault::Malformed(format!("{}: {bad:?}", what())))?;
        let taken: Vec<OwnedFd> = self.server_fds.drain(..fds).collect();
        self.made_objects(object, desc, &args)?;
        // The client has destroyed the object and ignores its events, so they need not be passed, nor their descriptors.
        if object.zombie {
            return Ok(Step::Done(header.len));
        }
        let taken = self.translate(object, header.opcode, taken, &args, what)?;
        match self.filter(header.object, object, header.opcode, &args) {
            Filter::Drop => {}
            Filter::Pass => {
                let position = out.message(message);
                for fd in taken {
                    out.descriptor(position, fd);
                }
            }
            Filter::Patch(patches) => {
                let position = out.message(message);
                for (index, word) in patches.into_iter().flatten() {
                    if let Some(offset) = args.place(index) {
                        out.patch(position, offset, word);
                    }
                }
                for fd in taken {
                    out.descriptor(position, fd);
                }
            }
        }
        if desc.is_destructor {
            self.objects.bury(header.object);
        }
        Ok(Step::Done(header.len))
    }

    /// Notes the objects that an event makes; fails with an id that cannot be, or with one object too many: a client can
    /// keep all that it was ever offered. An object that is made for one which the
    /// client has destroyed will never be known to the client.
    fn made_objects(
        &mut self,
        maker: Object,
        desc: &MessageDesc,
        args: &Args<'_>,
    ) -> Result<(), ServerFault> {
        for (index, kind) in desc.signature.iter().enumerate() {
            if *kind != ArgumentType::NewId {
                continue;
            }
            let id = args.uint(index);
            let bad_id = || {
                let what = format!("{}.{}", maker.interface.name, desc.name);
                ServerFault::Malformed(format!("{what}: {id} cannot be the id of a new object"))
            };
            let interface = desc.child_interface.ok_or_else(bad_id)?;
            let object = Object {
                zombie: maker.zombie,
                ..Object::new(interface, maker.version)
            };
            let limit = self.limits.server_objects;
            if !self.objects.create_server(id, object, limit) {
                return Err(if id < FIRST_SERVER_ID {
                    bad_id()
                } else {
                    ServerFault::TooManyObjects(limit)
                });
            }
        }
        Ok(())
    }

    /// The descriptors for the client.
    fn translate(
        &mut self,
        object: Object,
        opcode: u16,
        mut taken: Vec<OwnedFd>,
        args: &Args<'_>,
        what: impl Fn() -> String,
    ) -> Result<Vec<OwnedFd>, ServerFault> {
        let carries = if taken.is_empty() {
            Carries::Nothing
        } else {
            carries(object.kind, opcode)
        };
        let fd = match (carries, taken.pop(), taken.is_empty()) {
            (Carries::Nothing, _, _) => return Ok(Vec::new()),
            (Carries::Memory(size), Some(fd), true) => self
                .services
                .share_memory(fd, args.uint(size))
                .map_err(ServerFault::Service)?,
            (Carries::Pipe, Some(fd), true) => fd,
            _ => return Err(ServerFault::Descriptor(what())),
        };
        Ok(vec![fd])
    }

    /// What of an event the client may know.
    fn filter(&mut self, id: u32, object: Object, opcode: u16, args: &Args<'_>) -> Filter {
        self.state.told(id, object.kind, opcode, args);
        match (object.kind, opcode) {
            // A client is told of the formats alone whose lines can be checked.
            (Kind::Shm, wl_shm::EVT_FORMAT_OPCODE) if !self.state.offers_format(args.uint(0)) => Filter::Drop,
            (Kind::DataDevice, wl_data_device::EVT_SELECTION_OPCODE)
            | (Kind::PrimaryDevice, zwp_primary_selection_device_v1::EVT_SELECTION_OPCODE)
                if !self.state.is_news(id, args.uint(0)) =>
            {
                Filter::Drop
            }
            (Kind::Display, DELETE_ID) => {
                if let Some(object) = self.objects.free(args.uint(0)) {
                    self.state.freed(args.uint(0), object.kind);
                }
                Filter::Pass
            }
            (Kind::Registry, wl_registry::EVT_GLOBAL_OPCODE) => {
                let interface = args.text(1).unwrap_or("");
                let (Some(table), Some(most)) = (tables::global(interface), self.allowed.allowed(interface))
                else {
                    return Filter::Drop;
                };
                let version = args.uint(2).min(most).min(table.version);
                let name = self.names.announce(args.uint(0));
                let announced = Announced {
                    interface: table,
                    version,
                    name: args.uint(0),
                };
                self.announced.insert(name, announced);
                Filter::Patch([Some((0, name)), Some((2, version))])
            }
            // The name stays bindable: a client may bind before it has read of the removal, and wayland-backend decides then.
            (Kind::Registry, wl_registry::EVT_GLOBAL_REMOVE_OPCODE) => self
                .names
                .known(args.uint(0))
                .map_or(Filter::Drop, |name| Filter::Patch([Some((0, name)), None])),
            _ => match serials::of_event(object.interface.name, opcode) {
                Some(cause) => Filter::Patch([
                    Some((0, self.client_serial(id, object, opcode, cause, args))),
                    None,
                ]),
                None => Filter::Pass,
            },
        }
    }
}

impl<S: Services> Session<S> {
    /// The client's number for the serial of an event, which is kept with what it was sent for.
    fn client_serial(&mut self, id: u32, object: Object, opcode: u16, cause: Cause, args: &Args<'_>) -> u32 {
        let window = |surface: usize| self.state.window_of_surface(args.uint(surface));
        let place = match cause {
            Cause::POINTER_ENTER => {
                self.serials.pointer_at = window(1);
                self.serials.pointer_at
            }
            Cause::KEYBOARD_ENTER => {
                self.serials.keyboard_at = window(1);
                self.serials.keyboard_at
            }
            Cause::PEN_ENTER => {
                self.serials.pen_at = window(2);
                self.serials.pen_at
            }
            Cause::PEN => self.serials.pen_at,
            Cause::BUTTON => self.serials.pointer_at,
            Cause::KEY => self.serials.keyboard_at,
            // An end of a touch names no surface.
            Cause::TOUCH if opcode == wl_touch::EVT_DOWN_OPCODE => window(2),
            _ => 0,
        };
        let number = self.serials.hand_out(args.uint(0), cause, place);
        if object.kind == Kind::XdgSurface {
            self.state.configured(id, number, args.uint(0));
        }
        number
    }
}

/// What of an event the client may know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filter {
    Pass,
    Drop,
    /// Passed with these arguments replaced.
    Patch([Option<(usize, u32)>; 2]),
}

/// The closed list of events that may carry a descriptor.
fn carries(kind: Kind, opcode: u16) -> Carries {
    match (kind, opcode) {
        (Kind::Keyboard, wl_keyboard::EVT_KEYMAP_OPCODE) => Carries::Memory(2),
        (Kind::DataSource, wl_data_source::EVT_SEND_OPCODE)
        | (Kind::PrimarySource, zwp_primary_selection_source_v1::EVT_SEND_OPCODE) => Carries::Pipe,
        _ => Carries::Unlisted,
    }
}
