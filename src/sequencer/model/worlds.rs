//! The worlds that are checked.

use super::explore::{Found, explore};
use super::properties::*;
use super::*;
use crate::domain::UserId;
use crate::store::Condition;

/// All but an ordered stop.
const ANY: &[Fault] = &[Fault::TimeOut, Fault::Network, Fault::Failover, Fault::Crash];

fn world(calls: Vec<Call>) -> World {
    let user: UserId = "0190a5d6-7a4c-7000-8000-000000000001".parse().unwrap();
    World {
        calls,
        counters: ["a", "b"].map(|name| CounterId { user, name: name.parse().unwrap() }).to_vec(),
        keys: ["k", "l"].map(|key| key.parse().unwrap()).to_vec(),
        at_first: Some(Counter { value: RULES.initial_value, version: 1, updated_at: NOW }),
        limits: Limits { waiting: 10, flights: 1 },
        attempts: 2,
        faults: 2,
        kinds: ANY,
        situations: &[],
        mutation: None,
    }
}

fn call(at: usize, counter: usize, action: Action) -> Call {
    Call { at, counter, action, key: None, repeats: None }
}

fn set_to(value: u64) -> Action {
    Action::Set(CounterValue::new(value).unwrap(), Condition::Always)
}

fn take(at: usize, counter: usize) -> Call {
    call(at, counter, Action::Take(1))
}

impl Call {
    fn keyed(self, key: usize) -> Self {
        Self { key: Some(key), ..self }
    }

    fn repeating(self, first: usize) -> Self {
        Self { repeats: Some(first), ..self }
    }
}

/// Goes through the whole world: every promise holds, and every situation is met.
#[track_caller]
fn holds(world: &World) {
    let Found { states, broken, met } = explore(world, None);
    println!("{states} states");
    for ((name, _), met) in world.situations.iter().zip(met) {
        println!("{met:>9} × {name}");
        assert!(met > 0, "never met: {name}");
    }
    for (name, way) in &broken {
        println!("broken: {name}");
        way.iter().for_each(|event| println!("    {event:?}"));
    }
    assert!(broken.is_empty());
}

/// One counter, wanted by both replicas.
fn plain() -> World {
    World {
        faults: 1,
        situations: &[UNKNOWN, HOLE, LATE, ROLLED_BACK],
        ..world(vec![take(0, 0), take(1, 0), take(0, 0)])
    }
}

/// A keyed call, repeated elsewhere until it has an answer, beside one without a key.
fn keyed() -> World {
    let calls = vec![take(0, 0).keyed(0), take(1, 0).keyed(0).repeating(0), take(1, 0)];
    World { situations: &[UNKNOWN, HOLE, ROLLED_BACK, REPLAYED], ..world(calls) }
}

/// One replica wants two counters, and the other one of them.
fn conflicting() -> World {
    let kinds = &[Fault::Network, Fault::Failover];
    let calls = vec![take(0, 0), take(0, 1), take(1, 0)];
    World { kinds, faults: 1, situations: &[UNKNOWN, SPLIT, ROLLED_BACK], ..world(calls) }
}

/// A counter that is taken from, set and read.
fn reading() -> World {
    let calls = vec![take(0, 0), call(1, 0, set_to(100)), call(0, 0, Action::Read)];
    World { faults: 1, situations: &[UNKNOWN, ROLLED_BACK], ..world(calls) }
}

#[test]
fn three_takes() {
    holds(&plain());
}

#[test]
fn two_takes_and_three_faults() {
    let situations = &[UNKNOWN, HOLE, LATE, ROLLED_BACK, RETURNED];
    holds(&World { faults: 3, situations, ..world(vec![take(0, 0), take(1, 0)]) });
}

#[test]
fn a_key_repeated_until_there_is_an_answer() {
    holds(&keyed());
}

#[test]
fn one_key_at_two_replicas_at_once() {
    let calls = vec![take(0, 0).keyed(0), take(1, 0).keyed(0), take(1, 0).keyed(1)];
    holds(&World { faults: 1, kinds: &[Fault::Network, Fault::Failover], situations: &[REPLAYED], ..world(calls) });
}

#[test]
fn batches_that_conflict() {
    holds(&conflicting());
}

#[test]
fn a_counter_made_by_two_replicas_at_once() {
    holds(&World {
        at_first: None,
        situations: &[UNKNOWN, HOLE, ROLLED_BACK],
        ..world(vec![take(0, 0), take(1, 0).keyed(0)])
    });
}

/// The server remembers a session's statement only where it wrote something: a first try that comes after its retry found
/// no counter takes numbers of which nobody hears, if the counter was made in between.
#[test]
fn a_late_take_of_a_counter_that_was_not_there() {
    let kinds = &[Fault::Network];
    let situations = &[UNKNOWN, HOLE];
    holds(&World { at_first: None, faults: 1, kinds, situations, ..world(vec![take(0, 0), take(1, 0)]) });
}

#[test]
fn both_replicas_want_both_counters() {
    let calls = vec![take(0, 0), take(0, 1), take(1, 0), take(1, 1)];
    holds(&World { faults: 0, situations: &[SPLIT], ..world(calls) });
}

#[test]
fn setting_and_reading() {
    holds(&reading());
}

#[test]
fn full_queues_and_a_stop() {
    let calls = vec![take(0, 0), take(0, 0), take(0, 1)];
    let kinds = &[Fault::TimeOut, Fault::Close, Fault::Crash];
    holds(&World { kinds, limits: Limits { waiting: 1, flights: 2 }, situations: &[UNKNOWN, REFUSED], ..world(calls) });
}

/// What is made wrong on purpose is found.
#[track_caller]
fn breaks(mutation: Mutation, world: World, promises: &[&str]) {
    let world = World { mutation: Some(mutation), ..world };
    for promise in promises {
        let found = explore(&world, Some(promise));
        let way = found.broken.get(promise).unwrap_or_else(|| panic!("{mutation:?} does not break: {promise}"));
        println!("{mutation:?} breaks: {promise} ({} events, {} states)", way.len(), found.states);
    }
}

#[test]
fn a_blind_retry_leaves_holes() {
    breaks(Mutation::BlindRetry, plain(), &[NO_HOLE]);
}

#[test]
fn answers_before_the_majority_are_lost_and_given_again() {
    breaks(Mutation::EarlyAnswers, plain(), &[DURABLE, UNIQUE, ORDERED]);
}

#[test]
fn reads_of_what_no_majority_has_see_what_does_not_stay() {
    breaks(Mutation::LocalReads, reading(), &[DURABLE]);
}

#[test]
fn a_call_that_is_withdrawn_and_leaves_is_found() {
    breaks(Mutation::WithdrawnLeaves, plain(), &[DEFINITE]);
}

#[test]
fn keys_that_are_not_recorded_do_things_twice() {
    breaks(Mutation::KeysForgotten, keyed(), &[ONCE]);
}

#[test]
fn lost_updates_give_numbers_twice() {
    breaks(Mutation::LostUpdates, conflicting(), &[UNIQUE]);
}

#[test]
fn an_unknown_outcome_told_as_definite_is_found_out() {
    breaks(Mutation::UnknownAsDefinite, plain(), &[DEFINITE, NO_HOLE]);
}

#[test]
fn a_flight_that_never_lands_is_found() {
    breaks(Mutation::NeverLands, plain(), &[SOUND, ENDS]);
}
