//! Lets in who brings a valid token: in the header `Authorization`, or in the query parameter `token`.

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::{Instrument, Span, info_span};

use super::observe::Caller;
use crate::error::{ApiError, Code};
use crate::extract::{AuthUser, Query, Route};
use crate::state::AppState;
use crate::trace;

/// Checks the token, counts it against its limit, and names its user to the handler and to the log line.
pub async fn authenticate(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let query = request.extensions().get::<Query>().cloned().unwrap_or_default();
    let claims = match token(request.headers(), &query) {
        Ok(token) => {
            let span = trace::sampled_span().map_or_else(Span::none, |_| info_span!("check token"));
            state.sessions.check(&token).instrument(span).await
        }
        Err(error) => Err(error),
    };
    let claims = match claims {
        Ok(claims) => claims,
        Err(error) => return error.into_response(),
    };
    if let Some(caller) = request.extensions().get::<Caller>() {
        caller.set(claims.sub);
    }
    request.extensions_mut().insert(AuthUser(claims.sub));
    let route = Route::of(request.extensions());
    state.limits.token(claims.jti, route.as_str()).apply(next.run(request)).await
}

fn token(headers: &HeaderMap, query: &Query) -> Result<String, ApiError> {
    let mut headers = headers.get_all(AUTHORIZATION).iter();
    let first = headers.next();
    if headers.any(|other| Some(other) != first) {
        return Err(ApiError::new(Code::ConflictingTokens));
    }
    let from_header = first.and_then(|value| value.to_str().ok()).and_then(|value| {
        // The scheme's name is compared without case (RFC 9110 section 11.1).
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    });
    let from_query = query.get("token").map(str::to_owned);
    match (from_header, from_query) {
        (Some(header), Some(query)) if header != query => Err(ApiError::new(Code::ConflictingTokens)),
        (Some(token), _) | (None, Some(token)) => Ok(token),
        (None, None) => Err(ApiError::new(Code::TokenMissing)),
    }
}
