//! What tests see of a queue.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use super::{MAX_SPLITS, Queue, Waiting};
use crate::domain::CounterId;

impl<C: Waiting> Queue<C> {
    /// How many counters there is any state for.
    pub(in crate::sequencer) fn counters(&self) -> usize {
        self.lines.len()
    }

    /// The calls that wait, those that were withdrawn included.
    pub(in crate::sequencer) fn calls(&self) -> impl Iterator<Item = &C> {
        self.lines.values().flat_map(|line| &line.waiting)
    }

    /// The counters that a flight has.
    pub(in crate::sequencer) fn under_way(&self) -> impl Iterator<Item = &CounterId> {
        self.lines.iter().filter(|(_, line)| line.under_way.is_some()).map(|(counter, _)| counter)
    }

    /// Does everything in here agree with everything else?
    pub(in crate::sequencer) fn is_sound(&self) -> bool {
        let ready: HashSet<_> = self.ready.iter().collect();
        self.waiting == self.calls().count()
            && self.waiting <= self.limits.waiting
            && self.flights <= self.limits.flights
            && self.splits <= MAX_SPLITS
            && (self.flights > 0 || !self.boarding)
            && ready.len() == self.ready.len()
            && ready.iter().all(|&counter| self.lines.contains_key(counter))
            && self.lines.iter().all(|(counter, line)| match line.under_way {
                Some(_) => !ready.contains(counter) && self.flights + self.splits > 0,
                None => ready.contains(counter) && !line.waiting.is_empty(),
            })
    }
}

impl<C: Hash> Hash for Queue<C> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut lines: Vec<_> = self.lines.iter().collect();
        lines.sort_unstable_by_key(|&(counter, _)| counter);
        (lines, &self.ready, self.waiting, self.flights, self.splits, self.boarding, self.closed).hash(state);
    }
}
