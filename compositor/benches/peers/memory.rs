// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a window takes of the compositor's memory: its private pages with a few windows and with many.

use std::path::Path;

use crate::client::{Window, connect};
use crate::subjects::{DIRECT, Subject, direct, private_memory, weston};

const SIZE: (i32, i32) = (600, 400);
const FEW: usize = 2;
const MANY: usize = 34;

pub(crate) fn run(bin: &Path) {
    let dir = tempfile::tempdir().unwrap();
    println!(
        "{:<34} {:>14} {:>14} {:>14}",
        "private memory, KiB", "2 windows", "34 windows", "per window"
    );
    for subject in [weston(dir.path()), direct(DIRECT, bin, dir.path())] {
        let (few, many) = measure(&subject);
        let each = many.saturating_sub(few) as f64 / (MANY - FEW) as f64;
        println!("{:<34} {few:>14} {many:>14} {each:>14.1}", subject.name);
    }
}

fn measure(subject: &Subject) -> (u64, u64) {
    let (mut client, mut queue) = connect(&subject.socket).unwrap();
    let memory = || {
        let pids = subject.children.iter().map(std::process::Child::id);
        pids.map(private_memory).sum()
    };
    let mut windows = Vec::new();
    let mut open = |count: usize| {
        while windows.len() < count {
            let mut window = Window::open(&mut client, &mut queue, SIZE);
            window.draw(&mut client, &mut queue, 0);
            while !client.frame_done {
                queue.blocking_dispatch(&mut client).unwrap();
            }
            windows.push(window);
        }
        queue.roundtrip(&mut client).unwrap();
    };
    open(FEW);
    let few = memory();
    open(MANY);
    (few, memory())
}
