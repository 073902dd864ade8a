//! One transaction: statements that are done all or not at all, and a commit that is asked about until its outcome is
//! known.
//!
//! A transaction that is dropped without a commit is aborted in the background. One that meets another writer fails at
//! once with [`StoreError::Conflict`]; whoever began it repeats the whole. One of which an answer is lost may live on in
//! the server, which would refuse every other writer of its documents for a minute; so it is fenced off.

use std::time::Duration;

use mongodb::action::Action;
use mongodb::bson::{Bson, Document, deserialize_from_bson, doc};
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::options::{ReadConcern, ReturnDocument};
use mongodb::{ClientSession, Collection};
use tokio::time::{Instant, timeout, timeout_at};

use super::super::{Cause, ErrorType, StoreError};
use super::connect::Connection;
use super::deadline::Deadline;
use super::documents::{CounterDocument, Stored};
use super::error::{self, Effect};
use super::{NO_COLLECTION, Operations};

/// How long the server keeps a transaction that nobody ends, unless it is told otherwise.
const LIFETIME: Duration = Duration::from_secs(60);

/// A transaction under way.
pub(super) struct Transaction<'a> {
    store: &'a Operations,
    connection: &'a Connection,
    /// Nothing once it is fenced off.
    session: Option<ClientSession>,
    deadline: Deadline,
}

impl<'a> Transaction<'a> {
    pub(super) async fn begin(store: &'a Operations, deadline: Deadline) -> Result<Self, StoreError> {
        let connection = store.connection()?;
        // Sends nothing, but may wait for a server to be known.
        let begin = async {
            let mut session = connection.client.start_session().causal_consistency(false).await?;
            session
                .start_transaction()
                .read_concern(ReadConcern::snapshot())
                .max_commit_time(deadline.of_an_attempt().remaining())
                .await?;
            Ok(session)
        };
        match timeout_at(deadline.instant(), begin).await {
            Ok(Ok(session)) => Ok(Self { store, connection, session: Some(session), deadline }),
            Ok(Err(failed)) => Err(error::classify(&failed, Effect::None)),
            Err(_) => Err(error::timed_out(Effect::None)),
        }
    }

    /// The documents of these `_id`s that are there.
    pub(super) async fn find<T: Stored>(&mut self, ids: Vec<String>) -> Result<Vec<T>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let collection = self.connection.collection::<T>();
        let deadline = self.deadline.of_an_attempt();
        // One more than there can be: then the answer comes in one piece and the cursor is closed with it.
        let batch_size = u32::try_from(ids.len() + 1).unwrap_or(u32::MAX);
        let session = self.session.as_mut().ok_or_else(ended)?;
        let found = self
            .store
            .call(("find", T::COLLECTION), Effect::None, deadline, |comment| async move {
                let mut cursor = collection
                    .find(doc! { "_id": { "$in": ids } })
                    .batch_size(batch_size)
                    .max_time(deadline.remaining())
                    .optional(comment, |find, comment| find.comment(comment))
                    .session(&mut *session)
                    .await?;
                let mut documents = Vec::new();
                while cursor.advance(session).await? {
                    documents.push(cursor.deserialize_current()?);
                }
                Ok(documents)
            })
            .await;
        self.heard(found)
    }

    /// Changes the document that matches, if there is one, and answers what it is then.
    pub(super) async fn find_and_modify<T: Stored>(
        &mut self,
        filter: Document,
        change: Document,
    ) -> Result<Option<T>, StoreError> {
        let collection = self.connection.collection::<T>();
        let deadline = self.deadline.of_an_attempt();
        let session = self.session.as_mut().ok_or_else(ended)?;
        let found = self
            .store
            .call(("findAndModify", T::COLLECTION), Effect::None, deadline, |comment| async move {
                collection
                    .find_one_and_update(filter, change)
                    .return_document(ReturnDocument::After)
                    .max_time(deadline.remaining())
                    .optional(comment, |update, comment| update.comment(comment))
                    .session(session)
                    .await
            })
            .await;
        self.heard(found)
    }

    /// Adds documents that are not there yet.
    pub(super) async fn insert<T: Stored>(&mut self, documents: Vec<T>) -> Result<(), StoreError> {
        if documents.is_empty() {
            return Ok(());
        }
        let collection = self.connection.collection::<T>();
        let session = self.session.as_mut().ok_or_else(ended)?;
        let inserted = self
            .store
            .call(("insert", T::COLLECTION), Effect::None, self.deadline.of_an_attempt(), |comment| async move {
                collection
                    .insert_many(documents)
                    .optional(comment, |insert, comment| insert.comment(comment))
                    .session(session)
                    .await
            })
            .await;
        self.heard(inserted).map(drop)
    }

    /// Updates documents by `_id`, all of which must be there.
    pub(super) async fn update<T: Stored>(&mut self, updates: Vec<(String, Document)>) -> Result<(), StoreError> {
        if updates.is_empty() {
            return Ok(());
        }
        let expected = i64::try_from(updates.len()).unwrap_or(i64::MAX);
        let statements: Vec<Document> =
            updates.into_iter().map(|(id, change)| doc! { "q": { "_id": id }, "u": change }).collect();
        // The driver's own methods update with one change for all; a command of many changes must be written out.
        let mut command = doc! {
            "update": T::COLLECTION,
            "updates": statements,
            "maxTimeMS": self.deadline.of_an_attempt().remaining_millis(),
        };
        let database = &self.connection.database;
        let session = self.session.as_mut().ok_or_else(ended)?;
        let matched = self
            .store
            .call(("update", T::COLLECTION), Effect::None, self.deadline.of_an_attempt(), |comment| async move {
                if let Some(comment) = comment {
                    command.insert("comment", comment);
                }
                matched(&database.run_command(command).session(session).await?)
            })
            .await;
        let matched = self.heard(matched)?;
        if matched == expected { Ok(()) } else { Err(vanished()) }
    }

    /// Removes the documents that match and says how many they were.
    pub(super) async fn delete<T: Stored>(&mut self, filter: Document) -> Result<u64, StoreError> {
        let collection = self.connection.collection::<T>();
        let session = self.session.as_mut().ok_or_else(ended)?;
        let deleted = self
            .store
            .call(("delete", T::COLLECTION), Effect::None, self.deadline.of_an_attempt(), |comment| async move {
                collection
                    .delete_many(filter)
                    .optional(comment, |delete, comment| delete.comment(comment))
                    .session(session)
                    .await
            })
            .await;
        self.heard(deleted).map(|deleted| deleted.deleted_count)
    }

    /// Commits. The commit can be repeated without harm, so it is until the outcome is known or the deadline passes.
    ///
    /// A transaction that wrote nothing must be committed as well: what it read may not be on a majority yet, and its
    /// commit waits until it is.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        #[cfg(feature = "mutants")]
        if super::mutant::is(super::mutant::EARLY_ANSWER)
            && let Some(mut session) = self.session.take()
        {
            tokio::spawn(async move { session.commit_transaction().await });
            return Ok(());
        }
        let mut repeats = self.store.repeats(self.deadline);
        loop {
            let session = self.session.as_mut().ok_or_else(ended)?;
            let committed = self
                .store
                .call(("commitTransaction", NO_COLLECTION), Effect::Commit, self.deadline.of_an_attempt(), |_| {
                    session.commit_transaction()
                })
                .await;
            match committed {
                Err(StoreError::OutcomeUnknown(_)) if repeats.pause().await => {}
                result => return self.heard(result),
            }
        }
    }

    /// Hands the result of a statement on, and fences the transaction off if its answer never came.
    fn heard<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        let lost = result.as_ref().is_err_and(error::is_unanswered);
        if lost && let Some(session) = self.session.take() {
            let counters = self.connection.database.collection(CounterDocument::COLLECTION);
            tokio::spawn(fence(session, counters, self.store.timeout));
        }
        result
    }
}

/// Begins a newer transaction on the session: then the server drops the older one, and refuses what is still to arrive of
/// it. Tries until that is done, or until the server drops it by itself.
async fn fence(mut session: ClientSession, collection: Collection<Document>, patience: Duration) {
    const PAUSE: Duration = Duration::from_millis(250);
    let end = Instant::now() + LIFETIME;
    while Instant::now() < end {
        let newer = async {
            // An error says that the driver holds it for ended already.
            let _ = session.abort_transaction().await;
            session.start_transaction().await?;
            collection.find_one(doc! { "_id": "" }).session(&mut session).await?;
            session.abort_transaction().await
        };
        if let Ok(Ok(())) = timeout(patience, newer).await {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What a statement meets after an answer of its transaction was lost.
fn ended() -> StoreError {
    StoreError::Unavailable(Cause::new(ErrorType::Transaction, "the transaction was given up"))
}

/// What a transaction meets that expected a document which is gone.
pub(super) fn vanished() -> StoreError {
    StoreError::Conflict(Cause::new(ErrorType::Conflict, "a record vanished"))
}

/// How many documents an update matched. A command that is run by hand succeeds also when its statements fail.
fn matched(reply: &Document) -> Result<i64, Error> {
    if let Some(failed) = reply.get_array("writeErrors").ok().and_then(|errors| errors.first()) {
        return Err(failure(failed, WriteFailure::WriteError));
    }
    if let Some(failed) = reply.get("writeConcernError") {
        return Err(failure(failed, WriteFailure::WriteConcernError));
    }
    match reply.get("n") {
        Some(Bson::Int32(n)) => Ok(i64::from(*n)),
        Some(Bson::Int64(n)) => Ok(*n),
        _ => Ok(0),
    }
}

fn failure<T: serde::de::DeserializeOwned>(reply: &Bson, wrap: impl FnOnce(T) -> WriteFailure) -> Error {
    match deserialize_from_bson(reply.clone()) {
        Ok(failed) => ErrorKind::Write(wrap(failed)).into(),
        Err(unreadable) => unreadable.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_is_ok_may_still_hold_failures() {
        assert_eq!(matched(&doc! { "ok": 1, "n": 2 }).unwrap(), 2);
        let reply = doc! { "ok": 1, "n": 0, "writeErrors": [{ "index": 0, "code": 121, "errmsg": "no" }] };
        let failed = error::classify(&matched(&reply).unwrap_err(), Effect::None);
        assert!(matches!(failed, StoreError::Corrupt(cause) if cause.code == Some(121)));
        let reply = doc! { "ok": 1, "n": 1, "writeConcernError": { "code": 64, "errmsg": "late" } };
        let failed = error::classify(&matched(&reply).unwrap_err(), Effect::Write);
        assert!(matches!(failed, StoreError::OutcomeUnknown(cause) if cause.code == Some(64)));
    }
}
