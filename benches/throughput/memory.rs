//! Does the service's memory grow with the counters that it was ever asked for?

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde::Serialize;

use crate::subjects::Subject;
use crate::subjects::counter_api::CounterApi;
use crate::usage::memory;

/// Clients, whose connections are part of what is measured.
const CLIENTS: usize = 1_000;
/// After so many distinct counters the memory is read.
const STEPS: [usize; 5] = [10_000, 250_000, 500_000, 750_000, 1_000_000];
/// The step from which on it is to be flat.
const SETTLED: usize = 250_000;

/// The memory of a service on one store.
#[derive(Debug, Serialize)]
pub(crate) struct Memory {
    pub(crate) subject: &'static str,
    /// When nobody had called.
    idle_bytes: u64,
    /// After so many counters.
    steps: Vec<(usize, u64)>,
    counters_per_second: f64,
}

impl Memory {
    /// Touches the counters, each once, and reads the memory on the way.
    pub(crate) async fn measure(api: &CounterApi) -> Self {
        let rss = || memory(api.service.id());
        let idle_bytes = rss();
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(api.user.connect().await);
        }
        let next = Arc::new(AtomicUsize::new(0));
        let began = Instant::now();
        let mut steps = Vec::new();
        for step in STEPS {
            let tasks: Vec<_> = clients
                .drain(..)
                .map(|mut http| {
                    let next = next.clone();
                    tokio::spawn(async move {
                        let below = |counter: usize| (counter < step).then_some(counter + 1);
                        while let Ok(counter) = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below) {
                            http.take(counter).await;
                        }
                        http
                    })
                })
                .collect();
            for task in tasks {
                clients.push(task.await.unwrap());
            }
            steps.push((step, rss()));
            eprintln!("{}, memory, {step} counters: {:.1} MB", api.name(), rss() as f64 / 1e6);
        }
        let counters_per_second = STEPS[STEPS.len() - 1] as f64 / began.elapsed().as_secs_f64();
        Self { subject: api.name(), idle_bytes, steps, counters_per_second }
    }

    /// In MB, after the last step.
    pub(crate) fn last(&self) -> f64 {
        self.steps[self.steps.len() - 1].1 as f64 / 1e6
    }

    /// The last step against the one from which on it is to be flat.
    pub(crate) fn growth(&self) -> Option<f64> {
        let (_, settled) = self.steps.iter().find(|(step, _)| *step == SETTLED)?;
        Some(self.last() * 1e6 / *settled as f64)
    }

    pub(crate) fn table(all: &[Self]) -> String {
        let mut table = String::from("| MB | idle |");
        table.extend(STEPS.map(|step| format!(" {} |", thousands(step))));
        table.push_str(" counters made a second |\n|---|---:|---:|---:|---:|---:|---:|---:|\n");
        for memory in all {
            table.push_str(&format!("| {} | {:.1} |", memory.subject, memory.idle_bytes as f64 / 1e6));
            table.extend(memory.steps.iter().map(|(_, bytes)| format!(" {:.1} |", *bytes as f64 / 1e6)));
            table.push_str(&format!(" {:.0} |\n", memory.counters_per_second));
        }
        table
    }
}

/// `1,000,000`.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}
