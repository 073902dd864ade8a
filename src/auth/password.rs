//! Passwords: argon2id with the parameters of the OWASP Password Storage Cheat Sheet (m = 19 MiB, t = 2, p = 1).
//!
//! A hash takes tens of milliseconds of a core, so hashes run on the blocking pool, few at once, and beyond a bound they
//! are refused: a storm of logins cannot starve the counters.

use std::time::Instant;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tracing::Span;

use crate::metrics::{self, Overload};
use crate::store::PasswordHash;

/// Hashes that may wait for a place.
const MAX_WAITING: u32 = 64;

/// Verified where there is no user, so that an unknown address takes as long as a wrong password. Nothing hashes to it.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm9ib2Q$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why a password was not hashed or verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Too many wait already, or the deadline came before a place was free.
    #[error("too many passwords wait to be hashed")]
    Overloaded,
    /// The hash function failed.
    #[error("argon2 failed: {0}")]
    Failed(String),
}

/// Hashes and verifies passwords, few at once.
#[derive(Debug)]
pub struct Passwords {
    places: Semaphore,
    waiting: Semaphore,
}

impl Passwords {
    /// With half of the machine's cores at most.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { places: Semaphore::new((cores / 2).max(1)), waiting: Semaphore::new(MAX_WAITING as usize) }
    }

    /// Hashes a new password.
    pub async fn hash(&self, password: SecretString, deadline: Instant) -> Result<PasswordHash, HashError> {
        self.run(deadline, move || {
            let hash: argon2::password_hash::phc::PasswordHash = Argon2::default()
                .hash_password(password.expose_secret().as_bytes())
                .map_err(|error| HashError::Failed(error.to_string()))?;
            Ok(PasswordHash::new(hash.to_string()))
        })
        .await
    }

    /// Is this the password behind the hash? Takes about the same time where there is no hash, and says no.
    pub async fn verify(
        &self,
        password: SecretString,
        hash: Option<PasswordHash>,
        deadline: Instant,
    ) -> Result<bool, HashError> {
        self.run(deadline, move || {
            let phc = hash.as_ref().map_or(NOBODY, PasswordHash::as_phc);
            let fits = Argon2::default().verify_password(password.expose_secret().as_bytes(), phc).is_ok();
            Ok(fits && hash.is_some())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, HashError> {
        let overloaded = || {
            metrics::overloaded(Overload::Password);
            HashError::Overloaded
        };
        let _pending = metrics::password_hash_pending();
        let _waiting = self.waiting.try_acquire().map_err(|_| overloaded())?;
        let place = tokio::time::timeout_at(deadline.into(), self.places.acquire()).await;
        let _place = place.ok().and_then(Result::ok).ok_or_else(overloaded)?;
        let span = Span::current();
        tokio::task::spawn_blocking(move || {
            span.in_scope(|| {
                let started = Instant::now();
                let result = work();
                metrics::password_hashed(started.elapsed());
                result
            })
        })
        .await
        .map_err(|error| HashError::Failed(error.to_string()))?
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse".into(), soon()).await.unwrap();
        assert!(passwords.verify("correct horse".into(), Some(hash.clone()), soon()).await.unwrap());
        assert!(!passwords.verify("battery staple".into(), Some(hash), soon()).await.unwrap());
    }

    #[tokio::test]
    async fn nobody_has_no_password_and_the_parameters_of_everybody() {
        let passwords = Passwords::new();
        assert!(!passwords.verify("".into(), None, soon()).await.unwrap());
        let hash = passwords.hash("correct horse".into(), soon()).await.unwrap();
        let parameters = |phc: &str| phc.split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!(parameters(hash.as_phc()), parameters(NOBODY));
        let parsed = argon2::password_hash::phc::PasswordHash::new(NOBODY).unwrap();
        assert_eq!(parsed.hash.unwrap().len(), 32);
    }

    #[tokio::test]
    async fn a_storm_is_refused_beyond_the_bound() {
        let passwords = Passwords::new();
        let _all = passwords.waiting.acquire_many(MAX_WAITING).await.unwrap();
        assert_eq!(passwords.hash("x".into(), soon()).await.unwrap_err(), HashError::Overloaded);
    }

    #[tokio::test]
    async fn a_deadline_ends_the_wait_for_a_place() {
        let passwords = Passwords::new();
        let places = u32::try_from(passwords.places.available_permits()).unwrap();
        let _all = passwords.places.acquire_many(places).await.unwrap();
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(passwords.hash("x".into(), soon).await.unwrap_err(), HashError::Overloaded);
    }
}
