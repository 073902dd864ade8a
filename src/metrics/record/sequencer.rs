//! Calls on counters: those that wait, the batches that serve them, and how they end.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use super::Held;
use crate::metrics::catalogue::*;
use crate::metrics::labels::*;

/// How many calls wait for their commit to begin.
pub fn queue_depth(calls: u32) {
    gauge!(QUEUE_DEPTH.name).set(f64::from(calls));
}

/// Calls that may wait for the store.
pub fn queue_limit(calls: u32) {
    gauge!(QUEUE_LIMIT.name).set(calls);
}

/// How long a call waited for its commit to begin.
pub fn queue_wait(duration: Duration) {
    histogram!(QUEUE_WAIT.name).record(duration.as_secs_f64());
}

/// Counts a call that was refused for too many were waiting.
pub fn overloaded(reason: Overload) {
    counter!(OVERLOAD.name, "reason" => reason.as_str()).increment(1);
}

/// Batches under way.
pub fn commit_in_flight() -> Held {
    Held::new(gauge!(COMMITS_IN_FLIGHT.name))
}

/// Records a batch that begins: how many calls it serves.
pub fn commit_started(calls: u32) {
    histogram!(BATCH_SIZE.name).record(f64::from(calls));
}

/// Records a batch that ended.
pub fn commit_ended(outcome: CommitOutcome, duration: Duration) {
    histogram!(COMMIT_DURATION.name, "outcome" => outcome.as_str()).record(duration.as_secs_f64());
}

/// Counts numbers that were handed out.
pub fn numbers_issued(count: u64) {
    counter!(NUMBERS_ISSUED.name).increment(count);
}

/// Counts an answer that was given again.
pub fn idempotent_replay() {
    counter!(REPLAYS.name).increment(1);
}

/// Counts a call on a counter that was answered `outcome_unknown`.
pub fn unknown_outcome(system: &'static str) {
    counter!(UNKNOWN_OUTCOMES.name, "db_system_name" => system).increment(1);
}
