//! The death of the primary, as metrics alone tell it.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::DURATION;
use crate::support::mongod::ReplicaSet;
use crate::support::plot::{self, Row};
use crate::support::prometheus::Scrape;
use crate::support::service::Service;
use crate::support::stores::Store;

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
