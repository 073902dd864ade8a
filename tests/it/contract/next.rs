//! Taking numbers.

use serde_json::json;
use tokio::task::JoinSet;

use super::{Env, for_each_store};

/// 2^53 − 1: the highest number there is.
const TOP: u64 = 9_007_199_254_740_991;

for_each_store![
    the_first_is_one_and_each_adds_one,
    a_named_counter_is_one_of_its_own,
    the_default_counter_has_a_name,
    count_takes_a_block,
    a_bad_count_takes_nothing,
    at_the_top_nothing_is_left,
    near_the_top_everybody_gets_what_fits,
    head_and_other_methods_take_nothing,
    users_do_not_meet,
    a_bad_name_is_refused,
    many_at_once_get_a_number_each,
    a_new_counter_begins_at_the_initial_value,
];

async fn the_first_is_one_and_each_adds_one(env: &Env) {
    let user = env.user().await;
    for (method, value) in [("POST", 1), ("GET", 2), ("POST", 3), ("GET", 4)] {
        let answer = user.call(method, "/v1/next").send().await.expect(200);
        assert_eq!(answer.json, json!({"counter": "default", "value": value, "previous": value - 1}));
    }
    assert_eq!(user.current().await, 4);
}

async fn a_named_counter_is_one_of_its_own(env: &Env) {
    let user = env.user().await;
    for (method, value) in [("GET", 1), ("POST", 2)] {
        for name in ["orders", "a", "0", "invoices-2026_eu", &"x".repeat(64)] {
            let answer = user.call(method, &format!("/v1/counters/{name}/next")).send().await.expect(200);
            assert_eq!(answer.json, json!({"counter": name, "value": value, "previous": value - 1}));
        }
    }
    assert_eq!(user.current().await, 0);
}

async fn the_default_counter_has_a_name(env: &Env) {
    let user = env.user().await;
    assert_eq!(user.next().await, 1);
    let answer = user.post("/v1/counters/default/next").send().await.expect(200);
    assert_eq!(answer.json, json!({"counter": "default", "value": 2, "previous": 1}));
    assert_eq!(user.next().await, 3);
}

async fn count_takes_a_block(env: &Env) {
    let user = env.user().await;
    let mut previous = 0;
    for (method, count) in [("POST", 5), ("GET", 1), ("POST", 10_000), ("GET", 2)] {
        let answer = user.call(method, &format!("/v1/next?count={count}")).send().await.expect(200);
        let (first, last) = (previous + 1, previous + count);
        let expected =
            json!({"counter": "default", "first": first, "last": last, "count": count, "previous": previous});
        assert_eq!(answer.json, expected);
        previous = last;
    }
    assert_eq!(user.next().await, previous + 1);
}

async fn a_bad_count_takes_nothing(env: &Env) {
    let user = env.user().await;
    for count in ["0", "10001", "-1", "1.5", "abc", "", "%201", "99999999999999999999"] {
        user.post(&format!("/v1/next?count={count}")).send().await.invalid_field("count");
    }
    for (query, named) in [("count=1&count=2", "count"), ("cuont=1", "cuont")] {
        let answer = user.post(&format!("/v1/next?{query}")).send().await.problem(400, "malformed_query");
        assert!(answer.json["detail"].as_str().unwrap().contains(named), "{}", answer.body);
    }
    for query in ["count=%zz", "count=%ff"] {
        user.post(&format!("/v1/next?{query}")).send().await.problem(400, "malformed_query");
    }
    assert_eq!(user.current().await, 0);
}

async fn at_the_top_nothing_is_left(env: &Env) {
    let user = env.user().await;
    user.set(TOP - 1).await;
    assert_eq!(user.next().await, TOP);
    let before = user.etag("/v1/current").await;
    for path in ["/v1/next", "/v1/next?count=1", "/v1/next?count=10000"] {
        user.post(path).send().await.problem(409, "counter_exhausted");
    }
    assert_eq!(user.current().await, TOP);
    assert_eq!(user.etag("/v1/current").await, before);
    user.set(7).await;
    assert_eq!(user.next().await, 8);
}

async fn near_the_top_everybody_gets_what_fits(env: &Env) {
    let user = env.user().await;
    user.set(TOP - 8).await;
    user.post("/v1/next?count=9").send().await.problem(409, "counter_exhausted");
    assert_eq!(user.post("/v1/next?count=3").send().await.expect(200).number("last"), TOP - 5);

    let mut calls = JoinSet::new();
    for _ in 0..12 {
        let user = user.clone();
        calls.spawn(async move { user.post("/v1/next").send().await });
    }
    let (taken, refused): (Vec<_>, Vec<_>) =
        calls.join_all().await.into_iter().partition(|answer| answer.status == 200);
    let mut numbers: Vec<u64> = taken.iter().map(|answer| answer.number("value")).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (TOP - 4..=TOP).collect::<Vec<_>>());
    for answer in refused {
        answer.problem(409, "counter_exhausted");
    }
}

async fn head_and_other_methods_take_nothing(env: &Env) {
    let user = env.user().await;
    for path in ["/v1/next", "/v1/counters/orders/next"] {
        for method in ["HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "BREW"] {
            let answer = user.call(method, path).send().await.expect(405);
            assert_eq!(answer.list("allow"), ["GET", "POST"], "{method} {path}");
        }
    }
    let preflight = user.call("OPTIONS", "/v1/next").header("origin", "https://app.example");
    let preflight = preflight.header("access-control-request-method", "POST").send().await.expect(405);
    assert_eq!(preflight.header("access-control-allow-origin"), None);
    assert_eq!(user.current().await, 0);
    user.get("/v1/counters/orders/current").send().await.problem(404, "not_found");
}

async fn users_do_not_meet(env: &Env) {
    let (one, other) = (env.user().await, env.user().await);
    let path = "/v1/counters/shared/next";
    for value in 1..=3 {
        assert_eq!(one.post(path).send().await.expect(200).number("value"), value);
        assert_eq!(one.next().await, value);
    }
    other.get("/v1/counters/shared/current").send().await.problem(404, "not_found");
    assert_eq!(other.current().await, 0);
    assert_eq!(other.post(path).send().await.expect(200).number("value"), 1);
    other.delete("/v1/counters/shared").send().await.expect(204);
    assert_eq!(one.post(path).send().await.expect(200).number("value"), 4);
    assert_eq!(one.get("/v1/counters").send().await.expect(200).json["counters"].as_array().unwrap().len(), 2);
}

async fn a_bad_name_is_refused(env: &Env) {
    let user = env.user().await;
    for name in ["A", "-a", "_a", "a.b", "a%20b", "%C3%BC", "a%2Fb", &"x".repeat(65)] {
        user.post(&format!("/v1/counters/{name}/next")).send().await.invalid_field("name");
        user.get(&format!("/v1/counters/{name}/current")).send().await.invalid_field("name");
        user.delete(&format!("/v1/counters/{name}")).send().await.invalid_field("name");
    }
    user.post("/v1/counters//next").send().await.invalid_field("name");
    assert_eq!(user.get("/v1/counters").send().await.expect(200).json["counters"], json!([]));
}

async fn many_at_once_get_a_number_each(env: &Env) {
    let user = env.user().await;
    let mut calls = JoinSet::new();
    for call in 0..40_u64 {
        let user = user.clone();
        calls.spawn(async move {
            let count = call % 4 + 1;
            let answer = user.post(&format!("/v1/next?count={count}")).send().await.expect(200);
            assert_eq!(answer.number("count"), count);
            (answer.number("first"), answer.number("last"))
        });
    }
    let mut blocks = calls.join_all().await;
    blocks.sort_unstable();
    let mut previous = 0;
    for (first, last) in blocks {
        assert_eq!(first, previous + 1, "blocks touch and do not overlap");
        previous = last;
    }
    assert_eq!(previous, 100);
    assert_eq!(user.current().await, 100);
}

async fn a_new_counter_begins_at_the_initial_value(env: &Env) {
    let service = env.service(&[("COUNTER_INITIAL_VALUE", "100")]).await;
    let user = service.client().await.register().await;
    assert_eq!(user.current().await, 100);
    let answer = user.post("/v1/next").send().await.expect(200);
    assert_eq!(answer.json, json!({"counter": "default", "value": 101, "previous": 100}));
    let answer = user.post("/v1/counters/orders/next?count=2").send().await.expect(200);
    assert_eq!((answer.number("first"), answer.number("previous")), (101, 100));
    let set = user.put("/v1/counters/other/current").json(&json!({"current": 5})).send().await.expect(200);
    assert_eq!(set.number("previous"), 100);
    user.delete("/v1/counters/default").send().await.expect(204);
    assert_eq!(user.current().await, 100);
}
