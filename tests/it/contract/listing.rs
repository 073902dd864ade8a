//! Listing a user's counters.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Env, for_each_store};
use crate::support::client::User;

for_each_store![
    a_new_user_has_none,
    a_list_says_what_each_stands_at,
    pages_cover_everything_once,
    a_list_goes_on_after_what_is_deleted,
    a_bad_page_is_refused,
];

async fn make(user: &User, names: &[&str]) {
    for name in names {
        user.post(&format!("/v1/counters/{name}/next")).send().await.expect(200);
    }
}

/// Follows the cursors from the first page to the last and answers the names.
async fn all_pages(user: &User, limit: usize) -> Vec<String> {
    let mut names = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = user.get(&format!("/v1/counters?limit={limit}{cursor}")).send().await.expect(200);
        let counters = page.json["counters"].as_array().unwrap();
        assert!(counters.len() <= limit, "{} on a page of {limit}", counters.len());
        names.extend(counters.iter().map(|counter| counter["name"].as_str().unwrap().to_owned()));
        assert!(names.len() < 1000, "the pages do not end");
        match &page.json["next"] {
            Value::Null => return names,
            next => cursor = format!("&cursor={}", next.as_str().expect("a cursor is a string")),
        }
    }
}

async fn a_new_user_has_none(env: &Env) {
    let user = env.user().await;
    let answer = user.get("/v1/counters").send().await.expect(200);
    assert_eq!(answer.json, json!({"counters": [], "next": null}));
    assert_eq!(user.get("/v1/me").send().await.expect(200).json["counters"], 0);
}

async fn a_list_says_what_each_stands_at(env: &Env) {
    let user = env.user().await;
    user.set(41).await;
    user.next().await;
    make(&user, &["orders"]).await;
    let answer = user.get("/v1/counters").send().await.expect(200);
    assert_eq!(answer.json["next"], Value::Null);
    let mut counters = answer.json["counters"].as_array().unwrap().clone();
    counters.sort_by_key(|counter| counter["name"].to_string());
    for (counter, (name, value)) in counters.iter().zip([("default", 42), ("orders", 1)]) {
        assert_eq!((&counter["name"], &counter["value"]), (&json!(name), &json!(value)));
        let updated_at = OffsetDateTime::parse(counter["updated_at"].as_str().unwrap(), &Rfc3339).unwrap();
        assert!((OffsetDateTime::now_utc() - updated_at).abs() < time::Duration::minutes(2), "{updated_at}");
        assert_eq!(counter.as_object().unwrap().len(), 3);
    }
    assert_eq!(counters.len(), 2);
}

async fn pages_cover_everything_once(env: &Env) {
    let user = env.user().await;
    let names = ["b", "a-1", "zz", "a_1", "0", "a1", "m"];
    make(&user, &names).await;
    let mut expected = names.to_vec();
    expected.sort_unstable();
    for limit in [1, 2, 3, 7, 1000] {
        assert_eq!(all_pages(&user, limit).await, expected, "with pages of {limit}");
    }
    make(&env.user().await, &["a", "other"]).await;
    assert_eq!(all_pages(&user, 2).await, expected, "other users' counters do not show");
}

async fn a_list_goes_on_after_what_is_deleted(env: &Env) {
    let user = env.user().await;
    make(&user, &["a", "b", "c", "d"]).await;
    let page = user.get("/v1/counters?limit=2").send().await.expect(200);
    user.delete("/v1/counters/b").send().await.expect(204);
    let path = format!("/v1/counters?limit=2&cursor={}", page.json["next"].as_str().unwrap());
    let rest = user.get(&path).send().await.expect(200);
    let names: Vec<&Value> = rest.json["counters"].as_array().unwrap().iter().map(|counter| &counter["name"]).collect();
    assert_eq!(names, ["c", "d"]);
}

async fn a_bad_page_is_refused(env: &Env) {
    let user = env.user().await;
    for limit in ["0", "1001", "-1", "abc", "", "2.0"] {
        user.get(&format!("/v1/counters?limit={limit}")).send().await.invalid_field("limit");
    }
    for cursor in ["x", "!!!!", "AAAA", "%20"] {
        user.get(&format!("/v1/counters?cursor={cursor}")).send().await.invalid_field("cursor");
    }
    user.get("/v1/counters?limit=1&limit=2").send().await.problem(400, "malformed_query");
    user.get("/v1/counters?page=2").send().await.problem(400, "malformed_query");
}
