// SPDX-License-Identifier: MIT OR Apache-2.0
//! The virtio_wl device and its guest driver as state machines without I/O.
//!
//! * [`Machine`] is the host side: the table of vfds, what may be done with each, the buffers to the guest.
//! * [`Driver`] is the guest side as far as a front end needs it that has no guest kernel: ids, queues of unread messages,
//!   the joining of messages in RECV.
//!
//! A front end executes commands of a guest on the machine, carries out the effects that come back, and reports what the
//! host's sockets do. The machine is generic over the handle that stands for a host descriptor, so that tests can count
//! handles and front ends can choose their own. The rules are those of crosvm wl.rs and the virtio_wl driver, except for
//! faults of theirs that would let one peer harm another:
//!
//! * a message and its descriptors are one unit: descriptors never end up with another connection's bytes
//! * a descriptor that cannot be imported ends its connection, and the guest sees the end; nothing is dropped silently
//! * host sockets are written without blocking; what they do not take waits in a bounded queue per vfd, and the answer to a
//!   SEND beyond the bound waits with it
//! * a broken host socket is an end of the stream, with HUP
//! * messages that wait for a buffer go out as soon as the guest returns one
//! * what is queued for a vfd that the guest closes is taken back

mod driver;
mod machine;
mod out_queue;

#[cfg(test)]
mod tests;

pub use driver::{Closed, Driver, RecvOutcome, Taken};
pub use machine::Machine;
pub use out_queue::{OutMessage, Outgoing};

use heraldry_wire::virtwl::MAX_MEMORY;

use crate::uapi::Fault;

/// First id that the device gives to a vfd (bit 30 set, bit 31 clear, as the driver demands).
pub const HOST_ID_FIRST: u32 = 0x4000_0000;
/// One past the last.
pub const HOST_ID_END: u32 = 0x8000_0000;

/// The id of a vfd, as it travels.
pub type VfdId = u32;

/// Names a command until its answer. The front end chooses it.
pub type Ticket = u64;

/// Bounds of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Buffers for messages to the guest, shared by all vfds (the queue size of crosvm wl.rs).
    pub in_buffers: usize,
    /// Most data in one message to the guest: a page less the header and 28 ids (crosvm wl.rs).
    pub in_data: usize,
    /// Bytes that wait for one slow host socket before the answer to SEND waits too.
    pub out_bytes: usize,
    /// Descriptors that wait for one slow host socket.
    pub out_fds: usize,
    /// Bytes that wait for all slow host sockets together; beyond it the answers to further SENDs wait.
    pub out_total_bytes: usize,
    /// Descriptors that wait for all of them.
    pub out_total_fds: usize,
    /// SENDs without an answer; a guest that takes the answers as they come has fewer, whatever its queue holds.
    pub out_unanswered: usize,
    /// vfds announced by the host that may live at one time. No connection has more of them than are still free, so that
    /// one which takes all it can get leaves some to the next.
    pub host_vfds: usize,
    /// Largest memory; the driver's size field has 32 bits.
    pub memory: u64,
    /// All memory that the guest has made.
    pub memory_total: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_buffers: 256,
            in_data: 3968,
            out_bytes: 1 << 20,
            out_fds: 1024,
            out_total_bytes: 64 << 20,
            out_total_fds: 8 * 1024,
            out_unanswered: 1024,
            host_vfds: 16 * 1024,
            memory: MAX_MEMORY,
            memory_total: 8 << 30,
        }
    }
}

/// Which end of a pipe the guest has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PipeEnd {
    /// The guest reads.
    Read,
    /// The guest writes.
    Write,
}

/// A command of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Connect to a host socket. The empty name is the unnamed one.
    NewContext {
        /// The guest's id.
        id: VfdId,
        /// The name, cut at its first NUL.
        name: Vec<u8>,
    },
    /// Make memory.
    NewAlloc {
        /// The guest's id.
        id: VfdId,
        /// Bytes, rounded up to pages by the driver.
        size: u64,
    },
    /// Make a pipe.
    NewPipe {
        /// The guest's id.
        id: VfdId,
        /// The guest's end.
        end: PipeEnd,
    },
    /// Make a GPU buffer: not supported, and answered so that sommelier falls back to memory.
    NewDmabuf,
    /// Send data and vfds.
    Send {
        /// Where.
        id: VfdId,
        /// vfds that go along.
        vfds: Vec<VfdId>,
        /// The data.
        data: Vec<u8>,
    },
    /// Give up a vfd.
    Close {
        /// Which.
        id: VfdId,
    },
    /// Synchronise a GPU buffer: no vfd of ours is one.
    DmabufSync {
        /// Which.
        id: VfdId,
    },
}

/// What became of an effect that makes a handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made<H> {
    /// A connected socket, or memory.
    One(H),
    /// The guest's end and the far end of a pipe.
    Pipe {
        /// The guest's.
        near: H,
        /// The one to send.
        far: H,
    },
    /// It failed.
    Failed(Fault),
}

/// A descriptor that came from the host, classified by the front end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Import<H> {
    /// Memory of a size that was looked up once, at import.
    Memory {
        /// The memory.
        handle: H,
        /// Its size in bytes.
        size: u64,
    },
    /// An end of a byte pipe.
    Pipe {
        /// The end.
        handle: H,
        /// Which end it is.
        end: PipeEnd,
    },
    /// Something that the device does not carry.
    Refused,
}

/// What kind of vfd is announced to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VfdKind {
    /// A context.
    Context,
    /// Memory of a size.
    Memory {
        /// Bytes.
        size: u64,
    },
    /// A pipe.
    Pipe {
        /// The guest's end.
        end: PipeEnd,
    },
}

/// A message to the guest; each takes one buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InMessage {
    /// A vfd made by the host. The Recv that carries it follows.
    New {
        /// Its id.
        id: VfdId,
        /// What it is.
        kind: VfdKind,
    },
    /// Data, and vfds announced before.
    Recv {
        /// The vfd that received.
        id: VfdId,
        /// The vfds that came along.
        vfds: Vec<VfdId>,
        /// The data.
        data: Vec<u8>,
    },
    /// Nothing more will come.
    Hup {
        /// On which vfd.
        id: VfdId,
    },
}

/// The device's answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// Done.
    Ok,
    /// A vfd was made.
    New {
        /// Its id.
        id: VfdId,
        /// What it is.
        kind: VfdKind,
    },
    /// Refused.
    Fault(Fault),
}

/// What the front end has to do, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect<H> {
    /// Connect to the socket of that name and report with [`Machine::made`].
    Connect {
        /// For this vfd.
        id: VfdId,
        /// The name.
        name: Vec<u8>,
    },
    /// Make memory and report with [`Machine::made`].
    MakeMemory {
        /// For this vfd.
        id: VfdId,
        /// Bytes.
        size: u64,
    },
    /// Make a pipe and report with [`Machine::made`].
    MakePipe {
        /// For this vfd.
        id: VfdId,
        /// The guest's end.
        end: PipeEnd,
    },
    /// Answer a command.
    Answer {
        /// Which.
        ticket: Ticket,
        /// How.
        response: Response,
    },
    /// Put a message into one buffer of the guest.
    Deliver(InMessage),
    /// Write what [`Machine::outgoing`] gives, until it gives nothing or the socket takes nothing.
    Flush {
        /// To this vfd's handle.
        id: VfdId,
    },
    /// Stop or resume reading host descriptors: the guest has, or had, no buffer left.
    Reading(bool),
    /// The handle left the table: stop polling it. `rest` was accepted and not written yet; write it without waiting.
    Release {
        /// The vfd that had it.
        id: VfdId,
        /// The handle.
        handle: H,
        /// What is left to write.
        rest: Vec<OutMessage<H>>,
    },
}
