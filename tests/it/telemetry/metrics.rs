//! Metrics: they equal what clients counted, and tell of the database, of the process and of accounts.

mod failover;
mod growth;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::client::{PASSWORD, credentials, unique_email};
use crate::support::eventually;
use crate::support::prometheus::Scrape;
use crate::support::raw::Connection;
use crate::support::service::{Service, http_client};
use crate::support::stores::Kind;

const DURATION: &str = "http_server_request_duration_seconds";

/// Clients that hang up in the middle of a login.
const HANGING_UP: u64 = 20;

/// The value of a label in a sample line.
fn label<'a>(line: &'a str, name: &str) -> &'a str {
    let from = line.find(&format!("{name}=\"")).map_or(line.len(), |at| at + name.len() + 2);
    line[from..].split('"').next().unwrap_or_default()
}

/// Requests by route, method and status, as the metrics have them.
async fn counted(service: &Service) -> BTreeMap<(String, String, u16), u64> {
    let scrape = Scrape::of(service).await;
    let counts = scrape.samples().filter(|line| line.starts_with(&format!("{DURATION}_count")));
    let mut sums = BTreeMap::new();
    for line in counts {
        let of = |name| label(line, name).to_owned();
        let count: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        let status = of("http_response_status_code").parse().unwrap();
        if count > 0 && !of("http_route").starts_with("/readyz") {
            *sums.entry((of("http_route"), of("http_request_method"), status)).or_default() += count;
        }
    }
    sums
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_equal_what_clients_counted() {
    let settings = [("COUNTER_BODY_TIMEOUT", "300ms"), ("COUNTER_RATE_LIMIT", "60/m")];
    let service = Service::fresh(Kind::Redb, &settings).await;
    let user = service.client().await.register().await;
    let client = user.client();
    let mut expected = BTreeMap::new();
    let mut expect = |route: &str, method: &str, status: u16, count: u64| {
        *expected.entry((route.to_owned(), method.to_owned(), status)).or_default() += count;
    };
    expect("/openapi.json", "GET", 200, 1);
    expect("/v1/register", "POST", 201, 1);

    for _ in 0..7 {
        user.next().await;
    }
    expect("/v1/next", "POST", 200, 7);
    user.post("/v1/counters/mine/next").send().await.expect(200);
    expect("/v1/counters/{name}/next", "POST", 200, 1);
    client.get("/v1/me").send().await.problem(401, "token_missing");
    expect("/v1/me", "GET", 401, 1);
    user.post("/v1/next?count=0").send().await.problem(422, "invalid_field");
    expect("/v1/next", "POST", 422, 1);
    user.call("PATCH", "/v1/next").send().await.expect(405);
    expect("/v1/next", "_OTHER", 405, 1);
    client.get("/v1/nothing").send().await.problem(404, "not_found");
    client.call("BREW", "/coffee").send().await.expect(404);
    expect("unmatched", "_OTHER", 404, 2);
    client.login(&user.email, "not the password").await.problem(401, "invalid_credentials");
    expect("/v1/login", "POST", 401, 1);
    while user.get("/v1/current").send().await.status == 200 {
        expect("/v1/current", "GET", 200, 1);
    }
    expect("/v1/current", "GET", 429, 1);

    let head = |length: usize| {
        format!(
            "POST /v1/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    // A client that sends its body too slowly.
    let mut slow = Connection::open(service.address()).await;
    slow.send(&head(100)).await;
    slow.read_until("408", Duration::from_secs(20)).await;
    expect("/v1/login", "POST", 408, 1);
    // Heads that are no HTTP, and that are too large: refused before there is a route.
    let mut garbage = Connection::open(service.address()).await;
    garbage.send("NO SUCH PROTOCOL\r\n\r\n").await;
    garbage.read_until("400", Duration::from_secs(20)).await;
    expect("unmatched", "_OTHER", 400, 1);
    let mut large = Connection::open(service.address()).await;
    large.send(&format!("GET / HTTP/1.1\r\nhost: x\r\nlarge: {}\r\n\r\n", "x".repeat(100_000))).await;
    large.read_until("431", Duration::from_secs(20)).await;
    expect("unmatched", "_OTHER", 431, 1);

    // Clients that hang up while their passwords wait to be hashed. Some may have had their answer before.
    let body = credentials(&user.email, PASSWORD).to_string();
    let mut logins = Vec::new();
    for _ in 0..HANGING_UP {
        logins.push(Connection::open(service.address()).await);
        logins.last_mut().unwrap().send(&(head(body.len()) + &body)).await;
    }
    let logged_in = ("/v1/login".to_owned(), "POST".to_owned(), 200);
    eventually("all of them have begun", async || {
        let active = Scrape::of(&service).await.sum("http_server_active_requests", &[]);
        let ended = counted(&service).await.get(&logged_in).copied().unwrap_or(0);
        (active + ended as f64 >= HANGING_UP as f64).then_some(())
    })
    .await;
    drop(logins);
    let gone = ("/v1/login".to_owned(), "POST".to_owned(), 499);
    let (logged_in, gone) = eventually("all of them have ended", async || {
        let counted = counted(&service).await;
        let of = |key| counted.get(key).copied().unwrap_or(0);
        (of(&logged_in) + of(&gone) == HANGING_UP)
            .then(|| ((logged_in.clone(), of(&logged_in)), (gone.clone(), of(&gone))))
    })
    .await;
    assert!(gone.1 > 0, "nobody hung up in time");
    let hung_up = gone.1 as f64;
    expected.extend([logged_in, gone].into_iter().filter(|(_, count)| *count > 0));

    let counted = eventually("as many as were counted", async || {
        let counted = counted(&service).await;
        (counted.values().sum::<u64>() >= expected.values().sum()).then_some(counted)
    })
    .await;
    assert_eq!(counted, expected);
    let scrape = Scrape::of(&service).await;
    let problem = |code| scrape.sum("counter_api_problems_total", &[("code", code)]);
    assert_eq!((problem("token_missing"), problem("invalid_credentials"), problem("rate_limited")), (1.0, 1.0, 1.0));
    assert_eq!(scrape.sum("counter_api_numbers_issued_total", &[]), 8.0);
    let of_clients = [("error_type", "client_closed_request"), ("http_response_status_code", "499")];
    assert_eq!(scrape.sum(&format!("{DURATION}_count"), &of_clients), hung_up);
    assert_eq!(scrape.sum("http_server_active_requests", &[]), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_servers_and_the_process_are_seen() {
    let service = Service::fresh(Kind::Mongodb, &[]).await;
    let user = service.client().await.register().await;
    user.next().await;
    let seen = eventually("a primary and two secondaries", async || {
        let scrape = Scrape::of(&service).await;
        let servers = |kind| scrape.sum("counter_api_db_servers", &[("type", kind)]);
        (servers("primary") == 1.0 && servers("secondary") == 2.0).then_some(scrape)
    })
    .await;
    let connections = |state| seen.sum("db_client_connections", &[("db_client_connection_state", state)]);
    assert!(connections("idle") >= 1.0, "the pool is warm");
    assert!(connections("idle") + connections("used") <= 3.0 * 32.0);
    assert_eq!(seen.sum("db_client_connection_max", &[]), 3.0 * 32.0);
    assert!(seen.sum("db_client_connection_wait_time_seconds_count", &[]) >= 1.0);
    assert!(seen.sum("db_client_connection_create_time_seconds_count", &[]) >= 1.0);
    assert_eq!(seen.sum("db_client_connection_pending_requests", &[]), 0.0);
    assert!(seen.sum("counter_api_db_heartbeat_duration_seconds_count", &[]) >= 3.0);
    assert_eq!(seen.sum("counter_api_queue_limit", &[]), 10_000.0);
    for metric in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
        "process_threads",
        "tokio_workers",
        "tokio_alive_tasks",
        "tokio_worker_busy_seconds_total",
    ] {
        assert!(seen.sum(metric, &[]) > 0.0, "{metric}");
    }
    let delays = async || Scrape::of(&service).await.sum("counter_api_event_loop_delay_seconds_count", &[]);
    eventually("the runtime's delay is measured", async || (delays().await > 10.0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_can_be_switched_off() {
    let service = Service::fresh(Kind::Redb, &[("COUNTER_METRICS", "off")]).await;
    assert_eq!(service.client().await.register().await.next().await, 1);
    assert_eq!(http_client().get(service.admin_url("/metrics")).send().await.unwrap().status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_counted_by_how_they_end() {
    let service = Service::fresh(Kind::Redb, &[]).await;
    let client = service.client().await;
    let email = unique_email();
    client.post("/v1/register").json(&credentials(&email, PASSWORD)).send().await.expect(201);
    client.post("/v1/register").json(&credentials(&email, PASSWORD)).send().await.expect(409);
    client.login(&email, "wrong password").await.expect(401);
    client.login(&email, PASSWORD).await.expect(200);
    let scrape = Scrape::of(&service).await;
    let attempts =
        |kind, outcome| scrape.sum("counter_api_auth_attempts_total", &[("kind", kind), ("outcome", outcome)]);
    assert_eq!((attempts("register", "success"), attempts("register", "failure")), (1.0, 1.0));
    assert_eq!((attempts("login", "success"), attempts("login", "failure")), (1.0, 1.0));
    assert_eq!(scrape.sum("counter_api_users_registered_total", &[("provider", "password")]), 1.0);
    assert_eq!(scrape.sum("counter_api_password_hash_duration_seconds_count", &[]), 4.0);
}
