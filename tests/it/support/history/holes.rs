//! Which calls that ended unknown can have taken the numbers that are missing.
//!
//! A call takes all of its numbers or none, one after the other: so each hole is a sum of whole calls, and each call is in one
//! hole at most. Had it been enough that the sums agree, one block with an unknown outcome would excuse as many single
//! numbers that were lost elsewhere.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// Numbers that nobody got, next to each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hole {
    /// It was there by then: whoever took the numbers had begun before.
    pub(super) by: Duration,
    pub(super) missing: u64,
    pub(super) place: String,
}

/// States of the search, and ways to fill one hole, after which it gives up and takes the rest for explained.
const STATES: usize = 200_000;
const WAYS: usize = 256;

/// The first hole that no choice of calls explains together with those before it; nothing where all are explained. `unknown` are
/// the calls that ended unknown: when each began, and how many numbers it asked for.
pub(super) fn unexplained(mut holes: Vec<Hole>, mut unknown: Vec<(Duration, u64)>) -> Option<Hole> {
    holes.sort_unstable();
    unknown.sort_unstable();
    let mut search = Search { holes: &holes, unknown: &unknown, seen: HashSet::new(), furthest: 0, gave_up: false };
    let explained = search.from(0, 0, BTreeMap::new());
    (!explained && !search.gave_up).then(|| holes[search.furthest].clone())
}

struct Search<'a> {
    holes: &'a [Hole],
    unknown: &'a [(Duration, u64)],
    /// Dead ends: a hole, and the calls that were left for it.
    seen: HashSet<(usize, BTreeMap<u64, u32>)>,
    furthest: usize,
    gave_up: bool,
}

impl Search<'_> {
    /// Can the holes from this one on be explained? `left` counts the calls that had begun, by their size: those of one size
    /// stand for each other, for whoever has begun by one hole has begun by the next.
    fn from(&mut self, hole: usize, mut begun: usize, mut left: BTreeMap<u64, u32>) -> bool {
        let Some(Hole { by, missing, .. }) = self.holes.get(hole) else { return true };
        self.furthest = self.furthest.max(hole);
        while let Some((_, count)) = self.unknown.get(begun).filter(|(began, _)| began <= by) {
            *left.entry(*count).or_default() += 1;
            begun += 1;
        }
        self.gave_up |= self.seen.len() >= STATES;
        if self.gave_up || !self.seen.insert((hole, left.clone())) {
            return false;
        }
        let mut ways = Vec::new();
        choose(*missing, &left, u64::MAX, &mut left.clone(), &mut ways);
        let complete = ways.len() < WAYS;
        let explained = ways.into_iter().any(|left| self.from(hole + 1, begun, left));
        self.gave_up |= !explained && !complete;
        explained
    }
}

/// Every way to make this sum of the calls that are left, as what is left then; large calls first.
fn choose(
    missing: u64,
    all: &BTreeMap<u64, u32>,
    below: u64,
    left: &mut BTreeMap<u64, u32>,
    ways: &mut Vec<BTreeMap<u64, u32>>,
) {
    if missing == 0 {
        ways.push(left.clone());
        return;
    }
    for size in all.keys().rev().filter(|size| **size <= below.min(missing)) {
        if ways.len() >= WAYS {
            return;
        }
        if let Some(count) = left.get_mut(size).filter(|count| **count > 0) {
            *count -= 1;
            choose(missing - size, all, *size, left, ways);
            *left.entry(*size).or_default() += 1;
        }
    }
}
