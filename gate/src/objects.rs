// SPDX-License-Identifier: MIT OR Apache-2.0
//! The objects of one client, by id, as client and compositor agree on them.
//!
//! Ids of the client are dense: a new one is the next or one whose deletion the compositor confirmed (`delete_id`).
//! Until then a destroyed object is a *zombie*: it can get no requests, and its events are dropped, as the client would.

use std::fmt;

use wayland_backend::protocol::{Interface, MessageDesc};

use crate::tables::Kind;

/// The first id of objects that the compositor makes.
pub(crate) const FIRST_SERVER_ID: u32 = 0xff00_0000;

/// One object.
#[derive(Clone, Copy)]
pub(crate) struct Object {
    /// Its interface.
    pub(crate) interface: &'static Interface,
    /// What the rules know it as.
    pub(crate) kind: Kind,
    /// The version that it was bound with.
    pub(crate) version: u32,
    /// Whether it is destroyed and its deletion not confirmed.
    pub(crate) zombie: bool,
}

/// The tables of the protocols refer to each other in circles, so only the name is shown.
impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gone = if self.zombie { ", destroyed" } else { "" };
        write!(f, "{} v{}{gone}", self.interface.name, self.version)
    }
}

impl Object {
    /// A live object.
    pub(crate) fn new(interface: &'static Interface, version: u32) -> Self {
        Self {
            interface,
            kind: Kind::of(interface),
            version,
            zombie: false,
        }
    }

    /// The request that destroys it, if its version has one.
    pub(crate) fn destructor(&self) -> Option<u16> {
        let destroys = |desc: &MessageDesc| {
            desc.is_destructor && desc.signature.is_empty() && desc.since <= self.version
        };
        let at = self.interface.requests.iter().position(destroys)?;
        u16::try_from(at).ok()
    }

    /// Whether it stays for as long as its client: nothing destroys it, and it does not end by itself.
    pub(crate) fn is_lasting(&self) -> bool {
        !matches!(self.kind, Kind::Callback | Kind::Feedback) && self.destructor().is_none()
    }
}

/// The object map.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    client: Vec<Option<Object>>,
    server: Vec<Option<Object>>,
    /// Objects of the client, zombies included.
    count: usize,
}

fn index(id: u32) -> Option<usize> {
    usize::try_from(id.checked_sub(1)?).ok()
}

fn server_index(id: u32) -> Option<usize> {
    usize::try_from(id.checked_sub(FIRST_SERVER_ID)?).ok()
}

impl Objects {
    fn slot(&self, id: u32) -> Option<&Option<Object>> {
        match server_index(id) {
            Some(index) => self.server.get(index),
            None => self.client.get(index(id)?),
        }
    }

    fn slot_mut(&mut self, id: u32) -> Option<&mut Option<Object>> {
        match server_index(id) {
            Some(index) => self.server.get_mut(index),
            None => self.client.get_mut(index(id)?),
        }
    }

    /// The object `id`, zombies included.
    pub(crate) fn find(&self, id: u32) -> Option<Object> {
        *self.slot(id)?
    }

    /// The object `id`, if the client may still use it.
    pub(crate) fn live(&self, id: u32) -> Option<Object> {
        self.find(id).filter(|object| !object.zombie)
    }

    /// The client's objects that are not destroyed, by id.
    pub(crate) fn live_of_client(&self) -> impl Iterator<Item = (u32, Object)> + '_ {
        (1..)
            .zip(&self.client)
            .filter_map(|(id, slot)| Some((id, (*slot)?)))
            .filter(|(_, object)| !object.zombie)
    }

    /// Objects of the client, zombies included.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Whether the client may give `id` to a new object.
    pub(crate) fn may_create(&self, id: u32) -> bool {
        match index(id).filter(|_| id < FIRST_SERVER_ID) {
            Some(index) => index == self.client.len() || self.client.get(index).is_some_and(Option::is_none),
            None => false,
        }
    }

    /// Adds an object of the client, whose id was checked with [`Self::may_create`].
    pub(crate) fn create(&mut self, id: u32, object: Object) {
        let Some(index) = index(id) else { return };
        if index == self.client.len() {
            self.client.push(Some(object));
        } else if let Some(slot) = self.client.get_mut(index) {
            *slot = Some(object);
        }
        self.count = self.count.saturating_add(1);
    }

    /// Adds an object that the compositor made; `false` if its id cannot be.
    pub(crate) fn create_server(&mut self, id: u32, object: Object, limit: usize) -> bool {
        let Some(index) = server_index(id).filter(|index| *index < limit) else {
            return false;
        };
        if index >= self.server.len() {
            self.server.resize(index.saturating_add(1), None);
        }
        if let Some(slot) = self.server.get_mut(index) {
            *slot = Some(object);
        }
        true
    }

    /// Marks an object as destroyed.
    pub(crate) fn bury(&mut self, id: u32) {
        if let Some(Some(object)) = self.slot_mut(id) {
            object.zombie = true;
        }
    }

    /// Frees the id of a client's object, and says what it was.
    pub(crate) fn free(&mut self, id: u32) -> Option<Object> {
        let object = self.client.get_mut(index(id)?)?.take();
        if object.is_some() {
            self.count = self.count.saturating_sub(1);
        }
        object
    }
}
