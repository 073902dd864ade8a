//! The rules of counters, one batch at a time.

use super::*;
use crate::domain::CounterName;

const RULES: Rules = Rules { initial_value: CounterValue::new(0).unwrap(), counters_per_user: 2 };
const NOW: Timestamp = Timestamp::from_millis(1_000);

fn value(value: u64) -> CounterValue {
    CounterValue::new(value).unwrap()
}

fn id(user: UserId, name: &str) -> CounterId {
    CounterId { user, name: name.parse().unwrap() }
}

fn op(action: Action) -> Op {
    Op { action, key: None }
}

fn keyed(action: Action, key: &str, fingerprint: &str) -> Op {
    Op { action, key: Some(Key { key: key.parse().unwrap(), fingerprint: fingerprint.into() }) }
}

fn one(counter: &CounterId, ops: Vec<Op>) -> Batch {
    Batch { groups: vec![Group { counter: counter.clone(), ops }], now: NOW }
}

fn at(counter: &CounterId, v: u64) -> Known {
    let state = Counter { value: value(v), version: 7, updated_at: NOW };
    Known { counters: [(counter.clone(), state)].into(), ..Known::default() }
}

#[test]
fn numbers_are_split_in_the_order_of_arrival() {
    let counter = id(UserId::generate(), "default");
    let plan = plan(
        &one(&counter, vec![op(Action::Take(1)), op(Action::Take(5)), op(Action::Read), op(Action::Take(1))]),
        &at(&counter, 42),
        RULES,
    );
    let after = Counter { value: value(49), version: 10, updated_at: NOW };
    let outcomes: Vec<_> = plan.answers[0].iter().map(|answer| answer.outcome).collect();
    assert_eq!(
        outcomes,
        [
            Outcome::Taken { first: value(43), last: value(43) },
            Outcome::Taken { first: value(44), last: value(48) },
            Outcome::Read(Some(after)),
            Outcome::Taken { first: value(49), last: value(49) },
        ]
    );
    assert_eq!(plan.writes.len(), 1);
    assert_eq!(plan.writes[0].after, after);
}

#[test]
fn near_the_top_a_smaller_call_still_gets_its_number() {
    let counter = id(UserId::generate(), "default");
    let known = at(&counter, CounterValue::MAX.get() - 2);
    let plan = plan(&one(&counter, vec![op(Action::Take(3)), op(Action::Take(2)), op(Action::Take(1))]), &known, RULES);
    let outcomes: Vec<_> = plan.answers[0].iter().map(|answer| answer.outcome).collect();
    assert_eq!(outcomes[0], Outcome::Refused(Refusal::CounterExhausted));
    assert_eq!(outcomes[1], Outcome::Taken { first: value((1 << 53) - 2), last: CounterValue::MAX });
    assert_eq!(outcomes[2], Outcome::Refused(Refusal::CounterExhausted));
}

#[test]
fn a_refusal_writes_nothing() {
    let counter = id(UserId::generate(), "default");
    let top = at(&counter, CounterValue::MAX.get());
    assert_eq!(plan(&one(&counter, vec![op(Action::Take(1))]), &top, RULES).writes, []);
}

#[test]
fn a_repeated_key_takes_nothing_even_within_one_batch() {
    let counter = id(UserId::generate(), "default");
    let ops = vec![
        keyed(Action::Take(1), "k", "same"),
        keyed(Action::Take(1), "k", "same"),
        keyed(Action::Take(2), "k", "other"),
    ];
    let plan = plan(&one(&counter, ops), &at(&counter, 0), RULES);
    let taken = Outcome::Taken { first: value(1), last: value(1) };
    assert_eq!(plan.answers[0][0], Answer { outcome: taken, replayed: false });
    assert_eq!(plan.answers[0][1], Answer { outcome: taken, replayed: true });
    assert_eq!(plan.answers[0][2], Answer { outcome: Outcome::Refused(Refusal::KeyReused), replayed: false });
    assert_eq!(plan.records.len(), 1);
    assert_eq!(plan.writes[0].after.value, value(1));
}

#[test]
fn an_expired_key_is_as_good_as_none() {
    let counter = id(UserId::generate(), "default");
    let mut known = at(&counter, 5);
    let record = KeyRecord {
        fingerprint: "same".into(),
        outcome: Outcome::Taken { first: value(1), last: value(1) },
        expires_at: NOW,
    };
    known.keys.insert((counter.user, "k".parse().unwrap()), record);
    let plan = plan(&one(&counter, vec![keyed(Action::Take(1), "k", "same")]), &known, RULES);
    assert_eq!(plan.answers[0][0].outcome, Outcome::Taken { first: value(6), last: value(6) });
    assert_eq!(plan.records.len(), 1);
}

#[test]
fn the_quota_counts_what_the_batch_itself_makes_and_spares_the_default_counter() {
    let user = UserId::generate();
    let groups =
        ["a", "b", "default"].map(|name| Group { counter: id(user, name), ops: vec![op(Action::Take(1))] }).to_vec();
    let known = Known { users: [(user, 1)].into(), ..Known::default() };
    let plan = plan(&Batch { groups, now: NOW }, &known, RULES);
    assert_eq!(plan.answers[1][0].outcome, Outcome::Refused(Refusal::QuotaReached));
    let made: Vec<_> = plan.writes.iter().map(|write| write.counter.name.clone()).collect();
    assert_eq!(made, ["a".parse::<CounterName>().unwrap(), CounterName::default_counter()]);
}

#[test]
fn a_user_that_is_gone_makes_no_counter_but_reads_nothing_wrong() {
    let counter = id(UserId::generate(), "default");
    let plan = plan(&one(&counter, vec![op(Action::Take(1)), op(Action::Read)]), &Known::default(), RULES);
    assert_eq!(plan.answers[0][0].outcome, Outcome::Refused(Refusal::UserGone));
    assert_eq!(plan.answers[0][1].outcome, Outcome::Read(None));
    assert_eq!(plan.writes, []);
}

#[test]
fn compare_and_set_knows_its_version() {
    let counter = id(UserId::generate(), "default");
    let known = at(&counter, 5);
    let set = |condition| {
        plan(&one(&counter, vec![op(Action::Set(value(9), condition))]), &known, RULES).answers[0][0].outcome
    };
    let done = Outcome::Set { value: value(9), previous: value(5), version: 8 };
    assert_eq!(set(Condition::Always), done);
    assert_eq!(set(Condition::Exists), done);
    assert_eq!(set(Condition::VersionIn(vec![3, 7])), done);
    assert_eq!(set(Condition::VersionIn(vec![8])), Outcome::Refused(Refusal::PreconditionFailed));
    assert_eq!(set(Condition::VersionIn(vec![])), Outcome::Refused(Refusal::PreconditionFailed));
}

#[test]
fn a_set_to_the_same_value_is_a_write_with_a_new_version() {
    let counter = id(UserId::generate(), "default");
    let plan = plan(&one(&counter, vec![op(Action::Set(value(5), Condition::Always))]), &at(&counter, 5), RULES);
    assert_eq!(plan.writes[0].after.version, 8);
}
