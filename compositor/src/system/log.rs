// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the log shows: our own lines, which know whose fault they are and keep to a rate, and those of libraries, which know
//! neither. A client can have a library complain with each request, so each of their complaints has a rate here. So have ours
//! about drawing: what fails in one frame fails in the next.

use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;

use heraldry_rate::LogBudget;
use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;

/// Lines a second of each place in a library.
const LINES: u32 = 5;

/// Our own crates.
const OURS: &str = "heraldry";
/// What speaks once a frame.
const DRAWING: [&str; 2] = ["heraldry_compositor::render", "heraldry_compositor::backend"];

/// Lets everything that passes `filter` through to standard error, and of libraries so much a second.
pub fn init(filter: Targets) {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .map_event_format(|format| Rated::new(format.with_target(false)));
    tracing_subscriber::registry().with(lines).with(filter).init();
}

/// A format that leaves lines out.
struct Rated<F> {
    format: F,
    places: Mutex<HashMap<Identifier, LogBudget>>,
}

impl<F> Rated<F> {
    fn new(format: F) -> Self {
        Self {
            format,
            places: Mutex::new(HashMap::new()),
        }
    }

    /// Whether a line is written, and how many like it were not before.
    fn allow(&self, event: &Event<'_>) -> Option<u64> {
        let metadata = event.metadata();
        // Who asks for more than warnings wants to see all of it.
        let target = metadata.target();
        let drawing = DRAWING.iter().any(|module| target.starts_with(module));
        if (target.starts_with(OURS) && !drawing) || *metadata.level() > Level::INFO {
            return Some(0);
        }
        // Counters are right whatever happened to another thread.
        let mut places = self
            .places
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        places
            .entry(metadata.callsite())
            .or_insert_with(|| LogBudget::per_second(LINES))
            .allow()
    }
}

impl<S, N, F> FormatEvent<S, N> for Rated<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(dropped) = self.allow(event) else {
            // An empty text is written by nobody.
            return Ok(());
        };
        if dropped > 0 {
            let target = event.metadata().target();
            writeln!(
                writer,
                "{dropped} more lines of {target} like the next were left out"
            )?;
        }
        self.format.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;
    use std::time::Instant;

    use tracing::{debug, info, warn};
    use tracing_subscriber::fmt::format::Format;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written of what `say` says.
    fn written(say: impl FnOnce()) -> Vec<String> {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .map_event_format(|format: Format| Rated::new(format.with_target(false)));
        let subscriber = tracing_subscriber::registry()
            .with(layer)
            .with(Targets::new().with_default(Level::DEBUG));
        tracing::subscriber::with_default(subscriber, say);
        let text = lines.0.lock().unwrap().clone();
        String::from_utf8(text)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn a_library_that_complains_without_end_fills_no_log() {
        let complain = |number: u32| warn!(target: "smithay::backend::renderer", number, "bad stride");
        let start = Instant::now();
        let lines = written(|| {
            for number in 0..100_000 {
                complain(number);
            }
            // Another complaint is heard all the same.
            warn!(target: "wayland_server", "something else");
        });
        let seconds = usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
        assert!(lines.len() <= seconds * 6 + 1, "{} lines", lines.len());
        assert!(lines.first().unwrap().contains("number=0"));
        assert!(lines.last().unwrap().contains("something else"));
    }

    #[test]
    fn what_was_left_out_is_counted() {
        let lines = written(|| {
            let complain = |number: u32| info!(target: "smithay::wayland", number, "again");
            for number in 0..1000 {
                complain(number);
            }
            std::thread::sleep(std::time::Duration::from_millis(1100));
            complain(1000);
        });
        let at = lines.len() - 2;
        assert!(
            lines[at].ends_with("more lines of smithay::wayland like the next were left out"),
            "{lines:?}"
        );
        let count: usize = lines[at].split(' ').next().unwrap().parse().unwrap();
        // What was written, and what was left out, is all.
        let written = lines.iter().filter(|line| line.contains("number=")).count();
        let counted = lines.iter().filter(|line| line.contains("left out"));
        let counted: usize = counted
            .map(|line| line.split(' ').next().unwrap().parse::<usize>().unwrap())
            .sum();
        assert!(count > 0 && written + counted == 1001, "{lines:?}");
    }

    #[test]
    fn what_fails_in_each_frame_is_not_said_for_each() {
        let lines = written(|| {
            for number in 0..100 {
                warn!(target: "heraldry_compositor::render::scene", number, "cannot upload");
            }
        });
        // A second may end meanwhile.
        assert!((5..=11).contains(&lines.len()), "{} lines", lines.len());
    }

    #[test]
    fn our_own_lines_and_what_was_asked_for_are_all_there() {
        let lines = written(|| {
            for number in 0..100 {
                warn!(target: "heraldry_compositor::vms", number, "ours");
                debug!(target: "smithay::desktop", number, "asked for");
            }
        });
        assert_eq!(lines.len(), 200);
    }
}
