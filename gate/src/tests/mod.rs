// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client that is written in a few words, behind a real session, and what the compositor sees of it.

mod budgets;
mod commits;
mod crashes;
mod decode;
mod drags;
mod floods;
mod library;
mod pens;
mod pools;
mod properties;
mod regions;
mod serials;
mod server;
mod trees;
mod walk;

use std::collections::VecDeque;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use wayland_backend::protocol::ArgumentType;

use crate::objects::Object;
use crate::wire::{Args, Header, Writer};
use crate::{Globals, Limits, Progress, Rule, SendQueue, ServiceError, Services, Session, Violation, tables};

/// One argument.
#[derive(Debug, Clone, Copy)]
enum A<'a> {
    /// A number or an object.
    U(u32),
    /// A signed number.
    I(i32),
    /// A text.
    S(&'a str),
    /// A new object with the next id.
    New,
    /// Memory of so many bytes.
    Memory(u64),
    /// A pipe's writing end.
    Pipe,
}
use A::{I, Memory, New, Pipe, S, U};

/// Surroundings that do what is asked, unless they are told not to.
#[derive(Debug, Default)]
struct Fake {
    refuses: bool,
    shared: Vec<u32>,
}

impl Services for Fake {
    fn share_memory(&mut self, fd: OwnedFd, size: u32) -> Result<OwnedFd, ServiceError> {
        if self.refuses {
            return Err(ServiceError::Refused("test".to_owned()));
        }
        self.shared.push(size);
        Ok(fd)
    }

    /// As a virtio_wl device would: the size that the memory had when it came. Tests do not resize.
    fn memory_covers(&self, fd: BorrowedFd<'_>, size: u64) -> bool {
        rustix::fs::fstat(fd).is_ok_and(|stat| u64::try_from(stat.st_size).is_ok_and(|there| there >= size))
    }
}

fn memory(size: u64) -> OwnedFd {
    let fd = memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, size).unwrap();
    fd
}

fn pipe() -> OwnedFd {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .unwrap()
        .1
}

/// The name of a global in a client's registry.
fn global_name(interface: &str) -> u32 {
    let index = tables::GLOBALS
        .iter()
        .position(|global| global().name == interface)
        .unwrap();
    u32::try_from(index).unwrap() + 1
}

/// Everything that the gate can decode, in its newest version.
fn all_globals() -> Globals {
    tables::GLOBALS
        .iter()
        .map(|interface| (interface().name, interface().version))
        .collect()
}

/// The messages of `bytes` in words, by what `session` knows of their objects.
fn words(session: &Session<Fake>, bytes: &[u8], events: bool) -> Vec<String> {
    let mut rest = bytes;
    let mut all = Vec::new();
    while let Some(header) = Header::read(rest) {
        let header = header.unwrap();
        let object = session.objects.find(header.object).unwrap();
        let list = if events {
            object.interface.events
        } else {
            object.interface.requests
        };
        let desc = &list[usize::from(header.opcode)];
        let args = Args::parse(&rest[..header.len], desc).unwrap();
        let shown = desc.signature.iter().enumerate().map(|(index, kind)| match kind {
            ArgumentType::Int | ArgumentType::Fixed => args.int(index).to_string(),
            ArgumentType::Str(_) => format!("{:?}", args.text(index)),
            ArgumentType::Fd => "fd".to_owned(),
            _ => args.uint(index).to_string(),
        });
        all.push(format!(
            "{}@{}.{}({})",
            object.interface.name,
            header.object,
            desc.name,
            shown.collect::<Vec<_>>().join(",")
        ));
        rest = &rest[header.len..];
    }
    all
}

/// Everything that waits in a send queue, and how many descriptors.
fn drain(out: &mut SendQueue) -> (Vec<u8>, usize) {
    let (mut bytes, mut fds) = (Vec::new(), 0);
    while !out.is_empty() {
        out.send(4096, |chunk| {
            bytes.extend_from_slice(chunk.bytes);
            fds += chunk.fds.len();
            Ok::<_, ()>(chunk.bytes.len())
        })
        .unwrap();
    }
    (bytes, fds)
}

/// A client and its session.
struct Client {
    session: Session<Fake>,
    /// Toward the compositor.
    out: SendQueue,
    /// Toward the client.
    back: SendQueue,
    next: u32,
}

impl Client {
    /// A client with a registry (2) that shows every global, with names from 1 in the order of the table.
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let session = Session::new(limits, all_globals(), Fake::default());
        let mut client = Self {
            session,
            out: SendQueue::new(),
            back: SendQueue::new(),
            next: 2,
        };
        client.ok(1, "get_registry", &[New]);
        for interface in tables::GLOBALS.iter().map(|interface| interface()) {
            let name = global_name(interface.name);
            client.event(2, "global", &[U(name), S(interface.name), U(interface.version)]);
        }
        drain(&mut client.out);
        drain(&mut client.back);
        client
    }

    /// Binds `interface` in its newest version.
    fn bind(&mut self, interface: &str) -> u32 {
        let version = tables::global(interface).unwrap().version;
        self.ok(
            2,
            "bind",
            &[U(global_name(interface)), S(interface), U(version), New],
        )
    }

    fn encode(
        &mut self,
        object: Object,
        id: u32,
        name: &str,
        args: &[A],
        events: bool,
    ) -> (Vec<u8>, VecDeque<OwnedFd>, u32) {
        let list = if events {
            object.interface.events
        } else {
            object.interface.requests
        };
        let opcode = list.iter().position(|desc| desc.name == name).unwrap();
        let (mut fds, mut made) = (VecDeque::new(), 0);
        let writer =
            args.iter().fold(
                Writer::new(id, u16::try_from(opcode).unwrap()),
                |writer, arg| match *arg {
                    U(word) => writer.uint(word),
                    I(word) => writer.int(word),
                    S(text) => writer.text(text),
                    New => {
                        made = self.next;
                        writer.uint(made)
                    }
                    Memory(size) => {
                        fds.push_back(memory(size));
                        writer
                    }
                    Pipe => {
                        fds.push_back(pipe());
                        writer
                    }
                },
            );
        (writer.finish(), fds, made)
    }

    /// Sends a request; returns the id of the object that it makes.
    fn send(&mut self, id: u32, name: &str, args: &[A]) -> Result<u32, Violation> {
        let object = self
            .session
            .objects
            .find(id)
            .unwrap_or_else(|| panic!("no object {id}"));
        let (bytes, mut fds, made) = self.encode(object, id, name, args, false);
        let progress = self.raw(&bytes, &mut fds)?;
        assert_eq!((progress.requests, progress.waiting_bytes), (1, 0));
        self.next += u32::from(made != 0);
        Ok(made)
    }

    fn raw(&mut self, bytes: &[u8], fds: &mut VecDeque<OwnedFd>) -> Result<Progress, Violation> {
        self.session.from_client(bytes, fds, &mut self.out)
    }

    /// Sends a request that is good.
    fn ok(&mut self, id: u32, name: &str, args: &[A]) -> u32 {
        self.send(id, name, args)
            .unwrap_or_else(|violation| panic!("{violation}"))
    }

    /// Sends a request that breaks `rule`, and checks what the client is told.
    fn breaks(&mut self, rule: Rule, id: u32, name: &str, args: &[A]) -> Violation {
        let violation = self.send(id, name, args).expect_err("the request passed");
        assert_eq!(violation.rule, rule, "{violation}");
        let event = violation.error_event();
        let told = words(&self.session, &event, true);
        assert!(
            told[0].starts_with(&format!(
                "wl_display@1.error({},{},",
                violation.object, violation.code
            )),
            "{told:?}"
        );
        let known = self
            .session
            .objects
            .live(violation.object)
            .expect("the error names an object of the client");
        assert_eq!(known.interface.name, violation.interface);
        violation
    }

    /// What the compositor got since the last call.
    fn passed(&mut self) -> Vec<String> {
        let (bytes, _) = drain(&mut self.out);
        words(&self.session, &bytes, false)
    }

    /// Sends an event of the compositor, and returns what the client got.
    fn event(&mut self, id: u32, name: &str, args: &[A]) -> Vec<String> {
        let object = self.session.objects.find(id).unwrap();
        let (bytes, mut fds, _) = self.encode(object, id, name, args, true);
        self.session
            .from_server(&bytes, &mut fds, &mut self.back)
            .unwrap_or_else(|fault| panic!("{fault}"));
        let (bytes, _) = drain(&mut self.back);
        // An id that was just freed has no words.
        if name == "delete_id" {
            Vec::new()
        } else {
            words(&self.session, &bytes, true)
        }
    }

    /// Destroys an object, and lets the compositor confirm it.
    fn destroy(&mut self, id: u32) {
        self.ok(id, "destroy", &[]);
        self.event(1, "delete_id", &[U(id)]);
    }

    fn surface(&mut self, compositor: u32) -> u32 {
        self.ok(compositor, "create_surface", &[New])
    }

    /// Attaches a new buffer of one pixel to a surface.
    fn content(&mut self, surface: u32) {
        let manager = self.bind("wp_single_pixel_buffer_manager_v1");
        let buffer = self.ok(
            manager,
            "create_u32_rgba_buffer",
            &[New, U(0), U(0), U(0), U(u32::MAX)],
        );
        self.passed();
        self.ok(surface, "attach", &[U(buffer), I(0), I(0)]);
        self.passed();
    }

    /// A new surface with an xdg_surface and a toplevel.
    fn window(&mut self, compositor: u32, wm_base: u32) -> (u32, u32, u32) {
        let surface = self.surface(compositor);
        let xdg = self.ok(wm_base, "get_xdg_surface", &[New, U(surface)]);
        (surface, xdg, self.ok(xdg, "get_toplevel", &[New]))
    }
}
