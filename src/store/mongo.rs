//! The real store: a MongoDB replica set, written with `w: majority, j: true` and read from its primary.
//!
//! `commit.rs` does batches, `transaction.rs` is what they are made of, `error.rs` says what a failure may have done,
//! `documents.rs` and `schema.rs` say what is stored. Every command passes through `call.rs`, which gives it its
//! deadline, its span and its comment.

mod call;
mod commit;
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
mod transaction;
mod turns;
mod users;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use mongodb::bson::doc;
use mongodb::error::ErrorKind;
use mongodb::event::EventHandler;
use mongodb::options::{
    Acknowledgment, ClientOptions, ConnectionString, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection, Database};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OnceCell, Semaphore};
use tracing::Instrument as _;

use super::instrumented::Instrumented;
use super::{
    Answer, Batch, Cause, Counter, Login, LoginHash, LoginUse, NamedCounter, NewUser, PrepareError, Rules, Store,
    StoreError, TokenHash, Unlinked, User,
};
use crate::domain::{CounterId, CounterName, Email, Identity, ProviderName, Timestamp, UserId};
use deadline::{Deadline, Repeats};
use documents::Stored;
use error::Effect;
use events::Events;
use turns::Turns;

/// How the service names itself to the servers.
const APP_NAME: &str = "counter-api";
/// The value of `db.system.name`.
const SYSTEM: &str = "mongodb";
/// Connections of the pool, where the connection string names no other number.
const MAX_POOL_SIZE: u32 = 32;
/// Those of them that are left to commits and pings. The alert CounterApiPoolSaturated reckons with this number.
const RESERVED_CONNECTIONS: u32 = 8;
/// How often each server is asked what it is; it answers at once when that changes.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often the pools' numbers are looked through for what no event tells.
const REFRESH_PERIOD: Duration = Duration::from_secs(1);
/// What a command belongs to that concerns no collection.
const NO_COLLECTION: &str = "";

/// Parses a connection string without connecting. The error says what would be right and shows nothing of the string, for that
/// holds a password.
pub fn check_uri(uri: &SecretString) -> Result<ConnectionString, &'static str> {
    ConnectionString::parse(uri.expose_secret()).map_err(|_| {
        "is not a MongoDB connection string: it must look like \
         mongodb://[user:password@]host[:port][,host[:port]]/[authentication database][?options], \
         with every special character of the user and the password in percent-encoding"
    })
}

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

/// The driver's handles, made by the first `prepare`.
struct Connection {
    client: Client,
    database: Database,
}

impl Connection {
    /// The collection of these documents.
    fn collection<T: Stored>(&self) -> Collection<T> {
        self.database.collection(T::COLLECTION)
    }
}

impl MongoStore {
    /// A store that connects when it is prepared. The error is a sentence that shows nothing of the connection string,
    /// for that holds a password.
    pub fn new(settings: MongoSettings<'_>) -> Result<Self, &'static str> {
        let uri = check_uri(settings.uri)?;
        let pool = uri.max_pool_size.unwrap_or(MAX_POOL_SIZE);
        let operations = Operations {
            uri,
            measured: Instrumented::new(SYSTEM, settings.database.clone()),
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
            Err(_) => Err(StoreError::Unavailable(Cause::new("closed", "the service is ending"))),
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

    /// The same as [`MongoStore::detached`], in one of the places, for which it waits as long as for a server.
    async fn placed<T, F>(&self, operation: impl FnOnce(Arc<Operations>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let patience = patience(self.operations.timeout);
        let place = tokio::time::timeout(patience, self.places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            return Err(StoreError::Unavailable(Cause::new("pool_timeout", "every place was taken for too long")));
        };
        self.detached(|operations| {
            let operation = operation(operations);
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

    /// The driver's handles, once the store is prepared.
    fn connection(&self) -> Result<&Connection, StoreError> {
        self.connection
            .get()
            .filter(|_| self.prepared.load(Ordering::Acquire))
            .ok_or_else(|| StoreError::Unavailable(Cause::new("not_prepared", "the store has not been prepared yet")))
    }

    async fn prepare(&self) -> Result<(), PrepareError> {
        let connection = self.connect().await?;
        self.make_schema(connection).await?;
        // It waits for no primary by itself; after the schema's commands there is one.
        let _ = tokio::time::timeout(self.timeout, connection.client.warm_connection_pool()).await;
        self.prepared.store(true, Ordering::Release);
        Ok(())
    }

    async fn connect(&self) -> Result<&Connection, PrepareError> {
        self.connection
            .get_or_try_init(|| async {
                // Resolves the names of a mongodb+srv:// string, which is why it is not done in `new`.
                let options = ClientOptions::parse(self.uri.clone()).await.map_err(|error| cannot_connect(&error))?;
                let mut options = adapt(options, self.timeout);
                self.probe(options.clone()).await?;
                let (of_pools, of_servers) = (self.events.clone(), self.events.clone());
                options.sdam_event_handler = Some(EventHandler::callback(move |event| of_servers.of_servers(event)));
                options.cmap_event_handler = Some(EventHandler::callback(move |event| of_pools.of_pool(event)));
                let connection = self.open(options)?;
                tokio::spawn(refresh(Arc::downgrade(&self.events)));
                Ok(connection)
            })
            .await
    }

    /// Asks the servers whether they will do, over one connection of its own: a pool that fills itself would report the
    /// refusal of the credentials as a connection that broke.
    async fn probe(&self, mut options: ClientOptions) -> Result<(), PrepareError> {
        options.min_pool_size = Some(0);
        // A server that is never reached is told of, and why; but not that the probe takes its leave of all of them.
        let (events, leaving) = (self.events.clone(), Arc::new(AtomicBool::new(false)));
        let has_left = leaving.clone();
        options.sdam_event_handler = Some(EventHandler::callback(move |event| {
            if !has_left.load(Ordering::Acquire) {
                events.of_servers(event);
            }
        }));
        let connection = self.open(options)?;
        let fit = self.check_servers(&connection).await;
        leaving.store(true, Ordering::Release);
        let _ = tokio::time::timeout(self.timeout, connection.client.shutdown().immediate(true)).await;
        fit
    }

    fn open(&self, options: ClientOptions) -> Result<Connection, PrepareError> {
        let client = Client::with_options(options).map_err(|error| cannot_connect(&error))?;
        Ok(Connection { database: client.database(&self.database), client })
    }
}

/// Keeps the pools' numbers up to date as long as there is a store.
async fn refresh(events: Weak<Events>) {
    loop {
        tokio::time::sleep(REFRESH_PERIOD).await;
        let Some(events) = events.upgrade() else { return };
        events.refresh();
    }
}

/// What does not depend on any server is refused for good, a name that cannot be resolved is not.
fn cannot_connect(error: &mongodb::error::Error) -> PrepareError {
    match *error.kind {
        ErrorKind::DnsResolve { .. } => PrepareError::NotYet(error::classify(error, Effect::None)),
        ErrorKind::InvalidTlsConfig { .. } => {
            PrepareError::Refused("The TLS options or files that the MongoDB connection string names are wrong.".into())
        }
        _ => PrepareError::Refused(
            "The options of the MongoDB connection string do not fit together or are unknown.".into(),
        ),
    }
}

/// How long the driver waits for a server or a connection: well below an operation's deadline, for a command that was
/// never sent has a definite outcome, and one that is cut off by the deadline does not.
fn patience(timeout: Duration) -> Duration {
    (timeout / 2).min(Duration::from_secs(2))
}

/// Sets what the promises rest on, whatever the connection string says, and time-outs in seconds where the driver's are
/// up to 30.
fn adapt(mut options: ClientOptions, timeout: Duration) -> ClientOptions {
    let patience = patience(timeout);
    options.app_name = Some(APP_NAME.to_owned());
    // wtimeout: or else the server would go on waiting for a majority that is gone, long after we have given up.
    let majority = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).w_timeout(timeout).build();
    options.write_concern = Some(majority);
    #[cfg(feature = "mutants")]
    if mutant::is(mutant::W1) {
        options.write_concern = Some(WriteConcern::nodes(1));
    }
    options.read_concern = Some(ReadConcern::majority());
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    options.retry_writes = Some(true);
    options.retry_reads = Some(true);
    options.server_selection_timeout = Some(patience);
    options.connect_timeout = Some(patience);
    // A server that came back is seen within about this time.
    options.heartbeat_freq = Some(HEARTBEAT);
    // A pool that is never empty, so that no call pays for a connection; and room for reads beside the few writes.
    options.min_pool_size = options.min_pool_size.or(Some(4));
    options.max_pool_size = options.max_pool_size.or(Some(MAX_POOL_SIZE));
    options
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

    async fn current(&self, id: &CounterId) -> Result<Option<Counter>, StoreError> {
        let id = id.clone();
        self.placed(|operations| async move {
            Ok(operations.read_counters(&[&id], operations.deadline()).await?.remove(&id))
        })
        .await
    }

    async fn counters(
        &self,
        user: UserId,
        after: Option<&CounterName>,
        limit: usize,
    ) -> Result<Vec<NamedCounter>, StoreError> {
        let after = after.cloned();
        self.placed(|operations| async move { operations.list_counters(user, after.as_ref(), limit).await }).await
    }

    async fn delete_counter(&self, id: &CounterId) -> Result<bool, StoreError> {
        let id = id.clone();
        self.placed(|operations| async move { operations.remove_counter(&id).await }).await
    }

    async fn create_user(&self, user: &NewUser) -> Result<(), StoreError> {
        let user = user.clone();
        self.placed(|operations| async move { operations.insert_user(&user).await }).await
    }

    async fn user_by_email(&self, email: &Email) -> Result<Option<User>, StoreError> {
        // Says the same as the unique index does, or else the index would not be used.
        let filter = doc! { "email": email.as_str(), "password_hash": { "$exists": true } };
        self.placed(|operations| async move { operations.find_user(filter).await }).await
    }

    async fn user_by_identity(&self, identity: &Identity) -> Result<Option<User>, StoreError> {
        let filter = logins::opened_by(identity);
        self.placed(|operations| async move { operations.find_user(filter).await }).await
    }

    async fn add_identity(&self, id: UserId, identity: &Identity) -> Result<bool, StoreError> {
        let identity = identity.clone();
        self.placed(move |operations| async move { operations.link(id, &identity).await }).await
    }

    async fn remove_identities(&self, id: UserId, provider: &ProviderName) -> Result<Unlinked, StoreError> {
        let provider = provider.clone();
        self.placed(move |operations| async move { operations.unlink(id, &provider).await }).await
    }

    async fn keep_login(&self, code: &LoginHash, login: &Login) -> Result<(), StoreError> {
        let (code, login) = (code.clone(), login.clone());
        self.placed(|operations| async move { operations.insert_login(&code, &login).await }).await
    }

    async fn login(&self, code: &LoginHash, usage: LoginUse, now: Timestamp) -> Result<Option<Login>, StoreError> {
        let code = code.clone();
        self.placed(move |operations| async move { operations.use_login(&code, usage, now).await }).await
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let filter = doc! { "_id": id.to_string() };
        self.placed(|operations| async move { operations.find_user(filter).await }).await
    }

    async fn record_token(&self, id: UserId, token: &TokenHash) -> Result<Option<u64>, StoreError> {
        let change = doc! { "$set": { "token": &token.0 } };
        self.placed(move |operations| async move { operations.update_generation(id, change).await }).await
    }

    async fn revoke_tokens(&self, id: UserId) -> Result<Option<u64>, StoreError> {
        let change = doc! { "$inc": { "token_generation": 1_i64 } };
        self.placed(move |operations| async move { operations.update_generation(id, change).await }).await
    }

    async fn delete_user(&self, id: UserId) -> Result<bool, StoreError> {
        self.placed(move |operations| async move { operations.remove_user(id).await }).await
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

    fn store(uri: &str) -> Result<MongoStore, &'static str> {
        MongoStore::new(MongoSettings {
            uri: &SecretString::from(uri),
            database: "thinkific_challenge".into(),
            rules: Rules { initial_value: CounterValue::default(), counters_per_user: 10 },
            timeout: Duration::from_secs(5),
            linearizable_reads: true,
            comment: true,
        })
    }

    #[test]
    fn a_wrong_connection_string_is_not_repeated_in_the_error() {
        for uri in [
            "mongodb://ada:s3cret@",
            "s3cret",
            "mongodb://ada:s3cret@host/?tls=s3cret",
            "mongodb://ada:s3@cret@host/",
            "mongodb://host/?w=majority&readPreference=s3cret",
        ] {
            let error = store(uri).err().unwrap();
            assert!(!error.contains("cret") && !error.contains("ada"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_store_that_is_not_prepared_says_so() {
        let store = store("mongodb://127.0.0.1:1/").unwrap();
        assert_eq!(store.ping().await.unwrap_err().kind(), "not_prepared");
        assert_eq!(store.user(UserId::generate()).await.unwrap_err().kind(), "not_prepared");
        store.close().await;
    }

    #[tokio::test]
    async fn the_connection_string_cannot_weaken_the_promises() {
        let uri = "mongodb://h/?w=1&journal=false&retryWrites=false&readPreference=secondary&readConcernLevel=local";
        let options = adapt(ClientOptions::parse(uri).await.unwrap(), Duration::from_millis(500));
        let write_concern = options.write_concern.unwrap();
        assert_eq!(write_concern.w, Some(Acknowledgment::Majority));
        assert_eq!(write_concern.journal, Some(true));
        assert_eq!(options.retry_writes, Some(true));
        assert_eq!(options.read_concern, Some(ReadConcern::majority()));
        assert_eq!(options.selection_criteria, Some(SelectionCriteria::ReadPreference(ReadPreference::Primary)));
        assert_eq!(options.server_selection_timeout, Some(Duration::from_millis(250)));
    }
}
