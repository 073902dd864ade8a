//! Requests, and the connections that they come through.

use std::time::Duration;

use metrics::{Key, Label, counter, gauge, histogram};

use super::{Held, record, registered, series};
use crate::metrics::catalogue::*;
use crate::metrics::exemplars::SpanIds;
use crate::metrics::labels::ConnectionEnd;

/// One request that ended.
#[derive(Debug, Clone, Copy)]
pub struct HttpRequest<'a> {
    /// Its method, or `_OTHER`.
    pub method: &'static str,
    /// Its route's template, or `unmatched`.
    pub route: &'a str,
    /// The answer's status.
    pub status: u16,
    /// The problem's code, or empty.
    pub code: &'static str,
}

/// Records a request that ended, as an exemplar too where its span is sampled. A problem is counted by its code; the label
/// `error_type` has it where something other than the request is wrong, as the conventions say: 5xx, and calls that were
/// given up.
pub fn http_request(request: HttpRequest<'_>, duration: Duration, of: Option<SpanIds>) {
    let HttpRequest { method, route, status, code } = request;
    let error_type = if status >= 499 { code } else { "" };
    record(&HTTP_DURATION, &http_series(method, route, status, error_type), duration, of);
    if status != 499 && !code.is_empty() {
        counter!(PROBLEMS.name, "code" => code).increment(1);
    }
}

fn http_series(method: &'static str, route: &str, status: u16, error_type: &'static str) -> Key {
    series(
        &HTTP_DURATION,
        [
            Label::from_static_parts("http_request_method", method),
            Label::new("http_route", route.to_owned()),
            Label::new("http_response_status_code", status.to_string()),
            Label::from_static_parts("error_type", error_type),
            Label::from_static_parts("url_scheme", "http"),
        ],
    )
}

/// Registers a route's answers of one status at zero.
pub fn route_at_zero(method: &'static str, route: &str, status: u16, error_type: &'static str) {
    drop(registered(&http_series(method, route, status, error_type)));
}

/// Records the declared size of a request's body.
pub fn http_request_body(route: &str, bytes: u32) {
    histogram!(HTTP_BODY.name, "http_route" => route.to_owned()).record(f64::from(bytes));
}

/// Requests under way. The guard counts one down when it is dropped, however the request ends.
pub fn http_active(method: &'static str) -> Held {
    Held::new(gauge!(HTTP_ACTIVE.name, "http_request_method" => method))
}

/// Open connections of a listener, counted down when the guard is dropped.
pub fn http_connection(listener: &'static str) -> Held {
    Held::new(gauge!(HTTP_CONNECTIONS.name, "listener" => listener))
}

/// Connections that a listener may have.
pub fn http_connections_limit(listener: &'static str, connections: u32) {
    gauge!(HTTP_CONNECTIONS_LIMIT.name, "listener" => listener).set(connections);
}

/// Counts a connection that the server ended.
pub fn connection_ended(reason: ConnectionEnd) {
    counter!(HTTP_CONNECTIONS_ENDED.name, "reason" => reason.as_str()).increment(1);
}

/// Counts a request that was answered 429.
pub fn rate_limited(route: &str) {
    counter!(RATE_LIMITED.name, "http_route" => route.to_owned()).increment(1);
}
