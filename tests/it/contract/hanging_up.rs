//! Callers that go away before their answer.

use std::time::{Duration, Instant};

use super::{Env, for_each_store};
use crate::support::raw::Connection;

for_each_store![callers_that_hang_up_harm_nobody];

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
