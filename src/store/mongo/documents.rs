//! What is stored, and its conversion from and to the words of the domain.
//!
//! BSON has signed integers only; every number here lies between 0 and 2^63 − 1.

use mongodb::bson::{self, Bson, DateTime, Document, doc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::plan::KeyRecord;
use super::super::{
    Cause, Counter, ErrorType, KeyId, Login, LoginHash, NamedCounter, NewUser, PasswordHash, StoreError, User, key_text,
};
use crate::domain::{CounterId, CounterName, CounterValue, Email, Identity, Timestamp, UserId};

/// A document of a certain collection.
pub(super) trait Stored: Serialize + DeserializeOwned + Send + Sync + Unpin + 'static {
    /// Where it is stored.
    const COLLECTION: &'static str;
}

/// A user. Not `Debug`, for it holds the hash of a password.
#[derive(Serialize, Deserialize)]
pub(super) struct UserDocument {
    #[serde(rename = "_id")]
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    token_generation: i64,
    counters: i64,
    incremental_id: String,
    created_at: DateTime,
    /// An empty one is none: the unique index is over those that there are.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    identities: Vec<Identity>,
}

impl Stored for UserDocument {
    const COLLECTION: &'static str = "users";
}

/// A user's number of counters.
#[derive(Serialize, Deserialize)]
pub(super) struct CountersOfUser {
    #[serde(rename = "_id")]
    id: String,
    counters: i64,
}

impl Stored for CountersOfUser {
    const COLLECTION: &'static str = UserDocument::COLLECTION;
}

/// A user's token generation.
#[derive(Serialize, Deserialize)]
pub(super) struct GenerationOfUser {
    pub(super) token_generation: i64,
}

impl Stored for GenerationOfUser {
    const COLLECTION: &'static str = UserDocument::COLLECTION;
}

/// A counter.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CounterDocument {
    #[serde(rename = "_id")]
    id: String,
    user: String,
    name: String,
    value: i64,
    version: i64,
    updated_at: DateTime,
}

impl Stored for CounterDocument {
    const COLLECTION: &'static str = "incremental_counter";
}

/// The record of an idempotency key.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeyDocument {
    #[serde(rename = "_id")]
    pub(super) id: String,
    fingerprint: String,
    outcome: Bson,
    expires_at: DateTime,
}

impl Stored for KeyDocument {
    const COLLECTION: &'static str = "idempotency_keys";
}

/// A login that waits for its one-time code.
#[derive(Serialize, Deserialize)]
pub(super) struct LoginDocument {
    #[serde(rename = "_id")]
    id: String,
    #[serde(flatten)]
    identity: Identity,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<Email>,
    tries: i64,
    expires_at: DateTime,
}

impl Stored for LoginDocument {
    const COLLECTION: &'static str = "oauth_logins";
}

pub(super) fn date(moment: Timestamp) -> DateTime {
    DateTime::from_millis(moment.millis())
}

/// An unsigned number as BSON has it.
pub(super) fn signed(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| invalid("a number lies above the top"))
}

/// A stored number as the domain has it.
pub(super) fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| invalid("a number is negative"))
}

fn invalid(detail: &'static str) -> StoreError {
    StoreError::Corrupt(Cause::new(ErrorType::InvalidDocument, detail))
}

fn moment(date: DateTime) -> Timestamp {
    Timestamp::from_millis(date.timestamp_millis())
}

impl UserDocument {
    pub(super) fn of_new(user: &NewUser) -> Self {
        let default = CounterId { user: user.id, name: CounterName::default_counter() };
        Self {
            id: user.id.to_string(),
            email: user.email.as_ref().map(|email| email.as_str().to_owned()),
            password_hash: user.key.password_hash().map(|hash| hash.as_phc().to_owned()),
            token: Some(user.token.0.clone()),
            token_generation: 0,
            counters: 0,
            incremental_id: default.to_string(),
            created_at: date(user.created_at),
            identities: user.key.identity().cloned().into_iter().collect(),
        }
    }

    pub(super) fn into_user(self) -> Result<User, StoreError> {
        let email = self.email.map(|email| email.parse()).transpose();
        Ok(User {
            id: self.id.parse().map_err(|_| invalid("a user's _id is no UUID"))?,
            email: email.map_err(|_| invalid("a user's email is none"))?,
            password_hash: self.password_hash.map(PasswordHash::new),
            identities: self.identities,
            token_generation: unsigned(self.token_generation)?,
            counters: unsigned(self.counters)?,
            created_at: moment(self.created_at),
        })
    }
}

impl LoginDocument {
    pub(super) fn of(code: &LoginHash, login: &Login) -> Self {
        Self {
            id: code.0.clone(),
            identity: login.identity.clone(),
            email: login.email.clone(),
            tries: 0,
            expires_at: date(login.expires_at),
        }
    }

    pub(super) fn into_login(self) -> Login {
        Login { identity: self.identity, email: self.email, expires_at: moment(self.expires_at) }
    }
}

impl CountersOfUser {
    pub(super) fn read(self) -> Result<(UserId, u64), StoreError> {
        let id = self.id.parse().map_err(|_| invalid("a user's _id is no UUID"))?;
        Ok((id, unsigned(self.counters)?))
    }
}

impl CounterDocument {
    pub(super) fn of(id: &CounterId, counter: Counter) -> Result<Self, StoreError> {
        Ok(Self {
            id: id.to_string(),
            user: id.user.to_string(),
            name: id.name.to_string(),
            value: signed(counter.value.get())?,
            version: signed(counter.version)?,
            updated_at: date(counter.updated_at),
        })
    }

    /// The `_id`, and the change that makes the stored counter this one.
    pub(super) fn into_update(self) -> (String, Document) {
        let Self { id, value, version, updated_at, .. } = self;
        (id, doc! { "$set": { "value": value, "version": version, "updated_at": updated_at } })
    }

    pub(super) fn counter(&self) -> Result<Counter, StoreError> {
        Ok(Counter {
            value: CounterValue::new(unsigned(self.value)?).ok_or_else(|| invalid("a counter lies above the top"))?,
            version: unsigned(self.version)?,
            updated_at: moment(self.updated_at),
        })
    }

    pub(super) fn read(&self) -> Result<(CounterId, Counter), StoreError> {
        let user = self.user.parse().map_err(|_| invalid("a counter's user is no UUID"))?;
        Ok((CounterId { user, name: self.name()? }, self.counter()?))
    }

    pub(super) fn named(&self) -> Result<NamedCounter, StoreError> {
        Ok(NamedCounter { name: self.name()?, counter: self.counter()? })
    }

    fn name(&self) -> Result<CounterName, StoreError> {
        self.name.parse().map_err(|_| invalid("a counter's name is none"))
    }
}

impl KeyDocument {
    pub(super) fn of(id: &KeyId, record: &KeyRecord) -> Result<Self, StoreError> {
        let outcome = bson::serialize_to_bson(&record.outcome);
        Ok(Self {
            id: key_text(id),
            fingerprint: record.fingerprint.clone(),
            outcome: outcome.map_err(|_| invalid("an outcome cannot be stored"))?,
            expires_at: date(record.expires_at),
        })
    }

    pub(super) fn into_record(self) -> Result<KeyRecord, StoreError> {
        Ok(KeyRecord {
            fingerprint: self.fingerprint,
            outcome: bson::deserialize_from_bson(self.outcome)
                .map_err(|_| invalid("a stored outcome cannot be read"))?,
            expires_at: moment(self.expires_at),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Outcome, Refusal};
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_764_030_000_123);

    fn record(outcome: Outcome) -> KeyRecord {
        KeyRecord { fingerprint: "f".into(), outcome, expires_at: NOW }
    }

    #[test]
    fn every_outcome_of_a_keyed_call_survives() {
        let id = (UserId::generate(), "k".parse().unwrap());
        let top = CounterValue::MAX;
        for outcome in [
            Outcome::Taken { first: CounterValue::new(1).unwrap(), last: top },
            Outcome::Set { value: top, previous: CounterValue::default(), version: 1_764_030_000_123_001 },
            Outcome::Refused(Refusal::CounterExhausted),
            Outcome::Refused(Refusal::PreconditionFailed),
            Outcome::Refused(Refusal::QuotaReached),
        ] {
            let stored = KeyDocument::of(&id, &record(outcome)).unwrap();
            let bytes = bson::serialize_to_vec(&stored).unwrap();
            let read: KeyDocument = bson::deserialize_from_slice(&bytes).unwrap();
            assert_eq!(read.into_record().unwrap(), record(outcome));
        }
    }

    #[test]
    fn an_outcome_above_the_top_is_corrupt() {
        let id = (UserId::generate(), "k".parse().unwrap());
        let taken = Outcome::Taken { first: CounterValue::MAX, last: CounterValue::MAX };
        let spoilt = doc! { "taken": { "first": 1_i64 << 53, "last": 1_i64 << 53 } };
        let stored = KeyDocument { outcome: spoilt.into(), ..KeyDocument::of(&id, &record(taken)).unwrap() };
        assert!(matches!(stored.into_record(), Err(StoreError::Corrupt(_))));
    }

    #[test]
    fn a_counter_survives_and_its_numbers_are_long_integers() {
        let id = CounterId { user: UserId::generate(), name: "orders".parse().unwrap() };
        let counter = Counter { value: CounterValue::MAX, version: 7, updated_at: NOW };
        let stored = CounterDocument::of(&id, counter).unwrap();
        assert_eq!(stored.read().unwrap(), (id.clone(), counter));
        let document = bson::serialize_to_document(&stored).unwrap();
        assert_eq!(document.get_str("_id").unwrap(), id.to_string());
        assert_eq!(document.get("version"), Some(&Bson::Int64(7)));
    }

    #[test]
    fn a_number_out_of_range_is_corrupt_and_not_wrapped() {
        let id = CounterId { user: UserId::generate(), name: "orders".parse().unwrap() };
        let counter = Counter { value: CounterValue::default(), version: 1, updated_at: NOW };
        let stored = CounterDocument::of(&id, counter).unwrap();
        for value in [-1, 1 << 53] {
            let wrong = CounterDocument { value, ..CounterDocument::of(&id, counter).unwrap() };
            assert!(matches!(wrong.counter(), Err(StoreError::Corrupt(_))));
        }
        assert!(matches!(CounterDocument { version: -1, ..stored }.counter(), Err(StoreError::Corrupt(_))));
        assert!(signed(u64::MAX).is_err());
    }
}
