//! The database fails: what callers are told, and that all is well again when the database is.

mod records;

use std::time::{Duration, Instant};

use tokio::sync::{Mutex, MutexGuard, OnceCell};
use tokio::task::JoinSet;

use crate::support::client::{Answer, Call, PASSWORD, User, credentials, unique_email};
use crate::support::history::{Operation, Outcome, check};
use crate::support::load::take;
use crate::support::mongod::ReplicaSet;
use crate::support::prometheus::Scrape;
use crate::support::raw::Connection;
use crate::support::service::{Service, http_client, launch};
use crate::support::stores::Store;
use crate::support::{PATIENCE, eventually, eventually_within};

const MEMBERS: usize = 3;

/// The set that these tests harm, one after the other; healthy at the start of each.
async fn replica_set() -> MutexGuard<'static, ReplicaSet> {
    static SET: OnceCell<Mutex<ReplicaSet>> = OnceCell::const_new();
    let set = SET.get_or_init(async || Mutex::new(ReplicaSet::start(MEMBERS).await)).await;
    let mut set = set.lock().await;
    // A test that failed may have left members paused or stopped.
    resume_all(&set);
    set.start_all().await;
    set
}

fn pause_all(set: &ReplicaSet) {
    (0..MEMBERS).for_each(|member| set.pause_member(member));
}

fn resume_all(set: &ReplicaSet) {
    (0..MEMBERS).for_each(|member| set.resume_member(member));
}

/// Sends a call at once, whether or not anybody waits for its answer. Answers how long it took as well.
fn in_background(call: Call) -> tokio::task::JoinHandle<(Answer, Duration)> {
    tokio::spawn(async move {
        let begun = Instant::now();
        (call.send().await, begun.elapsed())
    })
}

async fn status(service: &Service, path: &str) -> u16 {
    http_client().get(service.url(path)).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_told_and_survived() {
    let mut set = replica_set().await;
    let service = Service::on(&Store::in_mongodb(&set.uri()), &[]).await;
    let user = service.client().await.register().await;
    assert_eq!(user.next().await, 1);

    let in_flight: Vec<_> = (0..8).map(|_| in_background(user.post("/v1/next"))).collect();
    (0..MEMBERS).for_each(|member| set.kill_member(member));
    let health = eventually_within(Duration::from_secs(5), "503 from /health", async || {
        let answer = user.client().get("/health").send().await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert_eq!(health.json["status"], "fail", "{}", health.body);
    assert!(!health.body.contains("127.0.0.1"), "{}", health.body);
    assert_eq!((status(&service, "/readyz").await, status(&service, "/livez").await), (503, 200));

    let mut taken = 1;
    let mut unknown = 0;
    for call in in_flight {
        let (answer, _) = call.await.unwrap();
        match answer.status {
            200 => taken += 1,
            503 if answer.json["code"] == "outcome_unknown" => unknown += 1,
            _ => drop(answer.problem(503, "store_unavailable")),
        }
    }
    // The service's deadline of a request is 10 s.
    let deadline = Duration::from_secs(11);
    for call in [user.post("/v1/next"), user.post("/v1/next").key("k"), user.get("/v1/current")] {
        let (answer, elapsed) = in_background(call).await.unwrap();
        answer.problem(503, "store_unavailable");
        assert!(elapsed < deadline, "answered after {elapsed:?}");
    }
    user.client().login(&user.email, "some password").await.problem(503, "store_unavailable");

    set.start_all().await;
    eventually_within(Duration::from_secs(15), "200 from /readyz", async || {
        (status(&service, "/readyz").await == 200).then_some(())
    })
    .await;
    let next = user.next().await;
    assert!((taken + 1..=taken + 1 + unknown).contains(&next), "{next} after {taken} and {unknown} unknown");
    assert_eq!(status(&service, "/health").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_can_read_that_the_outcome_is_unknown() {
    const ORIGIN: &str = "https://app.example.com";
    let set = replica_set().await;
    let settings =
        [("COUNTER_REQUEST_TIMEOUT", "1s"), ("COUNTER_STORE_TIMEOUT", "30s"), ("COUNTER_CORS_ORIGINS", ORIGIN)];
    let service = Service::on(&Store::in_mongodb(&set.uri()), &settings).await;
    let client = service.client().await;
    pause_all(&set);
    // It does not go through the sequencer: the net below the deadline answers.
    let register = client.post("/v1/register").json(&credentials(&unique_email(), PASSWORD));
    let answer = register.header("origin", ORIGIN).send().await;
    resume_all(&set);
    let answer = answer.problem(503, "outcome_unknown");
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN), "the page cannot read it");
}

/// Takes a number with a key, repeating the call until its outcome is known.
async fn next_until_definite(user: &User, key: &str) -> Answer {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = user.post("/v1/next").key(key).send().await;
        if answer.status != 503 && answer.json["code"] != "idempotency_key_in_flight" {
            return answer.expect(200);
        }
        if Instant::now() > deadline {
            answer.fail("no definite answer");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_waiting_calls_are_refused_at_once() {
    let set = replica_set().await;
    let settings = [("COUNTER_MAX_QUEUE", "2"), ("COUNTER_REQUEST_TIMEOUT", "8s"), ("COUNTER_STORE_TIMEOUT", "6s")];
    let service = Service::on(&Store::in_mongodb(&set.uri()), &settings).await;
    let user = service.client().await.register().await;
    assert_eq!(user.next().await, 1);

    pause_all(&set);
    let calls: Vec<_> = (0..20).map(|_| in_background(user.post("/v1/next"))).collect();
    let (mut overloaded, mut others) = (0, 0);
    for call in calls {
        let (answer, elapsed) = call.await.unwrap();
        if answer.json["code"] == "overloaded" {
            assert!(elapsed < Duration::from_secs(3), "refused only after {elapsed:?}");
            overloaded += 1;
        } else {
            answer.expect(503);
            others += 1;
        }
    }
    resume_all(&set);
    assert!(overloaded > 0 && others > 0, "{overloaded} refused as too many, {others} otherwise");
    let after = next_until_definite(&user, "after").await.number("value");
    assert!((2..=2 + others).contains(&after), "{after}: a refused call has taken a number");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_loses_nothing() {
    let mut set = replica_set().await;
    let service = Service::on(&Store::in_mongodb(&set.uri()), &[]).await;
    let user = service.client().await.register().await;

    let since = Instant::now();
    let mut keyed = JoinSet::new();
    for _ in 0..16 {
        let user = user.clone();
        keyed.spawn(async move {
            let mut history = Vec::new();
            for _ in 0..40 {
                history.extend(take_until_definite(&user, since).await);
            }
            history
        });
    }
    let other = user.clone();
    let unkeyed = tokio::spawn(async move {
        let mut history = Vec::new();
        for _ in 0..200 {
            history.push(take(&other, None, since).await);
        }
        history
    });
    eventually("the load", async || (user.current().await > 100).then_some(())).await;
    let primary = set.primary().await;
    assert!(!unkeyed.is_finished(), "the load was over before the failover");
    set.kill_member(primary);

    let mut history = keyed.join_all().await.concat();
    history.extend(unkeyed.await.unwrap());
    set.start_all().await;
    history.extend(take_until_definite(&user, since).await);
    check(&history).expect_none();
}

/// Takes a number with a key. What has no definite outcome in the end, the check of the history finds.
async fn take_until_definite(user: &User, since: Instant) -> Vec<Operation> {
    let (begun, key) = (Instant::now(), rand::random());
    let mut attempts = Vec::new();
    loop {
        let attempt = take(user, Some(key), since).await;
        let taken = matches!(attempt.outcome, Outcome::Took { .. });
        attempts.push(attempt);
        if taken || begun.elapsed() > PATIENCE {
            return attempts;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secondary_in_maintenance_is_not_noticed() {
    let mut set = replica_set().await;
    let service = Service::on(&Store::in_mongodb(&set.uri()), &[]).await;
    let user = service.client().await.register().await;
    let secondary = (set.primary().await + 1) % MEMBERS;
    set.stop_member(secondary);
    for value in 1..=20 {
        assert_eq!(user.next().await, value);
        assert_eq!(user.current().await, value);
    }
    assert_eq!(status(&service, "/readyz").await, 200);
    set.start_member(secondary).await;
    assert_eq!(user.next().await, 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_waits_for_its_database() {
    let mut set = replica_set().await;
    let store = Store::in_mongodb(&set.uri());
    set.stop_all();
    let service = Service::start_unready(&launch(&store), &store).await;
    assert_eq!((status(&service, "/readyz").await, status(&service, "/livez").await), (503, 200));
    assert_eq!(status(&service, "/health").await, 503);
    set.start_all().await;
    service.ready().await;
    assert_eq!(service.client().await.register().await.next().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_outside_of_a_replica_set_is_refused() {
    let server = ReplicaSet::standalone().await;
    let store = Store::in_mongodb(&server.uri());
    let process = launch(&store).spawn();
    let code = process.wait_exit(PATIENCE).await;
    let output = process.output();
    assert!(code.is_some_and(|code| code != 0), "{code:?}");
    assert!(output.contains("replica set"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_refused_only_later_ends_the_service_in_order() {
    let mut server = ReplicaSet::standalone().await;
    let store = Store::in_mongodb(&server.uri());
    server.stop_all();
    let launch = launch(&store).set("COUNTER_DRAIN_DELAY", "60s").set("COUNTER_BODY_TIMEOUT", "60s");
    let service = Service::start_unready(&launch, &store).await;
    let mut slow = Connection::open(service.address()).await;
    let head = "POST /v1/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{";
    slow.send(head).await;
    eventually("the request is under way", async || {
        let scrape = Scrape::of(&service).await;
        (scrape.sum("http_server_active_requests", &[("http_request_method", "POST")]) >= 1.0).then_some(())
    })
    .await;

    server.start_all().await;
    // The service asks at least every 5 s, and then takes no more connections.
    eventually_within(Duration::from_secs(30), "the stop has begun", async || {
        http_client().get(service.url("/livez")).send().await.is_err().then_some(())
    })
    .await;
    assert_eq!(service.exit_status(), None, "a call is still under way:\n{}", service.output());
    slow.send("            }").await;
    let answer = slow.read_until("}", PATIENCE).await;
    assert!(answer.starts_with("HTTP/1.1 4") && answer.contains("problem+json"), "{answer}");
    assert!(service.wait_exit(PATIENCE).await.is_some_and(|code| code != 0));
    assert!(service.output().contains("replica set"), "{}", service.output());
}
