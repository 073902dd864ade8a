//! The functions that record what happens, one for each thing that can, in a file for each subject; and what they share.

mod auth;
mod http;
mod process;
mod sequencer;
mod store;

use std::time::Duration;

use metrics::{Gauge, Histogram, Key, KeyName, Label, Metadata, with_recorder};

use super::catalogue::Metric;
use super::exemplars::{self, SpanIds};

pub use auth::*;
pub use http::*;
pub use process::*;
pub use sequencer::*;
pub use store::*;

const METADATA: Metadata<'static> = Metadata::new(module_path!(), metrics::Level::INFO, Some(module_path!()));

/// A gauge that was raised by one and falls again when this is dropped.
pub struct Held(Gauge);

impl Held {
    fn new(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A series of a histogram. Its key is at hand for the exemplars, which the macros would not give.
fn series<const N: usize>(metric: &Metric, labels: [Label; N]) -> Key {
    Key::from_parts(KeyName::from_const_str(metric.name), labels.to_vec())
}

fn registered(series: &Key) -> Histogram {
    with_recorder(|recorder| recorder.register_histogram(series, &METADATA))
}

fn record(metric: &Metric, series: &Key, duration: Duration, of: Option<SpanIds>) {
    registered(series).record(duration.as_secs_f64());
    if let Some(of) = of {
        exemplars::keep(metric, series, of, duration);
    }
}
