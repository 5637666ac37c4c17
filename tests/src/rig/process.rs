// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program that a test has started: in a process group of its own, its output in a file, gone with the test.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::until;

/// A running program.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts a program; what it prints goes to a file in `dir`.
    #[must_use]
    pub fn start(name: &str, command: &mut Command, dir: &Path) -> Self {
        let log = dir.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log file"))
            .stderr(file)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self {
            name: name.to_owned(),
            child,
            log,
        }
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the program runs");
    }

    /// Kills it and its children at once.
    pub fn kill(&mut self) {
        // Already gone is as good as killed.
        let _gone = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _reaped = self.child.wait();
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    pub fn finish(&mut self) -> ExitStatus {
        let mut status = None;
        until("the end of a program", || {
            status = self.child.try_wait().expect("a child of ours");
            status.is_some()
        });
        status.expect("it has ended")
    }

    /// Waits for its end, at most so long; `None` if it goes on.
    pub fn finish_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = std::time::Instant::now() + limit;
        while std::time::Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(super::STEP);
        }
        None
    }
}

impl Drop for Program {
    #[expect(clippy::print_stderr, reason = "shown with the failure of a test")]
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or(&[]);
            eprintln!("---- {} said at last:\n{}", self.name, last.join("\n"));
        }
    }
}

/// What is shown of a log.
const LAST_LINES: usize = 200;

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// Resident memory that is no file's, in KiB.
    pub memory: u64,
}

impl Usage {
    /// Of a process and those that it has started.
    #[must_use]
    pub fn of_all(pid: u32) -> Self {
        children(pid)
            .into_iter()
            .map(Self::of)
            .fold(Self::of(pid), |sum, usage| sum + usage)
    }

    /// Of a process.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        let count = |what| {
            std::fs::read_dir(format!("/proc/{pid}/{what}"))
                .expect("the process runs")
                .count()
        };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
        let memory = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .and_then(|text| text.trim().trim_end_matches("kB").trim().parse().ok());
        Self {
            descriptors: count("fd"),
            threads: count("task"),
            memory: memory.expect("the kernel says how much memory"),
        }
    }
}

impl std::ops::Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            descriptors: self.descriptors + other.descriptors,
            threads: self.threads + other.threads,
            memory: self.memory + other.memory,
        }
    }
}

/// The processes that a process has started, while they run.
#[must_use]
pub fn children(parent: u32) -> Vec<u32> {
    let of_threads = std::fs::read_dir(format!("/proc/{parent}/task")).expect("the process runs");
    let of_thread = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("children")).ok()
    };
    of_threads
        .filter_map(of_thread)
        .flat_map(|line| {
            line.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<u32>>()
        })
        .collect()
}

/// How many descriptors of each kind a process has, for the report of a failure.
#[must_use]
pub fn descriptors(pid: u32) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    for link in entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()) {
        // "socket:[4711]" and "/memfd:name (deleted)" are of the kinds "socket:" and "/memfd:name (deleted)".
        let kind = link.to_string_lossy().replace(|c: char| c.is_ascii_digit(), "");
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// Paths of the Unix sockets that a process listens on; `None` for one without a path.
#[must_use]
pub fn listeners(pid: u32) -> Vec<Option<String>> {
    let own: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("the process runs")
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| {
            let link = link.to_str()?;
            Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    // Num RefCount Protocol Flags Type St Inode Path; the flag of a listener is __SO_ACCEPTCON.
    std::fs::read_to_string(format!("/proc/{pid}/net/unix"))
        .expect("the process runs")
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let flags = words.nth(3)?;
            let inode = words.nth(2)?;
            let path = words.next().map(str::to_owned);
            let listens = u32::from_str_radix(flags, 16).ok()? & (1 << 16) != 0;
            (listens && own.iter().any(|mine| mine == inode)).then_some(path)
        })
        .collect()
}

/// The child of a process that runs a program of this name.
#[must_use]
pub fn child_of(parent: u32, name: &str) -> Option<u32> {
    std::fs::read_dir("/proc")
        .expect("a /proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| {
            let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
                return false;
            };
            // pid (name) state ppid
            let Some((head, tail)) = stat.rsplit_once(") ") else {
                return false;
            };
            let of_name = head.split_once(" (").is_some_and(|(_, comm)| comm == name);
            let of_parent = tail.split_whitespace().nth(1) == Some(&parent.to_string());
            of_name && of_parent
        })
}
