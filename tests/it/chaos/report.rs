//! What happened, as a table.

use std::fmt;
use std::time::Duration;

use super::fault::{Fault, Outage};
use crate::support::history::{Call, Findings, Operation, Outcome};

/// A fault that was done, when, and what it cost.
pub(crate) struct Done {
    pub(crate) fault: Fault,
    pub(crate) at: Duration,
    pub(crate) lasted: Duration,
    pub(crate) outage: Option<Outage>,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, lasted) = (self.at.as_secs_f64(), self.lasted.as_secs_f64());
        write!(f, "at {at:>6.1} s {:<18} for {lasted:>4.1} s", format!("{:?}", self.fault))?;
        if let Some(Outage { election, service }) = self.outage {
            let (election, service) = (election.as_secs_f64(), service.as_secs_f64());
            write!(f, "; a primary after {election:.2} s, an answer after {service:.2} s")?;
        }
        Ok(())
    }
}

/// A run, for people.
pub(crate) struct Report<'a> {
    pub(crate) seed: u64,
    pub(crate) history: &'a [Operation],
    pub(crate) faults: usize,
    pub(crate) findings: &'a Findings,
    pub(crate) lasted: Duration,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, history, faults, findings, lasted } = self;
        writeln!(f, "seed {seed}: {} calls in {:.0} s", history.len(), lasted.as_secs_f64())?;
        writeln!(f, "{:<14}{:>10}{:>10}{:>10}{:>10}{:>10}", "", "calls", "keyed", "done", "refused", "unknown")?;
        for name in ["next", "next?count=N", "PUT", "current"] {
            let count = |wanted: fn(&Operation) -> bool| {
                history.iter().filter(|operation| name_of(operation.call) == name && wanted(operation)).count()
            };
            let (calls, keyed) = (count(|_| true), count(|operation| operation.key.is_some()));
            let refused = count(|operation| operation.outcome == Outcome::Refused);
            let unknown = count(|operation| operation.outcome == Outcome::Unknown);
            let done = calls - refused - unknown;
            writeln!(f, "{name:<14}{calls:>10}{keyed:>10}{done:>10}{refused:>10}{unknown:>10}")?;
        }
        write!(f, "{faults} faults, {} numbers skipped, {} violations", findings.holes, findings.violations.len())
    }
}

fn name_of(call: Call) -> &'static str {
    match call {
        Call::Take(1) => "next",
        Call::Take(_) => "next?count=N",
        Call::Set { .. } => "PUT",
        Call::Read | Call::Final => "current",
    }
}
