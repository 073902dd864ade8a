//! What an error of redb means to the store's callers.

use std::io;

use ::redb::{Error, StorageError, TableError, TransactionError};

use crate::store::{Cause, StoreError};

pub(super) fn cause(error: &Error) -> Cause {
    let kind = match error {
        Error::Io(error) if is_full(error) => "disk_full",
        Error::Io(_) => "io",
        Error::PreviousIo => "previous_io",
        Error::Corrupted(_) => "corrupted",
        Error::LockPoisoned(_) | Error::TransactionPoisoned => "poisoned",
        Error::DatabaseClosed => "closed",
        _ => "redb",
    };
    Cause::new(kind, error.to_string())
}

/// Is there no room to write?
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// What fails before the commit is definite.
fn definite(error: &Error) -> StoreError {
    match error {
        Error::Corrupted(_) => StoreError::Corrupt(cause(error)),
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
