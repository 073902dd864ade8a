//! Identities at providers of sign-ins, and logins that wait for their one-time code.

use ::redb::{ReadTransaction, ReadableTable, TableHandle, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::handle::Verdict;
use super::tables::{IDENTITIES, LOGINS, USERS, corrupt, decode, encode};
use super::users::{find_user, update_user, user};
use crate::domain::{Email, Identity, ProviderName, Timestamp, UserId};
use crate::store::{Login, LoginHash, MAX_TRIES, StoreError, Unlinked, User};

/// A login as it stands in the file, under the hash of its code.
#[derive(Serialize, Deserialize)]
struct LoginRecord {
    identity: Identity,
    email: Option<Email>,
    tries: u32,
    expires_at: Timestamp,
}

impl LoginRecord {
    fn into_login(self) -> Login {
        Login { identity: self.identity, email: self.email, expires_at: self.expires_at }
    }
}

/// The key of an identity in [`IDENTITIES`].
pub(super) fn identity_key(identity: &Identity) -> (&str, &str) {
    (identity.issuer.as_str(), identity.subject.as_str())
}

/// The account that this identity opens.
pub(super) fn user_by_identity(txn: &ReadTransaction, identity: &Identity) -> Result<Option<User>, StoreError> {
    let Some(id) = txn.open_table(IDENTITIES)?.get(identity_key(identity))? else { return Ok(None) };
    user(txn, id.value().parse().map_err(|_| corrupt("the id of a user is none"))?)
}

/// Lets an identity open this account as well.
pub(super) fn add_identity(
    txn: &WriteTransaction,
    id: UserId,
    identity: Identity,
) -> Result<Verdict<bool>, StoreError> {
    let mut identities = txn.open_table(IDENTITIES)?;
    let text = id.to_string();
    let taken_by = identities.get(identity_key(&identity))?.map(|user| user.value() == text);
    match taken_by {
        Some(true) => return Ok(Verdict::Abort(true)),
        Some(false) => return Err(StoreError::IdentityTaken),
        None => {}
    }
    let added = update_user(&mut txn.open_table(USERS)?, id, |user| user.identities.push(identity.clone()))?;
    if added.is_none() {
        return Ok(Verdict::Abort(false));
    }
    identities.insert(identity_key(&identity), text.as_str())?;
    Ok(Verdict::Commit(true))
}

/// Takes a user's identities at this provider away, unless nothing else opens the account.
pub(super) fn remove_identities(
    txn: &WriteTransaction,
    id: UserId,
    provider: &ProviderName,
) -> Result<Verdict<Unlinked>, StoreError> {
    let (mut users, mut identities) = (txn.open_table(USERS)?, txn.open_table(IDENTITIES)?);
    let user = find_user(&users, id)?;
    let (removed, kept): (Vec<_>, Vec<_>) = user
        .as_ref()
        .map(|user| user.identities.clone())
        .unwrap_or_default()
        .into_iter()
        .partition(|identity| identity.provider == *provider);
    let has_password = user.as_ref().is_some_and(|user| user.password_hash.is_some());
    if removed.is_empty() || (kept.is_empty() && !has_password) {
        let user = user.map(|user| user.into_user(id));
        return Ok(Verdict::Abort(Unlinked::refused(user.as_ref(), provider)));
    }
    for identity in &removed {
        identities.remove(identity_key(identity))?;
    }
    update_user(&mut users, id, |user| user.identities = kept)?;
    Ok(Verdict::Commit(Unlinked::Done))
}

/// Keeps a login, and removes those whose time is over.
pub(super) fn keep(txn: &WriteTransaction, code: &LoginHash, login: Login) -> Result<Verdict<()>, StoreError> {
    let mut logins = txn.open_table(LOGINS)?;
    let now = Timestamp::now();
    // A record that cannot be read is of no use to anybody.
    logins
        .retain(|_, bytes| decode::<LoginRecord>(bytes, LOGINS.name()).is_ok_and(|record| record.expires_at > now))?;
    let Login { identity, email, expires_at } = login;
    let record = LoginRecord { identity, email, tries: 0, expires_at };
    logins.insert(code.0.as_str(), encode(&record)?.as_slice())?;
    Ok(Verdict::Commit(()))
}

/// The login behind a code that was not tried too often.
pub(super) fn look(txn: &ReadTransaction, code: &LoginHash, now: Timestamp) -> Result<Option<Login>, StoreError> {
    let record = find(&txn.open_table(LOGINS)?, code, now)?.filter(|record| record.tries < MAX_TRIES);
    Ok(record.map(LoginRecord::into_login))
}

/// The same, and one try more.
pub(super) fn count_try(
    txn: &WriteTransaction,
    code: &LoginHash,
    now: Timestamp,
) -> Result<Verdict<Option<Login>>, StoreError> {
    let mut logins = txn.open_table(LOGINS)?;
    let record = find(&logins, code, now)?.filter(|record| record.tries < MAX_TRIES);
    let Some(mut record) = record else { return Ok(Verdict::Abort(None)) };
    record.tries += 1;
    logins.insert(code.0.as_str(), encode(&record)?.as_slice())?;
    Ok(Verdict::Commit(Some(record.into_login())))
}

/// The login behind a code, and nobody else gets it. Whoever has looked or tried takes, so tries are not counted again.
pub(super) fn take(
    txn: &WriteTransaction,
    code: &LoginHash,
    now: Timestamp,
) -> Result<Verdict<Option<Login>>, StoreError> {
    let mut logins = txn.open_table(LOGINS)?;
    let Some(record) = find(&logins, code, now)? else { return Ok(Verdict::Abort(None)) };
    logins.remove(code.0.as_str())?;
    Ok(Verdict::Commit(Some(record.into_login())))
}

fn find(
    logins: &impl ReadableTable<&'static str, &'static [u8]>,
    code: &LoginHash,
    now: Timestamp,
) -> Result<Option<LoginRecord>, StoreError> {
    let record = logins.get(code.0.as_str())?;
    let record = record.map(|bytes| decode::<LoginRecord>(bytes.value(), LOGINS.name())).transpose()?;
    Ok(record.filter(|record| record.expires_at > now))
}
