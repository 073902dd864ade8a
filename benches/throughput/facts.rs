//! Where and with what it was measured.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use counter_api::domain::Timestamp;
use serde::Serialize;

use crate::subjects::server::tool;

/// Crates whose versions matter to the figures.
const CRATES: [&str; 6] = ["axum", "hyper", "mongodb", "opentelemetry", "redb", "tokio"];

/// The machine, the versions, the run.
#[derive(Debug, Serialize)]
pub(crate) struct Facts {
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) command: String,
    pub(crate) machine: BTreeMap<&'static str, String>,
    pub(crate) versions: BTreeMap<&'static str, String>,
}

impl Facts {
    pub(crate) fn gather() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let cores = std::thread::available_parallelism().unwrap();
        let memory: f64 = field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap();
        let data = env!("CARGO_TARGET_TMPDIR");
        let machine = BTreeMap::from([
            ("CPU", field("/proc/cpuinfo", "model name")),
            ("cores", cores.to_string()),
            ("memory", format!("{:.1} GB", memory * 1024.0 / 1e9)),
            ("kernel", output("uname", &["-sr"])),
            ("file system of the data", output("findmnt", &["-no", "FSTYPE", "-T", data])),
        ]);
        let mut versions = BTreeMap::from([
            ("counter-api", env!("CARGO_PKG_VERSION").to_owned()),
            ("rustc", output("rustc", &["--version"])),
            ("mongod", output(root.join(".tools/mongod/bin/mongod"), &["--version"])),
            ("Redis", output(tool("redis-server"), &["--version"])),
            ("PostgreSQL", output(tool("postgres"), &["--version"])),
        ]);
        let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap();
        versions.extend(CRATES.map(|name| (name, locked(&lock, name))));
        let changed = output("git", &["status", "--porcelain", "--untracked-files=no"]);
        let changed = if changed.is_empty() { "" } else { ", with changes" };
        // Cargo's own word to every bench is left out.
        let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
        Self {
            date: Timestamp::now().to_string(),
            commit: output("git", &["rev-parse", "--short", "HEAD"]) + changed,
            command: format!("cargo bench --locked --bench throughput -- {}", arguments.join(" ")),
            machine,
            versions,
        }
    }

    pub(crate) fn table(&self) -> String {
        let run = [("date", &self.date), ("commit", &self.commit), ("command", &self.command)];
        let all = run.into_iter().chain(self.machine.iter().chain(&self.versions).map(|(name, value)| (*name, value)));
        let rows: String = all.map(|(name, value)| format!("| {name} | {value} |\n")).collect();
        format!("| fact | |\n|---|---|\n{rows}")
    }
}

/// The first line that a program prints; nothing where it does not run.
fn output(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    let output = command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// A value of a file of lines `name: value`.
fn field(path: &str, name: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
    value.unwrap_or("unknown").trim().to_owned()
}

/// The version of a crate in Cargo.lock.
fn locked(lock: &str, name: &str) -> String {
    let after = lock.split_once(&format!("name = \"{name}\"\nversion = \"")).map(|(_, after)| after);
    after.and_then(|after| after.split('"').next()).unwrap_or("unknown").to_owned()
}
