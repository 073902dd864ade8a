//! The process itself: its panics, its late timers, and what of its logs and traces is lost.

use std::time::Duration;

use metrics::{counter, histogram};

use crate::metrics::catalogue::*;
use crate::metrics::labels::Signal;

/// Counts a panic, in a request or in a task.
pub fn panicked() {
    counter!(PANICS.name).increment(1);
}

/// Records how late a timer of the runtime fired.
pub fn event_loop_delay(duration: Duration) {
    histogram!(EVENT_LOOP_DELAY.name).record(duration.as_secs_f64());
}

/// How many log lines were dropped so far.
pub fn log_lines_dropped(total: u64) {
    counter!(LOG_LINES_DROPPED.name).absolute(total);
}

/// Counts warnings and errors of a flood that were left out of the log.
pub fn log_lines_suppressed(lines: u64) {
    counter!(LOG_LINES_SUPPRESSED.name).increment(lines);
}

impl Signal {
    pub(in crate::metrics) fn metrics(self) -> (&'static Metric, &'static Metric) {
        match self {
            Self::Spans => (&SPANS_PROCESSED, &SPANS_EXPORTED),
            Self::Logs => (&LOGS_PROCESSED, &LOGS_EXPORTED),
        }
    }

    /// Counts one that came: kept, or dropped for the queue was full.
    pub fn processed(self, dropped: bool) {
        let (processed, _) = self.metrics();
        counter!(processed.name, "error_type" => if dropped { "queue_full" } else { "" }).increment(1);
    }

    /// Counts those that were exported or lost.
    pub fn exported(self, count: u64, failed: bool) {
        let (_, exported) = self.metrics();
        counter!(exported.name, "error_type" => if failed { "export_failed" } else { "" }).increment(count);
    }
}
