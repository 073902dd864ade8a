//! What stands in the file: its tables, their layout, and how records are written.
//!
//! The keys of counters and of idempotency keys begin with `<user id>/`: what belongs to a user is one range.

use ::redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, TableHandle, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::handle::Verdict;
use crate::store::{Cause, ErrorType, StoreError};

/// The layout that is described here. It rises with every change that an older version would misread.
pub(super) const LAYOUT: u64 = 3;
/// The oldest that can be brought up to it, by [`create`]. 1 knew no identities, and would forget them when it writes a user; 2
/// knew them without an issuer.
pub(super) const OLDEST_LAYOUT: u64 = 1;

pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const LAYOUT_KEY: &str = "layout";

/// By user id: `UserRecord` as JSON.
pub(super) const USERS: TableDefinition<&str, &[u8]> = TableDefinition::new("users");
/// By e-mail address: the user id.
pub(super) const EMAILS: TableDefinition<&str, &str> = TableDefinition::new("users_by_email");
/// By `<user id>/<name>`: value, version, and the time of the last write in milliseconds.
pub(super) const COUNTERS: TableDefinition<&str, (u64, u64, i64)> = TableDefinition::new("incremental_counter");
/// By `<user id>/<key>`: `KeyRecord` as JSON.
pub(super) const KEYS: TableDefinition<&str, &[u8]> = TableDefinition::new("idempotency_keys");
/// By the time of expiry in milliseconds and the key in [`KEYS`].
pub(super) const EXPIRIES: TableDefinition<(i64, &str), ()> = TableDefinition::new("idempotency_keys_by_expiry");
/// By issuer and subject: the user id.
pub(super) const IDENTITIES: TableDefinition<(&str, &str), &str> = TableDefinition::new("users_by_issuer");
/// By the hash of a one-time code: `LoginRecord` as JSON. There are as many as people sign in within its time.
pub(super) const LOGINS: TableDefinition<&str, &[u8]> = TableDefinition::new("oauth_logins");

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

pub(super) fn encode(record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(record)
        .map_err(|_| StoreError::Corrupt(Cause::new(ErrorType::Encoding, "a record cannot be written")))
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8], table: &str) -> Result<T, StoreError> {
    // What serde says is left out: it may repeat what stands in the record.
    serde_json::from_slice(bytes).map_err(|_| corrupt(&format!("a record of {table} is not as this program writes it")))
}

pub(super) fn corrupt(detail: &str) -> StoreError {
    StoreError::Corrupt(Cause::new(ErrorType::Corrupted, detail))
}
