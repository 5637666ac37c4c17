// SPDX-License-Identifier: MIT OR Apache-2.0
//! One client's session: what came in and is not whole yet, and the state that both directions share.
//!
//! ```text
//! from_client: bytes -> whole message -> object, request, version -> arguments -> objects named -> rules -> out
//! from_server: bytes -> whole message -> object, event -> arguments -> filter, translate descriptors -> out
//! ```
//! The two directions are in `requests` and `events`; the rules that need state are in `rules`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use wayland_backend::protocol::Interface;

use crate::budget::{Account, Budget, Budgets};
use crate::limits::Limits;
use crate::objects::{Object, Objects};
use crate::rules::State;
use crate::send_queue::SendQueue;
use crate::serials::{Names, Serials};
use crate::services::Services;
use crate::tables;
use crate::violation::{Rule, ServerFault, Violation, code};

/// The globals that a client may see, each with its highest version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Globals(BTreeMap<String, u32>);

impl Globals {
    /// The highest version of `interface` that is allowed.
    #[must_use]
    pub fn allowed(&self, interface: &str) -> Option<u32> {
        self.0.get(interface).copied()
    }
}

impl<N: Into<String>> FromIterator<(N, u32)> for Globals {
    fn from_iter<I: IntoIterator<Item = (N, u32)>>(globals: I) -> Self {
        Self(
            globals
                .into_iter()
                .map(|(name, version)| (name.into(), version))
                .collect(),
        )
    }
}

/// What became of the bytes of a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whole requests that were handled.
    pub requests: u32,
    /// Bytes that wait for the rest of their message.
    pub waiting_bytes: usize,
    /// Whether a whole message waits for its descriptor.
    pub waits_for_descriptor: bool,
}

/// A global that was announced to this client, by the client's name for it.
#[derive(Clone, Copy)]
pub(crate) struct Announced {
    pub(crate) interface: &'static Interface,
    pub(crate) version: u32,
    /// The compositor's name for it.
    pub(crate) name: u32,
}

impl fmt::Debug for Announced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} v{} as {}", self.interface.name, self.version, self.name)
    }
}

/// The gate of one client.
#[derive(Debug)]
pub struct Session<S> {
    pub(crate) limits: Limits,
    pub(crate) allowed: Globals,
    pub(crate) services: S,
    pub(crate) objects: Objects,
    pub(crate) announced: HashMap<u32, Announced>,
    pub(crate) names: Names,
    pub(crate) serials: Serials,
    pub(crate) state: State,
    /// Descriptors of the client whose messages are not whole.
    pub(crate) client_fds: VecDeque<OwnedFd>,
    pub(crate) server_fds: VecDeque<OwnedFd>,
    client_bytes: Vec<u8>,
    server_bytes: Vec<u8>,
    /// Descriptors of the client that the account has taken for waiting.
    charged_fds: usize,
    ended: Option<Violation>,
}

/// What one step over the input did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A message of so many bytes is handled.
    Done(usize),
    /// The message is not whole.
    NeedBytes,
    /// The message is whole and lacks a descriptor.
    NeedDescriptor,
}

impl<S: Services> Session<S> {
    /// The session of a client that has just connected. `globals` is what its registry may show.
    pub fn new(limits: Limits, globals: Globals, services: S) -> Self {
        Self::of_vm(limits, Budgets::new(&limits), globals, services)
    }

    /// The same for a client whose VM has others: they share `budgets`. All sessions of a VM live on one thread.
    pub fn of_vm(limits: Limits, budgets: Arc<Budgets>, globals: Globals, services: S) -> Self {
        let mut account = Account::new(budgets);
        // The display itself. If there is no room even for that, the first request finds it out.
        let _full = account.take(Budget::Objects, 1);
        let mut objects = Objects::default();
        objects.create(1, Object::new(tables::display(), 1));
        Self {
            limits,
            allowed: globals,
            services,
            objects,
            announced: HashMap::new(),
            names: Names::default(),
            serials: Serials::default(),
            state: State::new(account),
            client_fds: VecDeque::new(),
            server_fds: VecDeque::new(),
            client_bytes: Vec::new(),
            server_bytes: Vec::new(),
            charged_fds: 0,
            ended: None,
        }
    }

    /// Tells the session the time, as a duration since any fixed moment. Serials age by it.
    pub fn set_time(&mut self, now: Duration) {
        self.serials.set_time(now);
    }

    /// The services, for the caller's own use.
    pub fn services(&mut self) -> &mut S {
        &mut self.services
    }

    /// The client's objects, those that are destroyed and not confirmed included.
    #[must_use]
    pub fn object_count(&self) -> usize {
        self.objects.count()
    }

    /// Takes bytes and descriptors of the client, and appends what may pass to `out`, which goes to the compositor.
    ///
    /// Everything given is handled, so a caller that wants to be fair gives a bounded amount at a time. All of `fds` is
    /// taken. The output does not depend on how the input is cut into calls.
    ///
    /// # Errors
    /// The rule that the client broke. What came before is in `out`. The caller sends
    /// [`Violation::error_event`] to the client and closes; every later call fails with the same violation.
    pub fn from_client(
        &mut self,
        bytes: &[u8],
        fds: &mut VecDeque<OwnedFd>,
        out: &mut SendQueue,
    ) -> Result<Progress, Violation> {
        if let Some(violation) = &self.ended {
            fds.clear();
            return Err(violation.clone());
        }
        self.client_fds.append(fds);
        let result = self.client_bytes_in(bytes, out);
        if let Err(violation) = &result {
            self.ended = Some(violation.clone());
            self.client_fds.clear();
            self.client_bytes = Vec::new();
        }
        result
    }

    fn client_bytes_in(&mut self, bytes: &[u8], out: &mut SendQueue) -> Result<Progress, Violation> {
        // In the common case nothing waits, and whole messages are handled where they lie.
        let mut waiting = std::mem::take(&mut self.client_bytes);
        let alone = waiting.is_empty();
        if !alone {
            waiting.extend_from_slice(bytes);
        }
        let input = if alone { bytes } else { &waiting };
        let mut progress = Progress::default();
        let mut rest = input;
        while !rest.is_empty() {
            match self.request(rest, out)? {
                Step::Done(len) => {
                    rest = rest.get(len..).unwrap_or(&[]);
                    progress.requests = progress.requests.saturating_add(1);
                }
                Step::NeedBytes => break,
                Step::NeedDescriptor => {
                    progress.waits_for_descriptor = true;
                    break;
                }
            }
        }
        progress.waiting_bytes = rest.len();
        if progress.waits_for_descriptor && rest.len() > self.limits.waiting_bytes {
            let detail = format!("{} bytes wait for a descriptor", rest.len());
            return Err(Violation::display(
                Rule::MissingDescriptor,
                code::INVALID_METHOD,
                detail,
            ));
        }
        if self.client_fds.len() > self.limits.early_descriptors {
            let detail = format!("{} descriptors that no request takes", self.client_fds.len());
            return Err(Violation::display(
                Rule::UnsolicitedDescriptors,
                code::INVALID_METHOD,
                detail,
            ));
        }
        let left = rest.len();
        self.client_bytes = keep_last(waiting, bytes, left);
        self.charge_waiting()?;
        Ok(progress)
    }

    /// Brings the account in line with the descriptors that wait for their message.
    fn charge_waiting(&mut self) -> Result<(), Violation> {
        let (now, before) = (self.client_fds.len(), self.charged_fds);
        let amount = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let account = &mut self.state.account;
        account.give(Budget::Descriptors, amount(before.saturating_sub(now)));
        account
            .take(Budget::Descriptors, amount(now.saturating_sub(before)))
            .map_err(|full| {
                let detail = format!("more than {} {}", full.limit, full.budget.name());
                Violation::display(full.budget.rule(), code::NO_MEMORY, detail)
            })?;
        self.charged_fds = now;
        Ok(())
    }

    /// Takes bytes and descriptors of the compositor, and appends what may pass to `out`, which goes to the client.
    ///
    /// # Errors
    /// What the compositor's side did wrong or could not do; the connection cannot go on.
    pub fn from_server(
        &mut self,
        bytes: &[u8],
        fds: &mut VecDeque<OwnedFd>,
        out: &mut SendQueue,
    ) -> Result<(), ServerFault> {
        self.server_fds.append(fds);
        let mut waiting = std::mem::take(&mut self.server_bytes);
        let alone = waiting.is_empty();
        if !alone {
            waiting.extend_from_slice(bytes);
        }
        let mut rest = if alone { bytes } else { &waiting };
        while !rest.is_empty() {
            match self.event(rest, out)? {
                Step::Done(len) => rest = rest.get(len..).unwrap_or(&[]),
                Step::NeedBytes | Step::NeedDescriptor => break,
            }
        }
        let left = rest.len();
        self.server_bytes = keep_last(waiting, bytes, left);
        Ok(())
    }
}

/// The last `left` bytes of what waited, or of `bytes` if nothing did.
fn keep_last(mut waiting: Vec<u8>, bytes: &[u8], left: usize) -> Vec<u8> {
    if waiting.is_empty() {
        let used = bytes.len().saturating_sub(left);
        waiting.extend_from_slice(bytes.get(used..).unwrap_or(&[]));
    } else {
        let used = waiting.len().saturating_sub(left);
        waiting.drain(..used);
    }
    waiting
}
