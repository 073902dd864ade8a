//! One server of MongoDB: its process, its port, its data, and the proxy before it.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use mongodb::Client;
use mongodb::bson::Document;
use mongodb::options::{ClientOptions, ServerAddress};

use super::PAUSE;
use crate::support::process::spawn_from_lasting_thread;
use crate::support::proxy::Proxy;

pub(super) struct Member {
    port: u16,
    proxy: Option<Proxy>,
    dir: PathBuf,
    set: Option<&'static str>,
    process: Option<Child>,
}

impl Member {
    /// A member of this set, or a server of none, with its data in this folder. It does not run yet.
    pub(super) fn new(dir: PathBuf, set: Option<&'static str>) -> Self {
        Self { port: free_port(), proxy: None, dir, set, process: None }
    }

    /// Puts a proxy before it, which passes everything for now.
    pub(super) fn hide(&mut self) {
        self.proxy = Some(Proxy::before(self.port));
    }

    /// The proxy before it.
    pub(super) fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("the set is behind proxies")
    }

    /// Where clients and other members find it.
    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.proxy.as_ref().map_or(self.port, Proxy::port))
    }

    /// Its process, from its start until it was stopped or killed.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Starts it on the data that it left.
    pub(super) fn spawn(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.address());
        fs::create_dir_all(&self.dir).unwrap();
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(mongod())
            .args(["--bind_ip", "127.0.0.1", "--nounixsocket", "--quiet", "--wiredTigerCacheSizeGB", "0.25"])
            .args(["--port", &self.port.to_string()])
            .arg("--dbpath")
            .arg(&self.dir)
            // Fail points; a signal that is obeyed at once; no statistics on the disk.
            .args(["--setParameter", "enableTestCommands=1"])
            .args(["--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"])
            .args(["--setParameter", "diagnosticDataCollectionEnabled=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        if let Some(set) = self.set {
            command.args(["--replSet", set, "--oplogSize", "64"]);
        }
        self.process = Some(spawn_from_lasting_thread(command));
    }

    /// Has it ended by itself?
    pub(super) fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.try_wait().unwrap().is_some())
    }

    pub(super) fn signal(&self, signal: &str) {
        if let Some(pid) = self.pid() {
            let sent = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap();
            assert!(sent.success(), "kill -{signal} failed");
        }
    }

    /// Waits until it has ended, as a signal told it.
    pub(super) fn wait(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.wait().unwrap();
        }
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Runs a command on its admin database; nothing where it does not answer or refuses.
    pub(super) async fn admin(&self, command: Document, patience: Duration) -> Option<Document> {
        let host = ServerAddress::Tcp { host: "127.0.0.1".to_owned(), port: Some(self.port) };
        // A client of its own for each question: the workers of a client end with the runtime that it was made in, and a
        // set can be shared by tests with runtimes of their own.
        let options = ClientOptions::builder()
            .hosts(vec![host])
            .direct_connection(true)
            .server_selection_timeout(patience)
            .connect_timeout(patience)
            .build();
        let client = Client::with_options(options).unwrap();
        let answer = tokio::time::timeout(patience, client.database("admin").run_command(command)).await;
        let _ = tokio::time::timeout(PAUSE, client.shutdown().immediate(true)).await;
        answer.ok().and_then(Result::ok)
    }

    /// What it has logged so far.
    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    /// The end of its log, for a failure's message.
    pub(super) fn last_words(&self) -> String {
        let log = self.log();
        let mut lines: Vec<&str> = log.lines().rev().take(8).collect();
        lines.reverse();
        format!("--- port {}\n{}\n", self.port, lines.join("\n"))
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join("mongod.log")
    }
}

fn mongod() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/mongod/bin/mongod");
    assert!(path.is_file(), "{} is missing: run make tools", path.display());
    path
}

/// A free port below those that the system hands out for outgoing connections, so that a member which is started again
/// finds its own port free.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 10_000;
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU16::new(rand::random()));
    loop {
        let port = FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
