//! What a store must hold: the same steps, done in memory.

use std::collections::BTreeMap;

use ::redb::ReadableTable;
use rand::Rng;
use rand::rngs::StdRng;

use super::disk::Disk;
use super::*;
use crate::store::plan::{KeyRecord, Known, plan};
use crate::store::{AccountKey, key_text};

pub(super) const RULES: Rules = Rules { initial_value: CounterValue::new(0).unwrap(), counters_per_user: 4 };

/// Something that a caller asks for.
#[derive(Debug)]
pub(super) enum Step {
    Commit(Batch),
    Delete(CounterId),
}

/// What the caller is told.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    Answers(Vec<Vec<Answer>>),
    Deleted(bool),
}

/// The counters and keys of one user, and how many counters it is said to have.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Model {
    counters: BTreeMap<String, Counter>,
    keys: BTreeMap<String, KeyRecord>,
    counted: u64,
}

impl Model {
    /// Does a step and answers what a store must answer.
    pub(super) fn apply(&mut self, step: &Step) -> Reply {
        match step {
            Step::Commit(batch) => {
                let plan = plan(batch, &self.known(batch), RULES);
                for write in plan.writes {
                    self.counted += u64::from(write.before.is_none());
                    self.counters.insert(write.counter.to_string(), write.after);
                }
                self.keys.extend(plan.records.into_iter().map(|(id, record)| (key_text(&id), record)));
                Reply::Answers(plan.answers)
            }
            Step::Delete(id) => {
                let was_there = self.counters.remove(&id.to_string()).is_some();
                self.counted -= u64::from(was_there);
                Reply::Deleted(was_there)
            }
        }
    }

    fn known(&self, batch: &Batch) -> Known {
        let mut known = Known::default();
        for group in &batch.groups {
            let user = group.counter.user;
            known.users.insert(user, self.counted);
            if let Some(counter) = self.counters.get(&group.counter.to_string()) {
                known.counters.insert(group.counter.clone(), *counter);
            }
            for key in group.ops.iter().filter_map(|op| op.key.as_ref()) {
                let id = (user, key.key.clone());
                if let Some(record) = self.keys.get(&key_text(&id)) {
                    known.keys.insert(id, record.clone());
                }
            }
        }
        known
    }

    /// What the store really holds.
    pub(super) async fn held_by(store: &RedbStore) -> Result<Self, StoreError> {
        let everything = |txn: &ReadTransaction| {
            let mut model = Self::default();
            for entry in txn.open_table(tables::COUNTERS)?.iter()? {
                let (id, stored) = entry?;
                let (number, version, updated_at) = stored.value();
                let counter = Counter { value: value(number), version, updated_at: Timestamp::from_millis(updated_at) };
                model.counters.insert(id.value().to_owned(), counter);
            }
            for entry in txn.open_table(tables::KEYS)?.iter()? {
                let (key, record) = entry?;
                model.keys.insert(key.value().to_owned(), serde_json::from_slice(record.value()).unwrap());
            }
            let user = txn.open_table(tables::USERS)?.get(user().to_string().as_str())?;
            let user: serde_json::Value = serde_json::from_slice(user.expect("the user is there").value()).unwrap();
            model.counted = user["counters"].as_u64().unwrap();
            Ok(model)
        };
        store.read("read", "meta", everything).await
    }
}

/// The one user.
fn user() -> UserId {
    "0199c0de-0000-7000-8000-000000000000".parse().unwrap()
}

/// Opens what the disk holds, with the user in it.
pub(super) async fn open(disk: &Disk, is_left: bool) -> Result<RedbStore, String> {
    let path = Path::new("simulated.redb");
    let database = file::open_backend(path, disk.clone(), is_left.then(|| disk.clone()));
    let again = disk.clone();
    let reopen = Box::new(move || file::open_backend(path, again.clone(), Some(again.clone())));
    let handle = Handle::new(path, database.map_err(|error| error.to_string())?, reopen);
    let store = RedbStore::with(handle, path, RULES, TIMEOUT);
    store.prepare().await.map_err(|error| error.to_string())?;
    Ok(store)
}

/// A disk with a store in which nothing is but the user.
pub(super) async fn new_disk() -> Disk {
    let disk = Disk::default();
    let store = open(&disk, false).await.unwrap();
    let user = NewUser {
        id: user(),
        email: Some("ada@example.com".parse().unwrap()),
        key: AccountKey::Password(PasswordHash::new("$argon2id$".into())),
        token: TokenHash("aa".into()),
        created_at: NOW,
    };
    store.create_user(&user).await.unwrap();
    store.close().await;
    disk
}

/// Asks the store.
pub(super) async fn ask(store: &RedbStore, step: &Step) -> Result<Reply, StoreError> {
    match step {
        Step::Commit(batch) => store.commit(batch).await.map(Reply::Answers),
        Step::Delete(id) => store.delete_counter(id).await.map(Reply::Deleted),
    }
}

/// Any step: a batch on some counters, with keys old and new and without, or a deletion.
pub(super) fn any_step(dice: &mut StdRng) -> Step {
    let mut names = vec!["default", "a", "b", "c", "d"];
    if dice.random_bool(0.1) {
        return Step::Delete(id(user(), names[dice.random_range(0..names.len())]));
    }
    let groups = (0..dice.random_range(1..=names.len())).map(|_| {
        let counter = id(user(), names.swap_remove(dice.random_range(0..names.len())));
        let ops = (0..dice.random_range(1..5)).map(|_| any_op(dice)).collect();
        Group { counter, ops }
    });
    Step::Commit(Batch { groups: groups.collect(), now: NOW })
}

fn any_op(dice: &mut StdRng) -> Op {
    match dice.random_range(0..10) {
        0..4 => op(Action::Take(dice.random_range(1..100))),
        4..8 => keyed(&format!("key-{}", dice.random_range(0..200))),
        8 => op(Action::Set(value(dice.random_range(0..1_000_000)), Condition::Always)),
        _ => op(Action::Read),
    }
}

/// A batch of keyed calls with long keys that begin with `name`.
pub(super) fn keyed_calls(name: &str, count: usize) -> Step {
    let ops = (0..count).map(|n| keyed(&format!("{name}-{n:0200}"))).collect();
    Step::Commit(Batch { groups: vec![Group { counter: id(user(), "default"), ops }], now: NOW })
}
