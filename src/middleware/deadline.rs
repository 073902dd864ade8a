//! The deadline of a request, and a last net below it.
//!
//! Whatever can take long ends by the deadline by itself and says how. The net catches what does not: a bug, which is
//! answered as unknown, for nobody knows how far it came.

use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::{ApiError, Code};
use crate::state::{AppState, Deadline};

/// What the parts need to answer by themselves after the deadline.
const GRACE: Duration = Duration::from_millis(500);

/// Gives the request its deadline.
pub async fn deadline(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let deadline = Instant::now() + state.http.request_timeout;
    request.extensions_mut().insert(Deadline(deadline));
    // A body that comes slowly has a deadline of its own.
    let net = deadline + GRACE + state.http.body_timeout;
    match tokio::time::timeout_at(net.into(), next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(Code::OutcomeUnknown).with_cause("the handler overran its deadline").into_response(),
    }
}
