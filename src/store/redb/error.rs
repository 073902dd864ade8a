//! What an error of redb means to the store's callers.

use std::io;

use ::redb::{Error, StorageError, TableError, TransactionError};

use crate::store::{Cause, ErrorType, StoreError};

pub(super) fn cause(error: &Error) -> Cause {
    let kind = match error {
        Error::Io(error) if is_full(error) => ErrorType::DiskFull,
        Error::Io(_) => ErrorType::Io,
        Error::PreviousIo => ErrorType::PreviousIo,
        Error::Corrupted(_) => ErrorType::Corrupted,
        Error::LockPoisoned(_) | Error::TransactionPoisoned => ErrorType::Poisoned,
        Error::DatabaseClosed => ErrorType::Closed,
        _ => ErrorType::Redb,
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
