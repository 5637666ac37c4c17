// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors that are neither memory nor a pipe: each would be a capability that nobody granted.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{Mode, OFlags, open};

use super::attack::Expect::Host;
use super::attack::{Attack, Expect, Row, row};
use super::transport::pool_of;

// The host says ten such things of a VM in ten seconds: no more than ten rows may wait for it to say so.
const OTHER: Expect = Host("neither memory nor a pipe");

pub(crate) const ROWS: &[Row] = &[
    row(
        "V02a socket",
        |a| pool_of(a, UnixStream::pair().unwrap().0.into()),
        OTHER,
    ),
    row(
        "V02b eventfd",
        |a| pool_of(a, eventfd(1, EventfdFlags::CLOEXEC).unwrap()),
        OTHER,
    ),
    row("V02c device", |a| path(a, "/dev/zero", OFlags::RDWR), OTHER),
    row("V02d folder", |a| path(a, "/", OFlags::DIRECTORY), OTHER),
    row(
        "V02e path without access",
        |a| path(a, "/etc/hostname", OFlags::PATH),
        OTHER,
    ),
    row("V02f epoll", epoll, OTHER),
    row("V02g process", |a| pool_of(a, own_process()), OTHER),
];

fn path(a: &mut Attack<'_>, path: &str, flags: OFlags) {
    pool_of(a, open(path, flags | OFlags::CLOEXEC, Mode::empty()).unwrap());
}

fn epoll(a: &mut Attack<'_>) {
    pool_of(
        a,
        rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC).unwrap(),
    );
}

fn own_process() -> OwnedFd {
    let own = rustix::process::getpid();
    rustix::process::pidfd_open(own, rustix::process::PidfdFlags::empty()).unwrap()
}
