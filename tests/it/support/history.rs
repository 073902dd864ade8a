//! What callers saw of a counter, and whether it could have been so if every promise was kept.
//!
//! The numbers order the calls, so it takes one sort and one sweep. What the numbers do not order is where a counter was
//! set: each `PUT` therefore has a value from a [`RANGE`] of its own. A value then says which `PUT` it follows, and the
//! `previous` of its answer which one that `PUT` followed: a counter's history is a chain of segments. A `PUT` with an
//! unknown outcome may have happened; where its range was seen, it has, and time says where it may stand.

mod chain;
mod fold;
mod holes;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use chain::{Segments, in_order};
use fold::fold;
use holes::{Hole, unexplained};

/// The values of the k-th `PUT` of a counter begin at k times this, those before the first at 0.
pub(crate) const RANGE: u64 = 1 << 30;

/// One call as its caller saw it. Times count from any one moment. Calls with the same key are attempts of one call.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) counter: usize,
    pub(crate) call: Call,
    pub(crate) key: Option<u64>,
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Call {
    /// So many numbers.
    Take(u64),
    /// A `PUT`; those of one race bear the same ETag as `If-Match`.
    Set {
        value: u64,
        race: Option<u64>,
    },
    Read,
    /// The read after everything was killed and started again.
    Final,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Took {
        first: u64,
        last: u64,
    },
    /// The counter was set, and stood at this before.
    Was(u64),
    Read(u64),
    /// Definite: the ETag was another.
    Mismatch,
    /// Definite: nothing was done.
    Refused,
    /// Nobody knows, or no answer came.
    Unknown,
}

/// Which promise was broken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    /// A number was handed out twice.
    Repeated,
    /// A number is missing, and no call that ended unknown can have taken it.
    Hole,
    /// A call that ended before another began comes after it.
    Order,
    /// A read is behind a call that ended before it began, or behind an earlier read.
    Stale,
    /// What was answered is gone in the end.
    Lost,
    /// Of two answers, each denies the other: a state had two successors.
    Forked,
    /// The counter stood where no call, or only a refused one, can have brought it.
    Phantom,
    /// One key, two outcomes.
    KeyRepeated,
    /// A keyed call was not repeated until it was definite, or never is.
    Undecided,
    /// Of the sets with one ETag, not exactly one won.
    Race,
}

/// A broken promise, and the calls that show it.
pub(crate) struct Violation {
    pub(crate) kind: Kind,
    counter: usize,
    text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at counter {}: {}", self.kind, self.counter, self.text)
    }
}

/// What the checker found.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) violations: Vec<Violation>,
    /// Numbers that nobody got.
    pub(crate) holes: u64,
}

impl Findings {
    fn report(&mut self, kind: Kind, counter: usize, text: String) {
        self.violations.push(Violation { kind, counter, text });
    }

    /// Fails with the violations, where there are any.
    #[track_caller]
    pub(crate) fn expect_none(&self) {
        let shown: Vec<String> = self.violations.iter().take(20).map(ToString::to_string).collect();
        assert!(shown.is_empty(), "{} violations:\n{}", self.violations.len(), shown.join("\n"));
    }

    /// The promises that were broken.
    pub(crate) fn kinds(&self) -> BTreeSet<Kind> {
        self.violations.iter().map(|violation| violation.kind).collect()
    }
}

/// Holds a history against the promises. The calls may stand in any order.
pub(crate) fn check(operations: &[Operation]) -> Findings {
    let mut findings = Findings::default();
    let mut counters: BTreeMap<usize, Vec<Operation>> = BTreeMap::new();
    for operation in fold(operations, &mut findings) {
        counters.entry(operation.counter).or_default().push(operation);
    }
    for (counter, operations) in counters {
        check_races(counter, &operations, &mut findings);
        let segments = Segments::of(counter, &operations, &mut findings);
        let steps = in_order(&operations, &segments);
        check_time(counter, &steps, &mut findings);
        check_numbers(counter, &operations, &steps, &segments, &mut findings);
    }
    findings
}

/// Of the sets with one ETag one wins, and one must, unless the counter was written otherwise or a set may have been.
fn check_races(counter: usize, operations: &[Operation], findings: &mut Findings) {
    let mut races: HashMap<u64, Vec<&Operation>> = HashMap::new();
    let mut raced_only = true;
    for operation in operations {
        match operation.call {
            Call::Set { race: Some(race), .. } => races.entry(race).or_default().push(operation),
            Call::Set { .. } | Call::Take(_) => raced_only = false,
            Call::Read | Call::Final => {}
        }
        raced_only &= operation.outcome != Outcome::Unknown || operation.call == Call::Read;
    }
    for racers in races.into_values() {
        let count = |wanted: fn(&Outcome) -> bool| racers.iter().filter(|racer| wanted(&racer.outcome)).count();
        let (won, lost) = (count(|it| matches!(it, Outcome::Was(_))), count(|it| *it == Outcome::Mismatch));
        if won > 1 || (won == 0 && lost > 0 && raced_only) {
            findings.report(Kind::Race, counter, format!("{won} won: {racers:?}"));
        }
    }
}

/// A call at its place in the counter's history: the segment's rank, the value at which the counter stood then, and
/// whether it only read that.
pub(crate) struct Step<'a> {
    place: (usize, u64, bool),
    segment: u64,
    operation: &'a Operation,
}

/// No call may have ended before one began that stands at an earlier place.
fn check_time(counter: usize, steps: &[Step<'_>], findings: &mut Findings) {
    // Of the calls at earlier places, the one that began last.
    let mut latest: Option<&Operation> = None;
    for at_one_place in steps.chunk_by(|one, other| one.place == other.place) {
        for Step { operation, .. } in at_one_place {
            if let Some(earlier) = latest.filter(|earlier| operation.ended < earlier.began) {
                let kind = match earlier.call {
                    Call::Read => Kind::Stale,
                    Call::Final => Kind::Lost,
                    Call::Take(_) | Call::Set { .. } => Kind::Order,
                };
                findings.report(kind, counter, format!("{operation:?} had ended before {earlier:?} began"));
            }
        }
        let began_last = at_one_place.iter().map(|step| step.operation).max_by_key(|operation| operation.began);
        latest = latest.into_iter().chain(began_last).max_by_key(|operation| operation.began);
    }
}

/// Numbers are handed out once, and none is missing unless calls that may have taken it ended unknown.
fn check_numbers(
    counter: usize,
    operations: &[Operation],
    steps: &[Step<'_>],
    segments: &Segments,
    findings: &mut Findings,
) {
    // Holes: a number of missing numbers, before which moment they were taken, and where.
    let mut holes: Vec<Hole> = Vec::new();
    // The earliest end of this call and all later ones: what comes before it had begun by then.
    let mut earliest_end: Vec<Duration> = steps.iter().map(|step| step.operation.ended).collect();
    for i in (1..earliest_end.len()).rev() {
        earliest_end[i - 1] = earliest_end[i - 1].min(earliest_end[i]);
    }
    let (mut segment, mut covered, mut last) = (0, 0, None::<&Operation>);
    for (step, end) in steps.iter().zip(earliest_end) {
        let operation = step.operation;
        if step.segment != segment {
            // What the last segment ended at is known if the next one's set was answered.
            if let Some(previous) = segments.previous_in(step.segment, segment).filter(|previous| *previous > covered) {
                let place = format!("{} to {previous}", covered + 1);
                holes.push(Hole { by: end, missing: previous - covered, place });
            }
            (segment, covered) = (step.segment, step.segment * RANGE);
        }
        let (first, to) = match operation.outcome {
            Outcome::Took { first, last } => (first, last),
            Outcome::Read(value) => (value + 1, value),
            _ => continue,
        };
        if first > covered + 1 {
            let place = format!("{} to {} before {operation:?}", covered + 1, first - 1);
            holes.push(Hole { by: end, missing: first - 1 - covered, place });
        } else if first <= covered && !reads(operation.call) {
            findings.report(Kind::Repeated, counter, format!("{operation:?} after {last:?}"));
        }
        covered = covered.max(to);
        last = Some(operation);
    }
    findings.holes += holes.iter().map(|hole| hole.missing).sum::<u64>();
    explain(counter, operations, holes, findings);
}

/// Each hole needs calls that ended unknown, and that had begun before the hole was there.
fn explain(counter: usize, operations: &[Operation], holes: Vec<Hole>, findings: &mut Findings) {
    let unknown = operations.iter().filter(|operation| operation.outcome == Outcome::Unknown);
    let takes = unknown.filter_map(|operation| match operation.call {
        Call::Take(count) => Some((operation.began, count)),
        _ => None,
    });
    if let Some(Hole { missing, place, .. }) = unexplained(holes, takes.collect()) {
        let text = format!("the {missing} missing {place} nobody can have taken besides those that are missing before");
        findings.report(Kind::Hole, counter, text);
    }
}

fn reads(call: Call) -> bool {
    matches!(call, Call::Read | Call::Final)
}
