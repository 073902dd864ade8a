//! Transactions whose owner is gone.
//!
//! A replica that is killed between two statements leaves its transaction open. The server keeps that for a minute
//! (`transactionLifetimeLimitSeconds`), and as long nobody else can write to the counters that it has changed. So a commit that
//! is held up looks for such transactions and has them aborted. That is always safe: what is not committed is nobody's yet, and an
//! owner that was only slow is told that its transaction is gone, and repeats it.

use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};

use super::super::StoreError;
use super::connect::APP_NAME;
use super::error::Effect;
use super::{NO_COLLECTION, Operations};
use crate::metrics;

/// How long a commit may take before it is asked what holds it up.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// How long a transaction has had no statement when its owner is given up: a thousand times what is usual between two.
const IDLE: Duration = Duration::from_secs(2);

impl Operations {
    /// Aborts the transactions of this service that nobody goes on with.
    pub(super) async fn abort_orphans(&self) -> Result<(), StoreError> {
        let admin = self.connection()?.client.database("admin");
        let deadline = self.deadline();
        let idle = i64::try_from(IDLE.as_micros()).unwrap_or(i64::MAX);
        // Its own operations every user may see, and its own sessions it may end.
        let look = doc! {
            "aggregate": 1,
            "pipeline": [
                { "$currentOp": { "idleSessions": true, "allUsers": false } },
                { "$match": {
                    "type": "idleSession", "appName": APP_NAME, "transaction.timeInactiveMicros": { "$gte": idle },
                } },
                { "$project": { "id": "$lsid.id" } },
            ],
            "cursor": {},
            "maxTimeMS": deadline.remaining_millis(),
        };
        let found =
            self.call(("currentOp", NO_COLLECTION), Effect::None, deadline, |_| admin.run_command(look)).await?;
        let sessions: Vec<Bson> = sessions(&found);
        if sessions.is_empty() {
            return Ok(());
        }
        let count = sessions.len();
        let end = doc! { "killSessions": sessions, "maxTimeMS": deadline.remaining_millis() };
        self.call(("killSessions", NO_COLLECTION), Effect::None, deadline, |_| admin.run_command(end)).await?;
        metrics::orphans_aborted(count as u64);
        tracing::warn!(transactions = count, "transactions were aborted whose owners are gone");
        Ok(())
    }
}

/// The sessions in the first batch of the answer: the others are found by the next who looks.
fn sessions(found: &Document) -> Vec<Bson> {
    let batch = found.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
    let ids = batch.into_iter().flatten().filter_map(|session| session.as_document()?.get("id"));
    ids.map(|id| Bson::Document(doc! { "id": id.clone() })).collect()
}
