//! Who comes in, and how: passwords, tokens, and providers of sign-ins.

use std::time::Duration;

use metrics::{Label, counter, gauge, histogram};

use super::{Held, record, series};
use crate::domain::ProviderName;
use crate::metrics::catalogue::*;
use crate::metrics::exemplars::SpanIds;
use crate::metrics::labels::*;

/// Counts a registration, a login, the check of a token or a sign-in through a provider.
pub fn auth_attempt(kind: AuthKind, outcome: AuthOutcome) {
    counter!(AUTH_ATTEMPTS.name, "kind" => kind.as_str(), "outcome" => outcome.as_str()).increment(1);
}

/// Passwords being hashed or waiting for it.
pub fn password_hash_pending() -> Held {
    Held::new(gauge!(HASH_PENDING.name))
}

/// Records the hashing of one password.
pub fn password_hashed(duration: Duration) {
    histogram!(HASH_DURATION.name).record(duration.as_secs_f64());
}

/// Counts an account that was made: with a password, or through this provider.
pub fn user_registered(provider: Option<&ProviderName>) {
    let provider = provider.map_or_else(|| "password".to_owned(), ProviderName::to_string);
    counter!(USERS_REGISTERED.name, "provider" => provider).increment(1);
}

/// Counts a sign-in through a provider that ended well.
pub fn signed_in(provider: &ProviderName, outcome: SignIn) {
    counter!(OAUTH_SIGN_INS.name, "provider" => provider.to_string(), "outcome" => outcome.as_str()).increment(1);
}

/// Counts a sign-in through a provider that did not come about, by its [`SignInFailure`] or as [`ANSWER_REFUSED`].
pub fn sign_in_failed(provider: &ProviderName, outcome: &'static str) {
    counter!(OAUTH_SIGN_INS.name, "provider" => provider.to_string(), "outcome" => outcome).increment(1);
}

/// One call to a provider of sign-ins, as the labels of its histogram.
#[derive(Debug, Clone, Copy)]
pub struct ProviderCall<'a> {
    /// Which provider.
    pub provider: &'a ProviderName,
    /// What it was asked for.
    pub endpoint: Endpoint,
    /// The request's method.
    pub method: &'static str,
    /// The answer's status, if one came.
    pub status: Option<u16>,
    /// Empty for success.
    pub error_type: &'static str,
}

/// Records one call to a provider of sign-ins, as an exemplar too where its span is sampled.
pub fn provider_call(call: ProviderCall<'_>, duration: Duration, of: Option<SpanIds>) {
    let series = series(
        &HTTP_CLIENT_DURATION,
        [
            Label::new("provider", call.provider.to_string()),
            Label::from_static_parts("endpoint", call.endpoint.as_str()),
            Label::from_static_parts("http_request_method", call.method),
            Label::new("http_response_status_code", call.status.map(status_label).unwrap_or_default()),
            Label::from_static_parts("error_type", call.error_type),
        ],
    );
    record(&HTTP_CLIENT_DURATION, &series, duration, of);
}

/// A status that somebody may ask for. Others are as good as each other, and each would be a series.
fn status_label(status: u16) -> String {
    const KNOWN: [u16; 12] = [200, 201, 302, 400, 401, 403, 404, 429, 500, 502, 503, 504];
    if KNOWN.contains(&status) { status.to_string() } else { "other".to_owned() }
}

/// Counts a change of the token keys' file.
pub fn secret_reloaded(applied: bool) {
    counter!(SECRET_RELOADS.name, "outcome" => if applied { "applied" } else { "failed" }).increment(1);
}
