//! The deadline of a request, and a net below it.
//!
//! Calls that go through the sequencer, bodies and password hashes end by the deadline by themselves and say how. The net is
//! for the rest: what does two things to a slow store, one after the other. What may have written is answered as unknown, for
//! nobody knows how far it came.

use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::{ApiError, Code};
use crate::state::{AppState, Deadline};

/// What the parts need to answer by themselves after the deadline.
const GRACE: Duration = Duration::from_millis(250);

/// Gives the request its deadline.
pub async fn deadline(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let deadline = Instant::now() + state.http.request_timeout;
    request.extensions_mut().insert(Deadline(deadline));
    // A GET that takes numbers is no exception: the sequencer answers it in time.
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match tokio::time::timeout_at((deadline + GRACE).into(), next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let code = if reads { Code::StoreUnavailable } else { Code::OutcomeUnknown };
            ApiError::new(code).with_cause("the request's deadline passed").into_response()
        }
    }
}
