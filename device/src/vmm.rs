// SPDX-License-Identifier: MIT OR Apache-2.0
//! The VMM's side: rings, the guest's memory, and what becomes of them when the guest or the VMM ends.
//!
//! Two threads: one hears what the VMM says, the other serves the guest. While the second waits for the VMM to map something,
//! the first must be able to answer: the VMM asks for a new table of memory in the middle of it. So nothing that the first one
//! locks is held while the second one waits.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use tracing::{info, warn};
use vhost::vhost_user::message::{
    VhostUserMMap, VhostUserMMapFlags, VhostUserProtocolFeatures, VhostUserShMemConfig,
};
use vhost::vhost_user::{Backend, Listener, VhostUserFrontendReqHandler as _};
use vhost_user_backend::{VhostUserBackend, VhostUserDaemon, VringRwLock, VringT as _};
use virtio_queue::QueueT as _;
use vm_memory::{Bytes as _, GuestAddress, GuestAddressSpace as _, GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier};

use crate::account::Account;
use crate::control::{Answer, Header};
use crate::gpu::{Gpu, Ticket, Vmm};
use crate::limits::WINDOW;

type Memory = GuestMemoryAtomic<GuestMemoryMmap>;
type Daemon = VhostUserDaemon<Arc<Device>>;

/// The ring for requests, and the one for the pointer, which is of no use here.
const QUEUES: usize = 2;
/// Each waiting context holds a place.
const QUEUE_SIZE: usize = 1024;
/// Requests that are served before others get their turn.
const AT_ONCE: usize = 256;
/// The number of the window: 0 is another one, of a host that shares its memory otherwise.
const SHMID: u8 = 1;
/// What epoll calls us for: numbers up to QUEUES are taken.
const GUEST_EVENT: u16 = 3;
/// The longest request: all commands of a submission.
const MAX_REQUEST: usize = 64 * 1024;

/// virtio features: version 1, chains in tables of their own, and those of virtio-gpu: contexts at all ("virgl"), blobs,
/// contexts of other kinds. Bit 30 is vhost-user's own.
const FEATURES: u64 = 1 << 32 | 1 << 30 | 1 << 28 | 1 << 4 | 1 << 3 | 1;
/// Events, their acknowledgement, screens (6.1 doesn't start without one; nothing is ever connected to it), capability sets.
const CONFIG: [u32; 4] = [0, 0, 1, 1];

/// Why the device ends.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Its socket can't be had.
    #[error("cannot listen on {path}")]
    Listen {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system failed.
    #[error("the system failed")]
    System(#[from] Errno),
    /// vhost-user failed.
    #[error("vhost-user: {0}")]
    VhostUser(String),
}

/// A lock of a thread that panicked is as good as any: the process ends with a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One VMM's connection.
struct Device {
    host: PathBuf,
    memory: Mutex<Option<Memory>>,
    backend: Mutex<Option<Backend>>,
    /// The thread that serves the guest locks it, and that one alone.
    gpu: Mutex<Option<Gpu>>,
    /// The guest has ended, or a new one begins.
    reset: AtomicBool,
    /// The VMM takes requests. QEMU 11.1 doesn't between the end of one guest and the start of the next: it would crash.
    takes: AtomicBool,
    /// What guests that have ended left mapped: where, and how long it is. The serving thread alone locks it.
    left: Mutex<Vec<(u64, u64)>>,
    /// The memory that was made for them and that others may still have. As above.
    account: Mutex<Account>,
    /// What the serving thread waits for besides the rings: the contexts, and `wake`.
    events: OwnedFd,
    wake: OwnedFd,
}

/// What the contexts and blobs of a guest see of the VMM.
struct Surroundings<'a> {
    device: &'a Device,
    memory: &'a GuestMemoryMmap,
}

impl Vmm for Surroundings<'_> {
    fn map(&self, at: u64, len: u64, file: BorrowedFd<'_>) -> io::Result<()> {
        let request = VhostUserMMap {
            shmid: SHMID,
            shm_offset: at,
            len,
            flags: VhostUserMMapFlags::WRITABLE.bits(),
            ..VhostUserMMap::default()
        };
        self.device
            .backend()?
            .shmem_map(&request, &file.as_raw_fd())
            .map(drop)
    }

    fn unmap(&self, at: u64, len: u64) -> io::Result<()> {
        let request = VhostUserMMap {
            shmid: SHMID,
            shm_offset: at,
            len,
            ..VhostUserMMap::default()
        };
        self.device.backend()?.shmem_unmap(&request).map(drop)
    }

    fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        let written = self.memory.write_slice(bytes, GuestAddress(address));
        written.map_err(io::Error::other)
    }
}

impl Device {
    fn new(host: &Path) -> Result<Self, Errno> {
        let events = epoll::create(CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&events, &wake, EventData::new_u64(0), EventFlags::IN)?;
        Ok(Self {
            host: host.to_owned(),
            memory: Mutex::default(),
            backend: Mutex::default(),
            gpu: Mutex::default(),
            reset: AtomicBool::new(false),
            takes: AtomicBool::new(false),
            left: Mutex::default(),
            account: Mutex::default(),
            events,
            wake,
        })
    }

    fn backend(&self) -> io::Result<Backend> {
        if !self.takes.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        // A clone, so that nothing is locked while the VMM is waited for.
        lock(&self.backend)
            .clone()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Has the serving thread look around.
    fn wake(&self) {
        // If it doesn't fit, it is awake.
        let _full = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn end_guest(&self) {
        self.reset.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Gives requests back to the guest.
    fn give_back(ring: &VringRwLock, tickets: &[Ticket]) {
        for ticket in tickets {
            // A guest without memory for it isn't told.
            let _told = ring.add_used(ticket.head, ticket.written);
        }
        if !tickets.is_empty() {
            let _signalled = ring.signal_used_queue();
        }
    }

    /// Serves the requests in the ring.
    fn serve(&self, ring: &VringRwLock, gpu: &mut Gpu, memory: &GuestMemoryMmap) {
        let vmm = Surroundings { device: self, memory };
        for _ in 0..AT_ONCE {
            let Some(chain) = ring.get_mut().get_queue_mut().pop_descriptor_chain(memory) else {
                return;
            };
            let head = chain.head_index();
            let mut done = Vec::new();
            let request = read(chain.clone(), memory);
            let header = Header::decode(&request);
            let answer = header.as_ref().map_or(Answer::Refused, |header| {
                gpu.serve(header, &request, &vmm, &mut done)
            });
            let bytes = header
                .as_ref()
                .map(|header| answer.encode(header))
                .unwrap_or_default();
            let written = write(chain, memory, &bytes);
            let ticket = Ticket { head, written };
            match &header {
                Ok(header) => gpu.settle(header, answer, ticket, &vmm, &mut done),
                Err(_) => done.push(ticket),
            }
            Self::give_back(ring, &done);
        }
        // There may be more, of which the ring tells nothing again.
        self.wake();
    }

    fn handle(&self, event: u16, rings: &[VringRwLock]) -> Result<(), Errno> {
        let memory = lock(&self.memory).clone();
        let ([ring, pointer], Some(memory)) = (rings, memory) else {
            return Ok(());
        };
        let memory = memory.memory();
        let mut gpu = lock(&self.gpu);
        if self.reset.swap(false, Ordering::SeqCst)
            && let Some(old) = gpu.take()
        {
            info!(contexts = old.contexts(), "the guest has ended or starts anew");
            let (left, account) = old.end();
            lock(&self.left).extend(left);
            *lock(&self.account) = account;
        }
        if !self.takes.load(Ordering::SeqCst) {
            self.rest();
            return Ok(());
        }
        let gpu = match &mut *gpu {
            Some(gpu) => gpu,
            // Without a guest there is nothing to be told.
            None if event == GUEST_EVENT => {
                self.rest();
                return Ok(());
            }
            none => {
                let vmm = Surroundings {
                    device: self,
                    memory: &memory,
                };
                let left = std::mem::take(&mut *lock(&self.left));
                for (at, len) in left {
                    // A VMM that has taken it back by itself has nothing there.
                    let _unmapped = vmm.unmap(at, len);
                }
                let account = std::mem::take(&mut *lock(&self.account));
                let gpu = Gpu::new(self.host.clone(), account)?;
                epoll::add(&self.events, &gpu, EventData::new_u64(1), EventFlags::IN)?;
                none.insert(gpu)
            }
        };
        if usize::from(event) == 1 {
            for _ in 0..AT_ONCE {
                let chain = pointer.get_mut().get_queue_mut().pop_descriptor_chain(&*memory);
                let Some(head) = chain.map(|chain| chain.head_index()) else {
                    break;
                };
                Self::give_back(pointer, &[Ticket { head, written: 0 }]);
            }
            return Ok(());
        }
        if event == GUEST_EVENT {
            self.rest();
            let mut done = Vec::new();
            let vmm = Surroundings {
                device: self,
                memory: &memory,
            };
            gpu.ready(&vmm, &mut done);
            Self::give_back(ring, &done);
        }
        self.serve(ring, gpu, &memory);
        Ok(())
    }

    /// What woke this thread is known.
    fn rest(&self) {
        let _empty = rustix::io::read(&self.wake, &mut [0; 8]);
    }
}

type Chain<'a> = virtio_queue::DescriptorChain<&'a GuestMemoryMmap>;

/// The request in a chain; one that is too long or lies in no memory is empty.
fn read(chain: Chain<'_>, memory: &GuestMemoryMmap) -> Vec<u8> {
    use io::Read as _;
    let Ok(mut reader) = chain.reader(memory) else {
        return Vec::new();
    };
    let available = reader.available_bytes();
    let mut bytes = vec![0; available.min(MAX_REQUEST)];
    if available > MAX_REQUEST || reader.read_exact(&mut bytes).is_err() {
        bytes.clear();
    }
    bytes
}

/// Writes what there is room for in a chain, and says how much that was.
fn write(chain: Chain<'_>, memory: &GuestMemoryMmap, bytes: &[u8]) -> u32 {
    use io::Write as _;
    let Ok(mut writer) = chain.writer(memory) else {
        return 0;
    };
    let room = writer.available_bytes().min(bytes.len());
    let written = writer.write_all(bytes.get(..room).unwrap_or_default()).is_ok();
    if written {
        u32::try_from(room).unwrap_or(0)
    } else {
        0
    }
}

impl VhostUserBackend for Device {
    type Bitmap = ();
    type Vring = VringRwLock;

    fn num_queues(&self) -> usize {
        QUEUES
    }

    fn max_queue_size(&self) -> usize {
        QUEUE_SIZE
    }

    fn features(&self) -> u64 {
        FEATURES
    }

    fn acked_features(&self, _features: u64) {
        // A driver starts; what another one left behind is not its.
        self.end_guest();
        self.takes.store(true, Ordering::SeqCst);
    }

    fn reset_device(&self) {
        self.end_guest();
    }

    fn stop_vring(&self, _index: u32) -> io::Result<()> {
        self.takes.store(false, Ordering::SeqCst);
        self.end_guest();
        Ok(())
    }

    fn exit_event(&self, _thread: usize) -> Option<(EventConsumer, EventNotifier)> {
        new_event_consumer_and_notifier(EventFlag::NONBLOCK | EventFlag::CLOEXEC).ok()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        use VhostUserProtocolFeatures as Feature;
        // Not CONFIGURE_MEM_SLOTS: with it QEMU 11.1 keeps a list of what it has told us of memory, mappings too, and crashes when it
        // takes one back that went when the guest was reset; and it aborts at 512. Without it the table has eight regions: of what is
        // mapped beyond that we aren't told, and don't need to be. Rings and requests are in the guest's own memory.
        Feature::MQ
            | Feature::CONFIG
            | Feature::REPLY_ACK
            | Feature::BACKEND_REQ
            | Feature::BACKEND_SEND_FD
            | Feature::SHMEM
            | Feature::RESET_DEVICE
    }

    fn set_event_idx(&self, _enabled: bool) {}

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        let config: Vec<u8> = CONFIG.iter().flat_map(|word| word.to_le_bytes()).collect();
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut part = config.get(offset..).unwrap_or_default().to_vec();
        // The library has bounded the size.
        part.resize(usize::try_from(size).unwrap_or(0), 0);
        part
    }

    fn set_config(&self, _offset: u32, _bytes: &[u8]) -> io::Result<()> {
        // The guest acknowledges events, and there are none.
        Ok(())
    }

    fn update_memory(&self, memory: Memory) -> io::Result<()> {
        *lock(&self.memory) = Some(memory);
        Ok(())
    }

    fn set_backend_req_fd(&self, backend: Backend) {
        *lock(&self.backend) = Some(backend);
    }

    fn get_shmem_config(&self) -> io::Result<VhostUserShMemConfig> {
        Ok(VhostUserShMemConfig::new(1, &[0, WINDOW]))
    }

    fn handle_event(
        &self,
        event: u16,
        _set: EventSet,
        rings: &[VringRwLock],
        _thread: usize,
    ) -> io::Result<()> {
        // An error would end the thread and tell nobody.
        if let Err(errno) = self.handle(event, rings) {
            warn!(%errno, "the guest is not served");
        }
        Ok(())
    }
}

/// A socket for the VMM, at a path where there is none, or one that nobody listens on any more.
///
/// # Errors
///
/// It can't be bound.
pub fn listen(path: &Path) -> Result<UnixListener, DeviceError> {
    let listen = || {
        if std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        {
            std::fs::remove_file(path)?;
        }
        UnixListener::bind(path)
    };
    listen().map_err(|source| DeviceError::Listen {
        path: path.to_owned(),
        source,
    })
}

/// Serves one VMM after the other.
///
/// # Errors
///
/// See [`DeviceError`].
pub fn serve(listener: UnixListener, host: &Path) -> Result<(), DeviceError> {
    let mut listener = Listener::from(listener);
    let failed = |error: vhost_user_backend::Error| DeviceError::VhostUser(error.to_string());
    loop {
        let device = Arc::new(Device::new(host)?);
        let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
        let mut daemon: Daemon =
            VhostUserDaemon::new("vmm".to_owned(), Arc::clone(&device), memory).map_err(failed)?;
        let events = device.events.as_fd().as_raw_fd();
        for handler in daemon.get_epoll_handlers() {
            let registered = handler.register_listener(events, EventSet::IN, GUEST_EVENT.into());
            registered.map_err(|error| DeviceError::VhostUser(error.to_string()))?;
        }
        daemon.start(&mut listener).map_err(failed)?;
        info!("a VMM is connected");
        match daemon.wait() {
            Ok(()) => info!("the VMM is gone"),
            Err(error) => info!(%error, "the VMM is gone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use virtio_queue::desc::{RawDescriptor, split::Descriptor};
    use virtio_queue::mock::MockSplitQueue;

    use super::*;

    const NEXT: u16 = 1;
    const WRITE: u16 = 2;

    /// What is read of a chain of these descriptors, and how much of an answer of 32 bytes fits into it.
    fn chain(descriptors: &[(u64, u32, u16)]) -> (Vec<u8>, u32) {
        let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 0x10_0000)]).unwrap();
        memory.write_slice(&[7; 16], GuestAddress(0x8_0000)).unwrap();
        let queue = MockSplitQueue::new(&memory, 16);
        let last = descriptors.len() - 1;
        let raw: Vec<_> = descriptors
            .iter()
            .enumerate()
            .map(|(index, (address, len, flags))| {
                let next = u16::try_from(index + 1).unwrap();
                // The last may lead back to the first.
                let (flags, next) = if index < last {
                    (flags | NEXT, next)
                } else {
                    (*flags, 0)
                };
                RawDescriptor::from(Descriptor::new(*address, *len, flags, next))
            })
            .collect();
        queue.build_multiple_desc_chains(&raw).unwrap();
        let mut ring: virtio_queue::Queue = queue.create_queue().unwrap();
        let chain = ring.pop_descriptor_chain(&memory).unwrap();
        (read(chain.clone(), &memory), write(chain, &memory, &[1; 32]))
    }

    #[test]
    fn requests_are_bounded_and_lie_in_the_guest_s_memory() {
        let good = (0x8_0000, 16, 0);
        let most = u32::try_from(MAX_REQUEST).unwrap();
        assert_eq!(chain(&[good, (0x9_0000, 64, WRITE)]), (vec![7; 16], 32));
        assert_eq!(chain(&[good, (0x9_0000, 8, WRITE)]), (vec![7; 16], 8));
        assert_eq!(chain(&[good]), (vec![7; 16], 0));
        assert_eq!(chain(&[(0x8_0000, most, 0)]).0.len(), MAX_REQUEST);
        for bad in [
            (0x8_0000, most + 1, 0),
            (0x10_0000, 16, 0),
            (u64::MAX, 16, 0),
            (0xf_fff8, 16, 0),
        ] {
            assert_eq!(chain(&[bad, (0x9_0000, 64, WRITE)]), (vec![], 32), "{bad:?}");
        }
        // Beyond the end of memory nothing is written.
        assert_eq!(chain(&[good, (0xf_fff8, 64, WRITE)]), (vec![7; 16], 0));
        // A chain that leads back to its beginning ends.
        let (bytes, _) = chain(&[good, (0x8_0000, 16, NEXT)]);
        assert!(bytes.len() <= 16 * 16, "{}", bytes.len());
    }
}
