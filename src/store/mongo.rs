//! The real store: a MongoDB replica set, written with `w: majority, j: true` and read from its primary.
//!
//! `connect.rs` reaches the servers, `commit.rs` does batches, `takes.rs` the simplest of them, `transaction.rs` is what the
//! others are made of, `error.rs` says what a failure may have done, `documents.rs` and `schema.rs` say what is stored. Every
//! command passes through `call.rs`, which gives it its deadline, its span and its comment.

mod call;
mod commit;
mod connect;
mod counters;
mod deadline;
mod documents;
mod error;
mod events;
mod logins;
#[cfg(feature = "mutants")]
mod mutant;
mod orphans;
mod schema;
mod takes;
mod transaction;
mod turns;
mod users;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mongodb::bson::doc;
use mongodb::options::ConnectionString;
use secrecy::SecretString;
use tokio::sync::{OnceCell, Semaphore};
use tracing::Instrument as _;

use super::instrumented::Instrumented;
use super::{
    Answer, Batch, Cause, ErrorType, Login, LoginHash, LoginUse, NamedCounter, NewUser, PrepareError, Rules, Store,
    StoreError, TokenHash, Unlinked, User,
};
use crate::domain::{CounterId, CounterName, Email, Identity, ProviderName, Timestamp, UserId};
pub use connect::check_uri;
use connect::{Connection, HEARTBEAT, MAX_POOL_SIZE, patience};
use deadline::{Deadline, Repeats};
use events::Events;
use turns::Turns;

/// The value of `db.system.name`.
pub const SYSTEM: &str = "mongodb";
/// Connections of the pool that are left to commits and pings. The alert CounterApiPoolSaturated reckons with this number.
const RESERVED_CONNECTIONS: u32 = 8;
/// What a command belongs to that concerns no collection.
const NO_COLLECTION: &str = "";

/// How a [`MongoStore`] finds its servers and what it does there.
#[derive(Debug)]
pub struct MongoSettings<'a> {
    /// The connection string. What it says of concerns, read preference, retries and time-outs is overruled.
    pub uri: &'a SecretString,
    /// The database.
    pub database: String,
    /// What operations do.
    pub rules: Rules,
    /// How long one operation may take, its retries included.
    pub timeout: Duration,
    /// Whether a counter is read with read concern `linearizable` rather than `majority`.
    pub linearizable_reads: bool,
    /// Whether commands of sampled spans bear their `traceparent` as a comment.
    pub comment: bool,
}

/// The store in a MongoDB replica set, as its callers have it: every operation runs to its end in a task of its own, whether
/// its caller waits for it or not, and few of them at a time.
///
/// A driver's future that is dropped half-way closes its connection, and leaves its place in the pool's queue behind: callers
/// that hang up would otherwise take the pool away from everybody else.
pub struct MongoStore {
    operations: Arc<Operations>,
    /// Places for operations other than commits and pings, which have the sequencer's and the health check's own bounds.
    places: Arc<Semaphore>,
    /// One looks for transactions whose owner is gone.
    looking: Arc<Semaphore>,
}

/// What is done in the database.
struct Operations {
    uri: ConnectionString,
    database: String,
    rules: Rules,
    timeout: Duration,
    linearizable_reads: bool,
    comment: bool,
    measured: Instrumented,
    connection: OnceCell<Connection>,
    prepared: AtomicBool,
    /// The turns at making counters.
    turns: Turns,
    /// What the driver tells of its servers and connections.
    events: Arc<Events>,
}

impl MongoStore {
    /// A store that connects when it is prepared. The error is a sentence that shows nothing of the connection string,
    /// for that holds a password.
    pub fn new(settings: MongoSettings<'_>) -> Result<Self, &'static str> {
        let uri = check_uri(settings.uri)?;
        let pool = uri.max_pool_size.unwrap_or(MAX_POOL_SIZE);
        let operations = Operations {
            uri,
            measured: Instrumented::new(SYSTEM, settings.database.clone(), &error::KNOWN_CODES),
            database: settings.database,
            rules: settings.rules,
            timeout: settings.timeout,
            linearizable_reads: settings.linearizable_reads,
            comment: settings.comment,
            connection: OnceCell::new(),
            prepared: AtomicBool::new(false),
            turns: Turns::default(),
            events: Arc::new(Events::new(HEARTBEAT, settings.timeout + Duration::from_secs(1))),
        };
        let places = usize::try_from(pool.saturating_sub(RESERVED_CONNECTIONS)).unwrap_or(usize::MAX).max(1);
        let (places, looking) = (Arc::new(Semaphore::new(places)), Arc::new(Semaphore::new(1)));
        Ok(Self { operations: Arc::new(operations), places, looking })
    }

    /// Runs an operation in a task of its own.
    async fn detached<T, F>(&self, operation: impl FnOnce(Arc<Operations>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let task = tokio::spawn(operation(self.operations.clone()).in_current_span());
        task.await.unwrap_or_else(|broken| match broken.try_into_panic() {
            // A panic of the operation is one of its caller, where it is counted, logged and answered.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StoreError::Unavailable(Cause::new(ErrorType::Closed, "the service is ending"))),
        })
    }

    /// Looks for transactions whose owner is gone, unless somebody does.
    fn look_for_orphans(&self) {
        let Ok(looking) = self.looking.clone().try_acquire_owned() else { return };
        let operations = self.operations.clone();
        tokio::spawn(async move {
            // Where it fails, the commit that is held up says why.
            let _ = operations.abort_orphans().await;
            drop(looking);
        });
    }

    /// The same as [`MongoStore::detached`], in one of the places, for which it waits as long as for a server. That is part of the
    /// operation's time.
    async fn placed<T, F>(&self, operation: impl FnOnce(Arc<Operations>, Deadline) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let deadline = self.operations.deadline();
        let patience = patience(self.operations.timeout);
        let place = tokio::time::timeout(patience, self.places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            return Err(StoreError::Unavailable(Cause::new(
                ErrorType::PoolTimeout,
                "every place was taken for too long",
            )));
        };
        self.detached(|operations| {
            let operation = operation(operations, deadline);
            async move {
                let result = operation.await;
                drop(place);
                result
            }
        })
        .await
    }
}

impl Operations {
    fn deadline(&self) -> Deadline {
        Deadline::after(self.timeout)
    }

    fn repeats(&self, deadline: Deadline) -> Repeats {
        Repeats::new(deadline, patience(self.timeout))
    }
}

#[async_trait]
impl Store for MongoStore {
    fn system(&self) -> &'static str {
        SYSTEM
    }

    fn flights(&self) -> usize {
        2
    }

    async fn prepare(&self) -> Result<(), PrepareError> {
        self.operations.prepare().await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.detached(|operations| async move { operations.ping_primary(operations.connection()?).await }).await
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Vec<Answer>>, StoreError> {
        // The sequencer's task is one that nobody drops.
        let commit = self.operations.commit_batch(batch);
        tokio::pin!(commit);
        loop {
            match tokio::time::timeout(orphans::PATIENCE, commit.as_mut()).await {
                Ok(result) => return result,
                Err(_) => self.look_for_orphans(),
            }
        }
    }

    async fn counters(
        &self,
        user: UserId,
        after: Option<&CounterName>,
        limit: usize,
    ) -> Result<Vec<NamedCounter>, StoreError> {
        let after = after.cloned();
        self.placed(|operations, deadline| async move {
            operations.list_counters(user, after.as_ref(), limit, deadline).await
        })
        .await
    }

    async fn delete_counter(&self, id: &CounterId) -> Result<bool, StoreError> {
        let id = id.clone();
        self.placed(|operations, deadline| async move { operations.remove_counter(&id, deadline).await }).await
    }

    async fn create_user(&self, user: &NewUser) -> Result<(), StoreError> {
        let user = user.clone();
        self.placed(|operations, deadline| async move { operations.insert_user(&user, deadline).await }).await
    }

    async fn user_by_email(&self, email: &Email) -> Result<Option<User>, StoreError> {
        // Says the same as the unique index does, or else the index would not be used.
        let filter = doc! { "email": email.as_str(), "password_hash": { "$exists": true } };
        self.placed(|operations, deadline| async move { operations.find_user(filter, deadline).await }).await
    }

    async fn user_by_identity(&self, identity: &Identity) -> Result<Option<User>, StoreError> {
        let filter = logins::opened_by(identity);
        self.placed(|operations, deadline| async move { operations.find_user(filter, deadline).await }).await
    }

    async fn add_identity(&self, id: UserId, identity: &Identity) -> Result<bool, StoreError> {
        let identity = identity.clone();
        self.placed(move |operations, deadline| async move { operations.link(id, &identity, deadline).await }).await
    }

    async fn remove_identities(&self, id: UserId, provider: &ProviderName) -> Result<Unlinked, StoreError> {
        let provider = provider.clone();
        self.placed(move |operations, deadline| async move { operations.unlink(id, &provider, deadline).await }).await
    }

    async fn keep_login(&self, code: &LoginHash, login: &Login) -> Result<(), StoreError> {
        let (code, login) = (code.clone(), login.clone());
        self.placed(|operations, deadline| async move { operations.insert_login(&code, &login, deadline).await }).await
    }

    async fn login(&self, code: &LoginHash, usage: LoginUse, now: Timestamp) -> Result<Option<Login>, StoreError> {
        let code = code.clone();
        self.placed(move |operations, deadline| async move { operations.use_login(&code, usage, now, deadline).await })
            .await
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let filter = doc! { "_id": id.to_string() };
        self.placed(|operations, deadline| async move { operations.find_user(filter, deadline).await }).await
    }

    async fn record_token(&self, id: UserId, token: &TokenHash) -> Result<Option<u64>, StoreError> {
        let change = doc! { "$set": { "token": &token.0 } };
        self.placed(move |operations, deadline| async move { operations.update_generation(id, change, deadline).await })
            .await
    }

    async fn revoke_tokens(&self, id: UserId) -> Result<Option<u64>, StoreError> {
        let change = doc! { "$inc": { "token_generation": 1_i64 }, "$unset": { "token": "" } };
        self.placed(move |operations, deadline| async move { operations.update_generation(id, change, deadline).await })
            .await
    }

    async fn delete_user(&self, id: UserId) -> Result<bool, StoreError> {
        self.placed(move |operations, deadline| async move { operations.remove_user(id, deadline).await }).await
    }

    async fn close(&self) {
        if let Some(connection) = self.operations.connection.get() {
            self.operations.prepared.store(false, Ordering::Release);
            // Transactions that were given up are aborted in the background: they get a moment for it.
            let _ = tokio::time::timeout(Duration::from_secs(2), connection.client.clone().shutdown()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::CounterValue;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn unprepared() -> MongoStore {
        let settings = MongoSettings {
            uri: &SecretString::from("mongodb://127.0.0.1:1/"),
            database: "thinkific_challenge".into(),
            rules: Rules { initial_value: CounterValue::default(), counters_per_user: 10 },
            timeout: TIMEOUT,
            linearizable_reads: true,
            comment: true,
        };
        MongoStore::new(settings).unwrap()
    }

    #[tokio::test]
    async fn the_wait_for_a_place_is_part_of_the_time() {
        let store = unprepared();
        let places = u32::try_from(store.places.available_permits()).unwrap();
        let taken = store.places.clone().acquire_many_owned(places).await.unwrap();
        let wait = Duration::from_millis(50);
        let operation = store.placed(|_, deadline| async move { Ok(deadline.remaining()) });
        let (left, ()) = tokio::join!(operation, async {
            tokio::time::sleep(wait).await;
            drop(taken);
        });
        assert!(left.unwrap() <= TIMEOUT - wait);
    }

    #[tokio::test]
    async fn a_store_that_is_not_prepared_says_so() {
        let store = unprepared();
        assert_eq!(store.ping().await.unwrap_err().kind(), ErrorType::NotPrepared);
        assert_eq!(store.user(UserId::generate()).await.unwrap_err().kind(), ErrorType::NotPrepared);
        store.close().await;
    }
}
