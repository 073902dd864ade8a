//! What a panic in a handler becomes: no real store panics, so a health check of this one does.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use tokio::runtime::Handle;
use tower::ServiceExt as _;

use super::*;
use crate::auth::keyring::Keyring;
use crate::auth::oauth::Providers;
use crate::auth::token::Tokens;
use crate::config::{Config, Sources};
use crate::lifecycle::Lifecycle;
use crate::metrics::Format;
use crate::sequencer::Sequencer;
use crate::store::held::Held;

/// Whose pages may call the API.
const ORIGIN: &str = "https://app.example.com";

#[tokio::test]
async fn a_panic_is_answered_counted_and_says_nothing_internal() {
    let mut sources = Sources::default();
    sources.environment.insert("COUNTER_CORS_ORIGINS".into(), ORIGIN.into());
    let config = Config::read(&sources).unwrap();
    // The one test of the library that needs the process's recorder and its hook.
    let telemetry = crate::telemetry::init(&config.telemetry, "held").unwrap();
    let keys = Keyring::parse(&format!("k:{}", "x".repeat(32)).into()).unwrap();
    let store = Held::new();
    let sequencer = Sequencer::new(store.clone(), 10, Handle::current());
    let tokens = Arc::new(Tokens::new(keys, "i".into(), "a".into(), Duration::from_secs(60)));
    let state = AppState::new(
        store,
        sequencer,
        tokens,
        Providers::new(&config.oauth).unwrap(),
        Lifecycle::default(),
        config.http,
        &config.limits,
        config.store.rules,
    );
    let request = Request::get("/health").header(header::ORIGIN, ORIGIN).body(Body::empty()).unwrap();
    let response = api(state).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let allowed = response.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    assert_eq!(allowed.map(HeaderValue::as_bytes), Some(ORIGIN.as_bytes()), "a page of this origin cannot read it");
    let body = to_bytes(response.into_body(), 10_000).await.unwrap();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["code"], "internal");
    assert_eq!(problem["trace_id"].as_str().unwrap().len(), 32);
    assert!(!String::from_utf8_lossy(&body).contains("planted"));

    let text = telemetry.metrics.as_ref().unwrap().render(Format::Text);
    for sample in [
        "counter_api_panics_total 1",
        "counter_api_problems_total{code=\"internal\"} 1",
        "http_server_request_duration_seconds_count{http_request_method=\"GET\",http_route=\"/health\",\
         http_response_status_code=\"500\",error_type=\"internal\",url_scheme=\"http\"} 1",
    ] {
        assert!(text.contains(sample), "{sample} is not in\n{text}");
    }
}
