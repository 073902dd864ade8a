//! What the service takes, beside what its database and its HTTP side take by themselves and what others would pick instead:
//! one run, one machine, every subject after the other. `make bench` runs it.
//!
//! The load generator takes its part of the same cores. Compare ratios within a run, never figures between runs.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that measures: what fails ends it"
)]

#[expect(dead_code, reason = "the bench needs a part of what the tests share")]
#[path = "../../tests/it/support/mod.rs"]
mod support;

mod closed_loop;
mod facts;
mod fairness;
mod memory;
mod options;
mod overload;
mod price;
mod results;
mod rows;
mod subjects;
mod targets;
mod usage;

use std::fs::{self, File};
use std::path::Path;
use std::time::Instant;

use fairness::Fairness;
use memory::Memory;
use options::Options;
use overload::{Overload, Pace};
use price::Price;
use results::Results;
use subjects::Case;
use subjects::counter_api::{CounterApi, ON_MONGODB, ON_REDB};
use subjects::mongodb_driver::{self, Driver};
use subjects::postgresql::{self, Postgresql};
use subjects::redis::{self, Redis};
use support::mongod::ReplicaSet;
use support::service::Service;
use support::stores::{Kind, Store};

const MEMORY: &str = "memory";
const OVERLOAD: &str = "overload";
const FAIRNESS: &str = "fairness";
const PRICE: &str = "price of telemetry";

/// What the raw driver is measured in. One client comes last, next to the service's: the two are held against each other.
const RAW_CASES: [(Case, &[usize]); 3] =
    [(Case::SPREAD, &[1, 64, 256, 1_000]), (Case::HOT, &[64, 256, 1_000]), (Case::HOT, &[1])];
const CLIENTS: &[usize] = &[1, 64, 256, 1_000];
const API_CASES: [(Case, &[usize]); 5] = [
    (Case::HOT, CLIENTS),
    (Case::Hot { keyed: true }, CLIENTS),
    (Case::SPREAD, CLIENTS),
    (Case::Spread { keyed: true }, CLIENTS),
    (Case::NoOp, CLIENTS),
];
const PEER_CASES: [(Case, &[usize]); 2] = [(Case::HOT, &[1, 64, 256]), (Case::SPREAD, &[1, 64, 256])];

#[tokio::main]
async fn main() {
    let began = Instant::now();
    let options = Options::from_arguments();
    check_open_files();
    for path in [&options.json, &options.results].into_iter().flatten() {
        check_writable(Path::new(path));
    }
    let mut results = Results::new();
    on_mongodb(&options, &mut results).await;
    on_redb(&options, &mut results).await;
    peers(&options, &mut results).await;
    assert!(!results.is_empty(), "there is no such row");
    println!("{}", results.tables());
    if let Some(path) = options.json {
        fs::write(path, results.json()).unwrap();
    }
    if let Some(path) = options.results {
        fs::write(path, results.document()).unwrap();
    }
    eprintln!("measured in {:.1} minutes", began.elapsed().as_secs_f64() / 60.0);
}

/// What shares the replica set, which is gone before anything else is measured.
async fn on_mongodb(options: &Options, results: &mut Results) {
    let raw_rows = options.rows(mongodb_driver::NAME, &RAW_CASES);
    let rows = options.rows(ON_MONGODB, &API_CASES);
    let wants = |what| options.wants(ON_MONGODB, what);
    if raw_rows.is_empty() && rows.is_empty() && ![MEMORY, OVERLOAD, FAIRNESS, PRICE].into_iter().any(wants) {
        return;
    }
    let set = ReplicaSet::start(3).await;
    let mongods: Vec<u32> = (0..3).filter_map(|i| set.pid(i)).collect();
    let driver = Driver::connect(&set.uri(), &mongods).await;
    results.rows.measure(&driver, raw_rows).await;
    let store = Store::in_mongodb(&set.uri());
    if !rows.is_empty() || wants(FAIRNESS) {
        let api = CounterApi::start(ON_MONGODB, &store, &mongods, &[]).await;
        api.make_counters().await;
        results.rows.measure(&api, rows).await;
        if wants(FAIRNESS) {
            let replica = Service::on(&store, &[]).await;
            results.fairness.extend(Fairness::measure(&api, Some(&replica)).await);
        }
    }
    if wants(PRICE) {
        results.price = Price::measure(&set, &mongods).await;
    }
    if wants(OVERLOAD) {
        let store = Store::in_mongodb(&set.uri());
        let api = CounterApi::start(ON_MONGODB, &store, &mongods, &overload::SETTINGS).await;
        api.make_counters().await;
        for pace in [Pace::Slowed, Pace::AsItIs] {
            results.overload.push(Overload::measure(&api, &store, pace).await);
        }
    }
    if wants(MEMORY) {
        let api = CounterApi::start(ON_MONGODB, &Store::in_mongodb(&set.uri()), &mongods, &[]).await;
        results.memory.push(Memory::measure(&api).await);
    }
}

async fn on_redb(options: &Options, results: &mut Results) {
    let rows = options.rows(ON_REDB, &API_CASES);
    if !rows.is_empty() || options.wants(ON_REDB, FAIRNESS) {
        let api = CounterApi::start(ON_REDB, &Store::fresh(Kind::Redb).await, &[], &[]).await;
        api.make_counters().await;
        results.rows.measure(&api, rows).await;
        if options.wants(ON_REDB, FAIRNESS) {
            results.fairness.extend(Fairness::measure(&api, None).await);
        }
    }
    if options.wants(ON_REDB, MEMORY) {
        let api = CounterApi::start(ON_REDB, &Store::fresh(Kind::Redb).await, &[], &[]).await;
        results.memory.push(Memory::measure(&api).await);
    }
}

async fn peers(options: &Options, results: &mut Results) {
    let rows = options.rows(redis::NAME, &PEER_CASES);
    if !rows.is_empty() {
        results.rows.measure(&Redis::start().await, rows).await;
    }
    let rows = options.rows(postgresql::NAME, &PEER_CASES);
    if !rows.is_empty() {
        results.rows.measure(&Postgresql::start().await, rows).await;
    }
}

/// Thousands of connections are open at once, here and in the service, which inherits the limit.
fn check_open_files() {
    const NEEDED: u64 = 12_000;
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let limit = line.split_whitespace().nth(3).unwrap();
    let enough = limit.parse().map_or(limit == "unlimited", |limit: u64| limit >= NEEDED);
    assert!(enough, "{limit} open files are too few: ulimit -n {NEEDED}");
}

/// Finds out before anything is measured. What is there stays until there is something better.
fn check_writable(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    if let Err(error) = File::options().append(true).create(true).open(path) {
        panic!("{}: {error}", path.display());
    }
}
