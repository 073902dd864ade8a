//! Metrics: they equal what clients counted, callers cannot make them grow, and they tell what happens to the database.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng, SeedableRng as _};
use tokio::task::JoinSet;

use crate::support::client::{PASSWORD, User, credentials, unique_email};
use crate::support::eventually;
use crate::support::mongod::ReplicaSet;
use crate::support::plot::{self, Row};
use crate::support::prometheus::Scrape;
use crate::support::raw::Connection;
use crate::support::service::{Service, http_client};
use crate::support::stores::{Kind, Store};

const DURATION: &str = "http_server_request_duration_seconds";

/// Sample lines that one replica shows at most, as docs/metrics.md promises.
const CEILING: usize = 4_000;

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

/// Sends requests that nobody would, and some that somebody might.
async fn fuzz(service: &Service, users: &[User], seed: u64, requests: usize) {
    const WORKERS: u64 = 16;
    let document = http_client().get(service.url("/openapi.json")).send().await.unwrap();
    let document: serde_json::Value = document.json().await.unwrap();
    let paths: Vec<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let (base, paths, users) = (service.url(""), paths.clone(), users.to_vec());
        workers.spawn(async move {
            let mut random = StdRng::seed_from_u64(seed * WORKERS + worker);
            let http = http_client();
            for _ in 0..requests / usize::try_from(WORKERS).unwrap() {
                let request = random_request(&mut random, &http, &base, &paths, &users);
                // A request that the client's own library refuses to send is none.
                let _ = http.execute(request).await;
            }
        });
    }
    workers.join_all().await;
}

fn random_request(
    random: &mut StdRng,
    http: &reqwest::Client,
    base: &str,
    paths: &[String],
    users: &[User],
) -> reqwest::Request {
    let word = |random: &mut StdRng| -> String {
        let length = random.random_range(1..20);
        (0..length).map(|_| char::from(random.random_range(b'!'..b'~'))).filter(|c| !"#?/\\%".contains(*c)).collect()
    };
    let methods = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "BREW", "PROPFIND"];
    let method = reqwest::Method::from_bytes(methods.choose(random).unwrap().as_bytes()).unwrap();
    let path = match random.random_range(0..10) {
        0 => format!("/{}", word(random)),
        1 => format!("/v1/{}", word(random)),
        2 => format!("/v1/counters/{}/{}", word(random), word(random)),
        _ => paths.choose(random).unwrap().replace("{name}", &word(random)),
    };
    let query = match random.random_range(0..6) {
        0 => format!("?{}={}", word(random), word(random)),
        1 => format!("?count={}", random.random_range(-5..20_000)),
        2 => format!("?limit={}&cursor={}", random.random_range(-5..2_000), word(random)),
        _ => String::new(),
    };
    let mut url: reqwest::Url = base.parse().unwrap();
    url.set_path(&path);
    url.set_query(query.strip_prefix('?'));
    let mut request = http.request(method, url);
    // Who logs out or leaves would take the token from the rest.
    let stays = !path.ends_with("logout") && !path.ends_with("me");
    match random.random_range(0..4) {
        0 => request = request.header("authorization", word(random)),
        1 => request = request.header("authorization", format!("Bearer {}", word(random))),
        2 | 3 if stays => {
            request = request.header("authorization", format!("Bearer {}", users.choose(random).unwrap().token))
        }
        _ => {}
    }
    for name in ["accept", "content-type", "if-match", "idempotency-key", "traceparent", "x-request-id", "x-other"] {
        if random.random_bool(0.15) {
            request = request.header(name, word(random));
        }
    }
    if random.random_bool(0.5) {
        request = request.header("content-type", "application/json");
    }
    match random.random_range(0..6) {
        0 => request.body(word(random)),
        1 => request.body(format!("{{\"current\": {}}}", random.random_range(-5..1_000_000))),
        2 => request.body(format!("{{\"email\": {:?}, \"password\": {:?}}}", word(random), word(random))),
        3 => request.body("x".repeat(20_000)),
        _ => request,
    }
    .build()
    .unwrap()
}

/// How many sample lines each family has.
fn by_family(lines: &BTreeSet<String>) -> BTreeMap<&str, usize> {
    let mut families = BTreeMap::new();
    for line in lines {
        let name = line.split('{').next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        *families.entry(family).or_default() += 1;
    }
    families
}

/// The service's own documents are no part of the contract.
fn is_document(route: &str) -> bool {
    ["/", "/docs", "/openapi.json", "/favicon.ico", "/ui/{part}"].contains(&route)
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_cannot_make_metrics_grow() {
    let settings = [("COUNTER_COUNTERS_PER_USER", "1000000"), ("COUNTER_RATE_LIMIT", "100/s")];
    let service = Service::fresh(Kind::Mongodb, &settings).await;
    let client = service.client().await;
    let users = [client.register().await, client.register().await];
    fuzz(&service, &users, 1, 5_000).await;
    let series = async || -> BTreeSet<String> {
        let scrape = Scrape::of(&service).await;
        scrape.samples().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    let before = series().await;
    fuzz(&service, &users, 2, 5_000).await;
    let after = series().await;
    assert!(after.len() <= CEILING, "{} sample lines: {:?}", after.len(), by_family(&after));
    // What a caller can add is an answer that the contract declares and that nobody got before; nothing else.
    let paths = client.contract().document()["paths"].as_object().unwrap();
    let is_declared = |line: &str| {
        let (route, method) = (label(line, "http_route"), label(line, "http_request_method"));
        let status = label(line, "http_response_status_code");
        match paths.get(route) {
            Some(path) => {
                // HEAD is GET without its body.
                let answers = &path[method.replace("HEAD", "GET").to_lowercase()]["responses"];
                answers.get(status).is_some() || (method, status) == ("_OTHER", "405")
            }
            None => matches!((route, status), ("unmatched", "400" | "404" | "405" | "431")) || is_document(route),
        }
    };
    for line in after.iter().filter(|line| line.starts_with(DURATION)) {
        assert!(is_declared(line), "an answer that no contract knows: {line}");
    }
    let others = |all: &BTreeSet<String>| all.iter().filter(|line| !line.starts_with(DURATION)).cloned().collect();
    let (before, others): (BTreeSet<String>, BTreeSet<String>) = (others(&before), others(&after));
    assert_eq!(others.difference(&before).collect::<Vec<_>>(), Vec::<&String>::new(), "a new series");
    let mut times = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        Scrape::of(&service).await;
        times.push(began.elapsed());
    }
    let best = times.iter().min().unwrap();
    eprintln!("{} sample lines after 10,000 random requests; the fastest of five scrapes took {best:?}", after.len());
    // On a build that is not optimised; with a release build it is a tenth of that.
    assert!(*best < Duration::from_millis(100), "{times:?}");
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

/// What one scrape says of a failover.
struct Moment {
    at: Duration,
    primaries: f64,
    unknown: f64,
    served: f64,
    failed: f64,
    queue: f64,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_the_primary_is_told_by_metrics_alone() {
    let mut set = ReplicaSet::start(3).await;
    let service = Service::on(&Store::in_mongodb(&set.uri()), &[]).await;
    let user = service.client().await.register().await;
    user.next().await;
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let user = user.clone();
        callers.spawn(async move {
            loop {
                user.post("/v1/next").send().await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
    let began = Instant::now();
    let mut story: Vec<Moment> = Vec::new();
    let mut killed = None;
    let mut dead = String::new();
    while began.elapsed() < Duration::from_secs(60) {
        let scrape = Scrape::of(&service).await;
        let servers = |kind| scrape.sum("counter_api_db_servers", &[("type", kind)]);
        let answers = |status| {
            scrape
                .sum(&format!("{DURATION}_count"), &[("http_route", "/v1/next"), ("http_response_status_code", status)])
        };
        let at = began.elapsed();
        story.push(Moment {
            at,
            primaries: servers("primary"),
            unknown: servers("unknown"),
            served: answers("200"),
            failed: answers("503"),
            queue: scrape.sum("counter_api_queue_depth", &[]),
        });
        if killed.is_none() && at > Duration::from_secs(3) {
            let primary = set.primary().await;
            dead = set.address(primary);
            set.kill_member(primary);
            killed = Some(began.elapsed());
        }
        let recovered = killed.is_some_and(|killed| {
            let since = story.iter().filter(|moment| moment.at > killed);
            let lost = since.clone().position(|moment| moment.primaries == 0.0);
            lost.is_some_and(|lost| since.skip(lost).filter(|moment| moment.primaries == 1.0).count() > 15)
        });
        if recovered {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    callers.shutdown().await;
    let killed = killed.unwrap();
    let (before, after): (Vec<_>, Vec<_>) = story.iter().partition(|moment| moment.at < killed);
    let last = after.last().unwrap();
    assert!(before.iter().all(|moment| moment.primaries == 1.0 && moment.unknown == 0.0), "all is well before");
    assert!(after.iter().any(|moment| moment.primaries == 0.0 && moment.unknown >= 1.0), "the primary is lost");
    assert!(after.iter().any(|moment| moment.queue > 0.0), "calls wait for the election");
    assert_eq!((last.primaries, last.unknown), (1.0, 1.0), "another one is elected, and the dead one is missed");
    let scrape = Scrape::of(&service).await;
    let of_dead = |metric| scrape.sum(metric, &[("db_client_connection_pool_name", dead.as_str())]);
    assert_eq!((of_dead("db_client_connections"), of_dead("db_client_connection_pending_requests")), (0.0, 0.0));
    assert!(of_dead("db_client_connection_create_time_seconds_count") >= 1.0, "there had been connections to {dead}");
    assert!(scrape.sum("counter_api_db_topology_changes_total", &[]) >= 2.0);
    assert!(scrape.sum("counter_api_db_heartbeat_failures_total", &[]) >= 1.0);
    let lost = after.iter().find(|moment| moment.primaries == 0.0).unwrap();
    assert!(last.served > lost.served, "calls are served again");
    draw(&story, killed);
}

/// Draws the story where `make failover-plot` asks for it.
fn draw(story: &[Moment], killed: Duration) {
    #[expect(clippy::disallowed_methods, reason = "a switch of this test, no setting of the service")]
    if std::env::var_os("PLOT").is_none() {
        return;
    }
    let level = |value: fn(&Moment) -> f64| story.iter().map(|m| (m.at.as_secs_f64(), value(m))).collect();
    let rate = |value: fn(&Moment) -> f64| {
        let per_second =
            |pair: &[Moment]| (value(&pair[1]) - value(&pair[0])) / (pair[1].at - pair[0].at).as_secs_f64();
        story.windows(2).map(|pair| (pair[1].at.as_secs_f64(), per_second(pair))).collect()
    };
    let rows = [
        Row { name: "counter_api_db_servers{type=\"primary\"}", points: level(|moment| moment.primaries) },
        Row { name: "counter_api_db_servers{type=\"unknown\"}", points: level(|moment| moment.unknown) },
        Row { name: "counter_api_queue_depth", points: level(|moment| moment.queue) },
        Row { name: "answers 200 to POST /v1/next, a second", points: rate(|moment| moment.served) },
        Row { name: "answers 503 to POST /v1/next, a second", points: rate(|moment| moment.failed) },
    ];
    let mark = (killed.as_secs_f64(), "kill -9 of the primary");
    let picture = plot::svg(&rows, mark);
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/images/primary-killed.svg"), picture).unwrap();
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
