//! Health that tells the truth: `/health` asks the database, `/readyz` says whether to send traffic, `/livez` touches
//! nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::Mutex;
use tracing::Instrument as _;
use utoipa::ToSchema;

use crate::domain::Timestamp;
use crate::metrics;
use crate::state::AppState;
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

/// Whether something works, in the words of the draft health+json.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It works.
    Pass,
    /// It does not.
    Fail,
}

impl Status {
    fn of(up: bool) -> Self {
        if up { Self::Pass } else { Self::Fail }
    }

    fn code(self) -> StatusCode {
        match self {
            Self::Pass => StatusCode::OK,
            Self::Fail => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// The answer of `/health`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "status": "pass", "version": env!("CARGO_PKG_VERSION"),
    "checks": {"store:mongodb": {"status": "pass", "latency_ms": 1.2, "time": "2026-11-25T09:00:00.000Z"}}
}))]
pub struct HealthReport {
    /// Does everything work?
    status: Status,
    /// The version of the service.
    version: &'static str,
    /// Each check by its name: `store:` and the kind of database.
    checks: std::collections::BTreeMap<String, Check>,
}

/// One check.
#[derive(Debug, Serialize, ToSchema)]
pub struct Check {
    /// Does it work?
    status: Status,
    /// How long the question took, in milliseconds.
    latency_ms: f64,
    /// When it was asked.
    #[schema(value_type = String, format = DateTime)]
    time: Timestamp,
}

/// The answer of `/readyz` and `/livez`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"status": "pass"}))]
pub struct Verdict {
    status: Status,
}

fn answer(status: Status, content_type: &'static str, body: impl Serialize) -> Response {
    let mut response = (status.code(), Json(body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Does the service work, its database included?
///
/// Asks the database: one question at a time, its answer told again for at most one second, given up after two.
#[utoipa::path(
    get, path = "/health", tag = "health", operation_id = "health", security(()),
    responses(
        (status = 200, description = "Everything works.", body = HealthReport, content_type = "application/health+json"),
        (status = 503, description = "The database does not answer.", body = HealthReport, content_type = "application/health+json"),
    )
)]
pub async fn health(State(state): State<AppState>) -> Response {
    let probe = state.health.probe().await;
    let status = Status::of(probe.up);
    let check = Check { status, latency_ms: (probe.latency.as_secs_f64() * 1e6).round() / 1e3, time: probe.time };
    let report = HealthReport {
        status,
        version: env!("CARGO_PKG_VERSION"),
        checks: [(format!("store:{}", state.store.system()), check)].into(),
    };
    answer(status, "application/health+json", report)
}

/// Should this replica get traffic?
///
/// The database answers, and the service is not stopping.
#[utoipa::path(
    get, path = "/readyz", tag = "health", operation_id = "ready", security(()),
    responses(
        (status = 200, description = "Send traffic.", body = Verdict),
        (status = 503, description = "Send none.", body = Verdict),
    )
)]
pub async fn ready(State(state): State<AppState>) -> Response {
    let ready = !state.lifecycle.is_stopping() && state.health.probe().await.up;
    let status = Status::of(ready);
    answer(status, "application/json", Verdict { status })
}

/// Does the process run?
///
/// Touches nothing: a database that is down is no reason to restart the service.
#[utoipa::path(
    get, path = "/livez", tag = "health", operation_id = "live", security(()),
    responses((status = 200, description = "It runs.", body = Verdict))
)]
pub async fn live() -> Response {
    answer(Status::Pass, "application/json", Verdict { status: Status::Pass })
}
