//! A fleet under load, what is done to it, and the judgement on all that its callers saw.

use std::time::Instant;

use super::fault::{Fault, MEMBERS};
use super::fleet::Fleet;
use super::load::{Counters, Load, Running};
use super::report::{Done, Report};
use crate::support::history::{Findings, Operation, check};
use crate::support::mongod::ReplicaSet;
use crate::support::stores::Store;

/// Short, so that faults outlast them: then there are unknown outcomes.
const TIMEOUTS: [(&str, &str); 2] = [("COUNTER_STORE_TIMEOUT", "2s"), ("COUNTER_REQUEST_TIMEOUT", "4s")];

/// Successful calls between two faults, at least.
const CALM: u64 = 300;

/// A fleet on a database of its own, whose callers call.
pub(crate) struct Trial {
    begun: Instant,
    load: Load,
    fleet: Fleet,
    running: Running,
    faults: usize,
    history: Vec<Operation>,
}

impl Trial {
    pub(crate) async fn start(set: &ReplicaSet, load: Load, settings: &[(&str, &str)]) -> Self {
        eprintln!("CHAOS_SEED={}", load.seed);
        let begun = Instant::now();
        let fleet = Fleet::start(&Store::in_mongodb(&set.uri()), &[&TIMEOUTS, settings].concat()).await;
        let counters = Counters::of_new_users(&fleet.front).await;
        // Callers whose accounts were lost would say nothing of their counters.
        set.wait_until_replicated().await;
        let running = Running::on(counters, &fleet.front, load);
        Self { begun, load, fleet, running, faults: 0, history: Vec::new() }
    }

    /// How many calls have succeeded.
    pub(crate) fn answered(&self) -> u64 {
        self.running.answered()
    }

    /// Waits until many calls have succeeded.
    pub(crate) async fn calm(&self) {
        self.running.advance(CALM).await;
    }

    /// Does one fault and heals it.
    pub(crate) async fn strike(&mut self, fault: Fault, set: &mut ReplicaSet) {
        let (at, started) = (self.begun.elapsed(), Instant::now());
        let outage = fault.apply(set, &mut self.fleet, &mut self.running).await;
        self.faults += 1;
        eprintln!("{}", Done { fault, at, lasted: started.elapsed(), outage });
    }

    /// Lets the callers finish.
    pub(crate) async fn stop(&mut self) {
        self.history = self.running.finish().await;
    }

    /// Reads what has become of the counters now that every member has been killed and started again, and checks the
    /// whole history.
    pub(crate) async fn judge(mut self) -> Findings {
        self.fleet.kill_and_start_all().await;
        self.history.extend(self.running.final_reads().await);
        let findings = check(&self.history);
        let (history, faults, lasted) = (&self.history, self.faults, self.begun.elapsed());
        eprintln!("{}", Report { seed: self.load.seed, history, faults, findings: &findings, lasted });
        findings
    }
}

/// Kills every member at once and starts them again.
pub(crate) async fn kill_and_start_all(set: &mut ReplicaSet) {
    (0..MEMBERS).for_each(|member| set.kill_member(member));
    set.start_all().await;
}
