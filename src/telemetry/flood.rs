//! A storm of the same warning is cut short: a log that nobody can read, and that costs more than what it warns of, helps
//! nobody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};

use crate::metrics;

/// Lines that one place in the code may write in a [`WINDOW`].
const LINES: u32 = 20;
const WINDOW: Duration = Duration::from_secs(1);

/// The target of each request's own line: there is one for every request, whatever its level.
pub const REQUESTS: &str = concat!(env!("CARGO_CRATE_NAME"), "::middleware::observe");

/// Lets pass what is no flood.
#[derive(Debug, Clone, Default)]
pub(super) struct FloodGate {
    places: Arc<Mutex<HashMap<Identifier, Place>>>,
}

/// A place in the code that writes warnings.
#[derive(Debug)]
struct Place {
    /// When its window began.
    since: Instant,
    /// Lines in this window.
    lines: u32,
    /// Lines left out that were not told of yet.
    suppressed: u64,
}

impl FloodGate {
    fn places(&self) -> MutexGuard<'_, HashMap<Identifier, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lets_pass(&self, metadata: &Metadata<'_>) -> bool {
        if *metadata.level() > Level::WARN || metadata.target() == REQUESTS {
            return true;
        }
        let now = Instant::now();
        let mut places = self.places();
        let place = places.entry(metadata.callsite()).or_insert_with(|| Place { since: now, lines: 0, suppressed: 0 });
        if now.duration_since(place.since) >= WINDOW {
            (place.since, place.lines) = (now, 0);
        }
        place.lines += 1;
        let passes = place.lines <= LINES;
        if !passes {
            place.suppressed += 1;
            drop(places);
            metrics::log_lines_suppressed(1);
        }
        passes
    }

    /// Says of which place how many lines were left out since it was last said.
    pub(super) fn report(&self) {
        let left_out: Vec<(&'static str, u64)> = self
            .places()
            .iter_mut()
            .map(|(place, state)| (place.0.metadata().name(), std::mem::take(&mut state.suppressed)))
            .filter(|(_, lines)| *lines > 0)
            .collect();
        for (place, lines) in left_out {
            tracing::warn!(place, lines, "the same warning came too often: these many more were left out");
        }
    }
}

impl<S: Subscriber> Filter<S> for FloodGate {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.lets_pass(event.metadata())
    }
}
