// SPDX-License-Identifier: MIT OR Apache-2.0
//! Records what a real program says to a compositor, as a seed of the target `gate_bytes`:
//!
//!     record SEED PROGRAM [ARGS]
//!
//! It stands between the program and the compositor of WAYLAND_DISPLAY, which should be Heraldry's, so that the program
//! sees no globals that the gate does not know. Names of globals become their places in the target's list.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a tool for developers: what goes wrong ends it"
)]

use std::collections::HashSet;
use std::io::{IoSlice, IoSliceMut, Result};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use heraldry_fuzz_targets::wayland::{GLOBALS, header};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// One message a turn, one descriptor at hand, pieces of seven bytes.
const SETTINGS: [u8; 3] = [0, 1, 7];
/// What begins like the others is not worth more.
const MOST: usize = 24 << 10;

fn main() -> Result<()> {
    let mut args = std::env::args_os().skip(1);
    let (Some(seed), Some(program)) = (args.next(), args.next()) else {
        eprintln!("usage: record SEED PROGRAM [ARGS]");
        return Ok(());
    };
    let runtime = PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR").expect("XDG_RUNTIME_DIR"));
    let display = std::env::var_os("WAYLAND_DISPLAY").expect("WAYLAND_DISPLAY");
    let folder = runtime.join(format!("record-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let listener = UnixListener::bind(folder.join("wayland-0"))?;
    let mut child = Command::new(program)
        .args(args)
        .env("WAYLAND_DISPLAY", folder.join("wayland-0"))
        .spawn()?;
    let (client, _) = listener.accept()?;
    let server = UnixStream::connect(runtime.join(display))?;
    let said = between(&client, &server)?;
    drop((client, server));
    let _ended = child.wait()?;
    std::fs::remove_dir_all(&folder)?;
    save(Path::new(&seed), said)
}

/// Passes everything on until one side closes; returns what the client said.
fn between(client: &UnixStream, server: &UnixStream) -> Result<Vec<u8>> {
    let mut said = Vec::new();
    loop {
        let mut fds = [
            PollFd::new(client, PollFlags::IN),
            PollFd::new(server, PollFlags::IN),
        ];
        poll(&mut fds, None)?;
        let (from_client, from_server) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
        if from_client {
            match pass(client, server)? {
                Some(bytes) => said.extend_from_slice(&bytes),
                None => return Ok(said),
            }
        }
        if from_server && pass(server, client)?.is_none() {
            return Ok(said);
        }
    }
}

fn pass(from: &UnixStream, to: &UnixStream) -> Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(28))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(
        from,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?
    .bytes;
    bytes.truncate(got);
    if got == 0 {
        return Ok(None);
    }
    let mut fds: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(28))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
    }
    let sent = sendmsg(to, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
    assert_eq!(sent, got, "the other side is slow");
    Ok(Some(bytes))
}

/// Writes the seed: whole messages, with the target's names of globals.
fn save(seed: &Path, mut said: Vec<u8>) -> Result<()> {
    let mut registries = HashSet::new();
    let mut at = 0;
    while let Some((object, opcode, len)) =
        header(&said[at..]).filter(|(_, _, len)| at + len <= said.len().min(MOST))
    {
        let message = &mut said[at..at + len];
        if (object, opcode) == (1, 1) {
            registries.insert(message[8..12].to_vec());
        } else if opcode == 0 && registries.contains(&object.to_le_bytes()[..]) {
            let name = |interface: &str| message[16..].starts_with(&[interface.as_bytes(), &[0]].concat());
            let place = GLOBALS
                .iter()
                .position(|interface| name(interface().name))
                .expect("a global of the list");
            let place = u32::try_from(place + 1).expect("a short list");
            message[8..12].copy_from_slice(&place.to_le_bytes());
        }
        at += len;
    }
    said.truncate(at);
    std::fs::write(seed, [&SETTINGS[..], &said].concat())
}
