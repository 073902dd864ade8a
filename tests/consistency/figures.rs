//! The figures of the benchmark that documents repeat are those of loadtest/RESULTS.md.

use super::{read, root};

/// The comparison of the README, and the subject of the benchmark that each of its rows is about.
const COMPARED: [(&str, &str); 5] = [
    ("the MongoDB driver alone", "raw driver"),
    ("Counter API on MongoDB", "counter-api on MongoDB"),
    ("Counter API, embedded", "counter-api on redb"),
    ("PostgreSQL", "PostgreSQL"),
    ("Redis, each write synced", "Redis"),
];

#[test]
fn the_comparison_has_the_figures_of_the_benchmark() {
    let (readme, results) = (read(&root().join("README.md")), read(&root().join("loadtest/RESULTS.md")));
    let results = Results(results.lines().map(cells).collect());
    let told: Vec<_> = readme.lines().map(|line| cells(line).join(" | ").replace('*', "")).collect();
    let mut faults = Vec::new();
    for (name, subject) in COMPARED {
        let figures = [
            results.best(subject, "hot").as_told(),
            results.best(subject, "10,000 counters").as_told(),
            format!("{} ms", results.figure(subject, "hot", "1", "p50 ms")),
        ]
        .join(" | ");
        if !told.iter().any(|row| row.starts_with(&format!("{name} | ")) && row.ends_with(&format!(" | {figures}"))) {
            faults.push(format!("the row of {name} ends with: {figures}"));
        }
    }
    faults.extend(untold(results.sentences(), &readme));
    assert!(faults.is_empty(), "by loadtest/RESULTS.md, README.md must say\n{}", faults.join("\n"));
}

#[test]
fn what_a_primary_carries_is_what_the_benchmark_has_measured() {
    let (document, results) =
        (read(&root().join("docs/high-availability.md")), read(&root().join("loadtest/RESULTS.md")));
    let results = Results(results.lines().map(cells).collect());
    let faults = untold(results.arithmetic(), &document);
    assert!(
        faults.is_empty(),
        "by loadtest/RESULTS.md, docs/high-availability.md must say (and the line through the times, and the table of shards below them, \
         follow from them)\n{}",
        faults.join("\n")
    );
}

/// The sentences that a document does not have, however its lines are broken.
fn untold(sentences: impl IntoIterator<Item = String>, document: &str) -> Vec<String> {
    let prose = document.split_whitespace().collect::<Vec<_>>().join(" ");
    sentences.into_iter().filter(|sentence| !prose.contains(sentence)).collect()
}

/// The tables of loadtest/RESULTS.md, in which each row of calls begins with the subject, the case and the number of clients.
struct Results<'a>(Vec<Vec<&'a str>>);

/// Calls a second, and with how many clients.
struct Best {
    rate: u64,
    clients: u64,
}

impl Best {
    fn as_told(&self) -> String {
        format!("{} ({})", thousands(self.rate), thousands(self.clients))
    }
}

impl Results<'_> {
    fn column(&self, title: &str) -> usize {
        self.0.iter().find_map(|row| row.iter().position(|cell| *cell == title)).unwrap()
    }

    fn figure(&self, subject: &str, case: &str, clients: &str, title: &str) -> &str {
        self.0.iter().find(|row| row.starts_with(&[subject, case, clients])).unwrap()[self.column(title)]
    }

    fn best(&self, subject: &str, case: &str) -> Best {
        let rate = self.column("calls/s");
        let rows = self.0.iter().filter(|row| row.starts_with(&[subject, case]));
        let all = rows.map(|row| Best { rate: row[rate].parse().unwrap(), clients: row[2].parse().unwrap() });
        all.max_by_key(|best| best.rate).unwrap()
    }

    /// What the text below the comparison says in figures.
    fn sentences(&self) -> [String; 4] {
        let [driver, service] = ["raw driver", "counter-api on MongoDB"];
        let times = |case| self.best(service, case).rate as f64 / self.best(driver, case).rate as f64;
        let wait = |subject| self.figure(subject, "hot", "1", "p50 ms").parse::<f64>().unwrap();
        let keyed = |case| thousands(self.best(service, case).rate);
        let verdicts: Vec<_> = self.0.iter().filter(|row| row.len() == 4).map(|row| row[3]).collect();
        let count = |verdict| verdicts.iter().filter(|other| **other == verdict).count();
        let missed = count("**missed**");
        [
            format!(
                "{:.1} times what the driver alone does on one counter, and {:.1} times on 10,000",
                times("hot"),
                times("10,000 counters")
            ),
            format!("a single caller waits {:.1} ms longer", wait(service) - wait(driver)),
            format!("it does {} and {}.", keyed("hot, keyed"), keyed("10,000 counters, keyed")),
            format!("missed {missed} of its {} targets", missed + count("ok")),
        ]
    }

    /// What is reckoned from the calls of 1,000 clients, and from how long a commit takes.
    fn arithmetic(&self) -> [String; 5] {
        let figure = |case: &str, clients: &str, title: &str| -> f64 {
            self.figure("counter-api on MongoDB", case, clients, title).parse().unwrap()
        };
        let rounded = |number: f64, to: f64| thousands(format!("{:.0}", (number / to).round() * to).parse().unwrap());
        let spread = "10,000 counters";
        let rate = |case| rounded(figure(case, "1000", "calls/s"), 1_000.0);
        let cpu = |case| figure(case, "1000", "database");
        // Half of the CPU seconds for 10,000 calls.
        let call = cpu(spread) / 2.0 / 10_000.0;
        // Two commits are under way at a time, so each client's call is in every second one.
        let commit = |clients: &str| clients.parse::<f64>().unwrap() / figure(spread, clients, "calls/s") * 1_000.0;
        [
            format!(
                "with 1,000 clients {} calls a second on one counter and {} on 10,000 counters",
                rate("hot"),
                rate(spread)
            ),
            format!("the database needed {:.2} CPU seconds for 10,000 calls on 10,000 counters", cpu(spread)),
            format!(
                "that is {:.1} µs a call: by this arithmetic {} calls a second for each core of the primary, {} on 8 cores",
                call * 1_000_000.0,
                rounded(1.0 / call, 100.0),
                rounded(8.0 / call, 1_000.0)
            ),
            format!("{:.2} CPU seconds for 10,000 calls is no limit", cpu("hot")),
            format!(
                "{:.1}, {:.1} and {:.1} ms for b = 32, 128 and 500 (64, 256 and 1,000 clients on 10,000 counters)",
                commit("64"),
                commit("256"),
                commit("1000")
            ),
        ]
    }
}

/// A number as people write it.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}

/// What stands in a line of a table.
fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}
