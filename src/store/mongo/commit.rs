//! Batches: those that only take numbers of one counter go the short way (`takes.rs`), those that only read need no transaction,
//! and everything else is done in one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use mongodb::bson::doc;
use tokio::time::Instant;

use super::super::plan::{Known, Plan, plan};
use super::super::{Answer, Batch, Cause, ErrorType, Group, Op, StoreError, key_text};
use super::Operations;
use super::deadline::Deadline;
use super::documents::{CounterDocument, CountersOfUser, KeyDocument, UserDocument};
#[cfg(feature = "mutants")]
use super::mutant;
use super::takes::Takes;
use super::transaction::Transaction;
use super::turns::Turn;
use crate::domain::{CounterId, UserId};

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
                Err(error) if error.kind() == ErrorType::DuplicateKey && keys == Keys::TakenForNew => {
                    keys = Keys::LookedUp
                }
                Err(error) => {
                    conflicts += u32::from(matches!(error, StoreError::Conflict(_)));
                    let hopeless = conflicts > MAX_CONFLICTS || error.kind() == ErrorType::NoTurn;
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
        if batch.groups.iter().all(Group::only_reads) {
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
}

/// The records of keys that the plan wants kept.
pub(super) fn records(plan: &Plan) -> Result<Vec<KeyDocument>, StoreError> {
    #[cfg(feature = "mutants")]
    if mutant::is(mutant::FORGOTTEN_KEYS) {
        return Ok(Vec::new());
    }
    plan.records.iter().map(|(id, record)| KeyDocument::of(id, record)).collect()
}

/// What the failure to keep such records means. Whoever else writes the same ones does a call with the same key.
pub(super) fn key_conflict(error: StoreError) -> StoreError {
    match error {
        StoreError::Conflict(cause) if cause.kind == ErrorType::Conflict => {
            StoreError::Conflict(Cause { kind: ErrorType::KeyConflict, ..cause })
        }
        error => error,
    }
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
        .filter(|group| !known.counters.contains_key(&group.counter) && !group.only_reads())
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
                    named.insert(key_text(&id), id);
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
        plan.records.iter().filter(|(id, _)| known.keys.contains_key(id)).map(|(id, _)| key_text(id)).collect();
    if !expired.is_empty() {
        transaction.delete::<KeyDocument>(doc! { "_id": { "$in": expired } }).await?;
    }
    transaction.insert(records(plan)?).await.map_err(key_conflict)?;

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
