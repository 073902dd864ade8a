//! What the service needs of a database, and how a database fails.
//!
//! Two stores stand behind [`Store`]: MongoDB ([`mongo`]) and an embedded file ([`redb`]). Both keep the same promises
//! and pass the same tests. What a batch of calls does to the counters is worked out in one pure place, [`plan`]; the
//! stores only read what it needs to know and write what it says, in one transaction.

mod account;
#[cfg(test)]
pub(crate) mod held;
pub mod instrumented;
pub mod mongo;
pub mod plan;
pub mod redb;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{CounterId, CounterName, Email, Identity, ProviderName, Timestamp, UserId};
pub use crate::metrics::ErrorType;
pub use account::{
    AccountKey, Login, LoginHash, LoginUse, MAX_TRIES, NewUser, PasswordHash, TokenHash, Unlinked, User,
};
pub(crate) use plan::KeyId;
pub use plan::{Action, Answer, Batch, Condition, Counter, Group, Key, Op, Outcome, Refusal, Rules};

/// How long the answer to a keyed call is kept: 24 hours.
pub const KEY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A key's name in the stores: the keys of a user stand together there.
pub(crate) fn key_text((user, key): &KeyId) -> String {
    format!("{user}/{}", key.as_str())
}

/// Between which texts, both excluded, lie those of all counters and keys of a user: `0` follows `/` in ASCII.
pub(crate) fn keys_of(user: UserId) -> [String; 2] {
    [format!("{user}/"), format!("{user}0")]
}

/// A counter in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCounter {
    /// Its name.
    pub name: CounterName,
    /// What it stands at.
    pub counter: Counter,
}

/// What kept a store from doing its work, for logs and metrics. Never shown to a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The label `error_type`.
    pub kind: ErrorType,
    /// The server's code, where it gave one: the label `db_response_status_code`.
    pub code: Option<i32>,
    /// More for the log; holds no secret, no host name and nothing that a caller sent.
    pub detail: String,
}

impl Cause {
    /// A cause without a server's code.
    pub fn new(kind: ErrorType, detail: impl Into<String>) -> Self {
        Self { kind, code: None, detail: detail.into() }
    }

    /// The deadline of an operation passed.
    pub fn timeout() -> Self {
        Self::new(ErrorType::Timeout, "the deadline of the operation passed")
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.detail)?;
        self.code.map_or(Ok(()), |code| write!(f, " (code {code})"))
    }
}

/// How a store fails. Every failure is either definite (nothing was applied) or [`StoreError::OutcomeUnknown`]; the two
/// are never blurred.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Definite: the database does not answer or refuses to work; nothing was applied.
    #[error("the store is unavailable: {0}")]
    Unavailable(Cause),
    /// Definite: another writer held one of the records until the deadline; nothing was applied.
    #[error("the store kept conflicting with another writer: {0}")]
    Conflict(Cause),
    /// Definite: another account with a password has this address; nothing was applied.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// Definite: another account is opened by this identity; nothing was applied.
    #[error("the identity opens another account")]
    IdentityTaken,
    /// Definite: a record is not as this program writes it; nothing was applied.
    #[error("a stored record cannot be read: {0}")]
    Corrupt(Cause),
    /// The write was sent and its result never came: it may or may not have been applied.
    #[error("the outcome of a write is unknown: {0}")]
    OutcomeUnknown(Cause),
}

impl StoreError {
    /// What lies behind it.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Unavailable(cause) | Self::Conflict(cause) | Self::Corrupt(cause) | Self::OutcomeUnknown(cause) => {
                Some(cause)
            }
            Self::EmailTaken | Self::IdentityTaken => None,
        }
    }

    /// The label `error_type`.
    pub fn kind(&self) -> ErrorType {
        match self {
            Self::EmailTaken => ErrorType::EmailTaken,
            Self::IdentityTaken => ErrorType::IdentityTaken,
            Self::Unavailable(cause) | Self::Conflict(cause) | Self::Corrupt(cause) | Self::OutcomeUnknown(cause) => {
                cause.kind
            }
        }
    }
}

/// A database of users and counters. Every operation ends within the store's deadline, by itself.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The value of `db.system.name`: `mongodb` or `redb`.
    fn system(&self) -> &'static str;

    /// How many batches are best under way at once.
    fn flights(&self) -> usize;

    /// Makes the store ready for work (indexes, validators); harmless to repeat. Until it has succeeded once, every
    /// other operation answers [`StoreError::Unavailable`].
    async fn prepare(&self) -> Result<(), PrepareError>;

    /// Asks the database whether it works: a real question to the node that takes the writes. It writes nothing, unless
    /// only a write can tell because the last one has failed.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Does a whole batch, all or nothing, durably on a majority, and answers each operation in its place. A batch that only reads is
    /// linearizable unless a setting says otherwise.
    /// No two batches under way in this process may name the same counter. [`StoreError::Conflict`] for a batch of several
    /// counters comes early: its parts may succeed where the whole does not.
    async fn commit(&self, batch: &Batch) -> Result<Vec<Vec<Answer>>, StoreError>;

    /// Up to `limit` counters of a user in the order of their names, those after `after`.
    async fn counters(
        &self,
        user: UserId,
        after: Option<&CounterName>,
        limit: usize,
    ) -> Result<Vec<NamedCounter>, StoreError>;

    /// Removes a counter; `false` where there was none.
    async fn delete_counter(&self, id: &CounterId) -> Result<bool, StoreError>;

    /// Stores a new user; [`StoreError::EmailTaken`] where it has a password and the address has an account with one already,
    /// [`StoreError::IdentityTaken`] where its identity opens another account.
    async fn create_user(&self, user: &NewUser) -> Result<(), StoreError>;

    /// The account with a password that was registered with this address.
    async fn user_by_email(&self, email: &Email) -> Result<Option<User>, StoreError>;

    /// The account that this identity opens.
    async fn user_by_identity(&self, identity: &Identity) -> Result<Option<User>, StoreError>;

    /// Lets an identity open this account as well; `false` where the user is gone, [`StoreError::IdentityTaken`] where it opens
    /// another one.
    async fn add_identity(&self, id: UserId, identity: &Identity) -> Result<bool, StoreError>;

    /// Takes a user's identities at this provider away, unless nothing else would open the account.
    async fn remove_identities(&self, id: UserId, provider: &ProviderName) -> Result<Unlinked, StoreError>;

    /// Keeps a login until its code is redeemed or its time is over.
    async fn keep_login(&self, code: &LoginHash, login: &Login) -> Result<(), StoreError>;

    /// The login behind a code, which has not ended by `now`; and what `usage` says is done to it, at once. To look or to try, it
    /// must have been tried less than [`MAX_TRIES`] times; who takes it has done one of both before.
    async fn login(&self, code: &LoginHash, usage: LoginUse, now: Timestamp) -> Result<Option<Login>, StoreError>;

    /// The user with this id.
    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError>;

    /// Notes the newest token of a user and answers the generation to sign it with; nothing where the user is gone.
    async fn record_token(&self, id: UserId, token: &TokenHash) -> Result<Option<u64>, StoreError>;

    /// Raises the generation, which revokes every token issued so far. Answers the new one; nothing where the user is gone.
    async fn revoke_tokens(&self, id: UserId) -> Result<Option<u64>, StoreError>;

    /// Removes a user with its counters, keys and identities; `false` where there was none.
    async fn delete_user(&self, id: UserId) -> Result<bool, StoreError>;

    /// Lets go of the database.
    async fn close(&self);
}

/// Why a store could not be made ready.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// The database is of a kind that cannot keep the promises, or refuses us: trying again is of no use. A sentence
    /// that says what to do.
    #[error("{0}")]
    Refused(String),
    /// It may work later.
    #[error(transparent)]
    NotYet(#[from] StoreError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_of_a_user_lies_between_its_bounds() {
        let user = UserId::generate();
        let [after, before] = keys_of(user);
        for name in ["0", "default", "zz_-z"] {
            let id = CounterId { user, name: name.parse().unwrap() }.to_string();
            assert!(after < id && id < before);
        }
        for key in ["!", "~"] {
            let key = key_text(&(user, key.parse().unwrap()));
            assert!(after < key && key < before);
        }
    }
}
