//! What processes use, as the kernel counts it.

use serde::Serialize;

/// Clock ticks a second in /proc/PID/stat: fixed on Linux.
const TICKS: f64 = 100.0;

/// What the processes of a subject have used.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Usage {
    /// CPU seconds of the service.
    pub(crate) service_cpu_s: f64,
    /// CPU seconds of the database.
    pub(crate) database_cpu_s: f64,
    /// Resident memory of the service at the time of reading; nothing where there is no service.
    pub(crate) service_memory_bytes: u64,
}

impl Usage {
    pub(crate) fn of(service: &[u32], database: &[u32]) -> Self {
        Self {
            service_cpu_s: cpu(service),
            database_cpu_s: cpu(database),
            service_memory_bytes: service.iter().map(|pid| memory(*pid)).sum(),
        }
    }

    pub(crate) fn since(self, before: &Self) -> Self {
        Self {
            service_cpu_s: self.service_cpu_s - before.service_cpu_s,
            database_cpu_s: self.database_cpu_s - before.database_cpu_s,
            ..self
        }
    }
}

/// CPU seconds that these processes have used together, and children of theirs that have ended.
pub(crate) fn cpu(pids: &[u32]) -> f64 {
    let ticks = |pid: &u32| {
        // utime, stime, cutime and cstime: from the 14th field of all.
        Some(stat(*pid)?[11..15].iter().map(|field| field.parse::<f64>().unwrap()).sum::<f64>())
    };
    pids.iter().filter_map(ticks).sum::<f64>() / TICKS
}

/// Resident memory in bytes.
pub(crate) fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// A process and its children.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let all =
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // The parent is the 4th field of all.
    let is_child = |other: &u32| stat(*other).is_some_and(|fields| fields[1] == pid.to_string());
    std::iter::once(pid).chain(all.filter(is_child)).collect()
}

/// The fields of /proc/PID/stat from the 3rd on: the 2nd is a name in brackets, which can hold spaces. None where the process
/// is gone.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}
