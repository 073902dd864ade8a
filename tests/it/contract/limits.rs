//! Rate limits.

use super::{Env, for_each_store};
use crate::support::client::{Answer, Client, unique_email};

for_each_store![
    logins_are_limited_by_address,
    a_forwarded_address_counts_only_from_a_trusted_proxy,
    behind_a_trusted_proxy_each_caller_has_its_own_limit,
    calls_are_limited_by_token,
    off_means_off,
];

async fn login_from(client: &Client, headers: &[(&str, &str)]) -> Answer {
    let call = client.post("/v1/login").json(&crate::support::client::credentials(&unique_email(), "not a password"));
    headers.iter().fold(call, |call, (name, value)| call.header(name, value)).send().await
}

/// Uses a limit of three up, and fails unless the fourth call is refused.
async fn use_up(client: &Client, headers: &[(&str, &str)]) {
    for _ in 0..3 {
        login_from(client, headers).await.problem(401, "invalid_credentials");
    }
    login_from(client, headers).await.problem(429, "rate_limited");
}

async fn logins_are_limited_by_address(env: &Env) {
    let service = env.service(&[("COUNTER_AUTH_RATE_LIMIT", "3/m")]).await;
    let client = service.client().await;
    for left in [2, 1, 0] {
        let answer = login_from(&client, &[]).await.problem(401, "invalid_credentials");
        assert_eq!(parameters(&answer, "ratelimit-policy"), ["\"default\"", "q=3", "w=60"]);
        let now = parameters(&answer, "ratelimit");
        assert_eq!(now[..2], ["\"default\"".to_owned(), format!("r={left}")]);
        assert!(now[2].strip_prefix("t=").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{now:?}");
    }
    let refused = login_from(&client, &[]).await.problem(429, "rate_limited");
    let after: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&after), "{after} s");
    assert_eq!(parameters(&refused, "ratelimit")[1], "r=0");
    client.get("/livez").send().await.expect(200);
    client.get("/v1/me").send().await.problem(401, "token_missing");
}

/// The parts of an item of a structured field (RFC 9651), which is all that these headers hold.
fn parameters(answer: &Answer, header: &str) -> Vec<String> {
    let value = answer.header(header).unwrap_or_else(|| answer.fail(&format!("no {header}")));
    value.split(';').map(|part| part.trim().to_owned()).collect()
}

async fn a_forwarded_address_counts_only_from_a_trusted_proxy(env: &Env) {
    let service = env.service(&[("COUNTER_AUTH_RATE_LIMIT", "3/m")]).await;
    let client = service.client().await;
    use_up(&client, &[]).await;
    login_from(&client, &[("x-forwarded-for", "203.0.113.9")]).await.problem(429, "rate_limited");
    login_from(&client, &[("forwarded", "for=203.0.113.9")]).await.problem(429, "rate_limited");
}

async fn behind_a_trusted_proxy_each_caller_has_its_own_limit(env: &Env) {
    let settings = [("COUNTER_AUTH_RATE_LIMIT", "3/m"), ("COUNTER_TRUSTED_PROXIES", "127.0.0.1/32,10.0.0.0/8")];
    let service = env.service(&settings).await;
    let client = service.client().await;
    use_up(&client, &[("x-forwarded-for", "203.0.113.9")]).await;
    use_up(&client, &[("x-forwarded-for", "203.0.113.10")]).await;
    use_up(&client, &[("x-forwarded-for", "2001:db8::1")]).await;
    use_up(&client, &[("forwarded", "for=203.0.113.11;proto=https")]).await;
    // What stands left of the caller's own address the caller wrote itself.
    for forged in ["198.51.100.1, 203.0.113.9", "203.0.113.99, 203.0.113.9, 10.1.2.3"] {
        login_from(&client, &[("x-forwarded-for", forged)]).await.problem(429, "rate_limited");
    }
}

async fn calls_are_limited_by_token(env: &Env) {
    let service = env.service(&[("COUNTER_RATE_LIMIT", "5/m")]).await;
    let client = service.client().await;
    let (user, other) = (client.register().await, client.register().await);
    for value in 1..=5 {
        let answer = user.post("/v1/next").send().await.expect(200);
        assert_eq!(answer.number("value"), value);
        assert_eq!(parameters(&answer, "ratelimit-policy")[1..], ["q=5", "w=60"]);
    }
    let refused = user.post("/v1/next").send().await.problem(429, "rate_limited");
    assert!(refused.header("retry-after").is_some());
    user.get("/v1/current").send().await.problem(429, "rate_limited");
    let current = other.get("/v1/current").send().await.expect(200);
    assert_eq!(current.number("value"), 0);
    for _ in 0..3 {
        client.get("/v1/me").send().await.problem(401, "token_missing");
    }
}

async fn off_means_off(env: &Env) {
    let user = env.user().await;
    for _ in 0..30 {
        let answer = user.post("/v1/next").send().await.expect(200);
        assert_eq!(answer.header("ratelimit-policy"), None);
    }
}
