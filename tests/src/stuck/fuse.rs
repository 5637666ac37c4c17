// SPDX-License-Identifier: MIT OR Apache-2.0
//! A file system with one file, whose server never answers what is read of it, and never lets it be closed.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::process::{ChildStdout, Command, Stdio};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

const FOLDER: &str = "/mnt";
const FILE: &str = "/mnt/f";

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

/// A negated ENOSYS.
const NO_SUCH_CALL: i32 = -38;

/// The argument with which the program is the server.
pub const SERVE: &str = "serve";

/// The file system, which is served as long as the server lives.
#[derive(Debug)]
pub(super) struct Folder {
    /// The server says here when somebody reads, and waits.
    readers: ChildStdout,
}

impl Folder {
    /// Its file.
    pub(super) fn open(&self) -> Result<OwnedFd, String> {
        open(FILE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| format!("the file: {error}"))
    }

    /// Waits until somebody reads the file, and waits.
    pub(super) fn wait_for_a_reader(&mut self) -> Result<(), String> {
        self.readers
            .read_exact(&mut [0])
            .map_err(|error| error.to_string())
    }
}

/// Mounts it in a mount namespace of our own, and starts a server. The server is another process: one that has both the
/// device and a file could not even be killed.
pub(super) fn start() -> Result<Folder, String> {
    let device = open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| format!("{}/dev/fuse: {error}", super::CANNOT))?;
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0\0", device.as_raw_fd());
    let options =
        std::ffi::CStr::from_bytes_with_nul(options.as_bytes()).map_err(|error| error.to_string())?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("stuck", FOLDER, "fuse", flags, options)
        .map_err(|error| format!("{}a file system of one's own: {error}", super::CANNOT))?;
    let mut server = Command::new("/proc/self/exe")
        .arg(SERVE)
        .stdin(Stdio::from(device))
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("a server: {error}"))?;
    let readers = server.stdout.take().ok_or("the server says nothing")?;
    Ok(Folder { readers })
}

/// Serves the device that is standard input.
pub fn serve() {
    let device = std::io::stdin();
    let mut request = vec![0; 1 << 18];
    loop {
        match rustix::io::read(&device, &mut request[..]) {
            Ok(count) => answer(device.as_fd(), request.get(..count).unwrap_or_default()),
            Err(Errno::INTR | Errno::NOENT) => {}
            Err(_) => return,
        }
    }
}

fn answer(device: BorrowedFd<'_>, request: &[u8]) {
    let field = |at: usize| {
        let bytes = request.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_ne_bytes(bytes))
    };
    let (Some(kind), Some(unique)) = (field(4), request.get(8..16)) else {
        return;
    };
    let mut body = Vec::new();
    let mut error = 0;
    match kind {
        FORGET | BATCH_FORGET | INTERRUPT | FLUSH => return,
        READ => {
            let mut out = std::io::stdout();
            // Whoever wants to know listens.
            let _unheard = out.write_all(b"r").and_then(|()| out.flush());
            return;
        }
        INIT => {
            // Version 7.31, and the least of everything.
            put(&mut body, &[7, 31, 0, 0]);
            put(&mut body, &[0, 4096]);
            body.resize(64, 0);
        }
        LOOKUP => {
            // The inode 2 for ever.
            put(&mut body, &[2, 0, 0, 0, 3600, 0, 3600, 0, 0, 0]);
            attributes(&mut body, 2);
        }
        GETATTR => {
            put(&mut body, &[3600, 0, 0, 0]);
            let folder = request.get(16..24) == Some(&1_u64.to_ne_bytes());
            attributes(&mut body, if folder { 1 } else { 2 });
        }
        OPEN => body.resize(16, 0),
        RELEASE => {}
        _ => error = NO_SUCH_CALL,
    }
    let mut reply = Vec::new();
    let length = u32::try_from(16 + body.len()).unwrap_or(16);
    reply.extend_from_slice(&length.to_ne_bytes());
    reply.extend_from_slice(&error.to_ne_bytes());
    reply.extend_from_slice(unique);
    reply.extend_from_slice(&body);
    // The kernel may have given up on it.
    let _gone = rustix::io::write(device, &reply);
}

fn put(body: &mut Vec<u8>, words: &[u32]) {
    body.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
}

/// Of the folder, inode 1, or of the file of 8 KiB, inode 2.
fn attributes(body: &mut Vec<u8>, inode: u32) {
    let (mode, links) = if inode == 1 {
        (0o040_755, 2)
    } else {
        (0o100_644, 1)
    };
    // inode, size, blocks: 64 bits each
    put(body, &[inode, 0, 8192, 0, 16, 0]);
    // times, and their nanoseconds
    put(body, &[0; 9]);
    // mode, links, user, group, device, block size, flags
    put(body, &[mode, links, 0, 0, 0, 4096, 0]);
}
