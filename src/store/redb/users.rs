//! What each operation on users does within its transaction.

use ::redb::{ReadTransaction, ReadableTable, Table, TableHandle, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::handle::Verdict;
use super::logins::identity_key;
use super::tables::{COUNTERS, EMAILS, EXPIRIES, IDENTITIES, KEYS, USERS, corrupt, decode, encode};
use crate::domain::{Email, Identity, Timestamp, UserId};
use crate::store::plan::KeyRecord;
use crate::store::{AccountKey, NewUser, PasswordHash, StoreError, TokenHash, User, keys_of};

/// A user as it stands in the file, under its id.
#[derive(Serialize, Deserialize)]
pub(super) struct UserRecord {
    email: Option<Email>,
    pub(super) password_hash: Option<String>,
    /// The hash of the newest token's `jti`; nothing after a logout.
    token: Option<String>,
    token_generation: u64,
    pub(super) counters: u64,
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
    let [first, end] = keys_of(id);
    txn.open_table(COUNTERS)?.retain_in::<&str, _>(first.as_str()..end.as_str(), |_, _| false)?;
    let (mut keys, mut expiries) = (txn.open_table(KEYS)?, txn.open_table(EXPIRIES)?);
    for entry in keys.extract_from_if::<&str, _>(first.as_str()..end.as_str(), |_, _| true)? {
        let (key, bytes) = entry?;
        // One that cannot be read does not keep the account: the row of its expiry goes when its time has come.
        if let Ok(record) = decode::<KeyRecord>(bytes.value(), KEYS.name()) {
            expiries.remove((record.expires_at.millis(), key.value()))?;
        }
    }
    Ok(Verdict::Commit(true))
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
