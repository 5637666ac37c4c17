// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rules that need to know what a client did before, one file per concern.
//!
//! A rule is called with a request whose objects are checked, before its new object exists. It returns what becomes of the
//! message, or the violation. It notes what the client has done. Nothing that Smithay would refuse is left to it: it
//! destroys all that a client has at once, and all others wait; see `docs/decisions/0007-the-library-ends-nobody.md`.

mod configure;
mod drag;
mod extension;
pub(crate) mod instances;
mod region;
mod shell;
mod shm;
mod sizes;
mod surface;
mod tree;

use std::collections::{HashMap, HashSet};
use std::os::fd::BorrowedFd;

use wayland_backend::protocol::MessageDesc;

use crate::budget::{Account, Budget};
use crate::limits::Limits;
use crate::objects::{Object, Objects};
use crate::tables::Kind;
use crate::violation::{Rule, Violation, code};
use crate::wire::Args;

/// A request with its object, decoded.
pub(crate) struct Request<'a> {
    /// The object that it is to.
    pub(crate) id: u32,
    /// Its number in the interface.
    pub(crate) opcode: u16,
    /// What is known of the object.
    pub(crate) object: Object,
    /// What the protocol says of the request.
    pub(crate) desc: &'static MessageDesc,
    /// Its arguments.
    pub(crate) args: Args<'a>,
}

impl Request<'_> {
    /// The request for people: `wl_surface@3.commit`.
    pub(crate) fn what(&self) -> String {
        format!("{}@{}.{}", self.object.interface.name, self.id, self.desc.name)
    }

    /// A violation that is told with an error code of the request's own object.
    fn violation(&self, rule: Rule, code: u32, detail: impl AsRef<str>) -> Violation {
        let detail = format!("{}: {}", self.what(), detail.as_ref());
        Violation::new(rule, (self.id, self.object.interface.name), code, detail)
    }

    /// A violation that is told with an error code of another object, or of `wl_display` if that is gone.
    fn violation_on(&self, context: &Context<'_>, id: u32, rule: Rule, code: u32, detail: &str) -> Violation {
        match context.objects.live(id) {
            Some(object) => {
                let detail = format!("{}: {detail}", self.what());
                Violation::new(rule, (id, object.interface.name), code, detail)
            }
            None => self.display_violation(rule, code::INVALID_OBJECT, detail),
        }
    }

    /// A violation that is told with an error code of `wl_display`.
    fn display_violation(&self, rule: Rule, code: u32, detail: impl AsRef<str>) -> Violation {
        Violation::display(rule, code, format!("{}: {}", self.what(), detail.as_ref()))
    }

    /// A limit that is reached.
    fn limit(&self, rule: Rule, limit: impl std::fmt::Display) -> Violation {
        self.display_violation(rule, code::NO_MEMORY, format!("more than {limit}"))
    }
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It goes on as it is.
    Pass,
    /// It is dropped; the client does not learn of it.
    Drop,
    /// It goes on with some numbers replaced.
    Patch(Patches),
    /// It goes on after other messages, which are whole.
    After(Vec<u8>),
    /// Other messages go on in its place.
    Instead(Vec<u8>),
}

/// Arguments and the numbers that replace them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Patches {
    words: [(u8, u32); 5],
    count: u8,
}

impl Patches {
    /// Replaces the argument at `index`.
    fn with(mut self, index: u8, word: i32) -> Self {
        if let Some(slot) = self.words.get_mut(usize::from(self.count)) {
            *slot = (index, word.cast_unsigned());
            self.count = self.count.saturating_add(1);
        }
        self
    }

    /// The replacements.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        self.words
            .iter()
            .take(usize::from(self.count))
            .map(|(index, word)| (usize::from(*index), *word))
    }

    /// The action: nothing to replace is nothing to do.
    fn action(self) -> Action {
        if self.count == 0 {
            Action::Pass
        } else {
            Action::Patch(self)
        }
    }
}

/// What the rules may look at besides their own state.
pub(crate) struct Context<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) objects: &'a Objects,
    /// The first descriptor that waits: the request's, if it takes one.
    pub(crate) fd: Option<BorrowedFd<'a>>,
    /// Whether memory can be mapped up to a size.
    pub(crate) covers: &'a dyn Fn(BorrowedFd<'_>, u64) -> bool,
}

/// What a client has done, as far as rules ask.
#[derive(Debug)]
pub(crate) struct State {
    /// What of its VM's budgets the client uses.
    pub(crate) account: Account,
    memory: shm::Memory,
    surfaces: surface::Surfaces,
    /// The surface of each `wl_subsurface`.
    subsurfaces: HashMap<u32, u32>,
    regions: HashMap<u32, region::Region>,
    shell: shell::Shell,
    extensions: extension::Extensions,
    drags: drag::Drags,
    instances: instances::Instances,
    sources: HashMap<u32, Source>,
    /// Data devices that have been told of a selection, and not of its end.
    selections: HashSet<u32>,
    /// Nothing destroys one.
    registries: usize,
}

/// A data source.
#[derive(Debug, Default)]
struct Source {
    /// MIME types, and their bytes.
    types: u32,
    bytes: u64,
    /// What may be done with a drag of it.
    actions: u32,
    /// A drag of it was asked for.
    is_dragged: bool,
}

impl State {
    /// A client that has done nothing.
    pub(crate) fn new(account: Account) -> Self {
        Self {
            account,
            memory: shm::Memory::default(),
            surfaces: surface::Surfaces::default(),
            subsurfaces: HashMap::new(),
            regions: HashMap::new(),
            shell: shell::Shell::default(),
            extensions: extension::Extensions::default(),
            drags: drag::Drags::default(),
            instances: instances::Instances::default(),
            sources: HashMap::new(),
            selections: HashSet::new(),
            registries: 0,
        }
    }

    /// A request makes an object: is there room for it?
    pub(crate) fn made(
        &mut self,
        request: &Request<'_>,
        object: Object,
        limits: &Limits,
    ) -> Result<(), Violation> {
        self.instance_made(request, object.kind, limits)?;
        let lasting = object.is_lasting().then_some(Budget::Lasting);
        let budgets = [Some(Budget::Objects), Budget::of(object.kind), lasting];
        for budget in budgets.into_iter().flatten() {
            self.take(request, budget, 1)?;
        }
        Ok(())
    }

    /// Takes something of the VM's budgets for a request.
    fn take(&mut self, request: &Request<'_>, budget: Budget, amount: u64) -> Result<(), Violation> {
        self.account.take(budget, amount).map_err(|full| {
            request.limit(
                full.budget.rule(),
                format_args!("{} {} of the VM", full.limit, full.budget.name()),
            )
        })
    }

    /// The client has destroyed an object of this kind.
    pub(crate) fn destroyed(&mut self, kind: Kind) {
        self.instance_destroyed(kind);
        if let Some(budget) = Budget::of(kind).filter(|budget| *budget != Budget::Callbacks) {
            self.account.give(budget, 1);
        }
    }

    /// Judges a request.
    pub(crate) fn request(
        &mut self,
        request: &Request<'_>,
        context: &Context<'_>,
    ) -> Result<Action, Violation> {
        match request.object.kind {
            Kind::Display => self.display(request, context),
            Kind::Compositor => Ok(self.compositor(request)),
            Kind::Surface => self.surface(request, context),
            Kind::Region => Ok(self.region(request, context)),
            Kind::Subcompositor => self.subcompositor(request, context),
            Kind::Subsurface => self.subsurface(request),
            Kind::Shm => self.shm(request, context),
            Kind::ShmPool => self.pool(request, context),
            Kind::Buffer => Ok(self.buffer(request)),
            Kind::Pointer => self.pointer(request),
            Kind::TabletTool => self.tablet_tool(request),
            Kind::DataDevice => self.data_device(request),
            Kind::DataOffer => self.offer(request),
            Kind::DataSource | Kind::PrimarySource => self.source(request, context),
            Kind::WmBase => self.wm_base(request),
            Kind::Positioner => sizes::positioner(request),
            Kind::XdgSurface => self.xdg_surface(request, context),
            Kind::Toplevel => self.toplevel(request, context),
            Kind::Popup => Ok(self.popup(request)),
            Kind::Viewporter => self.viewporter(request),
            Kind::Viewport => self.viewport(request, context),
            Kind::FractionalManager => self.fractional_manager(request),
            Kind::FractionalScale => Ok(self.fractional_scale(request)),
            Kind::DecorationManager => self.decoration_manager(request),
            Kind::Decoration => Ok(self.decoration(request)),
            Kind::Registry
            | Kind::Callback
            | Kind::Feedback
            | Kind::Keyboard
            | Kind::Output
            | Kind::XdgOutput
            | Kind::Seat
            | Kind::Touch
            | Kind::TabletSeat
            | Kind::PrimaryDevice
            | Kind::DataDeviceManager
            | Kind::PrimaryManager
            | Kind::Other => Ok(Action::Pass),
        }
    }

    /// An event goes to the client: its object, and its arguments as the compositor sent them.
    pub(crate) fn told(&mut self, id: u32, kind: Kind, opcode: u16, args: &Args<'_>) {
        self.drags.told(id, kind, opcode, args);
    }

    /// Whether a data device learns something from a selection, or from there being none (0): there is none until the
    /// first, and clients that keep to that do not expect to be told.
    pub(crate) fn is_news(&mut self, device: u32, offer: u32) -> bool {
        if offer == 0 {
            self.selections.remove(&device)
        } else {
            self.selections.insert(device);
            true
        }
    }

    /// Notes that the compositor has confirmed the deletion of the object `id`, which was of this kind.
    pub(crate) fn freed(&mut self, id: u32, kind: Kind) {
        self.account.give(Budget::Objects, 1);
        match kind {
            Kind::Toplevel | Kind::Popup => self.shell.role_confirmed(id),
            Kind::Callback | Kind::Feedback => self.account.give(Budget::Callbacks, 1),
            Kind::DataDevice | Kind::PrimaryDevice => drop(self.selections.remove(&id)),
            _ => {}
        }
    }

    fn display(&mut self, request: &Request<'_>, context: &Context<'_>) -> Result<Action, Violation> {
        let makes = request.desc.child_interface.map(Kind::of);
        if makes == Some(Kind::Registry) {
            if self.registries >= context.limits.registries {
                return Err(request.limit(Rule::TooManyRegistries, context.limits.registries));
            }
            self.registries = self.registries.saturating_add(1);
        }
        Ok(Action::Pass)
    }

    /// `wl_data_source` and its primary sibling: `offer` is request 0 of both.
    fn source(&mut self, request: &Request<'_>, context: &Context<'_>) -> Result<Action, Violation> {
        if request.desc.is_destructor {
            let gone = self.sources.remove(&request.id).unwrap_or_default();
            self.account.give(Budget::MimeBytes, gone.bytes);
        } else if request.desc.name == "offer" {
            let length = request.args.text(0).map_or(0, str::len);
            let length = u64::try_from(length).unwrap_or(u64::MAX);
            self.take(request, Budget::MimeBytes, length)?;
            let source = self.sources.entry(request.id).or_default();
            if source.types >= context.limits.mime_types {
                return Err(request.limit(Rule::TooManyTypes, context.limits.mime_types));
            }
            source.types = source.types.saturating_add(1);
            source.bytes = source.bytes.saturating_add(length);
        } else if request.desc.name == "set_actions" {
            return self.source_actions(request);
        }
        Ok(Action::Pass)
    }
}
