//! Health that tells the truth: `/health` asks the database, `/readyz` says whether to send traffic, `/livez` touches
//! nothing.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::Timestamp;
use crate::state::AppState;

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
