//! Which calls wait, which counters are under way, and what may leave next.
//!
//! No clock, no task and no store: a value that changes by the methods below and by nothing else. So a model checker can
//! take it through every order of events (`model.rs`), and what it finds there holds for what runs.

#[cfg(test)]
mod inspect;

use std::collections::{HashMap, VecDeque};

use crate::domain::{CounterId, IdempotencyKey};

/// Calls that one batch serves at most: what one transaction does well within its deadline.
pub(super) const MAX_BATCH: usize = 1_000;

/// Flights that were split off at most: each takes a connection to the database, and there are few. At that number nothing new
/// leaves until some have landed, and what is split further goes on one part after the other.
pub(super) const MAX_SPLITS: usize = 8;

/// A call that waits.
pub(super) trait Waiting {
    /// Takes the call, to do it; `false` where its caller has withdrawn it.
    fn claim(&self) -> bool;

    /// Its idempotency key.
    fn key(&self) -> Option<&IdempotencyKey>;
}

/// What may wait and be under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Limits {
    /// Calls that wait.
    pub(super) waiting: usize,
    /// Flights, those not counted that were split off.
    pub(super) flights: usize,
}

/// Why a call may not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejected {
    Full,
    Closed,
}

/// The calls of some counters that leave together, and the calls of each in the order of their arrival.
pub(super) type Departure<C> = Vec<(CounterId, Vec<C>)>;

/// How a flight came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Flight {
    /// It departed.
    Whole,
    /// It was split off from one that conflicted.
    Split,
}

/// The calls before the store.
#[derive(Debug, Clone)]
pub(super) struct Queue<C> {
    limits: Limits,
    lines: HashMap<CounterId, Line<C>>,
    /// Counters with waiting calls and no flight under way, longest wait first.
    ready: VecDeque<CounterId>,
    waiting: usize,
    flights: usize,
    splits: usize,
    /// Whether a flight is about to depart: further calls can still go with it.
    boarding: bool,
    closed: bool,
}

/// The calls of one counter.
#[derive(Debug, Clone, Hash)]
struct Line<C> {
    waiting: VecDeque<C>,
    /// Keys of the calls under way; nothing where no flight is.
    under_way: Option<Vec<IdempotencyKey>>,
}

impl<C: Waiting> Queue<C> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            lines: HashMap::new(),
            ready: VecDeque::new(),
            waiting: 0,
            flights: 0,
            splits: 0,
            boarding: false,
            closed: false,
        }
    }

    /// Lets a call wait behind those of the same counter.
    pub(super) fn enter(&mut self, counter: CounterId, call: C) -> Result<(), Rejected> {
        if self.closed {
            return Err(Rejected::Closed);
        }
        if self.waiting >= self.limits.waiting {
            return Err(Rejected::Full);
        }
        self.waiting += 1;
        match self.lines.get_mut(&counter) {
            Some(line) => line.waiting.push_back(call),
            None => {
                self.ready.push_back(counter.clone());
                self.lines.insert(counter, Line { waiting: VecDeque::from([call]), under_way: None });
            }
        }
        Ok(())
    }

    /// Should a flight board now? It counts as under way from here on, and must [`depart`](Self::depart) or
    /// [`cancel`](Self::cancel).
    pub(super) fn board(&mut self) -> bool {
        let may =
            !self.boarding && !self.ready.is_empty() && self.flights < self.limits.flights && self.splits < MAX_SPLITS;
        if may {
            self.boarding = true;
            self.flights += 1;
        }
        may
    }

    /// Ends the boarding without a departure.
    pub(super) fn cancel(&mut self) {
        self.boarding = false;
        self.flights -= 1;
    }

    /// Ends the boarding: claims the calls that have waited longest, at most [`MAX_BATCH`] of them. Where all calls were
    /// withdrawn, nothing departs and the flight is over.
    pub(super) fn depart(&mut self) -> Departure<C> {
        self.boarding = false;
        let mut departure = Vec::new();
        let mut room = MAX_BATCH;
        while room > 0
            && let Some(counter) = self.ready.pop_front()
        {
            let Some(line) = self.lines.get_mut(&counter) else { continue };
            let taken = line.waiting.len().min(room);
            self.waiting -= taken;
            let claimed: Vec<C> = line.waiting.drain(..taken).filter(C::claim).collect();
            if claimed.is_empty() {
                self.settle(counter);
                continue;
            }
            room -= claimed.len();
            line.under_way = Some(claimed.iter().filter_map(|call| call.key().cloned()).collect());
            departure.push((counter, claimed));
        }
        if departure.is_empty() {
            self.flights -= 1;
        }
        departure
    }

    /// Lets a part of a flight go on as one of its own; nothing where there are enough of them.
    pub(super) fn split(&mut self) -> Option<Flight> {
        let may = self.splits < MAX_SPLITS;
        self.splits += usize::from(may);
        may.then_some(Flight::Split)
    }

    /// A part of a flight that goes on has come back: its counters may leave again.
    pub(super) fn free(&mut self, counters: Vec<CounterId>) {
        for counter in counters {
            self.settle(counter);
        }
    }

    /// Ends a flight: its counters may leave again.
    pub(super) fn land(&mut self, flight: Flight, counters: Vec<CounterId>) {
        match flight {
            Flight::Whole => self.flights -= 1,
            Flight::Split => self.splits -= 1,
        }
        self.free(counters);
    }

    /// A counter has nothing under way: it is ready where calls wait, and forgotten where none do.
    fn settle(&mut self, counter: CounterId) {
        let Some(line) = self.lines.get_mut(&counter) else { return };
        line.under_way = None;
        if line.waiting.is_empty() {
            self.lines.remove(&counter);
        } else {
            self.ready.push_back(counter);
        }
    }

    /// Refuses what comes from now on.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Is a call with this key under way?
    pub(super) fn is_under_way(&self, counter: &CounterId, key: &IdempotencyKey) -> bool {
        let keys = self.lines.get(counter).and_then(|line| line.under_way.as_ref());
        keys.is_some_and(|keys| keys.contains(key))
    }

    /// How many calls wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Does nothing wait and is nothing under way?
    pub(super) fn is_idle(&self) -> bool {
        self.waiting == 0 && self.flights == 0 && self.splits == 0
    }
}
