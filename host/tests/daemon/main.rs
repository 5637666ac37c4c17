// SPDX-License-Identifier: MIT OR Apache-2.0
//! The daemon as a process, seen from its sockets.

#[cfg(test)]
mod channel;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod handover;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod life;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod parts;
#[cfg(test)]
mod pipes;
#[cfg(test)]
mod waiting;
