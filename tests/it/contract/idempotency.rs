//! `Idempotency-Key`: a repeat is answered as the first call was, and nothing is done twice.

use serde_json::json;

use super::{Env, for_each_store};
use crate::support::stores::unique_name;

/// 2^53 − 1: the highest number there is.
const TOP: u64 = 9_007_199_254_740_991;

for_each_store![
    a_repeat_gets_the_first_answer,
    a_repeat_of_a_block_gets_the_same_block,
    the_quoted_and_the_bare_key_are_the_same,
    a_key_stands_for_one_request_only,
    a_key_belongs_to_the_user,
    refusals_are_repeated_too,
    a_repeated_put_does_not_set_again,
    racing_calls_with_one_key_take_one_number,
    a_key_outlives_its_counter,
    a_bad_key_is_refused,
];

async fn a_repeat_gets_the_first_answer(env: &Env) {
    let user = env.user().await;
    for method in ["POST", "GET"] {
        for path in ["/v1/next", "/v1/counters/orders/next"] {
            let key = unique_name();
            let first = user.call(method, path).key(&key).send().await.expect(200);
            assert!(!first.replayed());
            user.post(path).send().await.expect(200);
            for _ in 0..2 {
                let again = user.call(method, path).key(&key).send().await.expect(200);
                assert!(again.replayed());
                assert_eq!(again.body, first.body);
            }
        }
    }
    assert_eq!(user.current().await, 4);
}

async fn a_repeat_of_a_block_gets_the_same_block(env: &Env) {
    let user = env.user().await;
    let take = || user.post("/v1/next?count=10").key("block");
    let first = take().send().await.expect(200);
    let again = take().send().await.expect(200);
    assert_eq!((again.replayed(), again.body), (true, first.body));
    assert_eq!(user.next().await, 11);
}

async fn the_quoted_and_the_bare_key_are_the_same(env: &Env) {
    let user = env.user().await;
    let first = user.post("/v1/next").key("8e03978e-40d5-43dd-bc93").send().await.expect(200);
    let again = user.post("/v1/next").key("\"8e03978e-40d5-43dd-bc93\"").send().await.expect(200);
    assert_eq!((again.replayed(), again.body), (true, first.body));
    let quotes = user.post("/v1/next").key("\"a\\\"b\"").send().await.expect(200);
    let again = user.post("/v1/next").key("a\"b").send().await.expect(200);
    assert_eq!((again.replayed(), again.body), (true, quotes.body));
}

async fn a_key_stands_for_one_request_only(env: &Env) {
    let user = env.user().await;
    let set = |value: u64| user.put("/v1/current").json(&json!({"current": value}));
    let first = user.post("/v1/next").key("next").send().await.expect(200);
    for other in [
        user.get("/v1/next"),
        user.post("/v1/next?count=1"),
        user.post("/v1/next?count=2"),
        user.post("/v1/counters/orders/next"),
        set(5),
    ] {
        other.key("next").send().await.problem(422, "idempotency_key_reused");
    }
    assert_eq!(user.post("/v1/next").key("next").send().await.expect(200).body, first.body);

    set(5).key("set").send().await.expect(200);
    set(6).key("set").send().await.problem(422, "idempotency_key_reused");
    user.post("/v1/next").key("set").send().await.problem(422, "idempotency_key_reused");
    let named = user.put("/v1/counters/orders/current").json(&json!({"current": 5}));
    named.key("set").send().await.problem(422, "idempotency_key_reused");
    assert_eq!(user.current().await, 5);
    user.get("/v1/counters/orders/current").send().await.problem(404, "not_found");
}

async fn a_key_belongs_to_the_user(env: &Env) {
    let (user, other) = (env.user().await, env.user().await);
    user.set(100).await;
    let first = user.post("/v1/next").key("k").send().await.expect(200);
    let others = other.post("/v1/next").key("k").send().await.expect(200);
    assert_eq!((others.replayed(), others.number("value")), (false, 1));

    let again = user.log_in_again().await.post("/v1/next").key("k").send().await.expect(200);
    assert_eq!((again.replayed(), again.body), (true, first.body));
    let in_query = format!("/v1/next?token={}", user.token);
    let again = env.client.post(&in_query).key("k").send().await.expect(200);
    assert!(again.replayed(), "where the token stands makes no other request");
}

async fn refusals_are_repeated_too(env: &Env) {
    let user = env.user().await;
    user.set(TOP).await;
    let take = || user.post("/v1/next").key("exhausted");
    let refused = take().send().await.problem(409, "counter_exhausted");
    assert!(!refused.replayed());
    user.set(5).await;
    assert!(take().send().await.problem(409, "counter_exhausted").replayed());

    let set = || user.put("/v1/current").header("if-match", "\"1\"").json(&json!({"current": 9})).key("unmet");
    set().send().await.problem(412, "precondition_failed");
    assert!(set().send().await.problem(412, "precondition_failed").replayed());
    assert_eq!(user.next().await, 6);
}

async fn a_repeated_put_does_not_set_again(env: &Env) {
    let user = env.user().await;
    user.next().await;
    let set = || user.put("/v1/current").json(&json!({"current": 1000})).key("set");
    let first = set().send().await.expect(200);
    assert_eq!(user.next().await, 1001);
    let again = set().send().await.expect(200);
    assert_eq!((again.replayed(), &again.body), (true, &first.body));
    assert_eq!(again.header("etag"), first.header("etag"));
    assert_eq!(again.number("previous"), 1);
    assert_eq!(user.current().await, 1001);
}

async fn racing_calls_with_one_key_take_one_number(env: &Env) {
    let user = env.user().await;
    for round in 1..=5_u64 {
        let key = unique_name();
        let racing = (0..8).map(|_| {
            let (user, key) = (user.clone(), key.clone());
            tokio::spawn(async move { user.post("/v1/next").key(&key).send().await.expect(200) })
        });
        let mut first_answers = 0;
        for racer in racing.collect::<Vec<_>>() {
            let answer = racer.await.unwrap();
            assert_eq!(answer.number("value"), round);
            first_answers += usize::from(!answer.replayed());
        }
        assert_eq!(first_answers, 1);
    }
    assert_eq!(user.current().await, 5);
}

async fn a_key_outlives_its_counter(env: &Env) {
    let user = env.user().await;
    let take = || user.post("/v1/counters/orders/next").key("k");
    let first = take().send().await.expect(200);
    user.delete("/v1/counters/orders").send().await.expect(204);
    let again = take().send().await.expect(200);
    assert_eq!((again.replayed(), again.body), (true, first.body));
    user.get("/v1/counters/orders/current").send().await.problem(404, "not_found");
}

async fn a_bad_key_is_refused(env: &Env) {
    let user = env.user().await;
    for key in ["", "\"\"", "two words", "\"open", "\"a\"b\"", "é", &"x".repeat(256)] {
        user.post("/v1/next").key(key).send().await.invalid_field("Idempotency-Key");
        let set = user.put("/v1/current").json(&json!({"current": 1}));
        set.key(key).send().await.invalid_field("Idempotency-Key");
    }
    user.post("/v1/next").key("one").key("other").send().await.invalid_field("Idempotency-Key");
    assert_eq!(user.current().await, 0);
    user.post("/v1/next").key(&"x".repeat(255)).send().await.expect(200);
}
