//! Servers of other makers: processes with data of their own, which are gone when they are dropped or the bench ends.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::mongod::free_port;
use crate::support::stores::Directory;

/// PostgreSQL refuses to run as root: who the servers are then.
const NOBODY: u32 = 65_534;

/// A server on a port of the loopback.
pub(crate) struct Server {
    process: Child,
    pub(crate) port: u16,
    directory: Directory,
}

/// An empty directory for a server's data.
pub(crate) fn data_directory() -> Directory {
    let directory = Directory::new();
    if is_root() {
        chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    directory
}

/// A program of the bench's own tools, to be run in this directory.
pub(crate) fn program(name: &str, directory: &Directory) -> Command {
    let program = tool(name);
    assert!(program.exists(), "{} is missing: run scripts/install-bench-tools", program.display());
    let mut command = Command::new("setpriv");
    // Both servers take an interrupt for the order to stop. The kernel gives it when this process ends in whatever way.
    command.args(["--pdeathsig", "INT"]);
    if is_root() {
        command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]);
    }
    command.arg("--").arg(program).current_dir(directory.path()).stdin(Stdio::null());
    command
}

/// Where a program of the bench's own tools is.
pub(crate) fn tool(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bench/bin").join(name)
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

impl Server {
    /// Starts it with the arguments that `arguments` makes of its port. To be called from the main thread only: when the
    /// thread that started the server ends, the server does.
    pub(crate) fn start(name: &str, directory: Directory, arguments: impl FnOnce(u16) -> Vec<String>) -> Self {
        let port = free_port();
        let log = File::create(directory.path().join("server.log")).unwrap();
        let mut command = program(name, &directory);
        command.args(arguments(port)).stdout(log.try_clone().unwrap()).stderr(log);
        Self { process: command.spawn().unwrap(), port, directory }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Fails with its log where it has ended.
    pub(crate) fn check(&mut self) {
        if let Some(status) = self.process.try_wait().unwrap() {
            let log = std::fs::read_to_string(self.directory.path().join("server.log")).unwrap_or_default();
            panic!("the server has ended, {status}:\n{log}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-s", "INT", &self.pid().to_string()]).status();
        let _ = self.process.wait();
    }
}
