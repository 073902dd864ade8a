//! Rate limits (GCRA), counted on each replica: by client address of what tries passwords or signs in, by token of every call that
//! needs one.
//!
//! Where a limit is counted before the handler, the answer tells it in `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers-11).

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config::{LimitsConfig, Rate};
use crate::error::{ApiError, Code};
use crate::metrics;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// How often callers that have not come for long are forgotten.
const FORGET_PERIOD: Duration = Duration::from_secs(60);

/// The limits of this replica.
pub struct Limits {
    auth: Option<Limiter<IpAddr>>,
    per_token: Option<Limiter<Uuid>>,
}

impl Limits {
    /// As the settings say.
    pub fn new(config: &LimitsConfig) -> Self {
        Self { auth: config.auth.and_then(Limiter::new), per_token: config.per_token.and_then(Limiter::new) }
    }

    /// Forgets callers that have not come for long, until told to stop: else the limiters would grow without end.
    pub async fn forget(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(FORGET_PERIOD)).await.is_some() {
            if let Some(limiter) = &self.auth {
                limiter.forget();
            }
            if let Some(limiter) = &self.per_token {
                limiter.forget();
            }
        }
    }

    /// Counts a try at a password, or a sign-in, of who is at this address.
    pub fn address(&self, address: IpAddr, route: &str) -> Standing {
        check(self.auth.as_ref(), &address, route)
    }

    /// Counts it with those of [`Self::address`], where no header tells of the limit.
    pub fn attempt(&self, address: IpAddr, route: &str) -> Result<(), ApiError> {
        self.address(address, route).refused.map_or(Ok(()), Err)
    }

    /// Counts a call with this token.
    pub fn token(&self, jti: Uuid, route: &str) -> Standing {
        check(self.per_token.as_ref(), &jti, route)
    }
}

/// How a caller stands with a limit: the headers to tell it, and whether the call may go on.
pub struct Standing {
    headers: HeaderMap,
    refused: Option<ApiError>,
}

impl Standing {
    /// Refuses the call, or lets it go on; tells the limit in either case.
    pub async fn apply(self, proceed: impl Future<Output = Response>) -> Response {
        let mut response = match self.refused {
            Some(error) => error.into_response(),
            None => proceed.await,
        };
        response.headers_mut().extend(self.headers);
        response
    }
}

fn check<K: Hash + Eq + Clone>(limiter: Option<&Limiter<K>>, key: &K, route: &str) -> Standing {
    let standing = limiter.map(|limiter| limiter.check(key));
    if standing.as_ref().is_some_and(|standing| standing.refused.is_some()) {
        metrics::rate_limited(route);
    }
    standing.unwrap_or(Standing { headers: HeaderMap::new(), refused: None })
}

struct Limiter<K: Hash + Eq + Clone> {
    rate: Rate,
    interval: Duration,
    clock: DefaultClock,
    states: RateLimiter<K, DashMapStateStore<K>, DefaultClock, StateInformationMiddleware>,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    fn new(rate: Rate) -> Option<Self> {
        let interval = rate.period / rate.count.get();
        let quota = Quota::with_period(interval)?.allow_burst(rate.count);
        let states = RateLimiter::dashmap(quota).with_middleware::<StateInformationMiddleware>();
        Some(Self { rate, interval, clock: DefaultClock::default(), states })
    }

    fn forget(&self) {
        self.states.retain_recent();
        // What a flood of callers took goes back as well.
        self.states.shrink_to_fit();
    }

    fn check(&self, key: &K) -> Standing {
        let (remaining, wait) = match self.states.check_key(key) {
            Ok(snapshot) => (snapshot.remaining_burst_capacity(), None),
            Err(refusal) => (0, Some(refusal.wait_time_from(self.clock.now()))),
        };
        // Seconds until the whole quota is there again.
        let reset =
            (self.interval * (self.rate.count.get() - remaining.min(self.rate.count.get()))).as_secs_f64().ceil();
        let texts = [
            (POLICY, format!("\"default\";q={};w={}", self.rate.count, self.rate.period.as_secs())),
            (LIMIT, format!("\"default\";r={remaining};t={reset}")),
        ];
        let headers =
            texts.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::from_str(&text).ok()?))).collect();
        let refused = wait.map(|wait| {
            let wait = wait.max(Duration::from_secs(1));
            let detail = format!("Repeat after {} s, as `Retry-After` says.", wait.as_secs_f64().ceil());
            ApiError::new(Code::RateLimited).with_retry_after(wait).with_detail(detail)
        });
        Standing { headers, refused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_burst_calls_are_refused_and_told_when_to_come_back() {
        let rate = Rate { count: 2.try_into().unwrap(), period: Duration::from_secs(60) };
        let limiter = Limiter::new(rate).unwrap();
        let first = limiter.check(&1);
        assert!(first.refused.is_none());
        assert_eq!(first.headers[POLICY], "\"default\";q=2;w=60");
        assert_eq!(first.headers[LIMIT], "\"default\";r=1;t=30");
        assert!(limiter.check(&1).refused.is_none());
        let refused = limiter.check(&1).refused.unwrap();
        let told = format!("{refused:?}");
        let refused = refused.into_response();
        let after: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=30).contains(&after), "{after}");
        assert!(told.contains(&format!("Repeat after {after} s")), "{told}");
        assert!(limiter.check(&2).refused.is_none(), "somebody else is refused");
    }
}
