//! A batch under way: what the MongoDB store does with it, and what the driver does with what the store sends.

use super::super::queue;
use super::cluster::{Clash, Reply};
use super::replica::Landing;
use super::{Groups, Message, Mutation, Session, State, World};

/// How often the driver sends a command before it gives up.
const TRIES: u8 = 2;

/// A batch under way.
#[derive(Debug, Clone, Hash)]
pub(super) struct Flight {
    pub(super) kind: queue::Flight,
    pub(super) groups: Groups,
    pub(super) attempt: u8,
    /// Whether its keys are looked up first, for they are not all new.
    pub(super) looks_up: bool,
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

impl State {
    /// Begins an attempt.
    pub(super) fn begin(&mut self, world: &World, replica: usize, mut flight: Flight) {
        flight.step = if world.only_reads(&flight.groups) || world.takes(&flight.groups) == Some(false) {
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
            Step::Reading if self.writes_first(world, &flight) => self.write(world, &mut flight, now),
            Step::Reading => {
                flight.step = now;
                Ok(())
            }
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

    /// Does its transaction begin with the counter's `findAndModify`, and the snapshot with that?
    pub(super) fn writes_first(&self, world: &World, flight: &Flight) -> bool {
        let is_there = |counter| self.cluster.counter(world, self.cluster.log.len(), counter).is_some();
        !flight.looks_up && world.takes(&flight.groups) == Some(true) && is_there(flight.groups[0].0)
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
            // The first try may still arrive, and find something then.
            Reply::Absent if flight.tries() > Some(1) => self.land(world, replica, flight, Landing::Unknown),
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
        let kind = self.replicas[replica].queue.split().unwrap();
        let other = Flight { kind, groups: flight.groups.split_off(half), ..flight };
        self.begin(world, replica, flight);
        self.begin(world, replica, other);
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
