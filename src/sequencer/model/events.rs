//! What can happen in a state, and what comes of it: the callers, the network, and who is told what when.

use super::cluster::{Cluster, Reply};
use super::flight::{Flight, Step};
use super::{Ending, Event, Fate, Fault, Message, Mutation, Session, State, World};
use crate::domain::CounterValue;
use crate::store::Outcome;

impl Event {
    pub(super) fn is_fault(self, state: &State) -> bool {
        match self {
            Self::GiveUp { session, .. } => state.is_to_come(session),
            Self::Execute { heard, .. } => !heard,
            Self::Arrive(_) | Self::Depart(_) | Self::Deliver(_) | Self::Replicate | Self::Expire(_) => false,
            _ => true,
        }
    }
}

impl State {
    /// What can happen now.
    pub(super) fn events(&self, world: &World) -> Vec<Event> {
        let may = |fault| self.faults > 0 && world.kinds.contains(&fault);
        let mut events = Vec::new();
        for (call, fate) in self.calls.iter().enumerate() {
            match fate {
                Fate::Ahead if self.may_begin(world, call) => events.push(Event::Arrive(call)),
                Fate::UnderWay { .. } if may(Fault::TimeOut) => events.push(Event::TimeOut(call)),
                _ => {}
            }
        }
        for (number, replica) in self.replicas.iter().enumerate() {
            if replica.boarding {
                events.push(Event::Depart(number));
            }
            for flight in &replica.flights {
                let session = flight.session();
                if flight.tries().is_none() {
                    events.push(Event::Execute { session, heard: true });
                    if may(Fault::Network) && (flight.step != Step::Reading || self.writes_first(world, flight)) {
                        events.push(Event::Execute { session, heard: false });
                    }
                } else if may(Fault::Network) || !self.is_to_come(session) {
                    events.extend([true, false].map(|again| Event::GiveUp { session, again }));
                }
            }
            let has_begun = !replica.queue.is_idle();
            if may(Fault::Crash) && has_begun {
                events.push(Event::Crash(number));
            }
            if may(Fault::Close) && has_begun && !replica.closed {
                events.push(Event::Close(number));
            }
        }
        for (number, message) in self.network.iter().enumerate() {
            if self.can_come(world, message) {
                events.push(Event::Deliver(number));
            }
        }
        if self.cluster.majority < self.cluster.log.len() {
            events.push(Event::Replicate);
        }
        for (number, open) in self.cluster.open.iter().enumerate() {
            if self.flight(world, open.session).is_none() {
                events.push(Event::Expire(number));
            }
        }
        let matters = !self.network.is_empty() || self.replicas.iter().any(|replica| !replica.flights.is_empty());
        if may(Fault::Failover) && matters {
            events.extend((self.cluster.majority..=self.cluster.log.len()).map(Event::FailOver));
            if self.cluster.rolled_back.is_some() {
                events.push(Event::FailBack);
            }
        }
        events
    }

    pub(super) fn happen(&mut self, world: &World, event: Event) {
        self.faults -= u8::from(event.is_fault(self));
        match event {
            Event::Arrive(call) => self.arrive(world, call),
            Event::Depart(replica) => self.depart(world, replica),
            Event::Execute { session, heard } => self.execute(world, session, heard),
            Event::Deliver(message) => self.deliver(world, message),
            Event::GiveUp { session, again } => self.give_up(world, session, again),
            Event::Replicate => self.cluster.replicate(),
            Event::Expire(open) => drop(self.cluster.open.remove(open)),
            Event::TimeOut(call) => self.time_out(world, call),
            Event::FailOver(keep) => self.change_primary(|cluster| cluster.fail_over(keep)),
            Event::FailBack => self.change_primary(Cluster::fail_back),
            Event::Crash(replica) => self.crash(world, replica),
            Event::Close(replica) => {
                self.replicas[replica].closed = true;
                self.replicas[replica].queue.close();
            }
        }
    }

    /// A primary that is one no longer gives no answer that it has not given.
    fn change_primary(&mut self, change: impl FnOnce(&mut Cluster)) {
        let majority = self.cluster.majority;
        self.network.retain(|message| !matches!(message, Message::Reply { after, .. } if *after > majority));
        change(&mut self.cluster);
    }

    fn can_come(&self, world: &World, message: &Message) -> bool {
        match message {
            Message::Reply { after, .. } => *after <= self.cluster.majority,
            // What a transaction holds is waited for.
            Message::Request { session, groups: Some(groups), term, .. } => {
                let write = || self.cluster.plan(world, *session, groups, self.cluster.log.len(), false);
                !self.is_primary(*term) || self.cluster.open.is_empty() || !self.cluster.is_held(&write())
            }
            Message::Request { groups: None, .. } => true,
        }
    }

    /// Is the primary of that term the primary? Two nodes take turns.
    fn is_primary(&self, term: u8) -> bool {
        term % 2 == self.cluster.term % 2
    }

    fn deliver(&mut self, world: &World, message: usize) {
        let (session, tries, groups, term) = match self.network.remove(message) {
            Message::Reply { session, reply, .. } => return self.receive(world, session, reply),
            Message::Request { session, tries, groups, term } => (session, tries, groups, term),
        };
        let (after, reply) = match groups {
            _ if !self.is_primary(term) => (0, Reply::NotPrimary),
            Some(groups) => self.cluster.single(world, session, &groups),
            None => self.cluster.commit(session),
        };
        let after = if world.mutation == Some(Mutation::EarlyAnswers) { 0 } else { after };
        // Nobody listens to the answer to a try that was given up.
        if self.flight(world, session).is_some_and(|flight| flight.tries() == Some(tries)) {
            self.put(Message::Reply { session, after, reply });
        }
    }

    /// The order of the messages says nothing: it is always the same, so that there are fewer states.
    pub(super) fn put(&mut self, message: Message) {
        let rank = |message: &Message| match message {
            Message::Request { session, tries, term, .. } => (*session, *tries, *term),
            Message::Reply { session, .. } => (*session, u8::MAX, 0),
        };
        let at = self.network.partition_point(|other| rank(other) <= rank(&message));
        self.network.insert(at, message);
    }

    /// Will the flight of this session hear something, if nothing is lost?
    fn is_to_come(&self, session: Session) -> bool {
        let tries =
            self.replicas.iter().flat_map(|replica| &replica.flights).find(|flight| flight.session() == session);
        let tries = tries.and_then(Flight::tries);
        self.network.iter().any(|message| match message {
            Message::Request { session: its, tries: try_, .. } => *its == session && Some(*try_) == tries,
            Message::Reply { session: its, .. } => *its == session,
        })
    }

    fn may_begin(&self, world: &World, call: usize) -> bool {
        world.calls[call].repeats.is_none_or(|first| match self.calls[first] {
            Fate::Ended { ending, .. } => !matches!(ending, Ending::Answered(_)),
            _ => false,
        })
    }

    /// The highest that was answered of the call's counter.
    pub(super) fn floor(&self, world: &World, call: usize) -> CounterValue {
        let counter = world.calls[call].counter;
        let answered = self.calls.iter().zip(&world.calls).filter(|(_, its)| its.counter == counter);
        let heights = answered.filter_map(|(fate, _)| match fate {
            Fate::Ended { ending: Ending::Answered(answer), .. } => match answer.outcome {
                Outcome::Taken { last, .. } => Some(last),
                Outcome::Set { value, .. } => Some(value),
                Outcome::Read(seen) => Some(world.value(seen)),
                Outcome::Refused(_) => None,
            },
            _ => None,
        });
        heights.max().unwrap_or_default()
    }

    /// Has everything ended, and left nothing behind?
    pub(super) fn is_over(&self, world: &World) -> bool {
        let calls = self.calls.iter().enumerate();
        let mut ahead = calls.filter(|(_, fate)| !matches!(fate, Fate::Ended { .. }));
        ahead.all(|(call, fate)| matches!(fate, Fate::Ahead) && world.calls[call].repeats.is_some())
            && self.replicas.iter().all(|replica| replica.queue.is_idle() && replica.flights.is_empty())
            && self.network.is_empty()
            && self.cluster.open.is_empty()
    }
}
