//! One command of the driver: within the operation's deadline, in a span of its own, with its comment.

use std::future::IntoFuture;

use tokio::time::timeout_at;

use super::super::StoreError;
use super::super::instrumented::traceparent;
use super::Operations;
use super::connect::Connection;
use super::deadline::Deadline;
use super::error::{self, Effect};

impl Operations {
    /// Runs one command. `command` is given the comment that it is to bear, where there is one. The driver has no
    /// time-out of its own for an answer, so the wait is bounded here as well as by the server's `maxTimeMS`.
    pub(super) async fn call<T, C>(
        &self,
        (operation, collection): (&'static str, &'static str),
        effect: Effect,
        deadline: Deadline,
        command: impl FnOnce(Option<String>) -> C,
    ) -> Result<T, StoreError>
    where
        C: IntoFuture<Output = mongodb::error::Result<T>>,
    {
        self.measured
            .run(operation, collection, || {
                let comment = if self.comment { traceparent() } else { None };
                let command = command(comment).into_future();
                async move {
                    match timeout_at(deadline.instant(), command).await {
                        Ok(result) => result.map_err(|failed| error::classify(&failed, effect)),
                        Err(_) => Err(error::timed_out(effect)),
                    }
                }
            })
            .await
    }

    /// Asks the primary whether it answers.
    pub(super) async fn ping_primary(&self, connection: &Connection) -> Result<(), StoreError> {
        let deadline = self.deadline();
        let ping = mongodb::bson::doc! { "ping": 1, "maxTimeMS": deadline.remaining_millis() };
        self.call(("ping", super::NO_COLLECTION), Effect::None, deadline, |_| connection.database.run_command(ping))
            .await
            .map(drop)
    }
}
