//! What the operating system and the runtime know of this process, read when somebody asks for it.
//!
//! Read then, and written beside the recorder, whose counters are whole numbers: seconds of CPU are not.

use procfs::WithCurrentSystemInfo as _;
use procfs::process::{LimitValue, Process};
use tokio::runtime::Handle;

use super::catalogue::*;

const METRICS: [&Metric; 11] = [
    &PROCESS_CPU,
    &PROCESS_OPEN_FDS,
    &PROCESS_MAX_FDS,
    &PROCESS_VIRTUAL_MEMORY,
    &PROCESS_RESIDENT_MEMORY,
    &PROCESS_START_TIME,
    &PROCESS_THREADS,
    &TOKIO_WORKERS,
    &TOKIO_ALIVE_TASKS,
    &TOKIO_GLOBAL_QUEUE_DEPTH,
    &TOKIO_BUSY,
];

/// Is this a metric of this module rather than of the recorder?
pub(super) fn is_read_when_scraped(metric: &Metric) -> bool {
    METRICS.iter().any(|other| other.name == metric.name)
}

/// What is known now. The process's own numbers are known on Linux only.
pub(super) fn read(runtime: &Handle) -> Vec<(&'static Metric, f64)> {
    let mut values = of_runtime(runtime);
    values.extend(of_process().unwrap_or_default());
    values
}

#[expect(clippy::cast_precision_loss, reason = "a count above 2^53 is out of reach")]
fn of_runtime(runtime: &Handle) -> Vec<(&'static Metric, f64)> {
    let metrics = runtime.metrics();
    let workers = metrics.num_workers();
    let busy: f64 = (0..workers).map(|worker| metrics.worker_total_busy_duration(worker).as_secs_f64()).sum();
    vec![
        (&TOKIO_WORKERS, workers as f64),
        (&TOKIO_ALIVE_TASKS, metrics.num_alive_tasks() as f64),
        (&TOKIO_GLOBAL_QUEUE_DEPTH, metrics.global_queue_depth() as f64),
        (&TOKIO_BUSY, busy),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "bytes and ticks above 2^53 are out of reach")]
fn of_process() -> procfs::ProcResult<Vec<(&'static Metric, f64)>> {
    let process = Process::myself()?;
    let stat = process.stat()?;
    let system = procfs::current_system_info();
    let ticks = system.ticks_per_second() as f64;
    let mut values = vec![
        (&PROCESS_CPU, (stat.utime + stat.stime) as f64 / ticks),
        (&PROCESS_OPEN_FDS, process.fd_count()? as f64),
        (&PROCESS_VIRTUAL_MEMORY, stat.vsize as f64),
        (&PROCESS_RESIDENT_MEMORY, stat.rss_bytes().get() as f64),
        (&PROCESS_THREADS, stat.num_threads as f64),
        (&PROCESS_START_TIME, procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks),
    ];
    if let LimitValue::Value(limit) = process.limits()?.max_open_files.soft_limit {
        values.push((&PROCESS_MAX_FDS, limit as f64));
    }
    Ok(values)
}
