//! The table of closed loops: each row with its ratios to the raw driver and to the HTTP side's own limit.

use std::time::Duration;

use serde::Serialize;

use crate::closed_loop::{Measured, measure};
use crate::subjects::{Case, Subject, mongodb_driver};
use crate::usage::Usage;

/// How long each row is measured in each round.
const MEASURED: Duration = Duration::from_secs(3);
/// How often. A single one may meet a disk that is busy with something else.
const ROUNDS: usize = 3;

/// One row: the median of its rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) subject: &'static str,
    #[serde(serialize_with = "name_of")]
    pub(crate) case: Case,
    pub(crate) clients: usize,
    pub(crate) calls_per_second: f64,
    slowest_round: f64,
    fastest_round: f64,
    pub(crate) p50_s: f64,
    p99_s: f64,
    calls: usize,
    #[serde(flatten)]
    spent: Usage,
}

fn name_of<S: serde::Serializer>(case: &Case, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(case.name())
}

/// All rows.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Rows(Vec<Row>);

impl Rows {
    /// Measures a subject in these cases, each with so many clients: all of them in turn, and so a few times.
    pub(crate) async fn measure<S: Subject>(&mut self, subject: &S, cases: Vec<(Case, usize)>) {
        let mut rounds: Vec<Vec<Row>> = cases.iter().map(|_| Vec::new()).collect();
        for round in 1..=ROUNDS {
            for ((case, clients), rows) in cases.iter().copied().zip(&mut rounds) {
                let mut callers = Vec::new();
                for client in 0..clients {
                    callers.push(subject.caller(case, client).await);
                }
                let measured = measure(callers, MEASURED, || subject.usage()).await;
                let row = Row::new(subject.name(), case, clients, &measured);
                let (what, rate) = (case.name(), row.calls_per_second);
                eprintln!("round {round}: {}, {what}, {clients} clients: {rate:.0} calls/s", row.subject);
                rows.push(row);
            }
        }
        self.0.extend(rounds.into_iter().map(Row::median));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn find(&self, subject: &str, case: Case, clients: usize) -> Option<&Row> {
        self.0.iter().find(|row| row.subject == subject && row.case == case && row.clients == clients)
    }

    /// The most calls a second that a subject did in a case, with whatever number of clients.
    fn best(&self, subject: &str, case: Case) -> Option<f64> {
        let rows = self.0.iter().filter(|row| row.subject == subject && row.case == case);
        rows.map(|row| row.calls_per_second).max_by(f64::total_cmp)
    }

    /// How many times the raw driver at its best. A keyed call has no other peer than the one without a key.
    pub(crate) fn to_raw(&self, row: &Row) -> Option<f64> {
        Some(row.calls_per_second / self.best(mongodb_driver::NAME, row.case.unkeyed())?)
    }

    /// How much of what the same service does at its best where nothing reaches the store.
    pub(crate) fn to_limit(&self, row: &Row) -> Option<f64> {
        Some(row.calls_per_second / self.best(row.subject, Case::NoOp)?)
    }

    pub(crate) fn table(&self) -> String {
        let mut table = String::from(
            "| subject | case | clients | calls/s | of the rounds | × raw driver | of the HTTP limit | p50 ms | p99 ms | CPU s / 10,000 calls: service | database | service MB |\n\
             |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        for row in &self.0 {
            let Row { subject, clients, calls_per_second, slowest_round, fastest_round, p50_s, p99_s, spent, .. } = row;
            let to_raw = self.to_raw(row).map_or(String::new(), |ratio| format!("{ratio:.2}"));
            let to_limit = self.to_limit(row).map_or(String::new(), |ratio| format!("{:.0} %", ratio * 100.0));
            // Only what is a service has a service's costs.
            let of_service = |text: String| if spent.service_memory_bytes > 0 { text } else { String::new() };
            table.push_str(&format!(
                "| {subject} | {} | {clients} | {calls_per_second:.0} | {slowest_round:.0}–{fastest_round:.0} | {to_raw} | {to_limit} | {:.2} | {:.2} | {} | {:.2} | {} |\n",
                row.case.name(),
                p50_s * 1e3,
                p99_s * 1e3,
                of_service(format!("{:.2}", row.per_10_000(spent.service_cpu_s))),
                row.per_10_000(spent.database_cpu_s),
                of_service(format!("{:.0}", spent.service_memory_bytes as f64 / 1e6)),
            ));
        }
        table
    }
}

impl Row {
    fn new(subject: &'static str, case: Case, clients: usize, measured: &Measured) -> Self {
        let latencies = &measured.latencies;
        Self {
            subject,
            case,
            clients,
            calls_per_second: measured.rate(),
            slowest_round: measured.rate(),
            fastest_round: measured.rate(),
            p50_s: latencies.percentile(50),
            p99_s: latencies.percentile(99),
            calls: latencies.count(),
            spent: measured.spent,
        }
    }

    /// The round in the middle, which knows how far the others are from it.
    fn median(mut rounds: Vec<Self>) -> Self {
        rounds.sort_by(|one, other| one.calls_per_second.total_cmp(&other.calls_per_second));
        let slowest_round = rounds[0].calls_per_second;
        let fastest_round = rounds[rounds.len() - 1].calls_per_second;
        Self { slowest_round, fastest_round, ..rounds.swap_remove(rounds.len() / 2) }
    }

    fn per_10_000(&self, cpu_s: f64) -> f64 {
        cpu_s * 10_000.0 / self.calls.max(1) as f64
    }
}
