//! The sequencer between its callers and a replica set, gone through in every order of events.
//!
//! Real are [`Queue`](super::queue::Queue) and [`plan`]: the very code that runs. Modelled, each as small as it can be,
//! are what moves them (`replica.rs`), the replica set (`cluster.rs`), and here the callers and a network that brings
//! things late or never. `properties.rs` says what must hold in every state, `explore.rs` finds all states.
//!
//! A world bounds how many faults there are, and not when: what may happen, may happen at any time. `worlds.rs` has the
//! worlds that are checked, and shows that each promise is broken where the code is made wrong on purpose.

mod cluster;
mod explore;
mod properties;
mod replica;
mod worlds;

use self::cluster::{Cluster, Reply};
use self::properties::Property;
use self::replica::{Replica, Step};
use super::queue::Limits;
use crate::domain::{CounterId, CounterValue, IdempotencyKey, Timestamp};
use crate::store::plan::{Known, Plan, plan};
use crate::store::{Action, Answer, Batch, Counter, Group, Key, Op, Outcome, Rules};

const RULES: Rules = Rules { initial_value: CounterValue::new(0).unwrap(), counters_per_user: 100 };
const NOW: Timestamp = Timestamp::from_millis(1_000);

/// Who calls what, and what may go wrong.
struct World {
    calls: Vec<Call>,
    counters: Vec<CounterId>,
    keys: Vec<IdempotencyKey>,
    /// What every counter is at the start.
    at_first: Option<Counter>,
    limits: Limits,
    /// How often a batch is attempted again.
    attempts: u8,
    /// How many faults there may be.
    faults: u8,
    /// Of these kinds.
    kinds: &'static [Fault],
    /// What must be met.
    situations: &'static [Property],
    mutation: Option<Mutation>,
}

struct Call {
    /// The replica that it is sent to.
    at: usize,
    counter: usize,
    action: Action,
    key: Option<usize>,
    /// The call that its caller repeats with it, if that one does not end with an answer.
    repeats: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// A caller's deadline passes.
    TimeOut,
    /// A message is slower than the driver's patience. One that is lost is one that never comes.
    Network,
    /// Another node becomes the primary.
    Failover,
    /// A process of the service is killed.
    Crash,
    /// A process of the service stops in order.
    Close,
}

/// What the code is made to do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutation {
    /// The driver's second try bears another transaction number.
    BlindRetry,
    /// The primary answers before a majority has the write.
    EarlyAnswers,
    /// The records of keys are not written.
    KeysForgotten,
    /// A transaction does not see what was written since its snapshot.
    LostUpdates,
    /// What was sent and never answered is told as a refusal.
    UnknownAsDefinite,
    /// A flight that fails does not give its counters back.
    NeverLands,
}

/// The calls of a batch, by counter.
type Groups = Vec<(usize, Vec<usize>)>;

/// A session with its transaction number: of a batch, named by its first call, and of one attempt at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Session {
    call: usize,
    attempt: u8,
}

#[derive(Debug, Clone, Hash)]
struct State {
    calls: Vec<Fate>,
    replicas: Vec<Replica>,
    network: Vec<Message>,
    cluster: Cluster,
    faults: u8,
}

/// What has become of a call. Whatever was answered before it began lies at or below `floor`.
#[derive(Debug, Clone, Copy, Hash)]
enum Fate {
    Ahead,
    UnderWay { floor: CounterValue },
    Ended { floor: CounterValue, ending: Ending },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Ending {
    Answered(Answer),
    /// Definite: nothing was done.
    Refused,
    Unknown,
}

/// What is between a replica and the primary.
#[derive(Debug, Clone, Hash)]
enum Message {
    /// A batch outside of a transaction, or the commit of one, to the node that was the primary in this term.
    Request { session: Session, tries: u8, groups: Option<Groups>, term: u8 },
    /// Comes once a majority has this much of the log.
    Reply { session: Session, after: usize, reply: Reply },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// A call begins.
    Arrive(usize),
    /// A flight of this replica departs.
    Depart(usize),
    /// A transaction's next statement is done, and the answer is heard or lost.
    Execute {
        session: Session,
        heard: bool,
    },
    /// A message reaches its end.
    Deliver(usize),
    /// The driver stops to wait, and sends the command again or not.
    GiveUp {
        session: Session,
        again: bool,
    },
    /// A majority has everything.
    Replicate,
    /// The primary ends a transaction that nobody works on.
    Expire(usize),
    TimeOut(usize),
    /// Another primary takes over with this much of the log.
    FailOver(usize),
    /// The old one takes over again, with what was rolled back.
    FailBack,
    Crash(usize),
    Close(usize),
}

impl World {
    fn plan(&self, groups: &Groups, known: &Known) -> Plan {
        let op = |call: &usize| {
            let Call { counter, action, key, .. } = &self.calls[*call];
            let key = key.map(|key| Key { key: self.keys[key].clone(), fingerprint: format!("{counter} {action:?}") });
            Op { action: action.clone(), key }
        };
        let groups = groups.iter().map(|(counter, calls)| Group {
            counter: self.counters[*counter].clone(),
            ops: calls.iter().map(op).collect(),
        });
        plan(&Batch { groups: groups.collect(), now: NOW }, known, RULES)
    }

    fn index_of(&self, counter: &CounterId) -> usize {
        self.counters.iter().position(|its| its == counter).unwrap()
    }

    fn index_of_key(&self, key: &IdempotencyKey) -> usize {
        self.keys.iter().position(|its| its == key).unwrap()
    }

    fn value(&self, counter: Option<Counter>) -> CounterValue {
        counter.map_or(RULES.initial_value, |counter| counter.value)
    }

    fn only_reads(&self, groups: &Groups) -> bool {
        groups.iter().flat_map(|(_, calls)| calls).all(|&call| self.calls[call].action == Action::Read)
    }

    /// Does its transaction begin with a write? It does where it only takes numbers of one counter.
    fn writes_first(&self, groups: &Groups) -> bool {
        let takes = |call: &usize| matches!(self.calls[*call].action, Action::Take(_));
        groups.len() == 1 && groups[0].1.iter().all(takes)
    }

    /// Are these one call, or repeats of one?
    fn is_same(&self, one: usize, other: usize) -> bool {
        one == other || (self.calls[one].key.is_some() && self.calls[one].key == self.calls[other].key)
    }
}

impl Fate {
    fn floor(&self) -> Option<CounterValue> {
        match self {
            Self::Ahead => None,
            Self::UnderWay { floor } | Self::Ended { floor, .. } => Some(*floor),
        }
    }
}

impl Event {
    fn is_fault(self, state: &State) -> bool {
        match self {
            Self::GiveUp { session, .. } => state.is_to_come(session),
            Self::Execute { heard, .. } => !heard,
            Self::Arrive(_) | Self::Depart(_) | Self::Deliver(_) | Self::Replicate | Self::Expire(_) => false,
            _ => true,
        }
    }
}

impl State {
    fn new(world: &World) -> Self {
        let replicas = world.calls.iter().map(|call| call.at + 1).max().unwrap_or(0);
        Self {
            calls: vec![Fate::Ahead; world.calls.len()],
            replicas: (0..replicas).map(|_| Replica::new(world)).collect(),
            network: Vec::new(),
            cluster: Cluster::default(),
            faults: world.faults,
        }
    }

    /// What can happen now.
    fn events(&self, world: &World) -> Vec<Event> {
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
                    if may(Fault::Network) && (flight.step != Step::Reading || world.writes_first(&flight.groups)) {
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

    fn happen(&mut self, world: &World, event: Event) {
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
    fn put(&mut self, message: Message) {
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
        let tries = tries.and_then(replica::Flight::tries);
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
    fn floor(&self, world: &World, call: usize) -> CounterValue {
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
    fn is_over(&self, world: &World) -> bool {
        let calls = self.calls.iter().enumerate();
        let mut ahead = calls.filter(|(_, fate)| !matches!(fate, Fate::Ended { .. }));
        ahead.all(|(call, fate)| matches!(fate, Fate::Ahead) && world.calls[call].repeats.is_some())
            && self.replicas.iter().all(|replica| replica.queue.is_idle() && replica.flights.is_empty())
            && self.network.is_empty()
            && self.cluster.open.is_empty()
    }
}
