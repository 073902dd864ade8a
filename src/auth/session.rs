//! Whether a token still counts: what the store says of its user, remembered for a few seconds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Entry;
use moka::future::Cache;

use super::token::{Claims, Tokens};
use crate::domain::UserId;
use crate::error::{ApiError, Code};
use crate::metrics::{self, AuthKind, AuthOutcome};
use crate::store::{Store, StoreError};

/// How long a replica believes what it knows of a user. A revocation must count everywhere within 5 s; the rest of that is
/// for the read itself.
const BELIEVED_FOR: Duration = Duration::from_secs(3);

/// How long it is remembered when a user was forgotten: no read of the store takes longer.
const FORGOTTEN_FOR: Duration = Duration::from_secs(10 * 60);

/// Users that are remembered at once.
const CAPACITY: u64 = 100_000;

/// What the store said of a user.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// The generation of its tokens; nothing where the user is gone.
    generation: Option<u64>,
    /// When the store was asked: what it said may be as old.
    asked: Instant,
}

/// Tells valid tokens from revoked ones.
pub struct Sessions {
    tokens: Arc<Tokens>,
    store: Arc<dyn Store>,
    memory: Memory,
}

impl Sessions {
    /// Asks this store.
    pub fn new(tokens: Arc<Tokens>, store: Arc<dyn Store>) -> Self {
        Self { tokens, store, memory: Memory::default() }
    }

    /// Checks a token in full and says whose it is.
    pub async fn check(&self, token: &str) -> Result<Claims, ApiError> {
        let checked = self.checked(token).await;
        let refused = matches!(&checked, Err(error) if error.code().status().is_client_error());
        let outcome = if refused { AuthOutcome::Failure } else { AuthOutcome::Success };
        // A store that is down says nothing about the token.
        if checked.is_ok() || refused {
            metrics::auth_attempt(AuthKind::Token, outcome);
        }
        checked
    }

    async fn checked(&self, token: &str) -> Result<Claims, ApiError> {
        let claims = self.tokens.verify(token).map_err(ApiError::new)?;
        let mut known = self.known(claims.sub).await?;
        if known.generation.is_some_and(|generation| generation < claims.generation) {
            // The token is newer than what we remember: its user logged out and in again on another replica.
            self.memory.forget(claims.sub, known.asked).await;
            known = self.known(claims.sub).await?;
        }
        if known.generation == Some(claims.generation) { Ok(claims) } else { Err(ApiError::new(Code::TokenRevoked)) }
    }

    async fn known(&self, user: UserId) -> Result<Known, ApiError> {
        let read = || async { Ok(self.store.user(user).await?.map(|user| user.token_generation)) };
        Ok(self.memory.known(user, read).await?)
    }

    /// Forgets what is remembered of a user: it has just changed.
    pub async fn forget(&self, user: UserId) {
        self.memory.forget(user, Instant::now()).await;
    }
}

/// What the store said of users, for as long as it is believed.
struct Memory {
    known: Cache<UserId, Known>,
    /// Until when users were forgotten: what the store was asked by then does not count.
    forgotten: Cache<UserId, Instant>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            known: Cache::builder().max_capacity(CAPACITY).time_to_live(BELIEVED_FOR).build(),
            forgotten: Cache::builder().max_capacity(CAPACITY).time_to_live(FORGOTTEN_FOR).build(),
        }
    }
}

impl Memory {
    /// Callers of one user that arrive together share one read.
    async fn known<R>(&self, user: UserId, read: impl Fn() -> R) -> Result<Known, StoreError>
    where
        R: Future<Output = Result<Option<u64>, StoreError>>,
    {
        if self.known.get(&user).await.is_some_and(|known| known.asked.elapsed() >= BELIEVED_FOR) {
            self.known.invalidate(&user).await;
        }
        loop {
            let load = async {
                let asked = Instant::now();
                Ok(Known { generation: read().await?, asked })
            };
            let known = self.known.try_get_with(user, load).await.map_err(Arc::<StoreError>::unwrap_or_clone)?;
            // The cache does not stop a read that is under way when its user is forgotten, and keeps what it says.
            if self.forgotten.get(&user).await.is_none_or(|forgotten| known.asked > forgotten) {
                return Ok(known);
            }
            self.known.invalidate(&user).await;
        }
    }

    /// Forgets what the store was asked of a user until then.
    async fn forget(&self, user: UserId, until: Instant) {
        let latest = |entry: Option<Entry<UserId, Instant>>| {
            std::future::ready(entry.map_or(until, |entry| entry.into_value().max(until)))
        };
        self.forgotten.entry(user).and_upsert_with(latest).await;
        self.known.invalidate(&user).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    /// No test over HTTP can hold a read of the store for as long as a logout takes.
    #[tokio::test]
    async fn a_read_that_began_before_its_user_was_forgotten_does_not_count() {
        let memory = Arc::new(Memory::default());
        let user = UserId::generate();
        let (begun, has_begun) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        // The first read is held; whoever reads again is told the truth.
        let first = std::sync::Mutex::new(Some((begun, answered)));
        let reading = tokio::spawn({
            let memory = memory.clone();
            async move {
                let read = || {
                    let first = first.lock().unwrap().take();
                    async move {
                        let Some((begun, answered)) = first else { return Ok(Some(1)) };
                        begun.send(()).unwrap();
                        Ok(Some(answered.await.unwrap()))
                    }
                };
                memory.known(user, read).await.map(|known| known.generation)
            }
        });
        has_begun.await.unwrap();
        memory.forget(user, Instant::now()).await;
        answer.send(0).unwrap();
        assert_eq!(reading.await.unwrap(), Ok(Some(1)), "the one that waited");
        let again = memory.known(user, || async { Ok(Some(1)) }).await;
        assert_eq!(again.map(|known| known.generation), Ok(Some(1)), "who comes later");
        let unasked = || async { unreachable!("what was read after it is remembered") };
        assert_eq!(memory.known(user, unasked).await.map(|known| known.generation), Ok(Some(1)));
    }
}
