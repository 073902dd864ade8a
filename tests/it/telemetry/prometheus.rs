//! A real Prometheus reads what `/metrics` shows, exemplars too.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{new_trace, next_within, traced};
use crate::support::eventually;
use crate::support::mongod::free_port;
use crate::support::otlp::Collector;
use crate::support::process::spawn_from_lasting_thread;
use crate::support::prometheus::Scrape;
use crate::support::service::{Service, http_client};
use crate::support::stores::{Directory, Kind};

fn tool(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/prometheus/bin").join(name);
    assert!(path.exists(), "{} is missing: run make tools", path.display());
    path
}

/// A Prometheus that scrapes one service. It is killed when it is dropped.
struct Prometheus {
    process: Child,
    port: u16,
    _directory: Directory,
}

impl Prometheus {
    fn scraping(service: &Service) -> Self {
        let (directory, port) = (Directory::new(), free_port());
        let config = format!(
            "scrape_configs: [{{ job_name: counter-api, scrape_interval: 1s, static_configs: [{{ targets: ['{}'] }}] }}]",
            service.admin_address()
        );
        fs::write(directory.path().join("prometheus.yaml"), config).unwrap();
        let log = File::create(directory.path().join("log")).unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(tool("prometheus"))
            .args(["--config.file=prometheus.yaml", "--storage.tsdb.path=data", "--enable-feature=exemplar-storage"])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        Self { process: spawn_from_lasting_thread(command), port, _directory: directory }
    }

    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let mut url: reqwest::Url = format!("http://127.0.0.1:{}{path}", self.port).parse().unwrap();
        url.query_pairs_mut().extend_pairs(query);
        let answer = http_client().get(url).send().await.ok()?.bytes().await.ok()?;
        let answer: Value = serde_json::from_slice(&answer).ok()?;
        (answer["status"] == "success").then(|| answer["data"].clone())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_has_the_trace_that_the_collector_has() {
    let collector = Collector::http().await;
    let service = traced(Kind::Mongodb, &collector.endpoint(), "http/protobuf", &[]).await;
    let user = service.client().await.register().await;
    let trace = new_trace();
    next_within(&user, &trace, "01").await;
    let prometheus = Prometheus::scraping(&service);
    for query in [
        "http_server_request_duration_seconds_bucket{http_route=\"/v1/next\"}",
        "db_client_operation_duration_seconds_bucket{db_collection_name=\"incremental_counter\"}",
    ] {
        let found = eventually("the exemplar in Prometheus", async || {
            let query = [("query", query), ("start", "0"), ("end", "99999999999")];
            let series = prometheus.ask("/api/v1/query_exemplars", &query).await?;
            let mut exemplars =
                series.as_array()?.iter().flat_map(|series| series["exemplars"].as_array().into_iter().flatten());
            exemplars.find(|exemplar| exemplar["labels"]["trace_id"] == trace.as_str()).cloned()
        })
        .await;
        let span = found["labels"]["span_id"].as_str().unwrap().to_owned();
        eventually("the exemplar's span in the collector", async || {
            let spans = collector.trace(&trace);
            spans.iter().any(|(own, _)| crate::support::otlp::hex(&own.span_id) == span).then_some(())
        })
        .await;
    }
    // What OpenMetrics calls otherwise is the same to whoever asks Prometheus.
    for metric in ["counter_api_numbers_issued_total", "target_info", "process_cpu_seconds_total"] {
        let found = prometheus.ask("/api/v1/query", &[("query", metric)]).await.unwrap();
        assert_eq!(found["result"].as_array().unwrap().len(), 1, "{metric}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_to_complain_of() {
    for kind in [Kind::Mongodb, Kind::Redb] {
        let service = Service::fresh(kind, &[]).await;
        service.client().await.register().await.next().await;
        let directory = Directory::new();
        let scrape = directory.path().join("scrape");
        fs::write(&scrape, Scrape::of(&service).await.text()).unwrap();
        let check = Command::new(tool("promtool"))
            .args(["check", "metrics"])
            .stdin(File::open(&scrape).unwrap())
            .output()
            .unwrap();
        let complaints = [check.stdout, check.stderr].concat();
        assert_eq!(String::from_utf8_lossy(&complaints), "", "{kind:?}");
        assert!(check.status.success());
    }
}
