//! Deleting counters, and the quota.

use serde_json::json;

use super::{Env, for_each_store};

for_each_store![
    a_deleted_counter_is_gone_and_begins_anew,
    the_default_counter_can_be_deleted_too,
    a_counter_made_again_has_new_etags,
    only_what_is_there_can_be_deleted,
    the_quota_bounds_the_named_counters,
];

async fn a_deleted_counter_is_gone_and_begins_anew(env: &Env) {
    let user = env.user().await;
    user.post("/v1/counters/orders/next?count=9").send().await.expect(200);
    user.post("/v1/counters/other/next").send().await.expect(200);
    let answer = user.delete("/v1/counters/orders").send().await.expect(204);
    assert_eq!(answer.body, "");
    user.get("/v1/counters/orders/current").send().await.problem(404, "not_found");
    let left = user.get("/v1/counters").send().await.expect(200);
    assert_eq!(left.json["counters"].as_array().unwrap().len(), 1);
    assert_eq!(user.get("/v1/me").send().await.expect(200).json["counters"], 1);
    assert_eq!(user.post("/v1/counters/orders/next").send().await.expect(200).number("value"), 1);
}

async fn the_default_counter_can_be_deleted_too(env: &Env) {
    let user = env.user().await;
    user.set(5).await;
    user.delete("/v1/counters/default").send().await.expect(204);
    assert_eq!(user.current().await, 0);
    assert_eq!(user.next().await, 1);
}

async fn a_counter_made_again_has_new_etags(env: &Env) {
    let user = env.user().await;
    let path = "/v1/counters/orders/current";
    let mut seen = Vec::new();
    for _ in 0..3 {
        for _ in 0..3 {
            user.post("/v1/counters/orders/next").send().await.expect(200);
            let etag = user.etag(path).await;
            assert!(!seen.contains(&etag), "{etag} was seen before: {seen:?}");
            seen.push(etag);
        }
        user.delete("/v1/counters/orders").send().await.expect(204);
    }
    user.post("/v1/counters/orders/next").send().await.expect(200);
    for etag in seen {
        let set = user.put(path).header("if-match", &etag).json(&json!({"current": 9}));
        set.send().await.problem(412, "precondition_failed");
    }
}

async fn only_what_is_there_can_be_deleted(env: &Env) {
    let user = env.user().await;
    user.delete("/v1/counters/orders").send().await.problem(404, "not_found");
    user.post("/v1/counters/orders/next").send().await.expect(200);
    user.delete("/v1/counters/orders").send().await.expect(204);
    user.delete("/v1/counters/orders").send().await.problem(404, "not_found");
}

async fn the_quota_bounds_the_named_counters(env: &Env) {
    let service = env.service(&[("COUNTER_COUNTERS_PER_USER", "3")]).await;
    let client = service.client().await;
    let user = client.register().await;
    for name in ["a", "b", "c"] {
        user.post(&format!("/v1/counters/{name}/next")).send().await.expect(200);
    }
    for path in ["/v1/counters/d/next", "/v1/counters/d/next?count=2"] {
        user.post(path).send().await.problem(409, "quota_reached");
        user.get(path).send().await.problem(409, "quota_reached");
    }
    let set = user.put("/v1/counters/d/current").json(&json!({"current": 1}));
    set.send().await.problem(409, "quota_reached");
    user.get("/v1/counters/d/current").send().await.problem(404, "not_found");

    assert_eq!(user.next().await, 1, "the default counter is always allowed");
    assert_eq!(user.post("/v1/counters/a/next").send().await.expect(200).number("value"), 2);
    client.register().await.post("/v1/counters/d/next").send().await.expect(200);

    user.delete("/v1/counters/default").send().await.expect(204);
    user.delete("/v1/counters/b").send().await.expect(204);
    user.post("/v1/counters/d/next").send().await.expect(200);
    user.post("/v1/counters/e/next").send().await.problem(409, "quota_reached");
}
