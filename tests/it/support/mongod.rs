//! Real MongoDB servers for the tests: replica sets on loopback ports whose members can be stopped, killed, paused and
//! started again.
//!
//! No server outlives the test process, however that ends: each is started with a parent-death signal.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what goes wrong here ends the test")]

mod member;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use member::Member;
pub(crate) use member::free_port;
use mongodb::bson::{Document, doc};

use super::proxy::Mode;

const SET: &str = "rs0";
/// How long servers may take to start or to elect a primary, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// A replica set, or a single server that is none. Its processes and data are gone when it is dropped.
pub(crate) struct ReplicaSet {
    dir: PathBuf,
    members: Vec<Member>,
    replicated: bool,
}

impl ReplicaSet {
    /// Starts a set of so many members and waits until it has a primary and every other member is a secondary.
    pub(crate) async fn start(members: usize) -> Self {
        Self::launch(members, true).initiated().await
    }

    /// The same with a proxy before each member, which passes everything for now.
    pub(crate) async fn start_behind_proxies(members: usize) -> Self {
        let mut set = Self::launch(members, true);
        set.members.iter_mut().for_each(Member::hide);
        set.initiated().await
    }

    async fn initiated(mut self) -> Self {
        let set = &mut self;
        set.wait_until_all_answer().await;
        let addresses: Vec<Document> =
            (0i32..).zip(&set.members).map(|(id, member)| doc! { "_id": id, "host": member.address() }).collect();
        // Elections within about a second, where the defaults take more than ten.
        let config = doc! {
            "_id": SET,
            "members": addresses,
            "settings": { "electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200, "heartbeatTimeoutSecs": 1 },
        };
        let initiated = set.members[0].admin(doc! { "replSetInitiate": config }, PATIENCE).await;
        assert!(initiated.is_some(), "the replica set refused its configuration:\n{}", set.logs());
        set.wait_until_healthy().await;
        self
    }

    /// Starts one server outside of any replica set.
    pub(crate) async fn standalone() -> Self {
        let mut server = Self::launch(1, false);
        server.wait_until_all_answer().await;
        server
    }

    fn launch(members: usize, replicated: bool) -> Self {
        static SETS: AtomicU32 = AtomicU32::new(0);
        let number = SETS.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            sweep();
        }
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mongod-{}-{number}", std::process::id()));
        let set = replicated.then_some(SET);
        let mut members: Vec<_> = (0..members).map(|i| Member::new(dir.join(i.to_string()), set)).collect();
        members.iter_mut().for_each(Member::spawn);
        Self { dir, members, replicated }
    }

    /// A connection string that names every member.
    pub(crate) fn uri(&self) -> String {
        let hosts: Vec<String> = self.members.iter().map(Member::address).collect();
        let options = if self.replicated { format!("?replicaSet={SET}") } else { String::new() };
        format!("mongodb://{}/{options}", hosts.join(","))
    }

    /// Sets the mode of a member's proxy.
    pub(crate) fn set_proxy(&self, i: usize, mode: Mode) {
        self.members[i].proxy().set(mode);
    }

    /// Does a member's proxy hold a take back, and has the member answered it later?
    pub(crate) fn held_take(&self, i: usize) -> (bool, bool) {
        self.members[i].proxy().held()
    }

    /// Which member is the primary now; waits until there is one.
    pub(crate) async fn primary(&self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            for (i, member) in self.members.iter().enumerate() {
                let hello = member.admin(doc! { "hello": 1 }, Duration::from_millis(500)).await;
                if hello.is_some_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false)) {
                    return i;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("the replica set elected no primary:\n{}", self.logs());
    }

    /// Runs a command on the admin database of every member.
    pub(crate) async fn command_all(&self, command: Document) {
        for member in &self.members {
            assert!(member.admin(command.clone(), PATIENCE).await.is_some(), "{command} was refused");
        }
    }

    /// Lines of the members' own logs that hold this text.
    pub(crate) fn log_lines(&self, text: &str) -> Vec<String> {
        let logs = self.members.iter().map(Member::log);
        let lines = logs.flat_map(|log| log.lines().map(str::to_owned).collect::<Vec<_>>());
        lines.filter(|line| line.contains(text)).collect()
    }

    /// Where a member is found, as metrics and logs name it.
    pub(crate) fn address(&self, i: usize) -> String {
        self.members[i].address()
    }

    /// The process of a member, while it runs.
    pub(crate) fn pid(&self, i: usize) -> Option<u32> {
        self.members[i].pid()
    }

    /// Ends a member in good order and waits until it has.
    pub(crate) fn stop_member(&mut self, i: usize) {
        self.members[i].signal("TERM");
        self.members[i].wait();
    }

    /// Kills a member: no good-bye, no last write.
    pub(crate) fn kill_member(&mut self, i: usize) {
        self.members[i].kill();
    }

    /// Lets the primary give its place up for a few seconds. It may find no successor, and refuse.
    pub(crate) async fn step_down(&self) -> bool {
        let command = doc! { "replSetStepDown": 5, "secondaryCatchUpPeriodSecs": 2 };
        self.members[self.primary().await].admin(command, Duration::from_secs(10)).await.is_some()
    }

    /// Stops or resumes what a secondary takes from the others. It throws away what is under way to it, which a frozen one
    /// would still find in its sockets, and goes on to vote.
    pub(crate) async fn replicate(&self, i: usize, replicates: bool) {
        let mode = if replicates { "off" } else { "alwaysOn" };
        let command = doc! { "configureFailPoint": "stopReplProducer", "mode": mode };
        assert!(self.members[i].admin(command, PATIENCE).await.is_some(), "no such fail point");
    }

    /// Freezes a member: its connections stay open, and nothing answers.
    pub(crate) fn pause_member(&self, i: usize) {
        self.members[i].signal("STOP");
    }

    /// Lets a frozen member go on.
    pub(crate) fn resume_member(&self, i: usize) {
        self.members[i].signal("CONT");
    }

    /// Starts a member again on the data that it left, and waits until it answers.
    pub(crate) async fn start_member(&mut self, i: usize) {
        self.members[i].spawn();
        self.wait_until_all_answer().await;
    }

    /// Ends every member in good order, at the same time.
    pub(crate) fn stop_all(&mut self) {
        self.members.iter().for_each(|member| member.signal("TERM"));
        self.members.iter_mut().for_each(Member::wait);
    }

    /// Replaces one member after the other in good order, the primary last.
    pub(crate) async fn rolling_restart(&mut self) {
        let primary = self.primary().await;
        for member in (0..self.members.len()).filter(|member| *member != primary).chain([primary]) {
            self.stop_member(member);
            self.start_all().await;
        }
    }

    /// Starts every member that does not run, and waits until the set is healthy.
    pub(crate) async fn start_all(&mut self) {
        self.members.iter_mut().filter(|member| member.pid().is_none()).for_each(Member::spawn);
        self.wait_until_all_answer().await;
        if self.replicated {
            self.wait_until_healthy().await;
        }
    }

    /// Waits until every member has what the primary has by now: no failover loses it any more, however it was written.
    pub(crate) async fn wait_until_replicated(&self) {
        let concern = doc! { "w": i32::try_from(self.members.len()).unwrap(), "j": true };
        let write = doc! { "insert": "replicated", "documents": [{}], "writeConcern": concern };
        let primary = self.primary().await;
        let written = self.members[primary].admin(write, PATIENCE).await;
        assert!(
            written.is_some_and(|reply| !reply.contains_key("writeConcernError")),
            "not replicated:\n{}",
            self.logs()
        );
    }

    /// Waits until one member is the primary and all others are its secondaries.
    pub(crate) async fn wait_until_healthy(&self) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let primary = self.primary().await;
            let status = self.members[primary].admin(doc! { "replSetGetStatus": 1 }, PAUSE * 10).await;
            let healthy = status.is_some_and(|status| {
                status.get_array("members").is_ok_and(|members| {
                    members.iter().all(|member| {
                        let state = member.as_document().and_then(|member| member.get_str("stateStr").ok());
                        matches!(state, Some("PRIMARY" | "SECONDARY"))
                    })
                })
            });
            if healthy {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("the replica set did not become healthy:\n{}", self.logs());
    }

    async fn wait_until_all_answer(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        for i in 0..self.members.len() {
            while self.pid(i).is_some() {
                if self.members[i].admin(doc! { "ping": 1 }, Duration::from_secs(1)).await.is_some() {
                    break;
                }
                assert!(!self.members[i].has_ended(), "mongod ended at start:\n{}", self.logs());
                assert!(Instant::now() < deadline, "mongod did not answer:\n{}", self.logs());
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// The end of every member's log, for a failure's message.
    fn logs(&self) -> String {
        self.members.iter().map(Member::last_words).collect()
    }
}

impl Drop for ReplicaSet {
    fn drop(&mut self) {
        self.members.iter_mut().for_each(Member::kill);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Removes the data of test processes that were killed before they could.
fn sweep() {
    for entry in fs::read_dir(env!("CARGO_TARGET_TMPDIR")).unwrap().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix("mongod-")?.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
