// SPDX-License-Identifier: MIT OR Apache-2.0
//! Plugging outputs in and out.
//!
//! QMP has no command for it, but QEMU tells the guest when the window that shows an output changes its size, and a
//! VNC client may do that: a new size plugs the output in, the size 0x0 plugs it out.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::PATIENCE;

const VERSION: &[u8; 12] = b"RFB 003.008\n";
/// No authentication.
const SECURITY_NONE: u8 = 1;
const SHARED: u8 = 1;
const SET_DESKTOP_SIZE: u8 = 251;

/// One output of the GPU, as somebody who looks at it.
#[derive(Debug)]
pub struct Head(UnixStream);

impl Head {
    /// Connects to QEMU's server for the output.
    ///
    /// # Panics
    ///
    /// QEMU does not speak the protocol as expected.
    #[must_use]
    pub fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("QEMU's server for the output");
        greet(stream).expect("the greeting of the remote frame buffer protocol")
    }

    /// Plugs the output in with a size; 0x0 plugs it out.
    ///
    /// # Panics
    ///
    /// QEMU is gone.
    pub fn resize(&mut self, (width, height): (u16, u16)) {
        let mut message = vec![SET_DESKTOP_SIZE, 0];
        message.extend(width.to_be_bytes());
        message.extend(height.to_be_bytes());
        // One screen of the whole size: number, x, y, width, height, flags.
        message.extend([1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        message.extend(width.to_be_bytes());
        message.extend(height.to_be_bytes());
        message.extend([0; 4]);
        self.0.write_all(&message).expect("QEMU reads");
    }
}

fn greet(mut stream: UnixStream) -> std::io::Result<Head> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut version = [0; 12];
    stream.read_exact(&mut version)?;
    stream.write_all(VERSION)?;
    let mut count = [0; 1];
    stream.read_exact(&mut count)?;
    let mut kinds = vec![0; count[0].into()];
    stream.read_exact(&mut kinds)?;
    if !kinds.contains(&SECURITY_NONE) {
        return Err(std::io::Error::other("the server wants a password"));
    }
    stream.write_all(&[SECURITY_NONE])?;
    let mut result = [0; 4];
    stream.read_exact(&mut result)?;
    stream.write_all(&[SHARED])?;
    // Size, pixel format, length of the name.
    let mut init = [0; 24];
    stream.read_exact(&mut init)?;
    let length = u32::from_be_bytes([init[20], init[21], init[22], init[23]]);
    let mut name = vec![0; usize::try_from(length).unwrap_or(0)];
    stream.read_exact(&mut name)?;
    Ok(Head(stream))
}
