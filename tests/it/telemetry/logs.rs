//! Logs: what is logged can be changed while the service runs, a flood is cut short, and records leave by OTLP too.

use std::time::Instant;

use mongodb::bson::DateTime;
use serde_json::Value;
use tokio::net::TcpListener;

use super::{new_trace, next_within, traced};
use crate::full_disk::limit_files;
use crate::support::otlp::{Collector, attribute};
use crate::support::prometheus::Scrape;
use crate::support::service::{Service, http_client, launch};
use crate::support::stores::{Kind, Store};
use crate::support::{PATIENCE, eventually};

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

    for (query, filter) in [
        ("", "a=b=c"),
        ("", ""),
        ("", "debg"),
        ("", "info,counter_api"),
        ("?for=never", "info"),
        ("?until=1h", "info"),
        ("?for=25h", "info"),
    ] {
        let (status, text) = set_filter(&service, query, filter).await;
        assert_eq!(status, 400, "{query} {filter}: {text}");
        let problem: Value = serde_json::from_str(&text).unwrap();
        assert!(problem["detail"].as_str().unwrap().contains("such as"), "{problem}");
    }
    assert_eq!(filter(&service).await, "info\n");

    // Whoever silences the log is told of in it.
    assert_eq!(set_filter(&service, "", "off").await.0, 200);
    let told = |line: &Value| line["message"] == "the log filter was changed" && line["filter"] == "off";
    eventually("the last line", async || service.logs(told).pop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_one_warning_is_cut_short_and_counted() {
    let store = Store::fresh(Kind::Redb).await;
    let service = Service::start(&launch(&store).ignore("XFSZ"), &store).await;
    let refused = flood(&service).await;
    eventually("lines that tell of all those left out", async || {
        (told_of(&service) == suppressed(&service).await).then_some(())
    })
    .await;
    let failures = service.logs(|line| line["message"] == "a commit failed").len();
    assert!(failures < refused, "{failures} lines of {refused} failures");
    // Each request has its line all the same.
    let requests = || service.logs(|line| line["message"] == "POST /v1/next 503").len();
    eventually("a line for each request", async || (requests() == refused).then_some(())).await;
}

/// Makes commits fail until warnings of them are left out, and answers how many calls were refused.
async fn flood(service: &Service) -> usize {
    let user = service.client().await.register().await;
    let mut refused = 0;
    let begun = Instant::now();
    while suppressed(service).await == 0.0 {
        assert!(begun.elapsed() < PATIENCE, "no line was left out, and {refused} calls were refused");
        limit_files(service, "1000");
        for _ in 0..50 {
            refused += usize::from(user.post("/v1/next").send().await.status == 503);
        }
        // Who calls is looked up every few seconds, which fails as well, before there is a commit to fail.
        limit_files(service, "unlimited");
        service.ready().await;
    }
    refused
}

async fn suppressed(service: &Service) -> f64 {
    Scrape::of(service).await.sum("counter_api_log_lines_suppressed_total", &[])
}

/// How many lines that were left out the log tells of.
fn told_of(service: &Service) -> f64 {
    let summaries = service.logs(|line| line["message"].as_str().is_some_and(|text| text.contains("left out")));
    summaries.iter().map(|line| line["lines"].as_f64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_flood_has_cost_is_told_before_the_end() {
    let store = Store::fresh(Kind::Redb).await;
    let service = Service::start(&launch(&store).ignore("XFSZ").set("COUNTER_DRAIN_DELAY", "0s"), &store).await;
    flood(&service).await;
    let suppressed = suppressed(&service).await;
    service.sigterm();
    service.wait(PATIENCE).await;
    eventually("lines that tell of all those left out", async || (told_of(&service) == suppressed).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_spans_and_of_records_leaves_at_the_same_time() {
    // It takes connections, and answers nothing.
    let black_hole = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", black_hole.local_addr().unwrap());
    let settings = [("OTEL_LOGS_EXPORTER", "otlp"), ("COUNTER_DRAIN_DELAY", "0s")];
    let service = traced(Kind::Redb, &endpoint, "http/protobuf", &settings).await;
    let user = service.client().await.register().await;
    next_within(&user, &new_trace(), "01").await;
    service.sigterm();
    service.wait(PATIENCE).await;
    let given_up = eventually("both are given up", async || {
        let lost = |line: &Value| line["message"] == "the last of what leaves by OTLP was not exported";
        let times: Vec<_> =
            service.logs(lost).iter().map(|line| line["timestamp"].as_str().unwrap().to_owned()).collect();
        <[String; 2]>::try_from(times).ok()
    })
    .await;
    let [first, second] = given_up.map(|time| DateTime::parse_rfc3339_str(time).unwrap().timestamp_millis());
    // Each has three seconds.
    assert!(second - first < 2_900, "one was given up {} ms after the other", second - first);
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
async fn what_does_not_fit_the_queue_is_dropped_and_counted() {
    let settings = [("OTEL_BSP_MAX_QUEUE_SIZE", "3"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "3")];
    let service = traced(Kind::Redb, "http://127.0.0.1:9", "grpc", &settings).await;
    let user = service.client().await.register().await;
    let dropped = [("error_type", "queue_full")];
    eventually("spans that were dropped", async || {
        next_within(&user, &new_trace(), "01").await;
        (Scrape::of(&service).await.sum("otel_sdk_processor_span_processed_total", &dropped) > 0.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_is_told_of_with_its_reason() {
    // Port 9 of the loopback, where nobody listens.
    let store = Store::in_mongodb("mongodb://127.0.0.1:9/?replicaSet=rs0");
    let service = Service::start_unready(&launch(&store), &store).await;
    let told = |line: &Value| line["message"] == "a MongoDB server does not answer";
    let line = eventually("the line that says why", async || service.logs(told).pop()).await;
    assert_eq!(line["server"], "127.0.0.1:9");
    assert!(line["error"].as_str().unwrap().to_lowercase().contains("refused"), "{line}");
    eventually("an unknown server", async || {
        let scrape = Scrape::of(&service).await;
        let unknown = scrape.sum("counter_api_db_servers", &[("type", "unknown")]);
        (unknown == 1.0 && scrape.sum("counter_api_db_heartbeat_failures_total", &[]) >= 1.0).then_some(())
    })
    .await;
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
