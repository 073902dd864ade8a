//! What telemetry costs: services that differ in nothing else, measured in turns, so that each is held against the others in
//! the same minutes.

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::closed_loop::measure;
use crate::subjects::counter_api::{CounterApi, ON_MONGODB};
use crate::subjects::{Case, Subject};
use crate::support::mongod::ReplicaSet;
use crate::support::stores::Store;

const CLIENTS: usize = 256;
/// How often each service has its turn.
const ROUNDS: usize = 10;
const TURN: Duration = Duration::from_millis(1_500);

pub(crate) const NOTHING: &str = "nothing";
pub(crate) const METRICS: &str = "metrics";
pub(crate) const LOGS: &str = "metrics and logs, a line for each call";
pub(crate) const TENTH: &str = "the same, and traces of 10 %";
pub(crate) const ALL: &str = "the same, and traces of 100 %";

/// What one service did.
#[derive(Debug, Serialize)]
pub(crate) struct Price {
    telemetry: &'static str,
    /// In each round.
    calls_per_second: Vec<f64>,
    service_cpu_s_per_10_000: Vec<f64>,
}

impl Price {
    /// Measures services with ever more telemetry on this replica set.
    pub(crate) async fn measure(set: &ReplicaSet, mongods: &[u32]) -> Vec<Self> {
        let endpoint = sink().await;
        // Only the line that says where it listens.
        let quiet = ("RUST_LOG", "counter_api::service=info");
        let traced = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_TRACES_SAMPLER", "traceidratio")];
        let variants: [(&str, Vec<(&str, &str)>); 5] = [
            (NOTHING, vec![quiet, ("COUNTER_METRICS", "off")]),
            (METRICS, vec![quiet]),
            (LOGS, vec![]),
            (TENTH, [&traced[..], &[("OTEL_TRACES_SAMPLER_ARG", "0.1")]].concat()),
            (ALL, [&traced[..], &[("OTEL_TRACES_SAMPLER_ARG", "1")]].concat()),
        ];
        let mut services = Vec::new();
        for (telemetry, settings) in variants {
            let api = CounterApi::start(ON_MONGODB, &Store::in_mongodb(&set.uri()), mongods, &settings).await;
            services.push((api, Self { telemetry, calls_per_second: vec![], service_cpu_s_per_10_000: vec![] }));
        }
        for round in 0..ROUNDS {
            // To and fro: whoever comes first in one round is last in the next.
            services.reverse();
            for (api, price) in &mut services {
                let mut callers = Vec::new();
                for client in 0..CLIENTS {
                    callers.push(api.caller(Case::HOT, client).await);
                }
                let measured = measure(callers, TURN, || api.usage()).await;
                let cost = measured.spent.service_cpu_s * 10_000.0 / measured.latencies.count() as f64;
                price.calls_per_second.push(measured.rate());
                price.service_cpu_s_per_10_000.push(cost);
            }
            eprintln!("price of telemetry: round {} of {ROUNDS}", round + 1);
        }
        let mut prices: Vec<Self> = services.into_iter().map(|(_, price)| price).collect();
        if prices[0].telemetry != NOTHING {
            prices.reverse();
        }
        prices
    }

    /// The throughput of one against another's: the median of the rounds.
    pub(crate) fn ratio(all: &[Self], of: &str, to: &str) -> Option<f64> {
        let find = |telemetry: &str| all.iter().find(|price| price.telemetry == telemetry);
        let rounds = find(of)?.calls_per_second.iter().zip(&find(to)?.calls_per_second);
        Some(median(rounds.map(|(of, to)| of / to).collect()))
    }

    pub(crate) fn table(all: &[Self]) -> String {
        let mut table = String::from(
            "| telemetry | calls/s | × nothing | × the row above | service CPU s / 10,000 calls |\n|---|---:|---:|---:|---:|\n",
        );
        for (row, price) in all.iter().enumerate() {
            let to = |other: &Self| Self::ratio(all, price.telemetry, other.telemetry).unwrap_or(f64::NAN);
            table.push_str(&format!(
                "| {} | {:.0} | {:.3} | {:.3} | {:.3} |\n",
                price.telemetry,
                median(price.calls_per_second.clone()),
                to(&all[0]),
                to(&all[row.saturating_sub(1)]),
                median(price.service_cpu_s_per_10_000.clone()),
            ));
        }
        table
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A collector that takes everything and keeps nothing.
async fn sink() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let take = service_fn(async |request: Request<Incoming>| {
                let _ = request.into_body().collect().await;
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), take));
        }
    });
    endpoint
}
