//! A process of the service: it moves its queue as `sequencer.rs` does.

use std::cell::Cell;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use super::super::queue::{self, Queue, Waiting};
use super::flight::{Flight, Step};
use super::{Ending, Fate, Groups, Message, Mutation, Session, State, World};
use crate::domain::IdempotencyKey;
use crate::store::{Action, Answer};

/// How a batch ends.
pub(super) enum Landing {
    Answered(Vec<(usize, Answer)>),
    Refused,
    Unknown,
}

/// A call in a queue.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    call: usize,
    key: Option<IdempotencyKey>,
    taken: Cell<bool>,
}

impl Waiting for Seat {
    fn claim(&self) -> bool {
        !self.taken.replace(true)
    }

    fn key(&self) -> Option<&IdempotencyKey> {
        self.key.as_ref()
    }
}

impl Hash for Seat {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.call, self.taken.get()).hash(state);
    }
}

#[derive(Debug, Clone, Hash)]
pub(super) struct Replica {
    pub(super) queue: Queue<Seat>,
    /// Whether a flight is about to depart.
    pub(super) boarding: bool,
    pub(super) flights: Vec<Flight>,
    pub(super) closed: bool,
}

impl Replica {
    pub(super) fn new(world: &World) -> Self {
        Self { queue: Queue::new(world.limits), boarding: false, flights: Vec::new(), closed: false }
    }

    fn dispatch(&mut self) {
        self.boarding |= self.queue.board();
    }

    /// Do the flights fit to the queue?
    pub(super) fn is_sound(&self, world: &World) -> bool {
        let counters = self.flights.iter().flat_map(|flight| &flight.groups).map(|(counter, _)| *counter);
        let distinct: HashSet<_> = counters.clone().map(|counter| &world.counters[counter]).collect();
        self.queue.is_sound()
            && counters.count() == distinct.len()
            && self.queue.under_way().collect::<HashSet<_>>() == distinct
            && self.queue.is_idle() == (self.flights.is_empty() && !self.boarding && self.queue.waiting() == 0)
            && (!self.queue.is_idle() || self.queue.counters() == 0)
    }
}

impl State {
    pub(super) fn arrive(&mut self, world: &World, call: usize) {
        self.calls[call] = Fate::UnderWay { floor: self.floor(world, call) };
        let asked = &world.calls[call];
        let key = asked.key.map(|key| world.keys[key].clone());
        let replica = &mut self.replicas[asked.at];
        match replica.queue.enter(world.counters[asked.counter].clone(), Seat { call, key, taken: Cell::new(false) }) {
            Ok(()) => replica.dispatch(),
            Err(_) => self.end(world, call, Ending::Refused),
        }
    }

    pub(super) fn depart(&mut self, world: &World, replica: usize) {
        let departs = &mut self.replicas[replica];
        departs.boarding = false;
        let departure = departs.queue.depart();
        departs.dispatch();
        let groups: Groups = departure
            .into_iter()
            .map(|(counter, seats)| (world.index_of(&counter), seats.into_iter().map(|seat| seat.call).collect()))
            .collect();
        if !groups.is_empty() {
            let kind = queue::Flight::Whole;
            self.begin(world, replica, Flight { kind, groups, attempt: 0, looks_up: false, step: Step::Reading });
        }
    }

    pub(super) fn land(&mut self, world: &World, replica: usize, flight: Flight, landing: Landing) {
        let lost = world.mutation == Some(Mutation::NeverLands) && !matches!(landing, Landing::Answered(_));
        if !lost {
            let counters = flight.groups.iter().map(|(counter, _)| world.counters[*counter].clone()).collect();
            self.replicas[replica].queue.land(flight.kind, counters);
            self.replicas[replica].dispatch();
        }
        let ending = match landing {
            Landing::Answered(answers) => {
                answers.into_iter().for_each(|(call, answer)| self.end(world, call, Ending::Answered(answer)));
                return;
            }
            Landing::Refused => Ending::Refused,
            Landing::Unknown => Ending::Unknown,
        };
        for call in flight.groups.into_iter().flat_map(|(_, calls)| calls) {
            self.end(world, call, ending);
        }
    }

    /// A caller hears how its call ended, unless it is no longer there.
    fn end(&mut self, world: &World, call: usize, ending: Ending) {
        if let Fate::UnderWay { floor } = self.calls[call] {
            // A read has no outcome that could be unknown.
            let reads = world.calls[call].action == Action::Read && ending == Ending::Unknown;
            self.calls[call] = Fate::Ended { floor, ending: if reads { Ending::Refused } else { ending } };
        }
    }

    /// A caller's deadline passes.
    pub(super) fn time_out(&mut self, world: &World, call: usize) {
        let queue = &self.replicas[world.calls[call].at].queue;
        let leaves = world.mutation == Some(Mutation::WithdrawnLeaves);
        let withdrawn = queue.calls().any(|seat| seat.call == call && (leaves || seat.claim()));
        self.end(world, call, if withdrawn { Ending::Refused } else { Ending::Unknown });
    }

    /// The process is killed, and another one takes its place.
    pub(super) fn crash(&mut self, world: &World, replica: usize) {
        self.replicas[replica] = Replica::new(world);
        let is_its = |session: Session| world.calls[session.call].at == replica;
        self.network.retain(|message| !matches!(message, Message::Reply { session, .. } if is_its(*session)));
        for call in 0..world.calls.len() {
            if world.calls[call].at == replica {
                self.end(world, call, Ending::Unknown);
            }
        }
    }
}
