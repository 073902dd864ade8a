//! What is done to the service and its database. Each fault ends healed.

use std::time::{Duration, Instant};

use rand::Rng;
use rand::seq::IndexedRandom;

use super::caller::pause;
use super::fleet::{Fleet, REPLICAS};
use super::load::Running;
use crate::support::history::{Call, Outcome};
use crate::support::mongod::ReplicaSet;
use crate::support::proxy::Mode;

pub(crate) const MEMBERS: usize = 3;

/// How far the secondaries fall behind.
const LAG: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Fault {
    /// `kill -9` of the primary.
    KillPrimary,
    /// The primary is frozen until another one is elected, and goes on then, not knowing.
    FreezePrimary,
    StepDown,
    /// `kill -9` of all members at once.
    KillAllMembers,
    /// The secondaries fall behind, and the primary is killed: what only it has is lost.
    KillLonelyPrimary,
    /// A secondary falls behind, while the majority goes on without it.
    LagSecondary,
    /// `kill -9` of a replica of the service.
    KillReplica,
    /// A replica of the service is frozen for longer than its operations may last.
    FreezeReplica,
    /// The proxies reset connections, hold everything back, or lose the answers.
    Refuse,
    BlackHole,
    DropAnswers,
    /// Every replica of the service and every member is replaced, one after the other.
    RollingRestart,
}

impl Fault {
    pub(crate) const ALL: [Self; 12] = [
        Self::KillPrimary,
        Self::FreezePrimary,
        Self::StepDown,
        Self::KillAllMembers,
        Self::KillLonelyPrimary,
        Self::LagSecondary,
        Self::KillReplica,
        Self::FreezeReplica,
        Self::Refuse,
        Self::BlackHole,
        Self::DropAnswers,
        Self::RollingRestart,
    ];

    /// Does it, and heals it.
    pub(crate) async fn apply(self, set: &mut ReplicaSet, fleet: &mut Fleet, load: &mut Running) -> Option<Outage> {
        let mut outage = None;
        match self {
            Self::KillPrimary => {
                let primary = set.primary().await;
                set.kill_member(primary);
                outage = Some(Outage::measure(set, load).await);
            }
            Self::FreezePrimary => {
                let primary = set.primary().await;
                set.pause_member(primary);
                set.primary().await;
                set.resume_member(primary);
            }
            Self::StepDown => {
                set.step_down().await;
            }
            Self::KillAllMembers => (0..MEMBERS).for_each(|member| set.kill_member(member)),
            Self::KillLonelyPrimary => {
                let primary = set.primary().await;
                let secondaries = [(primary + 1) % MEMBERS, (primary + 2) % MEMBERS];
                for secondary in secondaries {
                    set.replicate(secondary, false).await;
                }
                pause(LAG).await;
                set.kill_member(primary);
                for secondary in secondaries {
                    set.replicate(secondary, true).await;
                }
                set.primary().await;
            }
            Self::LagSecondary => {
                let secondary = (set.primary().await + 1) % MEMBERS;
                set.replicate(secondary, false).await;
                pause(HOLD.end).await;
                set.replicate(secondary, true).await;
            }
            Self::KillReplica => {
                let replica = load.prober.rng.random_range(0..REPLICAS);
                fleet.service(replica).kill9();
                fleet.start_again(replica).await;
            }
            Self::FreezeReplica => {
                let replica = load.prober.rng.random_range(0..REPLICAS);
                fleet.service(replica).signal("STOP");
                pause(HOLD.end).await;
                fleet.service(replica).signal("CONT");
            }
            Self::Refuse => proxies(Mode::Refuse, set, load).await,
            Self::BlackHole => proxies(Mode::BlackHole, set, load).await,
            Self::DropAnswers => proxies(Mode::DropAnswers, set, load).await,
            Self::RollingRestart => {
                fleet.rolling_restart().await;
                set.rolling_restart().await;
            }
        }
        set.start_all().await;
        outage
    }
}

/// How long the proxies do harm: about as long as an operation of the store may last, sometimes less and sometimes more.
const HOLD: std::ops::Range<Duration> = Duration::from_millis(800)..Duration::from_millis(3500);

/// Switches the primary's proxy or all of them to this mode for a while.
async fn proxies(mode: Mode, set: &ReplicaSet, load: &mut Running) {
    let primary = set.primary().await;
    let all = load.prober.rng.random_bool(0.5);
    let harmed: Vec<usize> = (0..MEMBERS).filter(|member| all || *member == primary).collect();
    harmed.iter().for_each(|member| set.set_proxy(*member, mode));
    pause(load.prober.rng.random_range(HOLD)).await;
    harmed.iter().for_each(|member| set.set_proxy(*member, Mode::Pass));
}

/// What a primary's death costs: the election itself, and the time until callers are served again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    pub(crate) election: Duration,
    pub(crate) service: Duration,
}

impl Outage {
    /// From the moment of the kill, which is now.
    pub(crate) async fn measure(set: &ReplicaSet, load: &mut Running) -> Self {
        let killed = Instant::now();
        let election = async {
            set.primary().await;
            killed.elapsed()
        };
        let Running { counters, prober, .. } = load;
        let service = async {
            while !matches!(prober.call(&counters.probed, Call::Take(1), None).await, Outcome::Took { .. }) {}
            killed.elapsed()
        };
        let (election, service) = tokio::join!(election, service);
        Self { election, service }
    }

    /// What the service adds to the election.
    pub(crate) fn added(self) -> Duration {
        self.service.saturating_sub(self.election)
    }
}

/// Faults without end, in an order that the generator draws: each once before any comes again.
pub(crate) fn endless(rng: &mut impl Rng) -> impl Iterator<Item = Fault> {
    std::iter::repeat_with(|| Fault::ALL.choose_multiple(rng, Fault::ALL.len()).copied().collect::<Vec<_>>()).flatten()
}
