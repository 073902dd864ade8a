//! Callers that go away before their answer.

use std::time::{Duration, Instant};

use super::{Env, for_each_store};
use crate::support::prometheus::Scrape;
use crate::support::raw::Connection;

for_each_store![callers_that_hang_up_harm_nobody, logins_that_hang_up_stay_within_their_bound];

async fn callers_that_hang_up_harm_nobody(env: &Env) {
    let service = env.service(&[]).await;
    let client = service.client().await;
    let (restless, patient) = (client.register().await, client.register().await);
    let until = Instant::now() + Duration::from_secs(3);
    let hang_up = |path: &'static str| {
        let (address, token) = (service.address(), restless.token.clone());
        tokio::spawn(async move {
            let mut gone = 0;
            while Instant::now() < until {
                let mut connection = Connection::open(address).await;
                connection
                    .send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n"))
                    .await;
                // Long enough for the call to reach the store, and too short for its answer.
                tokio::time::sleep(Duration::from_millis(1)).await;
                gone += 1;
            }
            gone
        })
    };
    let callers: Vec<_> = (0..12).map(|n| hang_up(["/v1/me", "/v1/counters", "/v1/next"][n % 3])).collect();

    // Meanwhile and for a while afterwards, the others are served.
    let mut numbers = 0;
    while Instant::now() < until + Duration::from_secs(5) {
        numbers += 1;
        assert_eq!(patient.next().await, numbers);
        patient.get("/v1/me").send().await.expect(200);
        client.get("/health").send().await.expect(200);
    }
    let mut gone = 0;
    for caller in callers {
        gone += caller.await.unwrap();
    }
    assert!(gone > 100, "only {gone} callers hung up");
}

async fn logins_that_hang_up_stay_within_their_bound(env: &Env) {
    let service = env.service(&[]).await;
    let user = service.client().await.register().await;
    let hashes = async || Scrape::of(&service).await.sum("counter_api_password_hash_duration_seconds_count", &[]);
    let (before, begun) = (hashes().await, Instant::now());
    let body = r#"{"email":"nobody@example.com","password":"a long password"}"#;
    let login = format!(
        "POST /v1/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    for number in 1..=150 {
        let mut connection = Connection::open(service.address()).await;
        connection.send(&login).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        drop(connection);
        if number % 30 == 0 {
            assert_eq!(user.next().await, number / 30);
        }
    }
    // So many at once as there are places, each for as long as a hash takes here: no backlog is worked off behind them.
    let spent = Scrape::of(&service).await.sum("counter_api_password_hash_duration_seconds_sum", &[]);
    let places = (std::thread::available_parallelism().unwrap().get() / 2).max(1);
    let elapsed = begun.elapsed().as_secs_f64() + 1.0;
    assert!(hashes().await > before, "no login was worked on");
    assert!(spent < elapsed * places as f64 + 1.0, "{spent} s of hashing in {elapsed} s on {places} places");
}
