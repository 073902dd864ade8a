//! Every code of the contract once: its status, its title, and what it means.

use std::time::Duration;

use axum::http::StatusCode;

const TYPE_BASE: &str = "https://counter-api.dev/problems/";

macro_rules! codes {
    ($($variant:ident = $code:literal $status:literal, $title:literal, $meaning:literal;)*) => {
        /// The codes of the contract.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $meaning] $variant,)* }

        impl Code {
            /// Every code, in the order of their statuses.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code as the caller sees it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// The answer's status.
            pub fn status(self) -> StatusCode {
                let status = match self { $(Self::$variant => $status),* };
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            /// The problem's title: the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }

            /// When it happens and what to do, for the documentation.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),* }
            }
        }
    };
}

codes! {
    MalformedBody = "malformed_body" 400, "The body cannot be read",
        "The body is no JSON object (or form): a syntax error, a bad escape, text after the end, nothing, or JSON that Content-Type calls a form. Or it broke off, or has more than 32 fields.";
    MalformedQuery = "malformed_query" 400, "The query string cannot be read",
        "A parameter is unknown or repeated, or its encoding is broken.";
    ConflictingTokens = "conflicting_tokens" 400, "Two different tokens",
        "Two Authorization headers, or the header and the query parameter `token`, hold different tokens.";
    TokenMissing = "token_missing" 401, "A token is required",
        "Send `Authorization: Bearer <token>`.";
    TokenInvalid = "token_invalid" 401, "The token is not valid",
        "It is not one of ours, or its signature does not match. Log in again.";
    TokenExpired = "token_expired" 401, "The token has expired",
        "Log in again.";
    TokenRevoked = "token_revoked" 401, "The token was revoked",
        "Its user logged out or was deleted. Log in again.";
    InvalidCredentials = "invalid_credentials" 401, "E-mail address or password is wrong",
        "The same answer whether the address is unknown or the password wrong.";
    SigninCodeInvalid = "signin_code_invalid" 401, "The one-time code is not valid",
        "It is unknown, used, older than 60 seconds, was tried too often, or comes from another browser than the one that signed in. Sign in again.";
    NotFound = "not_found" 404, "Not found",
        "No such route, counter or provider.";
    MethodNotAllowed = "method_not_allowed" 405, "The method is not allowed here",
        "The header `Allow` lists the methods that are.";
    NotAcceptable = "not_acceptable" 406, "No acceptable representation",
        "`Accept` excludes application/json, the only thing there is.";
    RequestTimeout = "request_timeout" 408, "The request came too slowly",
        "The body was not complete within its deadline. Nothing was done.";
    EmailTaken = "email_taken" 409, "The e-mail address has an account",
        "Log in, or register another address.";
    CounterExhausted = "counter_exhausted" 409, "The counter is at its top",
        "The numbers asked for would pass 9,007,199,254,740,991. Nothing was taken.";
    IdempotencyKeyInFlight = "idempotency_key_in_flight" 409, "The first call with this key is still under way",
        "Repeat after `Retry-After`.";
    QuotaReached = "quota_reached" 409, "No more counters",
        "The user has as many counters as it may have. Delete one.";
    LinkRequired = "link_required" 409, "The e-mail address has an account with a password",
        "Send the same code again within its 60 seconds: with `password`, and the accounts become one, or with `separate`, for an account of its own.";
    LastSignInMethod = "last_sign_in_method" 409, "Nothing else would be left to sign in with",
        "The account has no password and no other provider. Delete the account instead.";
    PreconditionFailed = "precondition_failed" 412, "The counter has changed",
        "`If-Match` names another version, or is `*` where there is no counter. Read the counter and decide anew.";
    BodyTooLarge = "body_too_large" 413, "The body is too large",
        "A body has at most 16 KiB.";
    UnsupportedMediaType = "unsupported_media_type" 415, "The body's media type is not supported",
        "Send application/json (or, where the call says so, application/x-www-form-urlencoded) and say so in `Content-Type`.";
    InvalidField = "invalid_field" 422, "A value is not acceptable",
        "`errors` names each field and says what would be right.";
    IdempotencyKeyReused = "idempotency_key_reused" 422, "The key was used for another request",
        "An Idempotency-Key stands for one request: same method, route, counter, count, body and `If-Match`.";
    RateLimited = "rate_limited" 429, "Too many requests",
        "Repeat after `Retry-After`.";
    Internal = "internal" 500, "Something is wrong on our side",
        "A bug. Report it with the `trace_id`.";
    StoreUnavailable = "store_unavailable" 503, "The database does not answer",
        "Nothing was done by this attempt: the database does not answer, or others write the same counter all the time. An earlier attempt with the same `Idempotency-Key` may still count. Repeat after `Retry-After`.";
    Overloaded = "overloaded" 503, "Too many calls are waiting",
        "Nothing was done. Repeat after `Retry-After`.";
    Draining = "draining" 503, "This replica is stopping",
        "Nothing was done. Repeat at once: another replica answers.";
    OutcomeUnknown = "outcome_unknown" 503, "The outcome is unknown",
        "It may or may not have been done. With an Idempotency-Key, repeat until the answer is another one; without, a number may be skipped.";
}

impl Code {
    /// The problem type's URI.
    pub fn type_uri(self) -> String {
        format!("{TYPE_BASE}{}", self.as_str())
    }

    /// How long a caller waits before it repeats, unless the occurrence knows better.
    pub(super) fn default_retry_after(self) -> Option<Duration> {
        match self {
            Self::StoreUnavailable | Self::Overloaded | Self::OutcomeUnknown | Self::IdempotencyKeyInFlight => {
                Some(Duration::from_secs(1))
            }
            Self::Draining => Some(Duration::ZERO),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_the_order_of_their_statuses() {
        let mut seen = std::collections::HashSet::new();
        assert!(Code::ALL.iter().all(|code| seen.insert(code.as_str())));
        assert!(Code::ALL.is_sorted_by_key(|code| code.status()));
        assert!(Code::ALL.iter().all(|code| code.status().as_u16() >= 400));
    }
}
