//! What is promised, in every state; and the situations that a world must lead to, or it would prove little.

use super::super::queue;
use super::cluster::Write;
use super::{Ending, Fate, Message, State, World};
use crate::domain::CounterValue;
use crate::store::{Answer, Outcome};

pub(super) type Property = (&'static str, fn(&World, &State) -> bool);

pub(super) const UNIQUE: &str = "no number is handed out twice";
pub(super) const DURABLE: &str = "what was answered stays";
pub(super) const DEFINITE: &str = "a refused call has done nothing";
pub(super) const NO_HOLE: &str = "only a call that ended unknown leaves a hole";
pub(super) const ONCE: &str = "a key does one thing once";
pub(super) const ORDERED: &str = "a call that began after another ended comes after it";
pub(super) const SOUND: &str = "queues and flights agree";
/// Found by whoever knows what can happen.
pub(super) const ENDS: &str = "nothing stands still before all calls have ended";

pub(super) const PROPERTIES: [Property; 7] = [
    (UNIQUE, is_unique),
    (DURABLE, is_durable),
    (DEFINITE, is_definite),
    (NO_HOLE, has_no_hole),
    (ONCE, is_done_once),
    (ORDERED, is_ordered),
    (SOUND, |world, state| state.replicas.iter().all(|replica| replica.is_sound(world))),
];

/// The numbers that an outcome gives to its caller.
fn numbers(outcome: Outcome) -> Option<(CounterValue, CounterValue)> {
    match outcome {
        Outcome::Taken { first, last } => Some((first, last)),
        _ => None,
    }
}

/// What the calls that have ended were answered.
fn answered(state: &State) -> impl Iterator<Item = (usize, Answer)> {
    state.calls.iter().enumerate().filter_map(|(call, fate)| match fate {
        Fate::Ended { ending: Ending::Answered(answer), .. } => Some((call, *answer)),
        _ => None,
    })
}

/// What the primary has written, and a majority perhaps not.
fn written(state: &State) -> impl Iterator<Item = &Write> {
    state.cluster.log.iter().flatten()
}

fn is_unique(world: &World, state: &State) -> bool {
    let blocks = || {
        answered(state).filter_map(|(call, answer)| {
            numbers(answer.outcome).filter(|_| !answer.replayed).map(|block| (call, world.calls[call].counter, block))
        })
    };
    blocks().all(|(one, counter, (first, last))| {
        blocks().all(|(other, its_counter, (its_first, its_last))| {
            one == other || counter != its_counter || last < its_first || its_last < first
        })
    })
}

fn is_durable(world: &World, state: &State) -> bool {
    let safe = || state.cluster.log[..state.cluster.majority].iter().flatten();
    answered(state).all(|(call, answer)| match answer.outcome {
        Outcome::Taken { .. } | Outcome::Set { .. } => safe().any(|write| {
            write.done().any(|(by, outcome)| {
                outcome == answer.outcome && (by == call || answer.replayed && world.is_same(by, call))
            })
        }),
        Outcome::Read(seen) => {
            let counter = world.calls[call].counter;
            seen == world.at_first
                || safe().any(|write| write.counters.iter().any(|&(its, is)| its == counter && Some(is) == seen))
        }
        Outcome::Refused(_) => true,
    })
}

fn is_definite(_: &World, state: &State) -> bool {
    let is_refused = |call: usize| matches!(state.calls[call], Fate::Ended { ending: Ending::Refused, .. });
    written(state).flat_map(Write::done).all(|(call, _)| !is_refused(call))
}

fn has_no_hole(world: &World, state: &State) -> bool {
    written(state).flat_map(Write::done).filter(|(call, _)| world.calls[*call].key.is_none()).all(|(call, outcome)| {
        match state.calls[call] {
            Fate::Ended { ending: Ending::Answered(answer), .. } => answer.outcome == outcome,
            Fate::Ended { ending: Ending::Refused, .. } => false,
            _ => true,
        }
    })
}

fn is_done_once(world: &World, state: &State) -> bool {
    (0..world.calls.len()).filter(|&call| world.calls[call].key.is_some()).all(|call| {
        let mut done = written(state).flat_map(Write::done).filter(|(by, _)| world.is_same(*by, call));
        let (first, second) = (done.next(), done.next());
        second.is_none()
            && answered(state)
                .filter(|(by, answer)| world.is_same(*by, call) && !matches!(answer.outcome, Outcome::Refused(_)))
                .all(|(_, answer)| first.is_some_and(|(_, outcome)| answer.outcome == outcome))
    })
}

fn is_ordered(world: &World, state: &State) -> bool {
    // What is repeated was done for an earlier call with the same key.
    let earliest = |call: usize| {
        let same = state.calls.iter().enumerate().filter(|(other, _)| world.is_same(*other, call));
        same.filter_map(|(_, fate)| fate.floor()).min().unwrap_or_default()
    };
    answered(state).all(|(call, answer)| match answer.outcome {
        Outcome::Taken { first, .. } => first > earliest(call),
        Outcome::Set { value, previous, .. } => value > earliest(call) && previous >= earliest(call),
        Outcome::Read(seen) => world.value(seen) >= earliest(call),
        Outcome::Refused(_) => true,
    })
}

pub(super) const UNKNOWN: Property = ("a call ends unknown", |_, state| {
    state.calls.iter().any(|fate| matches!(fate, Fate::Ended { ending: Ending::Unknown, .. }))
});

pub(super) const HOLE: Property = ("a call that ended unknown has taken a number", |_, state| {
    let is_unknown = |call: usize| matches!(state.calls[call], Fate::Ended { ending: Ending::Unknown, .. });
    written(state).flat_map(Write::done).any(|(call, _)| is_unknown(call))
});

pub(super) const LATE: Property =
    ("a first attempt is still to come when its retry has been answered", |world, state| {
        state.network.iter().any(|message| match message {
            Message::Request { session, .. } => {
                state.flight(world, *session).is_none() && answered(state).any(|(call, _)| call == session.call)
            }
            Message::Reply { .. } => false,
        })
    });

pub(super) const ROLLED_BACK: Property =
    ("a failover rolls back what no majority had", |_, state| state.cluster.rolled_back.is_some());

pub(super) const SPLIT: Property = ("a batch that conflicts is split", |_, state| {
    state.replicas.iter().flat_map(|replica| &replica.flights).any(|flight| flight.kind == queue::Flight::Split)
});

pub(super) const REPLAYED: Property = ("the repeat of a keyed call is told what the first one did", |_, state| {
    answered(state).any(|(_, answer)| answer.replayed)
});

pub(super) const RETURNED: Property = ("a node returns with what was rolled back", |_, state| {
    state.cluster.term == 2 && state.cluster.log.iter().position(Option::is_none).is_some_and(|election| election > 0)
});

pub(super) const REFUSED: Property = ("a call is refused", |_, state| {
    state.calls.iter().any(|fate| matches!(fate, Fate::Ended { ending: Ending::Refused, .. }))
});
