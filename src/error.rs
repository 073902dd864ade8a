//! Everything that can go wrong for a caller, as problem details (RFC 9457). Pure: nothing is logged here.
//!
//! The catalogue [`Code`] is the contract: a code is written once, with its status and its title. [`ApiError`] is one
//! occurrence. What must not be shown to the caller ([`ApiError::cause`]) travels beside the answer, for the one log line
//! that `middleware/observe.rs` writes.

mod catalogue;

use std::borrow::Cow;
use std::time::Duration;

use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::{Refusal, StoreError};
use crate::trace;
pub use catalogue::Code;

/// The media type of every problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A problem as it is sent (RFC 9457 section 3).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Identifies the kind of problem: a URI that ends in the code.
    #[serde(rename = "type")]
    #[schema(format = "uri")]
    pub type_uri: String,
    /// The kind in words, the same for every occurrence.
    pub title: Cow<'static, str>,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What happened this time and what would be right.
    pub detail: Cow<'static, str>,
    /// The kind as a word, to switch on.
    pub code: Cow<'static, str>,
    /// The trace to name when asking for help (W3C Trace Context).
    #[schema(pattern = "^[0-9a-f]{32}$")]
    pub trace_id: String,
    /// What is wrong with which field.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    #[schema(required = false)]
    pub errors: Vec<FieldError>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// The field of the body, the parameter or the header.
    pub field: Cow<'static, str>,
    /// What would be right.
    pub message: Cow<'static, str>,
}

/// One occurrence of a problem.
#[derive(Debug, Clone)]
pub struct ApiError {
    code: Code,
    detail: Cow<'static, str>,
    fields: Vec<FieldError>,
    allow: Option<Box<str>>,
    retry_after: Option<Duration>,
    cause: Option<String>,
}

impl ApiError {
    /// A problem whose detail is the code's own meaning.
    pub fn new(code: Code) -> Self {
        Self {
            code,
            detail: code.meaning().into(),
            fields: Vec::new(),
            allow: None,
            retry_after: code.default_retry_after(),
            cause: None,
        }
    }

    /// `invalid_field` for one field.
    pub fn field(field: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self::fields(vec![FieldError { field: field.into(), message: message.into() }])
    }

    /// `invalid_field` for several fields.
    pub fn fields(fields: Vec<FieldError>) -> Self {
        let detail =
            fields.iter().map(|fault| format!("{} {}", fault.field, fault.message)).collect::<Vec<_>>().join("; ");
        Self { fields, ..Self::new(Code::InvalidField).with_detail(detail) }
    }

    /// `method_not_allowed` with the methods that are.
    pub fn method_not_allowed(allow: &str) -> Self {
        let error = Self::new(Code::MethodNotAllowed).with_detail(format!("Allowed here: {allow}."));
        Self { allow: Some(allow.into()), ..error }
    }

    /// Says what happened this time. Must hold no secret and nothing internal.
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Says when repeating makes sense.
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Adds what lies behind it, for the log only. Must hold no secret.
    pub fn with_cause(mut self, cause: impl ToString) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// The kind.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What is wrong with which field.
    pub fn into_fields(self) -> Vec<FieldError> {
        self.fields
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(allow) = self.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
            headers.insert(ALLOW, allow);
        }
        if let Some(after) = self.retry_after {
            // Rounded up: a caller that repeats too early is refused again.
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs() + u64::from(after.subsec_nanos() > 0)));
        }
        if self.code.status() == StatusCode::UNAUTHORIZED {
            // RFC 6750 section 3: no error code where the request came without a token.
            let challenge = match self.code {
                Code::TokenMissing | Code::InvalidCredentials | Code::SigninCodeInvalid => {
                    "Bearer realm=\"counter-api\""
                }
                Code::TokenExpired => {
                    "Bearer realm=\"counter-api\", error=\"invalid_token\", error_description=\"The token has expired\""
                }
                Code::TokenRevoked => {
                    "Bearer realm=\"counter-api\", error=\"invalid_token\", error_description=\"The token was revoked\""
                }
                _ => "Bearer realm=\"counter-api\", error=\"invalid_token\"",
            };
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        headers
    }
}

/// What an answer leaves for the request's log line and metrics.
#[derive(Debug, Clone)]
pub struct Reported {
    /// The problem's code.
    pub code: Code,
    /// What lies behind it; never shown to the caller.
    pub cause: Option<String>,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let headers = self.headers();
        let problem = Problem {
            type_uri: self.code.type_uri(),
            title: self.code.title().into(),
            status: self.code.status().as_u16(),
            detail: self.detail,
            code: self.code.as_str().into(),
            trace_id: trace::trace_id(),
            errors: self.fields,
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (self.code.status(), headers, body).into_response();
        response.extensions_mut().insert(Reported { code: self.code, cause: self.cause });
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let code = match error {
            // 503 means that a dependency is down, 500 that there is a bug: a record that cannot be read is one.
            StoreError::Unavailable(_) | StoreError::Conflict(_) => Code::StoreUnavailable,
            StoreError::OutcomeUnknown(_) => Code::OutcomeUnknown,
            StoreError::Corrupt(_) => Code::Internal,
            StoreError::EmailTaken => Code::EmailTaken,
            // Whoever signs in looks once more for whom it opens an account; this one changed twice meanwhile.
            StoreError::IdentityTaken => Code::StoreUnavailable,
        };
        Self::new(code).with_cause(error)
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::new(match refusal {
            Refusal::CounterExhausted => Code::CounterExhausted,
            Refusal::PreconditionFailed => Code::PreconditionFailed,
            Refusal::QuotaReached => Code::QuotaReached,
            Refusal::UserGone => Code::TokenRevoked,
            Refusal::KeyReused => Code::IdempotencyKeyReused,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_behind_a_problem_is_not_in_its_body() {
        let response = ApiError::new(Code::StoreUnavailable).with_cause("secret-host:27017").into_response();
        let reported = response.extensions().get::<Reported>().unwrap().clone();
        assert_eq!(reported.cause.as_deref(), Some("secret-host:27017"));
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        let bytes = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(async { http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes() });
        assert!(!String::from_utf8(bytes.to_vec()).unwrap().contains("secret-host"));
    }
}
