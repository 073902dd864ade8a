//! Metrics, traces and logs: one call can be followed through all of them, and nothing secret is in any.

mod logs;
mod metrics;
mod one_id;
mod prometheus;
mod spans;

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::client::{User, credentials};
use crate::support::eventually;
use crate::support::otlp::{Collector, attribute, hex};
use crate::support::prometheus::Scrape;
use crate::support::service::Service;
use crate::support::stores::Kind;

const CALLER: &str = "00f067aa0ba902b7";

/// A trace id that no other call has.
fn new_trace() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// A service whose spans leave for this endpoint soon after they end.
async fn traced(kind: Kind, endpoint: &str, protocol: &str, settings: &[(&str, &str)]) -> Service {
    let otel = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ];
    Service::fresh(kind, &[&otel, settings].concat()).await
}

/// Takes a number as part of this trace.
async fn next_within(user: &User, trace: &str, flags: &str) -> String {
    let traceparent = format!("00-{trace}-{CALLER}-{flags}");
    let answer = user.post("/v1/next").header("traceparent", &traceparent).send().await.expect(200);
    answer.header("x-request-id").unwrap().to_owned()
}

async fn a_call_can_be_followed(collector: &Collector, service: &Service) {
    let user = service.client().await.register().await;
    let (unsampled, trace) = (new_trace(), new_trace());
    next_within(&user, &unsampled, "00").await;
    next_within(&user, &trace, "01").await;

    let (server, client, resource) = eventually("the SERVER and CLIENT spans of the call", async || {
        let spans = collector.trace(&trace);
        let of_kind = |kind: SpanKind| spans.iter().find(|(span, _)| span.kind == kind as i32).cloned();
        let ((server, resource), (client, _)) = (of_kind(SpanKind::Server)?, of_kind(SpanKind::Client)?);
        descends_from(&client, &server, &spans).then_some((server, client, resource))
    })
    .await;
    assert_eq!(server.name, "POST /v1/next");
    assert_eq!(hex(&server.parent_span_id), CALLER);
    assert_eq!(attribute(&server.attributes, "http.response.status_code").as_deref(), Some("200"));
    assert_eq!(attribute(&server.attributes, "http.route").as_deref(), Some("/v1/next"));
    let system = service.store().kind.system();
    assert_eq!(attribute(&client.attributes, "db.system.name").as_deref(), Some(system));
    assert_eq!(attribute(&resource, "service.name").as_deref(), Some("counter-api"));
    assert!(attribute(&resource, "service.version").is_some());
    assert!(attribute(&resource, "service.instance.id").is_some());
    assert!(collector.trace(&unsampled).is_empty(), "the caller chose not to sample");
}

/// Is `span` below `ancestor`, through whatever stands between?
fn descends_from(span: &Span, ancestor: &Span, spans: &[(Span, Vec<KeyValue>)]) -> bool {
    if span.parent_span_id == ancestor.span_id {
        return true;
    }
    let parent = spans.iter().find(|(other, _)| other.span_id == span.parent_span_id);
    parent.is_some_and(|(parent, _)| descends_from(parent, ancestor, spans))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_can_be_followed_over_grpc() {
    let collector = Collector::grpc().await;
    let service = traced(Kind::Mongodb, &collector.endpoint(), "grpc", &[]).await;
    a_call_can_be_followed(&collector, &service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_can_be_followed_over_http() {
    let collector = Collector::http().await;
    let service = traced(Kind::Redb, &collector.endpoint(), "http/protobuf", &[]).await;
    a_call_can_be_followed(&collector, &service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_spans_leave_before_the_end() {
    let collector = Collector::grpc().await;
    let settings = [("OTEL_BSP_SCHEDULE_DELAY", "600000"), ("COUNTER_DRAIN_DELAY", "0s")];
    let service = traced(Kind::Redb, &collector.endpoint(), "grpc", &settings).await;
    let user = service.client().await.register().await;
    let trace = new_trace();
    next_within(&user, &trace, "01").await;
    service.sigterm();
    assert_eq!(service.wait_exit(crate::support::PATIENCE).await, Some(0));
    assert!(!collector.trace(&trace).is_empty(), "the spans of the last call are lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_one_log_line() {
    let service = Service::fresh(Kind::Redb, &[]).await;
    let user = service.client().await.register().await;
    let trace = new_trace();
    let id = next_within(&user, &trace, "01").await;
    let of_call = |line: &Value| line["request_id"] == id.as_str();
    eventually("the call's log line", async || service.logs(of_call).pop()).await;
    let lines = service.logs(of_call);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let line = &lines[0];
    assert_eq!(line["message"], "POST /v1/next 200");
    assert_eq!(line["level"].as_str().unwrap().to_uppercase(), "INFO");
    assert_eq!((&line["trace_id"], &line["user_id"]), (&json!(trace), &json!(user.id)));
    assert_eq!((&line["method"], &line["route"], &line["status"]), (&json!("POST"), &json!("/v1/next"), &json!(200)));
    assert_eq!(line["client_address"], "127.0.0.1");
    assert!(line["duration_s"].as_f64().is_some_and(|seconds| seconds > 0.0), "{line}");
    assert!(line["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{line}");
    assert!(line["span_id"].as_str().is_some_and(|id| id.len() == 16), "{line}");
    assert!(line["timestamp"].is_string() && line["target"].is_string(), "{line}");

    let refused = user.client().get("/v1/me").send().await.expect(401);
    let id = refused.header("x-request-id").unwrap();
    let line = eventually("the refusal's log line", async || service.logs(|line| line["request_id"] == id).pop()).await;
    assert_eq!((&line["error_code"], &line["trace_id"]), (&json!("token_missing"), &refused.json["trace_id"]));
    let not_json = service.stdout.matching(|line| serde_json::from_str::<Value>(line).is_err());
    assert_eq!(not_json, Vec::<String>::new(), "a line on stdout is no JSON");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_told() {
    let collector = Collector::grpc().await;
    let settings = [("RUST_LOG", "trace"), ("OTEL_LOGS_EXPORTER", "otlp"), ("OTEL_SERVICE_NAME", "counters-of-a-test")];
    let service = traced(Kind::Mongodb, &collector.endpoint(), "grpc", &settings).await;
    let client = service.client().await;
    let (email, password, wrong) = ("canary-mail@example.com", "canary-password", "canary-wrong-password");
    let registered = client.post("/v1/register").json(&credentials(email, password)).send().await.expect(201);
    let token = registered.json["token"].as_str().unwrap();
    let signature = token.rsplit('.').next().unwrap();
    client.login(email, wrong).await.expect(401);
    client.login("canary-unknown@example.com", wrong).await.expect(401);
    client.post("/v1/register").json(&credentials(email, password)).send().await.expect(409);
    client.post("/v1/register").json(&credentials("canary-bad", "canary")).send().await.expect(422);
    client.post("/v1/register").body("application/json", "{\"password\":\"canary-broken").send().await.expect(400);
    client.get(&format!("/v1/next?token={token}")).send().await.expect(200);
    client.get("/v1/next?token=canary-token").send().await.expect(401);
    client.get("/v1/nothing/canary-path?token=canary-token").send().await.expect(404);
    client.get("/v1/me").token("canary-token").send().await.expect(401);
    client.post("/v1/next").token(token).key("canary-key").send().await.expect(200);
    client
        .get("/v1/me")
        .token(token)
        .header("x-other", "canary-header")
        .header("accept", "canary/type")
        .send()
        .await
        .expect(406);
    client.post("/v1/next").token(token).header("traceparent", "canary-parent").send().await.expect(200);
    client.post("/v1/login").body("application/canary", "canary").send().await.expect(415);
    client.get(&format!("/v1/current?{token}=")).send().await.expect(400);
    client.get(&format!("/v1/current?cursor={token}")).token(token).send().await.expect(400);
    client.get("/v1/counters?limit=canary-limit&cursor=canary-cursor").token(token).send().await.expect(422);
    client.get("/v1/me").token(token).header("x-request-id", "canary@example.com").send().await.expect(200);
    client.post("/v1/counters/canary%20name/next").token(token).send().await.expect(422);
    let trace = new_trace();
    let traceparent = format!("00-{trace}-{CALLER}-01");
    let leave = client.delete("/v1/me").token(token).header("traceparent", &traceparent);
    leave.json(&json!({"password": password})).send().await.expect(204);

    let server_span = |(span, _): &(Span, _)| span.kind == SpanKind::Server as i32;
    eventually("the last call's span", async || collector.trace(&trace).iter().any(server_span).then_some(())).await;
    let told = [
        ("logs", service.output()),
        ("spans and log records", collector.text()),
        ("metrics", Scrape::of(&service).await.text().to_owned()),
        ("metrics with exemplars", Scrape::open_metrics(&service).await.text().to_owned()),
    ];
    for (where_, text) in &told {
        for secret in ["canary", signature] {
            let at = text
                .find(secret)
                .map(|at| text[..at].char_indices().rev().nth(200).map_or(0, |(start, _)| start)..at + secret.len());
            assert_eq!(at.map(|at| &text[at]), None, "a secret is in the {where_}");
        }
    }
    assert!(told[1].1.contains("REDACTED"), "the query's keys are kept");
    assert!(told[1].1.contains("counters-of-a-test"), "OTEL_SERVICE_NAME names the service");
}

async fn costs_nothing(endpoint: &str, protocol: &str) {
    let service = traced(Kind::Redb, endpoint, protocol, &[("COUNTER_DRAIN_DELAY", "0s")]).await;
    let user = service.client().await.register().await;
    let begun = Instant::now();
    for value in 1..=50 {
        assert_eq!(user.next().await, value);
    }
    let elapsed = begun.elapsed();
    assert!(elapsed < Duration::from_secs(10), "50 calls took {elapsed:?}");
    service.sigterm();
    assert_eq!(service.wait_exit(Duration::from_secs(20)).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_costs_nothing() {
    // Port 9 of the loopback, where nobody listens.
    for protocol in ["grpc", "http/protobuf"] {
        costs_nothing("http://127.0.0.1:9", protocol).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_costs_nothing() {
    let black_hole = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", black_hole.local_addr().unwrap());
    for protocol in ["grpc", "http/protobuf"] {
        costs_nothing(&endpoint, protocol).await;
    }
}
