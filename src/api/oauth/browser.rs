//! The way to a provider and back. A person's browser calls these, so what goes wrong is told by the page at `/`.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::header::{LOCATION, REFERRER_POLICY, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::super::openapi::problems;
use super::cookies::{CODE_LIFETIME_S, FLOW, SIGN_IN};
use super::{OneTimeCode, ProviderParam, find};
use crate::auth::oauth::flow::Flow;
use crate::auth::oauth::{Callback, Provider, SignInError, SignInFailure};
use crate::domain::Timestamp;
use crate::error::ApiError;
use crate::extract::client_address::ClientAddress;
use crate::extract::{Query, Route};
use crate::metrics::{self, AuthKind, AuthOutcome};
use crate::state::{AppState, Deadline};
use crate::store::{Login, StoreError};
use crate::trace;

problems!(StartProblems: NotFound);
problems!(CallbackProblems: NotFound);

/// Begin to sign in.
///
/// For browsers: leads to the provider, with `state`, `nonce` and a PKCE challenge, and leaves what must fit them in a cookie of
/// ten minutes. Where that is not possible, it leads to `/#signin_error=…&trace_id=…`, as the callback does.
#[utoipa::path(
    get, path = "/v1/oauth/{provider}/start", tag = "accounts", operation_id = "oauth_start", security(()),
    params(ProviderParam), extensions(("x-browser-step" = json!(true))),
    responses(
        (status = 302, description = "To the provider.", headers(
            ("Location" = String, description = "The provider's page, or `/#signin_error=<code>&trace_id=<trace>`."),
            ("Set-Cookie" = String, description = "The flow's secrets: `HttpOnly`, `SameSite=Lax`, sealed."),
        )),
        StartProblems,
    )
)]
pub async fn start(
    State(state): State<AppState>,
    Deadline(deadline): Deadline,
    Path(provider): Path<String>,
) -> Result<Response, ApiError> {
    let provider = find(&state, &provider)?;
    let flow = Flow::begin(provider.name.clone());
    let beginning = async {
        let cookie = FLOW.set(&flow.seal(&state.tokens)?, &state.oauth);
        Ok((provider.authorization_url(&flow).await?, cookie))
    };
    match within(deadline, beginning).await {
        Ok((url, cookie)) => Ok(redirect(url.as_str(), [cookie])),
        Err(error) => Ok(failed(provider, &error, [None])),
    }
}

/// Come back from the provider.
///
/// For browsers, which the provider sends here: leads to `/#signin_code=<one-time code>`, for `POST /v1/oauth/token` within 60
/// seconds from the same browser; or to `/#signin_error=<code>&trace_id=<32 hex digits>`, whose trace leads to the logs, with
/// one of `access_denied` (the person said no), `flow_expired` (no sign-in under way in this browser, or for more than ten
/// minutes), `flow_mismatch` (an answer to another sign-in), `provider_unavailable`, `provider_refused` (the code, or us),
/// `provider_invalid` (an answer that cannot be believed), `rate_limited`, `store_unavailable`, `internal`.
#[utoipa::path(
    get, path = "/v1/oauth/{provider}/callback", tag = "accounts", operation_id = "oauth_callback", security(()),
    params(
        ProviderParam,
        ("code" = Option<String>, Query, description = "The authorization code."),
        ("state" = Option<String>, Query, description = "As it was sent."),
        ("iss" = Option<String>, Query, description = "Who answers (RFC 9207)."),
        ("error" = Option<String>, Query, description = "Why there is no code. Whatever else a provider sends is ignored."),
    ),
    extensions(("x-browser-step" = json!(true))),
    responses(
        (status = 302, description = "To the page.", headers(
            ("Location" = String, description = "`/#signin_code=<code>` or `/#signin_error=<code>&trace_id=<trace>`."),
            ("Set-Cookie" = String, description = "The other half of the one-time code: `HttpOnly`, `SameSite=Strict`."),
        )),
        CallbackProblems,
    )
)]
pub async fn callback(
    State(state): State<AppState>,
    Deadline(deadline): Deadline,
    Extension(address): Extension<ClientAddress>,
    route: Route,
    Path(provider): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let provider = find(&state, &provider)?;
    let cookie = FLOW.of(&headers, &state.oauth);
    let resumed = once(&query, "state")
        .and_then(|answers| Flow::resume(cookie, &state.tokens, &provider.name, answers))
        // Counted last: or else any page could use up what its visitors may do, with pictures of this address.
        .and_then(|flow| limited(&state, address, &route).map(|()| flow));
    // An answer to another sign-in ends none that may be under way.
    let flow = match resumed {
        Ok(flow) => flow,
        Err(error) => return Ok(failed(provider, &error, [None])),
    };
    let over = FLOW.clear(&state.oauth);
    let one_time = OneTimeCode::generate();
    match within(deadline, finish(&state, provider, &flow, &query, &one_time)).await {
        Ok(()) => {
            let other_half = SIGN_IN.set(&one_time.browser, &state.oauth);
            Ok(redirect(&format!("/#signin_code={}", one_time.code), [over, other_half]))
        }
        Err(error) => Ok(failed(provider, &error, [over])),
    }
}

/// Finds out who it is, and keeps that for the one-time code.
async fn finish(
    state: &AppState,
    provider: &Provider,
    flow: &Flow,
    query: &Query,
    one_time: &OneTimeCode,
) -> Result<(), SignInError> {
    let callback = Callback { code: once(query, "code")?, error: once(query, "error")?, iss: once(query, "iss")? };
    let person = provider.person(flow, &callback).await?;
    let login = Login {
        identity: person.identity,
        email: person.email,
        expires_at: Timestamp::now() + Duration::from_secs(CODE_LIFETIME_S),
    };
    let unavailable = |error: StoreError| SignInError::new(SignInFailure::StoreUnavailable, error.to_string());
    state.store.keep_login(&one_time.hash(), &login).await.map_err(unavailable)
}

/// A callback makes us ask the provider, so one address may not have many.
fn limited(state: &AppState, address: ClientAddress, route: &Route) -> Result<(), SignInError> {
    let refused = |_| SignInError::new(SignInFailure::RateLimited, "too many sign-ins from this address");
    state.limits.attempt(address.limited_by(), route.as_str()).map_err(refused)
}

/// A parameter, which may come once (RFC 6749 section 3.1).
fn once<'a>(query: &'a Query, name: &str) -> Result<Option<&'a str>, SignInError> {
    let mut values = query.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(SignInError::new(SignInFailure::FlowMismatch, format!("{name} came twice"))),
    }
}

async fn within<T>(
    deadline: std::time::Instant,
    work: impl Future<Output = Result<T, SignInError>>,
) -> Result<T, SignInError> {
    let late = || SignInError::new(SignInFailure::ProviderUnavailable, "the request's deadline passed");
    tokio::time::timeout_at(deadline.into(), work).await.unwrap_or_else(|_| Err(late()))
}

/// Tells the person, the log and the metrics.
fn failed<const N: usize>(provider: &Provider, error: &SignInError, cookies: [Option<HeaderValue>; N]) -> Response {
    metrics::sign_in_failed(&provider.name, error.outcome());
    if error.failure.is_suspicious() {
        metrics::auth_attempt(AuthKind::Oauth, AuthOutcome::Failure);
    }
    let (provider, failure, cause) = (provider.name.as_str(), error.failure.as_str(), error.detail.as_str());
    match error.failure {
        // The person's own doing, or somebody's who plays with links.
        SignInFailure::AccessDenied
        | SignInFailure::FlowExpired
        | SignInFailure::FlowMismatch
        | SignInFailure::RateLimited => {
            tracing::info!(provider, failure, cause, "a sign-in through {provider} did not come about")
        }
        _ => tracing::warn!(provider, failure, cause, "a sign-in through {provider} failed"),
    }
    redirect(&format!("/#signin_error={failure}&trace_id={}", trace::trace_id()), cookies)
}

fn redirect<const N: usize>(location: &str, cookies: [Option<HeaderValue>; N]) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else {
        return ApiError::new(crate::error::Code::Internal).with_cause("an address is no header").into_response();
    };
    let mut response = StatusCode::FOUND.into_response();
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    // What was called holds a code and a state.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    for cookie in cookies.into_iter().flatten() {
        headers.append(SET_COOKIE, cookie);
    }
    response
}
