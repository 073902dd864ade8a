//! A replica set: what its primary has written, and how much of that a majority has.
//!
//! A new primary begins with all that a majority has, and with as much more as the event says; the rest is rolled back. The
//! old primary keeps what was rolled back until a majority follows the new one, and may return with it before that. What a
//! primary says counts only once a majority has everything that it rests on: that is what an answer's `after` is for.

use std::collections::HashMap;

use super::{Groups, Mutation, Session, World};
use crate::store::plan::{KeyRecord, Known, Plan};
use crate::store::{Answer, Counter, Outcome};

/// All that one batch writes.
#[derive(Debug, Clone, Hash)]
pub(super) struct Write {
    pub(super) session: Session,
    /// What it answers to each call.
    pub(super) answers: Vec<(usize, Answer)>,
    pub(super) counters: Vec<(usize, Counter)>,
    pub(super) keys: Vec<(usize, KeyRecord)>,
    /// Whether it makes a counter, which changes its user as well.
    makes: bool,
}

impl Write {
    /// The calls that it does something for, and what.
    pub(super) fn done(&self) -> impl Iterator<Item = (usize, Outcome)> {
        let done =
            |answer: &Answer| !answer.replayed && matches!(answer.outcome, Outcome::Taken { .. } | Outcome::Set { .. });
        self.answers.iter().filter(move |(_, answer)| done(answer)).map(|(call, answer)| (*call, answer.outcome))
    }

    /// Does it write a document that the other one writes?
    fn meets(&self, other: &Self) -> bool {
        (self.makes && other.makes)
            || self.counters.iter().any(|(counter, _)| other.counters.iter().any(|(its, _)| its == counter))
            || self.keys.iter().any(|(key, _)| other.keys.iter().any(|(its, _)| its == key))
    }
}

/// What a transaction's statement meets.
#[derive(Debug, Clone, Copy)]
pub(super) enum Clash {
    /// Another writer.
    Conflict,
    /// A key that is there already.
    DuplicateKey,
    /// Another primary, on which the transaction was not begun.
    NoTransaction,
}

/// What a primary says.
#[derive(Debug, Clone, Hash)]
pub(super) enum Reply {
    Done(Vec<(usize, Answer)>),
    /// There is no such counter.
    Absent,
    /// The node takes no writes.
    NotPrimary,
    /// There is no such transaction, and a majority says so.
    NoTransaction,
}

#[derive(Debug, Clone, Default, Hash)]
pub(super) struct Cluster {
    /// What the primary has written; nothing stands for what a primary writes first.
    pub(super) log: Vec<Option<Write>>,
    /// How many of these a majority has.
    pub(super) majority: usize,
    pub(super) term: u8,
    /// Transactions that hold what they have written.
    pub(super) open: Vec<Write>,
    /// What the last change of primaries rolled back, and from where on.
    pub(super) rolled_back: Option<(usize, Vec<Option<Write>>)>,
}

impl Cluster {
    /// What the session wrote, and how much of the log that needs.
    pub(super) fn written(&self, session: Session) -> Option<(usize, &Write)> {
        let at = self.log.iter().position(|write| write.as_ref().is_some_and(|write| write.session == session))?;
        Some((at + 1, self.log[at].as_ref()?))
    }

    /// A counter after this much of the log.
    pub(super) fn counter(&self, world: &World, upto: usize, counter: usize) -> Option<Counter> {
        let writes = self.log[..upto].iter().rev().flatten();
        let written = writes.flat_map(|write| &write.counters).find(|(its, _)| *its == counter);
        written.map(|(_, counter)| *counter).or(world.at_first)
    }

    /// What a batch does after this much of the log.
    pub(super) fn plan(&self, world: &World, session: Session, groups: &Groups, upto: usize, keys: bool) -> Write {
        let mut known = Known::default();
        for (counter, _) in groups {
            if let Some(state) = self.counter(world, upto, *counter) {
                known.counters.insert(world.counters[*counter].clone(), state);
            }
        }
        let user = world.counters[0].user;
        known.users = HashMap::from([(user, 0)]);
        if keys {
            let records = self.log[..upto].iter().flatten().flat_map(|write| &write.keys);
            known.keys = records.map(|(key, record)| ((user, world.keys[*key].clone()), record.clone())).collect();
        }
        let Plan { answers, writes, records } = world.plan(groups, &known);
        let calls = groups.iter().flat_map(|(_, calls)| calls.iter().copied());
        Write {
            session,
            answers: calls.zip(answers.into_iter().flatten()).collect(),
            makes: writes.iter().any(|write| write.before.is_none()),
            counters: writes.into_iter().map(|write| (world.index_of(&write.counter), write.after)).collect(),
            keys: match world.mutation {
                Some(Mutation::KeysForgotten) => Vec::new(),
                _ => records.into_iter().map(|((_, key), record)| (world.index_of_key(&key), record)).collect(),
            },
        }
    }

    /// A transaction's writes: done now, seen by others once it commits.
    pub(super) fn write(&mut self, world: &World, write: Write, snapshot: usize) -> Result<(), Clash> {
        let is_there =
            |key| self.log[..snapshot].iter().flatten().any(|old| old.keys.iter().any(|(its, _)| *its == key));
        if write.keys.iter().any(|(key, _)| is_there(*key)) {
            return Err(Clash::DuplicateKey);
        }
        let changed = || self.log[snapshot..].iter().flatten().any(|newer| newer.meets(&write));
        if self.is_held(&write) || (world.mutation != Some(Mutation::LostUpdates) && changed()) {
            return Err(Clash::Conflict);
        }
        self.open.push(write);
        Ok(())
    }

    /// Does a transaction hold what this would write?
    pub(super) fn is_held(&self, write: &Write) -> bool {
        self.open.iter().any(|open| open.meets(write))
    }

    /// One `findAndModify`, or a read; done once for each session, however often it comes.
    pub(super) fn single(&mut self, world: &World, session: Session, groups: &Groups) -> (usize, Reply) {
        if let Some((after, write)) = self.written(session) {
            return (after, Reply::Done(write.answers.clone()));
        }
        let write = self.plan(world, session, groups, self.log.len(), false);
        let answers = write.answers.clone();
        let mut after = self.log.len();
        if world.only_reads(groups) {
            if world.mutation == Some(Mutation::LocalReads) {
                after = 0;
            }
        } else if self.counter(world, after, groups[0].0).is_none() {
            return (after, Reply::Absent);
        } else {
            self.log.push(Some(write));
            after += 1;
        }
        (after, Reply::Done(answers))
    }

    pub(super) fn commit(&mut self, session: Session) -> (usize, Reply) {
        if let Some(at) = self.open.iter().position(|open| open.session == session) {
            let write = self.open.remove(at);
            self.log.push(Some(write));
        }
        match self.written(session) {
            Some((after, write)) => (after, Reply::Done(write.answers.clone())),
            None => (self.log.len(), Reply::NoTransaction),
        }
    }

    /// A majority has everything, and follows.
    pub(super) fn replicate(&mut self) {
        self.majority = self.log.len();
        self.rolled_back = None;
    }

    /// Another primary takes over, with this much of the log.
    pub(super) fn fail_over(&mut self, keep: usize) {
        let tail = self.log.split_off(keep);
        self.rolled_back = tail.iter().any(Option::is_some).then_some((keep, tail));
        self.begin_term();
    }

    /// The old primary takes over again, with what was rolled back.
    pub(super) fn fail_back(&mut self) {
        if let Some((from, tail)) = self.rolled_back.take() {
            self.log.truncate(from);
            self.log.extend(tail);
        }
        self.begin_term();
    }

    fn begin_term(&mut self) {
        self.term += 1;
        self.open.clear();
        self.log.push(None);
    }
}
