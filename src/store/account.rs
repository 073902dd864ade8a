//! Users as a store keeps them, and those who are about to sign in through a provider.

use std::fmt;

use crate::domain::{Email, Identity, ProviderName, Timestamp, UserId};

/// How often a password may be tried with one one-time code.
pub const MAX_TRIES: u32 = 3;

/// A user as it is stored.
#[derive(Debug, Clone)]
pub struct User {
    /// The user's identity.
    pub id: UserId,
    /// The address that the user registered with, or that a provider has verified: then only a label.
    pub email: Option<Email>,
    /// The argon2id hash of the password as a PHC string.
    pub password_hash: Option<PasswordHash>,
    /// What opens the account besides, at providers of sign-ins.
    pub identities: Vec<Identity>,
    /// Tokens of another generation are revoked. A logout raises it by one.
    pub token_generation: u64,
    /// How many counters the user has.
    pub counters: u64,
    /// When the user registered.
    pub created_at: Timestamp,
}

/// A user about to be stored.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The user's identity.
    pub id: UserId,
    /// The address, unique among users with a password.
    pub email: Option<Email>,
    /// What opens the account.
    pub key: AccountKey,
    /// The hash of the first token's `jti`.
    pub token: TokenHash,
    /// When the user registered.
    pub created_at: Timestamp,
}

/// What opens a new account.
#[derive(Debug, Clone)]
pub enum AccountKey {
    /// A password, by its hash.
    Password(PasswordHash),
    /// Somebody's account at a provider of sign-ins, which opens one account here and no other.
    Identity(Identity),
}

impl AccountKey {
    /// The hash of the password, if it is one.
    pub fn password_hash(&self) -> Option<&PasswordHash> {
        match self {
            Self::Password(hash) => Some(hash),
            Self::Identity(_) => None,
        }
    }

    /// The identity, if it is one.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Password(_) => None,
            Self::Identity(identity) => Some(identity),
        }
    }
}

/// Somebody who has come back from a provider, until the one-time code is redeemed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Who it is.
    pub identity: Identity,
    /// The address that the provider has verified.
    pub email: Option<Email>,
    /// When the code ends.
    pub expires_at: Timestamp,
}

/// The SHA-256 of a one-time code and of what its browser keeps with it, in hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginHash(pub String);

/// What is done with a one-time code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginUse {
    /// Looked at: it stays as it is.
    Look,
    /// One try more at a password.
    Try,
    /// Used up: of those who come together, one gets it.
    Take,
}

/// What became of an identity that was to be taken from its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlinked {
    /// It opens the account no more.
    Done,
    /// The user has none of this provider.
    NotLinked,
    /// Nothing else opens the account, so it stays.
    LastOne,
    /// There is no such user.
    UserGone,
}

impl Unlinked {
    /// Why nothing was taken from this user.
    pub(super) fn refused(user: Option<&User>, provider: &ProviderName) -> Self {
        match user {
            None => Self::UserGone,
            Some(user) if user.identities.iter().any(|identity| identity.provider == *provider) => Self::LastOne,
            Some(_) => Self::NotLinked,
        }
    }
}

/// A password's hash, as a PHC string. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Wraps a PHC string.
    pub fn new(phc: String) -> Self {
        Self(phc)
    }

    /// The PHC string.
    pub fn as_phc(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash([hidden])")
    }
}

/// The SHA-256 of a token's `jti`, in hex: names a token without being one. The newest one of a user is kept for operators, to
/// tell whose token they have found; the service never asks for it. A logout removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHash(pub String);
