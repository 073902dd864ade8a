//! What a batch of calls does: a pure function from what is known to what is answered and written.
//!
//! A store reads what [`Known`] asks for, calls [`plan`], and writes what [`Plan`] says, all in one transaction. So the
//! rules of counters (ranges, quota, compare-and-set, idempotency keys) are written once, for every store.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::KEY_LIFETIME;
use crate::domain::{CounterId, CounterValue, IdempotencyKey, Timestamp, UserId};

/// A counter as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Counter {
    /// What it stands at: the number handed out last, or set.
    pub value: CounterValue,
    /// Rises with every operation that writes, and never falls, not even over a deletion: the ETag.
    pub version: u64,
    /// When it was written last.
    pub updated_at: Timestamp,
}

/// Settings that decide what an operation does.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// What a new counter stands at before its first operation.
    pub initial_value: CounterValue,
    /// How many counters a user may have. The default counter is always allowed.
    pub counters_per_user: u64,
}

/// Operations that are done together, all or nothing.
#[derive(Debug, Clone)]
pub struct Batch {
    /// At most one group for each counter.
    pub groups: Vec<Group>,
    /// The time that everything written in the batch bears.
    pub now: Timestamp,
}

/// Operations on one counter, in the order of their arrival.
#[derive(Debug, Clone)]
pub struct Group {
    /// Which counter.
    pub counter: CounterId,
    /// What is to be done.
    pub ops: Vec<Op>,
}

impl Group {
    /// Is nothing to be changed, and no key to be kept?
    pub fn only_reads(&self) -> bool {
        self.ops.iter().all(|op| op.action == Action::Read && op.key.is_none())
    }
}

/// One caller's operation.
#[derive(Debug, Clone)]
pub struct Op {
    /// What is to be done.
    pub action: Action,
    /// The caller's idempotency key, if it sent one.
    pub key: Option<Key>,
}

/// What is to be done to a counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Take this many numbers, 1 to 10,000, as one contiguous block.
    Take(u32),
    /// Set the counter to a value.
    Set(CounterValue, Condition),
    /// Read it.
    Read,
}

/// Under which condition a counter is set (`If-Match`, RFC 9110 section 13.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// No condition.
    Always,
    /// It exists (`If-Match: *`).
    Exists,
    /// Its version is one of these.
    VersionIn(Vec<u64>),
}

/// An idempotency key with a hash of the request that it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// What the caller sent.
    pub key: IdempotencyKey,
    /// SHA-256 of method, route, counter and arguments, in hex: a key stands for one request only.
    pub fingerprint: String,
}

/// Names a key in a store: keys belong to users.
pub type KeyId = (UserId, IdempotencyKey);

/// What is kept of a keyed call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyRecord {
    /// The request that the key came with first.
    pub fingerprint: String,
    /// What it was answered.
    pub outcome: Outcome,
    /// The record counts as absent from this moment on.
    pub expires_at: Timestamp,
}

/// How an operation ended. All of these are definite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The numbers `first` to `last`, both included, are the caller's.
    Taken {
        /// The first number of the block.
        first: CounterValue,
        /// The last number of the block.
        last: CounterValue,
    },
    /// The counter was set.
    Set {
        /// What it stands at now.
        value: CounterValue,
        /// What it stood at before.
        previous: CounterValue,
        /// Its version now.
        version: u64,
    },
    /// The counter as it is after this batch; nothing where it was never used.
    #[serde(skip)]
    Read(Option<Counter>),
    /// Nothing was done, for a reason that the caller is told.
    Refused(Refusal),
}

/// Why nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The block would pass the top.
    CounterExhausted,
    /// `If-Match` names another version.
    PreconditionFailed,
    /// The user has as many counters as it may have.
    QuotaReached,
    /// The user was deleted.
    UserGone,
    /// The key came with another request before.
    KeyReused,
}

/// An outcome, and whether it is that of an earlier call with the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Answer {
    /// How the operation, or the earlier one, ended.
    pub outcome: Outcome,
    /// Is this the answer to an earlier call with the same key?
    pub replayed: bool,
}

/// What must be known before a batch can be planned. Something that is missing here is absent in the store.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The counters that the batch names.
    pub counters: HashMap<CounterId, Counter>,
    /// How many counters each user has, for the users of counters that are not there.
    pub users: HashMap<UserId, u64>,
    /// The records of the keys that the batch names.
    pub keys: HashMap<KeyId, KeyRecord>,
}

/// What a batch answers and writes.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// An answer for each operation, in its place.
    pub answers: Vec<Vec<Answer>>,
    /// The counters that change.
    pub writes: Vec<Write>,
    /// The records of keys to be kept. An expired record of the same key is to be replaced.
    pub records: Vec<(KeyId, KeyRecord)>,
}

/// A counter that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Which one.
    pub counter: CounterId,
    /// What it was; nothing where it is made now, which raises its user's number of counters by one.
    pub before: Option<Counter>,
    /// What it becomes.
    pub after: Counter,
}

/// Works out what a batch answers and writes.
pub fn plan(batch: &Batch, known: &Known, rules: Rules) -> Plan {
    let mut plan = Plan::default();
    // Keys and creations of this batch that later operations of the same batch must see.
    let mut keys: HashMap<KeyId, KeyRecord> = HashMap::new();
    let mut created: HashMap<UserId, u64> = HashMap::new();

    for group in &batch.groups {
        let user = group.counter.user;
        let before = known.counters.get(&group.counter).copied();
        let barred = match (before, known.users.get(&user)) {
            (Some(_), _) => None,
            (None, None) => Some(Refusal::UserGone),
            (None, Some(counters)) => {
                let counters = counters + created.get(&user).unwrap_or(&0);
                (!group.counter.name.is_default() && counters >= rules.counters_per_user)
                    .then_some(Refusal::QuotaReached)
            }
        };
        let mut state = before;
        let mut answers = Vec::with_capacity(group.ops.len());
        for op in &group.ops {
            let key_id = op.key.as_ref().map(|key| (user, key.key.clone()));
            let record = key_id.as_ref().and_then(|id| {
                keys.get(id).or_else(|| known.keys.get(id).filter(|record| record.expires_at > batch.now))
            });
            if let (Some(key), Some(record)) = (&op.key, record) {
                let same = record.fingerprint == key.fingerprint;
                answers.push(Answer {
                    outcome: if same { record.outcome } else { Outcome::Refused(Refusal::KeyReused) },
                    replayed: same,
                });
                continue;
            }
            let outcome = match barred.filter(|_| op.action != Action::Read) {
                Some(refusal) => Outcome::Refused(refusal),
                None => apply(&mut state, &op.action, &group.counter, batch.now, rules),
            };
            if let (Some(key), Some(id)) = (&op.key, key_id)
                && outcome != Outcome::Refused(Refusal::UserGone)
            {
                let record =
                    KeyRecord { fingerprint: key.fingerprint.clone(), outcome, expires_at: batch.now + KEY_LIFETIME };
                keys.insert(id.clone(), record.clone());
                plan.records.push((id, record));
            }
            answers.push(Answer { outcome, replayed: false });
        }
        // Whoever reads is shown the counter as the batch leaves it, so that no read is older than its batch.
        for answer in &mut answers {
            if let Outcome::Read(counter) = &mut answer.outcome {
                *counter = state;
            }
        }
        plan.answers.push(answers);
        if let Some(after) = state.filter(|_| state != before) {
            if before.is_none() {
                *created.entry(user).or_default() += 1;
            }
            plan.writes.push(Write { counter: group.counter.clone(), before, after });
        }
    }
    plan
}

/// Does one operation to a counter. A refusal changes nothing.
fn apply(state: &mut Option<Counter>, action: &Action, id: &CounterId, now: Timestamp, rules: Rules) -> Outcome {
    let value = state.map_or(rules.initial_value, |counter| counter.value);
    // A new counter's versions begin at the time in microseconds: a counter that is deleted and made again never
    // shows a version that its predecessor showed, as long as it was written less than a million times a second.
    let version = state.map_or_else(|| first_version(now), |counter| counter.version + 1);
    match action {
        Action::Read => Outcome::Read(*state),
        Action::Take(count) => {
            let count = u64::from(*count);
            let (Some(first), Some(last)) = (value.checked_add(1), value.checked_add(count)) else {
                return Outcome::Refused(Refusal::CounterExhausted);
            };
            *state = Some(Counter { value: last, version, updated_at: now });
            Outcome::Taken { first, last }
        }
        Action::Set(new, condition) => {
            let fits = match condition {
                Condition::Always => true,
                Condition::Exists => state.is_some() || id.name.is_default(),
                // The default counter can be read before it is made, under version 0.
                Condition::VersionIn(versions) => match state {
                    Some(counter) => versions.contains(&counter.version),
                    None => id.name.is_default() && versions.contains(&0),
                },
            };
            if !fits {
                return Outcome::Refused(Refusal::PreconditionFailed);
            }
            *state = Some(Counter { value: *new, version, updated_at: now });
            Outcome::Set { value: *new, previous: value, version }
        }
    }
}

fn first_version(now: Timestamp) -> u64 {
    u64::try_from(now.millis()).unwrap_or(0).saturating_mul(1000).max(1)
}

#[cfg(test)]
mod tests;
