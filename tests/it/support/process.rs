//! The binary as a process: how it is started, what it prints, how it ends.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::Value;

use super::{PATIENCE, eventually, eventually_within};

/// A command line and an environment for the binary. Nothing of the tests' own environment is handed on.
#[derive(Clone)]
pub(crate) struct Launch {
    arguments: Vec<String>,
    settings: BTreeMap<String, String>,
    ignored: Option<&'static str>,
}

impl Launch {
    /// The binary with no settings at all.
    pub(crate) fn bare() -> Self {
        Self { arguments: Vec::new(), settings: BTreeMap::new(), ignored: None }
    }

    /// Sets an environment variable.
    pub(crate) fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.settings.insert(name.to_owned(), value.into());
        self
    }

    /// Takes an environment variable away.
    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.settings.remove(name);
        self
    }

    /// Adds words to the command line.
    pub(crate) fn arguments<const N: usize>(mut self, words: [&str; N]) -> Self {
        self.arguments.extend(words.map(str::to_owned));
        self
    }

    /// Lets it ignore a signal, by its name (`XFSZ`).
    pub(crate) fn ignore(mut self, signal: &'static str) -> Self {
        self.ignored = Some(signal);
        self
    }

    /// Starts it and waits for nothing.
    pub(crate) fn spawn(&self) -> Process {
        // setpriv lets the kernel kill the service when the tests end, however they end.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        if let Some(signal) = self.ignored {
            command.args(["env", &format!("--ignore-signal={signal}")]);
        }
        command
            .arg(env!("CARGO_BIN_EXE_counter-api"))
            .args(&self.arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(&self.settings)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = spawn_from_lasting_thread(command);
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        Process { id: child.id(), child: Mutex::new(child), stdout, stderr }
    }

    /// Runs it to its end.
    pub(crate) async fn run(&self) -> Ended {
        let process = self.spawn();
        let status = process.wait(PATIENCE).await;
        let complete = async || (process.stdout.complete() && process.stderr.complete()).then_some(());
        eventually("the end of its output", complete).await;
        Ended { code: status.code(), stdout: process.stdout.text(), stderr: process.stderr.text() }
    }
}

/// A run of the binary that is over.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; none where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Everything that it printed.
    pub(crate) fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// A run of the binary. Killed when it is dropped; what it printed is shown where the test is failing.
pub(crate) struct Process {
    id: u32,
    child: Mutex<Child>,
    pub(crate) stdout: Arc<Lines>,
    pub(crate) stderr: Arc<Lines>,
}

impl Process {
    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Sends a signal, by its name (`TERM`).
    pub(crate) fn signal(&self, name: &str) {
        assert!(self.exit_status().is_none(), "the service has ended already");
        let done = Command::new("kill").args(["-s", name, &self.id.to_string()]).status().unwrap();
        assert!(done.success(), "kill -s {name} {} failed", self.id);
    }

    /// Kills it and waits until it is gone.
    pub(crate) fn kill9(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// How it ended; nothing while it runs.
    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    /// Waits for its end.
    pub(crate) async fn wait(&self, within: Duration) -> ExitStatus {
        eventually_within(within, "the service's exit", async || self.exit_status()).await
    }

    /// Waits for its end and answers the exit code; `None` where a signal ended it.
    pub(crate) async fn wait_exit(&self, within: Duration) -> Option<i32> {
        self.wait(within).await.code()
    }

    /// Everything that it has printed so far.
    pub(crate) fn output(&self) -> String {
        format!("{}{}", self.stdout.text(), self.stderr.text())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let output = self.output();
            let lines: Vec<&str> = output.lines().collect();
            let tail = lines[lines.len().saturating_sub(60)..].join("\n");
            eprintln!("--- the last lines of the service {} ---\n{tail}\n---", self.id);
        }
        let mut child = self.child.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // It may have ended already, which is no fault.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The lines of one output of a process, gathered by a thread of its own.
#[derive(Default)]
pub(crate) struct Lines {
    gathered: Mutex<Gathered>,
    stopped: AtomicBool,
}

#[derive(Default)]
struct Gathered {
    lines: Vec<String>,
    complete: bool,
}

impl Lines {
    pub(crate) fn of(output: impl Read + Send + 'static) -> Arc<Self> {
        let lines = Arc::new(Self::default());
        let gathering = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                while gathering.stopped.load(Ordering::Acquire) {
                    // Until the process is gone, and this thread with the tests.
                    std::thread::park_timeout(Duration::from_millis(100));
                }
                gathering.gathered.lock().unwrap().lines.push(String::from_utf8_lossy(&line).into_owned());
            }
            gathering.gathered.lock().unwrap().complete = true;
        });
        lines
    }

    /// Reads no more: the pipe fills.
    pub(crate) fn stop_reading(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    fn complete(&self) -> bool {
        self.gathered.lock().unwrap().complete
    }

    /// All lines so far, each with its line feed.
    pub(crate) fn text(&self) -> String {
        self.gathered.lock().unwrap().lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// All lines so far that `wanted` likes.
    pub(crate) fn matching(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        self.gathered.lock().unwrap().lines.iter().filter(|line| wanted(line)).cloned().collect()
    }

    /// All lines so far that are JSON objects in which `wanted` finds what it seeks.
    pub(crate) fn records(&self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let lines = self.matching(|line| line.starts_with('{'));
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).filter(wanted).collect()
    }
}

/// A process' death signal comes when the *thread* that started it ends, and a test's threads end with the test. So one
/// thread that lasts as long as the tests starts them all.
pub(crate) fn spawn_from_lasting_thread(command: Command) -> Child {
    static REQUESTS: OnceLock<Sender<(Command, Sender<Child>)>> = OnceLock::new();
    let requests = REQUESTS.get_or_init(|| {
        let (sender, requests) = channel::<(Command, Sender<Child>)>();
        std::thread::spawn(move || {
            for (mut command, answer) in requests {
                let child = command.spawn().expect("setpriv (of util-linux) starts programs");
                // Nobody waits any more where the test has failed meanwhile.
                let _ = answer.send(child);
            }
        });
        sender
    });
    let (sender, answer) = channel();
    requests.send((command, sender)).unwrap();
    answer.recv().expect("the thread that starts processes lives")
}
