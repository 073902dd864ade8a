//! Group commit: turns many concurrent calls into few store operations.
//!
//! Each counter that is called has a line. Calls that arrive while an operation on their counter is under way wait in it
//! together, and the next operation takes them all; an idle counter is never delayed, for its first call leaves at once.
//! Lines that are ready leave together in one batch, and a few batches are under way at a time. So two operations of one
//! process never meet on one counter, and the numbers of a batch are split in the order of arrival. Who waits, what is
//! under way and what may leave is kept in `queue.rs`, `flight.rs` takes batches to the store; here is where calls come in.
//!
//! A call is either *waiting*, and then it can be refused or withdrawn with nothing taken, or *claimed* by a batch, and then
//! only the store knows how it ends. One atomic flag decides between the two.
//!
//! A batch that keeps conflicting with another replica's is split, and its halves go on by themselves, down to single
//! counters: those that nobody else wants are done at once, and one that is wanted everywhere holds up none of them, as
//! long as no more than eight parts are split off; beyond that, one follows the other, and waits for it.
//!
//! There is no state for a counter that nobody is calling.

mod flight;
mod queue;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tracing::{Span, info_span};

use self::flight::{Boarding, depart};
use self::queue::{Limits, Queue, Rejected, Waiting};
use crate::domain::{CounterId, IdempotencyKey};
use crate::metrics::{self, Overload};
use crate::store::{Action, Answer, Cause, ErrorType, Op, Store, StoreError};
use crate::trace;

/// How a call fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Definite: too many calls were waiting.
    #[error("too many calls are waiting")]
    Overloaded,
    /// Definite: the service is stopping.
    #[error("the service is stopping")]
    Draining,
    /// Definite for this call: the first call with its key is still under way.
    #[error("the first call with this key is still under way")]
    KeyInFlight,
    /// What the store says, or what is known of it when the deadline came.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The queue before the store.
#[derive(Clone)]
pub struct Sequencer {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    runtime: Handle,
    queue: Mutex<Queue<Call>>,
    settled: Notify,
}

struct Call {
    op: Op,
    claim: Arc<AtomicBool>,
    answer: oneshot::Sender<Result<Answer, CallError>>,
    since: Instant,
    /// The caller's span, where it is sampled.
    span: Option<Span>,
    /// The wait, as a span below it.
    wait: Option<Span>,
}

impl Waiting for Call {
    fn claim(&self) -> bool {
        claim(&self.claim)
    }

    fn key(&self) -> Option<&IdempotencyKey> {
        Some(&self.op.key.as_ref()?.key)
    }
}

/// Whoever sets the flag first has the call: a batch, to do it, or its caller, to withdraw it.
fn claim(flag: &AtomicBool) -> bool {
    !flag.swap(true, Ordering::AcqRel)
}

/// Withdraws a waiting call when its caller goes away.
struct Withdraw(Arc<AtomicBool>);

impl Drop for Withdraw {
    fn drop(&mut self) {
        claim(&self.0);
    }
}

impl Sequencer {
    /// In front of this store; beyond `max_waiting` calls, further ones are refused. Batches run on `runtime`.
    pub fn new(store: Arc<dyn Store>, max_waiting: usize, runtime: Handle) -> Self {
        metrics::queue_limit(u32::try_from(max_waiting).unwrap_or(u32::MAX));
        let limits = Limits { waiting: max_waiting, flights: store.flights() };
        let (queue, settled) = (Mutex::new(Queue::new(limits)), Notify::new());
        Self { shared: Arc::new(Shared { store, runtime, queue, settled }) }
    }

    /// Does one operation on one counter, by the deadline. Dropping the future withdraws the call if it has not left.
    pub async fn call(&self, counter: CounterId, op: Op, deadline: Instant) -> Result<Answer, CallError> {
        let reads = op.action == Action::Read;
        let key = op.key.as_ref().map(|key| key.key.clone());
        let (answer, answered) = oneshot::channel();
        let flag = Arc::new(AtomicBool::new(false));
        let _withdraw = Withdraw(flag.clone());
        let span = trace::sampled_span();
        let wait = span.as_ref().map(|_| info_span!("queue"));
        let call = Call { op, claim: flag.clone(), answer, since: Instant::now(), span, wait };
        self.shared.enqueue(counter.clone(), call)?;

        let result = match tokio::time::timeout_at(deadline.into(), answered).await {
            Ok(Ok(result)) => result,
            // The task that had the call is gone, and with it the answer.
            Ok(Err(_)) => {
                Err(StoreError::OutcomeUnknown(Cause::new(ErrorType::Internal, "the commit ended in a panic")).into())
            }
            Err(_) if claim(&flag) => Err(match key {
                Some(key) if self.shared.lock().is_under_way(&counter, &key) => CallError::KeyInFlight,
                _ => StoreError::Unavailable(Cause::new(
                    ErrorType::QueueTimeout,
                    "the call did not leave by its deadline",
                ))
                .into(),
            }),
            Err(_) => Err(StoreError::OutcomeUnknown(Cause::timeout()).into()),
        };
        match result {
            // A read has no outcome that could be unknown: it has merely failed.
            Err(CallError::Store(StoreError::OutcomeUnknown(cause))) if reads => {
                Err(StoreError::Unavailable(cause).into())
            }
            Err(CallError::Store(StoreError::OutcomeUnknown(_))) => {
                metrics::unknown_outcome(self.shared.store.system());
                result
            }
            _ => result,
        }
    }

    /// Refuses new calls and waits until those under way and those waiting have ended. `false` where the time did not
    /// suffice.
    pub async fn close(&self, timeout: Duration) -> bool {
        self.shared.lock().close();
        let settled = async {
            loop {
                let notified = self.shared.settled.notified();
                if self.shared.lock().is_idle() {
                    return;
                }
                notified.await;
            }
        };
        tokio::time::timeout(timeout, settled).await.is_ok()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue<Call>> {
        // Nothing panics while it holds this lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(self: &Arc<Self>, counter: CounterId, call: Call) -> Result<(), CallError> {
        let mut queue = self.lock();
        queue.enter(counter, call).map_err(|rejected| match rejected {
            Rejected::Closed => CallError::Draining,
            Rejected::Full => {
                metrics::overloaded(Overload::Queue);
                CallError::Overloaded
            }
        })?;
        self.dispatch(queue);
        Ok(())
    }

    /// Lets a flight board where there is anything to do and one is free.
    fn dispatch(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue<Call>>) {
        let boards = queue.board();
        metrics::queue_depth(u32::try_from(queue.waiting()).unwrap_or(u32::MAX));
        if queue.is_idle() {
            self.settled.notify_waiters();
        }
        // Not under the lock: a runtime that is shutting down drops what it is given, and a boarding that is dropped locks.
        drop(queue);
        if boards {
            self.runtime.spawn(depart(self.clone(), Boarding(Some(self.clone()))));
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
