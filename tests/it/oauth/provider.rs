//! The real provider: `tests/oauth/provider.js`, a process of its own.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::support::client::JSON;
use crate::support::eventually;
use crate::support::process::{Lines, spawn_from_lasting_thread};
use crate::support::service::{http_client, json_of};

/// A provider that runs. It is killed when it is dropped.
pub(super) struct Provider {
    child: Mutex<Child>,
    /// `issuer`, `client_id`, `client_secret`, `control`.
    pub(super) facts: Value,
}

impl Provider {
    /// Starts it for services that browsers reach by these ports, under the name `local`.
    pub(super) async fn start(ports: &[u16]) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oauth/provider.js");
        let installed = program.with_file_name("node_modules").join("oidc-provider");
        assert!(installed.exists(), "oidc-provider is not there: run scripts/install-oauth-tools");
        // setpriv lets the kernel kill it when the tests end, however they end.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "node"]).arg(program);
        for port in ports {
            command.args(["--redirect-uri", &format!("http://127.0.0.1:{port}/v1/oauth/local/callback")]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn_from_lasting_thread(command);
        let (stdout, stderr) = (Lines::of(child.stdout.take().unwrap()), Lines::of(child.stderr.take().unwrap()));
        let facts = eventually("the provider's line of facts", async || {
            assert!(child.try_wait().unwrap().is_none(), "the provider has ended:\n{}", stderr.text());
            stdout.records(|line| line["issuer"].is_string()).pop()
        })
        .await;
        Self { child: Mutex::new(child), facts }
    }

    /// The settings by which a service knows it.
    pub(super) fn settings(&self) -> Vec<(String, String)> {
        let fact = |name: &str| self.facts[name].as_str().unwrap().to_owned();
        vec![
            ("COUNTER_OAUTH_LOCAL_ISSUER".to_owned(), fact("issuer")),
            ("COUNTER_OAUTH_LOCAL_CLIENT_ID".to_owned(), fact("client_id")),
            ("COUNTER_OAUTH_LOCAL_CLIENT_SECRET".to_owned(), fact("client_secret")),
        ]
    }

    /// Changes what it does from now on: see `provider.js`.
    pub(super) async fn change(&self, change: Value) {
        let control = self.facts["control"].as_str().unwrap();
        let call = http_client().post(control).header("content-type", JSON).body(change.to_string());
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{change}");
    }

    /// Says who somebody with this login is.
    pub(super) async fn person(&self, login: &str, person: Value) {
        self.change(json!({ "people": { login: person } })).await;
    }

    /// What services have asked it so far: method, path and headers.
    pub(super) async fn seen(&self) -> Vec<Value> {
        let answer = http_client().get(self.facts["control"].as_str().unwrap()).send().await.unwrap();
        json_of(answer).await["seen"].as_array().unwrap().clone()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // It may have ended already, which is no fault.
        let _ = child.kill();
        let _ = child.wait();
    }
}
