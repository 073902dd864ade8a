//! The open database: lends itself to transactions, and recovers from I/O errors.
//!
//! redb refuses all further work after an I/O error (a full disk, for example) until the file is opened again, which
//! repairs it. So it is opened again at once: reads go on, and what became of a commit that failed is looked up. Writes
//! are refused until a trial write has shown that the disk takes them: one that is full has room for a small commit
//! now and then, and would look well in between.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use ::redb::{CommitError, Database, DatabaseError, ReadTransaction, ReadableDatabase, WriteTransaction};

use super::claim::Claim;
use super::error::cause;
use super::file::{self, OpenError};
use super::recovery;
use crate::store::{Cause, ErrorType, StoreError};

/// Opens a file again that was open before.
pub(super) type Reopen = Box<dyn Fn() -> Result<Database, OpenError> + Send + Sync>;

/// What is to become of a write transaction, with the answer to its caller.
pub(super) enum Verdict<T> {
    /// Something was changed.
    Commit(T),
    /// Nothing was changed.
    Abort(T),
}

/// How a write transaction ended.
enum Ended<T> {
    Settled(T),
    /// Its commit failed, which may have left it in the file or not.
    InDoubt {
        answer: T,
        mark: u64,
        cause: Cause,
    },
}

/// The database, or why it is not there.
enum Slot {
    Open(Database),
    /// It could not be opened again after an I/O error.
    Lost,
    /// Let go of for good.
    Closed,
}

/// Writes are refused: the last one met an I/O error, and no trial write has succeeded since.
struct Trouble {
    cause: Cause,
    /// No further trial before this.
    rest_until: Instant,
}

/// One file's database. Its methods block.
pub(super) struct Handle {
    path: PathBuf,
    reopen: Reopen,
    /// Whoever uses the database holds this for reading, whoever replaces it, for writing.
    slot: RwLock<Slot>,
    trouble: Mutex<Option<Trouble>>,
}

impl Handle {
    pub(super) fn new(path: &Path, database: Database, reopen: Reopen) -> Self {
        Self { path: path.to_owned(), reopen, slot: RwLock::new(Slot::Open(database)), trouble: Mutex::new(None) }
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
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        self.recover(&mut trouble)?;
        let (result, broken_by) = match self.attempt(claim, work) {
            Ok(Ended::Settled(answer)) => return Ok(answer),
            Ok(Ended::InDoubt { answer, mark, cause }) => (self.settle(answer, mark, cause.clone()), Some(cause)),
            Err(error) => {
                let cause = error.cause().filter(|_| self.is_broken()).cloned();
                if cause.is_some() {
                    self.open_anew_or_lose();
                }
                (Err(error), cause)
            }
        };
        *trouble = broken_by.map(|cause| Trouble { cause, rest_until: Instant::now() });
        result
    }

    /// Lets go of the file. The process's number beside it goes first: once the lock is gone, it may be another's.
    pub(super) fn close(&self) -> Result<(), DatabaseError> {
        let mut slot = self.slot_mut();
        match std::mem::replace(&mut *slot, Slot::Closed) {
            Slot::Open(database) => {
                file::withdraw(&self.path);
                // Where it was not closed well, the next start must know.
                database.close().inspect_err(|_| file::sign(&self.path))
            }
            Slot::Lost | Slot::Closed => Ok(()),
        }
    }

    fn attempt<T>(
        &self,
        claim: &Claim,
        work: impl FnOnce(&WriteTransaction) -> Result<Verdict<T>, StoreError>,
    ) -> Result<Ended<T>, StoreError> {
        self.lend(|database| {
            let txn = database.begin_write()?;
            let answer = match work(&txn)? {
                Verdict::Abort(answer) => return Ok(Ended::Settled(answer)),
                Verdict::Commit(answer) => answer,
            };
            let mark = recovery::mark(&txn)?;
            if !claim.take() {
                return Err(StoreError::Unavailable(Cause::timeout()));
            }
            match txn.commit() {
                Ok(()) => Ok(Ended::Settled(answer)),
                // It was rolled back.
                Err(error @ CommitError::TransactionPoisoned) => Err(StoreError::Unavailable(cause(&error.into()))),
                Err(error) => Ok(Ended::InDoubt { answer, mark, cause: cause(&error.into()) }),
            }
        })
    }

    /// Finds out what became of a commit that failed. To open the file makes durable whatever is found in it, and
    /// overwrites what is not: the answer is final either way, unless there is none.
    fn settle<T>(&self, answer: T, mark: u64, cause: Cause) -> Result<T, StoreError> {
        self.open_anew_or_lose();
        match self.read(recovery::last_mark) {
            Ok(found) if found == Some(mark) => Ok(answer),
            Ok(_) => Err(StoreError::Unavailable(cause)),
            Err(_) => Err(StoreError::OutcomeUnknown(cause)),
        }
    }

    /// After trouble: tries whether the disk takes writes again.
    fn recover(&self, trouble: &mut Option<Trouble>) -> Result<(), StoreError> {
        let began = Instant::now();
        match trouble {
            None => return Ok(()),
            Some(trouble) if began < trouble.rest_until => {
                return Err(StoreError::Unavailable(trouble.cause.clone()));
            }
            Some(_) => {}
        }
        let tried = self.open_if_lost().and_then(|()| self.try_out());
        if let Err(error) = tried {
            if self.is_broken() {
                self.open_anew_or_lose();
            }
            if let Some(trouble) = trouble {
                // At least half of the time, callers are refused at once, however long a trial takes.
                trouble.rest_until = Instant::now() + began.elapsed();
            }
            return Err(error);
        }
        *trouble = None;
        tracing::warn!("the embedded store takes writes again after an I/O error");
        Ok(())
    }

    fn try_out(&self) -> Result<(), StoreError> {
        for work in [recovery::take_room, recovery::give_back] {
            if let Ended::InDoubt { cause, .. } = self.attempt(&Claim::default(), work)? {
                return Err(StoreError::Unavailable(cause));
            }
        }
        Ok(())
    }

    /// Asks redb itself whether it would begin another write, which needs no disk.
    fn is_broken(&self) -> bool {
        matches!(&*self.slot(), Slot::Open(database) if database.begin_write().is_err())
    }

    fn open_anew_or_lose(&self) {
        let mut slot = self.slot_mut();
        if matches!(*slot, Slot::Closed) {
            return;
        }
        // Dropped before the file is opened, for it holds the lock.
        *slot = Slot::Lost;
        match (self.reopen)() {
            Ok(database) => *slot = Slot::Open(database),
            Err(error) => tracing::error!(%error, "the embedded store cannot be opened again after an I/O error"),
        }
    }

    fn open_if_lost(&self) -> Result<(), StoreError> {
        let mut slot = self.slot_mut();
        if matches!(*slot, Slot::Lost) {
            let opened = (self.reopen)();
            *slot = Slot::Open(
                opened.map_err(|error| StoreError::Unavailable(Cause::new(ErrorType::Lost, error.to_string())))?,
            );
        }
        Ok(())
    }

    fn lend<T>(&self, work: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match &*self.slot() {
            Slot::Open(database) => work(database),
            Slot::Lost => {
                Err(StoreError::Unavailable(Cause::new(ErrorType::Lost, "the file is opened again by the next write")))
            }
            Slot::Closed => Err(StoreError::Unavailable(Cause::new(ErrorType::Closed, "the store was closed"))),
        }
    }

    fn slot(&self) -> RwLockReadGuard<'_, Slot> {
        self.slot.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot_mut(&self) -> RwLockWriteGuard<'_, Slot> {
        self.slot.write().unwrap_or_else(PoisonError::into_inner)
    }
}
