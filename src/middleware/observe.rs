//! One span, one observation and one log line for each request, however it ends: answered, refused, in a panic, or because
//! the client hung up.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::Body as _;
use opentelemetry_http::HeaderExtractor;
use tracing::{Instrument, Span, field, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

use crate::domain::{CounterName, ProviderName, UserId};
use crate::error::Reported;
use crate::extract::Route;
use crate::extract::client_address::ClientAddress;
use crate::metrics::{self, HttpRequest};
use crate::state::AppState;
use crate::telemetry::REQUESTS;
use crate::trace;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Error type of a 503 that is no problem: what a health check says.
pub const UNHEALTHY: &str = "unhealthy";

/// Status and error type of a request whose client went away before the answer: what nginx calls 499.
const CLIENT_CLOSED: (u16, &str) = (499, "client_closed_request");

/// The address of the peer: put into the request's extensions by the server.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// Where `authenticate` notes who calls, for the log line.
#[derive(Debug, Clone, Default)]
pub struct Caller(Arc<OnceLock<UserId>>);

impl Caller {
    /// Notes the user.
    pub fn set(&self, user: UserId) {
        // It is set once, by the one middleware that knows.
        let _ = self.0.set(user);
    }
}

/// The middleware.
pub async fn observe(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = method_label(request.method());
    let route = Route::of(request.extensions());
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0);
    let client = ClientAddress::of(peer, request.headers(), &state.trusted_proxies);
    let request_id = request_id(request.headers());
    let caller = Caller::default();
    request.extensions_mut().insert(client);
    request.extensions_mut().insert(caller.clone());

    let span = server_span(&request, method, route.template(), client);
    let mut record = Record {
        route,
        method,
        request_id: request_id.clone(),
        client,
        caller,
        status: CLIENT_CLOSED.0,
        error_type: CLIENT_CLOSED.1,
        cause: None,
        bytes: 0,
        started,
        span: span.clone(),
        _active: metrics::http_active(method),
    };
    if let Some(length) = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok()) {
        metrics::http_request_body(record.route.as_str(), length);
    }

    let mut response = next.run(request).instrument(span).await;
    record.answered(&response);
    response.headers_mut().insert(REQUEST_ID, request_id);
    response
}

/// What is told of a request when it ends. Dropped without an answer, it tells that the client went away.
struct Record {
    route: Route,
    method: &'static str,
    request_id: HeaderValue,
    client: ClientAddress,
    caller: Caller,
    status: u16,
    error_type: &'static str,
    cause: Option<String>,
    bytes: u64,
    started: Instant,
    span: Span,
    _active: metrics::Held,
}

impl Record {
    fn answered(&mut self, response: &Response) {
        self.status = response.status().as_u16();
        self.bytes = response.body().size_hint().exact().unwrap_or(0);
        let reported = response.extensions().get::<Reported>();
        self.cause = reported.and_then(|reported| reported.cause.clone());
        self.error_type = match reported {
            Some(reported) => reported.code.as_str(),
            None if self.status >= 500 => UNHEALTHY,
            None => "",
        };
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        // A method that the route does not have, or of no route at all, is any method: a caller's fancy must not make new series.
        let method = if self.status == 405 || self.route.template().is_none() { "_OTHER" } else { self.method };
        let route = self.route.as_str();
        // An integer to whoever reads the span: of smaller types the text would be recorded.
        self.span.record("http.response.status_code", i64::from(self.status));
        if !self.error_type.is_empty() {
            self.span.record("error.type", self.error_type);
        }
        if self.status >= 500 {
            // 4xx leaves a server span's status unset: it is the client's fault (semantic conventions for HTTP spans).
            self.span.record("otel.status_code", "ERROR");
        }
        let user_id = self.caller.0.get().map(field::display);
        let _entered = self.span.enter();
        let request = HttpRequest { method, route, status: self.status, code: self.error_type };
        metrics::http_request(request, duration, trace::sampled_ids());
        macro_rules! tell {
            ($level:ident) => {
                tracing::$level!(
                    target: REQUESTS,
                    method = self.method,
                    route,
                    status = self.status,
                    duration_s = duration.as_secs_f64(),
                    request_id = self.request_id.to_str().unwrap_or_default(),
                    user_id,
                    bytes = self.bytes,
                    error_code = Some(self.error_type).filter(|code| !code.is_empty()),
                    cause = self.cause,
                    client_address = %self.client.0,
                    "{} {route} {}", self.method, self.status
                )
            };
        }
        match route {
            // A probe comes every few seconds: what it finds is logged when it changes.
            "/health" | "/readyz" | "/livez" => tell!(debug),
            _ if self.status >= 500 => tell!(error),
            _ => tell!(info),
        }
    }
}

/// The SERVER span, a child of the caller's where `traceparent` names one. The query is not in it: it can hold a token.
fn server_span(request: &Request, method: &'static str, route: Option<&str>, client: ClientAddress) -> Span {
    let query = request.uri().query().map(redacted);
    let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
    let span = info_span!(
        "request",
        otel.name = name,
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        url.scheme = "http",
        url.path = route.and_then(|route| harmless(route, request.uri().path())),
        url.query = query,
        client.address = %client.0,
        http.response.status_code = field::Empty,
        error.type = field::Empty,
        otel.status_code = field::Empty,
    );
    let parent = opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.extract(&HeaderExtractor(request.headers()))
    });
    // It fails only for a span that was entered already, which this one was not.
    let _ = span.set_parent(parent);
    span
}

/// The path, unless it can hold anything: where no route matches, where the name of a counter or a provider is none, and where
/// the route has a parameter of another kind.
fn harmless<'a>(route: &str, path: &'a str) -> Option<&'a str> {
    let mut pairs = route.split('/').zip(path.split('/'));
    let is_harmless = pairs.all(|(template, segment)| match template {
        "{name}" => segment.parse::<CounterName>().is_ok(),
        "{provider}" => segment.parse::<ProviderName>().is_ok(),
        _ => template == segment,
    });
    is_harmless.then_some(path)
}

/// A query string whose parameters keep the names that are ours and lose their values, but for numbers: anything else may be
/// a secret, whatever its name, and as a name too.
fn redacted(query: &str) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name @ ("count" | "limit"), value)) if value.parse::<i64>().is_ok() => format!("{name}={value}"),
        Some((name @ ("count" | "limit" | "cursor" | "token"), _)) => format!("{name}=REDACTED"),
        _ => "REDACTED".to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// The caller's own identity of the request, or a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let own = headers.get(REQUEST_ID).filter(|id| {
        matches!(id.len(), 1..=128)
            && id.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte))
    });
    let made = || HeaderValue::from_str(&Uuid::now_v7().to_string()).unwrap_or(HeaderValue::from_static("none"));
    own.cloned().unwrap_or_else(made)
}

/// A bounded set: methods that are not of RFC 9110 or RFC 5789 are `_OTHER`, as the conventions say.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        "CONNECT" => "CONNECT",
        "TRACE" => "TRACE",
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_keeps_its_names_and_loses_its_secrets() {
        assert_eq!(redacted("count=5&token=abc"), "count=5&token=REDACTED");
        assert_eq!(redacted("eyJhbGciOiJI"), "REDACTED");
        assert_eq!(redacted("code=abc&state=def&iss=x"), "REDACTED&REDACTED&REDACTED");
        assert_eq!(
            redacted("access_token=x&a&eyJhbGciOiJI=&count=eyJ&cursor=eyJ"),
            "REDACTED&REDACTED&REDACTED&count=REDACTED&cursor=REDACTED"
        );
    }

    #[test]
    fn a_path_is_told_where_it_names_a_counter_or_nothing() {
        let (template, path) = ("/v1/counters/{name}/next", "/v1/counters/mine/next");
        assert_eq!(harmless(template, path), Some(path));
        assert_eq!(harmless("/v1/next", "/v1/next"), Some("/v1/next"));
        assert_eq!(harmless(template, "/v1/counters/ada@example.com/next"), None);
        assert_eq!(harmless(template, "/v1/counters/a%20b/next"), None);
        let (template, path) = ("/v1/oauth/{provider}/callback", "/v1/oauth/github/callback");
        assert_eq!(harmless(template, path), Some(path));
        assert_eq!(harmless(template, "/v1/oauth/ada@example.com/callback"), None);
        assert_eq!(harmless("/ui/{part}", "/ui/ada@example.com"), None);
    }

    #[test]
    fn a_request_id_of_the_caller_is_kept_if_it_is_harmless() {
        let id = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, value.parse().unwrap());
            request_id(&headers)
        };
        assert_eq!(id("abc-123"), "abc-123");
        assert_ne!(id("a b"), "a b");
        assert_ne!(id(&"x".repeat(129)), "x".repeat(129));
    }
}
