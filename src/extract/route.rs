//! Which route a request takes, for labels, limits and fingerprints.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::Extensions;
use axum::http::request::Parts;

/// Route label of paths that no route matches.
pub const UNMATCHED: &str = "unmatched";

/// A route, by its template. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Route(Option<MatchedPath>);

impl Route {
    /// The route of the request with these extensions.
    pub fn of(extensions: &Extensions) -> Self {
        Self(extensions.get().cloned())
    }

    /// The template; nothing where no route matches.
    pub fn template(&self) -> Option<&str> {
        self.0.as_ref().map(MatchedPath::as_str)
    }

    /// The template, or [`UNMATCHED`].
    pub fn as_str(&self) -> &str {
        self.template().unwrap_or(UNMATCHED)
    }
}

impl<S: Sync> FromRequestParts<S> for Route {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}
