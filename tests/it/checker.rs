//! The checker of histories finds each fault in a history that has just that one, and none in histories that are legal.

use std::time::Duration;

use crate::support::history::{Call, Kind, Operation, Outcome, RANGE, check};

const SET: u64 = RANGE;

/// A call at counter 0 from one second to another.
fn op(began: u64, ended: u64, call: Call, outcome: Outcome) -> Operation {
    let (began, ended) = (Duration::from_secs(began), Duration::from_secs(ended));
    Operation { counter: 0, call, key: None, began, ended, outcome }
}

fn take(began: u64, ended: u64, number: u64) -> Operation {
    block(began, ended, number, number)
}

fn block(began: u64, ended: u64, first: u64, last: u64) -> Operation {
    op(began, ended, Call::Take(last + 1 - first), Outcome::Took { first, last })
}

fn read(began: u64, ended: u64, value: u64) -> Operation {
    op(began, ended, Call::Read, Outcome::Read(value))
}

fn set(began: u64, ended: u64, value: u64, previous: u64) -> Operation {
    op(began, ended, Call::Set { value, race: None }, Outcome::Was(previous))
}

fn unknown_set(began: u64, value: u64) -> Operation {
    op(began, began + 1, Call::Set { value, race: None }, Outcome::Unknown)
}

fn unknown_take(began: u64, count: u64) -> Operation {
    op(began, began + 1, Call::Take(count), Outcome::Unknown)
}

fn racing(value: u64, outcome: Outcome) -> Operation {
    op(1, 9, Call::Set { value, race: Some(1) }, outcome)
}

fn end(value: u64) -> Operation {
    op(100, 101, Call::Final, Outcome::Read(value))
}

fn keyed(key: u64, operation: Operation) -> Operation {
    Operation { key: Some(key), ..operation }
}

#[track_caller]
fn assert_legal(operations: &[Operation]) {
    check(operations).expect_none();
    let reversed: Vec<Operation> = operations.iter().rev().cloned().collect();
    check(&reversed).expect_none();
}

/// Fails unless the history shows faults of these kinds and of no other.
#[track_caller]
fn assert_broken(operations: &[Operation], kinds: &[Kind]) {
    let findings = check(operations);
    let found: Vec<Kind> = findings.kinds().into_iter().collect();
    let texts: Vec<String> = findings.violations.iter().map(ToString::to_string).collect();
    assert_eq!(found, kinds, "{}", texts.join("\n"));
}

#[test]
fn a_quiet_history_is_legal() {
    assert_legal(&[read(0, 1, 0), take(1, 2, 1), block(2, 3, 2, 6), read(3, 4, 6), end(6)]);
    assert_legal(&[]);
    assert_legal(&[end(0)]);
}

#[test]
fn calls_at_the_same_time_may_come_in_either_order() {
    assert_legal(&[take(0, 10, 2), take(1, 9, 1), read(0, 10, 1), read(5, 6, 2), read(1, 6, 0), end(2)]);
}

#[test]
fn what_ended_unknown_may_have_happened_or_not() {
    assert_legal(&[take(0, 1, 1), unknown_take(2, 1), take(4, 5, 3), end(3)]);
    assert_legal(&[take(0, 1, 1), unknown_take(2, 1), take(4, 5, 2), end(2)]);
    // Long after its caller heard that nobody knows.
    assert_legal(&[unknown_take(0, 5), take(4, 5, 1), read(6, 7, 1), take(8, 9, 7), end(7)]);
    assert_legal(&[take(0, 1, 1), unknown_set(2, SET), take(4, 5, 2), end(2)]);
    assert_legal(&[take(0, 1, 1), unknown_set(2, SET), take(4, 5, SET + 1), end(SET + 1)]);
    assert_legal(&[take(0, 1, 1), unknown_set(2, SET), take(4, 5, 2), read(7, 8, SET), end(SET)]);
}

#[test]
fn several_sets_with_unknown_outcomes_are_placed_by_time() {
    let sets = [unknown_set(0, SET), unknown_set(0, 2 * SET), unknown_set(0, 3 * SET)];
    assert_legal(&[&sets[..], &[read(5, 6, 3 * SET), set(7, 8, 4 * SET, 3 * SET), end(4 * SET)]].concat());
    assert_legal(&[&sets[..], &[read(5, 6, 3 * SET), take(7, 8, SET + 1), set(9, 10, 4 * SET, SET + 1)]].concat());
    // The set says that nothing came between the third and itself.
    let between = [read(5, 6, 3 * SET), take(7, 8, SET + 1), set(9, 10, 4 * SET, 3 * SET)];
    assert_broken(&[&sets[..], &between[..]].concat(), &[Kind::Order]);
    let back_and_forth = [unknown_set(0, SET), unknown_set(0, 2 * SET), read(5, 6, 2 * SET), read(7, 8, SET)];
    assert_legal(&back_and_forth);
    assert_broken(&[&back_and_forth[..], &[read(9, 10, 2 * SET)]].concat(), &[Kind::Stale]);
}

#[test]
fn sets_chain_by_what_was_before() {
    let first = [take(0, 1, 1), set(2, 3, 2 * SET, 1), take(4, 5, 2 * SET + 1), set(6, 7, SET, 2 * SET + 1)];
    assert_legal(&[&first[..], &[read(8, 9, SET), end(SET)]].concat());
    assert_legal(&[&first[..], &[take(8, 9, SET + 1), end(SET + 1)]].concat());
}

#[test]
fn a_number_twice_is_found() {
    assert_broken(&[take(0, 9, 1), take(0, 9, 1), end(1)], &[Kind::Repeated]);
    assert_broken(&[block(0, 9, 1, 5), block(0, 9, 5, 8), end(8)], &[Kind::Repeated]);
}

#[test]
fn a_hole_is_found() {
    assert_broken(&[take(0, 1, 1), take(2, 3, 3), end(3)], &[Kind::Hole]);
    assert_broken(&[take(0, 1, 1), end(2)], &[Kind::Hole]);
    assert_broken(&[take(0, 1, 1), set(2, 3, SET, 4), end(SET)], &[Kind::Hole]);
    assert_broken(&[take(0, 1, 1), set(2, 3, SET, 1), take(4, 5, SET + 2), end(SET + 2)], &[Kind::Hole]);
}

#[test]
fn a_refusal_that_took_a_number_leaves_a_hole() {
    assert_broken(&[op(0, 1, Call::Take(1), Outcome::Refused), take(2, 3, 2), end(2)], &[Kind::Hole]);
}

#[test]
fn more_holes_than_unknown_calls_are_found() {
    assert_broken(&[unknown_take(0, 1), take(2, 3, 3), end(3)], &[Kind::Hole]);
    assert_broken(&[unknown_take(0, 1), take(2, 3, 2), take(4, 5, 4), end(4)], &[Kind::Hole]);
}

#[test]
fn a_hole_older_than_the_unknown_call_is_found() {
    assert_broken(&[take(0, 1, 2), unknown_take(5, 1), end(2)], &[Kind::Hole]);
}

#[test]
fn somebody_elses_numbers_leave_holes_in_a_quiet_counter() {
    let quiet = |began, number| keyed(began, Operation { counter: 1, ..take(began, began + 1, number) });
    let others = [take(0, 1, 1), unknown_take(2, 1), end(2)];
    let kept = [quiet(1, 1), quiet(3, 2), Operation { counter: 1, ..end(2) }];
    assert_legal(&[&others[..], &kept[..]].concat());
    let moved = [quiet(1, 1), quiet(3, 3), Operation { counter: 1, ..end(3) }];
    assert_broken(&[&others[..], &moved[..]].concat(), &[Kind::Hole]);
}

#[test]
fn an_order_against_time_is_found() {
    assert_broken(&[take(0, 1, 2), take(2, 3, 1), end(2)], &[Kind::Order]);
    assert_broken(&[take(0, 1, 1), set(5, 6, SET, 2), take(7, 8, 2), end(SET)], &[Kind::Order]);
    assert_broken(&[read(0, 1, 1), take(2, 3, 1), end(1)], &[Kind::Order]);
    assert_broken(&[read(0, 1, SET), unknown_set(2, SET), end(SET)], &[Kind::Order]);
}

#[test]
fn a_stale_read_is_found() {
    assert_broken(&[take(0, 1, 1), read(2, 3, 0), end(1)], &[Kind::Stale]);
    assert_broken(&[take(0, 1, 1), set(2, 3, SET, 1), read(4, 5, 1), end(SET)], &[Kind::Stale]);
    // Both are within the call's time, but they go back.
    assert_broken(&[take(0, 9, 1), read(1, 2, 1), read(3, 4, 0), end(1)], &[Kind::Stale]);
}

#[test]
fn what_is_lost_in_the_end_is_found() {
    assert_broken(&[take(0, 1, 1), take(2, 3, 2), end(1)], &[Kind::Lost]);
    assert_broken(&[take(0, 1, 1), set(2, 3, SET, 1), end(1)], &[Kind::Lost]);
    assert_broken(&[unknown_set(0, SET), read(2, 3, SET), end(0)], &[Kind::Lost]);
}

#[test]
fn two_successors_of_one_state_are_found() {
    assert!(check(&[set(0, 9, SET, 0), set(0, 9, 2 * SET, 0), end(2 * SET)]).kinds().contains(&Kind::Forked));
    assert_broken(&[take(0, 9, 1), take(0, 9, 2), set(0, 9, SET, 1), end(SET)], &[Kind::Forked]);
}

#[test]
fn a_value_that_nobody_set_is_found() {
    assert_broken(&[take(0, 1, 1), read(2, 3, SET), read(4, 5, SET)], &[Kind::Phantom]);
    let refused = |outcome| op(0, 1, Call::Set { value: SET, race: None }, outcome);
    assert_broken(&[refused(Outcome::Refused), end(SET)], &[Kind::Phantom]);
    assert_broken(&[refused(Outcome::Mismatch), end(SET)], &[Kind::Phantom]);
    assert_broken(&[block(0, 9, 1, 5), read(0, 9, 3), end(5)], &[Kind::Phantom]);
}

#[test]
fn a_keyed_call_is_one_call_whatever_the_number_of_attempts() {
    let attempts = [keyed(1, unknown_take(0, 1)), keyed(1, take(4, 5, 1)), keyed(1, take(7, 8, 1))];
    assert_legal(&[&attempts[..], &[end(1)]].concat());
    // The first attempt took the number, before another call did.
    assert_legal(&[&attempts[..], &[take(2, 3, 2), end(2)]].concat());
    // It explains no hole.
    assert_broken(&[&attempts[..], &[take(10, 11, 3), end(3)]].concat(), &[Kind::Hole]);
}

#[test]
fn a_key_with_two_outcomes_is_found() {
    assert_broken(&[keyed(1, take(0, 1, 1)), keyed(1, take(2, 3, 2)), end(2)], &[Kind::KeyRepeated]);
    let twice = [keyed(1, set(0, 1, SET, 0)), set(2, 3, 2 * SET, SET), keyed(1, set(4, 5, SET, 2 * SET)), end(SET)];
    assert!(check(&twice).kinds().contains(&Kind::KeyRepeated));
}

#[test]
fn a_keyed_call_that_is_never_decided_is_found() {
    let refused = op(2, 3, Call::Take(1), Outcome::Refused);
    assert_broken(&[keyed(1, unknown_take(0, 1)), keyed(1, refused.clone()), end(0)], &[Kind::Undecided]);
    assert_legal(&[keyed(1, refused), end(0)]);
}

#[test]
fn one_of_those_that_race_wins() {
    let lost = |value| racing(value, Outcome::Mismatch);
    assert_legal(&[racing(SET, Outcome::Was(0)), lost(2 * SET), lost(3 * SET), end(SET)]);
    assert!(
        check(&[racing(SET, Outcome::Was(0)), racing(2 * SET, Outcome::Was(SET)), end(2 * SET)])
            .kinds()
            .contains(&Kind::Race),
        "two winners"
    );
    assert_broken(&[lost(SET), lost(2 * SET), end(0)], &[Kind::Race]);
    // One that is unknown may have won, and refusals are no part of it.
    assert_legal(&[lost(SET), racing(2 * SET, Outcome::Unknown), end(0)]);
    assert_legal(&[racing(SET, Outcome::Refused), racing(2 * SET, Outcome::Refused), end(0)]);
}

#[test]
fn a_block_with_an_unknown_outcome_excuses_one_hole_of_its_own_size() {
    // Nine numbers are missing, each by itself.
    let singles: Vec<Operation> = (0..10).map(|i| take(10 + i, 11 + i, 1 + 2 * i)).collect();
    let history = |unknown: &[Operation]| [unknown, &singles, &[end(19)]].concat();
    assert_broken(&history(&[unknown_take(1, 19)]), &[Kind::Hole]);
    assert_broken(&history(&[unknown_take(1, 9)]), &[Kind::Hole]);
    let nine: Vec<Operation> = (0..9).map(|i| unknown_take(1 + i, 1)).collect();
    assert_legal(&history(&nine));
    assert_broken(&history(&nine[1..]), &[Kind::Hole]);
    // Half a block.
    assert_broken(&[unknown_take(1, 19), take(10, 11, 2), end(2)], &[Kind::Hole]);
    // A refusal that burnt a number, beside a block that never happened.
    let refused = op(2, 3, Call::Take(1), Outcome::Refused);
    assert_broken(&[unknown_take(1, 19), refused, take(10, 11, 2), end(2)], &[Kind::Hole]);
    // A hole may be the sum of several calls, and what fits best is looked for.
    let calls = [unknown_take(1, 3), unknown_take(1, 2), unknown_take(1, 2)];
    assert_legal(&[&calls[..], &[take(10, 11, 5), take(12, 13, 9), end(9)]].concat());
    assert_broken(&[&calls[..], &[take(10, 11, 4), take(12, 13, 6), end(6)]].concat(), &[Kind::Hole]);
}
