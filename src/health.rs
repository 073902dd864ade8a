//! Whether the database works, asked of it: one question at a time, and its answer told again for a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tracing::Instrument as _;

use crate::domain::Timestamp;
use crate::metrics;
use crate::store::Store;

/// Deadline of one probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the result of a probe is told again. Together with the deadline this is how stale an answer can be.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// Asks the database whether it works: one probe at a time, however many ask.
pub struct Health(Arc<Prober>);

struct Prober {
    store: Arc<dyn Store>,
    last: Mutex<Option<Probe>>,
}

/// What one probe found.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// Did the database answer?
    pub up: bool,
    /// How long that took.
    pub latency: Duration,
    /// When it was.
    pub time: Timestamp,
    at: Instant,
}

impl Health {
    /// Probes this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(Arc::new(Prober { store, last: Mutex::new(None) }))
    }

    /// The result of the last probe, or of a new one where that is too old. A probe goes on when whoever asked goes away: the
    /// next one is told its result, and does not begin another.
    pub async fn probe(&self) -> Probe {
        let prober = self.0.clone();
        let probing = tokio::spawn(async move { prober.probe().await }.in_current_span());
        match probing.await {
            Ok(probe) => probe,
            Err(broken) => match broken.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is ending.
                Err(_) => Probe { up: false, latency: Duration::ZERO, time: Timestamp::now(), at: Instant::now() },
            },
        }
    }
}

impl Prober {
    async fn probe(&self) -> Probe {
        let mut last = self.last.lock().await;
        if let Some(probe) = last.filter(|probe| probe.at.elapsed() < FRESH_FOR) {
            return probe;
        }
        let started = Instant::now();
        let answer = tokio::time::timeout(PROBE_TIMEOUT, self.store.ping()).await;
        let probe = Probe {
            up: matches!(answer, Ok(Ok(()))),
            latency: started.elapsed(),
            time: Timestamp::now(),
            at: Instant::now(),
        };
        metrics::store_up(self.store.system(), probe.up);
        // Logged when it changes, not once a second.
        if last.is_none_or(|last| last.up != probe.up) {
            match answer {
                Ok(Ok(())) => tracing::info!(latency_s = probe.latency.as_secs_f64(), "the store answers"),
                Ok(Err(error)) => tracing::error!(%error, "the store does not answer"),
                Err(_) => {
                    let timeout_s = PROBE_TIMEOUT.as_secs_f64();
                    tracing::error!(timeout_s, "the store does not answer in time");
                }
            }
        }
        *last = Some(probe);
        probe
    }
}
