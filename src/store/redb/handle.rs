//! The open database: lends itself to transactions, and is opened anew after an I/O error.
//!
//! redb refuses all further work after an I/O error (a full disk, for example) until the file is opened again, which
//! repairs it. Without that a passing failure would last until somebody restarts the service.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ::redb::{
    CommitError, Database, DatabaseError, ReadTransaction, ReadableDatabase, StorageError, TableError,
    TransactionError, WriteTransaction,
};

use super::claim::Claim;
use super::file::{self, OpenError};
use crate::store::{Cause, StoreError};

/// Opens a file again that was open before.
pub(super) type Reopen = Box<dyn Fn() -> Result<Database, OpenError> + Send + Sync>;

/// What is to become of a write transaction, with the answer to its caller.
pub(super) enum Verdict<T> {
    /// Something was changed.
    Commit(T),
    /// Nothing was changed.
    Abort(T),
}

/// The database, or why it is not there.
enum Slot {
    Open(Database),
    /// An I/O error made it useless: the next writer opens the file anew.
    Lost,
    /// Let go of for good.
    Closed,
}

/// One file's database. Its methods block.
pub(super) struct Handle {
    path: PathBuf,
    reopen: Reopen,
    /// Whoever uses the database holds this for reading, whoever replaces it, for writing.
    slot: RwLock<Slot>,
}

impl Handle {
    pub(super) fn new(path: &Path, database: Database, reopen: Reopen) -> Self {
        Self { path: path.to_owned(), reopen, slot: RwLock::new(Slot::Open(database)) }
    }

    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.lend(|database| work(&database.begin_read()?))
    }

    /// One write transaction. There must be one caller at a time.
    pub(super) fn write<T>(
        &self,
        claim: &Claim,
        work: impl FnOnce(&WriteTransaction) -> Result<Verdict<T>, StoreError>,
    ) -> Result<T, StoreError> {
        if claim.is_taken() {
            return Err(StoreError::Unavailable(Cause::timeout()));
        }
        self.reopen_if_lost()?;
        let result = self.lend(|database| {
            let txn = database.begin_write()?;
            match work(&txn)? {
                Verdict::Abort(answer) => Ok(answer),
                Verdict::Commit(answer) if claim.take() => commit(txn).map(|()| answer),
                Verdict::Commit(_) => Err(StoreError::Unavailable(Cause::timeout())),
            }
        });
        if result.is_err() {
            self.let_go_if_broken();
        }
        result
    }

    /// Lets go of the file. The process's number beside it goes first: once the lock is gone, it may be another's.
    pub(super) fn close(&self) -> Result<(), DatabaseError> {
        let mut slot = self.slot_mut();
        match std::mem::replace(&mut *slot, Slot::Closed) {
            Slot::Open(database) => {
                file::withdraw(&self.path);
                database.close()
            }
            Slot::Lost | Slot::Closed => Ok(()),
        }
    }

    fn lend<T>(&self, work: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match &*self.slot() {
            Slot::Open(database) => work(database),
            Slot::Lost => Err(StoreError::Unavailable(Cause::new("lost", "the file is opened anew at the next write"))),
            Slot::Closed => Err(StoreError::Unavailable(Cause::new("closed", "the store was closed"))),
        }
    }

    fn reopen_if_lost(&self) -> Result<(), StoreError> {
        if !matches!(*self.slot(), Slot::Lost) {
            return Ok(());
        }
        let mut slot = self.slot_mut();
        if matches!(*slot, Slot::Lost) {
            let database =
                (self.reopen)().map_err(|error| StoreError::Unavailable(Cause::new("lost", error.to_string())))?;
            *slot = Slot::Open(database);
            tracing::warn!("the embedded store was opened anew after an I/O error");
        }
        Ok(())
    }

    /// Asks redb itself whether it would begin another write, which needs no disk.
    fn let_go_if_broken(&self) {
        let mut slot = self.slot_mut();
        if matches!(&*slot, Slot::Open(database) if database.begin_write().is_err()) {
            *slot = Slot::Lost;
        }
    }

    fn slot(&self) -> RwLockReadGuard<'_, Slot> {
        self.slot.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot_mut(&self) -> RwLockWriteGuard<'_, Slot> {
        self.slot.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Commits. A poisoned transaction was rolled back; after any other error the change may be on the disk or not.
fn commit(txn: WriteTransaction) -> Result<(), StoreError> {
    txn.commit().map_err(|error| match error {
        CommitError::TransactionPoisoned => StoreError::Unavailable(cause(&error.into())),
        error => StoreError::OutcomeUnknown(cause(&error.into())),
    })
}

fn cause(error: &::redb::Error) -> Cause {
    use ::redb::Error;
    let kind = match error {
        Error::Io(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            "disk_full"
        }
        Error::Io(_) => "io",
        Error::PreviousIo => "previous_io",
        Error::Corrupted(_) => "corrupted",
        Error::LockPoisoned(_) | Error::TransactionPoisoned => "poisoned",
        Error::DatabaseClosed => "closed",
        _ => "redb",
    };
    Cause::new(kind, error.to_string())
}

/// What fails before the commit is definite.
fn definite(error: &::redb::Error) -> StoreError {
    match error {
        ::redb::Error::Corrupted(_) => StoreError::Corrupt(cause(error)),
        _ => StoreError::Unavailable(cause(error)),
    }
}

impl From<StorageError> for StoreError {
    fn from(error: StorageError) -> Self {
        definite(&error.into())
    }
}

impl From<TableError> for StoreError {
    fn from(error: TableError) -> Self {
        definite(&error.into())
    }
}

impl From<TransactionError> for StoreError {
    fn from(error: TransactionError) -> Self {
        definite(&error.into())
    }
}
