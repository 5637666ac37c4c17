// SPDX-License-Identifier: MIT OR Apache-2.0
//! The real programs, from a client's connection to a picture: through `heraldry-host`, virtio_wl and the gate.
#![cfg(test)]

mod control;
mod escape;
mod faults;
mod hand_over;
mod hands;
mod isolation;
mod leaks;
mod notify;
mod programs;
mod supervise;
mod truth;
