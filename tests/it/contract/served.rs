//! What is served besides the API itself: health, documents, metrics.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Env, ROUTES, for_each_store};
use crate::support::eventually;
use crate::support::prometheus::Scrape;
use crate::support::service::{http_client, json_of};

for_each_store![
    health_says_how_the_store_is,
    readiness_and_liveness,
    the_openapi_document_describes_every_call,
    every_described_error_has_an_example,
    pages_need_nothing_from_elsewhere,
    pages_are_closed_to_others,
    pages_are_asked_for_again_and_sent_once,
    metrics_count_what_was_sent,
    unknown_names_make_no_new_series,
    the_admin_listener_says_what_runs,
];

async fn health_says_how_the_store_is(env: &Env) {
    let answer = env.client.get("/health").send().await.expect(200);
    assert_eq!(answer.header("content-type"), Some("application/health+json"));
    assert_eq!(answer.json["status"], "pass");
    assert!(answer.json["version"].is_string());
    let check = &answer.json["checks"][format!("store:{}", env.kind.system())];
    assert_eq!(check["status"], "pass", "{}", answer.body);
    assert!(check["latency_ms"].as_f64().is_some_and(|latency| latency >= 0.0));
    assert!(check["time"].is_string());
    for secret in ["127.0.0.1", "redb:", "mongodb://", "counter.redb"] {
        assert!(!answer.body.contains(secret), "{}", answer.body);
    }
    assert_eq!(env.client.call("HEAD", "/health").send().await.expect(200).body, "");
}

async fn readiness_and_liveness(env: &Env) {
    for path in ["/readyz", "/livez"] {
        env.client.get(path).send().await.expect(200);
        assert_eq!(env.client.call("HEAD", path).send().await.expect(200).body, "");
    }
}

async fn the_openapi_document_describes_every_call(env: &Env) {
    let document = env.client.contract().document();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let paths = document["paths"].as_object().unwrap().iter();
    let described: BTreeSet<_> = paths
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| (&**path, method.to_uppercase())))
        .collect();
    // HEAD is GET without its body, and not described.
    let named: BTreeSet<_> = ROUTES
        .into_iter()
        .flat_map(|(path, methods)| methods.split(' ').map(move |method| (path, method.to_owned())))
        .filter(|(_, method)| method != "HEAD")
        .collect();
    let differences: Vec<_> = described.symmetric_difference(&named).collect();
    assert!(differences.is_empty(), "either not described, or not in ROUTES of tests/it/contract.rs: {differences:?}");
    let answer = env.client.get("/openapi.json").send().await.expect(200);
    assert_eq!(&answer.json, document);
}

async fn every_described_error_has_an_example(env: &Env) {
    let contract = env.client.contract();
    for (path, operations) in contract.document()["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let Some(responses) = operation["responses"].as_object() else { continue };
            for (status, response) in responses {
                let problems = &contract.resolve(response)["content"]["application/problem+json"];
                for (code, example) in problems["examples"].as_object().into_iter().flatten() {
                    let value = &contract.resolve(example)["value"];
                    let wanted = (Value::from(code.as_str()), status.parse::<u64>().unwrap());
                    let found = (value["code"].clone(), value["status"].as_u64().unwrap_or_default());
                    assert_eq!(found, wanted, "{method} {path}");
                }
                assert!(
                    problems.is_null() || problems["examples"].is_object(),
                    "{method} {path} {status}: no examples"
                );
            }
        }
    }
}

/// What a page names in `href` and `src`, and a script in `import`.
fn references(text: &str) -> BTreeSet<String> {
    let opened = ["href=\"", "src=\"", "from \"", "@import \"", "url("];
    let found = opened.iter().flat_map(|open| text.split(open).skip(1));
    found.map(|rest| rest.split(['"', ')']).next().unwrap().to_owned()).filter(|name| !name.starts_with('#')).collect()
}

async fn pages_need_nothing_from_elsewhere(env: &Env) {
    let mut left: Vec<_> = ["/", "/docs"].map(str::to_owned).into();
    let mut seen = BTreeSet::new();
    while let Some(path) = left.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let answer = env.client.get(&path).send().await.expect(200);
        for name in references(&answer.body).into_iter().filter(|_| path != "/openapi.json") {
            let part = name.strip_prefix("./").map_or_else(|| name.clone(), |name| format!("/ui/{name}"));
            // Templates of scripts are no references.
            if part.contains("${") {
                continue;
            }
            assert!(part.starts_with('/') && !part.starts_with("//"), "{path} needs {name}");
            left.push(part);
        }
    }
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/ui")).unwrap();
    let parts =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).filter(|name| !name.ends_with(".html"));
    for part in parts {
        assert!(seen.contains(&format!("/ui/{part}")), "no page uses src/ui/{part}");
    }
    env.client.get("/ui/nothing.js").send().await.problem(404, "not_found");
    env.client.get("/ui/..%2fmain.rs").send().await.problem(404, "not_found");
}

async fn pages_are_closed_to_others(env: &Env) {
    let types = [
        ("/", "text/html; charset=utf-8"),
        ("/docs", "text/html; charset=utf-8"),
        ("/ui/home.js", "text/javascript; charset=utf-8"),
        ("/ui/base.css", "text/css; charset=utf-8"),
        ("/ui/icon.svg", "image/svg+xml"),
        ("/favicon.ico", "image/svg+xml"),
        ("/openapi.json", "application/json"),
    ];
    for (path, content_type) in types {
        let answer = env.client.get(path).send().await.expect(200);
        let expect = |name: &str, value: &str| assert_eq!(answer.header(name), Some(value), "{path}: {name}");
        expect("content-type", content_type);
        expect("x-content-type-options", "nosniff");
        expect("x-frame-options", "DENY");
        expect("referrer-policy", "no-referrer");
        expect("cross-origin-opener-policy", "same-origin");
        let policy: BTreeSet<_> = answer.header("content-security-policy").unwrap().split("; ").collect();
        let wanted = [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ];
        assert_eq!(policy, wanted.into(), "{path}");
        assert_eq!(answer.header("set-cookie"), None, "{path}");
    }
}

async fn pages_are_asked_for_again_and_sent_once(env: &Env) {
    for path in ["/", "/docs", "/ui/home.js", "/openapi.json"] {
        let first = env.client.get(path).send().await.expect(200);
        assert_eq!(first.header("cache-control"), Some("no-cache"), "{path}");
        let tag = first.header("etag").unwrap();
        for known in [tag, &format!("W/{tag}"), &format!("\"another\", {tag}"), "*"] {
            let again = env.client.get(path).header("if-none-match", known).send().await.expect(304);
            assert_eq!((again.body.as_str(), again.header("etag")), ("", Some(tag)), "{path} {known}");
        }
        env.client.get(path).header("if-none-match", "\"another\"").send().await.expect(200);
        assert_eq!(env.client.call("HEAD", path).send().await.expect(200).body, "");
    }
}

async fn metrics_count_what_was_sent(env: &Env) {
    let service = env.service(&[]).await;
    let client = service.client().await;
    let user = client.register().await;
    for _ in 0..7 {
        user.post("/v1/next").send().await.expect(200);
    }
    user.get("/v1/next?count=5").send().await.expect(200);
    user.post("/v1/counters/orders/next").key("k").send().await.expect(200);
    user.post("/v1/counters/orders/next").key("k").send().await.expect(200);
    user.get("/v1/current").send().await.expect(200);
    for _ in 0..3 {
        client.get("/v1/current").send().await.expect(401);
    }
    client.get("/v1/nothing").send().await.expect(404);
    client.call("BREW", "/v1/next").send().await.expect(405);
    client.login(&user.email, "not the password").await.expect(401);

    let failed_login = [("http_route", "/v1/login"), ("http_response_status_code", "401")];
    let scrape = eventually("the count of the last request, and none under way", async || {
        let scrape = Scrape::of(&service).await;
        let counted = scrape.sum("http_server_request_duration_seconds_count", &failed_login) == 1.0;
        let idle = scrape.sum("http_server_active_requests", &[("http_request_method", "POST")]) == 0.0;
        (counted && idle).then_some(scrape)
    })
    .await;
    let requests = |method: &str, route: &str, status: &str| {
        let labels = [("http_request_method", method), ("http_route", route), ("http_response_status_code", status)];
        scrape.sum("http_server_request_duration_seconds_count", &labels)
    };
    assert_eq!(requests("POST", "/v1/register", "201"), 1.0);
    assert_eq!(requests("POST", "/v1/next", "200"), 7.0);
    assert_eq!(requests("GET", "/v1/next", "200"), 1.0);
    assert_eq!(requests("POST", "/v1/counters/{name}/next", "200"), 2.0);
    assert_eq!(requests("GET", "/v1/current", "200"), 1.0);
    assert_eq!(requests("GET", "/v1/current", "401"), 3.0);
    assert_eq!(requests("_OTHER", "unmatched", "404"), 1.0);
    assert_eq!(requests("_OTHER", "/v1/next", "405"), 1.0);
    assert_eq!(scrape.sum("counter_api_numbers_issued_total", &[]), 13.0);
    assert_eq!(scrape.sum("counter_api_idempotent_replays_total", &[]), 1.0);
    assert_eq!(scrape.sum("counter_api_users_registered_total", &[]), 1.0);
    assert_eq!(scrape.sum("counter_api_store_up", &[("db_system_name", env.kind.system())]), 1.0);
    assert_eq!(scrape.sum("counter_api_auth_attempts_total", &[("kind", "login")]), 1.0);
    for personal in [&user.id, &user.email, &user.token, "orders"] {
        assert!(!scrape.text().contains(personal), "{personal} is in /metrics");
    }
}

async fn unknown_names_make_no_new_series(env: &Env) {
    let service = env.service(&[]).await;
    let user = service.client().await.register().await;
    let poke = async |from: usize| {
        for n in from..from + 20 {
            user.call(&format!("METHOD{n}"), &format!("/v1/nothing-{n}")).send().await.expect(404);
            user.post(&format!("/v1/counters/c{n}/next")).send().await.expect(200);
            user.post(&format!("/v1/counters/-{n}/next")).send().await.expect(422);
        }
        Scrape::of(&service).await.text().lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    let before: BTreeSet<String> = poke(0).await;
    let after: BTreeSet<String> = poke(20).await;
    assert_eq!(after.difference(&before).collect::<Vec<_>>(), Vec::<&String>::new());
}

async fn the_admin_listener_says_what_runs(env: &Env) {
    let service = env.service(&[]).await;
    let get = async |url: String| http_client().get(url).send().await.unwrap();
    let version = json_of(get(service.admin_url("/version")).await).await;
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(get(service.admin_url("/v1/next")).await.status(), 404);
    assert_eq!(get(service.url("/version")).await.status(), 404);
}
