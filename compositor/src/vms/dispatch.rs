// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients are dispatched one by one, and their time is their VM's.
//!
//! Smithay's own dispatch serves each client that has sent something until none has. Here every client that has something is
//! served once a turn, those of the VM that took the least time first; the gates bound this.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use heraldry_identity::VmName;
use heraldry_relay::ClientKey;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use tracing::{debug, error, warn};
use wayland_server::backend::ClientId;

use super::clients::{Clients, Disconnect, LET_THROUGH, SmithayError};
use crate::state::{Core, State};
use crate::vms::booking::Work;

/// Clients that are served in one turn; the others keep their place in the kernel's queue.
const CLIENTS: usize = 64;

/// Which clients have sent something.
#[derive(Debug)]
pub struct Dispatcher {
    epoll: OwnedFd,
}

impl Dispatcher {
    /// Nobody yet.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        })
    }

    /// Watches a client's stream, which wayland-backend is about to take. Its end ends the watch.
    pub fn watch(&self, stream: impl AsFd, key: ClientKey) -> std::io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            stream,
            EventData::new_u64(key.0),
            EventFlags::IN,
        )?)
    }

    fn ready(&self, clients: &Clients) -> Vec<(VmName, ClientId)> {
        const NOW: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut events = Vec::with_capacity(CLIENTS);
        // Interrupted is as good as nothing ready: the loop comes back.
        let _interrupted = epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&NOW),
        );
        let known = |event: &epoll::Event| {
            let client = clients.get(ClientKey(event.data.u64()))?;
            Some((client.vm.clone(), client.connection.as_ref()?.id()))
        };
        events.iter().filter_map(known).collect()
    }
}

impl AsFd for Dispatcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl State {
    /// Serves every client that has sent something, once.
    pub fn dispatch_clients(&mut self) {
        let Some(mut display) = self.core.display.take() else {
            error!("clients are dispatched from within a client's request");
            return;
        };
        let mut ready = self.core.dispatcher.ready(&self.core.clients);
        let spent = |vm: &VmName| self.core.vms.get(vm).map(|vm| vm.load.last_turn);
        ready.sort_by_cached_key(|(vm, _)| spent(vm));
        for (vm, id) in ready {
            let books = self.core.books.clone();
            books.book(&vm, Work::Requests, || {
                // An error is the end of this client, which wayland-backend removes.
                let _its_own = display.backend().dispatch_single_client(self, id);
            });
        }
        self.core.display = Some(display);
    }

    /// Forgets clients that are gone. Smithay closes the socket of one that was killed when it next has to do with it.
    pub fn forget_disconnected(&mut self) {
        for Disconnect { key, error } in self.core.clients.disconnects.take() {
            let Some(client) = self.core.clients.remove(key) else {
                continue;
            };
            let vm = client.vm;
            debug!(%vm, client = key.0, "client gone");
            if let Some(error) = error {
                self.core.ended_by_smithay(&vm, key, &error);
            }
            let Some(id) = client.connection.map(|connection| connection.id()) else {
                continue;
            };
            if let Some(mut display) = self.core.display.take() {
                let books = self.core.books.clone();
                books.book(&vm, Work::Requests, || {
                    let _gone = display.backend().dispatch_single_client(self, id);
                });
                self.core.display = Some(display);
            }
        }
    }
}

impl Core {
    /// All that Smithay refuses is a rule of the gate, which takes a client apart in slices; here everybody waited.
    fn ended_by_smithay(&mut self, vm: &VmName, client: ClientKey, why: &SmithayError) {
        let Some(entry) = self.vms.get_mut(vm) else { return };
        entry.load.ended_by_smithay = entry.load.ended_by_smithay.saturating_add(1);
        let SmithayError {
            interface,
            object,
            code,
        } = why;
        entry.log.log(
            Instant::now(),
            |more| warn!(%vm, more, "more clients were refused or ended"),
            || {
                error!(%vm, client = client.0, interface, object, code, "{LET_THROUGH}");
            },
        );
    }
}
