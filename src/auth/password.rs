//! Passwords: argon2id with the parameters of the OWASP Password Storage Cheat Sheet (m = 19 MiB, t = 2, p = 1).
//!
//! A hash takes tens of milliseconds of a core, so hashes run on the blocking pool, few at once, and beyond a bound they
//! are refused: a storm of logins cannot starve the counters.

use std::sync::Arc;
use std::time::Instant;

use argon2::password_hash::phc::{Output, PasswordHash as Phc, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tracing::Span;

use crate::metrics::{self, Overload};
use crate::store::PasswordHash;

/// Hashes that may be pending: those that wait for a place, and those that have one.
const MAX_PENDING: u32 = 64;

/// Verified where there is no user, so that an unknown address takes as long as a wrong password. Nothing hashes to it.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm9ib2Q$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Allocations beyond this size go back to the system as soon as they are freed: glibc's largest threshold for mmap, on
/// 64 bits. Smaller ones it keeps, and so would keep the memory of a hash in every thread that ever made one.
const GIVEN_BACK_AT_ONCE: usize = 33 * 1024 * 1024;

/// Why a password was not hashed or verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Too many are pending already, or the deadline came before a place was free.
    #[error("too many passwords wait to be hashed")]
    Overloaded,
    /// The hash function failed.
    #[error("argon2 failed: {0}")]
    Failed(String),
}

/// Hashes and verifies passwords, few at once.
#[derive(Debug)]
pub struct Passwords {
    places: Arc<Semaphore>,
    pending: Arc<Semaphore>,
}

impl Passwords {
    /// With half of the machine's cores at most.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            places: Arc::new(Semaphore::new((cores / 2).max(1))),
            pending: Arc::new(Semaphore::new(MAX_PENDING as usize)),
        }
    }

    /// Hashes a new password.
    pub async fn hash(&self, password: SecretString, deadline: Instant) -> Result<PasswordHash, HashError> {
        self.run(deadline, move || {
            make(&password).map(PasswordHash::new).map_err(|error| HashError::Failed(error.to_string()))
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
            // A hash that cannot be read fits no password.
            Ok(fits(&password, phc).unwrap_or(false) && hash.is_some())
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
        let counted = metrics::password_hash_pending();
        let pending = self.pending.clone().try_acquire_owned().map_err(|_| overloaded())?;
        let place = tokio::time::timeout_at(deadline.into(), self.places.clone().acquire_owned()).await;
        let place = place.ok().and_then(Result::ok).ok_or_else(overloaded)?;
        let span = Span::current();
        tokio::task::spawn_blocking(move || {
            // The place is taken until the work is done, also where its caller has gone away meanwhile.
            let _held = (counted, pending, place);
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

/// Hashes with a new salt, to a PHC string.
fn make(password: &SecretString) -> argon2::password_hash::Result<String> {
    let (params, salt) = (Params::default(), Salt::generate());
    let hash = Phc {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: (&params).try_into()?,
        salt: Some(salt),
        hash: Some(digest(password, &salt, params)?),
    };
    Ok(hash.to_string())
}

/// Hashes with the salt and the parameters of a PHC string, and compares in constant time.
fn fits(password: &SecretString, phc: &str) -> argon2::password_hash::Result<bool> {
    let hash = Phc::new(phc)?;
    let (Some(salt), Some(expected)) = (hash.salt, hash.hash) else { return Ok(false) };
    let ours = hash.algorithm == Algorithm::Argon2id.ident() && hash.version == Some(Version::V0x13.into());
    Ok(ours && digest(password, &salt, Params::try_from(&hash)?)? == expected)
}

fn digest(password: &SecretString, salt: &[u8], params: Params) -> argon2::password_hash::Result<Output> {
    let blocks = params.block_count();
    // The memory that is asked for but not used is never touched, so it costs nothing.
    let mut memory = Vec::with_capacity(blocks.max(GIVEN_BACK_AT_ONCE / Block::SIZE));
    memory.resize(blocks, Block::default());
    let mut output = vec![0; params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN)];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
        password.expose_secret().as_bytes(),
        salt,
        &mut output,
        &mut memory,
    )?;
    Ok(Output::new(&output)?)
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

    #[test]
    fn a_hash_is_what_the_library_itself_would_make_and_take() {
        use argon2::password_hash::{PasswordHasher, PasswordVerifier};
        let password = SecretString::from("correct horse");
        let library: Phc = Argon2::default().hash_password(b"correct horse").unwrap();
        assert!(fits(&password, &library.to_string()).unwrap());
        assert!(Argon2::default().verify_password(b"correct horse", make(&password).unwrap().as_str()).is_ok());
    }

    #[tokio::test]
    async fn nobody_has_no_password_and_the_parameters_of_everybody() {
        let passwords = Passwords::new();
        assert!(!passwords.verify("".into(), None, soon()).await.unwrap());
        let hash = passwords.hash("correct horse".into(), soon()).await.unwrap();
        let parameters = |phc: &str| phc.split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!(parameters(hash.as_phc()), parameters(NOBODY));
        let parsed = Phc::new(NOBODY).unwrap();
        assert_eq!(parsed.hash.unwrap().len(), 32);
    }

    #[tokio::test]
    async fn a_storm_is_refused_beyond_the_bound() {
        let passwords = Passwords::new();
        let _all = passwords.pending.acquire_many(MAX_PENDING).await.unwrap();
        assert_eq!(passwords.hash("x".into(), soon()).await.unwrap_err(), HashError::Overloaded);
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_keeps_its_place_until_the_work_is_done() {
        let passwords = Arc::new(Passwords::new());
        let places = passwords.places.available_permits();
        let (finish, finished) = std::sync::mpsc::channel::<()>();
        let caller = tokio::spawn({
            let passwords = passwords.clone();
            async move { passwords.run(soon(), move || Ok(finished.recv().is_ok())).await }
        });
        while passwords.places.available_permits() == places {
            tokio::task::yield_now().await;
        }
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert_eq!(passwords.places.available_permits(), places - 1);
        finish.send(()).unwrap();
        while passwords.places.available_permits() < places {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
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
