//! What the tests share: starting the service and its databases, and speaking to it.

pub(crate) mod client;
pub(crate) mod history;
pub(crate) mod load;
pub(crate) mod mongod;
pub(crate) mod openapi;
pub(crate) mod otlp;
pub(crate) mod plot;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod service;
pub(crate) mod stores;

use std::time::Duration;

use tokio::time::Instant;

/// How long a condition may take to come true before a test gives up. Far above what is normal: machines are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer. Panics with `what` when `within` has passed.
pub(crate) async fn eventually_within<T>(within: Duration, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// [`eventually_within`] [`PATIENCE`].
pub(crate) async fn eventually<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, ask).await
}
