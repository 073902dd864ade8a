//! Whether a token still counts: what the store says of its user, remembered for a few seconds.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use super::token::{Claims, Tokens};
use crate::domain::UserId;
use crate::error::{ApiError, Code};
use crate::metrics::{self, AuthKind, AuthOutcome};
use crate::store::Store;

/// How long a replica believes what it knows of a user. A revocation must count everywhere within 5 s; the rest of that is
/// for the read itself.
const BELIEVED_FOR: Duration = Duration::from_secs(3);

/// Users that are remembered at once.
const CAPACITY: u64 = 100_000;

/// Tells valid tokens from revoked ones.
pub struct Sessions {
    tokens: Arc<Tokens>,
    store: Arc<dyn Store>,
    /// The generation of each user's tokens; nothing where the user is gone.
    generations: Cache<UserId, Option<u64>>,
}

impl Sessions {
    /// Asks this store.
    pub fn new(tokens: Arc<Tokens>, store: Arc<dyn Store>) -> Self {
        let generations = Cache::builder().max_capacity(CAPACITY).time_to_live(BELIEVED_FOR).build();
        Self { tokens, store, generations }
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
        let load = async { Ok(self.store.user(user).await?.map(|user| user.token_generation)) };
        self.generations
            .try_get_with(user, load)
            .await
            .map_err(|error: Arc<crate::store::StoreError>| ApiError::from(Arc::unwrap_or_clone(error)))
    }

    /// Forgets what is remembered of a user: it has just changed.
    pub async fn forget(&self, user: UserId) {
        self.generations.invalidate(&user).await;
    }
}
