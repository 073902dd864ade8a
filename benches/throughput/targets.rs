//! What the service must reach, held against what was measured.

use serde::Serialize;

use crate::fairness::{HOT, HOT_ELSEWHERE, NOBODY, SPREAD};
use crate::overload::Pace;
use crate::price::{LOGS, METRICS, NOTHING, Price, TENTH};
use crate::results::Results;
use crate::rows::Row;
use crate::subjects::Case;
use crate::subjects::counter_api::{ON_MONGODB, ON_REDB};
use crate::subjects::mongodb_driver;

/// One target.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    what: String,
    bound: Bound,
    target: f64,
    unit: Unit,
    /// Nothing where it was not measured.
    measured: Option<f64>,
    met: Option<bool>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Bound {
    AtLeast,
    AtMost,
}

/// What a figure is in, and how it is written.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Unit {
    /// A ratio.
    Times,
    /// A ratio as well.
    Percent,
    Seconds,
    Megabytes,
    Count,
}

impl Unit {
    fn text(self, figure: f64) -> String {
        match self {
            Self::Times => format!("{figure:.2}×"),
            Self::Percent => format!("{:.0} %", figure * 100.0),
            Self::Seconds => format!("{:.1} ms", figure * 1e3),
            Self::Megabytes => format!("{figure:.1} MB"),
            Self::Count => format!("{figure:.0}"),
        }
    }
}

fn at_least(what: impl Into<String>, target: f64, unit: Unit, measured: Option<f64>) -> Target {
    let met = measured.map(|measured| measured >= target);
    Target { what: what.into(), bound: Bound::AtLeast, target, unit, measured, met }
}

fn at_most(what: impl Into<String>, target: f64, unit: Unit, measured: Option<f64>) -> Target {
    let met = measured.map(|measured| measured <= target);
    Target { what: what.into(), bound: Bound::AtMost, target, unit, measured, met }
}

/// Every target that the bench can measure.
pub(crate) fn targets(results: &Results) -> Vec<Target> {
    let rows = &results.rows;
    let to_raw = |row: Option<&Row>| row.and_then(|row| rows.to_raw(row));
    let to_limit = |row: Option<&Row>| row.and_then(|row| rows.to_limit(row));
    let hot = |subject, clients| rows.find(subject, Case::HOT, clients);
    let spread = |keyed| rows.find(ON_MONGODB, Case::Spread { keyed }, 1_000);
    let ratio = |one: Option<f64>, other: Option<f64>| Some(one? / other?);
    let rate = |row: Option<&Row>| row.map(|row| row.calls_per_second);
    let p50 = |row: Option<&Row>| row.map(|row| row.p50_s);

    let mut targets = vec![
        at_least(
            "MongoDB, hot counter, 256 clients, against the raw driver at its best",
            10.0,
            Unit::Times,
            to_raw(hot(ON_MONGODB, 256)),
        ),
        at_least(
            "MongoDB, hot counter, 1,000 clients, against the no-op endpoint at its best",
            0.5,
            Unit::Percent,
            to_limit(hot(ON_MONGODB, 1_000)),
        ),
        at_least(
            "MongoDB, 10,000 counters, 1,000 clients, against the raw driver at its best",
            5.0,
            Unit::Times,
            to_raw(spread(false)),
        ),
        at_least(
            "the same, keyed, against unkeyed",
            0.5,
            Unit::Percent,
            ratio(rate(spread(true)), rate(spread(false))),
        ),
        at_most(
            "MongoDB, one client: p50 against the raw driver's",
            1.15,
            Unit::Times,
            ratio(p50(hot(ON_MONGODB, 1)), p50(hot(mongodb_driver::NAME, 1))),
        ),
        at_least(
            "redb, hot counter, 256 clients, against the no-op endpoint at its best",
            0.6,
            Unit::Percent,
            to_limit(hot(ON_REDB, 256)),
        ),
    ];
    for subject in [ON_MONGODB, ON_REDB] {
        let memory = results.memory.iter().find(|memory| memory.subject == subject);
        let last = memory.map(|memory| memory.last());
        targets.push(at_most(format!("{subject}, 1,000,000 counters touched: memory"), 80.0, Unit::Megabytes, last));
        let growth = memory.and_then(|memory| memory.growth());
        targets.push(at_most("the same, against 250,000 counters touched", 1.1, Unit::Times, growth));
    }
    for (store, pace) in [("the store slowed", Pace::Slowed), ("the store as it is", Pace::AsItIs)] {
        let overload = results.overload.iter().find(|overload| overload.pace == pace);
        let goodput = overload.map(|overload| overload.goodput());
        let name = format!("MongoDB, at 3× capacity, {store}");
        targets.push(at_least(format!("{name}: goodput against the peak"), 0.9, Unit::Percent, goodput));
        let refused = overload.map(|overload| overload.refused_p99_s);
        targets.push(at_most("the same: p99 of the time to refuse", 0.05, Unit::Seconds, refused));
        let burned = overload.map(|overload| overload.burned as f64);
        targets.push(at_most("the same: burned numbers", 0.0, Unit::Count, burned));
        let unknown = overload.map(|overload| overload.unknown() as f64);
        targets.push(at_most("the same: calls that ended unknown", 0.0, Unit::Count, unknown));
    }
    for (subject, beside) in [(ON_MONGODB, HOT), (ON_MONGODB, HOT_ELSEWHERE), (ON_REDB, HOT)] {
        let row = results.fairness.iter().find(|row| row.subject == subject && row.beside == beside);
        let ratio = |to| row.and_then(|row| row.ratio(&results.fairness, to));
        let what = format!("{subject}: p99 of other users beside {beside}, against without");
        targets.push(at_most(what, 2.0, Unit::Times, ratio(NOBODY)));
        targets.push(at_most(format!("the same, against {SPREAD}"), 2.0, Unit::Times, ratio(SPREAD)));
    }
    let ratio = |of, to| Price::ratio(&results.price, of, to);
    targets.push(at_least(
        "MongoDB: throughput with metrics, against none",
        0.97,
        Unit::Percent,
        ratio(METRICS, NOTHING),
    ));
    targets.push(at_least(
        "the same with logs and traces of 10 %, against metrics and logs",
        0.95,
        Unit::Percent,
        ratio(TENTH, LOGS),
    ));
    targets
}

impl Target {
    pub(crate) fn table(all: &[Self]) -> String {
        let mut table = String::from("| what | target | measured | |\n|---|---|---:|---|\n");
        for target in all {
            let Some(measured) = target.measured else { continue };
            let bound = match target.bound {
                Bound::AtLeast => "at least",
                Bound::AtMost => "at most",
            };
            let (target_text, measured) = (target.unit.text(target.target), target.unit.text(measured));
            let verdict = if target.met == Some(true) { "ok" } else { "**missed**" };
            table.push_str(&format!("| {} | {bound} {target_text} | {measured} | {verdict} |\n", target.what));
        }
        let others = all.iter().filter(|target| target.measured.is_none()).count();
        if others > 0 {
            table.push_str(&format!("\nNot measured in this run: {others} of {}.\n", all.len()));
        }
        table
    }
}
