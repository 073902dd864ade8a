//! The embedded store: one file on one machine, written by one process.
//!
//! A batch is one durable write transaction. redb calls block, so each runs on a thread for blocking work, and the
//! caller's deadline is kept beside it: `claim.rs` says who decides what became of a write whose caller gave up.

mod claim;
mod counters;
mod error;
mod file;
mod handle;
mod logins;
mod recovery;
mod tables;
#[cfg(test)]
mod tests;
mod users;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::redb::{ReadTransaction, WriteTransaction};
use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::task::{self, JoinHandle};
use tokio::time;
use tracing::Span;

use self::claim::Claim;
pub use self::file::OpenError;
use self::handle::{Handle, Verdict};
use super::instrumented::Instrumented;
use super::{
    Answer, Batch, Cause, ErrorType, Group, Login, LoginHash, LoginUse, NamedCounter, NewUser, PrepareError, Rules,
    Store, StoreError, TokenHash, Unlinked, User,
};
use crate::domain::{CounterId, CounterName, Email, Identity, ProviderName, Timestamp, UserId};

/// The value of `db.system.name`.
pub const SYSTEM: &str = "redb";
const USERS: &str = "users";
const COUNTERS: &str = "incremental_counter";
const LOGINS: &str = "oauth_logins";

/// A [`Store`] in a file of this machine.
pub struct RedbStore {
    handle: Arc<Handle>,
    /// Writers queue here, where waiting costs no thread and can be given up, rather than within redb.
    turn: Arc<Mutex<()>>,
    prepared: AtomicBool,
    instrumented: Instrumented,
    rules: Rules,
    timeout: Duration,
}

impl RedbStore {
    /// Opens the file at `path`, which is made if it is not there, and locks it against other processes. Blocks while
    /// it checks the whole file. Every operation ends within `timeout`.
    pub fn open(path: &Path, rules: Rules, timeout: Duration) -> Result<Self, OpenError> {
        let database = file::open(path)?;
        let again = path.to_owned();
        let handle = Handle::new(path, database, Box::new(move || file::reopen(&again)));
        Ok(Self::with(handle, path, rules, timeout))
    }

    fn with(handle: Handle, path: &Path, rules: Rules, timeout: Duration) -> Self {
        let namespace = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        Self {
            handle: Arc::new(handle),
            turn: Arc::default(),
            prepared: AtomicBool::new(false),
            instrumented: Instrumented::new(SYSTEM, namespace, &[]),
            rules,
            timeout,
        }
    }

    /// Runs `work` in a read transaction of its own.
    async fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        collection: &'static str,
        work: impl FnOnce(&ReadTransaction) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let attempt = async || {
            self.require_prepared()?;
            let handle = Arc::clone(&self.handle);
            match time::timeout(self.timeout, blocking(move || handle.read(work))).await {
                Ok(ended) => ended.unwrap_or_else(|_| Err(StoreError::Unavailable(panicked()))),
                Err(_) => Err(StoreError::Unavailable(Cause::timeout())),
            }
        };
        self.instrumented.run(operation, collection, attempt).await
    }

    /// Runs `work` in a write transaction of its own, which is committed durably if `work` says so.
    async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        collection: &'static str,
        work: impl FnOnce(&WriteTransaction) -> Result<Verdict<T>, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let attempt = async || {
            self.require_prepared()?;
            self.write_now(work).await
        };
        self.instrumented.run(operation, collection, attempt).await
    }

    async fn write_now<T: Send + 'static>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<Verdict<T>, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let claim = Claim::default();
        let writing = async {
            let turn = Arc::clone(&self.turn).lock_owned().await;
            let (handle, claim) = (Arc::clone(&self.handle), claim.clone());
            blocking(move || {
                // Kept until the transaction has ended, also where nobody waits for it any more.
                let _turn = turn;
                handle.write(&claim, work)
            })
            .await
        };
        match time::timeout(self.timeout, writing).await {
            Ok(ended) => ended.unwrap_or_else(|_| Err(claim.give_up(panicked()))),
            Err(_) => Err(claim.give_up(Cause::timeout())),
        }
    }

    fn require_prepared(&self) -> Result<(), StoreError> {
        if self.prepared.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(StoreError::Unavailable(Cause::new(ErrorType::NotPrepared, "the store was not made ready yet")))
        }
    }
}

/// Runs blocking work on a thread that may block, within the caller's span.
fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let span = Span::current();
    task::spawn_blocking(move || span.in_scope(work))
}

fn panicked() -> Cause {
    Cause::new(ErrorType::Panic, "the thread of the operation ended early")
}

#[async_trait]
impl Store for RedbStore {
    fn system(&self) -> &'static str {
        SYSTEM
    }

    /// One: redb has one writer, and a second batch would only wait for the first.
    fn flights(&self) -> usize {
        1
    }

    async fn prepare(&self) -> Result<(), PrepareError> {
        self.instrumented.run("create", "meta", || self.write_now(tables::create)).await?;
        self.prepared.store(true, Ordering::Release);
        Ok(())
    }

    /// Begins a write transaction, reads in it and ends it again, which writes nothing. Only after a write has met an
    /// I/O error does it write something first, as every write does then: see `handle.rs`.
    async fn ping(&self) -> Result<(), StoreError> {
        self.write("ping", "meta", tables::ping).await
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Vec<Answer>>, StoreError> {
        let (batch, rules) = (batch.clone(), self.rules);
        if batch.groups.iter().all(Group::only_reads) {
            // It needs no turn, and no disk that takes writes.
            return self.read("get", COUNTERS, move |txn| counters::read_all(txn, &batch, rules)).await;
        }
        self.write("commit", COUNTERS, move |txn| counters::commit(txn, &batch, rules)).await
    }

    async fn counters(
        &self,
        user: UserId,
        after: Option<&CounterName>,
        limit: usize,
    ) -> Result<Vec<NamedCounter>, StoreError> {
        let after = after.cloned();
        self.read("list", COUNTERS, move |txn| counters::counters(txn, user, after.as_ref(), limit)).await
    }

    async fn delete_counter(&self, id: &CounterId) -> Result<bool, StoreError> {
        let id = id.clone();
        self.write("delete", COUNTERS, move |txn| counters::delete_counter(txn, &id)).await
    }

    async fn create_user(&self, user: &NewUser) -> Result<(), StoreError> {
        let user = user.clone();
        self.write("insert", USERS, move |txn| users::create_user(txn, &user)).await
    }

    async fn user_by_email(&self, email: &Email) -> Result<Option<User>, StoreError> {
        let email = email.clone();
        self.read("get", USERS, move |txn| users::user_by_email(txn, &email)).await
    }

    async fn user_by_identity(&self, identity: &Identity) -> Result<Option<User>, StoreError> {
        let identity = identity.clone();
        self.read("get", USERS, move |txn| logins::user_by_identity(txn, &identity)).await
    }

    async fn add_identity(&self, id: UserId, identity: &Identity) -> Result<bool, StoreError> {
        let identity = identity.clone();
        self.write("update", USERS, move |txn| logins::add_identity(txn, id, identity)).await
    }

    async fn remove_identities(&self, id: UserId, provider: &ProviderName) -> Result<Unlinked, StoreError> {
        let provider = provider.clone();
        self.write("update", USERS, move |txn| logins::remove_identities(txn, id, &provider)).await
    }

    async fn keep_login(&self, code: &LoginHash, login: &Login) -> Result<(), StoreError> {
        let (code, login) = (code.clone(), login.clone());
        self.write("insert", LOGINS, move |txn| logins::keep(txn, &code, login)).await
    }

    async fn login(&self, code: &LoginHash, usage: LoginUse, now: Timestamp) -> Result<Option<Login>, StoreError> {
        let code = code.clone();
        match usage {
            LoginUse::Look => self.read("get", LOGINS, move |txn| logins::look(txn, &code, now)).await,
            LoginUse::Try => self.write("update", LOGINS, move |txn| logins::count_try(txn, &code, now)).await,
            LoginUse::Take => self.write("delete", LOGINS, move |txn| logins::take(txn, &code, now)).await,
        }
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.read("get", USERS, move |txn| users::user(txn, id)).await
    }

    async fn record_token(&self, id: UserId, token: &TokenHash) -> Result<Option<u64>, StoreError> {
        let token = token.clone();
        self.write("update", USERS, move |txn| users::record_token(txn, id, token)).await
    }

    async fn revoke_tokens(&self, id: UserId) -> Result<Option<u64>, StoreError> {
        self.write("update", USERS, move |txn| users::revoke_tokens(txn, id)).await
    }

    async fn delete_user(&self, id: UserId) -> Result<bool, StoreError> {
        self.write("delete", USERS, move |txn| users::delete_user(txn, id)).await
    }

    /// Waits for what is under way, but not beyond the deadline.
    async fn close(&self) {
        let handle = Arc::clone(&self.handle);
        match time::timeout(self.timeout, blocking(move || handle.close())).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the embedded store did not close cleanly"),
            Ok(Err(_)) | Err(_) => tracing::warn!("the embedded store did not close within the deadline"),
        }
    }
}
