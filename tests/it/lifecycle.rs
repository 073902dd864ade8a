//! Stopping, and clients that are slow or silent.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::prometheus::Scrape;
use crate::support::raw::Connection;
use crate::support::service::{Service, http_client};
use crate::support::stores::{Kind, Store};
use crate::support::{PATIENCE, eventually, eventually_within};

async fn redb(settings: &[(&str, &str)]) -> Service {
    Service::fresh(Kind::Redb, settings).await
}

async fn readiness(service: &Service) -> Option<u16> {
    let answer = http_client().get(service.url("/readyz")).send().await.ok()?;
    Some(answer.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_announced_before_it_happens() {
    let service = redb(&[("COUNTER_DRAIN_DELAY", "3s")]).await;
    let user = service.client().await.register().await;
    let begun = Instant::now();
    service.sigterm();
    eventually_within(Duration::from_secs(2), "503 from /readyz", async || {
        (readiness(&service).await == Some(503)).then_some(())
    })
    .await;
    let answer = user.post("/v1/next").send().await;
    assert_eq!(answer.number("value"), 1, "load balancers have not noticed yet");
    assert_eq!(answer.header("connection"), Some("close"), "the next call should find another replica");
    assert_eq!(service.wait_exit(PATIENCE).await, Some(0));
    assert!(begun.elapsed() >= Duration::from_secs(3), "stopped after {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_aborts() {
    let service = redb(&[("COUNTER_DRAIN_DELAY", "60s")]).await;
    service.sigterm();
    eventually("503 from /readyz", async || (readiness(&service).await == Some(503)).then_some(())).await;
    service.sigterm();
    assert_ne!(service.wait_exit(Duration::from_secs(5)).await, Some(0));
}

/// The head of a PUT whose body of 13 bytes is still to come, all but its first bytes.
fn half_a_put(token: &str) -> String {
    format!(
        "PUT /v1/current HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 13\r\n\r\n{{\"curr"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_finished_and_new_calls_are_turned_away() {
    let service = redb(&[("COUNTER_DRAIN_DELAY", "0s"), ("COUNTER_BODY_TIMEOUT", "60s")]).await;
    let user = service.client().await.register().await;
    let mut slow = Connection::open(service.address()).await;
    slow.send(&half_a_put(&user.token)).await;
    under_way(&service, "PUT").await;

    service.sigterm();
    eventually("new calls are turned away", async || match user.post("/v1/next").try_send().await {
        Err(_) => Some(()),
        Ok(answer) if answer.status == 200 => None,
        Ok(answer) => {
            answer.problem(503, "draining");
            Some(())
        }
    })
    .await;
    assert_eq!(service.exit_status(), None, "a call is still under way");
    slow.send("ent\":1}").await;
    let answer = slow.read_until("\"value\":1", PATIENCE).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(service.wait_exit(PATIENCE).await, Some(0));
}

/// Waits until the service has read a request's head.
async fn under_way(service: &Service, method: &str) {
    eventually("the request is under way", async || {
        let scrape = Scrape::of(service).await;
        (scrape.sum("http_server_active_requests", &[("http_request_method", method)]) >= 1.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_send_nothing_do_not_hold_the_stop() {
    let settings = [("COUNTER_DRAIN_DELAY", "0s"), ("COUNTER_DRAIN_TIMEOUT", "60s"), ("COUNTER_HEADER_TIMEOUT", "60s")];
    let service = redb(&settings).await;
    let mut half = Connection::open(service.address()).await;
    half.send("GET /livez HTTP/1.1\r\nhost:").await;
    let _silent = Connection::open(service.address()).await;
    let mut idle = Connection::open(service.address()).await;
    idle.send("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    idle.read_until("200", PATIENCE).await;
    service.sigterm();
    assert_eq!(service.wait_exit(Duration::from_secs(15)).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_complete_only_after_the_drain_is_refused() {
    let settings = [("COUNTER_DRAIN_DELAY", "0s"), ("COUNTER_DRAIN_TIMEOUT", "1s"), ("COUNTER_BODY_TIMEOUT", "60s")];
    let service = redb(&settings).await;
    let user = service.client().await.register().await;
    let mut slow = Connection::open(service.address()).await;
    slow.send(&half_a_put(&user.token)).await;
    under_way(&service, "PUT").await;
    service.sigterm();
    let refusing = "requests are still under way: calls are refused from now on";
    eventually(refusing, async || service.logs(|line| line["message"] == refusing).pop()).await;
    slow.send("ent\":1}").await;
    let answer = slow.read_until("trace_id", PATIENCE).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\"draining\""), "{answer}");
    assert_eq!(service.wait_exit(PATIENCE).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_far_too_large_is_refused_and_the_refusal_arrives() {
    let service = redb(&[]).await;
    let mut connection = Connection::open(service.address()).await;
    let head =
        "POST /v1/register HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 5000000\r\n\r\n";
    connection.send(head).await;
    connection.send(&" ".repeat(5_000_000)).await;
    let answer = connection.read_until("body_too_large", PATIENCE).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_finishes_holds_the_stop_for_its_timeout_only() {
    let settings = [("COUNTER_DRAIN_DELAY", "0s"), ("COUNTER_DRAIN_TIMEOUT", "2s"), ("COUNTER_BODY_TIMEOUT", "60s")];
    let service = redb(&[&settings[..], &[("COUNTER_REQUEST_TIMEOUT", "60s")]].concat()).await;
    let user = service.client().await.register().await;
    let mut slow = Connection::open(service.address()).await;
    slow.send(&half_a_put(&user.token)).await;
    under_way(&service, "PUT").await;
    service.sigterm();
    service.wait(Duration::from_secs(15)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_silent_clients_are_cut_off() {
    let service = redb(&[("COUNTER_HEADER_TIMEOUT", "1s")]).await;
    let mut half = Connection::open(service.address()).await;
    let mut silent = Connection::open(service.address()).await;
    half.send("GET /livez HTTP/1.1\r\nhost:").await;
    let (half, silent) = tokio::join!(half.closed(PATIENCE), silent.closed(PATIENCE));
    for (_, after) in [half, silent] {
        assert!((0.5..10.0).contains(&after.as_secs_f64()), "closed after {after:?}");
    }

    // Sending a little now and then does not move the deadline.
    let mut trickling = Connection::open(service.address()).await;
    trickling.send("GET /livez HTTP/1.1\r\nx-slow: ").await;
    let after = trickling.trickle_until_closed(PATIENCE).await;
    assert!(after < Duration::from_secs(10), "closed after {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_is_a_408() {
    let service = redb(&[("COUNTER_BODY_TIMEOUT", "1s")]).await;
    let user = service.client().await.register().await;
    let mut slow = Connection::open(service.address()).await;
    slow.send(&half_a_put(&user.token)).await;
    let answer = slow.read_until("request_timeout", Duration::from_secs(10)).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.to_lowercase().contains("application/problem+json"), "{answer}");
    assert_eq!(user.current().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_does_not_hold_a_connection_of_the_admin_listener() {
    let service = redb(&[]).await;
    let mut slow = Connection::open(service.admin_address()).await;
    slow.send("PUT /log-filter HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nin").await;
    let (answer, _) = slow.closed(PATIENCE).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("request_timeout"), "{answer}");

    let long = http_client().put(service.admin_url("/log-filter")).body(" ".repeat(2_000) + "warn");
    assert_eq!(long.send().await.unwrap().status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_closed_after_a_refusal_says_so() {
    let service = redb(&[]).await;
    let mut connection = Connection::open(service.address()).await;
    let head =
        "POST /v1/register HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 17000\r\n\r\n";
    connection.send(&format!("{head}{}", " ".repeat(16_500))).await;
    let answer = connection.read_until("body_too_large", PATIENCE).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // A client that is told nothing sends its next call on a connection that nobody reads any more.
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_in_the_end() {
    let service = redb(&[("COUNTER_IDLE_TIMEOUT", "1s")]).await;
    let mut idle = Connection::open(service.address()).await;
    idle.send("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (answer, after) = idle.closed(PATIENCE).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!((0.5..10.0).contains(&after.as_secs_f64()), "closed after {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_stop_the_service() {
    let service = redb(&[("COUNTER_MAX_CONNECTIONS", "20"), ("COUNTER_HEADER_TIMEOUT", "1s")]).await;
    let mut silent = Vec::new();
    for _ in 0..60 {
        silent.push(Connection::open(service.address()).await);
    }
    let user = service.client().await.register().await;
    let set = user.put("/v1/current").json(&json!({"current": 5})).send().await.expect(200);
    assert_eq!(set.number("value"), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_hangs_up_harms_nobody() {
    let service = redb(&[]).await;
    let user = service.client().await.register().await;
    for _ in 0..20 {
        let mut gone = Connection::open(service.address()).await;
        gone.send(&half_a_put(&user.token)).await;
    }
    assert_eq!(user.next().await, 1);
    eventually("no request is under way", async || {
        let scrape = Scrape::of(&service).await;
        (scrape.sum("http_server_active_requests", &[("http_request_method", "PUT")]) == 0.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_log_that_stops_does_not_stop_the_service() {
    let store = Store::fresh(Kind::Redb).await;
    let service = Service::on(&store, &[]).await;
    let user = service.client().await.register().await;
    service.stdout.stop_reading();
    // Each call writes some 500 bytes of log, and a pipe takes 64 KiB.
    for number in 1..=1_000 {
        assert_eq!(user.next().await, number);
    }
    assert_eq!(readiness(&service).await, Some(200));
    service.sigterm();
    // The pipe is still full at the end.
    assert_eq!(service.wait_exit(PATIENCE).await, Some(0));
}
