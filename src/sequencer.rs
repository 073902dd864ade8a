//! Group commit: turns many concurrent calls into few store operations.
//!
//! Each counter that is called has a line. Calls that arrive while an operation on their counter is under way wait in it
//! together, and the next operation takes them all; an idle counter is never delayed, for its first call leaves at once.
//! Lines that are ready leave together in one batch, and a few batches are under way at a time. So two operations of one
//! process never meet on one counter, and the numbers of a batch are split in the order of arrival. Who waits, what is
//! under way and what may leave is kept in `queue.rs`; here is what makes it move.
//!
//! A call is either *waiting*, and then it can be refused or withdrawn with nothing taken, or *claimed* by a batch, and then
//! only the store knows how it ends. One atomic flag decides between the two.
//!
//! A batch that keeps conflicting with another replica's is split, and its halves go on by themselves, down to single
//! counters: those that nobody else wants are done at once, and one that is wanted everywhere holds up none of them.
//!
//! There is no state for a counter that nobody is calling.

mod queue;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::trace::TraceContextExt;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tracing::{Instrument, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use self::queue::{Departure, Limits, Queue, Rejected, Waiting};
use crate::domain::{CounterId, IdempotencyKey, Timestamp};
use crate::metrics::{self, CommitOutcome, Overload};
use crate::store::{Action, Answer, Batch, Cause, Group, Op, Outcome, Store, StoreError};
use crate::telemetry;

/// How often a flight that is about to depart lets other tasks go first, as long as that brings further calls.
const GATHERINGS: usize = 16;

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
        let span = telemetry::sampled_span();
        let wait = span.as_ref().map(|_| info_span!("queue"));
        let call = Call { op, claim: flag.clone(), answer, since: Instant::now(), span, wait };
        self.shared.enqueue(counter.clone(), call)?;

        let result = match tokio::time::timeout_at(deadline.into(), answered).await {
            Ok(Ok(result)) => result,
            // The task that had the call is gone, and with it the answer.
            Ok(Err(_)) => Err(StoreError::OutcomeUnknown(Cause::new("internal", "the commit ended in a panic")).into()),
            Err(_) if claim(&flag) => Err(match key {
                Some(key) if self.shared.lock().is_under_way(&counter, &key) => CallError::KeyInFlight,
                _ => StoreError::Unavailable(Cause::new("queue_timeout", "the call did not leave by its deadline"))
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

/// A flight that is about to depart. It is cancelled where the task that has it ends early.
struct Boarding(Option<Arc<Shared>>);

impl Boarding {
    /// Claims the calls that leave now.
    fn close(mut self) -> Option<(Flight, Batch, Vec<Vec<Caller>>)> {
        let shared = self.0.take()?;
        let mut queue = shared.lock();
        let departure = queue.depart();
        let counters: Vec<_> = departure.iter().map(|(counter, _)| counter.clone()).collect();
        // There may be more than this one has room for.
        shared.dispatch(queue);
        if counters.is_empty() {
            return None;
        }
        let (batch, callers) = seat(departure);
        Some((Flight { shared, kind: queue::Flight::Whole, counters }, batch, callers))
    }
}

impl Drop for Boarding {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            // Nothing boards in its place: it happens only in a runtime that is shutting down.
            shared.lock().cancel();
        }
    }
}

/// Gathers the calls that are about to come, and leaves with them.
async fn depart(shared: Arc<Shared>, boarding: Boarding) {
    // Every task that can run goes first: each connection that has a request brings its call. That takes microseconds where
    // there is nothing to do, and makes one batch of many small ones where there is much. A batch that is full already does
    // not wait for that: in an overload, thousands of tasks can run.
    let mut waiting = 0;
    for _ in 0..GATHERINGS {
        if shared.lock().waiting() >= queue::MAX_BATCH {
            break;
        }
        tokio::task::yield_now().await;
        let before = std::mem::replace(&mut waiting, shared.lock().waiting());
        if waiting <= before {
            break;
        }
    }
    if let Some((flight, batch, callers)) = boarding.close() {
        fly(flight, batch, callers).await;
    }
}

fn seat(departure: Departure<Call>) -> (Batch, Vec<Vec<Caller>>) {
    let (mut groups, mut callers) = (Vec::with_capacity(departure.len()), Vec::with_capacity(departure.len()));
    for (counter, calls) in departure {
        let (ops, group_callers) = calls.into_iter().map(Caller::split).unzip();
        groups.push(Group { counter, ops });
        callers.push(group_callers);
    }
    (Batch { groups, now: Timestamp::now() }, callers)
}

/// What is left of a call once its operation has gone into a batch.
struct Caller {
    answer: oneshot::Sender<Result<Answer, CallError>>,
    keyed: bool,
    span: Option<Span>,
}

impl Caller {
    fn split(call: Call) -> (Op, Self) {
        metrics::queue_wait(call.since.elapsed());
        drop(call.wait);
        let keyed = call.op.key.is_some();
        (call.op, Self { answer: call.answer, keyed, span: call.span })
    }
}

/// One batch under way. However it ends, even in a panic, its counters are free again afterwards.
struct Flight {
    shared: Arc<Shared>,
    kind: queue::Flight,
    counters: Vec<CounterId>,
}

impl Flight {
    /// Takes the counters from `at` on into a flight of their own.
    fn split_off(&mut self, at: usize) -> Self {
        let kind = self.shared.lock().split();
        Self { shared: self.shared.clone(), kind, counters: self.counters.split_off(at) }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.land(self.kind, std::mem::take(&mut self.counters));
        self.shared.dispatch(queue);
    }
}

fn launch(flight: Flight, batch: Batch, callers: Vec<Vec<Caller>>) {
    let runtime = flight.shared.runtime.clone();
    runtime.spawn(fly(flight, batch, callers));
}

async fn fly(mut flight: Flight, mut batch: Batch, mut callers: Vec<Vec<Caller>>) {
    let (result, outcome) = loop {
        let calls = callers.iter().map(Vec::len).sum::<usize>();
        let held = metrics::commit_in_flight();
        metrics::commit_started(u32::try_from(calls).unwrap_or(u32::MAX));
        let span = commit_span(&callers, calls);
        let started = Instant::now();
        let result = flight.shared.store.commit(&batch).instrument(span).await;
        let splits = matches!(result, Err(StoreError::Conflict(_))) && batch.groups.len() > 1;
        let outcome = match &result {
            Ok(_) => CommitOutcome::Committed,
            Err(StoreError::OutcomeUnknown(_)) => CommitOutcome::Unknown,
            Err(_) if splits => CommitOutcome::Split,
            Err(_) => CommitOutcome::Refused,
        };
        metrics::commit_ended(outcome, started.elapsed());
        drop(held);
        if !splits {
            break (result, outcome);
        }
        let half = batch.groups.len() / 2;
        let other = Batch { groups: batch.groups.split_off(half), ..batch };
        let (other_flight, other_callers) = (flight.split_off(half), callers.split_off(half));
        launch(other_flight, other, other_callers);
    };
    // The counters are free before their callers hear of it: whoever calls again at once is not held up.
    drop(flight);
    match result {
        Ok(answers) => {
            for (caller, answer) in callers.into_iter().flatten().zip(answers.into_iter().flatten()) {
                count(&answer);
                // A caller that has gone away is not told.
                let _ = caller.answer.send(Ok(answer));
            }
        }
        Err(error) => {
            let calls = callers.iter().map(Vec::len).sum::<usize>();
            tracing::warn!(%error, calls, outcome = outcome.as_str(), "a commit failed");
            for caller in callers.into_iter().flatten() {
                let error = match &error {
                    // What a keyed call conflicts with until its deadline is the first call with its key.
                    StoreError::Conflict(_) if caller.keyed => CallError::KeyInFlight,
                    error => error.clone().into(),
                };
                let _ = caller.answer.send(Err(error));
            }
        }
    }
}

fn count(answer: &Answer) {
    match answer.outcome {
        _ if answer.replayed => metrics::idempotent_replay(),
        Outcome::Taken { first, last } => metrics::numbers_issued(last.get() - first.get() + 1),
        _ => {}
    }
}

/// The commit's span: a child of the first sampled call that it serves, linked to and from the others.
fn commit_span(callers: &[Vec<Caller>], calls: usize) -> Span {
    let span = info_span!(parent: None, "commit", counter_api.batch.size = i64::try_from(calls).unwrap_or(i64::MAX), otel.kind = "internal");
    let mut sampled = callers.iter().flatten().filter_map(|caller| caller.span.as_ref());
    if let Some(first) = sampled.next() {
        // It fails only for a span that was entered already, which this one was not.
        let _ = span.set_parent(first.context());
    }
    let own = span.context().span().span_context().clone();
    for other in sampled {
        span.add_link(other.context().span().span_context().clone());
        other.add_link(own.clone());
    }
    span
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
