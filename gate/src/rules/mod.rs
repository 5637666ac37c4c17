// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rules that need to know what a client did before, one file per concern.
//!
//! A rule is called with a request whose objects are checked, before its new object exists. It returns what becomes of the
//! message, or the violation. It notes what the client has done; what the compositor would refuse by itself and can refuse
//! without harm is left to the compositor.

mod shell;
mod shm;
mod sizes;
mod surface;
mod tree;

use std::collections::HashMap;
use std::os::fd::BorrowedFd;

use wayland_backend::protocol::MessageDesc;

use crate::limits::Limits;
use crate::objects::{Object, Objects};
use crate::tables::Kind;
use crate::violation::{Rule, Violation, code};
use crate::wire::Args;

/// A request with its object, decoded.
#[derive(Debug)]
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
    /// The descriptor that the request takes, if it takes one.
    pub(crate) fd: Option<BorrowedFd<'a>>,
    /// Whether memory can be mapped up to a size.
    pub(crate) covers: &'a dyn Fn(BorrowedFd<'_>, u64) -> bool,
}

/// What a client has done, as far as rules ask.
#[derive(Debug, Default)]
pub(crate) struct State {
    memory: shm::Memory,
    surfaces: surface::Surfaces,
    /// The surface of each `wl_subsurface`.
    subsurfaces: HashMap<u32, u32>,
    /// Rectangles of each region.
    regions: HashMap<u32, u32>,
    shell: shell::Shell,
    /// MIME types of each data source.
    sources: HashMap<u32, u32>,
    callbacks: usize,
    registries: usize,
}

impl State {
    /// Judges a request.
    pub(crate) fn request(
        &mut self,
        request: &Request<'_>,
        context: &Context<'_>,
    ) -> Result<Action, Violation> {
        if request
            .desc
            .child_interface
            .is_some_and(|interface| Kind::of(interface) == Kind::Callback)
        {
            if self.callbacks >= context.limits.callbacks {
                return Err(request.limit(Rule::TooManyCallbacks, context.limits.callbacks));
            }
            self.callbacks = self.callbacks.saturating_add(1);
        }
        match request.object.kind {
            Kind::Display => self.display(request, context),
            Kind::Compositor => self.compositor(request, context),
            Kind::Surface => self.surface(request, context),
            Kind::Region => self.region(request, context),
            Kind::Subcompositor => self.subcompositor(request, context),
            Kind::Subsurface => self.subsurface(request),
            Kind::Shm => self.shm(request, context),
            Kind::ShmPool => self.pool(request, context),
            Kind::Buffer => Ok(self.buffer(request)),
            Kind::Pointer => Ok(self.pointer(request)),
            Kind::DataDevice => self.data_device(request),
            Kind::DataSource | Kind::PrimarySource => self.source(request, context),
            Kind::WmBase => self.wm_base(request),
            Kind::Positioner => sizes::positioner(request),
            Kind::XdgSurface => self.xdg_surface(request, context),
            Kind::Toplevel => self.toplevel(request, context),
            Kind::Popup => Ok(self.popup(request)),
            Kind::Viewport => sizes::viewport(request, context),
            Kind::Registry
            | Kind::Callback
            | Kind::Keyboard
            | Kind::DataDeviceManager
            | Kind::PrimaryManager
            | Kind::DmabufFeedback
            | Kind::Other => Ok(Action::Pass),
        }
    }

    /// Notes that the compositor has confirmed the deletion of an object of this kind.
    pub(crate) fn freed(&mut self, kind: Kind) {
        match kind {
            Kind::Callback => self.callbacks = self.callbacks.saturating_sub(1),
            Kind::Registry => self.registries = self.registries.saturating_sub(1),
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
            self.sources.remove(&request.id);
        } else if request.desc.name == "offer" {
            let count = self.sources.entry(request.id).or_default();
            if *count >= context.limits.mime_types {
                return Err(request.limit(Rule::TooManyTypes, context.limits.mime_types));
            }
            *count = count.saturating_add(1);
        }
        Ok(Action::Pass)
    }
}
