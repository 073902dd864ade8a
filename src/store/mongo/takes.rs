//! The short way of a batch that only takes numbers of one counter: what it stood at before follows from what it stands at
//! afterwards, so one statement reads and writes it, in a transaction only where there are keys to keep.

use std::collections::HashSet;

use mongodb::action::Action as _;
use mongodb::bson::{Document, doc};
use mongodb::options::ReturnDocument;

use super::super::plan::{Known, Plan, plan};
use super::super::{Action, Answer, Batch, Cause, Counter, ErrorType, StoreError};
use super::Operations;
use super::commit::{key_conflict, records};
use super::deadline::Deadline;
use super::documents::{CounterDocument, Stored, date, signed};
use super::error::Effect;
use super::events::counting_attempts;
use super::transaction::Transaction;
use crate::domain::{CounterId, CounterValue, Timestamp};

/// A batch that only takes numbers of one counter, as long as its keys are new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Takes<'a> {
    counter: &'a CounterId,
    /// How many numbers are taken.
    sum: u64,
    /// How many operations take them.
    count: u64,
    /// Whether any of them has a key, whose record is to be kept.
    pub(super) keyed: bool,
}

impl<'a> Takes<'a> {
    /// Nothing where the batch is of another kind.
    pub(super) fn of(batch: &'a Batch) -> Option<Self> {
        let [group] = batch.groups.as_slice() else { return None };
        let mut takes = Self { counter: &group.counter, sum: 0, count: 0, keyed: false };
        let mut keys = HashSet::new();
        for op in &group.ops {
            match (&op.action, &op.key) {
                (Action::Take(numbers), key) => {
                    // The second of two takes with one key takes nothing.
                    if key.as_ref().is_some_and(|key| !keys.insert(&key.key)) {
                        return None;
                    }
                    takes.sum += u64::from(*numbers);
                    takes.count += 1;
                }
                (Action::Read, None) => {}
                _ => return None,
            }
        }
        takes.keyed = !keys.is_empty();
        (takes.count > 0).then_some(takes)
    }

    /// Which counter is changed, and how. Nothing where the numbers do not fit below the top whatever it stands at.
    fn statement(self, now: Timestamp) -> Result<Option<(Document, Document)>, StoreError> {
        let Some(highest) = CounterValue::MAX.get().checked_sub(self.sum) else { return Ok(None) };
        let filter = doc! { "_id": self.counter.to_string(), "value": { "$lte": signed(highest)? } };
        let change = doc! {
            "$inc": { "value": signed(self.sum)?, "version": signed(self.count)? },
            "$set": { "updated_at": date(now) },
        };
        Ok(Some((filter, change)))
    }

    /// What the counter was before the numbers were taken, from what it is afterwards.
    fn before(self, after: Counter) -> Result<Counter, StoreError> {
        let value = after.value.get().checked_sub(self.sum).and_then(CounterValue::new);
        let version = after.version.checked_sub(self.count);
        match (value, version) {
            (Some(value), Some(version)) => Ok(Counter { value, version, ..after }),
            _ => Err(StoreError::Corrupt(Cause::new(ErrorType::InvalidDocument, "a counter stood below zero"))),
        }
    }
}

impl Operations {
    /// Takes numbers of one counter that is there. Nothing where it is not, or where not all of them fit below the top.
    pub(super) async fn take(
        &self,
        batch: &Batch,
        takes: Takes<'_>,
        deadline: Deadline,
    ) -> Result<Option<Vec<Vec<Answer>>>, StoreError> {
        let Some((filter, change)) = takes.statement(batch.now)? else { return Ok(None) };
        let plan_from = |after: &CounterDocument| -> Result<Plan, StoreError> {
            let counters = [(takes.counter.clone(), takes.before(after.counter()?)?)].into();
            Ok(plan(batch, &Known { counters, ..Known::default() }, self.rules))
        };
        if takes.keyed {
            // The counter first, in a snapshot that begins with it: a writer that has ended by then is no conflict, so only
            // those are met that write at this very moment.
            let mut transaction = Transaction::begin(self, deadline).await?;
            let Some(after) = transaction.find_and_modify(filter, change).await? else { return Ok(None) };
            let plan = plan_from(&after)?;
            transaction.insert(records(&plan)?).await.map_err(key_conflict)?;
            transaction.commit().await?;
            return Ok(Some(plan.answers));
        }
        // The server remembers the session's transaction number, so the driver's second attempt, or a first one that
        // arrives late, never applies twice.
        let counters = self.connection()?.collection::<CounterDocument>();
        let (after, attempts) = self
            .call(("findAndModify", CounterDocument::COLLECTION), Effect::Write, deadline, |comment| async move {
                let update = counters
                    .find_one_and_update(filter, change)
                    .return_document(ReturnDocument::After)
                    .max_time(deadline.remaining())
                    .optional(comment, |update, comment| update.comment(comment));
                let (after, attempts) = counting_attempts(update.into_future()).await;
                Ok((after?, attempts))
            })
            .await?;
        match (after, attempts) {
            (Some(after), _) => plan_from(&after).map(|plan| Some(plan.answers)).map_err(applied),
            (None, 1) => Ok(None),
            // It remembers only what it wrote. This is the answer to a second attempt, and the first one may have come since, or
            // still come, and take numbers if there is something to match by then.
            (None, _) => {
                Err(StoreError::OutcomeUnknown(Cause::new(ErrorType::Network, "a first attempt may still arrive")))
            }
        }
    }
}

/// What goes wrong after a write was applied leaves its caller without an answer.
fn applied(error: StoreError) -> StoreError {
    match error {
        StoreError::Corrupt(cause) => StoreError::OutcomeUnknown(cause),
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Condition, Group, Key, Op};
    use super::*;
    use crate::domain::UserId;

    fn counter(name: &str) -> CounterId {
        CounterId { user: UserId::generate(), name: name.parse().unwrap() }
    }

    fn batch(groups: Vec<(CounterId, Vec<Op>)>) -> Batch {
        let groups = groups.into_iter().map(|(counter, ops)| Group { counter, ops }).collect();
        Batch { groups, now: Timestamp::from_millis(0) }
    }

    fn op(action: Action) -> Op {
        Op { action, key: None }
    }

    fn keyed(action: Action, key: &str) -> Op {
        Op { action, key: Some(Key { key: key.parse().unwrap(), fingerprint: "f".into() }) }
    }

    #[test]
    fn only_takes_of_one_counter_go_the_short_way() {
        let a = counter("a");
        let plain = batch(vec![(a.clone(), vec![op(Action::Take(2)), op(Action::Read), op(Action::Take(3))])]);
        assert_eq!(Takes::of(&plain), Some(Takes { counter: &a, sum: 5, count: 2, keyed: false }));
        let with_keys = batch(vec![(a.clone(), vec![keyed(Action::Take(2), "k"), keyed(Action::Take(3), "l")])]);
        assert_eq!(Takes::of(&with_keys), Some(Takes { counter: &a, sum: 5, count: 2, keyed: true }));

        let set = Action::Set(CounterValue::default(), Condition::Always);
        for other in [
            batch(vec![(a.clone(), vec![op(Action::Take(1)), op(set)])]),
            batch(vec![(a.clone(), vec![keyed(Action::Take(1), "k"), keyed(Action::Take(1), "k")])]),
            batch(vec![(a.clone(), vec![op(Action::Take(1))]), (counter("b"), vec![op(Action::Take(1))])]),
            batch(vec![(a.clone(), vec![op(Action::Read)])]),
        ] {
            assert_eq!(Takes::of(&other), None);
        }
    }

    #[test]
    fn the_state_before_follows_from_the_state_afterwards() {
        let a = counter("a");
        let takes = Takes { counter: &a, sum: 5, count: 2, keyed: false };
        let state = |value, version| Counter {
            value: CounterValue::new(value).unwrap(),
            version,
            updated_at: Timestamp::from_millis(9),
        };
        assert_eq!(takes.before(state(47, 9)), Ok(state(42, 7)));
        for impossible in [state(4, 9), state(47, 1)] {
            let error = takes.before(impossible).unwrap_err();
            assert!(matches!(applied(error), StoreError::OutcomeUnknown(_)));
        }
    }
}
