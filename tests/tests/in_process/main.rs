// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compositor with real clients in one thread: what clients are told, what is on the screen, who gets input.
#![cfg(test)]

mod answering;

mod clipboard;
mod configures;
mod drags;
mod drawing;
mod focus;
mod frames;
mod grants;
mod guard;
mod hiding;
mod idle;
mod memory;
mod pen;
mod pixels;
mod pressure;
mod quotas;
mod registry;
mod reload;
mod screens;
mod stacking;
mod touch;
mod unseen;
mod walk;
