//! Group commit: turns many concurrent calls into few store operations.
//!
//! Each counter that is called has a line. Calls that arrive while an operation on their counter is under way wait in it
//! together, and the next operation takes them all; an idle counter is never delayed, for its first call leaves at once.
//! Lines that are ready leave together in one batch, and a few batches are under way at a time. So two operations of one
//! process never meet on one counter, and the numbers of a batch are split in the order of arrival.
//!
//! A call is either *waiting*, and then it can be refused or withdrawn with nothing taken, or *claimed* by a batch, and then
//! only the store knows how it ends. One atomic flag decides between the two.
//!
//! There is no state for a counter that nobody is calling.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::trace::TraceContextExt;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tracing::{Instrument, Span, field, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::domain::{CounterId, IdempotencyKey, Timestamp};
use crate::metrics::{self, CommitOutcome, Overload};
use crate::store::{Action, Answer, Batch, Cause, Group, Op, Outcome, Store, StoreError};

/// Calls that one batch serves at most: what one transaction does well within its deadline.
const MAX_BATCH: usize = 1_000;

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
    max_waiting: usize,
    runtime: Handle,
    state: Mutex<State>,
    settled: Notify,
}

#[derive(Default)]
struct State {
    lines: HashMap<CounterId, Line>,
    /// Counters with waiting calls and no operation under way, longest wait first.
    ready: VecDeque<CounterId>,
    waiting: usize,
    flights: usize,
    closed: bool,
}

/// The calls of one counter.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Call>,
    /// Keys of the calls under way; nothing where there is no operation under way.
    under_way: Option<Vec<IdempotencyKey>>,
}

struct Call {
    op: Op,
    claim: Arc<AtomicBool>,
    answer: oneshot::Sender<Result<Answer, CallError>>,
    since: Instant,
    span: Span,
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
        let (state, settled) = (Mutex::default(), Notify::new());
        Self { shared: Arc::new(Shared { store, max_waiting, runtime, state, settled }) }
    }

    /// Does one operation on one counter, by the deadline. Dropping the future withdraws the call if it has not left.
    pub async fn call(&self, counter: CounterId, op: Op, deadline: Instant) -> Result<Answer, CallError> {
        let reads = op.action == Action::Read;
        let key = op.key.as_ref().map(|key| key.key.clone());
        let (answer, answered) = oneshot::channel();
        let flag = Arc::new(AtomicBool::new(false));
        let _withdraw = Withdraw(flag.clone());
        let call = Call { op, claim: flag.clone(), answer, since: Instant::now(), span: Span::current() };
        self.shared.enqueue(counter.clone(), call)?;

        let result = match tokio::time::timeout_at(deadline.into(), answered).await {
            Ok(Ok(result)) => result,
            // The task that had the call is gone, and with it the answer.
            Ok(Err(_)) => Err(StoreError::OutcomeUnknown(Cause::new("internal", "the commit ended in a panic")).into()),
            Err(_) if claim(&flag) => Err(match key {
                Some(key) if self.shared.is_under_way(&counter, &key) => CallError::KeyInFlight,
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
        self.shared.lock().closed = true;
        let settled = async {
            loop {
                let notified = self.shared.settled.notified();
                {
                    let state = self.shared.lock();
                    if state.flights == 0 && state.waiting == 0 {
                        return;
                    }
                }
                notified.await;
            }
        };
        tokio::time::timeout(timeout, settled).await.is_ok()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(self: &Arc<Self>, counter: CounterId, call: Call) -> Result<(), CallError> {
        let mut state = self.lock();
        if state.closed {
            return Err(CallError::Draining);
        }
        if state.waiting >= self.max_waiting {
            metrics::overloaded(Overload::Queue);
            return Err(CallError::Overloaded);
        }
        state.waiting += 1;
        let line = state.lines.entry(counter.clone()).or_default();
        line.waiting.push_back(call);
        if line.under_way.is_none() && line.waiting.len() == 1 {
            state.ready.push_back(counter);
        }
        self.dispatch(state);
        Ok(())
    }

    fn is_under_way(&self, counter: &CounterId, key: &IdempotencyKey) -> bool {
        let state = self.lock();
        let keys = state.lines.get(counter).and_then(|line| line.under_way.as_ref());
        keys.is_some_and(|keys| keys.contains(key))
    }

    /// Lets batches leave as long as there is anything to do and a flight free.
    fn dispatch(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let mut departures = Vec::new();
        while state.flights < self.store.flights() {
            let Some((batch, callers)) = state.take_batch() else { break };
            state.flights += 1;
            let counters = batch.groups.iter().map(|group| group.counter.clone()).collect();
            departures.push((Flight { shared: self.clone(), counters }, batch, callers));
        }
        metrics::queue_depth(u32::try_from(state.waiting).unwrap_or(u32::MAX));
        if state.flights == 0 && state.waiting == 0 {
            self.settled.notify_waiters();
        }
        // Not under the lock: a runtime that is shutting down drops what it is given, and a flight that is dropped locks.
        drop(state);
        for (flight, batch, callers) in departures {
            self.runtime.spawn(fly(flight, batch, callers));
        }
    }
}

impl State {
    /// Claims the calls that have waited longest, at most [`MAX_BATCH`] of them.
    fn take_batch(&mut self) -> Option<(Batch, Vec<Vec<Caller>>)> {
        let (mut groups, mut callers) = (Vec::new(), Vec::new());
        let mut room = MAX_BATCH;
        while room > 0
            && let Some(counter) = self.ready.pop_front()
        {
            let Some(line) = self.lines.get_mut(&counter) else { continue };
            let taken: Vec<Call> = line.waiting.drain(..line.waiting.len().min(room)).collect();
            self.waiting -= taken.len();
            let claimed: Vec<Call> = taken.into_iter().filter(|call| claim(&call.claim)).collect();
            if claimed.is_empty() {
                // All of them were withdrawn.
                if line.waiting.is_empty() {
                    self.lines.remove(&counter);
                } else {
                    self.ready.push_back(counter);
                }
                continue;
            }
            room -= claimed.len();
            line.under_way = Some(claimed.iter().filter_map(|call| Some(call.op.key.as_ref()?.key.clone())).collect());
            let (ops, group_callers) = claimed.into_iter().map(Caller::split).unzip();
            groups.push(Group { counter, ops });
            callers.push(group_callers);
        }
        (!groups.is_empty()).then(|| (Batch { groups, now: Timestamp::now() }, callers))
    }
}

/// What is left of a call once its operation has gone into a batch.
struct Caller {
    answer: oneshot::Sender<Result<Answer, CallError>>,
    keyed: bool,
    span: Span,
}

impl Caller {
    fn split(call: Call) -> (Op, Self) {
        metrics::queue_wait(call.since.elapsed());
        let keyed = call.op.key.is_some();
        (call.op, Self { answer: call.answer, keyed, span: call.span })
    }
}

/// One batch under way. However it ends, even in a panic, its counters are free again afterwards.
struct Flight {
    shared: Arc<Shared>,
    counters: Vec<CounterId>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.flights -= 1;
        for counter in self.counters.drain(..) {
            let Some(line) = state.lines.get_mut(&counter) else { continue };
            line.under_way = None;
            if line.waiting.is_empty() {
                state.lines.remove(&counter);
            } else {
                state.ready.push_back(counter);
            }
        }
        self.shared.dispatch(state);
    }
}

async fn fly(flight: Flight, batch: Batch, callers: Vec<Vec<Caller>>) {
    let calls = callers.iter().map(Vec::len).sum::<usize>();
    let _held = metrics::commit_in_flight();
    metrics::commit_started(u32::try_from(calls).unwrap_or(u32::MAX));
    let span = commit_span(&callers, calls);
    let started = Instant::now();
    let result = flight.shared.store.commit(&batch).instrument(span).await;
    let outcome = match &result {
        Ok(_) => CommitOutcome::Committed,
        Err(StoreError::OutcomeUnknown(_)) => CommitOutcome::Unknown,
        Err(_) => CommitOutcome::Refused,
    };
    metrics::commit_ended(outcome, started.elapsed());
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
    let span = info_span!(parent: None, "commit", counter_api.batch.size = calls, otel.kind = "internal", otel.status_code = field::Empty);
    let sampled = || {
        callers.iter().flatten().filter_map(|caller| {
            let context = caller.span.context();
            context.span().span_context().is_sampled().then_some((caller, context))
        })
    };
    if let Some((_, context)) = sampled().next() {
        // It fails only for a span that was entered already, which this one was not.
        let _ = span.set_parent(context);
    }
    let own = span.context().span().span_context().clone();
    for (caller, context) in sampled().skip(1) {
        span.add_link(context.span().span_context().clone());
        caller.span.add_link(own.clone());
    }
    span
}

#[cfg(test)]
mod tests;
