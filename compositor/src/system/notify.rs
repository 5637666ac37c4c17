// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tells the service manager that the compositor runs: systemd by its socket, s6 by a descriptor.

use std::io::Write as _;
use std::time::Duration;

use calloop::LoopHandle;
use calloop::timer::{TimeoutAction, Timer};
use sd_notify::NotifyState;
use tracing::warn;

use crate::state::State;

/// Screens and sockets are open. With a watchdog of systemd's, tells it from now on that the loop turns.
pub fn ready(handle: &LoopHandle<'static, State>, ready_fd: Option<u32>) {
    if let Some(fd) = ready_fd
        && let Err(error) = newline(fd)
    {
        warn!(fd, %error, "--ready-fd: nobody was told that the compositor runs");
    }
    // Without NOTIFY_SOCKET this does nothing.
    if let Err(error) = sd_notify::notify(&[NotifyState::Ready]) {
        warn!(%error, "the service manager was not told that the compositor runs");
    }
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    let pause = (limit / 2).max(Duration::from_millis(10));
    let armed = handle.insert_source(Timer::immediate(), move |_, (), _: &mut State| {
        let _gone = sd_notify::notify(&[NotifyState::Watchdog]);
        TimeoutAction::ToDuration(pause)
    });
    if let Err(error) = armed {
        warn!(%error, "the service manager's watchdog will end the compositor");
    }
}

/// The compositor ends in order.
pub fn stopping() {
    let _gone = sd_notify::notify(&[NotifyState::Stopping]);
}

/// s6 waits for a newline. The path names the descriptor that was inherited, without taking it over.
fn newline(fd: u32) -> std::io::Result<()> {
    std::fs::File::options()
        .write(true)
        .open(format!("/proc/self/fd/{fd}"))?
        .write_all(b"\n")
}
