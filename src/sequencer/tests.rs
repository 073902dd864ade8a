//! The sequencer over a store whose commits take as long as the test says: no real one can be held still.

use std::collections::BTreeSet;

use super::*;
use crate::domain::{CounterName, UserId};
use crate::store::held::Held;
use crate::store::{Key, Outcome};

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
async fn however_far_a_batch_is_split_few_of_its_parts_are_under_way_at_once() {
    let store = Held::divisive(None);
    let sequencer = sequencer(&store, 1_000);
    let calls: Vec<_> = (0..64).map(|_| spawn(&sequencer, &counter(), take(), after(60_000))).collect();
    until(|| !store.batches.lock().unwrap().is_empty()).await;
    let gate = store.clone();
    let opening = tokio::spawn(async move {
        // Each commit stays until those that it was split into before have come.
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            gate.gate.add_permits(1);
        }
    });
    for call in calls {
        assert_eq!(first(call.await.unwrap().unwrap()), 1);
    }
    opening.abort();
    // The one that was whole goes on beside those that were split off.
    assert_eq!(store.most_under_way.load(Ordering::Acquire), queue::MAX_SPLITS + 1);
    assert_eq!(store.batches.lock().unwrap().len(), 64 + 63, "each part was tried once");
    until(|| sequencer.shared.lock().is_idle()).await;
    assert_eq!(sequencer.shared.lock().counters(), 0);
}

#[tokio::test]
async fn parts_that_were_never_sent_are_refused_where_the_store_does_not_answer() {
    for error in [StoreError::Unavailable(Cause::timeout()), StoreError::OutcomeUnknown(Cause::timeout())] {
        let store = Held::divisive(Some(error.clone()));
        let sequencer = sequencer(&store, 1_000);
        let calls: Vec<_> = (0..64).map(|_| spawn(&sequencer, &counter(), take(), after(60_000))).collect();
        until(|| !store.batches.lock().unwrap().is_empty()).await;
        store.gate.add_permits(1_000);
        let (mut same, mut refused) = (0, 0);
        for call in calls {
            match call.await.unwrap() {
                Err(CallError::Store(told)) if told == error => same += 1,
                Err(CallError::Store(StoreError::Unavailable(_))) => refused += 1,
                other => panic!("{other:?}"),
            }
        }
        let sent = store.batches.lock().unwrap().iter().filter(|calls| **calls == 1).count();
        assert!(sent < 64, "every part was sent");
        assert_eq!(same + refused, 64);
        // Nobody is told that the outcome is unknown of what was not sent.
        if matches!(error, StoreError::OutcomeUnknown(_)) {
            assert_eq!((same, refused), (sent, 64 - sent));
        }
        until(|| sequencer.shared.lock().is_idle()).await;
        assert_eq!(sequencer.shared.lock().counters(), 0);
    }
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
async fn only_a_conflict_over_its_key_tells_a_keyed_call_that_the_first_one_is_under_way() {
    for (kind, expected) in [
        (ErrorType::KeyConflict, CallError::KeyInFlight),
        (ErrorType::Conflict, CallError::Store(StoreError::Conflict(Cause::new(ErrorType::Conflict, "met")))),
    ] {
        let store = Held::failing(Some(StoreError::Conflict(Cause::new(kind, "met"))));
        let sequencer = sequencer(&store, 10);
        store.gate.add_permits(2);
        assert_eq!(sequencer.call(counter(), keyed("k"), after(20_000)).await, Err(expected));
        let without = sequencer.call(counter(), take(), after(20_000)).await;
        assert!(matches!(without, Err(CallError::Store(StoreError::Conflict(_)))), "{without:?}");
    }
}

#[tokio::test]
async fn where_two_keys_may_be_met_neither_call_is_told_that_its_own_is() {
    let store = Held::failing(Some(StoreError::Conflict(Cause::new(ErrorType::KeyConflict, "met"))));
    let sequencer = sequencer(&store, 10);
    let counter = counter();
    let first = spawn(&sequencer, &counter, take(), after(60_000));
    until(|| !store.batches.lock().unwrap().is_empty()).await;
    let calls = ["k", "l"].map(|key| spawn(&sequencer, &counter, keyed(key), after(60_000)));
    until(|| sequencer.shared.lock().waiting() == 2).await;
    store.gate.add_permits(2);
    assert!(first.await.unwrap().is_err());
    for call in calls {
        let told = call.await.unwrap();
        assert!(matches!(told, Err(CallError::Store(StoreError::Conflict(_)))), "{told:?}");
    }
    assert_eq!(*store.batches.lock().unwrap(), [1, 2]);
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
    let store = Held::failing(Some(StoreError::OutcomeUnknown(Cause::new(ErrorType::Network, "gone"))));
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
