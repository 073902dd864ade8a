//! The sequencer between its callers and a replica set, gone through in every order of events.
//!
//! Real are [`Queue`](super::queue::Queue) and [`plan`]: the very code that runs. Modelled, each as small as it can be,
//! are what moves them (`replica.rs`, `flight.rs`), the replica set (`cluster.rs`), and the callers and a network that
//! brings things late or never (`events.rs`). `properties.rs` says what must hold in every state, `explore.rs` finds all
//! states.
//!
//! A world bounds how many faults there are, and not when: what may happen, may happen at any time. `worlds.rs` has the
//! worlds that are checked, and shows that each promise is broken where the code is made wrong on purpose.

mod cluster;
mod events;
mod explore;
mod flight;
mod properties;
mod replica;
mod worlds;

use std::collections::HashSet;

use self::cluster::{Cluster, Reply};
use self::properties::Property;
use self::replica::Replica;
use super::queue::Limits;
use crate::domain::{CounterId, CounterValue, IdempotencyKey, Timestamp};
use crate::store::plan::{Known, Plan, plan};
use crate::store::{Action, Answer, Batch, Counter, Group, Key, Op, Rules};

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
    /// A read does not wait until a majority has what it saw.
    LocalReads,
    /// A call that its caller has withdrawn leaves all the same.
    WithdrawnLeaves,
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

    /// Whether any call has a key, of a batch that only takes numbers of one counter. Nothing for a batch of another kind,
    /// and where a key comes twice.
    fn takes(&self, groups: &Groups) -> Option<bool> {
        let [(_, calls)] = groups.as_slice() else { return None };
        let mut keys = HashSet::new();
        for Call { action, key, .. } in calls.iter().map(|&call| &self.calls[call]) {
            match (action, key) {
                (Action::Take(_), None) | (Action::Read, None) => {}
                (Action::Take(_), Some(key)) if keys.insert(key) => {}
                _ => return None,
            }
        }
        (!self.only_reads(groups)).then_some(!keys.is_empty())
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
}
