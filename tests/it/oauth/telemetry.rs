//! What can be seen of sign-ins: how they end, how providers answer, and no secret.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::json;

use super::{World, redeem};
use crate::support::client::PASSWORD;
use crate::support::eventually;
use crate::support::otlp::{Collector, attribute};
use crate::support::prometheus::Scrape;
use crate::support::stores::Kind;

const SIGN_INS: &str = "counter_api_oauth_sign_ins_total";

#[tokio::test(flavor = "multi_thread")]
async fn every_end_is_counted_and_is_there_at_zero_before() {
    let world = World::over(Kind::Redb).await;
    let count = async |outcome: &str| {
        let scrape = Scrape::of(&world.service).await;
        scrape.sum(SIGN_INS, &[("provider", "local"), ("outcome", outcome)])
    };
    let scrape = Scrape::of(&world.service).await;
    let series = scrape.samples().filter(|line| line.starts_with(SIGN_INS)).count();
    assert_eq!((series, scrape.sum(SIGN_INS, &[])), (14, 0.0), "{}", scrape.text());
    assert!(scrape.text().contains("counter_api_users_registered_total{provider=\"local\"} 0"));

    let browser = world.browser();
    world.sign_in(&browser, "ada").await.expect(200);
    world.sign_in(&browser, "ada").await.expect(200);
    // Whom the provider knows already, it does not ask again.
    world.browser().decline(&world.client, "local").await.error();
    let (user, browser) = (world.client.register().await, world.browser());
    let code = world.visit(&browser, &user.email).await.code();
    redeem(&browser, &world.client, &json!({ "code": code })).await.expect(409);
    redeem(&browser, &world.client, &json!({"code": code, "password": "not the password"})).await.expect(401);
    redeem(&browser, &world.client, &json!({"code": code, "password": PASSWORD})).await.expect(200);
    world.provider.change(json!({"down": true})).await;
    let trace = uuid::Uuid::new_v4().simple().to_string();
    let failed = world.client.get("/v1/oauth/local/callback?code=x&state=y");
    let failed = failed.header("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01")).send().await.expect(302);
    let told = format!("/#signin_error=flow_expired&trace_id={trace}");
    assert_eq!(failed.header("location"), Some(told.as_str()));
    eventually("the log line that the person's trace leads to", async || {
        world.service.logs(|line| line["trace_id"] == trace.as_str() && line["failure"] == "flow_expired").pop()
    })
    .await;

    for (outcome, expected) in [
        ("sign_up", 1.0),
        ("sign_in", 1.0),
        ("link_required", 1.0),
        ("linked", 1.0),
        ("access_denied", 1.0),
        ("flow_expired", 1.0),
        ("provider_unavailable", 0.0),
    ] {
        assert_eq!(count(outcome).await, expected, "{outcome}");
    }
    let scrape = Scrape::of(&world.service).await;
    let attempts = |outcome| scrape.sum("counter_api_auth_attempts_total", &[("kind", "oauth"), ("outcome", outcome)]);
    assert_eq!((attempts("success"), attempts("failure")), (3.0, 1.0));
    assert_eq!(scrape.sum("counter_api_users_registered_total", &[("provider", "local")]), 1.0);
    let calls = |endpoint| {
        scrape.sum("http_client_request_duration_seconds_count", &[("provider", "local"), ("endpoint", endpoint)])
    };
    assert_eq!((calls("discovery"), calls("keys"), calls("token"), calls("userinfo")), (1.0, 1.0, 3.0, 3.0));
}

/// Goes to the callback with the right state and this instead of an answer.
async fn come_back(world: &World, with: &str) -> String {
    let browser = world.browser();
    let mut answer = browser.answer(&world.client, "local", "mallory").await;
    let kept: Vec<(String, String)> = answer.query_pairs().into_owned().filter(|(name, _)| name != "code").collect();
    answer.query_pairs_mut().clear().extend_pairs(kept);
    let url = format!("{answer}&{with}").parse().unwrap();
    browser.end(url).await.error()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_browser_brings_says_nothing_of_the_provider() {
    let world = World::over(Kind::Redb).await;
    let long = format!("code={}", "x".repeat(5_000));
    for (with, told) in [
        ("code=made-up", "provider_refused"),
        (long.as_str(), "provider_invalid"),
        ("code=%C3%A9", "provider_invalid"),
        ("error=server_error", "provider_unavailable"),
        ("error=invalid_scope", "provider_refused"),
        ("", "provider_invalid"),
    ] {
        assert_eq!(come_back(&world, with).await, told, "{with}");
    }
    world.provider.change(json!({"tamper": "nonce"})).await;
    assert_eq!(world.visit(&world.browser(), "ada").await.error(), "provider_invalid");
    let counts = async |world: &World, outcomes: &[&str]| {
        let scrape = Scrape::of(&world.service).await;
        outcomes.iter().map(|outcome| scrape.sum(SIGN_INS, &[("outcome", outcome)])).sum::<f64>()
    };
    const PROVIDERS: &[&str] = &["provider_unavailable", "provider_refused", "provider_invalid"];
    assert_eq!((counts(&world, &["answer_refused"]).await, counts(&world, PROVIDERS).await), (7.0, 0.0));

    // What our own calls meet does: a token that is not the provider's, or a secret that it does not know.
    world.provider.change(json!({"tamper": "signature"})).await;
    world.visit(&world.browser(), "ada").await.error();
    assert_eq!(counts(&world, PROVIDERS).await, 1.0);
    let world = World::with(Kind::Redb, &[("COUNTER_OAUTH_LOCAL_CLIENT_SECRET", "another")]).await;
    assert_eq!(world.visit(&world.browser(), "ada").await.error(), "provider_refused");
    assert_eq!((counts(&world, &["answer_refused"]).await, counts(&world, PROVIDERS).await), (0.0, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_a_provider_is_a_span_that_the_provider_does_not_learn_of() {
    let collector = Collector::grpc().await;
    let endpoint = collector.endpoint();
    let otel = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ];
    let world = World::with(Kind::Redb, &otel).await;
    let browser = world.browser();
    let answer = browser.answer(&world.client, "local", "ada").await;
    let trace = uuid::Uuid::new_v4().simple().to_string();
    let call = world.client.get(&answer.as_str()[answer.origin().ascii_serialization().len()..]);
    let call = call.header("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01"));
    call.header("cookie", &browser.cookies("/")).send().await.expect(302);

    let spans = eventually("the spans of the callback", async || {
        let spans: Vec<_> = collector.trace(&trace).into_iter().map(|(span, _)| span).collect();
        let clients = spans.iter().filter(|span| span.kind == SpanKind::Client as i32 && span.name.contains(' '));
        (clients.filter(|span| attribute(&span.attributes, "counter_api.provider").is_some()).count() == 3
            && spans.iter().any(|span| span.kind == SpanKind::Server as i32))
        .then_some(spans)
    })
    .await;
    let token = spans.iter().find(|span| span.name == "POST token").expect("the token endpoint's span");
    for (name, value) in [("url.path", "/token"), ("server.address", "127.0.0.1"), ("counter_api.provider", "local")] {
        assert_eq!(attribute(&token.attributes, name).as_deref(), Some(value));
    }
    let all = format!("{spans:?}");
    for secret in answer.query_pairs().filter(|(name, _)| name != "iss").map(|(_, value)| value.into_owned()) {
        assert!(!all.contains(&secret), "{secret} is in a span");
    }
    let asked = world.provider.seen().await;
    assert!(!asked.is_empty());
    for request in &asked {
        let headers = request["headers"].as_object().unwrap();
        for name in ["traceparent", "tracestate", "baggage", "x-request-id", "x-forwarded-for"] {
            assert!(!headers.contains_key(name), "{name} was sent to the provider");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_a_sign_in_is_in_a_log_or_a_metric() {
    let world = World::with(Kind::Redb, &[("RUST_LOG", "debug")]).await;
    world.provider.person("ada", json!({"sub": "subject-of-ada", "email": "address-of-ada@example.com"})).await;
    let browser = world.browser();
    let answer = browser.answer(&world.client, "local", "ada").await;
    let mut secrets: Vec<String> = answer.query_pairs().map(|(_, value)| value.into_owned()).collect();
    secrets.retain(|value| !value.starts_with("http"));
    secrets.push(browser.cookie("counter_oauth_flow").unwrap());
    let code = browser.end(answer.clone()).await.code();
    secrets.push(browser.cookie("counter_oauth_code").unwrap());
    let signed_in = redeem(&browser, &world.client, &json!({ "code": code })).await.expect(200);
    secrets.extend([code, signed_in.json["token"].as_str().unwrap().to_owned()]);
    // And of one that fails.
    browser.end(answer).await.error();
    world.provider.change(json!({"tamper": "nonce"})).await;
    world.visit(&browser, "ada").await.error();
    let secret = world.provider.facts["client_secret"].as_str().unwrap().to_owned();
    secrets.extend([secret, "subject-of-ada".to_owned(), "address-of-ada".to_owned()]);
    let seen = world.service.output() + Scrape::of(&world.service).await.text();
    for secret in secrets {
        assert!(!seen.contains(&secret), "{secret} was told");
    }
    assert_eq!(world.service.logs(|line| line["provider"] == "local" && line["failure"].is_string()).len(), 2);
}
