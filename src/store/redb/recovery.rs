//! What is written so that I/O errors can be recovered from: a mark in each commit, and trial writes.

use ::redb::{ReadTransaction, TableDefinition, WriteTransaction};

use super::handle::Verdict;
use super::tables::META;
use crate::store::StoreError;

/// The row of [`META`] with the mark of the last commit.
const LAST_COMMIT: &str = "last_commit";

const TRIAL: TableDefinition<(), &[u8]> = TableDefinition::new("trial");

/// What a trial write takes: more room than most batches do, in one piece. With its header it fills a page of 1 MiB.
const TRIAL_BYTES: usize = (1 << 20) - 4096;

/// Marks the transaction, so that it can be told afterwards whether it was committed.
pub(super) fn mark(txn: &WriteTransaction) -> Result<u64, StoreError> {
    let mark = rand::random();
    txn.open_table(META)?.insert(LAST_COMMIT, mark)?;
    Ok(mark)
}

/// The mark of the last commit; nothing where an older version wrote it.
pub(super) fn last_mark(txn: &ReadTransaction) -> Result<Option<u64>, StoreError> {
    Ok(txn.open_table(META)?.get(LAST_COMMIT)?.map(|mark| mark.value()))
}

/// The first half of a trial: takes the room.
pub(super) fn take_room(txn: &WriteTransaction) -> Result<Verdict<()>, StoreError> {
    txn.open_table(TRIAL)?.insert((), vec![0xa5; TRIAL_BYTES].as_slice())?;
    Ok(Verdict::Commit(()))
}

/// The second half: gives it back.
pub(super) fn give_back(txn: &WriteTransaction) -> Result<Verdict<()>, StoreError> {
    txn.delete_table(TRIAL)?;
    Ok(Verdict::Commit(()))
}
