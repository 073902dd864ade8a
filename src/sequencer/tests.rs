//! The sequencer over a store whose commits take as long as the test says: no real one can be held still.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::*;
use crate::domain::{CounterName, CounterValue, Email, Identity, ProviderName, Timestamp, UserId};
use crate::store::plan::Known;
use crate::store::{
    Batch, Counter, Key, Login, LoginHash, LoginUse, NamedCounter, NewUser, Outcome, PrepareError, Rules, TokenHash,
    Unlinked, User,
};

const RULES: Rules = Rules { initial_value: CounterValue::new(0).unwrap(), counters_per_user: 100 };

/// A store in memory, for one thing that no real one can do: a commit takes as long as the test says.
struct Held {
    counters: Mutex<HashMap<CounterId, Counter>>,
    /// One permit lets one commit pass.
    gate: Semaphore,
    batches: Mutex<Vec<usize>>,
    fail: Option<StoreError>,
    /// Every batch with this counter conflicts.
    contested: Option<CounterId>,
}

impl Default for Held {
    fn default() -> Self {
        let gate = Semaphore::new(0);
        Self { counters: Mutex::default(), gate, batches: Mutex::default(), fail: None, contested: None }
    }
}

impl Held {
    fn new() -> Arc<Self> {
        Self::failing(None)
    }

    fn failing(fail: Option<StoreError>) -> Arc<Self> {
        Arc::new(Self { fail, ..Self::default() })
    }

    fn contested(counter: &CounterId) -> Arc<Self> {
        Arc::new(Self { contested: Some(counter.clone()), ..Self::default() })
    }
}

#[async_trait]
impl Store for Held {
    fn system(&self) -> &'static str {
        "held"
    }

    fn flights(&self) -> usize {
        1
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Vec<Answer>>, StoreError> {
        self.batches.lock().unwrap().push(batch.groups.iter().map(|group| group.ops.len()).sum());
        self.gate.acquire().await.unwrap().forget();
        if let Some(error) = &self.fail {
            return Err(error.clone());
        }
        if batch.groups.iter().any(|group| Some(&group.counter) == self.contested.as_ref()) {
            return Err(StoreError::Conflict(Cause::new("conflict", "another writer")));
        }
        let mut counters = self.counters.lock().unwrap();
        let users = batch.groups.iter().map(|group| (group.counter.user, 0)).collect();
        let known = Known { counters: counters.clone(), users, ..Known::default() };
        let plan = crate::store::plan::plan(batch, &known, RULES);
        counters.extend(plan.writes.into_iter().map(|write| (write.counter, write.after)));
        Ok(plan.answers)
    }

    async fn prepare(&self) -> Result<(), PrepareError> {
        unreachable!()
    }
    async fn ping(&self) -> Result<(), StoreError> {
        unreachable!()
    }
    async fn current(&self, _: &CounterId) -> Result<Option<Counter>, StoreError> {
        unreachable!()
    }
    async fn counters(&self, _: UserId, _: Option<&CounterName>, _: usize) -> Result<Vec<NamedCounter>, StoreError> {
        unreachable!()
    }
    async fn delete_counter(&self, _: &CounterId) -> Result<bool, StoreError> {
        unreachable!()
    }
    async fn create_user(&self, _: &NewUser) -> Result<(), StoreError> {
        unreachable!()
    }
    async fn user_by_identity(&self, _: &Identity) -> Result<Option<User>, StoreError> {
        unreachable!()
    }
    async fn add_identity(&self, _: UserId, _: &Identity) -> Result<bool, StoreError> {
        unreachable!()
    }
    async fn remove_identities(&self, _: UserId, _: &ProviderName) -> Result<Unlinked, StoreError> {
        unreachable!()
    }
    async fn keep_login(&self, _: &LoginHash, _: &Login) -> Result<(), StoreError> {
        unreachable!()
    }
    async fn login(&self, _: &LoginHash, _: LoginUse, _: Timestamp) -> Result<Option<Login>, StoreError> {
        unreachable!()
    }
    async fn user_by_email(&self, _: &Email) -> Result<Option<User>, StoreError> {
        unreachable!()
    }
    async fn user(&self, _: UserId) -> Result<Option<User>, StoreError> {
        unreachable!()
    }
    async fn record_token(&self, _: UserId, _: &TokenHash) -> Result<Option<u64>, StoreError> {
        unreachable!()
    }
    async fn revoke_tokens(&self, _: UserId) -> Result<Option<u64>, StoreError> {
        unreachable!()
    }
    async fn delete_user(&self, _: UserId) -> Result<bool, StoreError> {
        unreachable!()
    }
    async fn close(&self) {}
}

fn counter() -> CounterId {
    CounterId { user: UserId::generate(), name: CounterName::default_counter() }
}

fn take() -> Op {
    Op { action: Action::Take(1), key: None }
}

fn keyed(key: &str) -> Op {
    Op { action: Action::Take(1), key: Some(Key { key: key.parse().unwrap(), fingerprint: "f".into() }) }
}

fn after(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

fn sequencer(store: &Arc<Held>, max_waiting: usize) -> Sequencer {
    Sequencer::new(store.clone(), max_waiting, Handle::current())
}

/// Waits until something holds, for at most 20 s.
async fn until(holds: impl Fn() -> bool) {
    let deadline = after(20_000);
    while !holds() {
        assert!(Instant::now() < deadline, "it never came to hold");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn first(answer: Answer) -> u64 {
    match answer.outcome {
        Outcome::Taken { first, .. } => first.get(),
        other => panic!("no number: {other:?}"),
    }
}

fn spawn(
    sequencer: &Sequencer,
    counter: &CounterId,
    op: Op,
    deadline: Instant,
) -> tokio::task::JoinHandle<Result<Answer, CallError>> {
    let (sequencer, counter) = (sequencer.clone(), counter.clone());
    tokio::spawn(async move { sequencer.call(counter, op, deadline).await })
}

#[tokio::test]
async fn calls_that_wait_leave_together_and_none_is_lost() {
    let store = Held::new();
    let sequencer = sequencer(&store, 1_000);
    let counter = counter();
    let mut calls = vec![spawn(&sequencer, &counter, take(), after(20_000))];
    until(|| !store.batches.lock().unwrap().is_empty()).await;
    calls.extend((0..49).map(|_| spawn(&sequencer, &counter, take(), after(20_000))));
    until(|| sequencer.shared.lock().waiting() == 49).await;
    store.gate.add_permits(2);
    let mut numbers = BTreeSet::new();
    for call in calls {
        numbers.insert(first(call.await.unwrap().unwrap()));
    }
    assert_eq!(numbers, (1..=50).collect());
    assert_eq!(*store.batches.lock().unwrap(), [1, 49]);
    assert_eq!(sequencer.shared.lock().counters(), 0, "state is left for a counter that nobody calls");
}

#[tokio::test]
async fn calls_that_come_at_the_same_time_leave_together() {
    let store = Held::new();
    store.gate.add_permits(1);
    let sequencer = sequencer(&store, 1_000);
    let calls: Vec<_> = (0..50).map(|_| spawn(&sequencer, &counter(), take(), after(20_000))).collect();
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    assert_eq!(*store.batches.lock().unwrap(), [50]);
}

#[tokio::test]
async fn a_batch_that_conflicts_is_split_and_holds_up_none_but_the_counter_that_conflicts() {
    let contested = counter();
    let store = Held::contested(&contested);
    store.gate.add_permits(1_000);
    let sequencer = sequencer(&store, 1_000);
    let conflicting = spawn(&sequencer, &contested, take(), after(20_000));
    let calls: Vec<_> = (0..7).map(|_| spawn(&sequencer, &counter(), take(), after(20_000))).collect();
    for call in calls {
        assert_eq!(first(call.await.unwrap().unwrap()), 1);
    }
    assert!(matches!(conflicting.await.unwrap(), Err(CallError::Store(StoreError::Conflict(_)))));
    let mut batches = store.batches.lock().unwrap().clone();
    batches.sort_unstable();
    assert_eq!(batches, [1, 1, 2, 2, 4, 4, 8]);
    until(|| sequencer.shared.lock().is_idle()).await;
}

#[tokio::test]
async fn a_call_that_is_withdrawn_before_it_left_takes_nothing() {
    let store = Held::new();
    let sequencer = sequencer(&store, 1_000);
    let counter = counter();
    let leaving = spawn(&sequencer, &counter, take(), after(20_000));
    until(|| !store.batches.lock().unwrap().is_empty()).await;
    let withdrawn = spawn(&sequencer, &counter, take(), after(20_000));
    until(|| sequencer.shared.lock().waiting() == 1).await;
    withdrawn.abort();
    assert!(withdrawn.await.unwrap_err().is_cancelled());
    let last = spawn(&sequencer, &counter, take(), after(20_000));
    until(|| sequencer.shared.lock().waiting() == 2).await;
    store.gate.add_permits(2);
    assert_eq!(first(leaving.await.unwrap().unwrap()), 1);
    assert_eq!(first(last.await.unwrap().unwrap()), 2);
}

#[tokio::test]
async fn a_deadline_is_definite_while_waiting_and_unknown_once_under_way() {
    let store = Held::new();
    let sequencer = sequencer(&store, 1_000);
    let counter = counter();
    let under_way = spawn(&sequencer, &counter, take(), after(200));
    until(|| !store.batches.lock().unwrap().is_empty()).await;
    let waiting = spawn(&sequencer, &counter, take(), after(100));
    assert!(matches!(waiting.await.unwrap(), Err(CallError::Store(StoreError::Unavailable(_)))));
    assert!(matches!(under_way.await.unwrap(), Err(CallError::Store(StoreError::OutcomeUnknown(_)))));
    // The operation goes on, and what it took is not handed out again.
    let next = spawn(&sequencer, &counter, take(), after(20_000));
    store.gate.add_permits(2);
    assert_eq!(first(next.await.unwrap().unwrap()), 2);
}

#[tokio::test]
async fn a_repeated_key_waits_for_the_first_call_and_then_says_in_flight() {
    let store = Held::new();
    let sequencer = sequencer(&store, 1_000);
    let counter = counter();
    let under_way = spawn(&sequencer, &counter, keyed("k"), after(20_000));
    until(|| !store.batches.lock().unwrap().is_empty()).await;
    assert_eq!(sequencer.call(counter.clone(), keyed("k"), after(50)).await, Err(CallError::KeyInFlight));
    store.gate.add_permits(1);
    assert_eq!(first(under_way.await.unwrap().unwrap()), 1);
}

#[tokio::test]
async fn beyond_the_bound_calls_are_refused_at_once() {
    let store = Held::new();
    let sequencer = sequencer(&store, 2);
    let counter = counter();
    let mut calls = vec![spawn(&sequencer, &counter, take(), after(20_000))];
    until(|| !store.batches.lock().unwrap().is_empty()).await;
    calls.extend((0..2).map(|_| spawn(&sequencer, &counter, take(), after(20_000))));
    until(|| sequencer.shared.lock().waiting() == 2).await;
    assert_eq!(sequencer.call(counter, take(), after(20_000)).await, Err(CallError::Overloaded));
    store.gate.add_permits(2);
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_failure_reaches_every_caller_and_a_read_is_never_unknown() {
    let store = Held::failing(Some(StoreError::OutcomeUnknown(Cause::new("network", "gone"))));
    let sequencer = sequencer(&store, 10);
    store.gate.add_permits(2);
    let unknown = sequencer.call(counter(), take(), after(20_000)).await;
    assert!(matches!(unknown, Err(CallError::Store(StoreError::OutcomeUnknown(_)))));
    let read = sequencer.call(counter(), Op { action: Action::Read, key: None }, after(20_000)).await;
    assert!(matches!(read, Err(CallError::Store(StoreError::Unavailable(_)))));
}

#[tokio::test]
async fn closing_waits_for_what_is_under_way_and_refuses_what_comes() {
    let store = Held::new();
    let sequencer = sequencer(&store, 10);
    let counter = counter();
    let call = spawn(&sequencer, &counter, take(), after(20_000));
    until(|| !store.batches.lock().unwrap().is_empty()).await;
    assert!(!sequencer.close(Duration::from_millis(20)).await);
    assert_eq!(sequencer.call(counter, take(), after(20_000)).await, Err(CallError::Draining));
    store.gate.add_permits(1);
    assert!(sequencer.close(Duration::from_secs(20)).await);
    assert!(call.await.unwrap().is_ok());
}
