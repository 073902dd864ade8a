//! Whether a token still counts: what the store says of its user, remembered for a few seconds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::future::Cache;

use super::token::{Claims, Tokens};
use crate::domain::UserId;
use crate::error::{ApiError, Code};
use crate::metrics::{self, AuthKind, AuthOutcome};
use crate::store::{Store, StoreError};

/// How long a replica believes what it knows of a user. A revocation must count everywhere within 5 s; the rest of that is
/// for the read itself.
const BELIEVED_FOR: Duration = Duration::from_secs(3);

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
    known: Cache<UserId, Known>,
}

impl Sessions {
    /// Asks this store.
    pub fn new(tokens: Arc<Tokens>, store: Arc<dyn Store>) -> Self {
        let known = Cache::builder().max_capacity(CAPACITY).time_to_live(BELIEVED_FOR).build();
        Self { tokens, store, known }
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
        let mut generation = self.generation(claims.sub).await?;
        if generation.is_some_and(|known| known < claims.generation) {
            // The token is newer than what we remember: its user logged out and in again on another replica.
            self.forget(claims.sub).await;
            generation = self.generation(claims.sub).await?;
        }
        if generation == Some(claims.generation) { Ok(claims) } else { Err(ApiError::new(Code::TokenRevoked)) }
    }

    /// Callers of one user that arrive together share one read.
    async fn generation(&self, user: UserId) -> Result<Option<u64>, ApiError> {
        if self.known.get(&user).await.is_some_and(|known| known.asked.elapsed() >= BELIEVED_FOR) {
            self.forget(user).await;
        }
        let load = async {
            let asked = Instant::now();
            let generation = self.store.user(user).await?.map(|user| user.token_generation);
            Ok(Known { generation, asked })
        };
        let known = self.known.try_get_with(user, load).await;
        known.map(|known| known.generation).map_err(|error: Arc<StoreError>| Arc::unwrap_or_clone(error).into())
    }

    /// Forgets what is remembered of a user: it has just changed.
    pub async fn forget(&self, user: UserId) {
        self.known.invalidate(&user).await;
    }
}
