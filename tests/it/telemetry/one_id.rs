//! One id leads from a metric to its exemplar, to the trace, to the log lines, and to MongoDB's log of slow queries.

use mongodb::bson::doc;

use super::{new_trace, next_within};
use crate::support::eventually;
use crate::support::mongod::ReplicaSet;
use crate::support::otlp::{Collector, hex};
use crate::support::prometheus::Scrape;
use crate::support::service::Service;
use crate::support::stores::Store;

/// The trace id of the exemplar in this line of OpenMetrics.
fn exemplar(line: &str) -> Option<&str> {
    line.split_once(" # {trace_id=\"")?.1.split('"').next()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_id_leads_from_a_metric_to_the_slow_query() {
    let collector = Collector::grpc().await;
    let set = ReplicaSet::start(1).await;
    let endpoint = collector.endpoint();
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ];
    let service = Service::on(&Store::in_mongodb(&set.uri()), &settings).await;
    let user = service.client().await.register().await;
    next_within(&user, &new_trace(), "00").await;
    // Every query is a slow one.
    set.command_all(doc! { "profile": 0, "slowms": -1 }).await;
    let trace = new_trace();
    next_within(&user, &trace, "01").await;

    // From the bucket of the request's latency, and from that of the store's.
    let scrape = Scrape::open_metrics(&service).await;
    assert!(scrape.text().ends_with("# EOF\n"));
    let of = |metric: &str, label: &str| {
        let lines = scrape.samples().filter(|line| line.starts_with(metric) && line.contains(label));
        lines.filter_map(exemplar).any(|id| id == trace)
    };
    assert!(of("http_server_request_duration_seconds_bucket", "http_route=\"/v1/next\""), "{}", scrape.text());
    assert!(of("db_client_operation_duration_seconds_bucket", "db_operation_name=\"findAndModify\""));
    // To the trace: its span in the store is the one that the slow query names.
    let span = eventually("the store's span", async || {
        collector.trace(&trace).into_iter().find(|(span, _)| span.name == "findAndModify incremental_counter")
    });
    let (span, _) = span.await;
    // To the log.
    let line = eventually("the log line", async || service.logs(|line| line["trace_id"] == trace.as_str()).pop()).await;
    assert_eq!(line["route"], "/v1/next");
    // To the database's own log.
    let comment = format!("00-{trace}-{}-01", hex(&span.span_id));
    let slow = eventually("the slow query", async || set.log_lines(&comment).pop()).await;
    assert!(slow.contains("Slow query"), "{slow}");
}
