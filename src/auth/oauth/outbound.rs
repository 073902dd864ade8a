//! Calls to a provider: the only place that makes any. Each has a deadline, a bounded answer, a span and an observation; no
//! redirect is followed and no proxy of the environment used, so nothing is asked but what the settings name.
//!
//! `traceparent` is not sent: who our callers are to one another is nobody's business outside, and a trace that a third party
//! goes on with would be sampled by its word.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue, USER_AGENT};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Url};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{Instrument, Span, field, info_span};

use super::{SignInError, SignInFailure};
use crate::build_info::BUILD;
use crate::domain::ProviderName;
use crate::metrics::{self, Endpoint, ProviderCall};
use crate::trace;

/// The most that a provider's answer may hold.
const MAX_ANSWER: usize = 256 * 1024;

/// How long a connection to a provider may take to be made; a call's own deadline may end it sooner.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Calls to one provider at once: one that is slow must not gather all that we have.
const MAX_CALLS: usize = 32;

/// A client for all providers. Each call brings its own deadline.
pub(super) fn client() -> Result<reqwest::Client, String> {
    let mut headers = HeaderMap::new();
    // GitHub answers nobody without a name.
    headers.insert(USER_AGENT, HeaderValue::from_static("counter-api"));
    reqwest::Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(Duration::from_secs(30))
        .default_headers(headers)
        .build()
        .map_err(|_| {
            format!(
                "{} has no TLS for the providers of sign-ins: are there CA certificates on this system?",
                BUILD.name
            )
        })
}

/// Speaks to one provider.
#[derive(Clone)]
pub(super) struct Outbound {
    provider: ProviderName,
    http: reqwest::Client,
    timeout: Duration,
    places: Arc<Semaphore>,
}

/// What a provider answered.
pub(super) struct Reply {
    /// The status; never one of 5xx or 429, which are failures.
    pub(super) status: u16,
    body: Vec<u8>,
    endpoint: Endpoint,
}

impl Reply {
    /// The body as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, SignInError> {
        // What serde says is left out: it may repeat what stands in the answer.
        serde_json::from_slice(&self.body).map_err(|_| {
            SignInError::invalid(format!("the answer of {} is not what it must be", self.endpoint.as_str()))
        })
    }

    /// The body as JSON, of an answer that must be a success.
    pub(super) fn success<T: DeserializeOwned>(&self) -> Result<T, SignInError> {
        if (200..300).contains(&self.status) { self.json() } else { Err(self.refused()) }
    }

    /// The provider refuses us.
    fn refused(&self) -> SignInError {
        let detail = format!("{} answered {}", self.endpoint.as_str(), self.status);
        SignInError::new(SignInFailure::ProviderRefused, detail)
    }
}

impl Outbound {
    pub(super) fn new(provider: ProviderName, http: reqwest::Client, timeout: Duration) -> Self {
        Self { provider, http, timeout, places: Arc::new(Semaphore::new(MAX_CALLS)) }
    }

    pub(super) fn provider(&self) -> &ProviderName {
        &self.provider
    }

    /// Asks for something.
    pub(super) async fn get(
        &self,
        endpoint: Endpoint,
        url: &Url,
        adapt: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Reply, SignInError> {
        self.call(endpoint, "GET", url, adapt(self.http.get(url.clone()))).await
    }

    /// Sends a form.
    pub(super) async fn post_form(
        &self,
        endpoint: Endpoint,
        url: &Url,
        form: String,
        adapt: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Reply, SignInError> {
        let request = self.http.post(url.clone()).body(form);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        self.call(endpoint, "POST", url, adapt(request)).await
    }

    async fn call(
        &self,
        endpoint: Endpoint,
        method: &'static str,
        url: &Url,
        request: RequestBuilder,
    ) -> Result<Reply, SignInError> {
        let span = info_span!(
            "provider",
            otel.name = format!("{method} {}", endpoint.as_str()),
            otel.kind = "client",
            http.request.method = method,
            // The path alone: a query can hold secrets.
            url.path = url.path(),
            server.address = url.host_str(),
            server.port = url.port_or_known_default().map(i64::from),
            counter_api.provider = %self.provider,
            http.response.status_code = field::Empty,
            error.type = field::Empty,
            otel.status_code = field::Empty,
        );
        let labels = ProviderCall { provider: &self.provider, endpoint, method, status: None, error_type: "cancelled" };
        let mut observation = Observation { labels, span: span.clone(), started: Instant::now() };
        let result = self.attempt(endpoint, request, &mut observation.labels.status).instrument(span).await;
        observation.labels.error_type = match &result {
            Ok(reply) if reply.status >= 400 => "status",
            Ok(_) => "",
            Err((error_type, _)) => error_type,
        };
        result.map_err(|(error_type, detail)| {
            let detail = format!("{} {detail}", endpoint.as_str());
            let failure = if error_type == "too_large" {
                SignInFailure::ProviderInvalid
            } else {
                SignInFailure::ProviderUnavailable
            };
            SignInError::new(failure, detail)
        })
    }

    /// The error is a word for the label `error_type`, and what happened.
    async fn attempt(
        &self,
        endpoint: Endpoint,
        request: RequestBuilder,
        status: &mut Option<u16>,
    ) -> Result<Reply, (&'static str, String)> {
        // The wait for a place is part of it.
        let due = Instant::now() + self.timeout;
        let place = tokio::time::timeout_at(due, self.places.acquire()).await;
        let Ok(Ok(_place)) = place else {
            return Err(("overloaded", "was not asked: too many calls wait for this provider".to_owned()));
        };
        let failed = |error: reqwest::Error| {
            // The text of an error holds the address, which can hold secrets.
            if error.is_timeout() {
                ("timeout", "did not answer in time".to_owned())
            } else if error.is_connect() {
                ("connect", "cannot be reached".to_owned())
            } else {
                ("network", "broke off".to_owned())
            }
        };
        let rest = due.saturating_duration_since(Instant::now());
        let mut response = request.timeout(rest).send().await.map_err(failed)?;
        let code = response.status().as_u16();
        *status = Some(code);
        if code >= 500 || code == 429 {
            return Err(("status", format!("answered {code}")));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(("too_large", "answered too much".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status: code, body, endpoint })
    }
}

/// Records itself when it is dropped: also when the call's future is.
struct Observation<'a> {
    labels: ProviderCall<'a>,
    span: Span,
    started: Instant,
}

impl Drop for Observation<'_> {
    fn drop(&mut self) {
        if let Some(status) = self.labels.status {
            self.span.record("http.response.status_code", i64::from(status));
        }
        if !self.labels.error_type.is_empty() {
            self.span.record("error.type", self.labels.error_type);
            self.span.record("otel.status_code", "ERROR");
        }
        let of = self.span.in_scope(trace::sampled_ids);
        metrics::provider_call(self.labels, self.started.elapsed(), of);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_wait_for_a_place_is_part_of_the_deadline() {
        const TIMEOUT: Duration = Duration::from_secs(10);
        // Whoever connects is never answered.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", silent.local_addr().unwrap())).unwrap();
        let outbound = Outbound::new("company".parse().unwrap(), client().unwrap(), TIMEOUT);
        let all = outbound.places.clone().acquire_many_owned(u32::try_from(MAX_CALLS).unwrap()).await.unwrap();
        let begun = Instant::now();
        let calling = tokio::spawn({
            let outbound = outbound.clone();
            async move { outbound.get(Endpoint::Token, &url, |request| request).await.err() }
        });
        tokio::time::sleep(TIMEOUT * 3 / 4).await;
        drop(all);
        let error = calling.await.unwrap().expect("nobody has answered");
        let taken = begun.elapsed();
        assert_eq!(error.failure, SignInFailure::ProviderUnavailable, "{error:?}");
        assert!((TIMEOUT..TIMEOUT * 3 / 2).contains(&taken), "{error:?} after {taken:?}");
    }
}
