//! Closed loop: each client calls again as soon as it has its answer.

use std::time::{Duration, Instant};

use crate::usage::Usage;

/// How long callers call before it counts.
const WARM_UP: Duration = Duration::from_secs(1);

/// Somebody who calls again and again.
pub(crate) trait Caller: Send + 'static {
    /// Does the call with this number.
    fn call(&mut self, number: usize) -> impl Future<Output = ()> + Send;
}

/// What was measured.
pub(crate) struct Measured {
    pub(crate) latencies: Latencies,
    pub(crate) spent: Usage,
    /// How long it was measured.
    pub(crate) seconds: f64,
}

impl Measured {
    /// Calls a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.count() as f64 / self.seconds
    }
}

/// How long calls took, sorted.
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn new(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        Self(latencies)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// So many in a hundred calls took at most so many seconds.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        self.0.get(self.0.len() * percent / 100).copied().unwrap_or_default().as_secs_f64()
    }
}

/// Runs the callers through the warm-up and the measured time. Answers the latencies of the calls that began in the latter,
/// and what that time cost.
pub(crate) async fn measure<C: Caller>(callers: Vec<C>, measured: Duration, usage: impl Fn() -> Usage) -> Measured {
    let begin = Instant::now() + WARM_UP;
    let end = begin + measured;
    let tasks: Vec<_> = callers
        .into_iter()
        .map(|mut caller| {
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                for call in 0.. {
                    let started = Instant::now();
                    if started >= end {
                        break;
                    }
                    caller.call(call).await;
                    if started >= begin {
                        latencies.push(started.elapsed());
                    }
                }
                // The connection stays open until the usage has been read.
                (latencies, caller)
            })
        })
        .collect();
    tokio::time::sleep_until(begin.into()).await;
    let before = usage();
    tokio::time::sleep_until(end.into()).await;
    let spent = usage().since(&before);
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap().0);
    }
    Measured { latencies: Latencies::new(latencies), spent, seconds: measured.as_secs_f64() }
}
