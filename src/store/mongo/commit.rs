//! Batches: a single counter by one `findAndModify`, everything else by one transaction.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use mongodb::action::Action as _;
use mongodb::bson::{Document, doc};
use mongodb::options::ReturnDocument;
use tokio::time::Instant;

use super::super::plan::{Known, Plan, plan};
use super::super::{Action, Answer, Batch, Cause, Counter, Group, Op, StoreError};
use super::Operations;
use super::deadline::Deadline;
use super::documents::{CounterDocument, CountersOfUser, KeyDocument, Stored, UserDocument, date, key_id, signed};
use super::error::{DUPLICATE_KEY, Effect, INVALID_DOCUMENT, NETWORK};
#[cfg(feature = "mutants")]
use super::mutant;
use super::transaction::Transaction;
use super::turns::{NO_TURN, Turn};
use crate::domain::{CounterId, CounterValue, Timestamp, UserId};

/// How often a batch of several counters is repeated after a conflict. Then it is the sequencer's turn, which splits it.
const MAX_CONFLICTS: u32 = 2;

/// How long a batch waits for its turn at making counters where it holds counters of other users too.
const SHARED_PATIENCE: Duration = Duration::from_millis(500);

/// What is known of the batch's keys before its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keys {
    /// They are taken for new, as nearly all are: their insertion finds out, and nothing is read for them.
    TakenForNew,
    /// One of them is not: they are looked up first.
    LookedUp,
}

impl Operations {
    /// Does a batch and answers each of its operations, whatever number of attempts that takes until the deadline.
    pub(super) async fn commit_batch(&self, batch: &Batch) -> Result<Vec<Vec<Answer>>, StoreError> {
        let deadline = self.deadline();
        let mut repeats = self.repeats(deadline);
        let mut keys = Keys::TakenForNew;
        let mut conflicts = 0;
        let mut turn = None;
        loop {
            match self.attempt(batch, keys, deadline, &mut turn).await {
                #[cfg(feature = "mutants")]
                Err(StoreError::OutcomeUnknown(_)) if mutant::is(mutant::BLIND_RETRY) => {
                    drop(turn);
                    return Box::pin(self.commit_batch(batch)).await;
                }
                Err(error) if error.kind() == DUPLICATE_KEY && keys == Keys::TakenForNew => keys = Keys::LookedUp,
                Err(error) => {
                    conflicts += u32::from(matches!(error, StoreError::Conflict(_)));
                    let hopeless = conflicts > MAX_CONFLICTS || error.kind() == NO_TURN;
                    // Where all of it is of users whose counters it makes, its halves would want the same documents again.
                    let is_one = turn.as_ref().is_some_and(|turn| turn.is_of_all(batch));
                    let is_split = batch.groups.len() > 1 && hopeless && !is_one;
                    if is_split || !repeats.again(&error).await {
                        return Err(error);
                    }
                }
                answers => return answers,
            }
        }
    }

    /// `turn` is the turn at making counters of its users: a batch that has it keeps it over all its attempts.
    async fn attempt<'a>(
        &'a self,
        batch: &Batch,
        keys: Keys,
        deadline: Deadline,
        turn: &mut Option<Turn<'a>>,
    ) -> Result<Vec<Vec<Answer>>, StoreError> {
        if batch.groups.iter().all(only_reads) {
            return self.read_batch(batch, deadline).await;
        }
        if let Some(takes) = Takes::of(batch)
            && (keys == Keys::TakenForNew || !takes.keyed)
            && let Some(answers) = self.take(batch, takes, deadline).await?
        {
            return Ok(answers);
        }
        let mut transaction = Transaction::begin(self, deadline).await?;
        let mut known = look_up(&mut transaction, batch, keys).await?;
        // Whoever makes a counter changes its user, so two batches that make counters of one user would meet again and again.
        if turn.is_none() && !known.users.is_empty() {
            let makers: BTreeSet<UserId> = known.users.keys().copied().collect();
            *turn = self.turns.take_if_free(&makers);
            if turn.is_none() {
                drop(transaction);
                let is_shared = batch.groups.iter().any(|group| !makers.contains(&group.counter.user));
                let patience = if is_shared { SHARED_PATIENCE } else { deadline.for_another_attempt() };
                *turn = Some(self.turns.wait_for(makers, Instant::now() + patience).await?);
                // Those before have changed what was read.
                transaction = Transaction::begin(self, deadline).await?;
                known = look_up(&mut transaction, batch, keys).await?;
            }
        }
        let plan = plan(batch, &known, self.rules);
        write(&mut transaction, &plan, &known).await?;
        transaction.commit().await?;
        Ok(plan.answers)
    }

    async fn read_batch(&self, batch: &Batch, deadline: Deadline) -> Result<Vec<Vec<Answer>>, StoreError> {
        let ids: Vec<&CounterId> = batch.groups.iter().map(|group| &group.counter).collect();
        let known = Known { counters: self.read_counters(&ids, deadline).await?, ..Known::default() };
        Ok(plan(batch, &known, self.rules).answers)
    }

    /// Takes numbers of one counter that is there. Nothing where it is not, or where not all of them fit below the top.
    async fn take(
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
            transaction.insert(records(&plan)?).await?;
            transaction.commit().await?;
            return Ok(Some(plan.answers));
        }
        // The server remembers the session's transaction number, so the driver's second attempt, or a first one that
        // arrives late, never applies twice.
        let disturbances = self.events.disturbances();
        let counters = self.connection()?.collection::<CounterDocument>();
        let after = self
            .call(("findAndModify", CounterDocument::COLLECTION), Effect::Write, deadline, |comment| {
                counters
                    .find_one_and_update(filter, change)
                    .return_document(ReturnDocument::After)
                    .max_time(deadline.remaining())
                    .optional(comment, |update, comment| update.comment(comment))
            })
            .await?;
        match after {
            Some(after) => plan_from(&after).map(|plan| Some(plan.answers)).map_err(applied),
            // It remembers only what it wrote. Where this is the answer to a second attempt, the first one may still arrive, and
            // take numbers if there is something to match by then. The driver does not say whether there was one, but before
            // it makes one it gives up the server that has not answered.
            None if self.events.disturbances() != disturbances => {
                Err(StoreError::OutcomeUnknown(Cause::new(NETWORK, "a first attempt may still arrive")))
            }
            None => Ok(None),
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

/// A batch that only takes numbers of one counter, as long as its keys are new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Takes<'a> {
    counter: &'a CounterId,
    /// How many numbers are taken.
    sum: u64,
    /// How many operations take them.
    count: u64,
    /// Whether any of them has a key, whose record is to be kept.
    keyed: bool,
}

impl<'a> Takes<'a> {
    /// Nothing where the batch is of another kind.
    fn of(batch: &'a Batch) -> Option<Self> {
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
            _ => Err(StoreError::Corrupt(Cause::new(INVALID_DOCUMENT, "a counter stood below zero"))),
        }
    }
}

fn records(plan: &Plan) -> Result<Vec<KeyDocument>, StoreError> {
    #[cfg(feature = "mutants")]
    if mutant::is(mutant::FORGOTTEN_KEYS) {
        return Ok(Vec::new());
    }
    plan.records.iter().map(|(id, record)| KeyDocument::of(id, record)).collect()
}

fn only_reads(group: &Group) -> bool {
    group.ops.iter().all(|op| op.action == Action::Read && op.key.is_none())
}

/// Reads what [`plan`] must know.
async fn look_up(transaction: &mut Transaction<'_>, batch: &Batch, keys: Keys) -> Result<Known, StoreError> {
    let mut known = Known::default();
    let ids = batch.groups.iter().map(|group| group.counter.to_string()).collect();
    for document in transaction.find::<CounterDocument>(ids).await? {
        let (id, counter) = document.read()?;
        known.counters.insert(id, counter);
    }
    // Only whoever makes a counter must exist and have room for it.
    let makers: HashSet<UserId> = batch
        .groups
        .iter()
        .filter(|group| !known.counters.contains_key(&group.counter) && !only_reads(group))
        .map(|group| group.counter.user)
        .collect();
    for document in transaction.find::<CountersOfUser>(makers.iter().map(ToString::to_string).collect()).await? {
        let (user, counters) = document.read()?;
        known.users.insert(user, counters);
    }
    if keys == Keys::LookedUp {
        let mut named: HashMap<String, _> = HashMap::new();
        for group in &batch.groups {
            for Op { key, .. } in &group.ops {
                if let Some(key) = key {
                    let id = (group.counter.user, key.key.clone());
                    named.insert(key_id(&id), id);
                }
            }
        }
        for document in transaction.find::<KeyDocument>(named.keys().cloned().collect()).await? {
            if let Some(id) = named.remove(&document.id) {
                known.keys.insert(id, document.into_record()?);
            }
        }
    }
    Ok(known)
}

/// Writes what [`plan`] says.
async fn write(transaction: &mut Transaction<'_>, plan: &Plan, known: &Known) -> Result<(), StoreError> {
    // A key that was found and is written all the same has an expired record, which gives way.
    let expired: Vec<String> =
        plan.records.iter().filter(|(id, _)| known.keys.contains_key(id)).map(|(id, _)| key_id(id)).collect();
    if !expired.is_empty() {
        transaction.delete::<KeyDocument>(doc! { "_id": { "$in": expired } }).await?;
    }
    transaction.insert(records(plan)?).await?;

    let (mut changed, mut made, mut makers) = (Vec::new(), Vec::new(), HashMap::<UserId, i64>::new());
    for write in &plan.writes {
        let document = CounterDocument::of(&write.counter, write.after)?;
        if write.before.is_some() {
            changed.push(document.into_update());
        } else {
            *makers.entry(write.counter.user).or_default() += 1;
            made.push(document);
        }
    }
    let makers =
        makers.into_iter().map(|(user, made)| (user.to_string(), doc! { "$inc": { "counters": made } })).collect();
    transaction.update::<UserDocument>(makers).await?;
    transaction.insert(made).await?;
    transaction.update::<CounterDocument>(changed).await
}

#[cfg(test)]
mod tests {
    use super::super::super::{Condition, Key};
    use super::*;

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
