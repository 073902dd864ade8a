//! Exemplars: for each bucket of a latency histogram, the last sampled call that fell into it. They lead from a slow bucket to
//! its trace.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use metrics::Key;
use opentelemetry::trace::{SpanId, TraceId};

use super::catalogue::{Kind, Metric};
use crate::domain::Timestamp;

/// Whose observation it is: the ids of a span that is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanIds {
    /// The trace.
    pub trace_id: TraceId,
    /// The span in it.
    pub span_id: SpanId,
}

/// What an exemplar says.
#[derive(Debug, Clone, Copy)]
struct Exemplar {
    of: SpanIds,
    value: f64,
    time: Timestamp,
}

/// The exemplars of each series: one for each bucket, and for the one without a bound.
type Series = HashMap<Key, Vec<Option<Exemplar>>>;

static SERIES: LazyLock<Mutex<Series>> = LazyLock::new(Mutex::default);

/// Keeps this observation of a histogram's series as the exemplar of its bucket.
pub(super) fn keep(metric: &Metric, series: &Key, of: SpanIds, duration: Duration) {
    let Kind::Histogram(bounds) = metric.kind else { return };
    let value = duration.as_secs_f64();
    let bucket = bounds.partition_point(|bound| *bound < value);
    let mut all = SERIES.lock().unwrap_or_else(PoisonError::into_inner);
    let buckets = match all.get_mut(series) {
        Some(buckets) => buckets,
        None => all.entry(series.clone()).or_insert_with(|| vec![None; bounds.len() + 1]),
    };
    if let Some(exemplar) = buckets.get_mut(bucket) {
        *exemplar = Some(Exemplar { of, value, time: Timestamp::now() });
    }
}

/// Every exemplar as it stands behind a sample in OpenMetrics, by the series as it is written without `le`, and by its bucket.
pub(super) fn written() -> HashMap<String, Vec<Option<String>>> {
    let all = SERIES.lock().unwrap_or_else(PoisonError::into_inner);
    let write = |exemplar: &Exemplar| {
        let Exemplar { of: SpanIds { trace_id, span_id }, value, time } = exemplar;
        let (seconds, millis) = (time.seconds(), time.millis().rem_euclid(1000));
        format!(" # {{trace_id=\"{trace_id}\",span_id=\"{span_id}\"}} {value} {seconds}.{millis:03}")
    };
    all.iter()
        .map(|(key, buckets)| {
            let mut series = format!("{}_bucket{{", key.name());
            for label in key.labels() {
                let _ = write!(series, "{}=\"{}\",", label.key(), label.value());
            }
            (series, buckets.iter().map(|exemplar| exemplar.as_ref().map(write)).collect())
        })
        .collect()
}
