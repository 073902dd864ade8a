//! What the service takes, beside what its database and its HTTP side take by themselves: one run, one machine, one replica
//! set, one table. `make bench` runs it.
//!
//! Closed loop: each client calls again as soon as it has its answer, so latencies are those at saturation, and the load
//! generator takes its part of the same cores. Compare ratios within a run, never figures between runs.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that measures: what fails ends it"
)]

#[expect(dead_code, reason = "the bench needs a part of what the tests share")]
#[path = "../../tests/it/support/mod.rs"]
mod support;

mod client;
mod report;

use std::time::{Duration, Instant};

use client::{Caller, Driver, Http, Wanted};
use report::{Report, Row, Usage};
use support::mongod::ReplicaSet;
use support::service::Service;
use support::stores::{Kind, Store};

/// How long each row is measured, after a warm-up.
const MEASURED: Duration = Duration::from_secs(5);
const WARM_UP: Duration = Duration::from_millis(1_500);

/// Counters of the rows with many.
const COUNTERS: usize = 10_000;

#[tokio::main]
async fn main() {
    let options = Options::from_arguments();
    let set = ReplicaSet::start(3).await;
    let mongods: Vec<u32> = (0..3).filter_map(|i| set.pid(i)).collect();
    let mut report = Report::default();
    for (case, counters, clients) in [
        ("hot", 1, 1),
        ("hot", 1, 64),
        ("hot", 1, 256),
        ("10,000 counters", COUNTERS, 64),
        ("10,000 counters", COUNTERS, 256),
    ] {
        if options.wants("raw driver", case, clients) {
            let driver = Driver::connect(&set.uri()).await;
            let callers = (0..clients).map(|client| driver.caller(client, counters)).collect();
            let (latencies, spent) = measure(callers, || Usage::of(&[], &mongods)).await;
            report.add(Row::new("raw driver", case, clients, MEASURED, latencies, spent));
        }
    }
    for kind in [Kind::Mongodb, Kind::Redb] {
        let (name, store, database) = match kind {
            Kind::Mongodb => ("MongoDB", Store::in_mongodb(&set.uri()), mongods.clone()),
            Kind::Redb => ("redb", Store::fresh(kind).await, Vec::new()),
        };
        let cases: Vec<_> = cases().filter(|(case, clients)| options.wants(name, case.name(), *clients)).collect();
        if cases.is_empty() {
            continue;
        }
        let service = Service::on(&store, &[("COUNTER_COUNTERS_PER_USER", "1000000")]).await;
        let token = client::register(service.address()).await;
        client::make_counters(service.address(), &token, COUNTERS).await;
        for (wanted, clients) in cases {
            let mut callers = Vec::new();
            for client in 0..clients {
                callers.push(Http::connect(service.address(), &token, wanted, client, COUNTERS).await);
            }
            let (latencies, spent) = measure(callers, || Usage::of(&[service.id()], &database)).await;
            report.add(Row::new(name, wanted.name(), clients, MEASURED, latencies, spent));
        }
    }
    println!("{}", report.table());
    if let Some(path) = options.json {
        std::fs::write(path, report.json()).unwrap();
    }
}

/// `[--json FILE] [WORDS]`: rows whose `subject, case, clients` holds the words, or all of them.
#[derive(Default)]
struct Options {
    json: Option<String>,
    words: Option<String>,
}

impl Options {
    fn from_arguments() -> Self {
        let mut options = Self::default();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--json" => options.json = arguments.next(),
                // Cargo tells every bench that it is one.
                "--bench" => {}
                words => options.words = Some(words.to_owned()),
            }
        }
        options
    }

    fn wants(&self, subject: &str, case: &str, clients: usize) -> bool {
        let row = format!("{subject}, {case}, {clients} clients");
        self.words.as_ref().is_none_or(|words| row.contains(words.as_str()))
    }
}

fn cases() -> impl Iterator<Item = (Wanted, usize)> {
    let rows = [
        (Wanted::Refusal, &[64, 256, 1_000][..]),
        (Wanted::Hot { keyed: false }, &[1, 64, 256, 1_000]),
        (Wanted::Hot { keyed: true }, &[256, 1_000]),
        (Wanted::Spread { keyed: false }, &[64, 256, 1_000]),
        (Wanted::Spread { keyed: true }, &[256, 1_000]),
    ];
    rows.into_iter().flat_map(|(wanted, clients)| clients.iter().map(move |clients| (wanted, *clients)))
}

/// Runs the callers through the warm-up and the measured time. Answers the latencies of the calls that ended in the latter,
/// and what that time cost.
async fn measure<C: Caller>(callers: Vec<C>, usage: impl Fn() -> Usage) -> (Vec<Duration>, Usage) {
    let begin = Instant::now() + WARM_UP;
    let end = begin + MEASURED;
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
                latencies
            })
        })
        .collect();
    tokio::time::sleep_until(begin.into()).await;
    let before = usage();
    tokio::time::sleep_until(end.into()).await;
    let spent = usage().since(&before);
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    (latencies, spent)
}
