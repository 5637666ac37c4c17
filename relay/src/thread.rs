// SPDX-License-Identifier: MIT OR Apache-2.0
//! One thread for each VM: its connections and its gate.
//!
//! The SEND ioctl waits for the device whatever the flags say, so it never runs on the main thread: a device that
//! stalls costs the VM it stalls for. A panic here is our bug and ends this VM's connections, nobody else's.
//!
//! All clients of the VM share the credit of a turn (see [`crate::quantum`]). Their connections are in an epoll of their own,
//! and are read whether anything is left of the turn or not: what is unread holds buffers of the device that every VM
//! needs (see [`crate::recv_queue`]).

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Instant;

use calloop::channel::Sender as MainSender;
use heraldry_gate::Budgets;
use heraldry_identity::VmName;
use heraldry_virtio::guest::Device;
use rustix::event::epoll::{self, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use tracing::{debug, error, info};

use crate::client::{Client, ClientEnd, Opening};
use crate::display_socket::HostLine;
use crate::events::VmEvent;
use crate::handle::{Command, GateLimits, NewClient, Relay};
use crate::quantum::{Allowance, Quantum};
use crate::services::Shared;
use crate::watch::{Key, Waker};

/// How a relay gets at its connections.
#[derive(Debug)]
pub struct Access {
    /// Where connections that the host announces are opened, and shared memory comes from.
    pub device: Option<Arc<Device>>,
    /// Where the host is told what its connections may send.
    pub host: Option<HostLine>,
}

/// The state of a VM's thread.
pub(crate) struct VmThread {
    vm: VmName,
    epoll: OwnedFd,
    /// Connections of clients, apart from everything else.
    links: OwnedFd,
    waker: Waker,
    quantum: Arc<Quantum>,
    allowance: Allowance,
    limits: GateLimits,
    commands: Receiver<Command>,
    main: MainSender<VmEvent>,
    access: Access,
    /// Whose turn it was when the credit was used up: next time others come first.
    last_served: u64,
    services: Shared,
    clients: BTreeMap<u64, Client>,
    /// The session's clock starts here.
    start: Instant,
}

impl VmThread {
    /// Starts the thread of a VM.
    pub(crate) fn start(
        vm: VmName,
        access: Access,
        main: MainSender<VmEvent>,
        limits: GateLimits,
    ) -> std::io::Result<Relay> {
        let (commands, inbox) = channel();
        let waker = Waker::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let quantum = Quantum::new(Budgets::new(&limits.session), limits.turn_bytes);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let links = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &waker, Key::Waker.pack(), EventFlags::IN)?;
        epoll::add(&epoll, &links, Key::Links.pack(), EventFlags::IN)?;
        let (own_waker, own_quantum) = (waker.clone(), Arc::clone(&quantum));
        let thread = std::thread::Builder::new()
            .name(format!("vm-{vm}"))
            .spawn(move || {
                let services = Shared::new(vm.clone(), access.device.clone(), limits.log_lines);
                let mut thread = Self {
                    services,
                    vm,
                    epoll,
                    links,
                    waker: own_waker,
                    allowance: Allowance::new(Arc::clone(&own_quantum)),
                    quantum: own_quantum,
                    limits,
                    commands: inbox,
                    main,
                    access,
                    last_served: 0,
                    clients: BTreeMap::new(),
                    start: Instant::now(),
                };
                thread.run();
            })?;
        Ok(Relay {
            commands,
            waker,
            quantum,
            thread,
        })
    }

    fn run(&mut self) {
        let mut events = Vec::with_capacity(64);
        loop {
            self.allowance.refresh();
            self.quantum
                .set_leaving(self.clients.values().any(Client::is_leaving));
            self.go_on();
            let spent = self.allowance.left() == 0;
            let leaving = self.clients.values().any(Client::is_leaving);
            // The turn may have ended between the look and the note.
            if (spent || leaving) && !self.allowance.wait() {
                continue;
            }
            events.clear();
            let rest = self.allowance.rest().map(|rest| Timespec {
                tv_sec: 0,
                tv_nsec: rest.subsec_nanos().into(),
            });
            let room = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, room, rest.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => {
                    error!(vm = %self.vm, %errno, "a relay cannot wait for events and ends");
                    return;
                }
            }
            self.allowance.refresh();
            for event in &events {
                let (flags, key) = (event.flags, Key::unpack(event.data));
                match key {
                    Key::Waker => {
                        self.waker.reset();
                        if self.commands() {
                            return;
                        }
                    }
                    Key::Links => self.links(),
                    Key::Link(id) => self.client(id, |client, allowance| client.link_ready(flags, allowance)),
                    Key::Stream(id) => {
                        self.client(id, |client, allowance| client.stream_ready(flags, allowance))
                    }
                }
            }
        }
    }

    /// Serves the connections that have something, one after the other; the kernel puts the served ones last.
    fn links(&mut self) {
        const NOW: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut events = Vec::with_capacity(16);
        let ready = epoll::wait(
            &self.links,
            rustix::buffer::spare_capacity(&mut events),
            Some(&NOW),
        );
        if let Err(errno) = ready {
            debug!(vm = %self.vm, %errno, "connections cannot be looked at");
        }
        for event in events {
            if let Key::Link(id) = Key::unpack(event.data) {
                self.client(id, |client, allowance| client.link_ready(event.flags, allowance));
            }
        }
    }

    /// Clients that had to stop in the last turn go on.
    fn go_on(&mut self) {
        let last = self.last_served;
        let mut waiting: Vec<u64> = self
            .clients
            .iter()
            .filter(|(_, client)| client.has_more(&self.allowance))
            .map(|(id, _)| *id)
            .collect();
        waiting.sort_unstable_by_key(|id| (*id <= last, *id));
        for id in waiting {
            if self.allowance.left() > 0 {
                self.last_served = id;
            }
            self.client(id, Client::advance);
        }
    }

    /// Takes what the main thread sent; `true` when it is time to go.
    fn commands(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Open(new)) => self.open(new),
                Ok(Command::Close(key)) => self.leave(key.0),
                Ok(Command::Credit) => self.clients.values_mut().for_each(Client::say_credit),
                Ok(Command::Limits(limits)) => {
                    self.limits = limits;
                    self.services.set_log_lines(limits.log_lines);
                }
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn open(&mut self, new: NewClient) {
        let NewClient { admission, endpoint } = new;
        let key = admission.key;
        let opened = Client::open(Opening {
            key,
            endpoint,
            device: self.access.device.as_deref(),
            host: self.access.host.clone(),
            limits: self.limits.session,
            unread: self.limits.unread,
            budgets: Arc::clone(&self.quantum.budgets),
            globals: admission.globals.clone(),
            services: self.services.clone(),
            start: self.start,
        });
        let (mut client, stream) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                debug!(vm = %self.vm, client = key.0, %error, "connection not opened");
                let _stopping = self.main.send(VmEvent::Failed(key));
                return;
            }
        };
        let watched = watch_client(&self.epoll, &self.links, &mut client);
        if let Err(errno) = watched {
            debug!(vm = %self.vm, client = key.0, %errno, "connection cannot be watched");
            let _stopping = self.main.send(VmEvent::Failed(key));
            return;
        }
        if self.main.send(VmEvent::Connected(admission, stream)).is_ok() {
            self.clients.insert(key.0, client);
        }
    }

    /// Lets a client do its work, and ends it where that fails.
    fn client(&mut self, id: u64, work: impl FnOnce(&mut Client, &mut Allowance) -> Result<(), ClientEnd>) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let done = work(client, &mut self.allowance);
        match done {
            Ok(()) => {
                if let Err(errno) = watch_client(&self.epoll, &self.links, client) {
                    error!(vm = %self.vm, client = id, %errno, "a connection cannot be watched any more");
                    self.clients.remove(&id);
                }
            }
            Err(end) => {
                end.log(&self.vm, id, &self.services);
                if matches!(end, ClientEnd::Violation(_)) {
                    self.quantum.violations.fetch_add(1, Ordering::Relaxed);
                    // Without a main thread there is nobody to pause the VM.
                    let _stopping = self.main.send(VmEvent::Violated(self.vm.clone()));
                }
                if end.is_of_the_client() {
                    self.leave(id);
                } else {
                    self.clients.remove(&id);
                }
            }
        }
    }

    /// A client is gone. What it had is destroyed in slices, then the compositor's end is closed.
    fn leave(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        if client.leave().is_err() || watch_client(&self.epoll, &self.links, client).is_err() {
            self.clients.remove(&id);
        }
    }
}

/// Brings epoll in line with what a client waits for.
fn watch_client(epoll: &OwnedFd, links: &OwnedFd, client: &mut Client) -> Result<(), Errno> {
    let key = client.key();
    let (receives, sends, stream) = (client.receives(), client.sends(), client.stream_interest());
    let mut watches = std::mem::take(&mut client.watches);
    let link = client.link_fd().map_or(Ok(()), |link| {
        watches.receive.set(links, link, Key::Link(key), receives)?;
        watches.send.set(epoll, link, Key::Link(key), sends)
    });
    let done = link.and_then(|()| {
        watches
            .stream
            .set(epoll, client.stream_fd(), Key::Stream(key), stream)
    });
    client.watches = watches;
    done
}

impl Drop for VmThread {
    fn drop(&mut self) {
        if std::thread::panicking() {
            error!(vm = %self.vm, clients = self.clients.len(), "a relay panicked; its VM's clients are disconnected");
        } else {
            info!(vm = %self.vm, "relay stopped");
        }
    }
}
