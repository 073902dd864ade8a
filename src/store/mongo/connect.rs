//! How the servers are reached: what a connection string may say, the options that the promises rest on, and the servers'
//! fitness, which is asked before anything is built on them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use mongodb::error::{Error, ErrorKind};
use mongodb::event::EventHandler;
use mongodb::options::{
    Acknowledgment, ClientOptions, ConnectionString, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection, Database};
use secrecy::{ExposeSecret, SecretString};

use super::super::{Cause, ErrorType, PrepareError, StoreError};
use super::Operations;
use super::documents::Stored;
use super::error::{Effect, classify};
use super::events::Events;
#[cfg(feature = "mutants")]
use super::mutant;

/// How the service names itself to the servers.
pub(super) const APP_NAME: &str = "counter-api";
/// Connections of the pool, where the connection string names no other number.
pub(super) const MAX_POOL_SIZE: u32 = 32;
/// How often each server is asked what it is; it answers at once when that changes.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often the pools' numbers are looked through for what no event tells.
const REFRESH_PERIOD: Duration = Duration::from_secs(1);

/// Parses a connection string without connecting. The error says what would be right and shows nothing of the string, for that
/// holds a password.
pub fn check_uri(uri: &SecretString) -> Result<ConnectionString, &'static str> {
    ConnectionString::parse(uri.expose_secret()).map_err(|_| {
        "is not a MongoDB connection string: it must look like \
         mongodb://[user:password@]host[:port][,host[:port]]/[authentication database][?options], \
         with every special character of the user and the password in percent-encoding"
    })
}

/// The driver's handles, made by the first `prepare`.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) database: Database,
}

impl Connection {
    /// The collection of these documents.
    pub(super) fn collection<T: Stored>(&self) -> Collection<T> {
        self.database.collection(T::COLLECTION)
    }
}

impl Operations {
    /// The driver's handles, once the store is prepared.
    pub(super) fn connection(&self) -> Result<&Connection, StoreError> {
        self.connection.get().filter(|_| self.prepared.load(Ordering::Acquire)).ok_or_else(|| {
            StoreError::Unavailable(Cause::new(ErrorType::NotPrepared, "the store has not been prepared yet"))
        })
    }

    /// Connects, unless that is done, and makes what is missing in the database.
    pub(super) async fn prepare(&self) -> Result<(), PrepareError> {
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
fn cannot_connect(error: &Error) -> PrepareError {
    match *error.kind {
        ErrorKind::DnsResolve { .. } => PrepareError::NotYet(classify(error, Effect::None)),
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
pub(super) fn patience(timeout: Duration) -> Duration {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_connection_string_is_not_repeated_in_the_error() {
        for uri in [
            "mongodb://ada:s3cret@",
            "s3cret",
            "mongodb://ada:s3cret@host/?tls=s3cret",
            "mongodb://ada:s3@cret@host/",
            "mongodb://host/?w=majority&readPreference=s3cret",
        ] {
            let error = check_uri(&uri.into()).unwrap_err();
            assert!(!error.contains("cret") && !error.contains("ada"), "{error}");
        }
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
