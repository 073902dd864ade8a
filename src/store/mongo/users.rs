//! Users: made, found, given tokens, removed.

use mongodb::action::Action;
use mongodb::bson::{Document, doc};
use mongodb::options::ReturnDocument;

use super::super::{AccountKey, ErrorType, NewUser, StoreError, User, keys_of};
use super::Operations;
use super::deadline::Deadline;
use super::documents::{CounterDocument, GenerationOfUser, KeyDocument, Stored, UserDocument, unsigned};
use super::error::Effect;
use super::transaction::Transaction;
use crate::domain::UserId;

impl Operations {
    pub(super) async fn insert_user(&self, user: &NewUser, deadline: Deadline) -> Result<(), StoreError> {
        let users = self.connection()?.collection::<UserDocument>();
        let document = UserDocument::of_new(user);
        let inserted = self
            .call(("insert", UserDocument::COLLECTION), Effect::Write, deadline, |comment| async move {
                users.insert_one(document).optional(comment, |insert, comment| insert.comment(comment)).await
            })
            .await;
        match inserted {
            // Its id is new, and beside it either its address is unique or its identity.
            Err(error) if error.kind() == ErrorType::DuplicateKey => Err(match user.key {
                AccountKey::Password(_) => StoreError::EmailTaken,
                AccountKey::Identity(_) => StoreError::IdentityTaken,
            }),
            result => result.map(drop),
        }
    }

    pub(super) async fn find_user(&self, filter: Document, deadline: Deadline) -> Result<Option<User>, StoreError> {
        let users = self.connection()?.collection::<UserDocument>();
        self.call(("find", UserDocument::COLLECTION), Effect::None, deadline, |comment| {
            users
                .find_one(filter)
                .max_time(deadline.remaining())
                .optional(comment, |find, comment| find.comment(comment))
        })
        .await?
        .map(UserDocument::into_user)
        .transpose()
    }

    /// Changes a user and answers its token generation afterwards; nothing where the user is gone.
    pub(super) async fn update_generation(
        &self,
        id: UserId,
        change: Document,
        deadline: Deadline,
    ) -> Result<Option<u64>, StoreError> {
        self.update_one_generation(doc! { "_id": id.to_string() }, change, deadline).await
    }

    /// The same of the one user that the filter finds; nothing where it finds none.
    pub(super) async fn update_one_generation(
        &self,
        filter: Document,
        change: Document,
        deadline: Deadline,
    ) -> Result<Option<u64>, StoreError> {
        let users = self.connection()?.collection::<GenerationOfUser>();
        self.call(("findAndModify", UserDocument::COLLECTION), Effect::Write, deadline, |comment| {
            users
                .find_one_and_update(filter, change)
                .projection(doc! { "token_generation": 1 })
                .return_document(ReturnDocument::After)
                .max_time(deadline.remaining())
                .optional(comment, |update, comment| update.comment(comment))
        })
        .await?
        .map(|user| unsigned(user.token_generation))
        .transpose()
    }

    /// Removes a user with its counters in one transaction, and its keys afterwards.
    pub(super) async fn remove_user(&self, id: UserId, deadline: Deadline) -> Result<bool, StoreError> {
        let mut repeats = self.repeats(deadline);
        loop {
            match self.try_to_remove_user(id, deadline).await {
                Ok(removed) => {
                    if removed {
                        self.remove_keys(id, deadline).await;
                    }
                    return Ok(removed);
                }
                Err(error) => {
                    if !repeats.again(&error).await {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn try_to_remove_user(&self, id: UserId, deadline: Deadline) -> Result<bool, StoreError> {
        let mut transaction = Transaction::begin(self, deadline).await?;
        let there = !transaction.find::<GenerationOfUser>(vec![id.to_string()]).await?.is_empty();
        if there {
            // The user first: whoever makes a counter for it at the same time writes it as well, and one of us fails.
            transaction.delete::<UserDocument>(doc! { "_id": id.to_string() }).await?;
            transaction.delete::<CounterDocument>(range_of(id)).await?;
        }
        transaction.commit().await?;
        Ok(there)
    }

    /// Removes a user's keys as far as that succeeds: nobody can use them any more, and they expire by themselves.
    async fn remove_keys(&self, id: UserId, deadline: Deadline) {
        let Ok(connection) = self.connection() else { return };
        let keys = connection.collection::<KeyDocument>();
        let removed = self
            .call(("delete", KeyDocument::COLLECTION), Effect::Write, deadline, |comment| {
                keys.delete_many(range_of(id)).optional(comment, |delete, comment| delete.comment(comment))
            })
            .await;
        if let Err(error) = removed {
            tracing::warn!(%error, "the idempotency keys of a deleted user stay until they expire");
        }
    }
}

fn range_of(user: UserId) -> Document {
    let [after, before] = keys_of(user);
    doc! { "_id": { "$gt": after, "$lt": before } }
}
