//! What the store does while all is well.

mod disk;
mod failures;
mod io_errors;
mod model;
mod power;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use ::redb::ReadableTableMetadata;
use uuid::Uuid;

use super::*;
use crate::domain::{CounterValue, Timestamp};
use crate::store::{
    AccountKey, Action, Condition, Counter, Group, KEY_LIFETIME, Key, Op, Outcome, PasswordHash, Refusal,
};

const RULES: Rules = Rules { initial_value: CounterValue::new(0).unwrap(), counters_per_user: 2 };
const TIMEOUT: Duration = Duration::from_secs(10);
const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);

/// A folder of one test's own, which goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("counter-redb-{}", Uuid::now_v7())))
    }

    fn file(&self) -> PathBuf {
        self.0.join("deep/er/counter.redb")
    }

    async fn open(&self) -> RedbStore {
        let store = RedbStore::open(&self.file(), RULES, TIMEOUT).unwrap();
        store.prepare().await.unwrap();
        store
    }

    fn refusal(&self) -> String {
        RedbStore::open(&self.file(), RULES, TIMEOUT).err().expect("it was opened").to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn value(value: u64) -> CounterValue {
    CounterValue::new(value).unwrap()
}

fn id(user: UserId, name: &str) -> CounterId {
    CounterId { user, name: name.parse().unwrap() }
}

fn op(action: Action) -> Op {
    Op { action, key: None }
}

fn keyed(key: &str) -> Op {
    Op { action: Action::Take(1), key: Some(Key { key: key.parse().unwrap(), fingerprint: "same".into() }) }
}

fn one(counter: &CounterId, op: Op) -> Batch {
    Batch { groups: vec![Group { counter: counter.clone(), ops: vec![op] }], now: NOW }
}

fn taken(first: u64, last: u64) -> Outcome {
    Outcome::Taken { first: value(first), last: value(last) }
}

async fn new_user(store: &RedbStore, email: &str) -> UserId {
    let user = NewUser {
        id: UserId::generate(),
        email: Some(email.parse().unwrap()),
        key: AccountKey::Password(PasswordHash::new("$argon2id$".into())),
        token: TokenHash("aa".into()),
        created_at: NOW,
    };
    store.create_user(&user).await.unwrap();
    user.id
}

async fn commit_one(store: &RedbStore, counter: &CounterId, op: Op) -> Answer {
    store.commit(&one(counter, op)).await.unwrap()[0][0]
}

async fn current(store: &RedbStore, counter: &CounterId) -> Result<Option<Counter>, StoreError> {
    match store.commit(&one(counter, op(Action::Read))).await?[0][0].outcome {
        Outcome::Read(counter) => Ok(counter),
        other => panic!("no read: {other:?}"),
    }
}

async fn take(store: &RedbStore, counter: &CounterId, count: u32) -> Outcome {
    commit_one(store, counter, op(Action::Take(count))).await.outcome
}

fn names(list: Vec<NamedCounter>) -> Vec<String> {
    list.into_iter().map(|counter| counter.name.to_string()).collect()
}

#[tokio::test]
async fn everything_survives_reopening() {
    let folder = Folder::new();
    let store = folder.open().await;
    let ada = new_user(&store, "ada@example.com").await;
    assert_eq!(take(&store, &id(ada, "orders"), 5).await, taken(1, 5));
    let before = current(&store, &id(ada, "orders")).await.unwrap().unwrap();
    store.close().await;
    assert!(!folder.0.join("deep/er/counter.redb.pid").exists());

    let store = folder.open().await;
    let user = store.user_by_email(&"ada@example.com".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((user.id, user.counters, user.created_at), (ada, 1, NOW));
    assert_eq!(user.password_hash.unwrap().as_phc(), "$argon2id$");
    assert_eq!(current(&store, &id(ada, "orders")).await.unwrap(), Some(before));
    assert_eq!(take(&store, &id(ada, "orders"), 1).await, taken(6, 6));
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let (folder, after) = (Folder::new(), Folder::new());
    let store = folder.open().await;
    let counter = id(new_user(&store, "ada@example.com").await, "default");
    fs::create_dir_all(after.file().parent().unwrap()).unwrap();
    for n in 1..=20 {
        assert_eq!(take(&store, &counter, 1).await, taken(n, n));
        // What a process that is killed here leaves behind.
        fs::copy(folder.file(), after.file()).unwrap();
        let left = after.open().await;
        assert_eq!(current(&left, &counter).await.unwrap().map(|counter| counter.value), Some(value(n)));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let _store = folder.open().await;
    assert_eq!(fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_second_open_is_refused_and_told_whom_to_stop() {
    let folder = Folder::new();
    let store = folder.open().await;
    let refusal = folder.refusal();
    let expected = format!("is in use by process {}; stop it first", std::process::id());
    assert!(refusal.contains(&expected) && refusal.contains("COUNTER_STORE_URL"), "{refusal}");

    fs::remove_file(folder.0.join("deep/er/counter.redb.pid")).unwrap();
    assert!(folder.refusal().contains("is in use by another process; stop it first"));
    store.close().await;
    folder.open().await;
}

#[tokio::test]
async fn a_store_that_is_closed_or_not_prepared_is_unavailable() {
    let folder = Folder::new();
    let store = RedbStore::open(&folder.file(), RULES, TIMEOUT).unwrap();
    assert_eq!(store.ping().await.unwrap_err().kind(), ErrorType::NotPrepared);
    store.prepare().await.unwrap();
    store.prepare().await.unwrap();
    store.ping().await.unwrap();
    store.close().await;
    let counter = id(UserId::generate(), "default");
    for error in [
        store.ping().await.unwrap_err(),
        current(&store, &counter).await.unwrap_err(),
        store.commit(&one(&counter, keyed("k"))).await.unwrap_err(),
    ] {
        assert!(matches!(&error, StoreError::Unavailable(cause) if cause.kind == ErrorType::Closed), "{error:?}");
    }
}

#[tokio::test]
async fn a_keyed_call_is_replayed_across_batches_and_reopening() {
    let folder = Folder::new();
    let store = folder.open().await;
    let counter = id(new_user(&store, "ada@example.com").await, "default");
    let first = commit_one(&store, &counter, keyed("k")).await;
    assert_eq!(first, Answer { outcome: taken(1, 1), replayed: false });
    assert_eq!(commit_one(&store, &counter, keyed("k")).await, Answer { outcome: taken(1, 1), replayed: true });
    store.close().await;

    let store = folder.open().await;
    assert_eq!(commit_one(&store, &counter, keyed("k")).await, Answer { outcome: taken(1, 1), replayed: true });
    let other = Op { action: Action::Take(2), key: Some(Key { key: "k".parse().unwrap(), fingerprint: "o".into() }) };
    assert_eq!(commit_one(&store, &counter, other).await.outcome, Outcome::Refused(Refusal::KeyReused));
    assert_eq!(take(&store, &counter, 1).await, taken(2, 2));
}

#[tokio::test]
async fn the_quota_counts_creations_and_deletions() {
    let folder = Folder::new();
    let store = folder.open().await;
    let ada = new_user(&store, "ada@example.com").await;
    assert_eq!(take(&store, &id(ada, "a"), 1).await, taken(1, 1));
    assert_eq!(take(&store, &id(ada, "b"), 1).await, taken(1, 1));
    assert_eq!(take(&store, &id(ada, "c"), 1).await, Outcome::Refused(Refusal::QuotaReached));
    assert!(store.delete_counter(&id(ada, "a")).await.unwrap());
    assert!(!store.delete_counter(&id(ada, "a")).await.unwrap());
    assert_eq!(take(&store, &id(ada, "c"), 1).await, taken(1, 1));
    assert_eq!(store.user(ada).await.unwrap().unwrap().counters, 2);
    let gone = id(UserId::generate(), "default");
    assert_eq!(take(&store, &gone, 1).await, Outcome::Refused(Refusal::UserGone));
}

#[tokio::test]
async fn counters_are_listed_in_pages_and_each_user_sees_its_own() {
    let folder = Folder::new();
    let store = folder.open().await;
    let rules = Rules { counters_per_user: 10, ..RULES };
    let store = RedbStore { rules, ..store };
    let (ada, bob) = (new_user(&store, "ada@example.com").await, new_user(&store, "bob@example.com").await);
    for name in ["b-2", "b", "b_1", "0", "default"] {
        take(&store, &id(ada, name), 3).await;
    }
    take(&store, &id(bob, "theirs"), 1).await;
    let first = store.counters(ada, None, 3).await.unwrap();
    assert_eq!(first[0].counter.value, value(3));
    assert_eq!(names(first), ["0", "b", "b-2"]);
    let rest = store.counters(ada, Some(&"b-2".parse().unwrap()), 3).await.unwrap();
    assert_eq!(names(rest), ["b_1", "default"]);
    assert_eq!(names(store.counters(bob, None, 100).await.unwrap()), ["theirs"]);
}

#[tokio::test]
async fn a_deleted_user_leaves_nothing_and_others_alone() {
    let folder = Folder::new();
    let store = folder.open().await;
    let (ada, bob) = (new_user(&store, "ada@example.com").await, new_user(&store, "bob@example.com").await);
    for user in [ada, bob] {
        commit_one(&store, &id(user, "default"), keyed("k")).await;
    }
    assert!(store.delete_user(ada).await.unwrap());
    assert!(!store.delete_user(ada).await.unwrap());
    assert!(store.user(ada).await.unwrap().is_none());
    assert_eq!(store.record_token(ada, &TokenHash("bb".into())).await.unwrap(), None);
    assert_eq!(current(&store, &id(ada, "default")).await.unwrap(), None);
    assert_eq!(commit_one(&store, &id(ada, "default"), keyed("k")).await.outcome, Outcome::Refused(Refusal::UserGone));
    assert!(commit_one(&store, &id(bob, "default"), keyed("k")).await.replayed);
    assert_eq!(rows(&store).await, (1, 1, 1));
    assert_ne!(new_user(&store, "ada@example.com").await, ada);
}

#[tokio::test]
async fn an_address_is_taken_once_and_a_logout_raises_the_generation() {
    let folder = Folder::new();
    let store = folder.open().await;
    let ada = new_user(&store, "ada@example.com").await;
    let again = NewUser {
        id: UserId::generate(),
        email: Some("ada@example.com".parse().unwrap()),
        key: AccountKey::Password(PasswordHash::new(String::new())),
        token: TokenHash(String::new()),
        created_at: NOW,
    };
    assert_eq!(store.create_user(&again).await, Err(StoreError::EmailTaken));
    assert!(store.user(again.id).await.unwrap().is_none());
    assert_eq!(store.record_token(ada, &TokenHash("bb".into())).await.unwrap(), Some(0));
    assert_eq!(store.revoke_tokens(ada).await.unwrap(), Some(1));
    assert_eq!(store.record_token(ada, &TokenHash("cc".into())).await.unwrap(), Some(1));
    assert_eq!(store.user(ada).await.unwrap().unwrap().token_generation, 1);
}

/// How many counters, keys and times of expiry there are.
async fn rows(store: &RedbStore) -> (u64, u64, u64) {
    let count = |txn: &ReadTransaction| {
        let counters = txn.open_table(tables::COUNTERS)?.len()?;
        Ok((counters, txn.open_table(tables::KEYS)?.len()?, txn.open_table(tables::EXPIRIES)?.len()?))
    };
    store.read("count", "meta", count).await.unwrap()
}

#[tokio::test]
async fn expired_keys_are_replaced_and_pruned() {
    let folder = Folder::new();
    let store = folder.open().await;
    let counter = id(new_user(&store, "ada@example.com").await, "default");
    let ops = (0..100).map(|n| keyed(&format!("k{n}"))).collect();
    let batch = Batch { groups: vec![Group { counter: counter.clone(), ops }], now: NOW };
    store.commit(&batch).await.unwrap();
    assert_eq!(rows(&store).await, (1, 100, 100));

    let later = Batch { now: NOW + KEY_LIFETIME, ..one(&counter, keyed("k99")) };
    let answer = store.commit(&later).await.unwrap()[0][0];
    assert_eq!(answer, Answer { outcome: taken(101, 101), replayed: false });
    assert_eq!(rows(&store).await, (1, 36, 36));
    let next = Batch { now: NOW + KEY_LIFETIME, ..one(&counter, keyed("new")) };
    store.commit(&next).await.unwrap();
    assert_eq!(rows(&store).await, (1, 2, 2));
    assert!(store.commit(&later).await.unwrap()[0][0].replayed);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_commits_hand_out_every_number_once() {
    let folder = Folder::new();
    let store = Arc::new(folder.open().await);
    let counter = id(new_user(&store, "ada@example.com").await, "default");
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let (store, counter) = (Arc::clone(&store), counter.clone());
            tokio::spawn(async move { take(&store, &counter, 1).await })
        })
        .collect();
    let mut numbers = BTreeSet::new();
    for call in calls {
        let Outcome::Taken { first, .. } = call.await.unwrap() else { panic!("nothing was taken") };
        numbers.insert(first.get());
    }
    assert_eq!(numbers, (1..=50).collect());
}

#[tokio::test]
async fn what_only_reads_or_is_refused_writes_nothing() {
    let folder = Folder::new();
    let store = folder.open().await;
    let counter = id(new_user(&store, "ada@example.com").await, "default");
    take(&store, &counter, 1).await;
    let before = fs::read(folder.file()).unwrap();
    let set = Action::Set(value(9), Condition::VersionIn(vec![1]));
    assert_eq!(commit_one(&store, &counter, op(set)).await.outcome, Outcome::Refused(Refusal::PreconditionFailed));
    assert!(matches!(commit_one(&store, &counter, op(Action::Read)).await.outcome, Outcome::Read(Some(_))));
    store.ping().await.unwrap();
    assert!(fs::read(folder.file()).unwrap() == before, "the file changed");
}
