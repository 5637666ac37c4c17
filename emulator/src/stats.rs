// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counters, as a JSON file for tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

/// What happened. Names of counters are ours, so that they need no escaping.
#[derive(Debug, Default)]
pub(super) struct Stats {
    path: Option<PathBuf>,
    /// ioctls by kind.
    pub(super) ioctls: BTreeMap<&'static str, u64>,
    /// SENDs that failed, by errno name.
    pub(super) refused_sends: BTreeMap<String, u64>,
    /// NEWs that failed, by errno name.
    pub(super) refused_news: BTreeMap<String, u64>,
    /// vfds that were closed with unread messages; on the device the descriptors in them leak.
    pub(super) dropped_unread: u64,
    /// vfds now.
    pub(super) live_vfds: usize,
    /// Most vfds at one time.
    pub(super) most_vfds: usize,
    /// System calls that were looked at.
    pub(super) notifications: u64,
    changed: bool,
}

impl Stats {
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            changed: true,
            ..Self::default()
        }
    }

    pub(super) fn ioctl(&mut self, kind: &'static str) {
        *self.ioctls.entry(kind).or_default() += 1;
    }

    pub(super) fn refused_send(&mut self, reason: String) {
        *self.refused_sends.entry(reason).or_default() += 1;
        self.changed = true;
    }

    pub(super) fn refused_new(&mut self, reason: String) {
        *self.refused_news.entry(reason).or_default() += 1;
        self.changed = true;
    }

    pub(super) fn live(&mut self, count: usize) {
        self.live_vfds = count;
        self.most_vfds = self.most_vfds.max(count);
    }

    /// Writes the file if a counter of refusals changed since the last time, or `always`.
    pub(super) fn write(&mut self, always: bool) {
        if !self.changed && !always {
            return;
        }
        self.changed = false;
        let Some(path) = &self.path else { return };
        // A reader never sees half a file.
        let temporary = path.with_extension("new");
        if let Err(error) = fs::write(&temporary, self.json()).and_then(|()| fs::rename(&temporary, path)) {
            tracing::warn!(%error, "the file of counters could not be written");
        }
    }

    fn json(&self) -> String {
        let total = |map: &BTreeMap<String, u64>| map.values().sum::<u64>();
        let ioctls = object(self.ioctls.iter());
        let sends = object(self.refused_sends.iter());
        let news = object(self.refused_news.iter());
        format!(
            "{{\"ioctls\":{ioctls},\"refused_sends\":{},\"refused_sends_by\":{sends},\"refused_news\":{},\
             \"refused_news_by\":{news},\"dropped_unread\":{},\"live_vfds\":{},\"most_vfds\":{},\
             \"notifications\":{}}}\n",
            total(&self.refused_sends),
            total(&self.refused_news),
            self.dropped_unread,
            self.live_vfds,
            self.most_vfds,
            self.notifications,
        )
    }
}

fn object<K: std::fmt::Display>(entries: impl Iterator<Item = (K, impl std::fmt::Display)>) -> String {
    let mut out = String::from("{");
    for (key, value) in entries {
        let comma = if out.len() > 1 { "," } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(out, "{comma}\"{key}\":{value}");
    }
    out.push('}');
    out
}
