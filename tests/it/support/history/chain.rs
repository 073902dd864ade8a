//! In which order the segments of a counter's history came.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::{Call, Findings, Kind, Operation, Outcome, RANGE, Step, reads};

/// What is known of a counter's segments: for each that was seen, which set opened it and what stands in it.
pub(super) struct Segments {
    /// By the segment that a set opened: where the counter stood before. Only of sets that were answered.
    previous: HashMap<u64, u64>,
    /// By each segment that was seen: its place in the chain.
    rank: HashMap<u64, usize>,
    /// By each segment: the blocks of numbers that were taken in it.
    blocks: HashMap<u64, BTreeMap<u64, u64>>,
}

impl Segments {
    pub(super) fn of(counter: usize, operations: &[Operation], findings: &mut Findings) -> Self {
        let mut segments = Self { previous: HashMap::new(), rank: HashMap::new(), blocks: HashMap::new() };
        for operation in operations {
            match (operation.call, operation.outcome) {
                (Call::Set { value, .. }, Outcome::Was(previous)) => {
                    segments.previous.insert(value / RANGE, previous);
                }
                (_, Outcome::Took { first, last }) => {
                    segments.blocks.entry(first / RANGE).or_default().insert(first, last);
                }
                _ => {}
            }
        }
        segments.refuse_impossible(counter, operations, findings);
        let successors = segments.successors(counter, operations, findings);
        segments.rank = rank(operations, &successors);
        segments
    }

    /// Where the counter stood when `segment` began, if that is known and was in `before`.
    pub(super) fn previous_in(&self, segment: u64, before: u64) -> Option<u64> {
        self.previous.get(&segment).copied().filter(|previous| previous / RANGE == before)
    }

    /// Reports what stands in segments that no set can have opened, and reads in the middle of a block.
    fn refuse_impossible(&self, counter: usize, operations: &[Operation], findings: &mut Findings) {
        let possible: HashSet<u64> = operations
            .iter()
            .filter_map(|operation| match (operation.call, operation.outcome) {
                (Call::Set { value, .. }, Outcome::Was(_) | Outcome::Unknown) => Some(value / RANGE),
                _ => None,
            })
            .chain([0])
            .collect();
        for operation in operations {
            let Some(value) = seen(operation) else { continue };
            if !possible.contains(&(value / RANGE)) {
                findings.report(Kind::Phantom, counter, format!("nobody has set what {operation:?} saw"));
            } else if self.splits_a_block(value) && !matches!(operation.outcome, Outcome::Took { .. }) {
                findings.report(Kind::Phantom, counter, format!("{operation:?} saw half of a block"));
            }
        }
    }

    fn splits_a_block(&self, value: u64) -> bool {
        let blocks = self.blocks.get(&(value / RANGE));
        let below = blocks.and_then(|blocks| blocks.range(..=value).next_back());
        below.is_some_and(|(_, last)| value < *last)
    }

    /// Which segment follows which, as far as answers say so. Reports states that have two successors.
    fn successors(&self, counter: usize, operations: &[Operation], findings: &mut Findings) -> HashMap<u64, u64> {
        let mut successors: HashMap<u64, (u64, &Operation)> = HashMap::new();
        let mut followers = HashSet::new();
        for operation in operations {
            let (Call::Set { value, .. }, Outcome::Was(previous)) = (operation.call, operation.outcome) else {
                continue;
            };
            // The second time that a key is forgotten, which has been reported.
            if !followers.insert(value / RANGE) {
                continue;
            }
            if let Some((_, other)) = successors.insert(previous / RANGE, (value / RANGE, operation)) {
                findings.report(Kind::Forked, counter, format!("{other:?} and {operation:?} followed the same set"));
            }
        }
        for operation in operations {
            let Some(value) = seen(operation) else { continue };
            let Some((_, closing)) = successors.get(&(value / RANGE)) else { continue };
            let Outcome::Was(end) = closing.outcome else { continue };
            if value > end {
                let kind = if operation.call == Call::Final { Kind::Lost } else { Kind::Forked };
                findings.report(kind, counter, format!("{operation:?} is beyond {closing:?}"));
            }
        }
        successors.into_iter().map(|(segment, (next, _))| (segment, next)).collect()
    }
}

/// The value that an answer shows the counter to have stood at.
fn seen(operation: &Operation) -> Option<u64> {
    match operation.outcome {
        Outcome::Took { last, .. } => Some(last),
        Outcome::Was(value) | Outcome::Read(value) => Some(value),
        Outcome::Mismatch | Outcome::Refused | Outcome::Unknown => None,
    }
}

/// Segments that follow each other for certain, and when they must have come.
struct Chain {
    segments: Vec<u64>,
    /// The earliest end of its calls.
    ended: Duration,
    /// The latest beginning of its calls.
    began: Duration,
}

/// Places the segments. Answers chain most of them; sets with unknown outcomes begin chains of their own, which are
/// placed where time allows it.
fn rank(operations: &[Operation], successors: &HashMap<u64, u64>) -> HashMap<u64, usize> {
    // By segment: the earliest end and the latest beginning of its calls.
    let mut spans: BTreeMap<u64, (Duration, Duration)> = BTreeMap::from([(0, (Duration::MAX, Duration::ZERO))]);
    let mut openers: Vec<(u64, Duration)> = Vec::new();
    for operation in operations {
        let mut span = |segment: u64| {
            let (ended, began) = spans.entry(segment).or_insert((Duration::MAX, Duration::ZERO));
            (*ended, *began) = ((*ended).min(operation.ended), (*began).max(operation.began));
        };
        match (operation.call, operation.outcome) {
            (Call::Set { value, .. }, Outcome::Was(previous)) => {
                span(value / RANGE);
                spans.entry(previous / RANGE).or_insert((Duration::MAX, Duration::ZERO));
            }
            (Call::Set { value, .. }, Outcome::Unknown) => openers.push((value / RANGE, operation.began)),
            _ => {
                if let Some(value) = seen(operation) {
                    span(value / RANGE);
                }
            }
        }
    }
    for (segment, begun) in openers {
        if let Some((_, began)) = spans.get_mut(&segment) {
            *began = (*began).max(begun);
        }
    }
    let followers: HashSet<u64> = successors.values().copied().collect();
    // No set opens segment 0, so it is the first head. A segment follows one other at most: no head leads into a circle.
    let heads = spans.keys().copied().filter(|segment| !followers.contains(segment));
    let mut chains: Vec<Chain> = heads.map(|head| Chain::from(head, successors, &spans)).collect();
    // What is left stands in a circle, which the check of the order in time will show.
    let placed: HashSet<u64> = chains.iter().flat_map(|chain| chain.segments.iter().copied()).collect();
    for segment in spans.keys().filter(|segment| !placed.contains(segment)) {
        chains.push(Chain::from(*segment, &HashMap::new(), &spans));
    }
    place(chains).into_iter().flat_map(|chain| chain.segments).zip(0..).collect()
}

impl Chain {
    fn from(head: u64, successors: &HashMap<u64, u64>, spans: &BTreeMap<u64, (Duration, Duration)>) -> Self {
        let mut chain = Self { segments: Vec::new(), ended: Duration::MAX, began: Duration::ZERO };
        let mut next = Some(head);
        while let Some(segment) = next {
            let (ended, began) = spans[&segment];
            (chain.ended, chain.began) = (chain.ended.min(ended), chain.began.max(began));
            chain.segments.push(segment);
            next = successors.get(&segment).copied();
        }
        chain
    }
}

/// A chain may come next if no other one had ended before it was complete. The first is the counter's beginning.
fn place(mut chains: Vec<Chain>) -> Vec<Chain> {
    let mut placed = vec![chains.remove(0)];
    chains.sort_by_key(|chain| chain.began);
    while !chains.is_empty() {
        let may_be_next = |i: &usize| {
            let others = chains.iter().enumerate().filter(|(other, _)| other != i);
            others.map(|(_, other)| other.ended).min().is_none_or(|ended| ended >= chains[*i].began)
        };
        let next = (0..chains.len()).find(may_be_next);
        // Where no order fits, any will show that.
        placed.push(chains.remove(next.unwrap_or_default()));
    }
    placed
}

/// The calls that show where they stand, in the order of the counter's history.
pub(super) fn in_order<'a>(operations: &'a [Operation], segments: &Segments) -> Vec<Step<'a>> {
    let mut steps: Vec<Step<'a>> = operations
        .iter()
        .filter_map(|operation| {
            let value = match (operation.call, operation.outcome) {
                // One that is unknown has a place where its range was seen. It never ended.
                (Call::Set { value, .. }, Outcome::Was(_) | Outcome::Unknown) => value,
                _ => seen(operation)?,
            };
            let segment = value / RANGE;
            let rank = *segments.rank.get(&segment)?;
            // A read in the middle of a block has been reported, and has no place.
            let torn = reads(operation.call) && segments.splits_a_block(value);
            (!torn).then_some(Step { place: (rank, value, reads(operation.call)), segment, operation })
        })
        .collect();
    steps.sort_by_key(|step| step.place);
    steps
}
