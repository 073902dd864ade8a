//! What stands in the file, and what each operation does there within its transaction.
//!
//! The keys of counters and of idempotency keys begin with `<user id>/`: what belongs to a user is one range.

use std::ops::Bound;

use ::redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, TableError, TableHandle, WriteTransaction,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::handle::Verdict;
use super::logins::{IDENTITIES, LOGINS, identity_key};
use crate::domain::{CounterId, CounterName, CounterValue, Email, IdempotencyKey, Identity, Timestamp, UserId};
use crate::store::plan::{KeyId, KeyRecord, Known, Write, plan};
use crate::store::{
    AccountKey, Answer, Batch, Cause, Counter, Group, NamedCounter, NewUser, PasswordHash, Rules, StoreError,
    TokenHash, User,
};

/// The layout that is described here. It rises with every change that an older version would misread.
pub(super) const LAYOUT: u64 = 3;
/// The oldest that can be brought up to it, by [`create`]. 1 knew no identities, and would forget them when it writes a user; 2
/// knew them without an issuer.
pub(super) const OLDEST_LAYOUT: u64 = 1;

pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const LAYOUT_KEY: &str = "layout";

/// By user id: [`UserRecord`] as JSON.
pub(super) const USERS: TableDefinition<&str, &[u8]> = TableDefinition::new("users");
/// By e-mail address: the user id.
const EMAILS: TableDefinition<&str, &str> = TableDefinition::new("users_by_email");
/// By `<user id>/<name>`: value, version, and the time of the last write in milliseconds.
pub(super) const COUNTERS: TableDefinition<&str, (u64, u64, i64)> = TableDefinition::new("incremental_counter");
/// By `<user id>/<key>`: [`KeyRecord`] as JSON.
pub(super) const KEYS: TableDefinition<&str, &[u8]> = TableDefinition::new("idempotency_keys");
/// By the time of expiry in milliseconds and the key in [`KEYS`].
pub(super) const EXPIRIES: TableDefinition<(i64, &str), ()> = TableDefinition::new("idempotency_keys_by_expiry");

/// How many expired keys a commit removes at least. It removes more than it adds, so that they never pile up.
const PRUNED_AT_ONCE: usize = 64;

/// A user as it stands in the file, under its id.
#[derive(Serialize, Deserialize)]
pub(super) struct UserRecord {
    email: Option<Email>,
    pub(super) password_hash: Option<String>,
    /// The hash of the newest token's `jti`; nothing after a logout.
    token: Option<String>,
    token_generation: u64,
    counters: u64,
    created_at: Timestamp,
    /// Absent in records of layout 1.
    #[serde(default)]
    pub(super) identities: Vec<Identity>,
}

impl UserRecord {
    pub(super) fn into_user(self, id: UserId) -> User {
        User {
            id,
            email: self.email,
            password_hash: self.password_hash.map(PasswordHash::new),
            identities: self.identities,
            token_generation: self.token_generation,
            counters: self.counters,
            created_at: self.created_at,
        }
    }
}

/// The layout of the file; nothing where the file is new.
pub(super) fn layout(txn: &ReadTransaction) -> Result<Option<u64>, TableError> {
    if txn.list_tables()?.next().is_none() {
        return Ok(None);
    }
    let layout = txn.open_table(META)?.get(LAYOUT_KEY)?.map(|layout| layout.value());
    layout.map(Some).ok_or_else(|| TableError::TableDoesNotExist(META.name().to_owned()))
}

/// Makes the tables that are not there.
pub(super) fn create(txn: &WriteTransaction) -> Result<Verdict<()>, StoreError> {
    let mut meta = txn.open_table(META)?;
    if meta.get(LAYOUT_KEY)?.is_some_and(|layout| layout.value() == LAYOUT) {
        return Ok(Verdict::Abort(()));
    }
    meta.insert(LAYOUT_KEY, LAYOUT)?;
    txn.open_table(USERS)?;
    txn.open_table(EMAILS)?;
    txn.open_table(COUNTERS)?;
    txn.open_table(KEYS)?;
    txn.open_table(EXPIRIES)?;
    txn.open_table(IDENTITIES)?;
    txn.open_table(LOGINS)?;
    Ok(Verdict::Commit(()))
}

/// Reads something.
pub(super) fn ping(txn: &WriteTransaction) -> Result<Verdict<()>, StoreError> {
    txn.open_table(META)?.get(LAYOUT_KEY)?;
    Ok(Verdict::Abort(()))
}

/// Does what [`plan`] says, and removes some expired keys while it writes anyway.
pub(super) fn commit(
    txn: &WriteTransaction,
    batch: &Batch,
    rules: Rules,
) -> Result<Verdict<Vec<Vec<Answer>>>, StoreError> {
    let known = known(txn, batch)?;
    let plan = plan(batch, &known, rules);
    if plan.writes.is_empty() && plan.records.is_empty() {
        return Ok(Verdict::Abort(plan.answers));
    }
    write_counters(txn, &plan.writes)?;
    let (mut keys, mut expiries) = (txn.open_table(KEYS)?, txn.open_table(EXPIRIES)?);
    for (id, record) in &plan.records {
        let key = key_text(id.0, &id.1);
        if let Some(expired) = known.keys.get(id) {
            expiries.remove((expired.expires_at.millis(), key.as_str()))?;
        }
        keys.insert(key.as_str(), encode(record)?.as_slice())?;
        expiries.insert((record.expires_at.millis(), key.as_str()), ())?;
    }
    prune(&mut keys, &mut expiries, batch.now, PRUNED_AT_ONCE.max(2 * plan.records.len()))?;
    Ok(Verdict::Commit(plan.answers))
}

/// Does a batch that only reads.
pub(super) fn read_all(txn: &ReadTransaction, batch: &Batch, rules: Rules) -> Result<Vec<Vec<Answer>>, StoreError> {
    let counters = txn.open_table(COUNTERS)?;
    let mut known = Known::default();
    for Group { counter, .. } in &batch.groups {
        known.counters.extend(find_counter(&counters, counter)?.map(|found| (counter.clone(), found)));
    }
    Ok(plan(batch, &known, rules).answers)
}

fn known(txn: &WriteTransaction, batch: &Batch) -> Result<Known, StoreError> {
    let (counters, users, keys) = (txn.open_table(COUNTERS)?, txn.open_table(USERS)?, txn.open_table(KEYS)?);
    let mut known = Known::default();
    for group in &batch.groups {
        let user = group.counter.user;
        if let Some(counter) = find_counter(&counters, &group.counter)? {
            known.counters.insert(group.counter.clone(), counter);
        } else if let Some(record) = find_user(&users, user)? {
            known.users.insert(user, record.counters);
        }
        for key in group.ops.iter().filter_map(|op| op.key.as_ref()) {
            if let Some(bytes) = keys.get(key_text(user, &key.key).as_str())? {
                let id: KeyId = (user, key.key.clone());
                known.keys.insert(id, decode::<KeyRecord>(bytes.value(), KEYS.name())?);
            }
        }
    }
    Ok(known)
}

fn write_counters(txn: &WriteTransaction, writes: &[Write]) -> Result<(), StoreError> {
    let (mut counters, mut users) = (txn.open_table(COUNTERS)?, txn.open_table(USERS)?);
    for Write { counter, before, after } in writes {
        let stored = (after.value.get(), after.version, after.updated_at.millis());
        counters.insert(counter.to_string().as_str(), stored)?;
        if before.is_none() {
            update_user(&mut users, counter.user, |user| user.counters += 1)?;
        }
    }
    Ok(())
}

fn prune(
    keys: &mut Table<'_, &'static str, &'static [u8]>,
    expiries: &mut Table<'_, (i64, &'static str), ()>,
    now: Timestamp,
    limit: usize,
) -> Result<(), StoreError> {
    let end = (now.millis().saturating_add(1), "");
    for entry in expiries.extract_from_if(..end, |_, ()| true)?.take(limit) {
        let (expiry, _) = entry?;
        keys.remove(expiry.value().1)?;
    }
    Ok(())
}

/// Reads one counter.
pub(super) fn counter(txn: &ReadTransaction, id: &CounterId) -> Result<Option<Counter>, StoreError> {
    find_counter(&txn.open_table(COUNTERS)?, id)
}

/// Up to `limit` counters of a user, those after `after`.
pub(super) fn counters(
    txn: &ReadTransaction,
    user: UserId,
    after: Option<&CounterName>,
    limit: usize,
) -> Result<Vec<NamedCounter>, StoreError> {
    let table: ReadOnlyTable<_, _> = txn.open_table(COUNTERS)?;
    let [first, end] = range_of(user);
    let after = after.map(|name| CounterId { user, name: name.clone() }.to_string());
    let start = after.as_deref().map_or(Bound::Included(first.as_str()), Bound::Excluded);
    let mut found = Vec::new();
    for entry in table.range::<&str>((start, Bound::Excluded(end.as_str())))?.take(limit) {
        let (key, stored) = entry?;
        let name = key.value().strip_prefix(&first).and_then(|name| name.parse().ok());
        let name = name.ok_or_else(|| corrupt("the name of a counter is none"))?;
        found.push(NamedCounter { name, counter: decode_counter(stored.value())? });
    }
    Ok(found)
}

/// Removes a counter; `false` where there was none.
pub(super) fn delete_counter(txn: &WriteTransaction, id: &CounterId) -> Result<Verdict<bool>, StoreError> {
    if txn.open_table(COUNTERS)?.remove(id.to_string().as_str())?.is_none() {
        return Ok(Verdict::Abort(false));
    }
    update_user(&mut txn.open_table(USERS)?, id.user, |user| user.counters = user.counters.saturating_sub(1))?;
    Ok(Verdict::Commit(true))
}

/// Stores a new user.
pub(super) fn create_user(txn: &WriteTransaction, user: &NewUser) -> Result<Verdict<()>, StoreError> {
    let id = user.id.to_string();
    match &user.key {
        AccountKey::Password(_) => {
            let mut emails = txn.open_table(EMAILS)?;
            let email = user.email.as_ref().ok_or_else(|| corrupt("a user with a password has no address"))?;
            if emails.get(email.as_str())?.is_some() {
                return Err(StoreError::EmailTaken);
            }
            emails.insert(email.as_str(), id.as_str())?;
        }
        AccountKey::Identity(identity) => {
            let mut identities = txn.open_table(IDENTITIES)?;
            if identities.get(identity_key(identity))?.is_some() {
                return Err(StoreError::IdentityTaken);
            }
            identities.insert(identity_key(identity), id.as_str())?;
        }
    }
    let record = UserRecord {
        email: user.email.clone(),
        password_hash: user.key.password_hash().map(|hash| hash.as_phc().to_owned()),
        token: Some(user.token.0.clone()),
        token_generation: 0,
        counters: 0,
        created_at: user.created_at,
        identities: user.key.identity().cloned().into_iter().collect(),
    };
    txn.open_table(USERS)?.insert(id.as_str(), encode(&record)?.as_slice())?;
    Ok(Verdict::Commit(()))
}

/// The user with this address.
pub(super) fn user_by_email(txn: &ReadTransaction, email: &Email) -> Result<Option<User>, StoreError> {
    let Some(id) = txn.open_table(EMAILS)?.get(email.as_str())? else { return Ok(None) };
    user(txn, id.value().parse().map_err(|_| corrupt("the id of a user is none"))?)
}

/// The user with this id.
pub(super) fn user(txn: &ReadTransaction, id: UserId) -> Result<Option<User>, StoreError> {
    Ok(find_user(&txn.open_table(USERS)?, id)?.map(|record| record.into_user(id)))
}

/// Notes the newest token and answers the generation.
pub(super) fn record_token(
    txn: &WriteTransaction,
    id: UserId,
    token: TokenHash,
) -> Result<Verdict<Option<u64>>, StoreError> {
    change_generation(txn, id, |user| user.token = Some(token.0))
}

/// Raises the generation and answers the new one.
pub(super) fn revoke_tokens(txn: &WriteTransaction, id: UserId) -> Result<Verdict<Option<u64>>, StoreError> {
    change_generation(txn, id, |user| {
        user.token = None;
        user.token_generation += 1;
    })
}

/// Removes a user with all that belongs to it; `false` where there was none.
pub(super) fn delete_user(txn: &WriteTransaction, id: UserId) -> Result<Verdict<bool>, StoreError> {
    let mut users = txn.open_table(USERS)?;
    let Some(record) = find_user(&users, id)? else { return Ok(Verdict::Abort(false)) };
    users.remove(id.to_string().as_str())?;
    // Of an account without a password the address is a label, and may be another account's key.
    if let (Some(email), Some(_)) = (&record.email, &record.password_hash) {
        txn.open_table(EMAILS)?.remove(email.as_str())?;
    }
    let mut identities = txn.open_table(IDENTITIES)?;
    for identity in &record.identities {
        identities.remove(identity_key(identity))?;
    }
    let [first, end] = range_of(id);
    txn.open_table(COUNTERS)?.retain_in::<&str, _>(first.as_str()..end.as_str(), |_, _| false)?;
    let (mut keys, mut expiries) = (txn.open_table(KEYS)?, txn.open_table(EXPIRIES)?);
    for entry in keys.extract_from_if::<&str, _>(first.as_str()..end.as_str(), |_, _| true)? {
        let (key, bytes) = entry?;
        let record: KeyRecord = decode(bytes.value(), KEYS.name())?;
        expiries.remove((record.expires_at.millis(), key.value()))?;
    }
    Ok(Verdict::Commit(true))
}

fn change_generation(
    txn: &WriteTransaction,
    id: UserId,
    change: impl FnOnce(&mut UserRecord),
) -> Result<Verdict<Option<u64>>, StoreError> {
    let changed = update_user(&mut txn.open_table(USERS)?, id, change)?;
    Ok(match changed {
        Some(record) => Verdict::Commit(Some(record.token_generation)),
        None => Verdict::Abort(None),
    })
}

/// Changes a user's record and answers it; nothing where the user is gone.
pub(super) fn update_user(
    users: &mut Table<'_, &'static str, &'static [u8]>,
    id: UserId,
    change: impl FnOnce(&mut UserRecord),
) -> Result<Option<UserRecord>, StoreError> {
    let Some(mut record) = find_user(users, id)? else { return Ok(None) };
    change(&mut record);
    users.insert(id.to_string().as_str(), encode(&record)?.as_slice())?;
    Ok(Some(record))
}

pub(super) fn find_user(
    users: &impl ReadableTable<&'static str, &'static [u8]>,
    id: UserId,
) -> Result<Option<UserRecord>, StoreError> {
    users.get(id.to_string().as_str())?.map(|bytes| decode(bytes.value(), USERS.name())).transpose()
}

fn find_counter(
    counters: &impl ReadableTable<&'static str, (u64, u64, i64)>,
    id: &CounterId,
) -> Result<Option<Counter>, StoreError> {
    counters.get(id.to_string().as_str())?.map(|stored| decode_counter(stored.value())).transpose()
}

/// From where to where, the end excluded, the keys of what belongs to a user go: `0` comes next after `/`.
fn range_of(user: UserId) -> [String; 2] {
    [format!("{user}/"), format!("{user}0")]
}

fn key_text(user: UserId, key: &IdempotencyKey) -> String {
    format!("{user}/{}", key.as_str())
}

fn decode_counter((value, version, updated_at): (u64, u64, i64)) -> Result<Counter, StoreError> {
    let value = CounterValue::new(value).ok_or_else(|| corrupt("the value of a counter lies above the top"))?;
    Ok(Counter { value, version, updated_at: Timestamp::from_millis(updated_at) })
}

pub(super) fn encode(record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(record).map_err(|_| StoreError::Corrupt(Cause::new("encoding", "a record cannot be written")))
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8], table: &str) -> Result<T, StoreError> {
    // What serde says is left out: it may repeat what stands in the record.
    serde_json::from_slice(bytes).map_err(|_| corrupt(&format!("a record of {table} is not as this program writes it")))
}

pub(super) fn corrupt(detail: &str) -> StoreError {
    StoreError::Corrupt(Cause::new("corrupted", detail))
}
