//! Reading and deleting counters.

use std::collections::HashMap;

use mongodb::action::Action;
use mongodb::bson::{Document, doc};
use mongodb::options::ReadConcern;

use super::super::{Counter, NamedCounter, StoreError, keys_of};
use super::Operations;
use super::deadline::Deadline;
use super::documents::{CounterDocument, Stored, UserDocument};
use super::error::Effect;
use super::transaction::{Transaction, vanished};
use crate::domain::{CounterId, CounterName, UserId};

impl Operations {
    /// The counters that are there, each as fresh as the setting promises.
    pub(super) async fn read_counters(
        &self,
        ids: &[&CounterId],
        deadline: Deadline,
    ) -> Result<HashMap<CounterId, Counter>, StoreError> {
        let concern = if self.linearizable_reads { ReadConcern::linearizable() } else { ReadConcern::majority() };
        let filter = match ids {
            [id] => doc! { "_id": id.to_string() },
            _ => doc! { "_id": { "$in": ids.iter().map(ToString::to_string).collect::<Vec<_>>() } },
        };
        let found = self.find_counters(filter, ids.len(), concern, deadline).await?;
        found.iter().map(CounterDocument::read).collect()
    }

    /// A user's counters in the order of their names.
    pub(super) async fn list_counters(
        &self,
        user: UserId,
        after: Option<&CounterName>,
        limit: usize,
        deadline: Deadline,
    ) -> Result<Vec<NamedCounter>, StoreError> {
        let [first, end] = keys_of(user);
        let after = after.map_or(first, |name| CounterId { user, name: name.clone() }.to_string());
        let filter = doc! { "_id": { "$gt": after, "$lt": end } };
        let found = self.find_counters(filter, limit, ReadConcern::majority(), deadline).await?;
        found.iter().map(CounterDocument::named).collect()
    }

    /// Up to `limit` documents in the order of their `_id`, in one answer: a linearizable read cannot be continued.
    async fn find_counters(
        &self,
        filter: Document,
        limit: usize,
        concern: ReadConcern,
        deadline: Deadline,
    ) -> Result<Vec<CounterDocument>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let counters = self.connection()?.collection::<CounterDocument>();
        self.call(("find", CounterDocument::COLLECTION), Effect::None, deadline, |comment| async move {
            let find = counters
                .find(filter)
                .sort(doc! { "_id": 1 })
                .limit(i64::try_from(limit).unwrap_or(i64::MAX))
                .batch_size(u32::try_from(limit).unwrap_or(u32::MAX))
                .read_concern(concern)
                .max_time(deadline.remaining())
                .optional(comment, |find, comment| find.comment(comment));
            #[cfg(feature = "mutants")]
            let find = super::mutant::read(find);
            let mut cursor = find.await?;
            let mut documents = Vec::new();
            while cursor.advance().await? {
                documents.push(cursor.deserialize_current()?);
            }
            Ok(documents)
        })
        .await
    }

    /// Removes a counter and gives its place back to its user; `false` where there was none.
    pub(super) async fn remove_counter(&self, id: &CounterId, deadline: Deadline) -> Result<bool, StoreError> {
        let mut repeats = self.repeats(deadline);
        loop {
            match self.try_to_remove_counter(id, deadline).await {
                Err(error) => {
                    if !repeats.again(&error).await {
                        return Err(error);
                    }
                }
                removed => return removed,
            }
        }
    }

    async fn try_to_remove_counter(&self, id: &CounterId, deadline: Deadline) -> Result<bool, StoreError> {
        let mut transaction = Transaction::begin(self, deadline).await?;
        let there = !transaction.find::<CounterDocument>(vec![id.to_string()]).await?.is_empty();
        if there {
            if transaction.delete::<CounterDocument>(doc! { "_id": id.to_string() }).await? != 1 {
                return Err(vanished());
            }
            let one_less = doc! { "$inc": { "counters": -1_i64 } };
            transaction.update::<UserDocument>(vec![(id.user.to_string(), one_less)]).await?;
        }
        transaction.commit().await?;
        Ok(there)
    }
}
