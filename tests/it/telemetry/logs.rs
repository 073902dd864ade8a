//! Logs: what is logged can be changed while the service runs, a flood is cut short, and records leave by OTLP too.

use serde_json::Value;

use super::{new_trace, next_within, traced};
use crate::full_disk::limit_files;
use crate::support::eventually;
use crate::support::otlp::{Collector, attribute};
use crate::support::prometheus::Scrape;
use crate::support::service::{Service, http_client, launch};
use crate::support::stores::{Kind, Store};

async fn set_filter(service: &Service, query: &str, filter: &'static str) -> (u16, String) {
    let put = http_client().put(service.admin_url(&format!("/log-filter{query}"))).body(filter);
    let answer = put.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn filter(service: &Service) -> String {
    http_client().get(service.admin_url("/log-filter")).send().await.unwrap().text().await.unwrap()
}

fn probes(service: &Service) -> usize {
    service.logs(|line| line["message"] == "GET /livez 200").len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_logged_can_be_changed_while_it_runs() {
    let service = Service::fresh(Kind::Redb, &[]).await;
    let probe = async || http_client().get(service.url("/livez")).send().await.unwrap();
    assert_eq!(filter(&service).await, "info\n");
    probe().await;
    assert_eq!(set_filter(&service, "", "info,counter_api=debug").await, (200, "info,counter_api=debug\n".into()));
    probe().await;
    eventually("the probe's line, which is one of debug", async || (probes(&service) == 1).then_some(())).await;

    // For a while only.
    assert_eq!(set_filter(&service, "?for=1s", "trace").await.0, 200);
    assert_eq!(filter(&service).await, "trace\n");
    eventually("what the settings say", async || (filter(&service).await == "info\n").then_some(())).await;
    probe().await;
    assert_eq!(probes(&service), 1, "the lines of debug have ended");

    for (query, filter) in [("", "a=b=c"), ("?for=never", "info"), ("?until=1h", "info"), ("?for=25h", "info")] {
        let (status, text) = set_filter(&service, query, filter).await;
        assert_eq!(status, 400, "{query} {filter}: {text}");
        let problem: Value = serde_json::from_str(&text).unwrap();
        assert!(problem["detail"].as_str().unwrap().contains("such as"), "{problem}");
    }
    assert_eq!(filter(&service).await, "info\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_one_warning_is_cut_short_and_counted() {
    let store = Store::fresh(Kind::Redb).await;
    let service = Service::start(&launch(&store).ignore("XFSZ"), &store).await;
    let user = service.client().await.register().await;
    limit_files(&service, "1000");
    let suppressed = async || Scrape::of(&service).await.sum("counter_api_log_lines_suppressed_total", &[]);
    let mut refused = 0;
    while suppressed().await == 0.0 {
        for _ in 0..50 {
            refused += usize::from(user.post("/v1/next").send().await.status == 503);
        }
    }
    limit_files(&service, "unlimited");
    let summary = |line: &Value| line["message"].as_str().is_some_and(|text| text.contains("left out"));
    let told = eventually("the line that tells of those left out", async || service.logs(summary).pop()).await;
    assert_eq!(told["lines"].as_f64(), Some(suppressed().await));
    let failures = service.logs(|line| line["message"] == "a commit failed").len();
    assert!(failures < refused, "{failures} lines of {refused} failures");
    // Each request has its line all the same.
    let requests = || service.logs(|line| line["message"] == "POST /v1/next 503").len();
    eventually("a line for each request", async || (requests() == refused).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_leave_by_otlp_where_a_setting_asks_for_it() {
    for protocol in ["grpc", "http/protobuf"] {
        let collector = if protocol == "grpc" { Collector::grpc().await } else { Collector::http().await };
        let settings = [("OTEL_LOGS_EXPORTER", "otlp"), ("OTEL_BLRP_SCHEDULE_DELAY", "100")];
        let service = traced(Kind::Redb, &collector.endpoint(), protocol, &settings).await;
        let user = service.client().await.register().await;
        let trace = new_trace();
        let id = next_within(&user, &trace, "01").await;
        let record = eventually("the call's log record", async || collector.records(&trace).pop()).await;
        assert_eq!(record.severity_text, "INFO");
        assert_eq!(attribute(&record.attributes, "request_id"), Some(id));
        assert_eq!(attribute(&record.attributes, "status").as_deref(), Some("200"));
        let exported = Scrape::of(&service).await.sum("otel_sdk_exporter_log_exported_total", &[("error_type", "")]);
        assert!(exported >= 1.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_loses_records_and_says_so() {
    let settings = [("OTEL_LOGS_EXPORTER", "otlp"), ("OTEL_BLRP_SCHEDULE_DELAY", "100")];
    let service = traced(Kind::Redb, "http://127.0.0.1:9", "grpc", &settings).await;
    let user = service.client().await.register().await;
    next_within(&user, &new_trace(), "01").await;
    for metric in ["otel_sdk_exporter_log_exported_total", "otel_sdk_exporter_span_exported_total"] {
        eventually(metric, async || {
            (Scrape::of(&service).await.sum(metric, &[("error_type", "export_failed")]) > 0.0).then_some(())
        })
        .await;
    }
}
