//! The admin listener: what operators ask and set. It is never public.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::build_info::BUILD;
use crate::config::parse_duration;
use crate::error::{ApiError, Code};
use crate::extract::accept::accepted;
use crate::metrics::{Exposition, Format};
use crate::telemetry::{FilterError, LogFilter};

/// How long a log filter may be asked for.
const LONGEST: &str = "24h";

/// How long a filter may be, in bytes.
const LONGEST_FILTER: usize = 1_000;

/// The most that a body may hold, in bytes: a filter and the blanks around it.
const MAX_BODY: usize = 1_024;

/// How long a body may take to come: callers that do not finish must not keep the scrapes out.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// What the routes need.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Shows the metrics, where they are kept.
    pub metrics: Option<Exposition>,
    /// Says what is logged.
    pub log_filter: LogFilter,
}

/// The routes.
///
/// - `GET /metrics`: Prometheus text format 0.0.4, or OpenMetrics 1.0 with exemplars where `Accept` asks for it
/// - `GET /version`: build facts
/// - `GET /log-filter`: what is logged; `PUT /log-filter?for=15m` with a filter as the body: from now on, or for a while
pub fn routes(admin: Admin) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/version", get(async || axum::Json(BUILD)))
        .route("/log-filter", get(log_filter).put(set_log_filter))
        .fallback(async || not_found("There is /metrics, /version and /log-filter."))
        .with_state(admin)
}

fn not_found(detail: &'static str) -> ApiError {
    ApiError::new(Code::NotFound).with_detail(detail)
}

async fn metrics(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let Some(metrics) = admin.metrics else {
        return not_found("Metrics are switched off (COUNTER_METRICS).").into_response();
    };
    let format = Format::accepted(accepted(&headers));
    // Rendering takes milliseconds of a core: not on a worker that serves callers.
    match tokio::task::spawn_blocking(move || metrics.render(format)).await {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type()), (header::VARY, "accept")], text).into_response(),
        Err(error) => ApiError::new(Code::Internal).with_cause(error).into_response(),
    }
}

async fn log_filter(State(admin): State<Admin>) -> String {
    admin.log_filter.current() + "\n"
}

async fn set_log_filter(State(admin): State<Admin>, RawQuery(query): RawQuery, body: Body) -> Response {
    let time = match query.as_deref().map(duration).transpose() {
        Ok(time) => time,
        Err(wrong) => return ApiError::new(Code::MalformedQuery).with_detail(wrong).into_response(),
    };
    let Ok(body) = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY)).await else {
        return ApiError::new(Code::RequestTimeout).into_response();
    };
    let text = body.ok().and_then(|body| String::from_utf8(body.into()).ok());
    let Some(filter) = text.as_deref().map(str::trim).filter(|filter| filter.len() <= LONGEST_FILTER) else {
        return ApiError::new(Code::MalformedBody).with_detail("The body: a filter is a short text.").into_response();
    };
    match admin.log_filter.set(filter, time) {
        Ok(()) => (StatusCode::OK, format!("{filter}\n")).into_response(),
        Err(error @ FilterError::Malformed(_)) => {
            ApiError::new(Code::MalformedBody).with_detail(format!("The body: {error}.")).into_response()
        }
        Err(error @ FilterError::Gone) => ApiError::new(Code::Internal).with_cause(error).into_response(),
    }
}

/// `for=15m`.
fn duration(query: &str) -> Result<Duration, String> {
    let text = query.strip_prefix("for=").ok_or("the only parameter is for, a duration such as 15m")?;
    parse_duration(text, "1s", LONGEST).map_err(|right| format!("for {right}"))
}
