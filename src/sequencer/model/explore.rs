//! Goes through every state that any order of events leads to, the ones near the start first.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::properties::{ENDS, PROPERTIES};
use super::{Event, State, World};

/// What was found.
pub(super) struct Found {
    pub(super) states: usize,
    /// The shortest way to a state that breaks the promise of this name.
    pub(super) broken: BTreeMap<&'static str, Vec<Event>>,
    /// How many states each of the world's situations was met in.
    pub(super) met: Vec<usize>,
}

/// Every state, each with the event that first led to it and the number of the state that it came from.
type Origins = Vec<Option<(usize, Event)>>;

/// Explores a world to its end, or until it breaks the promise named.
pub(super) fn explore(world: &World, until: Option<&str>) -> Found {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let start = State::new(world);
    let mut seen = HashMap::from([(hasher.hash_one(&start), 0)]);
    let (mut origins, mut arrows): (Origins, Vec<Vec<usize>>) = (vec![None], Vec::new());
    let mut found = Found { states: 0, broken: BTreeMap::new(), met: vec![0; world.situations.len()] };
    let mut frontier = vec![start];
    while !frontier.is_empty() {
        let mut next = Vec::new();
        for state in frontier {
            let number = arrows.len();
            for (name, holds) in PROPERTIES {
                if !found.broken.contains_key(name) && !holds(world, &state) {
                    found.broken.insert(name, way_to(&origins, number));
                }
            }
            for (met, (_, is_met)) in found.met.iter_mut().zip(world.situations) {
                *met += usize::from(is_met(world, &state));
            }
            let events = state.events(world);
            if events.iter().all(|event| event.is_fault(&state)) && !state.is_over(world) {
                found.broken.entry(ENDS).or_insert_with(|| way_to(&origins, number));
            }
            let mut targets = Vec::new();
            for event in events {
                let mut target = state.clone();
                target.happen(world, event);
                let fresh = origins.len();
                let target_number = *seen.entry(hasher.hash_one(&target)).or_insert(fresh);
                if target_number == fresh {
                    origins.push(Some((number, event)));
                    next.push(target);
                }
                targets.push(target_number);
            }
            arrows.push(targets);
            if until.is_some_and(|name| found.broken.contains_key(name)) {
                found.states = arrows.len();
                return found;
            }
        }
        frontier = next;
    }
    found.states = arrows.len();
    assert!(is_finite(&arrows), "events can go round in a circle for ever");
    found
}

fn way_to(origins: &Origins, mut number: usize) -> Vec<Event> {
    let mut way = Vec::new();
    while let Some((from, event)) = origins[number] {
        way.push(event);
        number = from;
    }
    way.reverse();
    way
}

/// Does every way through the states come to an end? Takes away the states that nothing leads to until none is left.
fn is_finite(arrows: &[Vec<usize>]) -> bool {
    let mut leading_here = vec![0_usize; arrows.len()];
    arrows.iter().flatten().for_each(|&target| leading_here[target] += 1);
    let mut free: Vec<usize> = (0..arrows.len()).filter(|&state| leading_here[state] == 0).collect();
    let mut taken = 0;
    while let Some(state) = free.pop() {
        taken += 1;
        for &target in &arrows[state] {
            leading_here[target] -= 1;
            if leading_here[target] == 0 {
                free.push(target);
            }
        }
    }
    taken == arrows.len()
}
