//! Rate limits of what tries passwords or signs in, by the client's address. Those by token are [`authenticate`](super::authenticate)'s.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::extract::Route;
use crate::extract::client_address::ClientAddress;
use crate::limits::Limits;

/// Limits what tries passwords by the client's address.
pub async fn by_address(State(limits): State<Arc<Limits>>, request: Request, next: Next) -> Response {
    let route = Route::of(request.extensions());
    // `observe` puts it there; without it there is nobody to count.
    let Some(address) = request.extensions().get::<ClientAddress>().copied() else { return next.run(request).await };
    limits.address(address.limited_by(), route.as_str()).apply(next.run(request)).await
}
