//! A full disk under the embedded store: writes are refused, health says so, and all is well again when there is room.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use tokio::task::JoinSet;

use crate::support::client::{Answer, User};
use crate::support::eventually;
use crate::support::prometheus::Scrape;
use crate::support::service::{Service, http_client, launch};
use crate::support::stores::{Kind, Store, unique_name};

const CLIENTS: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_costs_no_number() {
    let store = Store::fresh(Kind::Redb).await;
    // With the signal ignored, a write beyond the limit fails as one on a full disk does.
    let service = Service::start(&launch(&store).ignore("XFSZ"), &store).await;
    let user = service.client().await.register().await;
    let size = fs::metadata(store.directory().join("counter.redb")).unwrap().len();
    limit_files(&service, &(size + (1 << 20)).to_string());

    let mut numbers = BTreeSet::new();
    let mut refused_keys = Vec::new();
    let mut unknown = 0;
    for ended in take_until_refused(&user).await {
        for number in ended.numbers {
            assert!(numbers.insert(number), "{number} was handed out twice");
        }
        match ended.key {
            Some(key) => refused_keys.push(key),
            None => unknown += u64::from(is_unknown(&ended.refusal)),
        }
    }

    let is_full = async || (probe(&service, "/health").await == 503).then_some(());
    eventually("503 from /health", is_full).await;
    assert_eq!(probe(&service, "/readyz").await, 503);
    // Whatever asks finds it full: a small commit may have room in the file and yet say nothing about the disk.
    let failed = async || {
        let labels = [("db_operation_name", "ping"), ("error_type", "disk_full")];
        Scrape::of(&service).await.sum("db_client_operation_duration_seconds_count", &labels)
    };
    eventually("two probes that found the disk full", async || {
        assert_eq!(probe(&service, "/health").await, 503);
        user.post("/v1/next").send().await.problem(503, "store_unavailable");
        (failed().await >= 2.0).then_some(())
    })
    .await;
    assert_eq!(Scrape::of(&service).await.sum("counter_api_store_up", &[]), 0.0);
    let highest = numbers.last().copied().unwrap();
    assert!((highest..=highest + unknown).contains(&user.current().await), "what is there can be read");

    limit_files(&service, "unlimited");
    service.ready().await;
    assert_eq!(probe(&service, "/health").await, 200);
    for key in refused_keys {
        let number = user.post("/v1/next").key(&key).send().await.expect(200).number("value");
        assert!(numbers.insert(number), "{number} was handed out twice");
    }
    let last = user.next().await;
    let holes = last - 1 - numbers.len() as u64;
    assert!(holes <= unknown, "{holes} numbers are missing, but only {unknown} calls ended unknown");
}

/// What a caller had when it was refused.
struct Refused {
    numbers: Vec<u64>,
    /// The key of the refused call; nothing where it had none.
    key: Option<String>,
    refusal: Answer,
}

/// Lets callers take numbers, half of them with keys that fill the disk, until each of them is refused.
async fn take_until_refused(user: &User) -> Vec<Refused> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let user = user.clone();
        clients.spawn(async move {
            let mut numbers = Vec::new();
            loop {
                let key = client.is_multiple_of(2).then(|| format!("{:x<255}", unique_name()));
                let call = user.post("/v1/next");
                let call = key.as_deref().map_or(user.post("/v1/next"), |key| call.key(key));
                let answer = call.send().await;
                if answer.status != 200 {
                    let refusal = if is_unknown(&answer) { answer } else { answer.problem(503, "store_unavailable") };
                    return Refused { numbers, key, refusal: refusal.expect(503) };
                }
                numbers.push(answer.number("value"));
            }
        });
    }
    clients.join_all().await
}

fn is_unknown(answer: &Answer) -> bool {
    answer.json["code"] == "outcome_unknown"
}

async fn probe(service: &Service, path: &str) -> u16 {
    http_client().get(service.url(path)).send().await.unwrap().status().as_u16()
}

/// Sets how large a file may become that the service writes.
pub(crate) fn limit_files(service: &Service, bytes: &str) {
    let (pid, limit) = (service.id().to_string(), format!("--fsize={bytes}:"));
    let status = Command::new("prlimit").args(["--pid", &pid, &limit]).status().expect("prlimit is of util-linux");
    assert!(status.success(), "prlimit --pid {pid} {limit}");
}
