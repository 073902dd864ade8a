//! Callers cannot make metrics grow, whatever they send.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng, SeedableRng as _};
use tokio::task::JoinSet;

use super::{DURATION, label};
use crate::support::client::User;
use crate::support::prometheus::Scrape;
use crate::support::service::{Service, http_client, json_of};
use crate::support::stores::Kind;

/// Sample lines that one replica shows at most, as docs/metrics.md promises.
fn ceiling() -> usize {
    let promises = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md"));
    let (before, _) = promises.split_once(" sample lines").unwrap();
    before.rsplit(' ').next().unwrap().replace(',', "").parse().unwrap()
}

/// Sends requests that nobody would, and some that somebody might.
async fn fuzz(service: &Service, users: &[User], seed: u64, requests: usize) {
    const WORKERS: u64 = 16;
    let document = json_of(http_client().get(service.url("/openapi.json")).send().await.unwrap()).await;
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
    assert!(
        after.len() <= ceiling(),
        "{} sample lines, and docs/metrics.md promises {} at most. If new routes need more, promise more in \
         src/metrics/catalogue.rs: {:?}",
        after.len(),
        ceiling(),
        by_family(&after)
    );
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
