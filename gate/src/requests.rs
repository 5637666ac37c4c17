// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way of one request: from bytes to a checked message for the compositor.

use std::os::fd::{AsFd, BorrowedFd};

use wayland_backend::protocol::{ANONYMOUS_INTERFACE, AllowNull, ArgumentType, MessageDesc, same_interface};

use crate::objects::{FIRST_SERVER_ID, Object};
use crate::rules::{Action, Context, Request};
use crate::send_queue::SendQueue;
use crate::serials::{self, ClaimOf, NEVER};
use crate::services::Services;
use crate::session::{Session, Step};
use crate::tables::Kind;
use crate::violation::{Rule, Violation, code};
use crate::wire::{Args, BadArguments, Header, fd_count};

impl<S: Services> Session<S> {
    /// Handles the request at the start of `bytes`.
    pub(crate) fn request(&mut self, bytes: &[u8], out: &mut SendQueue) -> Result<Step, Violation> {
        let header = match Header::read(bytes) {
            None => return Ok(Step::NeedBytes),
            Some(Ok(header)) => header,
            Some(Err(bad)) => {
                let detail = format!("a message of {} bytes", bad.0);
                return Err(Violation::display(
                    Rule::MessageLength,
                    code::INVALID_METHOD,
                    detail,
                ));
            }
        };
        // Object and request are known before the message is whole, so that a wrong one need not be waited for.
        let (object, desc) = self.addressee(header)?;
        let Some(message) = bytes.get(..header.len) else {
            return Ok(Step::NeedBytes);
        };
        if self.client_fds.len() < fd_count(desc) {
            return Ok(Step::NeedDescriptor);
        }
        let args = Args::parse(message, desc).map_err(|bad| bad_arguments(header, object, desc, bad))?;
        let request = Request {
            id: header.object,
            opcode: header.opcode,
            object,
            desc,
            args,
        };
        let created = self.named_objects(&request)?;
        self.short_texts(&request)?;
        if let Some((_, object)) = created {
            self.state.made(&request, object, &self.limits)?;
        }
        let action = {
            let services = &self.services;
            let covers = move |fd: BorrowedFd<'_>, size| services.memory_covers(fd, size);
            let context = Context {
                limits: &self.limits,
                objects: &self.objects,
                fd: self.client_fds.front().map(AsFd::as_fd),
                covers: &covers,
            };
            self.state.request(&request, &context)?
        };
        if let Some((id, object)) = created {
            self.objects.create(id, object);
        }
        if desc.is_destructor {
            self.objects.bury(header.object);
            // What the compositor made was never taken of a budget, so it gives nothing back. No kind that is counted is made by
            // it now; buffers of a graphics card would be.
            if header.object < FIRST_SERVER_ID {
                self.state.destroyed(object.kind);
            }
        }
        self.pass(message, request.args.fds, &action, &request, out);
        Ok(Step::Done(header.len))
    }

    /// The object that a request is to, and what its interface says about the request.
    fn addressee(&self, header: Header) -> Result<(Object, &'static MessageDesc), Violation> {
        let Some(object) = self.objects.live(header.object) else {
            let detail = format!("there is no object {}", header.object);
            return Err(Violation::display(
                Rule::UnknownObject,
                code::INVALID_OBJECT,
                detail,
            ));
        };
        let target = (header.object, object.interface.name);
        let Some(desc) = object.interface.requests.get(usize::from(header.opcode)) else {
            let detail = format!("{}@{} has no request {}", target.1, target.0, header.opcode);
            return Err(Violation::display(
                Rule::UnknownRequest,
                code::INVALID_METHOD,
                detail,
            ));
        };
        if desc.since > object.version {
            let detail = format!(
                "{}.{} is of version {} and the object of version {}",
                target.1, desc.name, desc.since, object.version
            );
            return Err(Violation::display(
                Rule::UnknownRequest,
                code::INVALID_METHOD,
                detail,
            ));
        }
        Ok((object, desc))
    }

    /// Checks the objects that a request names, and says which object it makes.
    fn named_objects(&self, request: &Request<'_>) -> Result<Option<(u32, Object)>, Violation> {
        let mut interfaces = request.desc.arg_interfaces.iter();
        let mut created = None;
        for (index, kind) in request.desc.signature.iter().enumerate() {
            let id = request.args.uint(index);
            match kind {
                ArgumentType::Object(null) => {
                    let expected = interfaces.next().copied().unwrap_or(&ANONYMOUS_INTERFACE);
                    if id == 0 && *null == AllowNull::Yes {
                        continue;
                    }
                    let any = same_interface(expected, &ANONYMOUS_INTERFACE);
                    let good = self
                        .objects
                        .live(id)
                        .is_some_and(|found| any || same_interface(found.interface, expected));
                    if !good {
                        let detail = format!("{}: {id} is not a {}", request.what(), expected.name);
                        return Err(Violation::display(
                            Rule::WrongObject,
                            code::INVALID_OBJECT,
                            detail,
                        ));
                    }
                }
                ArgumentType::NewId => created = Some((id, self.new_object(request, id)?)),
                _ => {}
            }
        }
        Ok(created)
    }

    /// Texts are kept, and sent to others: none is longer than the limit.
    fn short_texts(&self, request: &Request<'_>) -> Result<(), Violation> {
        for (index, kind) in request.desc.signature.iter().enumerate() {
            if !matches!(kind, ArgumentType::Str(_)) {
                continue;
            }
            let length = request.args.text(index).map_or(0, str::len);
            if length > self.limits.string_bytes {
                let detail = format!("{}: a text of {length} bytes", request.what());
                return Err(Violation::display(
                    Rule::StringLength,
                    code::INVALID_METHOD,
                    detail,
                ));
            }
        }
        Ok(())
    }

    /// The object that a request makes as `id`.
    fn new_object(&self, request: &Request<'_>, id: u32) -> Result<Object, Violation> {
        if !self.objects.may_create(id) {
            let detail = format!("{}: {id} cannot be the id of a new object", request.what());
            return Err(Violation::display(Rule::BadNewId, code::INVALID_OBJECT, detail));
        }
        if id > self.limits.ids {
            let detail = format!(
                "{}: {id}, and ids that are free again are not used",
                request.what()
            );
            return Err(Violation::display(Rule::BadNewId, code::NO_MEMORY, detail));
        }
        match request.desc.child_interface {
            Some(interface) => Ok(Object::new(interface, request.object.version)),
            // Its one request.
            None if request.object.kind == Kind::Registry => self.bound(request),
            None => {
                let detail = format!("{}: an object without an interface", request.what());
                Err(Violation::display(
                    Rule::BadArguments,
                    code::INVALID_METHOD,
                    detail,
                ))
            }
        }
    }

    /// The object that `wl_registry.bind` makes.
    fn bound(&self, request: &Request<'_>) -> Result<Object, Violation> {
        let (name, version) = (request.args.uint(0), request.args.uint(2));
        let interface = request.args.text(1).unwrap_or("");
        let announced = self.announced.get(&name);
        let good = announced
            .filter(|global| global.interface.name == interface && (1..=global.version).contains(&version));
        match good {
            Some(global) => Ok(Object::new(
                global.interface,
                passed_on(global.interface.name, version),
            )),
            None => {
                let detail = format!("global {name} was not offered as {interface} version {version}");
                Err(Violation::display(Rule::BadBind, code::INVALID_OBJECT, detail))
            }
        }
    }

    /// The arguments of a bind that the compositor gets otherwise than the client says them: the global's number, and the
    /// version.
    fn as_the_compositor_binds(&self, request: &Request<'_>) -> Option<[(usize, u32); 2]> {
        if request.object.kind != Kind::Registry {
            return None;
        }
        let announced = self.announced.get(&request.args.uint(0))?;
        let version = passed_on(announced.interface.name, request.args.uint(2));
        Some([(0, announced.name), (2, version)])
    }

    /// The serial that a request names, as the compositor counts; with whether the request is worth passing on.
    fn claimed_serial(&self, request: &Request<'_>) -> Option<(usize, u32, bool)> {
        let claim = serials::of_request(request.object.interface.name, request.opcode)?;
        let place = match claim.of {
            ClaimOf::Any => 0,
            ClaimOf::ItsWindow => self.state.window_of_role(request.id),
            ClaimOf::WindowOfArgument(index) => self.state.window_of_surface(request.args.uint(index)),
        };
        let number = request.args.uint(claim.index);
        let serial = self.serials.redeem(number, &claim, place, self.limits.serial_age);
        Some((claim.index, serial, serial != NEVER || !claim.drops))
    }

    /// Hands on a checked request as its action says.
    fn pass(
        &mut self,
        message: &[u8],
        fds: usize,
        action: &Action,
        request: &Request<'_>,
        out: &mut SendQueue,
    ) {
        let serial = self.claimed_serial(request);
        match action {
            // The compositor's library would take a selection with any serial.
            _ if serial.is_some_and(|(_, _, good)| !good) => return,
            Action::Drop => {
                self.client_fds.drain(..fds.min(self.client_fds.len()));
                return;
            }
            Action::After(before) => {
                out.message(before);
            }
            Action::Instead(messages) => {
                out.message(messages);
                self.client_fds.drain(..fds.min(self.client_fds.len()));
                return;
            }
            Action::Pass | Action::Patch(_) => {}
        }
        let position = out.message(message);
        let serial = serial.map(|(index, serial, _)| (index, serial));
        let bind = self.as_the_compositor_binds(request);
        for (index, word) in serial.into_iter().chain(bind.into_iter().flatten()) {
            if let Some(offset) = request.args.place(index) {
                out.patch(position, offset, word);
            }
        }
        if let Action::Patch(patches) = action {
            for (index, word) in patches.iter() {
                if let Some(offset) = request.args.place(index) {
                    out.patch(position, offset, word);
                }
            }
        }
        for _ in 0..fds {
            if let Some(fd) = self.client_fds.pop_front() {
                out.descriptor(position, fd);
            }
        }
    }
}

/// The version that the compositor binds for a client that binds `version`.
///
/// Smithay forgets a data device only when it is released, which is what the second version has more than the first.
fn passed_on(interface: &str, version: u32) -> u32 {
    match interface {
        "wl_data_device_manager" => version.max(2),
        _ => version,
    }
}

fn bad_arguments(header: Header, object: Object, desc: &MessageDesc, bad: BadArguments) -> Violation {
    let why = match bad {
        BadArguments::Short => "the message is shorter than its arguments",
        BadArguments::Long => "the message is longer than its arguments",
        BadArguments::Text => "a text is not NUL-terminated UTF-8",
        BadArguments::NullText => "a text is missing",
    };
    let detail = format!("{}@{}.{}: {why}", object.interface.name, header.object, desc.name);
    Violation::display(Rule::BadArguments, code::INVALID_METHOD, detail)
}
