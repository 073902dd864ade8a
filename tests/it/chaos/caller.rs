//! Callers that write down what they saw.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::fleet::Front;
use crate::support::client::{self, Answer, User};
use crate::support::history::{Call, Operation, Outcome, RANGE};

/// A counter under load.
pub(crate) struct Counter {
    pub(crate) number: usize,
    pub(crate) name: &'static str,
    /// Its owner, at each of the replicas.
    owner: Vec<User>,
    sets: AtomicU64,
}

impl Counter {
    pub(crate) fn new(number: usize, name: &'static str, owner: &[User]) -> Self {
        Self { number, name, owner: owner.to_vec(), sets: AtomicU64::new(0) }
    }

    /// A value for a set, from a range of its own.
    pub(crate) fn fresh_value(&self) -> u64 {
        (self.sets.fetch_add(1, Ordering::Relaxed) + 1) * RANGE
    }
}

/// Somebody who calls through the front, one call after the other.
pub(crate) struct Caller {
    pub(crate) front: Arc<Front>,
    pub(crate) rng: StdRng,
    /// The moment from which the history counts.
    pub(crate) since: Instant,
    /// Calls of all callers that were answered with success.
    pub(crate) progress: Arc<AtomicU64>,
    pub(crate) history: Vec<Operation>,
}

impl Caller {
    /// Another caller at the same front, with a history of its own.
    pub(crate) fn another(&mut self) -> Self {
        let (front, progress) = (self.front.clone(), self.progress.clone());
        Self { front, rng: StdRng::from_rng(&mut self.rng), since: self.since, progress, history: Vec::new() }
    }

    /// Makes one call, and writes down how it ended. Where nobody listens it goes to another replica, for then nothing was
    /// sent; it is never sent twice.
    pub(crate) async fn call(&mut self, counter: &Counter, call: Call, key: Option<u64>) -> Outcome {
        let replica = self.front.pick(&mut self.rng);
        self.call_at(replica, counter, call, key).await.0
    }

    /// The same at this replica first. The ETag as well, where the answer has one.
    pub(crate) async fn call_at(
        &mut self,
        mut replica: usize,
        counter: &Counter,
        call: Call,
        key: Option<u64>,
    ) -> (Outcome, Option<u64>) {
        let called = Instant::now();
        let (began, answer) = loop {
            let began = self.since.elapsed();
            match request(&counter.owner[replica], counter, call, key).try_send().await {
                Err(error) if error.is_connect() => {
                    assert!(called.elapsed() < GIVE_UP_AFTER, "no replica listens: {error:?}");
                    pause(Duration::from_millis(20)).await;
                    replica = self.front.pick(&mut self.rng);
                }
                answer => break (began, answer.ok()),
            }
        };
        let outcome = answer.as_ref().map_or(Outcome::Unknown, |answer| outcome(call, answer));
        let ended = self.since.elapsed();
        self.history.push(Operation { counter: counter.number, call, key, began, ended, outcome });
        match outcome {
            // Whoever is refused does not ask again at once.
            Outcome::Refused | Outcome::Unknown => pause(self.rng.random_range(PAUSES)).await,
            _ => {
                self.progress.fetch_add(1, Ordering::Relaxed);
            }
        }
        (outcome, answer.as_ref().and_then(etag))
    }

    /// Makes one keyed call, and repeats it until its outcome is definite.
    pub(crate) async fn call_until_definite(&mut self, counter: &Counter, call: Call) -> Outcome {
        let key = self.rng.random();
        self.repeat_until_definite(counter, call, key).await
    }

    /// The same with a key that may have been used for this call before. Gives up in the end: the history then shows it.
    pub(crate) async fn repeat_until_definite(&mut self, counter: &Counter, call: Call, key: u64) -> Outcome {
        let begun = Instant::now();
        loop {
            let outcome = self.call(counter, call, Some(key)).await;
            let undecided = matches!(outcome, Outcome::Refused | Outcome::Unknown);
            if !undecided || begun.elapsed() > GIVE_UP_AFTER {
                return outcome;
            }
        }
    }
}

/// Far more than any fault lasts.
const GIVE_UP_AFTER: Duration = Duration::from_secs(120);

const PAUSES: std::ops::Range<Duration> = Duration::from_millis(10)..Duration::from_millis(60);

pub(crate) async fn pause(length: Duration) {
    tokio::time::sleep(length).await;
}

fn request(user: &User, counter: &Counter, call: Call, key: Option<u64>) -> client::Call {
    let path = |what: &str| format!("/v1/counters/{}/{what}", counter.name);
    let request = match call {
        Call::Take(1) => user.post(&path("next")),
        Call::Take(count) => user.post(&path(&format!("next?count={count}"))),
        Call::Read | Call::Final => user.get(&path("current")),
        Call::Set { value, race } => {
            let request = user.put(&path("current")).json(&json!({ "current": value }));
            match race {
                Some(etag) => request.header("if-match", &format!("\"{etag}\"")),
                None => request,
            }
        }
    };
    match key {
        Some(key) => request.key(&key.to_string()),
        None => request,
    }
}

/// What an answer says of its call. Fails where it says what it must not, whatever happens to the service.
fn outcome(call: Call, answer: &Answer) -> Outcome {
    match (answer.status, answer.json["code"].as_str().unwrap_or_default()) {
        (200, _) => match call {
            Call::Take(1) => Outcome::Took { first: answer.number("value"), last: answer.number("value") },
            Call::Take(count) => {
                let (first, last) = (answer.number("first"), answer.number("last"));
                if last + 1 != first + count {
                    answer.fail(&format!("expected {count} numbers"));
                }
                Outcome::Took { first, last }
            }
            Call::Set { .. } => Outcome::Was(answer.number("previous")),
            Call::Read | Call::Final => Outcome::Read(answer.number("value")),
        },
        // A counter that nobody has used yet.
        (404, _) if matches!(call, Call::Read | Call::Final) => Outcome::Read(0),
        (412, "precondition_failed") => Outcome::Mismatch,
        (503, "store_unavailable" | "overloaded" | "draining") => Outcome::Refused,
        (503, "outcome_unknown") | (409, "idempotency_key_in_flight") => Outcome::Unknown,
        _ => answer.fail("no answer that a fault explains"),
    }
}

/// The counter's version, which is its ETag.
fn etag(answer: &Answer) -> Option<u64> {
    answer.header("etag")?.trim_matches('"').parse().ok()
}
