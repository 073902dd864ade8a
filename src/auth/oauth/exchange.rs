//! The token endpoint: a code for tokens (RFC 6749 section 4.1.3).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

use super::flow::Flow;
use super::{Client, SignInError, SignInFailure, word};
use crate::metrics::Endpoint;

/// How the client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientAuth {
    /// In the header.
    Basic,
    /// In the body.
    Post,
}

/// What a code was worth.
#[derive(Deserialize)]
pub(super) struct Tokens {
    /// To ask the provider with.
    pub(super) access_token: Option<String>,
    /// Of OpenID Connect.
    pub(super) id_token: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    /// A word after RFC 6749, an object after Facebook.
    error: Option<Value>,
}

/// Is it the code that is refused, which the browser brought? Anything else is between the provider and us.
fn is_of_the_code(error: &Value) -> bool {
    // The last is Facebook's, of a code that is made up, used or too old.
    matches!(error.as_str(), Some("invalid_grant" | "bad_verification_code")) || error["code"] == 100
}

/// What application/x-www-form-urlencoded leaves as it is.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*');

impl Client {
    /// Redeems a code, which the provider takes once.
    pub(super) async fn exchange(
        &self,
        endpoint: &Url,
        auth: ClientAuth,
        flow: &Flow,
        code: &str,
    ) -> Result<Tokens, SignInError> {
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", &flow.verifier),
        ];
        if auth == ClientAuth::Post {
            fields.extend([("client_id", self.id.as_str()), ("client_secret", self.secret())]);
        }
        let reply = self
            .outbound
            .post_form(Endpoint::Token, endpoint, form(&fields), |request| {
                let request = request.header(ACCEPT, "application/json");
                if auth == ClientAuth::Basic { request.header(AUTHORIZATION, self.basic()) } else { request }
            })
            .await?;
        // GitHub says no with 200.
        if let Ok(Refusal { error: Some(error) }) = reply.json() {
            let word = error.as_str().map_or("an error of its own form", word);
            let detail = format!("the token endpoint answered {} {word}", reply.status);
            let refused = if is_of_the_code(&error) { SignInError::brought } else { SignInError::new };
            return Err(refused(SignInFailure::ProviderRefused, detail));
        }
        reply.success()
    }

    /// RFC 6749 section 2.3.1: form-encoded before they are joined.
    fn basic(&self) -> HeaderValue {
        let pair = format!("{}:{}", encoded(&self.id), encoded(self.secret()));
        let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair)))
            .unwrap_or(HeaderValue::from_static("Basic"));
        value.set_sensitive(true);
        value
    }
}

impl Tokens {
    pub(super) fn access_token(&self) -> Result<&str, SignInError> {
        self.access_token.as_deref().ok_or_else(|| SignInError::invalid("the token endpoint answered no access token"))
    }
}

fn form(fields: &[(&str, &str)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, FORM).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_hides_what_would_split_it() {
        assert_eq!(form(&[("a", "b c"), ("d", "e&f=g:h%+é")]), "a=b%20c&d=e%26f%3Dg%3Ah%25%2B%C3%A9");
    }
}
