//! A process of the service: it moves its queue as `sequencer.rs` does, and does a batch as the MongoDB store does.

use std::cell::Cell;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use super::super::queue::{self, Queue, Waiting};
use super::cluster::{Clash, Reply, is_plain_take};
use super::{Ending, Fate, Groups, Message, Mutation, Session, State, World};
use crate::domain::IdempotencyKey;
use crate::store::{Action, Answer};

/// How often the driver sends a command before it gives up.
const TRIES: u8 = 2;

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

/// A batch under way.
#[derive(Debug, Clone, Hash)]
pub(super) struct Flight {
    pub(super) kind: queue::Flight,
    pub(super) groups: Groups,
    attempt: u8,
    /// Whether its keys are looked up first, for they are not all new.
    looks_up: bool,
    pub(super) step: Step,
}

#[derive(Debug, Clone, Copy, Hash, PartialEq, Eq)]
pub(super) enum Step {
    /// A command outside of a transaction was sent; whether every node that it came to refused it.
    Single { tries: u8, refused: bool },
    /// A transaction is about to read.
    Reading,
    /// It has read, and is about to write.
    Writing { snapshot: usize, term: u8 },
    /// Its commit was sent.
    Committing { tries: u8 },
}

impl Flight {
    pub(super) fn session(&self) -> Session {
        Session { call: self.groups[0].1[0], attempt: self.attempt }
    }

    /// Which try of the driver waits for its answer.
    pub(super) fn tries(&self) -> Option<u8> {
        match self.step {
            Step::Single { tries, .. } | Step::Committing { tries } => Some(tries),
            Step::Reading | Step::Writing { .. } => None,
        }
    }
}

/// How a batch ends.
enum Landing {
    Answered(Vec<(usize, Answer)>),
    Refused,
    Unknown,
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

    /// Begins an attempt.
    fn begin(&mut self, world: &World, replica: usize, mut flight: Flight) {
        flight.step = if world.only_reads(&flight.groups) || is_plain_take(world, &flight.groups) {
            Step::Single { tries: 0, refused: true }
        } else {
            Step::Reading
        };
        self.send(replica, flight);
    }

    /// Sends what the flight waits for once more, and lets the flight go on.
    fn send(&mut self, replica: usize, mut flight: Flight) {
        if let Step::Single { tries, .. } | Step::Committing { tries } = &mut flight.step {
            *tries += 1;
            let groups = matches!(flight.step, Step::Single { .. }).then(|| flight.groups.clone());
            self.put(Message::Request {
                session: flight.session(),
                tries: flight.tries().unwrap(),
                groups,
                term: self.cluster.term,
            });
        }
        let flights = &mut self.replicas[replica].flights;
        let at = flights.partition_point(|other| other.session() < flight.session());
        flights.insert(at, flight);
    }

    /// The next statement of a transaction reaches the primary. Where `heard` is false, its answer is lost.
    pub(super) fn execute(&mut self, world: &World, session: Session, heard: bool) {
        let (replica, mut flight) = self.take_off(world, session);
        let now = Step::Writing { snapshot: self.cluster.log.len(), term: self.cluster.term };
        let result = match flight.step {
            // The counter's `findAndModify` is the first statement, and the snapshot begins with it.
            Step::Reading if !world.writes_first(&flight.groups) || flight.looks_up => {
                flight.step = now;
                Ok(())
            }
            Step::Reading => self.write(world, &mut flight, now),
            step => self.write(world, &mut flight, step),
        };
        match result {
            _ if !heard => self.repeat(world, replica, flight),
            Ok(()) => self.send(replica, flight),
            Err(Clash::DuplicateKey) if !flight.looks_up => {
                flight.looks_up = true;
                self.repeat(world, replica, flight);
            }
            Err(Clash::Conflict) if flight.groups.len() > 1 => self.split(world, replica, flight),
            Err(_) => self.repeat(world, replica, flight),
        }
    }

    fn write(&mut self, world: &World, flight: &mut Flight, step: Step) -> Result<(), Clash> {
        let Step::Writing { snapshot, term } = step else { unreachable!("it has read") };
        if term != self.cluster.term {
            return Err(Clash::NoTransaction);
        }
        let write = self.cluster.plan(world, flight.session(), &flight.groups, snapshot, flight.looks_up);
        flight.step = Step::Committing { tries: 0 };
        self.cluster.write(world, write, snapshot)
    }

    /// What a primary said reaches the flight that waits for it.
    pub(super) fn receive(&mut self, world: &World, session: Session, reply: Reply) {
        let (replica, mut flight) = self.take_off(world, session);
        match reply {
            Reply::Done(answers) => self.land(world, replica, flight, Landing::Answered(answers)),
            Reply::Absent => {
                flight.attempt += 1;
                flight.step = Step::Reading;
                self.send(replica, flight);
            }
            Reply::NotPrimary => self.go_on(world, replica, flight, true),
            Reply::NoTransaction => self.repeat(world, replica, flight),
        }
    }

    /// The driver stops to wait for an answer, and sends the command again, or its time is over.
    pub(super) fn give_up(&mut self, world: &World, session: Session, again: bool) {
        let (replica, mut flight) = self.take_off(world, session);
        self.network.retain(|message| !matches!(message, Message::Reply { session: its, .. } if *its == session));
        if let Step::Single { refused, .. } = &mut flight.step {
            *refused = false;
        }
        self.go_on(world, replica, flight, again);
    }

    fn go_on(&mut self, world: &World, replica: usize, mut flight: Flight, again: bool) {
        let tries = flight.tries().unwrap_or(TRIES);
        if again && tries < TRIES {
            if world.mutation == Some(Mutation::BlindRetry) {
                flight.attempt += 1;
            }
            return self.send(replica, flight);
        }
        let reads = world.only_reads(&flight.groups);
        match flight.step {
            // Every node said that it had written nothing.
            Step::Single { refused: true, .. } => self.repeat(world, replica, flight),
            _ if reads || world.mutation == Some(Mutation::UnknownAsDefinite) => {
                self.land(world, replica, flight, Landing::Refused);
            }
            _ => self.land(world, replica, flight, Landing::Unknown),
        }
    }

    /// An attempt did nothing: another one, as long as there is time.
    fn repeat(&mut self, world: &World, replica: usize, mut flight: Flight) {
        if flight.attempt < world.attempts {
            flight.attempt += 1;
            self.begin(world, replica, flight);
        } else {
            self.land(world, replica, flight, Landing::Refused);
        }
    }

    /// A batch of several counters conflicted: its halves go on by themselves.
    fn split(&mut self, world: &World, replica: usize, mut flight: Flight) {
        flight.attempt += 1;
        let half = flight.groups.len() / 2;
        let kind = self.replicas[replica].queue.split();
        let other = Flight { kind, groups: flight.groups.split_off(half), ..flight };
        self.begin(world, replica, flight);
        self.begin(world, replica, other);
    }

    fn land(&mut self, world: &World, replica: usize, flight: Flight, landing: Landing) {
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
        let withdrawn = queue.calls().any(|seat| seat.call == call && seat.claim());
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

    /// The flight of this session.
    pub(super) fn flight(&self, world: &World, session: Session) -> Option<&Flight> {
        let flights = &self.replicas[world.calls[session.call].at].flights;
        flights.iter().find(|flight| flight.session() == session)
    }

    fn take_off(&mut self, world: &World, session: Session) -> (usize, Flight) {
        let replica = world.calls[session.call].at;
        let flights = &mut self.replicas[replica].flights;
        let at = flights.iter().position(|flight| flight.session() == session).unwrap();
        (replica, flights.remove(at))
    }
}
