// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the processes that the supervisor starts have in common: how they begin, and why they end.

use std::os::fd::{AsFd, OwnedFd};

use heraldry_identity::name::NameError;
use heraldry_seccomp::FilterError;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_name, set_no_new_privs};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::filter;
use crate::link::{Link, LinkError};
use crate::poller::{Poller, key};

/// Orders that are taken at once.
const AT_ONCE: usize = 64;

/// Which part of the host a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The compositor's: its sockets, announcements, memory.
    Compositor,
    /// A VM's: its socket, its connections.
    Vm,
}

/// Why a process of the host's ends before its supervisor does.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// Standard input is no link to a supervisor: nothing came over it that could be a first order.
    #[error("this process is started by heraldry-host run")]
    NoSupervisor(#[source] LinkErrorText),
    /// The link to the supervisor failed later.
    #[error("the link to the supervisor failed")]
    Link(#[source] LinkErrorText),
    /// An order that makes no sense here.
    #[error("the supervisor gave an order that makes no sense")]
    Order,
    /// A name that is none.
    #[error("the supervisor named no VM")]
    Name(#[from] NameError),
    /// It cannot be confined.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The event loop or a socket failed.
    #[error("the system failed")]
    System(#[from] Errno),
}

/// What is wrong with the link, as text.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LinkErrorText(LinkError);

impl From<LinkError> for PartError {
    fn from(error: LinkError) -> Self {
        Self::Link(LinkErrorText(error))
    }
}

/// Runs a part of the host, with the link to its supervisor as standard input, until the supervisor ends.
///
/// # Errors
///
/// Nobody started it as a part, or the system failed it.
pub fn run(part: &Part) -> Result<(), PartError> {
    // Rights that root had are for the supervisor, which gives sockets away. Without them this process still owns its files.
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none)?;
    set_no_new_privs(true)?;
    let name = match part {
        Part::Compositor => c"host-compositor",
        Part::Vm => c"host-vm",
    };
    set_name(name)?;
    let link = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    filter::enter(part)?;
    match part {
        Part::Compositor => crate::compositor::run(link),
        Part::Vm => crate::vm::run(link),
    }
}

/// Orders that came with their descriptors, and whether the supervisor is gone.
pub(crate) type Orders<In> = (Vec<(In, Vec<OwnedFd>)>, bool);

/// The kind of event under which a part watches its supervisor.
pub(crate) const SUPERVISOR: u64 = 0;

/// A part's link to its supervisor.
pub(crate) struct SupervisorLink<Out, In>(Link<Out, In>);

impl<Out: Serialize, In: DeserializeOwned> SupervisorLink<Out, In> {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(Link::new(fd))
    }

    /// Waits for the first order; `None` if the supervisor is gone instead.
    pub(crate) fn first_order(&mut self) -> Result<Option<(In, Vec<OwnedFd>)>, PartError> {
        loop {
            match self.0.receive() {
                Ok(Some(order)) => return Ok(Some(order)),
                Err(LinkError::Closed) => return Ok(None),
                Err(error) => return Err(PartError::NoSupervisor(LinkErrorText(error))),
                Ok(None) => {}
            }
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Has the poller tell of orders from now on.
    pub(crate) fn listen(&self, poller: &Poller) -> Result<(), PartError> {
        Ok(poller.add(&self.0, key(SUPERVISOR, 0), self.0.interest())?)
    }

    /// The orders that have come, some at a time so that others are served in between, and whether the supervisor is gone: it
    /// has ended, or been killed, and another one may be there already.
    pub(crate) fn orders(&mut self, poller: &Poller) -> Result<Orders<In>, PartError> {
        let mut orders = Vec::new();
        while orders.len() < AT_ONCE {
            match self.0.flush().and_then(|()| self.0.receive()) {
                Ok(Some(order)) => orders.push(order),
                Ok(None) => break,
                Err(LinkError::Closed) => return Ok((orders, true)),
                Err(error) => return Err(error.into()),
            }
        }
        self.watch(poller)?;
        Ok((orders, false))
    }

    /// Says something to the supervisor, as soon as it reads.
    pub(crate) fn report(&mut self, poller: &Poller, report: &Out) -> Result<(), PartError> {
        self.0.send(report, Vec::new())?;
        self.watch(poller)
    }

    fn watch(&self, poller: &Poller) -> Result<(), PartError> {
        Ok(poller.modify(&self.0, key(SUPERVISOR, 0), self.0.interest())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::pair;

    fn garbage() -> (SupervisorLink<(), ()>, OwnedFd) {
        let (own, other) = pair().unwrap();
        rustix::io::write(&other, b"rubbish").unwrap();
        (SupervisorLink::new(own), other)
    }

    #[test]
    fn only_who_never_had_an_order_is_told_who_starts_it() {
        let (mut link, _other) = garbage();
        let told = link.first_order().unwrap_err().to_string();
        assert_eq!(told, "this process is started by heraldry-host run");
        let (mut link, _other) = garbage();
        let told = link.orders(&Poller::new().unwrap()).unwrap_err().to_string();
        assert_eq!(told, "the link to the supervisor failed");
    }
}
