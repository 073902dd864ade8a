//! From a request to values of the domain: who calls, on which counter, with which parameters and body.
//!
//! Nothing here trusts the framework's own rejections: each of them is a problem of the contract, and faults of fields are
//! reported together, each with its name.

pub mod accept;
pub mod client_address;
pub mod entity_tags;
pub mod fields;
mod route;

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;

use crate::auth::sha256_hex;
use crate::domain::{CounterId, CounterName, IdempotencyKey, UserId};
use crate::error::{ApiError, Code};
use crate::state::{AppState, Deadline};
use crate::store::{Action, Key, Op};
pub use entity_tags::IfMatch;
use fields::Fields;
pub use route::{Route, UNMATCHED};

/// The most that a body may hold, in bytes.
pub const MAX_BODY: usize = 16 * 1024;

/// What is read of a body that is too large, at most, before it is refused.
const MAX_DISCARDED: usize = 8 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A body that can be read from fields.
pub trait Payload: Sized {
    /// May it be sent as a form too?
    const FORM: bool = false;

    /// Takes what it needs. Faults are left in `fields`, which the caller looks at.
    fn parse(fields: &mut Fields) -> Option<Self>;
}

/// A body, read whole within its deadline and its limit.
pub struct Received<T>(pub T);

impl<T: Payload> FromRequest<AppState> for Received<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let kind = Kind::of(request.headers(), T::FORM)?;
        let Deadline(deadline) = request.extensions().get().copied().ok_or_else(no_deadline)?;
        let due = deadline.min(Instant::now() + state.http.body_timeout);
        let bytes = tokio::time::timeout_at(due.into(), read(request.into_body()))
            .await
            .map_err(|_| ApiError::new(Code::RequestTimeout))??;
        let mut fields = match kind {
            Kind::Json => Fields::from_json(&bytes)?,
            Kind::Form => Fields::from_form(&bytes)?,
        };
        let parsed = T::parse(&mut fields);
        Ok(Self(fields.finish(parsed)?))
    }
}

async fn read(mut body: Body) -> Result<Vec<u8>, ApiError> {
    let too_large = body.size_hint().lower() > MAX_BODY as u64;
    let mut bytes = Vec::new();
    while !too_large && let Some(frame) = body.frame().await {
        let broken = |error| ApiError::new(Code::MalformedBody).with_detail("The body broke off.").with_cause(error);
        if let Ok(data) = frame.map_err(broken)?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > MAX_BODY {
            break;
        }
    }
    if too_large || bytes.len() > MAX_BODY {
        discard(body).await;
        return Err(ApiError::new(Code::BodyTooLarge));
    }
    Ok(bytes)
}

/// Reads on for a moment: a client that is still sending when its connection closes never sees the answer.
async fn discard(mut body: Body) {
    let reading = async {
        let mut read = 0;
        while read < MAX_DISCARDED
            && let Some(Ok(frame)) = body.frame().await
        {
            read += frame.data_ref().map_or(0, |data| data.len());
        }
    };
    // Whether it was all or not, the answer follows.
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, reading).await;
}

enum Kind {
    Json,
    Form,
}

impl Kind {
    fn of(headers: &HeaderMap, form: bool) -> Result<Self, ApiError> {
        let unsupported = || {
            let form = if form { " or application/x-www-form-urlencoded" } else { "" };
            ApiError::new(Code::UnsupportedMediaType)
                .with_detail(format!("Send application/json{form}, and say so in Content-Type."))
        };
        let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).ok_or_else(unsupported)?;
        let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
        match essence.as_str() {
            _ if json => Ok(Self::Json),
            "application/x-www-form-urlencoded" if form => Ok(Self::Form),
            _ => Err(unsupported()),
        }
    }
}

/// The query string's parameters, which `middleware/contract.rs` has checked against the OpenAPI description: each is known
/// and comes once.
#[derive(Debug, Clone, Default)]
pub struct Query(pub Vec<(String, String)>);

impl Query {
    /// A parameter, if it was sent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// An integer within bounds, if it was sent.
    pub fn integer(&self, name: &'static str, least: u32, most: u32) -> Result<Option<u32>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        // Digits only: `parse` would take a sign as well.
        let number =
            text.parse().ok().filter(|n| (least..=most).contains(n) && text.bytes().all(|b| b.is_ascii_digit()));
        number.map(Some).ok_or_else(|| ApiError::field(name, format!("must be an integer from {least} to {most}")))
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// The user that calls. `middleware/authenticate.rs` has checked its token.
#[derive(Debug, Clone, Copy)]
pub struct AuthUser(pub UserId);

impl<S: Sync> FromRequestParts<S> for AuthUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        // Absent only where a route was put outside of the middleware: a bug, but one that must not let anybody in.
        parts.extensions.get::<Self>().copied().ok_or_else(|| ApiError::new(Code::TokenMissing))
    }
}

impl<S: Sync> FromRequestParts<S> for Deadline {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().copied().ok_or_else(no_deadline)
    }
}

/// A bug: the route stands outside of `middleware/deadline.rs`.
fn no_deadline() -> ApiError {
    ApiError::new(Code::Internal).with_cause("the request has no deadline")
}

/// A call on one counter of the caller: which counter, by when, and with which idempotency key.
#[derive(Debug)]
pub struct CounterCall {
    /// The counter: the one that the path names, or the default one.
    pub counter: CounterId,
    /// When it must have been answered.
    pub deadline: Instant,
    method: Method,
    route: Route,
    key: Option<IdempotencyKey>,
}

impl CounterCall {
    /// An operation with the caller's key. `arguments` is all that tells this request from another one to the same route.
    pub fn op(&self, action: Action, arguments: &str) -> Op {
        let key = self.key.as_ref().map(|key| {
            let fingerprint = fingerprint(&self.method, self.route.as_str(), &self.counter.name, arguments);
            Key { key: key.clone(), fingerprint }
        });
        Op { action, key }
    }
}

/// What tells one request with a key from another one.
fn fingerprint(method: &Method, route: &str, counter: &CounterName, arguments: &str) -> String {
    sha256_hex(format!("{method}\n{route}\n{counter}\n{arguments}").as_bytes())
}

impl<S: Send + Sync> FromRequestParts<S> for CounterCall {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let AuthUser(user) = AuthUser::from_request_parts(parts, state).await?;
        let Deadline(deadline) = Deadline::from_request_parts(parts, state).await?;
        let name = match RawPathParams::from_request_parts(parts, state).await {
            Ok(params) => {
                params.iter().find(|(name, _)| *name == "name").map(|(_, value)| value.parse::<CounterName>())
            }
            // What is no UTF-8 is no name either.
            Err(_) => Some("".parse()),
        };
        let name = name.transpose().map_err(|invalid| ApiError::field("name", invalid.0))?;
        let key = single(&parts.headers, &IDEMPOTENCY_KEY, "Idempotency-Key")?
            .map(str::parse)
            .transpose()
            .map_err(|invalid: crate::domain::Invalid| ApiError::field("Idempotency-Key", invalid.0))?;
        Ok(Self {
            counter: CounterId { user, name: name.unwrap_or_else(CounterName::default_counter) },
            deadline,
            method: parts.method.clone(),
            route: Route::of(&parts.extensions),
            key,
        })
    }
}

/// A header that may come once, as text.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName, shown: &'static str) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(ApiError::field(shown, "must have visible ASCII characters only")),
        },
        (Some(_), Some(_)) => Err(ApiError::field(shown, "must be sent once")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys are kept for a day, and looked at by replicas of other versions: a fingerprint that changed would refuse repeats.
    #[test]
    fn the_fingerprint_of_a_request_stays_what_it_was() {
        // printf 'PUT\n/v1/current\ndefault\ncurrent=5 if-match=in 3,7' | sha256sum
        let default = CounterName::default_counter();
        let found = fingerprint(&Method::PUT, "/v1/current", &default, "current=5 if-match=in 3,7");
        assert_eq!(found, "a1d99d5a9fdd8f60358f93b117cbea9b51bd7996e765db7bda6a8d8aa0b2ed01");
    }

    #[test]
    fn a_parameter_is_digits_within_bounds() {
        let query = Query(vec![("count".into(), "5".into()), ("sign".into(), "+5".into())]);
        assert_eq!(query.integer("count", 1, 10).unwrap(), Some(5));
        assert_eq!(query.integer("absent", 1, 10).unwrap(), None);
        assert!(query.integer("count", 1, 4).is_err() && query.integer("sign", 1, 10).is_err());
    }
}
