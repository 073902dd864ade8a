//! Open loop: calls come at three times the rate that the service can serve, whether or not answers do.
//!
//! The generator shares the cores with what it measures. Where the store is what limits the rate, there is CPU left to send
//! and to refuse; so the store is slowed for the figures that count, and left as it is for others that show what refusing
//! costs when CPU is short.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Document, doc};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::closed_loop::{Latencies, measure};
use crate::subjects::counter_api::{Connection, CounterApi, path_of};
use crate::subjects::{Case, Subject};
use crate::support::stores::Store;
use crate::usage::{Usage, cpu};

/// Calls that may wait in the service.
const MAX_QUEUE: &str = "4000";
/// What the service is told: that, to take all connections of the open loop, and to keep those that are not used at once.
pub(crate) const SETTINGS: [(&str, &str); 3] =
    [("COUNTER_MAX_QUEUE", MAX_QUEUE), ("COUNTER_MAX_CONNECTIONS", "20000"), ("COUNTER_HEADER_TIMEOUT", "5m")];
/// Clients of the closed loops that find the peak: no more than may wait, or some would be refused.
const PEAK_CLIENTS: [usize; 2] = [2_000, 4_000];
/// Connections of the open loop: what may wait, what is under way and what is being refused, with room to spare.
const CONNECTIONS: usize = 10_000;
/// Arrivals, as a multiple of the peak.
const TIMES: f64 = 3.0;
const PEAK_MEASURED: Duration = Duration::from_secs(5);
/// Until the queue is full.
const WARM_UP: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(8);

/// How the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pace {
    /// Every commit takes so much longer that the store is what limits the rate.
    Slowed,
    AsItIs,
}

impl Pace {
    const SLOWED_BY_MS: i64 = 300;

    fn name(self) -> String {
        match self {
            Self::Slowed => format!("commits take {} ms longer", Self::SLOWED_BY_MS),
            Self::AsItIs => "as it is".to_owned(),
        }
    }
}

/// What happened at three times the peak.
#[derive(Debug, Serialize)]
pub(crate) struct Overload {
    pub(crate) pace: Pace,
    peak_per_second: f64,
    peak_clients: usize,
    /// What was sent.
    arrivals_per_second: f64,
    goodput_per_second: f64,
    refused_per_second: f64,
    /// From when a call was due to when it was known to be refused.
    refused_p50_s: f64,
    pub(crate) refused_p99_s: f64,
    served_p50_s: f64,
    /// How late the generator itself was with a call: a part of the times above.
    late_p99_s: f64,
    /// Arrivals for which no connection was free.
    not_sent: usize,
    /// Answers of the whole run, `ok` or an error's code.
    outcomes: BTreeMap<String, usize>,
    /// Numbers that the counters rose by and nobody got.
    pub(crate) burned: i64,
    /// Part of the machine's cores that the generator took.
    generator_cores: f64,
    service_cores: f64,
    database_cores: f64,
}

impl Overload {
    /// Finds the peak of a service in front of this replica set, and sends three times as much.
    pub(crate) async fn measure(api: &CounterApi, store: &Store, pace: Pace) -> Self {
        let database = Client::with_uri_str(&store.url).await.unwrap();
        if pace == Pace::Slowed {
            slow_down(&database, true).await;
        }
        let (peak, peak_clients) = peak(api).await;
        let mut pool = Vec::new();
        for _ in 0..CONNECTIONS {
            pool.push(api.user.connect().await);
        }
        let before = sum_of_counters(&database, store).await;
        let mut load = OpenLoop::new(pool);
        let all_usage = || (api.usage(), cpu(&[std::process::id()]));
        let arrivals = peak * TIMES;
        load.run(arrivals, WARM_UP).await;
        let (from, (usage, generator)) = (Instant::now(), all_usage());
        let sent_before = load.sent;
        load.run(arrivals, MEASURED).await;
        let (to, (usage_after, generator_after)) = (Instant::now(), all_usage());
        let sent = load.sent - sent_before;
        let (not_sent, answers) = (load.not_sent, load.calls.join_all().await);
        if pace == Pace::Slowed {
            slow_down(&database, false).await;
        }
        let after = sum_of_counters(&database, store).await;

        let seconds = (to - from).as_secs_f64();
        let measured = || answers.iter().filter(|answer| (from..to).contains(&answer.at));
        let within = |outcome: &str| {
            let wanted = measured().filter(|answer| answer.outcome == outcome);
            Latencies::new(wanted.map(|answer| answer.at - answer.due).collect())
        };
        let late = Latencies::new(measured().map(|answer| answer.sent - answer.due).collect());
        let (served, refused) = (within("ok"), within("overloaded"));
        let mut outcomes = BTreeMap::new();
        for answer in &answers {
            *outcomes.entry(answer.outcome.clone()).or_insert(0) += 1;
        }
        let got = i64::try_from(outcomes.get("ok").copied().unwrap_or(0)).unwrap();
        let spent = usage_after.since(&usage);
        let overload = Self {
            pace,
            peak_per_second: peak,
            peak_clients,
            arrivals_per_second: sent as f64 / seconds,
            goodput_per_second: served.count() as f64 / seconds,
            refused_per_second: refused.count() as f64 / seconds,
            refused_p50_s: refused.percentile(50),
            refused_p99_s: refused.percentile(99),
            served_p50_s: served.percentile(50),
            late_p99_s: late.percentile(99),
            not_sent,
            outcomes,
            burned: after - before - got,
            generator_cores: (generator_after - generator) / seconds,
            service_cores: spent.service_cpu_s / seconds,
            database_cores: spent.database_cpu_s / seconds,
        };
        eprintln!("{}, overload, store {}: goodput {:.0} %", api.name(), pace.name(), overload.goodput() * 100.0);
        overload
    }

    /// What was served, as a part of the peak.
    pub(crate) fn goodput(&self) -> f64 {
        self.goodput_per_second / self.peak_per_second
    }

    /// Calls that ended without their callers knowing whether they took a number.
    pub(crate) fn unknown(&self) -> usize {
        self.outcomes.get("outcome_unknown").copied().unwrap_or(0)
    }

    pub(crate) fn table(all: &[Self]) -> String {
        let mut table = String::from(
            "| store | peak calls/s | at clients | sent/s | served/s | of the peak | refused/s | to refuse: p50 ms | p99 ms | to serve: p50 ms | sent late: p99 ms | burned | not sent | all answers | cores: generator | service | database |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|---:|---:|---:|\n",
        );
        for row in all {
            let outcomes: Vec<String> =
                row.outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
            table.push_str(&format!(
                "| {} | {:.0} | {} | {:.0} | {:.0} | {:.0} % | {:.0} | {:.2} | {:.2} | {:.0} | {:.2} | {} | {} | {} | {:.2} | {:.2} | {:.2} |\n",
                row.pace.name(),
                row.peak_per_second,
                row.peak_clients,
                row.arrivals_per_second,
                row.goodput_per_second,
                row.goodput() * 100.0,
                row.refused_per_second,
                row.refused_p50_s * 1e3,
                row.refused_p99_s * 1e3,
                row.served_p50_s * 1e3,
                row.late_p99_s * 1e3,
                row.burned,
                row.not_sent,
                outcomes.join(", "),
                row.generator_cores,
                row.service_cores,
                row.database_cores,
            ));
        }
        table
    }
}

/// The most calls a second that a closed loop reaches, and with how many clients.
async fn peak(api: &CounterApi) -> (f64, usize) {
    let mut best = (0.0, 0);
    for clients in PEAK_CLIENTS {
        let mut callers = Vec::new();
        for client in 0..clients {
            callers.push(api.caller(Case::SPREAD, client).await);
        }
        let rate = measure(callers, PEAK_MEASURED, Usage::default).await.rate();
        eprintln!("{}, overload, peak with {clients} clients: {rate:.0} calls/s", api.name());
        if rate > best.0 {
            best = (rate, clients);
        }
    }
    best
}

/// Lets every commit wait in the primary before it does anything, or no more. The servers run with test commands enabled.
async fn slow_down(database: &Client, slow: bool) {
    let data = doc! {
        "failCommands": ["commitTransaction", "findAndModify"], "blockConnection": true, "blockTimeMS": Pace::SLOWED_BY_MS,
    };
    let command = if slow {
        doc! { "configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data }
    } else {
        doc! { "configureFailPoint": "failCommand", "mode": "off" }
    };
    database.database("admin").run_command(command).await.unwrap();
}

/// What all counters stand at together.
async fn sum_of_counters(database: &Client, store: &Store) -> i64 {
    let counters = database.database(store.database()).collection::<Document>("incremental_counter");
    let sum = doc! { "$group": { "_id": null, "sum": { "$sum": "$value" } } };
    let mut found = counters.aggregate([sum]).await.unwrap();
    assert!(found.advance().await.unwrap());
    found.deserialize_current().unwrap().get_i64("sum").unwrap()
}

/// Sends at a rate, on whichever connection is free.
struct OpenLoop {
    idle: Arc<Mutex<Vec<Connection>>>,
    calls: JoinSet<Answer>,
    sent: usize,
    not_sent: usize,
}

struct Answer {
    due: Instant,
    sent: Instant,
    at: Instant,
    /// `ok` or an error's code.
    outcome: String,
}

impl OpenLoop {
    fn new(pool: Vec<Connection>) -> Self {
        Self { idle: Arc::new(Mutex::new(pool)), calls: JoinSet::new(), sent: 0, not_sent: 0 }
    }

    async fn run(&mut self, per_second: f64, time: Duration) {
        let begin = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(1));
        let dues = (0_u32..).map(|number| begin + Duration::from_secs_f64(f64::from(number) / per_second));
        for due in dues.take_while(|due| *due < begin + time) {
            while Instant::now() < due {
                tick.tick().await;
            }
            self.send(due);
        }
    }

    fn send(&mut self, due: Instant) {
        let Some(mut connection) = self.idle.lock().unwrap().pop() else {
            self.not_sent += 1;
            return;
        };
        self.sent += 1;
        let path = path_of(Case::SPREAD.counter(0, self.sent));
        let idle = self.idle.clone();
        self.calls.spawn(async move {
            let sent = Instant::now();
            let (status, body) = connection.post(&path, None).await;
            let at = Instant::now();
            idle.lock().unwrap().push(connection);
            let outcome = if status == 200 {
                "ok".to_owned()
            } else {
                let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
                problem["code"].as_str().unwrap().to_owned()
            };
            Answer { due, sent, at, outcome }
        });
    }
}
