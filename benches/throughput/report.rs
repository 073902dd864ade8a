//! The table: each row with its ratios to the raw driver and to the HTTP side's own limit.

use std::time::Duration;

use serde_json::json;

/// Clock ticks a second in /proc/PID/stat: fixed on Linux.
const TICKS: f64 = 100.0;

/// What processes have used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// CPU seconds of the service.
    service: f64,
    /// CPU seconds of the database.
    database: f64,
    /// Resident memory of the service, in bytes, at the time of reading.
    memory: u64,
}

impl Usage {
    pub(crate) fn of(service: &[u32], database: &[u32]) -> Self {
        Self {
            service: service.iter().map(|pid| cpu(*pid)).sum(),
            database: database.iter().map(|pid| cpu(*pid)).sum(),
            memory: service.iter().map(|pid| memory(*pid)).sum(),
        }
    }

    pub(crate) fn since(self, before: &Self) -> Self {
        Self { service: self.service - before.service, database: self.database - before.database, ..self }
    }
}

fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in brackets, can hold spaces; utime and stime are the 12th and 13th field behind it.
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS
}

fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    subject: &'static str,
    case: &'static str,
    clients: usize,
    /// Calls a second.
    rate: f64,
    p50: Duration,
    p99: Duration,
    spent: Usage,
    calls: usize,
}

impl Row {
    pub(crate) fn new(
        subject: &'static str,
        case: &'static str,
        clients: usize,
        measured: Duration,
        mut latencies: Vec<Duration>,
        spent: Usage,
    ) -> Self {
        latencies.sort_unstable();
        let calls = latencies.len();
        let at = |share: usize| latencies.get(calls * share / 100).copied().unwrap_or_default();
        eprintln!("{subject}, {case}, {clients} clients: {:.0} calls a second", calls as f64 / measured.as_secs_f64());
        Self {
            subject,
            case,
            clients,
            rate: calls as f64 / measured.as_secs_f64(),
            p50: at(50),
            p99: at(99),
            spent,
            calls,
        }
    }

    /// CPU seconds for 10,000 calls.
    fn per_10_000(&self, seconds: f64) -> f64 {
        seconds * 10_000.0 / self.calls.max(1) as f64
    }
}

/// All rows.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    fn best(&self, subject: &str, case: &str) -> f64 {
        let rows = self.rows.iter().filter(|row| row.subject == subject && row.case == case);
        rows.map(|row| row.rate).fold(0.0, f64::max)
    }

    /// The raw driver at its best in the same case, whatever its number of clients: a keyed call has no other peer.
    fn to_raw(&self, row: &Row) -> Option<f64> {
        let raw = self.best("raw driver", row.case.trim_end_matches(", keyed"));
        (raw > 0.0).then(|| row.rate / raw)
    }

    /// The same service's refusals at their best.
    fn to_limit(&self, row: &Row) -> Option<f64> {
        let limit = self.best(row.subject, "no-op");
        (limit > 0.0).then(|| row.rate / limit)
    }

    pub(crate) fn table(&self) -> String {
        let mut table = String::from(
            "| subject | case | clients | calls/s | × raw driver | of the HTTP limit | p50 ms | p99 ms | CPU s / 10,000: service | database | service MB |\n\
             |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        for row in &self.rows {
            let to_limit = self.to_limit(row).map_or("".to_owned(), |ratio| format!("{:.0} %", ratio * 100.0));
            let to_raw = self.to_raw(row).map_or("".to_owned(), |ratio| format!("{ratio:.2}"));
            let millis = |latency: Duration| latency.as_secs_f64() * 1e3;
            table.push_str(&format!(
                "| {} | {} | {} | {:.0} | {to_raw} | {to_limit} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} |\n",
                row.subject,
                row.case,
                row.clients,
                row.rate,
                millis(row.p50),
                millis(row.p99),
                row.per_10_000(row.spent.service),
                row.per_10_000(row.spent.database),
                row.spent.memory as f64 / 1e6,
            ));
        }
        table
    }

    pub(crate) fn json(&self) -> String {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "subject": row.subject, "case": row.case, "clients": row.clients, "calls_per_second": row.rate,
                    "p50_s": row.p50.as_secs_f64(), "p99_s": row.p99.as_secs_f64(),
                    "service_cpu_s": row.spent.service, "database_cpu_s": row.spent.database,
                    "service_memory_bytes": row.spent.memory, "calls": row.calls,
                })
            })
            .collect();
        serde_json::to_string_pretty(&rows).unwrap() + "\n"
    }
}
