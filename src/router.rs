//! Every route and every layer of the API.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::{account, counter, health, oauth, openapi, pages};
use crate::error::{ApiError, Code};
use crate::extract::MAX_BODY;
use crate::lifecycle::Lifecycle;
use crate::metrics;
use crate::middleware::authenticate::authenticate;
use crate::middleware::contract::{Contract, contract};
use crate::middleware::deadline::deadline;
use crate::middleware::limits;
use crate::middleware::observe::{UNHEALTHY, observe};
use crate::state::AppState;
use crate::telemetry;

/// What anybody may call.
fn open() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
        .routes(routes!(health::live))
        .routes(routes!(oauth::providers))
        .routes(routes!(oauth::browser::start))
        // It counts with those of `sign_in`, but tells a person in a browser of its limit.
        .routes(routes!(oauth::browser::callback))
}

/// What anybody may call, but not often from one address.
fn sign_in() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(account::register))
        .routes(routes!(account::login))
        .routes(routes!(oauth::token::token))
}

/// What a user calls, with a token.
fn users() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(account::logout))
        .routes(routes!(account::me, account::delete_me))
        .routes(routes!(oauth::unlink))
        .routes(routes!(counter::next))
        .routes(routes!(counter::current, counter::set_current))
        .routes(routes!(counter::list))
        .routes(routes!(counter::delete))
        .routes(routes!(counter::next_of_counter))
        .routes(routes!(counter::current_of_counter, counter::set_current_of_counter))
}

/// The description of all of them.
pub fn description() -> OpenApi {
    let routes = OpenApiRouter::with_openapi(openapi::description()).merge(open()).merge(sign_in()).merge(users());
    openapi::finish(routes.into_openapi())
}

/// The API.
pub fn api(state: AppState) -> Router {
    let description = description();
    series_at_zero(&description);
    Code::ALL.iter().for_each(|code| metrics::problem_at_zero(code.as_str()));
    let rules = Arc::new(Contract::new(&description));
    let plain = |routes: OpenApiRouter<AppState>| routes.split_for_parts().0;
    // The first is the outermost. One stack rather than a layer after the other: the router puts each into boxes of its own.
    let layers = ServiceBuilder::new()
        .layer(from_fn_with_state(state.clone(), observe))
        .layer(from_fn_with_state((rules.clone(), state.lifecycle.clone()), headers))
        // Outside of what answers by itself: the page of another origin must be able to read that the outcome is unknown.
        .layer(cors(&state.http.cors_origins))
        .layer(from_fn_with_state(state.clone(), deadline))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(rules, contract));
    plain(open())
        .merge(plain(sign_in()).route_layer(from_fn_with_state(state.limits.clone(), limits::by_address)))
        .merge(plain(users()).route_layer(from_fn_with_state(state.clone(), authenticate)))
        .merge(pages::routes(&description))
        .fallback(async || ApiError::new(Code::NotFound).with_detail("There is no such route: see /docs."))
        .layer(layers)
        .with_state(state)
}

fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = telemetry::panic_text(panic.as_ref()).unwrap_or("of another type");
    ApiError::new(Code::Internal).with_cause(format_args!("panic: {text}")).into_response()
}

/// Headers of every answer. `Allow` is set here where no problem has set it, or else the framework would add one to a
/// preflight that lists HEAD everywhere.
async fn headers(
    State((contract, lifecycle)): State<(Arc<Contract>, Lifecycle)>,
    request: Request,
    next: Next,
) -> Response {
    let http1 = request.version() < Version::HTTP_2;
    let private = request.uri().path().starts_with("/v1/");
    let large = may_be_left_unread(request.headers());
    let preflighted = (request.method() == Method::OPTIONS).then(|| request.extensions().get::<MatchedPath>().cloned());
    let mut response = next.run(request).await;
    let status = response.status();
    let refused = status.is_client_error() || status.is_server_error();
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if private {
        // The answer to the same question is another one a moment later.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    // A client that is told nothing would send its next call on a connection that nobody reads any more. While the service
    // stops, connections end with an answer, before the stop could end them between an answer and the next call.
    if http1 && (refused && large || status == StatusCode::REQUEST_TIMEOUT || lifecycle.is_stopping()) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(route) = preflighted.flatten()
        && !headers.contains_key(header::ALLOW)
        && let Ok(allow) = HeaderValue::from_str(&contract.allow(route.as_str()))
    {
        headers.insert(header::ALLOW, allow);
    }
    response
}

/// Is there a body that a refusal may leave unread, so that the connection ends with the answer? What comes with the head
/// in one piece is read to its end in any case.
fn may_be_left_unread(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    length.map_or_else(|| headers.contains_key(header::TRANSFER_ENCODING), |length| length > MAX_BODY)
}

/// No origin: no CORS at all, and a preflight is a 405 like any other OPTIONS.
fn cors(origins: &[String]) -> tower::util::Either<CorsLayer, tower::layer::util::Identity> {
    if origins.is_empty() {
        return tower::util::Either::Right(tower::layer::util::Identity::new());
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    let own = |name| HeaderName::from_static(name);
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            own("idempotency-key"),
            own("x-request-id"),
            own("traceparent"),
            own("tracestate"),
            own("baggage"),
        ])
        .expose_headers([
            header::ETAG,
            header::RETRY_AFTER,
            own("idempotency-replayed"),
            own("x-request-id"),
            own("ratelimit"),
            own("ratelimit-policy"),
        ])
        .max_age(std::time::Duration::from_secs(600));
    tower::util::Either::Left(layer)
}

/// Every route exists in `/metrics` from the start with what plausibly moves, success, 500 and 503, so that a rate over it is
/// zero rather than nothing.
fn series_at_zero(description: &OpenApi) {
    for (path, item) in &description.paths.paths {
        for (method, operation) in openapi::operations(item) {
            drop(metrics::http_active(method));
            let success = operation.responses.responses.keys().find(|status| status.starts_with(['2', '3']));
            if let Some(status) = success.and_then(|status| status.parse().ok()) {
                metrics::route_at_zero(method, path, status, "");
            }
            if operation.responses.responses.contains_key("503") {
                let error_type = if path.starts_with("/v1/") { Code::StoreUnavailable.as_str() } else { UNHEALTHY };
                metrics::route_at_zero(method, path, 503, error_type);
            }
            if operation.responses.responses.contains_key("500") {
                metrics::route_at_zero(method, path, 500, Code::Internal.as_str());
            }
            if operation.responses.responses.contains_key("429") {
                metrics::rate_limited_at_zero(path);
            }
        }
    }
}

#[cfg(test)]
mod tests;
