//! Requests that nobody should send, and what each is told.

use std::convert::Infallible;

use axum::body::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use reqwest::Body;
use serde_json::json;

use super::{Env, ROUTES, for_each_store};
use crate::support::client::{PASSWORD, credentials, unique_email};

for_each_store![
    an_unknown_route_is_a_problem,
    another_method_is_told_which_are_allowed,
    a_caller_that_takes_no_json_is_told_before_anything_is_done,
    a_body_over_16_kib_is_too_large,
    another_media_type_is_refused,
    a_body_that_is_no_json_is_malformed,
    a_form_that_is_none_is_malformed,
    an_unknown_parameter_is_refused_everywhere,
];

async fn an_unknown_route_is_a_problem(env: &Env) {
    let user = env.user().await;
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "BREW"] {
        for path in ["/nothing", "/v1", "/v1/", "/v1/nothing", "/v1/next/", "/v2/next", "/metrics"] {
            user.call(method, path).send().await.problem(404, "not_found");
        }
    }
    env.client.get("/v1/nothing").send().await.problem(404, "not_found");
    assert_eq!(env.client.call("HEAD", "/nothing").send().await.expect(404).body, "");
}

async fn another_method_is_told_which_are_allowed(env: &Env) {
    let user = env.user().await;
    let pages = ["/openapi.json", "/docs", "/", "/ui/base.css"].map(|page| (page, "GET HEAD"));
    for (route, allowed) in ROUTES.into_iter().chain(pages) {
        let path = &route.replace("{name}", "orders").replace("{provider}", "github");
        for method in ["PATCH", "OPTIONS", "BREW"] {
            let answer = user.call(method, path).send().await.problem(405, "method_not_allowed");
            assert_eq!(answer.list("allow").join(" "), allowed, "{method} {path}");
        }
    }
}

async fn a_caller_that_takes_no_json_is_told_before_anything_is_done(env: &Env) {
    let user = env.user().await;
    for accept in ["text/html", "image/png, text/plain;q=0.5", "application/xml", "application/json;q=0"] {
        user.post("/v1/next").header("accept", accept).send().await.problem(406, "not_acceptable");
        user.get("/v1/me").header("accept", accept).send().await.problem(406, "not_acceptable");
        let register = env.client.post("/v1/register").json(&credentials(&unique_email(), PASSWORD));
        register.header("accept", accept).send().await.problem(406, "not_acceptable");
    }
    assert_eq!(user.current().await, 0);
    for accept in ["*/*", "application/*", "application/json", "text/html, */*;q=0.1", "APPLICATION/JSON;q=0.5"] {
        user.post("/v1/next").header("accept", accept).send().await.expect(200);
    }
}

async fn a_body_over_16_kib_is_too_large(env: &Env) {
    let user = env.user().await;
    let padded = |length: usize| format!("{{\"current\":1{}}}", " ".repeat(length - 13));
    // Each call has a connection of its own, for a server may close one whose body it has not read to the end.
    let put =
        |length: usize| user.put("/v1/current").header("connection", "close").body("application/json", padded(length));
    put(16 * 1024).send().await.expect(200);
    put(16 * 1024 + 1).send().await.problem(413, "body_too_large");

    // Without a Content-Length the length shows only as the body comes.
    let chunks = (0..40).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from(" ".repeat(1024)))));
    let chunked = Body::wrap(StreamBody::new(tokio_stream::iter(chunks)));
    user.put("/v1/current")
        .header("connection", "close")
        .body("application/json", chunked)
        .send()
        .await
        .problem(413, "body_too_large");
    let register = credentials(&unique_email(), &"x".repeat(17_000));
    env.client
        .post("/v1/register")
        .header("connection", "close")
        .json(&register)
        .send()
        .await
        .problem(413, "body_too_large");
}

async fn another_media_type_is_refused(env: &Env) {
    let body = credentials(&unique_email(), PASSWORD).to_string();
    for path in ["/v1/register", "/v1/login"] {
        for media_type in ["text/plain", "application/xml", "multipart/form-data; boundary=x", "json"] {
            let post = env.client.post(path).body(media_type, body.clone());
            post.send().await.problem(415, "unsupported_media_type");
        }
        env.client.post(path).untyped_body("{}").send().await.problem(415, "unsupported_media_type");
        env.client.post(path).send().await.problem(415, "unsupported_media_type");
    }
    let user = env.user().await;
    let leave = user.delete("/v1/me").form(&[("password", PASSWORD)]);
    leave.send().await.problem(415, "unsupported_media_type");
}

async fn a_body_that_is_no_json_is_malformed(env: &Env) {
    for path in ["/v1/register", "/v1/login"] {
        for body in
            [&b""[..], b"{", b"{\"email\":}", b"{}{}", b"{} x", b"{\"email\":\"\xff\"}", b"email=ada@example.com"]
        {
            let post = env.client.post(path).body("application/json", body);
            post.send().await.problem(400, "malformed_body");
        }
    }
}

async fn a_form_that_is_none_is_malformed(env: &Env) {
    let post = |body: &'static str| env.client.post("/v1/login").body("application/x-www-form-urlencoded", body);
    for body in ["email=%zz&password=eight888", "email=%ff&password=eight888"] {
        post(body).send().await.problem(400, "malformed_body");
    }
    let twice = post("email=ada@example.com&email=eve@example.com&password=eight888");
    twice.send().await.invalid_field("email");
}

async fn an_unknown_parameter_is_refused_everywhere(env: &Env) {
    let user = env.user().await;
    for (method, path) in
        [("GET", "/v1/me"), ("POST", "/v1/logout"), ("GET", "/v1/current"), ("DELETE", "/v1/counters/orders")]
    {
        let answer = user.call(method, &format!("{path}?colour=blue")).send().await.problem(400, "malformed_query");
        assert!(answer.json["detail"].as_str().unwrap().contains("colour"), "{}", answer.body);
    }
    let put = user.put("/v1/current?current=5").json(&json!({"current": 5}));
    put.send().await.problem(400, "malformed_query");
    user.get("/v1/me").send().await.expect(200);
}
