// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device's state for one boot of the guest: its contexts and blobs, and what they may use.
//!
//! A refused request is answered with an error, of which a guest's kernel takes note and its program hears nothing. A program
//! that breaks a rule of cross-domain loses its connection, and hears of that: its ring says that the other side is gone.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use heraldry_rate::LogBudget;
use heraldry_wire::virtwl::PAGE_SIZE;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use tracing::{debug, warn};

use crate::account::Account;
use crate::blobs::{BlobError, Blobs, HostMemory};
use crate::command::{self, Command, Commands, Outgoing};
use crate::context::{Context, Event};
use crate::control::{Answer, Header, Malformed, Request, Source};
use crate::items::{ItemError, Raw};
use crate::limits::CONTEXTS;
use crate::pipe::Writer;
use crate::watch::{Poller, unpack};

/// Events of a context that are told in one go.
const AT_ONCE: usize = 16;

/// What the device asks of the VMM.
pub trait Vmm {
    /// Lets the guest see memory in its window.
    ///
    /// # Errors
    ///
    /// The VMM can't, or is gone.
    fn map(&self, at: u64, len: u64, file: BorrowedFd<'_>) -> io::Result<()>;
    /// Takes it out of the guest's sight.
    ///
    /// # Errors
    ///
    /// The VMM can't, or is gone.
    fn unmap(&self, at: u64, len: u64) -> io::Result<()>;
    /// Writes to the guest's memory.
    ///
    /// # Errors
    ///
    /// The guest has no memory there.
    fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()>;
}

/// A request that is still to be given back to the guest: its place in the ring, and how many bytes were written for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// The first descriptor of its chain.
    pub head: u16,
    /// Bytes of its answer.
    pub written: u32,
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is none.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// There is no such context.
    #[error("there is no context {0}")]
    NoContext(u32),
    /// There is one already.
    #[error("there is context {0} already")]
    Exists(u32),
    /// As many as there may be.
    #[error("the VM has {CONTEXTS} contexts open")]
    TooMany,
    /// More memory than there may be.
    #[error("the VM has {0} bytes of memory made for it, and asks for {1} more")]
    Memory(u64, u64),
    /// What is the matter with a blob.
    #[error("a blob: {0}")]
    Blob(String),
    /// What is the matter with an item of a context.
    #[error("an item: {0}")]
    Item(String),
    /// A command of cross-domain that is none.
    #[error(transparent)]
    Command(#[from] command::Malformed),
    /// A context may connect once.
    #[error("a context connects twice")]
    Twice,
    /// A context must connect first.
    #[error("a context is not connected")]
    NotConnected,
    /// A blob that the context may not use.
    #[error("a context uses blob {0}, which it does not have")]
    Foreign(u32),
    /// Nobody reads what the guest sends.
    #[error("the host does not read what the guest sends")]
    Slow,
    /// The ring is too short or isn't there.
    #[error("a context has no ring")]
    Ring,
    /// The system failed.
    #[error("the system failed")]
    System(#[from] Errno),
}

impl From<BlobError> for Refused {
    fn from(error: BlobError) -> Self {
        Self::Blob(error.to_string())
    }
}

impl From<ItemError> for Refused {
    fn from(error: ItemError) -> Self {
        Self::Item(error.to_string())
    }
}

/// Contexts and blobs.
#[derive(Debug)]
pub struct Gpu {
    host: PathBuf,
    poller: Arc<Poller>,
    pipe: Writer,
    contexts: BTreeMap<u32, Context>,
    blobs: Blobs,
    account: Account,
    log: LogBudget,
}

impl Gpu {
    /// Nothing yet, but for what the guest before has left on its `account`. Contexts will connect to the socket at `host`.
    ///
    /// # Errors
    ///
    /// The system has no descriptors left.
    pub fn new(host: PathBuf, account: Account) -> Result<Self, Errno> {
        Ok(Self {
            host,
            poller: Poller::new()?,
            pipe: Writer::new()?,
            contexts: BTreeMap::new(),
            blobs: Blobs::default(),
            account,
            log: LogBudget::new(),
        })
    }

    /// The guest has ended. Returns what is still mapped for it: where, and how long it is; and what others may still have of its
    /// memory.
    pub fn end(mut self) -> (impl Iterator<Item = (u64, u64)> + use<>, Account) {
        (self.blobs.end(), self.account)
    }

    /// How many contexts there are.
    #[must_use]
    pub fn contexts(&self) -> usize {
        self.contexts.len()
    }

    /// Serves a request. Requests that may be given back at once are added to `done` when others caused it.
    pub fn serve(&mut self, header: &Header, bytes: &[u8], vmm: &dyn Vmm, done: &mut Vec<Ticket>) -> Answer {
        let served = Request::decode(header, bytes)
            .map_err(Refused::from)
            .and_then(|request| self.request(header, request, vmm, done));
        served.unwrap_or_else(|error| {
            if let Some(dropped) = self.log.allow() {
                warn!(context = header.context, %error, dropped, "the guest's request is refused");
            }
            Answer::Refused
        })
    }

    fn request(
        &mut self,
        header: &Header,
        request: Request<'_>,
        vmm: &dyn Vmm,
        done: &mut Vec<Ticket>,
    ) -> Result<Answer, Refused> {
        let id = header.context;
        match request {
            Request::DisplayInfo => return Ok(Answer::DisplayInfo),
            Request::CapsetInfo => return Ok(Answer::CapsetInfo),
            Request::Capset => return Ok(Answer::Capset),
            Request::ContextCreate => {
                if self.contexts.contains_key(&id) {
                    return Err(Refused::Exists(id));
                }
                if self.contexts.len() >= CONTEXTS {
                    return Err(Refused::TooMany);
                }
                let context = Context::new(id, Arc::clone(&self.poller));
                self.contexts.insert(id, context);
            }
            Request::ContextDestroy => {
                let context = self.contexts.remove(&id).ok_or(Refused::NoContext(id))?;
                done.extend(context.give_up());
            }
            // What isn't there would be remembered in any number.
            Request::Attach(blob) => {
                let context = self.contexts.get_mut(&id).ok_or(Refused::NoContext(id))?;
                if !self.blobs.has(blob) {
                    return Err(BlobError::Unknown(blob).into());
                }
                context.attached.insert(blob);
            }
            Request::Detach(blob) => drop(self.context(id)?.attached.remove(&blob)),
            Request::BlobCreate {
                id: blob,
                source,
                size,
            } => self.create(id, blob, source, size)?,
            Request::Unref(blob) => {
                self.blobs.remove(blob, vmm)?;
                for context in self.contexts.values_mut() {
                    context.attached.remove(&blob);
                }
            }
            Request::Map(blob, at) => {
                self.blobs.map(blob, at, vmm)?;
                return Ok(Answer::Mapped);
            }
            Request::Unmap(blob) => self.blobs.unmap(blob, vmm)?,
            Request::Submit(commands) => {
                let result = self.submit(id, commands, vmm);
                let broken = result.is_err();
                if broken {
                    self.context(id)?.end();
                }
                self.progress(id, vmm, done);
                result?;
            }
        }
        Ok(Answer::Done)
    }

    fn context(&mut self, id: u32) -> Result<&mut Context, Refused> {
        self.contexts.get_mut(&id).ok_or(Refused::NoContext(id))
    }

    fn create(&mut self, context: u32, id: u32, source: Source, size: u64) -> Result<(), Refused> {
        self.blobs.check(id)?;
        let item = match source {
            Source::Guest(pieces) => return Ok(self.blobs.add_guest(id, pieces)?),
            Source::Host(item) => item,
        };
        let pages = size
            .checked_next_multiple_of(PAGE_SIZE)
            .ok_or(BlobError::Size(size))?;
        let memory = match self.context(context)?.items.take_memory(item)? {
            Raw::Memory(file, has) if pages <= has => HostMemory { file, size: pages },
            Raw::Image(has) if pages == has => {
                if !self.account.has_room(pages) {
                    return Err(Refused::Memory(self.account.used(), pages));
                }
                HostMemory {
                    file: self.account.make(pages)?,
                    size: pages,
                }
            }
            Raw::Memory(..) | Raw::Image(_) => return Err(BlobError::Size(size).into()),
        };
        Ok(self.blobs.add_host(id, memory)?)
    }

    fn submit(&mut self, id: u32, commands: &[u8], vmm: &dyn Vmm) -> Result<(), Refused> {
        for command in Commands::new(commands) {
            self.command(id, command?, vmm)?;
        }
        Ok(())
    }

    fn command(&mut self, id: u32, command: Command<'_>, vmm: &dyn Vmm) -> Result<(), Refused> {
        let context = self.contexts.get_mut(&id).ok_or(Refused::NoContext(id))?;
        match command {
            Command::Init { query, channel } => {
                if context.has_channel() {
                    return Err(Refused::Twice);
                }
                (context.query, context.ring) = (query, channel);
                let socket = connect_to(&self.host);
                if let Err(errno) = &socket
                    && let Some(dropped) = self.log.allow()
                {
                    warn!(%errno, dropped, "the host's socket takes nobody");
                }
                context.open(&self.poller, socket.ok());
                debug!(context = id, "connected");
            }
            Command::Image { stride, height } => {
                let size = stride.saturating_mul(height.into());
                let size = size.checked_next_multiple_of(PAGE_SIZE).unwrap_or(u64::MAX);
                let stride = u32::try_from(stride).unwrap_or(u32::MAX);
                // Who asks for too much learns it from the answer.
                let answer = if size == 0 || !self.account.has_room(size) {
                    command::image(0, 0, 0)
                } else {
                    command::image(stride, size, context.items.add_image(size)?)
                };
                write_ring(context, context.query, &self.blobs, vmm, &answer)?;
            }
            // What counts is the fence.
            Command::Poll => {}
            Command::Send { bytes, descriptors } => {
                if !context.has_channel() {
                    return Err(Refused::NotConnected);
                }
                let descriptors = outgoing(context, &self.blobs, &descriptors)?;
                if context.is_open() && !context.send_queue.add(bytes, descriptors) {
                    return Err(Refused::Slow);
                }
            }
            // The pipe may have been given up already.
            Command::Write { pipe, bytes, last } => {
                let _gone = context.items.write(pipe, bytes, last, &self.pipe);
            }
        }
        Ok(())
    }

    /// Gives a served request back: at once, or when what it waits for happens.
    pub fn settle(
        &mut self,
        header: &Header,
        answer: Answer,
        ticket: Ticket,
        vmm: &dyn Vmm,
        done: &mut Vec<Ticket>,
    ) {
        let context = self
            .contexts
            .get_mut(&header.context)
            .filter(|_| answer == Answer::Done);
        let held = match context {
            Some(context) if header.waits() => context.hold(ticket),
            Some(context) if header.is_fenced() => context.hold_back(ticket),
            _ => Err(ticket),
        };
        match held {
            Ok(()) => self.progress(header.context, vmm, done),
            Err(ticket) => done.push(ticket),
        }
    }

    /// Something has happened to what is waited for.
    pub fn ready(&mut self, vmm: &dyn Vmm, done: &mut Vec<Ticket>) {
        for key in self.poller.events() {
            let (id, item) = unpack(key);
            if let Some(context) = self.contexts.get_mut(&id)
                && item != 0
            {
                context.items.ready(item, &self.pipe);
            }
            self.progress(id, vmm, done);
        }
    }

    /// Moves what can be moved, and tells the guest what there is to tell.
    fn progress(&mut self, id: u32, vmm: &dyn Vmm, done: &mut Vec<Ticket>) {
        let Some(context) = self.contexts.get_mut(&id) else {
            return;
        };
        context.flush();
        for _ in 0..AT_ONCE {
            if !context.is_waiting() {
                break;
            }
            match context.event() {
                None => break,
                Some(Event::Never) => {}
                Some(Event::Message(message)) => {
                    if write_ring(context, context.ring, &self.blobs, vmm, &message).is_err() {
                        // What was for the ring is lost.
                        context.end();
                    }
                }
            }
            done.extend(context.release());
        }
        done.extend(context.let_go());
        context.wait();
    }
}

impl AsFd for Gpu {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

fn connect_to(host: &std::path::Path) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(host)?)?;
    Ok(socket)
}

/// Descriptors for a message.
fn outgoing(context: &mut Context, blobs: &Blobs, wanted: &[Outgoing]) -> Result<Vec<OwnedFd>, Refused> {
    let mut descriptors = Vec::with_capacity(wanted.len());
    for outgoing in wanted {
        descriptors.push(match *outgoing {
            Outgoing::Blob(id) => {
                let file = blobs.host(id).filter(|_| context.attached.contains(&id));
                let file = file.ok_or(Refused::Foreign(id))?;
                rustix::io::fcntl_dupfd_cloexec(file, 0)?
            }
            Outgoing::ReadPipe(id) => context.items.add_read_pipe(id)?,
        });
    }
    Ok(descriptors)
}

/// Writes an answer or a message to a blob in the guest, which the context must have.
fn write_ring(context: &Context, id: u32, blobs: &Blobs, vmm: &dyn Vmm, bytes: &[u8]) -> Result<(), Refused> {
    let pieces = blobs.guest(id).filter(|_| context.attached.contains(&id));
    let mut rest = bytes;
    for piece in pieces.ok_or(Refused::Ring)? {
        let len = usize::try_from(piece.len).unwrap_or(usize::MAX).min(rest.len());
        let (head, tail) = rest.split_at(len);
        vmm.write(piece.address, head)
            .map_err(|_not_there| Refused::Ring)?;
        rest = tail;
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(Refused::Ring)
    }
}

#[cfg(test)]
pub(crate) mod tests;
