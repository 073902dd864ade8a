//! Does one hot counter slow the users of others?

use std::time::Duration;

use serde::Serialize;

use crate::closed_loop::measure;
use crate::subjects::counter_api::{ApiCaller, CounterApi, User};
use crate::subjects::{Case, Subject};
use crate::support::service::Service;
use crate::usage::Usage;

/// Who makes the counter hot.
const CLIENTS: usize = 256;
/// Other users, each with one client and a counter of its own: several, for a 99th percentile needs many calls.
const OTHERS: usize = 4;
const MEASURED: Duration = Duration::from_secs(10);

/// What the other users see beside one load.
#[derive(Debug, Serialize)]
pub(crate) struct Fairness {
    pub(crate) subject: &'static str,
    pub(crate) beside: &'static str,
    load_calls_per_second: f64,
    p50_s: f64,
    pub(crate) p99_s: f64,
}

pub(crate) const NOBODY: &str = "nobody else";
pub(crate) const SPREAD: &str = "256 clients on 10,000 counters";
pub(crate) const HOT: &str = "256 clients on one counter";
pub(crate) const HOT_ELSEWHERE: &str = "256 clients on one counter, half of them at another replica";

impl Fairness {
    /// Measures the other users beside each load; with another replica of the service, where there is one, from there too.
    pub(crate) async fn measure(api: &CounterApi, replica: Option<&Service>) -> Vec<Self> {
        let mut others = Vec::new();
        for other in 0..OTHERS {
            others.push(User::register(&api.service, &format!("other{other}")).await);
        }
        let here = &api.service;
        let mut beside = vec![(NOBODY, None, here), (SPREAD, Some(Case::SPREAD), here), (HOT, Some(Case::HOT), here)];
        beside.extend(replica.map(|replica| (HOT_ELSEWHERE, Some(Case::HOT), replica)));
        let mut all = Vec::new();
        for (beside, load, from) in beside {
            let mut clients = Vec::new();
            if let Some(case) = load {
                for client in 0..CLIENTS {
                    // Half of them where the others are too: the two replicas meet on the counter.
                    let at = if client % 2 == 0 { here } else { from };
                    clients.push(ApiCaller { http: api.user.at(at).connect().await, case, client });
                }
            }
            let mut callers = Vec::new();
            for (client, other) in others.iter().enumerate() {
                callers.push(ApiCaller { http: other.at(from).connect().await, case: Case::HOT, client });
            }
            let (others, load) =
                tokio::join!(measure(callers, MEASURED, Usage::default), measure(clients, MEASURED, Usage::default));
            eprintln!("{}, fairness, beside {beside}: p99 {:.2} ms", api.name(), others.latencies.percentile(99) * 1e3);
            all.push(Self {
                subject: api.name(),
                beside,
                load_calls_per_second: load.rate(),
                p50_s: others.latencies.percentile(50),
                p99_s: others.latencies.percentile(99),
            });
        }
        all
    }

    /// This p99 against the one beside another load.
    pub(crate) fn ratio(&self, all: &[Self], to: &str) -> Option<f64> {
        let other = all.iter().find(|other| other.subject == self.subject && other.beside == to)?;
        Some(self.p99_s / other.p99_s)
    }

    pub(crate) fn table(all: &[Self]) -> String {
        let mut table = String::from(
            "| subject | beside | their calls/s | p50 ms | p99 ms | × beside nobody else | × beside the spread load |\n\
             |---|---|---:|---:|---:|---:|---:|\n",
        );
        for row in all {
            let ratio = |to| row.ratio(all, to).map_or(String::new(), |ratio| format!("{ratio:.2}"));
            table.push_str(&format!(
                "| {} | {} | {:.0} | {:.2} | {:.2} | {} | {} |\n",
                row.subject,
                row.beside,
                row.load_calls_per_second,
                row.p50_s * 1e3,
                row.p99_s * 1e3,
                ratio(NOBODY),
                ratio(SPREAD),
            ));
        }
        table
    }
}
