//! All that was measured in one run, as tables and as JSON.

use serde::Serialize;

use crate::facts::Facts;
use crate::fairness::Fairness;
use crate::memory::Memory;
use crate::overload::Overload;
use crate::price::Price;
use crate::rows::Rows;
use crate::targets::{Target, targets};

const INTRODUCTION: &str = "\
# Results of the benchmark

<!-- Written by `make bench`. -->

One run of `make bench`: every subject on the same machine, one after the other, with the load generator, the service and the
databases on the same cores. **Compare ratios within the run, never figures between runs or machines.** The service writes its
metrics and logs as it does in production.
";

const SUBJECTS: &str = "\
## What is measured

| subject | what it does for a call | how durable |
|---|---|---|
| raw driver | `findOneAndUpdate` with `$inc` by MongoDB's Rust driver, up to 256 connections, no service between: what anybody would write | on the disks of a majority of three |
| counter-api on MongoDB | `POST /v1/next` or `POST /v1/counters/{name}/next` over HTTP, token checked, on the same replica set | on the disks of a majority of three |
| counter-api on redb | the same on the embedded store | on one disk |
| Redis | `INCR`, `appendonly yes`, `appendfsync always` | on one disk |
| PostgreSQL | prepared `UPDATE … SET value = value + 1 … RETURNING value`, `fsync` and `synchronous_commit` on, `max_connections` 300, else as it comes | on one disk |

Redis and PostgreSQL keep one copy on one disk, and their clients speak to them directly; they have neither users, tokens, HTTP
nor idempotency keys. The service on MongoDB answers when a majority of three has the number on disk.

The cases: *hot* is one counter that all clients call; *10,000 counters* spreads their calls over so many; *keyed* sends a fresh
`Idempotency-Key` with each call; *no-op* is a call that passes the same middleware and token check and is then refused for
a wrong parameter, so it is what the HTTP side can do by itself. One client is one connection that calls again as soon as it has
its answer (a closed loop), so latencies are those at saturation; [OPEN-LOOP.md](OPEN-LOOP.md) has those at a fixed rate. Each row
is measured for 3 seconds after a warm-up, three times, with the subject's other rows in between; its figures are those of the
round in the middle.
";

/// All that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) facts: Facts,
    pub(crate) rows: Rows,
    pub(crate) memory: Vec<Memory>,
    pub(crate) overload: Vec<Overload>,
    pub(crate) fairness: Vec<Fairness>,
    pub(crate) price: Vec<Price>,
}

impl Results {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        let facts = Facts::gather();
        let rows = Rows::default();
        Self { facts, rows, memory: Vec::new(), overload: Vec::new(), fairness: Vec::new(), price: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
            && self.memory.is_empty()
            && self.overload.is_empty()
            && self.fairness.is_empty()
            && self.price.is_empty()
    }

    /// Everything in JSON.
    pub(crate) fn json(&self) -> String {
        #[derive(Serialize)]
        struct Everything<'a> {
            #[serde(flatten)]
            results: &'a Results,
            targets: Vec<Target>,
        }
        serde_json::to_string_pretty(&Everything { results: self, targets: targets(self) }).unwrap() + "\n"
    }

    /// The document for those who were not there.
    pub(crate) fn document(&self) -> String {
        format!("{INTRODUCTION}\n{}\n{SUBJECTS}\n{}", self.facts.table(), self.tables())
    }

    /// What was measured.
    pub(crate) fn tables(&self) -> String {
        let mut text = String::new();
        let mut section = |title: &str, explained: &str, table: String| {
            text.push_str(&format!("## {title}\n\n{explained}\n\n{table}\n"));
        };
        section("Targets", TARGETS, Target::table(&targets(self)));
        if !self.rows.is_empty() {
            section("Calls a second", ROWS, self.rows.table());
        }
        if !self.memory.is_empty() {
            section("Memory", MEMORY, Memory::table(&self.memory));
        }
        if !self.overload.is_empty() {
            section("Overload", OVERLOAD, Overload::table(&self.overload));
        }
        if !self.fairness.is_empty() {
            section("Fairness", FAIRNESS, Fairness::table(&self.fairness));
        }
        if !self.price.is_empty() {
            section("The price of telemetry", PRICE, Price::table(&self.price));
        }
        text
    }
}

const TARGETS: &str = "\
Figures of this run, from the tables below. Faults, failovers and restarts are tested by [other means](../docs/proof.md). A missed target
is an aim not reached, and no promise broken. Overload and fairness are measured with the generator on the same cores.";

const ROWS: &str = "\
*× raw driver*: against the raw driver at its best number of clients in the same case. *Of the HTTP limit*: against the same
service's no-op at its best. *Of the rounds*: calls a second of the slowest and of the fastest. CPU seconds are those of all
processes of the service or the database in the measured time.";

const MEMORY: &str = "\
Resident memory of the service after so many distinct counters were called once each, by 1,000 clients whose connections are
open from 10,000 on.";

const OVERLOAD: &str = "\
Open loop on MongoDB, 10,000 counters: calls are sent at three times the peak of a closed loop, whether or not answers come; at
most 4,000 may wait, the others are refused with `overloaded`. Times are from when a call was due, so they hold how late the
generator sent it. *Burned*: what the counters rose by and nobody got. *Not sent*: calls for which none of 10,000 connections
was free.

The generator takes its part of the same cores: with the store as it is, they are busy at the peak already, so refusing takes
from serving. Hence the row with a slowed store (every commit waits in the primary), where the store and not the CPU is what
limits the rate.";

const PRICE: &str = "\
Five services on MongoDB that differ in nothing else, 256 clients on one counter, measured in turns, ten times each. Ratios are the
medians of the rounds. The logs are a line for each call, which `RUST_LOG=warn` saves; what they cost has no target. Spans leave by OTLP
over HTTP for a collector that keeps nothing; what does not fit the exporter's queue is dropped and counted.";

const FAIRNESS: &str = "\
Four other users, each with one client and a counter of its own, beside the load of one user. The load spread over 10,000
counters shows what is owed to the busy cores alone.";
