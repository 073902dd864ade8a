//! The mixed load of many callers, over counters of several users.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

use super::caller::{Caller, Counter, pause};
use super::fleet::{Front, REPLICAS};
use crate::support::eventually_within;
use crate::support::history::{Call, Operation, Outcome};

/// Which of the raced counters is set with keys.
const KEYED: usize = 1;

/// How soon calls succeed again after a fault, on a busy machine. The server drops a transaction that nobody ends only after a
/// minute: that is too late.
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// How much is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) seed: u64,
    /// Callers at once, besides those that race and the quiet one.
    pub(crate) clients: u64,
    /// How long each of them waits between two calls, at most.
    pub(crate) pace: Duration,
}

/// Leaves room for the tests beside it.
pub(crate) const MODEST: Load = Load { seed: 0, clients: 24, pace: Duration::from_millis(50) };
pub(crate) const LIGHT: Load = Load { clients: 8, ..MODEST };
/// As much as the machine can do.
pub(crate) const HEAVY: Load = Load { clients: 64, pace: Duration::ZERO, ..MODEST };

impl Load {
    pub(crate) fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
}

/// A load under way.
pub(crate) struct Running {
    pub(crate) counters: Arc<Counters>,
    progress: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    callers: JoinSet<Vec<Operation>>,
    /// Whoever disturbs the service, and asks whether it is back.
    pub(crate) prober: Caller,
}

/// The counters, by what is done to them.
pub(crate) struct Counters {
    /// Takes and reads, by all callers.
    hot: Counter,
    /// Takes, reads and sets.
    mixed: Vec<Counter>,
    /// Nothing but sets that race. Those of the second bear keys, so that it is known of each race that one has won.
    raced: [Counter; 2],
    /// One caller's, who takes keyed numbers: nothing that anybody else does moves it.
    quiet: Counter,
    /// The prober's.
    pub(crate) probed: Counter,
}

impl Counters {
    pub(crate) async fn of_new_users(front: &Front) -> Self {
        let (busy, quiet, probing) = (front.register().await, front.register().await, front.register().await);
        let racing = [front.register().await, front.register().await];
        let mixed = ["apples", "pears", "plums", "quinces"];
        Self {
            hot: Counter::new(0, "default", &busy),
            raced: [Counter::new(1, "default", &racing[0]), Counter::new(2, "default", &racing[1])],
            quiet: Counter::new(3, "default", &quiet),
            probed: Counter::new(4, "default", &probing),
            mixed: (5..).zip(mixed).map(|(number, name)| Counter::new(number, name, &busy)).collect(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Counter> {
        [&self.hot, &self.quiet, &self.probed].into_iter().chain(&self.raced).chain(&self.mixed)
    }
}

impl Running {
    /// Registers the users and sets the callers going.
    pub(crate) async fn start(front: &Arc<Front>, load: Load) -> Self {
        Self::on(Counters::of_new_users(front).await, front, load)
    }

    /// Sets the callers going.
    pub(crate) fn on(counters: Counters, front: &Arc<Front>, load: Load) -> Self {
        let counters = Arc::new(counters);
        let progress = Arc::new(AtomicU64::new(0));
        let mut prober = Caller {
            front: front.clone(),
            rng: StdRng::seed_from_u64(load.seed),
            since: Instant::now(),
            progress: progress.clone(),
            history: Vec::new(),
        };
        let (stop, mut callers) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for _ in 0..load.clients {
            callers.spawn(mix(prober.another(), counters.clone(), load.pace, stop.clone()));
        }
        for raced in 0..counters.raced.len() {
            callers.spawn(race(prober.another(), counters.clone(), raced, stop.clone()));
        }
        callers.spawn(stay_quiet(prober.another(), counters.clone(), stop.clone()));
        Self { counters, progress, stop, callers, prober }
    }

    /// How many calls have succeeded.
    pub(crate) fn answered(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// Waits until so many more calls have succeeded.
    pub(crate) async fn advance(&self, calls: u64) {
        let goal = self.answered() + calls;
        let advanced = async || (self.answered() >= goal).then_some(());
        eventually_within(BACK_WITHIN, "calls succeed again", advanced).await;
    }

    /// Lets the callers finish: each keyed call until it is definite.
    pub(crate) async fn finish(&mut self) -> Vec<Operation> {
        self.stop.store(true, Ordering::Release);
        let mut history = std::mem::take(&mut self.prober.history);
        while let Some(ended) = self.callers.join_next().await {
            history.extend(ended.expect("a caller met what must not be"));
        }
        history
    }

    /// Reads every counter, when everything has been killed and started again.
    pub(crate) async fn final_reads(&mut self) -> Vec<Operation> {
        for counter in self.counters.all() {
            let prober = &mut self.prober;
            let read = async || matches!(prober.call(counter, Call::Final, None).await, Outcome::Read(_)).then_some(());
            eventually_within(Duration::from_secs(120), "the final value", read).await;
        }
        std::mem::take(&mut self.prober.history)
    }
}

/// Calls this and that: 30 of 100 calls bear a key.
async fn mix(mut caller: Caller, counters: Arc<Counters>, pace: Duration, stop: Arc<AtomicBool>) -> Vec<Operation> {
    while !stop.load(Ordering::Acquire) {
        let counter = match caller.rng.random_range(0..2 * counters.mixed.len()) {
            i if i < counters.mixed.len() => &counters.mixed[i],
            _ => &counters.hot,
        };
        let call = match caller.rng.random_range(0..100) {
            0..15 => Call::Read,
            15..18 if counter.number != counters.hot.number => Call::Set { value: counter.fresh_value(), race: None },
            18..30 => Call::Take(caller.rng.random_range(2..20)),
            _ => Call::Take(1),
        };
        let keyed = call != Call::Read && caller.rng.random_bool(0.35);
        if keyed {
            let key = caller.rng.random();
            caller.repeat_until_definite(counter, call, key).await;
            // Whoever lost the answer asks again, much later even.
            if caller.rng.random_bool(0.1) {
                caller.repeat_until_definite(counter, call, key).await;
            }
        } else {
            caller.call(counter, call, None).await;
        }
        pause(pace.mul_f64(caller.rng.random_range(0.0..1.0))).await;
    }
    caller.history
}

/// Lets one caller at each replica set the counter on the condition that it is as all of them saw it.
async fn race(mut caller: Caller, counters: Arc<Counters>, raced: usize, stop: Arc<AtomicBool>) -> Vec<Operation> {
    let counter = &counters.raced[raced];
    let mut racers: [Caller; REPLICAS] = std::array::from_fn(|_| caller.another());
    while !stop.load(Ordering::Acquire) {
        let replica = caller.front.pick(&mut caller.rng);
        let (Outcome::Read(_), Some(etag)) = caller.call_at(replica, counter, Call::Read, None).await else { continue };
        let set = async |replica: usize, racer: &mut Caller| {
            let call = Call::Set { value: counter.fresh_value(), race: Some(etag) };
            if raced == KEYED {
                racer.call_until_definite(counter, call).await;
            } else {
                racer.call_at(replica, counter, call, None).await;
            }
        };
        let [one, two, three] = &mut racers;
        tokio::join!(set(0, one), set(1, two), set(2, three));
        pause(Duration::from_millis(50)).await;
    }
    racers.into_iter().fold(caller.history, |history, racer| [history, racer.history].concat())
}

/// Takes a number now and then.
async fn stay_quiet(mut caller: Caller, counters: Arc<Counters>, stop: Arc<AtomicBool>) -> Vec<Operation> {
    while !stop.load(Ordering::Acquire) {
        caller.call_until_definite(&counters.quiet, Call::Take(1)).await;
        pause(Duration::from_millis(100)).await;
    }
    caller.history
}
