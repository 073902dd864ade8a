//! Flights: how a batch gathers the calls that wait, goes to the store, and comes back with their answers.

use std::iter::repeat;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use opentelemetry::trace::TraceContextExt;
use tokio::sync::oneshot;
use tracing::{Instrument, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::queue::{self, Departure};
use super::{Call, CallError, Shared};
use crate::domain::{CounterId, Timestamp};
use crate::metrics::{self, CommitOutcome};
use crate::store::{Answer, Batch, ErrorType, Group, Op, Outcome, StoreError};

/// How often a flight that is about to depart lets other tasks go first, as long as that brings further calls.
const GATHERINGS: usize = 16;

/// A flight that is about to depart. It is cancelled where the task that has it ends early.
pub(super) struct Boarding(pub(super) Option<Arc<Shared>>);

impl Boarding {
    /// Claims the calls that leave now.
    fn close(mut self) -> Option<(Flight, Part)> {
        let shared = self.0.take()?;
        let mut queue = shared.lock();
        let departure = queue.depart();
        let counters: Vec<_> = departure.iter().map(|(counter, _)| counter.clone()).collect();
        // There may be more than this one has room for.
        shared.dispatch(queue);
        if counters.is_empty() {
            return None;
        }
        Some((Flight { shared, kind: queue::Flight::Whole, counters }, Part::of(departure)))
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
pub(super) async fn depart(shared: Arc<Shared>, boarding: Boarding) {
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
    if let Some((flight, part)) = boarding.close() {
        fly(flight, part).await;
    }
}

/// A batch, and who waits for the answers to its operations.
struct Part {
    batch: Batch,
    callers: Vec<Vec<Caller>>,
}

impl Part {
    fn of(departure: Departure<Call>) -> Self {
        let (mut groups, mut callers) = (Vec::with_capacity(departure.len()), Vec::with_capacity(departure.len()));
        for (counter, calls) in departure {
            let (ops, group_callers) = calls.into_iter().map(Caller::split).unzip();
            groups.push(Group { counter, ops });
            callers.push(group_callers);
        }
        Self { batch: Batch { groups, now: Timestamp::now() }, callers }
    }

    /// How many counters it has.
    fn counters(&self) -> usize {
        self.batch.groups.len()
    }

    fn calls(&self) -> usize {
        self.callers.iter().map(Vec::len).sum()
    }

    /// Have all of its callers gone away?
    fn is_forsaken(&self) -> bool {
        self.callers.iter().flatten().all(|caller| caller.answer.is_closed())
    }

    /// Takes the counters from `at` on into a part of their own.
    fn split_off(&mut self, at: usize) -> Self {
        let batch = Batch { groups: self.batch.groups.split_off(at), ..self.batch };
        Self { batch, callers: self.callers.split_off(at) }
    }
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

/// Counters that are under way. However that ends, even in a panic, they are free again afterwards.
struct Flight {
    shared: Arc<Shared>,
    kind: queue::Flight,
    /// Those of the part that is at the store, and then those of the parts that wait for it.
    counters: Vec<CounterId>,
}

impl Flight {
    /// Takes these counters into a flight of their own; nothing where there are enough flights.
    fn split_off(&mut self, counters: Range<usize>) -> Option<Self> {
        let kind = self.shared.lock().split()?;
        Some(Self { shared: self.shared.clone(), kind, counters: self.counters.drain(counters).collect() })
    }

    /// Turns from a part with so many counters to the next one that somebody waits for, if there is any.
    fn turn_to(&mut self, mut done: usize, later: &mut Vec<Part>) -> Option<Part> {
        let next = loop {
            let mut next = later.pop()?;
            if !next.is_forsaken() {
                next.batch.now = Timestamp::now();
                break next;
            }
            done += next.counters();
        };
        let mut queue = self.shared.lock();
        queue.free(self.counters.drain(..done).collect());
        self.shared.dispatch(queue);
        Some(next)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.land(self.kind, std::mem::take(&mut self.counters));
        self.shared.dispatch(queue);
    }
}

fn launch(flight: Flight, part: Part) {
    let runtime = flight.shared.runtime.clone();
    runtime.spawn(fly(flight, part));
}

async fn fly(mut flight: Flight, mut part: Part) {
    let mut later = Vec::new();
    loop {
        let (result, outcome) = commit(&mut flight, &mut part, &mut later).await;
        // What waits was never sent, and would be answered no better, after its callers have gone: nothing of it is taken.
        let unsent = match &result {
            Err(StoreError::Unavailable(cause) | StoreError::OutcomeUnknown(cause)) => {
                Some((std::mem::take(&mut later), StoreError::Unavailable(cause.clone())))
            }
            _ => None,
        };
        let next = flight.turn_to(part.counters(), &mut later);
        let ended = match next {
            Some(next) => std::mem::replace(&mut part, next),
            None => {
                // The counters are free before their callers hear of it: whoever calls again at once is not held up.
                drop(flight);
                tell(part, result, outcome);
                for (part, error) in unsent.into_iter().flat_map(|(parts, error)| parts.into_iter().zip(repeat(error)))
                {
                    tell(part, Err(error), CommitOutcome::Refused);
                }
                return;
            }
        };
        tell(ended, result, outcome);
    }
}

type Answers = Result<Vec<Vec<Answer>>, StoreError>;

/// Takes a batch to the store, or as much of its front as does not conflict.
async fn commit(flight: &mut Flight, part: &mut Part, later: &mut Vec<Part>) -> (Answers, CommitOutcome) {
    loop {
        let (counters, calls) = (part.counters(), part.calls());
        let held = metrics::commit_in_flight();
        metrics::commit_started(u32::try_from(calls).unwrap_or(u32::MAX));
        let span = commit_span(&part.callers, calls);
        let started = Instant::now();
        let result = flight.shared.store.commit(&part.batch).instrument(span).await;
        let splits = matches!(result, Err(StoreError::Conflict(_))) && counters > 1;
        let outcome = match &result {
            Ok(_) => CommitOutcome::Committed,
            Err(StoreError::OutcomeUnknown(_)) => CommitOutcome::Unknown,
            Err(_) if splits => CommitOutcome::Split,
            Err(_) => CommitOutcome::Refused,
        };
        metrics::commit_ended(outcome, started.elapsed());
        drop(held);
        if !splits {
            return (result, outcome);
        }
        let half = counters / 2;
        let other = part.split_off(half);
        match flight.split_off(half..counters) {
            Some(own) => launch(own, other),
            None => later.push(other),
        }
    }
}

/// Tells the callers how it ended.
fn tell(part: Part, result: Answers, outcome: CommitOutcome) {
    match result {
        Ok(answers) => {
            for (caller, answer) in part.callers.into_iter().flatten().zip(answers.into_iter().flatten()) {
                count(&answer);
                // A caller that has gone away is not told.
                let _ = caller.answer.send(Ok(answer));
            }
        }
        Err(error) => {
            tracing::warn!(%error, calls = part.calls(), outcome = outcome.as_str(), "a commit failed");
            // Whose key it is, the store does not say: it is known where there is but one.
            let one_key = part.callers.iter().flatten().filter(|caller| caller.keyed).count() == 1;
            for caller in part.callers.into_iter().flatten() {
                let error = match &error {
                    StoreError::Conflict(cause) if caller.keyed && one_key && cause.kind == ErrorType::KeyConflict => {
                        CallError::KeyInFlight
                    }
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
        Outcome::Taken { first, last } => {
            metrics::numbers_issued(last.get().checked_sub(first.get()).map_or(0, |further| further + 1));
        }
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
