//! Reading a counter and setting it.

use serde_json::{Value, json};

use super::{Env, for_each_store};
use crate::support::client::{Answer, User};

for_each_store![
    current_of_an_unused_counter,
    current_reads_and_takes_nothing,
    put_sets_and_next_goes_on_from_there,
    put_takes_json_and_forms,
    put_makes_a_named_counter,
    values_outside_the_range_are_refused,
    bodies_that_are_no_value_are_refused,
    every_write_changes_the_etag,
    if_match_makes_it_a_compare_and_set,
    if_match_star_means_that_it_exists,
    if_match_lists_etags_and_compares_strongly,
    a_bad_if_match_is_refused,
    of_racing_compare_and_sets_one_wins,
];

const DEFAULT: &str = "/v1/current";
const NAMED: &str = "/v1/counters/orders/current";

async fn put(user: &User, path: &str, value: u64, if_match: &str) -> Answer {
    user.put(path).header("if-match", if_match).json(&json!({"current": value})).send().await
}

async fn current_of_an_unused_counter(env: &Env) {
    let user = env.user().await;
    let answer = user.get(DEFAULT).send().await.expect(200);
    assert_eq!(answer.json, json!({"counter": "default", "value": 0}));
    assert_eq!(answer.header("etag"), Some("\"0\""));
    user.get(NAMED).send().await.problem(404, "not_found");
    assert_eq!(user.get("/v1/counters").send().await.expect(200).json["counters"], json!([]), "reading makes nothing");
}

async fn current_reads_and_takes_nothing(env: &Env) {
    let user = env.user().await;
    user.post("/v1/counters/orders/next?count=7").send().await.expect(200);
    for _ in 0..2 {
        let answer = user.get(NAMED).send().await.expect(200);
        assert_eq!(answer.json, json!({"counter": "orders", "value": 7}));
    }
    let head = user.call("HEAD", NAMED).send().await.expect(200);
    assert_eq!(head.body, "");
    assert_eq!(head.header("etag"), Some(user.etag(NAMED).await.as_str()));
}

async fn put_sets_and_next_goes_on_from_there(env: &Env) {
    let user = env.user().await;
    user.next().await;
    let answer = user.set(1000).await;
    assert_eq!(answer.json, json!({"counter": "default", "value": 1000, "previous": 1}));
    assert_eq!(answer.header("etag"), Some(user.etag(DEFAULT).await.as_str()));
    assert_eq!((user.current().await, user.next().await), (1000, 1001));
    assert_eq!(user.set(10).await.number("previous"), 1001);
    assert_eq!(user.next().await, 11);
}

async fn put_takes_json_and_forms(env: &Env) {
    let user = env.user().await;
    let mut previous = 0;
    for (media_type, body, value) in [
        ("application/json", r#"{"current":5}"#, 5),
        ("application/json; charset=utf-8", r#" { "current" : 6 } "#, 6),
        ("Application/JSON", r#"{"current":7}"#, 7),
        ("application/vnd.counter+json", r#"{"current":8}"#, 8),
        ("application/x-www-form-urlencoded", "current=9", 9),
        ("application/x-www-form-urlencoded;charset=UTF-8", "current=%31%30", 10),
    ] {
        let answer = user.put(DEFAULT).body(media_type, body).send().await.expect(200);
        assert_eq!((answer.number("value"), answer.number("previous")), (value, previous), "{media_type}");
        previous = value;
    }
}

async fn put_makes_a_named_counter(env: &Env) {
    let user = env.user().await;
    let answer = user.put(NAMED).json(&json!({"current": 41})).send().await.expect(200);
    assert_eq!(answer.json, json!({"counter": "orders", "value": 41, "previous": 0}));
    assert_eq!(user.post("/v1/counters/orders/next").send().await.expect(200).number("value"), 42);
}

async fn values_outside_the_range_are_refused(env: &Env) {
    let user = env.user().await;
    for value in [0, 9_007_199_254_740_991] {
        assert_eq!(user.set(value).await.number("value"), value);
        assert_eq!(user.current().await, value);
    }
    user.set(3).await;
    for value in
        ["-1", "9007199254740992", "18446744073709551616", "1.5", "\"5\"", "null", "true", "[1]", "{\"$inc\":1}"]
    {
        let body = format!("{{\"current\":{value}}}");
        user.put(DEFAULT).body("application/json", body).send().await.invalid_field("current");
    }
    for value in ["-1", "9007199254740992", "1.5", "abc", ""] {
        user.put(DEFAULT).form(&[("current", value)]).send().await.invalid_field("current");
    }
    assert_eq!(user.current().await, 3);
}

async fn bodies_that_are_no_value_are_refused(env: &Env) {
    let user = env.user().await;
    user.put(DEFAULT).json(&json!({})).send().await.invalid_field("current");
    user.put(DEFAULT).form(&[]).send().await.invalid_field("current");
    user.put(DEFAULT).json(&json!({"current": 1, "value": 2})).send().await.invalid_field("value");
    user.put(DEFAULT).form(&[("current", "1"), ("value", "2")]).send().await.invalid_field("value");
    for body in ["{", "", "{\"current\":1} x", "\u{0}"] {
        user.put(DEFAULT).body("application/json", body).send().await.problem(400, "malformed_body");
    }
    user.put(DEFAULT).body("text/plain", "5").send().await.problem(415, "unsupported_media_type");
    user.put(DEFAULT).untyped_body("{\"current\":1}").send().await.problem(415, "unsupported_media_type");
    user.put(DEFAULT).send().await.problem(415, "unsupported_media_type");
    assert_eq!(user.current().await, 0);
}

async fn every_write_changes_the_etag(env: &Env) {
    let user = env.user().await;
    let mut seen = vec![user.etag(DEFAULT).await];
    for value in [None, Some(7), Some(7), None] {
        match value {
            Some(value) => drop(user.set(value).await),
            None => drop(user.next().await),
        }
        let etag = user.etag(DEFAULT).await;
        assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
        assert!(!seen.contains(&etag), "{etag} was seen before: {seen:?}");
        assert_eq!(user.etag(DEFAULT).await, etag, "reading changes nothing");
        seen.push(etag);
    }
}

async fn if_match_makes_it_a_compare_and_set(env: &Env) {
    let user = env.user().await;
    let unused = user.etag(DEFAULT).await;
    let set = put(&user, DEFAULT, 5, &unused).await.expect(200);
    let etag = set.header("etag").unwrap();
    put(&user, DEFAULT, 6, &unused).await.problem(412, "precondition_failed");
    assert_eq!(user.current().await, 5);

    let again = put(&user, DEFAULT, 5, etag).await.expect(200);
    put(&user, DEFAULT, 9, etag).await.problem(412, "precondition_failed");
    user.next().await;
    put(&user, DEFAULT, 9, again.header("etag").unwrap()).await.problem(412, "precondition_failed");
    assert_eq!(user.current().await, 6);
}

async fn if_match_star_means_that_it_exists(env: &Env) {
    let user = env.user().await;
    put(&user, NAMED, 5, "*").await.problem(412, "precondition_failed");
    user.get(NAMED).send().await.problem(404, "not_found");
    user.post("/v1/counters/orders/next").send().await.expect(200);
    put(&user, NAMED, 5, "*").await.expect(200);
    // The default counter can be read before its first use, so it exists.
    put(&user, DEFAULT, 5, "*").await.expect(200);
}

async fn if_match_lists_etags_and_compares_strongly(env: &Env) {
    let user = env.user().await;
    let etag = user.set(1).await.header("etag").unwrap().to_owned();
    put(&user, DEFAULT, 2, &format!("W/{etag}")).await.problem(412, "precondition_failed");
    put(&user, DEFAULT, 2, "\"of-something-else\"").await.problem(412, "precondition_failed");
    put(&user, NAMED, 2, "\"0\"").await.problem(412, "precondition_failed");
    put(&user, DEFAULT, 2, &format!("\"1\", {etag}, \"x\"")).await.expect(200);
}

async fn a_bad_if_match_is_refused(env: &Env) {
    let user = env.user().await;
    for value in ["5", "\"5", "w/\"5\"", "\"5\" \"6\"", "*, \"5\"", ""] {
        put(&user, DEFAULT, 2, value).await.invalid_field("If-Match");
    }
    assert_eq!(user.current().await, 0);
}

async fn of_racing_compare_and_sets_one_wins(env: &Env) {
    let user = env.user().await;
    for round in 0..5 {
        let etag = user.etag(DEFAULT).await;
        let racing = (0..8).map(|racer| {
            let (user, etag) = (user.clone(), etag.clone());
            tokio::spawn(async move { put(&user, DEFAULT, round * 10 + racer, &etag).await })
        });
        let mut winners: Vec<Value> = Vec::new();
        for racer in racing.collect::<Vec<_>>() {
            let answer = racer.await.unwrap();
            match answer.status {
                200 => winners.push(answer.json["value"].clone()),
                _ => drop(answer.problem(412, "precondition_failed")),
            }
        }
        assert_eq!(winners, [json!(user.current().await)]);
    }
}
