//! What headers carry: request ids, traces, and what browsers are told.

use super::{Env, for_each_store};

for_each_store![
    a_request_id_is_taken_over_or_made,
    a_trace_goes_on_in_the_problem,
    without_a_trace_one_is_begun,
    listed_origins_may_call,
    any_origin_may_call_where_the_setting_says_so,
    without_the_setting_no_origin_may_call,
];

const ORIGIN: &str = "https://app.example";

async fn a_request_id_is_taken_over_or_made(env: &Env) {
    let get = |id: &str| env.client.get("/v1/me").header("x-request-id", id);
    for id in ["a", "checkout-7/b", &"x".repeat(128)] {
        assert_eq!(get(id).send().await.header("x-request-id"), Some(id));
    }
    for id in ["", "two words", "é", &"x".repeat(129)] {
        let answer = get(id).send().await;
        let made = answer.header("x-request-id").unwrap();
        assert!(uuid::Uuid::parse_str(made).is_ok(), "{made:?} in place of {id:?}");
    }
    let answers = (env.client.get("/livez").send().await, env.client.get("/livez").send().await);
    assert_ne!(answers.0.header("x-request-id"), answers.1.header("x-request-id"));
}

async fn a_trace_goes_on_in_the_problem(env: &Env) {
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
    for path in ["/v1/me", "/v1/nothing"] {
        let answer = env.client.get(path).header("traceparent", &traceparent).send().await;
        assert_eq!(answer.json["trace_id"], trace, "{path}");
    }
}

async fn without_a_trace_one_is_begun(env: &Env) {
    let mut seen = Vec::new();
    let zeros = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
    for traceparent in ["", "nonsense", "00-xyz-00f067aa0ba902b7-01", &zeros] {
        let answer = env.client.get("/v1/me").header("traceparent", traceparent).send().await.expect(401);
        let trace = answer.json["trace_id"].as_str().unwrap().to_owned();
        assert!(!seen.contains(&trace), "{trace} was given twice");
        seen.push(trace);
    }
}

async fn listed_origins_may_call(env: &Env) {
    let service = env.service(&[("COUNTER_CORS_ORIGINS", "https://app.example,https://other.example")]).await;
    let user = service.client().await.register().await;
    let preflight = |origin: &str| {
        let call = user.client().call("OPTIONS", "/v1/next").header("origin", origin);
        let call = call.header("access-control-request-method", "POST");
        call.header("access-control-request-headers", "authorization,idempotency-key,if-match,content-type")
    };
    let answer = preflight(ORIGIN).send().await;
    assert!([200, 204].contains(&answer.status), "{}", answer.status);
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
    assert!(answer.list("access-control-allow-methods").contains(&"POST".to_owned()));
    assert!(!answer.list("allow").contains(&"HEAD".to_owned()), "HEAD takes no number");
    let headers = answer.header("access-control-allow-headers").unwrap().to_lowercase();
    for name in ["authorization", "idempotency-key", "if-match", "content-type"] {
        assert!(headers.contains(name), "{name} is not among {headers}");
    }
    assert_eq!(preflight("https://evil.example").send().await.header("access-control-allow-origin"), None);

    let answer = user.get("/v1/current").header("origin", ORIGIN).send().await.expect(200);
    assert_eq!(answer.number("value"), 0, "a preflight takes no number");
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
    assert!(answer.header("vary").is_some_and(|vary| vary.to_lowercase().contains("origin")));
    let exposed = answer.header("access-control-expose-headers").unwrap_or_default().to_lowercase();
    for name in ["etag", "idempotency-replayed", "retry-after", "x-request-id"] {
        assert!(exposed.contains(name), "a page cannot read {name}: {exposed}");
    }
    let answer = user.get("/v1/current").header("origin", "https://evil.example").send().await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let refused = user.client().get("/v1/current").header("origin", ORIGIN).send().await.expect(401);
    assert_eq!(refused.header("access-control-allow-origin"), Some(ORIGIN), "a page must be able to read problems");
}

async fn any_origin_may_call_where_the_setting_says_so(env: &Env) {
    let service = env.service(&[("COUNTER_CORS_ORIGINS", "*")]).await;
    let answer = service.client().await.get("/v1/me").header("origin", ORIGIN).send().await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}

async fn without_the_setting_no_origin_may_call(env: &Env) {
    let answer = env.client.get("/v1/me").header("origin", ORIGIN).send().await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
}
