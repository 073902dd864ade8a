//! The exact tree of spans that a call leaves: who is below whom, what each says, and how calls and commits are linked.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;

use super::{CALLER, new_trace, next_within, traced};
use crate::support::client::User;
use crate::support::eventually;
use crate::support::mongod::ReplicaSet;
use crate::support::otlp::{Collector, attribute, hex, integer};
use crate::support::service::Service;
use crate::support::stores::{Kind, Store};

/// The spans of a trace as lines, `parent > name (kind)`, once all of these are there.
async fn tree(collector: &Collector, trace: &str, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|line| (*line).to_owned()).collect();
    let mut seen = BTreeSet::new();
    let complete = eventually("the spans of the call", async || {
        let spans: Vec<Span> = collector.trace(trace).into_iter().map(|(span, _)| span).collect();
        seen = spans.iter().map(|span| line(span, &spans)).collect();
        expected.is_subset(&seen).then_some(())
    });
    complete.await;
    assert_eq!(seen, expected);
}

fn line(span: &Span, all: &[Span]) -> String {
    let parent = all.iter().find(|other| other.span_id == span.parent_span_id);
    let parent = match parent {
        Some(parent) => parent.name.clone(),
        None if hex(&span.parent_span_id) == CALLER => "the caller".to_owned(),
        None => "nobody".to_owned(),
    };
    let kind = match span.kind {
        kind if kind == SpanKind::Server as i32 => "server",
        kind if kind == SpanKind::Client as i32 => "client",
        _ => "internal",
    };
    format!("{parent} > {} ({kind})", span.name)
}

async fn named(collector: &Collector, trace: &str, name: &str) -> Span {
    eventually(&format!("the span {name}"), async || {
        collector.trace(trace).into_iter().map(|(span, _)| span).find(|span| span.name == name)
    })
    .await
}

fn has(span: &Span, attributes: &[(&str, &str)]) {
    for (name, value) in attributes {
        assert_eq!(attribute(&span.attributes, name).as_deref(), Some(*value), "{name} of {}", span.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_next_is_a_tree_of_five_spans() {
    let collector = Collector::grpc().await;
    let service = traced(Kind::Mongodb, &collector.endpoint(), "grpc", &[]).await;
    let user = service.client().await.register().await;
    // The first call makes the counter, and reads the user.
    next_within(&user, &new_trace(), "00").await;
    let trace = new_trace();
    next_within(&user, &trace, "01").await;
    let expected = [
        "the caller > POST /v1/next (server)",
        "POST /v1/next > check token (internal)",
        "POST /v1/next > queue (internal)",
        "POST /v1/next > commit (internal)",
        "commit > findAndModify incremental_counter (client)",
    ];
    tree(&collector, &trace, &expected).await;
    let integer_of = async |span: &str, name: &str| integer(&named(&collector, &trace, span).await.attributes, name);
    assert_eq!(integer_of("commit", "counter_api.batch.size").await, Some(1));
    assert_eq!(integer_of("POST /v1/next", "http.response.status_code").await, Some(200));
    let client = named(&collector, &trace, "findAndModify incremental_counter").await;
    let database = service.store().database();
    has(
        &client,
        &[
            ("db.system.name", "mongodb"),
            ("db.operation.name", "findAndModify"),
            ("db.collection.name", "incremental_counter"),
            ("db.namespace", database),
        ],
    );
    assert_eq!(client.status.map_or(0, |status| status.code), StatusCode::Unset as i32);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_a_batch_is_linked_with_its_commit() {
    // More than the 128 links after which the SDK would cut.
    const CALLS: usize = 250;
    let collector = Collector::http().await;
    let set = ReplicaSet::start(1).await;
    let service = traced_on(&Store::in_mongodb(&set.uri()), &collector, &[]).await;
    let user = service.client().await.register().await;
    next_within(&user, &new_trace(), "00").await;
    // While one commit is held up, the calls behind it gather.
    set.command_all(mongodb::bson::doc! { "configureFailPoint": "failCommand", "mode": { "times": 1 }, "data": {
        "failCommands": ["findAndModify"], "blockConnection": true, "blockTimeMS": 2_000,
    } })
    .await;
    let traces = call_at_once(&user, CALLS).await;
    let commits = eventually("all commits and their calls", async || {
        let spans: Vec<Span> = traces.iter().flat_map(|trace| collector.trace(trace)).map(|(span, _)| span).collect();
        let served = |span: &Span| attribute(&span.attributes, "counter_api.batch.size")?.parse::<usize>().ok();
        let commits: Vec<Span> = spans.iter().filter(|span| span.name == "commit").cloned().collect();
        let all = spans.iter().filter(|span| span.name == "POST /v1/next").count() == CALLS;
        (all && commits.iter().filter_map(served).sum::<usize>() == CALLS).then_some((commits, spans))
    });
    let (commits, spans) = commits.await;
    let largest = commits.iter().max_by_key(|commit| commit.links.len()).unwrap();
    assert!(largest.links.len() > 128, "the calls did not gather, or links were cut: {}", largest.links.len());
    // A commit is a child of one call and linked from and to the others: each call is found from its commit, and the commit from it.
    for commit in &commits {
        let size = attribute(&commit.attributes, "counter_api.batch.size").unwrap().parse::<usize>().unwrap();
        assert_eq!(commit.links.len() + 1, size);
        for link in &commit.links {
            let call = spans.iter().find(|span| span.span_id == link.span_id).expect("the linked call");
            assert_eq!(call.name, "POST /v1/next");
            assert!(call.links.iter().any(|back| back.span_id == commit.span_id), "the call leads to its commit");
        }
    }
}

async fn traced_on(store: &Store, collector: &Collector, settings: &[(&str, &str)]) -> Service {
    let endpoint = collector.endpoint();
    let otel = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "100")];
    Service::on(store, &[&otel, settings].concat()).await
}

/// Takes numbers at the same time, each in a trace of its own.
async fn call_at_once(user: &User, calls: usize) -> Vec<String> {
    let mut callers = JoinSet::new();
    for _ in 0..calls {
        let user = user.clone();
        callers.spawn(async move {
            let trace = new_trace();
            next_within(&user, &trace, "01").await;
            trace
        });
    }
    callers.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_an_error_once_and_a_refusal_is_none() {
    let collector = Collector::grpc().await;
    let mut set = ReplicaSet::start(1).await;
    let endpoint = collector.endpoint();
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("COUNTER_STORE_TIMEOUT", "1s"),
    ];
    let service = Service::on(&Store::in_mongodb(&set.uri()), &settings).await;
    let user = service.client().await.register().await;
    next_within(&user, &new_trace(), "00").await;

    let within = |trace: &str| format!("00-{trace}-{CALLER}-01");
    let refused = new_trace();
    let set_wrongly = user.put("/v1/current").json(&json!({"current": -1})).header("traceparent", &within(&refused));
    set_wrongly.send().await.problem(422, "invalid_field");
    let span = named(&collector, &refused, "PUT /v1/current").await;
    has(&span, &[("http.response.status_code", "422"), ("error.type", "invalid_field")]);
    assert_eq!(span.status.map_or(0, |status| status.code), StatusCode::Unset as i32, "it is the caller's fault");

    set.kill_member(0);
    let failed = new_trace();
    let answer = user.post("/v1/next").header("traceparent", &within(&failed)).send().await.expect(503);
    assert_eq!(answer.json["trace_id"], failed);
    for name in ["POST /v1/next", "findAndModify incremental_counter"] {
        let span = named(&collector, &failed, name).await;
        assert_eq!(span.status.as_ref().map_or(0, |status| status.code), StatusCode::Error as i32, "{name}");
        assert!(attribute(&span.attributes, "error.type").is_some_and(|kind| !kind.is_empty()), "{name}");
        assert!(span.events.is_empty(), "it is told once, as the span's status");
    }
}
