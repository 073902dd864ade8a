//! What is measured. Each subject makes callers of its own; one generator drives them all.

pub(crate) mod counter_api;
pub(crate) mod mongodb_driver;
pub(crate) mod postgresql;
pub(crate) mod redis;
pub(crate) mod server;

use crate::closed_loop::Caller;
use crate::usage::Usage;

/// Counters of the cases with many.
pub(crate) const COUNTERS: usize = 10_000;

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// A call that is refused for its parameter: the same middleware and token check as a `next`, and no store. What the
    /// HTTP side takes by itself.
    NoOp,
    /// The next number of one counter.
    Hot { keyed: bool },
    /// The next number of one of many counters.
    Spread { keyed: bool },
}

impl Case {
    pub(crate) const HOT: Self = Self::Hot { keyed: false };
    pub(crate) const SPREAD: Self = Self::Spread { keyed: false };

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoOp => "no-op",
            Self::Hot { keyed: false } => "hot",
            Self::Hot { keyed: true } => "hot, keyed",
            Self::Spread { keyed: false } => "10,000 counters",
            Self::Spread { keyed: true } => "10,000 counters, keyed",
        }
    }

    /// The same without keys.
    pub(crate) fn unkeyed(self) -> Self {
        match self {
            Self::NoOp => Self::NoOp,
            Self::Hot { .. } => Self::HOT,
            Self::Spread { .. } => Self::SPREAD,
        }
    }

    /// The counter of a call: where there are many, the calls of all clients are spread over them without any order.
    pub(crate) fn counter(self, client: usize, number: usize) -> usize {
        match self {
            Self::Spread { .. } => client.wrapping_mul(7_919).wrapping_add(number.wrapping_mul(104_729)) % COUNTERS,
            Self::NoOp | Self::Hot { .. } => 0,
        }
    }
}

/// Something that hands out numbers.
pub(crate) trait Subject {
    type Caller: Caller;

    fn name(&self) -> &'static str;

    /// A client on a connection of its own, or, where there is a pool, with a place in it.
    async fn caller(&self, case: Case, client: usize) -> Self::Caller;

    /// What its processes have used so far.
    fn usage(&self) -> Usage;
}
