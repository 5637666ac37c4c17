// SPDX-License-Identifier: MIT OR Apache-2.0
//! A gate between a client and a compositor that trust nothing of what comes through it.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use heraldry_gate::{
    Budget, Budgets, Globals, Limits, MAX_DESCRIPTORS_PER_SEND, MAX_MESSAGE, Rule, SendQueue, ServerFault,
    ServiceError, Services, Session, Violation,
};
use wayland_backend::protocol::{ANONYMOUS_INTERFACE, AllowNull, ArgumentType, MessageDesc, same_interface};
use wayland_server::protocol::__interfaces::WL_DISPLAY_INTERFACE;

use super::library::{Library, serial_of};
use super::rules::{Passed, Rules};
use super::{Arg, FIRST_SERVER_ID, GLOBALS, Objects, decode, encode, global, header};
use crate::ledger::Ledger;

/// What Smithay keeps in lists that it looks through.
const LISTED: [&str; 9] = [
    "wl_output",
    "zxdg_output_v1",
    "wl_seat",
    "wl_pointer",
    "wl_keyboard",
    "wl_touch",
    "wl_data_device",
    "zwp_primary_selection_device_v1",
    "zwp_tablet_seat_v2",
];

/// `wl_display.delete_id`.
pub const DELETE_ID: u16 = 1;

/// The surroundings of the gate.
#[derive(Debug)]
pub struct Surroundings {
    ledger: Rc<Ledger>,
    memory: u64,
    refuses: Rc<Cell<bool>>,
}

impl Surroundings {
    fn give(&self, fd: OwnedFd) -> Result<OwnedFd, ServiceError> {
        assert!(self.ledger.knows(&fd), "a stranger's descriptor");
        if self.refuses.get() {
            return Err(ServiceError::Refused("fuzzing".to_owned()));
        }
        Ok(fd)
    }
}

impl Services for Surroundings {
    fn share_memory(&mut self, fd: OwnedFd, _: u32) -> Result<OwnedFd, ServiceError> {
        self.give(fd)
    }

    fn memory_covers(&self, fd: BorrowedFd<'_>, size: u64) -> bool {
        assert!(self.ledger.knows(fd), "a stranger's descriptor");
        size <= self.memory
    }
}

/// What happened to an object when a request passed.
#[derive(Debug, Clone, Copy)]
pub enum News {
    /// The client made it.
    Created(u32),
    /// The client destroyed it.
    Destroyed(u32),
}

/// What came out of the gate.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// Bytes for the compositor.
    pub up: Vec<u8>,
    /// Bytes for the client.
    pub down: Vec<u8>,
    /// Descriptors for the compositor.
    pub fds: usize,
    /// The broken rule, with object and code.
    pub end: Option<(Rule, u32, u32)>,
}

/// Gate, client and compositor.
#[derive(Debug)]
pub struct World {
    session: Session<Surroundings>,
    budgets: Arc<Budgets>,
    seconds: u64,
    /// What both sides agree on.
    pub objects: Objects,
    /// Globals that the client was told of, by its names.
    pub announced: BTreeMap<u32, (&'static str, u32)>,
    /// What happened since somebody looked.
    pub news: Vec<News>,
    /// What came out.
    pub transcript: Transcript,
    /// Whether surroundings refuse.
    pub refuses: Rc<Cell<bool>>,
    ledger: Rc<Ledger>,
    limits: Limits,
    allowed: Globals,
    memory: u64,
    rules: Rules,
    /// What Smithay knows.
    pub library: Library,
    /// The client's numbers of the configures that it heard of, with the object.
    pub configures: Vec<(u32, u32)>,
    violation: Option<Violation>,
    /// Most bytes that leave the gate at once.
    chunk: usize,
}

/// The compositor's name for the global at a place in the list: not the client's.
fn name_at(index: usize) -> u32 {
    1000 + 7 * u32::try_from(index).unwrap_or(0)
}

impl World {
    /// A client that has just connected. All its memory has the size `memory`.
    #[must_use]
    pub fn new(limits: Limits, allowed: Globals, memory: u64, chunk: usize) -> Self {
        let ledger = Rc::new(Ledger::new());
        let refuses = Rc::new(Cell::new(false));
        let surroundings = Surroundings {
            ledger: ledger.clone(),
            memory,
            refuses: refuses.clone(),
        };
        let budgets = Budgets::new(&limits);
        Self {
            session: Session::of_vm(limits, Arc::clone(&budgets), allowed.clone(), surroundings),
            budgets,
            seconds: 0,
            objects: Objects::default(),
            announced: BTreeMap::new(),
            news: Vec::new(),
            transcript: Transcript::default(),
            refuses,
            ledger,
            limits,
            allowed,
            memory,
            rules: Rules::default(),
            library: Library::default(),
            configures: Vec::new(),
            violation: None,
            chunk,
        }
    }

    /// A descriptor for a message.
    #[must_use]
    pub fn descriptor(&self) -> OwnedFd {
        self.ledger.descriptor()
    }

    /// The limits of the gate.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The client makes a registry, is told of all globals and binds what it may have.
    pub fn bind_everything(&mut self) {
        let registry = self.objects.free_id();
        self.ok(&encode(1, 1, &[Arg::Word(registry)]));
        self.announce(registry);
        for (name, (interface, version)) in self.announced.clone() {
            let id = Arg::Word(self.objects.free_id());
            let text = Arg::Text(Some(interface.to_owned()));
            self.ok(&encode(
                registry,
                0,
                &[Arg::Word(name), text, Arg::Word(version), id],
            ));
        }
        self.news.clear();
    }

    /// The client makes surfaces.
    pub fn make_surfaces(&mut self, count: usize) {
        let found = self
            .objects
            .all()
            .find(|(_, object)| object.interface.name == "wl_compositor");
        let Some((compositor, _)) = found else { return };
        let first = self.objects.free_id();
        let ids = (first..).take(count);
        let all: Vec<u8> = ids
            .flat_map(|id| encode(compositor, 0, &[Arg::Word(id)]))
            .collect();
        self.ok(&all);
        self.news.clear();
    }

    /// Time passes.
    pub fn pass_time(&mut self, seconds: u64) {
        self.seconds += seconds;
        self.session.set_time(Duration::from_secs(self.seconds));
    }

    fn ok(&mut self, bytes: &[u8]) {
        let result = self.client_sends(bytes, VecDeque::new());
        assert_eq!(result, Ok(()));
    }

    /// Tells a registry of all globals, and of one that the gate does not know.
    pub fn announce(&mut self, registry: u32) {
        let unknown = [(name_at(GLOBALS.len()), "zwlr_layer_shell_v1", 4)];
        let known = GLOBALS
            .iter()
            .enumerate()
            .map(|(index, interface)| (name_at(index), interface().name, interface().version));
        for (name, interface, version) in unknown.into_iter().chain(known) {
            let text = Arg::Text(Some(interface.to_owned()));
            self.event(registry, 0, &[Arg::Word(name), text, Arg::Word(version)])
                .expect("a good event");
        }
    }

    /// The client sends bytes.
    ///
    /// # Errors
    /// The rule that it broke.
    pub fn client_sends(&mut self, bytes: &[u8], mut fds: VecDeque<OwnedFd>) -> Result<(), Violation> {
        let mut out = SendQueue::new();
        let result = self.session.from_client(bytes, &mut fds, &mut out);
        assert!(fds.is_empty(), "descriptors are not taken");
        if let Some(violation) = &self.violation {
            assert_eq!(result.as_ref(), Err(violation));
            assert!(out.is_empty(), "a message passed after a violation");
            return Err(violation.clone());
        }
        let (bytes, fds) = self.drain(&mut out);
        self.transcript.up.extend_from_slice(&bytes);
        self.transcript.fds += fds.len();
        self.each(&bytes, &fds, Self::request);
        match result {
            Ok(progress) => {
                assert!(progress.waiting_bytes <= MAX_MESSAGE.max(self.limits.waiting_bytes));
                if !self.news.is_empty() {
                    self.budgets_are_right();
                }
                Ok(())
            }
            Err(violation) => {
                self.broken(&violation);
                Err(violation)
            }
        }
    }

    /// What the gate counts is what is there.
    fn budgets_are_right(&self) {
        let (mut live, mut all) = (BTreeMap::<&str, usize>::new(), BTreeMap::<&str, usize>::new());
        let mut lasting = 0;
        for (id, object) in self.objects.all().filter(|(id, _)| *id < FIRST_SERVER_ID) {
            let passes = ["wl_callback", "wp_presentation_feedback"].contains(&object.interface.name);
            let ends =
                object.interface.requests.iter().any(|desc| {
                    desc.is_destructor && desc.signature.is_empty() && desc.since <= object.version
                });
            // Nobody makes the display.
            lasting += usize::from(id != 1 && !passes && !ends);
            *all.entry(object.interface.name).or_default() += 1;
            *live.entry(object.interface.name).or_default() += usize::from(object.live);
        }
        let sum = |counts: &BTreeMap<&str, usize>, names: &[&str]| -> usize {
            names.iter().filter_map(|name| counts.get(name)).sum()
        };
        for usage in self.budgets.usage() {
            let there = match usage.budget {
                Budget::Objects => all.values().sum(),
                Budget::Lasting => lasting,
                Budget::Surfaces => sum(&live, &["wl_surface"]),
                Budget::Toplevels => sum(&live, &["xdg_toplevel"]),
                Budget::Popups => sum(&live, &["xdg_popup"]),
                Budget::Buffers => sum(&live, &["wl_buffer"]),
                Budget::Pools => sum(&live, &["wl_shm_pool"]),
                Budget::Regions => sum(&live, &["wl_region"]),
                Budget::Sources => sum(&live, &["wl_data_source", "zwp_primary_selection_source_v1"]),
                Budget::Callbacks => sum(&all, &["wl_callback", "wp_presentation_feedback"]),
                Budget::Listed => sum(&live, &LISTED),
                Budget::PoolBytes | Budget::Descriptors | Budget::Rectangles | Budget::MimeBytes => continue,
            };
            assert_eq!(Ok(there), usage.used.try_into(), "{}", usage.budget.name());
        }
        assert!(
            self.budgets
                .usage()
                .all(|usage| usage.used <= usage.limit && usage.used <= usage.peak)
        );
    }

    fn broken(&mut self, violation: &Violation) {
        let event = violation.error_event();
        let args = decode(&event, &WL_DISPLAY_INTERFACE.events[0]).expect("a good event");
        assert_eq!(
            args[..2],
            [Arg::Word(violation.object), Arg::Word(violation.code)]
        );
        let object = self
            .objects
            .live(violation.object)
            .expect("the error is of an object that the client has");
        assert_eq!(object.interface.name, violation.interface);
        assert!(
            violation
                .to_string()
                .bytes()
                .all(|b| b.is_ascii_graphic() || b == b' ')
        );
        self.transcript.end = Some((violation.rule, violation.object, violation.code));
        self.violation = Some(violation.clone());
    }

    /// Everything of a send queue: bytes, and where each descriptor was in them.
    fn drain(&self, out: &mut SendQueue) -> (Vec<u8>, VecDeque<usize>) {
        let (mut bytes, mut fds) = (Vec::new(), VecDeque::new());
        while !out.is_empty() {
            let sent = out.send(self.chunk, |chunk| {
                assert!(chunk.fds.len() <= MAX_DESCRIPTORS_PER_SEND && chunk.bytes.len() <= self.chunk);
                assert!(chunk.fds.iter().all(|fd| self.ledger.knows(fd)));
                fds.extend(std::iter::repeat_n(bytes.len(), chunk.fds.len()));
                // A socket may take less.
                let taken = chunk.bytes.len().div_ceil(2);
                bytes.extend_from_slice(&chunk.bytes[..taken]);
                Ok::<_, ()>(taken)
            });
            assert!(sent.is_ok_and(|taken| taken > 0), "the send_queue does not move");
        }
        assert_eq!(out.descriptors(), 0, "descriptors without a message");
        (bytes, fds)
    }

    /// Hands each message of `bytes` to `take`, which says how many descriptors go with it.
    fn each(&mut self, bytes: &[u8], fds: &VecDeque<usize>, take: fn(&mut Self, &[u8]) -> usize) {
        let (mut at, mut used) = (0, 0);
        while at < bytes.len() {
            let (_, _, len) = header(&bytes[at..]).expect("a whole header");
            assert!(
                (8..=MAX_MESSAGE).contains(&len) && len.is_multiple_of(4),
                "{len} bytes"
            );
            let message = bytes.get(at..at + len).expect("a whole message");
            let count = take(self, message);
            for position in fds.iter().skip(used).take(count) {
                assert!(*position < at + len, "a descriptor is later than its message");
            }
            (at, used) = (at + len, used + count);
        }
        assert_eq!(used, fds.len(), "as many descriptors as the messages take");
    }

    /// A request reached the compositor, which is strict.
    fn request(&mut self, message: &[u8]) -> usize {
        let (id, opcode, _) = header(message).expect("a header");
        let object = self
            .objects
            .live(id)
            .unwrap_or_else(|| panic!("a request to {id}, which is not there"));
        let desc = object
            .interface
            .requests
            .get(usize::from(opcode))
            .expect("a request of its interface");
        let what = format!("{}@{id}.{}", object.interface.name, desc.name);
        assert!(
            desc.since <= object.version,
            "{what} in version {}",
            object.version
        );
        let args = decode(message, desc).unwrap_or_else(|why| panic!("{what}: {why}"));
        self.objects_exist(&what, desc, &args);
        for (arg, kind) in args.iter().zip(desc.signature) {
            let (Arg::Word(new), ArgumentType::NewId) = (arg, kind) else {
                continue;
            };
            assert!(
                self.objects.may_create(*new) && *new < FIRST_SERVER_ID,
                "{what}: {new}"
            );
            let (interface, version) = match desc.child_interface {
                Some(interface) => (interface, object.version),
                None => self.bound(&what, &args),
            };
            self.objects.create(*new, interface, version, true);
            self.news.push(News::Created(*new));
        }
        let passed = Passed {
            object,
            request: desc.name,
            args: &args,
            objects: &self.objects,
            limits: &self.limits,
            memory: self.memory,
        };
        self.rules.judge(&passed);
        self.library.judge(&passed);
        if desc.is_destructor {
            self.objects.destroy(id);
            self.news.push(News::Destroyed(id));
        }
        args.iter().filter(|arg| **arg == Arg::Fd).count()
    }

    fn objects_exist(&self, what: &str, desc: &MessageDesc, args: &[Arg]) {
        let mut interfaces = desc.arg_interfaces.iter();
        for (arg, kind) in args.iter().zip(desc.signature) {
            let (Arg::Word(named), ArgumentType::Object(null)) = (arg, kind) else {
                continue;
            };
            let expected = interfaces.next().copied().unwrap_or(&ANONYMOUS_INTERFACE);
            if *named == 0 {
                assert_eq!(*null, AllowNull::Yes, "{what}");
                continue;
            }
            let found = self
                .objects
                .live(*named)
                .unwrap_or_else(|| panic!("{what}: {named} is not there"));
            let any = same_interface(expected, &ANONYMOUS_INTERFACE);
            assert!(
                any || same_interface(found.interface, expected),
                "{what}: {named} is a {}",
                found.interface.name
            );
        }
    }

    /// What `wl_registry.bind` makes, by the compositor's names.
    fn bound(&self, what: &str, args: &[Arg]) -> (&'static wayland_backend::protocol::Interface, u32) {
        let [Arg::Word(name), Arg::Text(Some(text)), Arg::Word(version), ..] = args else {
            panic!("{what}: {args:?}")
        };
        let index = (0..GLOBALS.len())
            .find(|index| name_at(*index) == *name)
            .expect("a global that is there");
        let interface = GLOBALS[index]();
        assert_eq!(interface.name, text);
        let most = self
            .allowed
            .allowed(text)
            .expect("a global that the VM may have")
            .min(interface.version);
        assert!((1..=most).contains(version), "{what}: version {version}");
        (interface, *version)
    }

    /// The compositor sends an event with as many descriptors as it takes. Returns whether it reached the client.
    ///
    /// # Errors
    /// What the gate did not do with it.
    pub fn event(&mut self, id: u32, opcode: u16, args: &[Arg]) -> Result<bool, ServerFault> {
        let object = self.objects.find(id).expect("an object that is there");
        let desc = &object.interface.events[usize::from(opcode)];
        let bytes = encode(id, opcode, args);
        let mut fds: VecDeque<_> = args
            .iter()
            .filter(|arg| **arg == Arg::Fd)
            .map(|_| self.ledger.descriptor())
            .collect();
        if let ("xdg_surface", Some(serial)) = (object.interface.name, serial_of(args)) {
            self.library.configures(object.key, serial);
        }
        let mut out = SendQueue::new();
        self.session.from_server(&bytes, &mut fds, &mut out)?;
        let (got, fds) = self.drain(&mut out);
        self.transcript.down.extend_from_slice(&got);
        let passed = !got.is_empty();
        if passed {
            assert_eq!(header(&got), header(&bytes));
            assert!(object.live, "an event to an object that the client destroyed");
            self.each(&got, &fds, Self::heard);
        }
        for (arg, kind) in args.iter().zip(desc.signature) {
            if let (Arg::Word(new), ArgumentType::NewId, Some(interface)) = (arg, kind, desc.child_interface)
            {
                self.objects.create(*new, interface, object.version, passed);
            }
        }
        match args {
            [Arg::Word(freed)] if id == 1 && opcode == DELETE_ID => self.objects.free(*freed),
            _ if desc.is_destructor => self.objects.destroy(id),
            _ => {}
        }
        Ok(passed)
    }

    /// Bytes of a compositor that has gone mad; nothing but a panic is wrong after that.
    pub fn mad_compositor(&mut self, bytes: &[u8], fds: usize) {
        let mut fds = (0..fds).map(|_| self.ledger.descriptor()).collect();
        let _fault = self.session.from_server(bytes, &mut fds, &mut SendQueue::new());
    }

    /// An event reached the client.
    fn heard(&mut self, message: &[u8]) -> usize {
        let (id, opcode, _) = header(message).expect("a header");
        let object = self.objects.live(id).expect("an object that the client has");
        let desc = &object.interface.events[usize::from(opcode)];
        let args = decode(message, desc).unwrap_or_else(|why| panic!("{}: {why}", desc.name));
        if let ("wl_registry", [Arg::Word(name), Arg::Text(Some(interface)), Arg::Word(version)]) =
            (object.interface.name, args.as_slice())
        {
            let table = global(interface).expect("a global that the gate can decode");
            let most = self
                .allowed
                .allowed(interface)
                .expect("a global that the VM may have");
            assert!(*version <= most.min(table.version));
            let before = self.announced.len();
            self.announced.insert(*name, (table.name, *version));
            let next = u32::try_from(before + 1).unwrap_or(0);
            assert!(
                before == self.announced.len() || *name == next,
                "names have a gap at {name}"
            );
        }
        match (object.interface.name, args.as_slice()) {
            ("xdg_surface", [Arg::Word(number)]) => self.configures.push((id, *number)),
            ("wl_shm", [Arg::Word(format)]) => self.library.tells_format(*format),
            _ => {}
        }
        args.iter().filter(|arg| **arg == Arg::Fd).count()
    }

    /// Ends the connection; returns what came out of it.
    #[must_use]
    pub fn finish(mut self) -> Transcript {
        if self.violation.is_some() {
            let after = encode(1, 0, &[Arg::Word(self.objects.free_id())]);
            let fds = VecDeque::from([self.ledger.descriptor()]);
            assert!(self.client_sends(&after, fds).is_err());
        }
        // The client is gone: what is said then is as strict, however the client ended.
        let mut teardown = self.session.teardown();
        while !teardown.is_done() {
            let mut out = SendQueue::new();
            teardown.slice(7, &mut out);
            let (bytes, fds) = self.drain(&mut out);
            self.each(&bytes, &fds, Self::request);
        }
        let Self {
            session,
            ledger,
            transcript,
            budgets,
            ..
        } = self;
        drop(session);
        for usage in budgets.usage() {
            assert_eq!(usage.used, 0, "{} are not given back", usage.budget.name());
        }
        Rc::try_unwrap(ledger)
            .expect("nobody else has the ledger")
            .assert_all_closed();
        transcript
    }
}
