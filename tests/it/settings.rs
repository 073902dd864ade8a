//! Settings and the command line, as an operator meets them.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::client::PASSWORD;
use crate::support::eventually;
use crate::support::process::Launch;
use crate::support::service::{KEY_SECRET, Service, launch};
use crate::support::stores::{Directory, Kind, Store};

/// The exit code for wrong settings and arguments: EX_USAGE.
const USAGE: Option<i32> = Some(64);

/// Stands where a secret stands; must never be seen again.
const CANARY: &str = "canary-5f1c9e";

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_setting_is_reported_in_one_go() {
    let bad = [
        ("COUNTER_LISTEN", "nonsense"),
        ("COUNTER_ADMIN_LISTEN", "127.0.0.1"),
        ("COUNTER_STORE_URL", "postgres://user:canary-5f1c9e@db/counter"),
        ("COUNTER_JWT_KEYS", "k1:canary-5f1c9e"),
        ("COUNTER_TOKEN_TTL", "soon"),
        ("COUNTER_INITIAL_VALUE", "-1"),
        ("COUNTER_COUNTERS_PER_USER", "many"),
        ("COUNTER_REQUEST_TIMEOUT", "10"),
        ("COUNTER_STORE_TIMEOUT", "0s"),
        ("COUNTER_MAX_QUEUE", "0"),
        ("COUNTER_READ_CONCERN", "local"),
        ("COUNTER_RATE_LIMIT", "fast"),
        ("COUNTER_AUTH_RATE_LIMIT", "10/fortnight"),
        ("COUNTER_TRUSTED_PROXIES", "10.0.0.0/8,nonsense"),
        ("COUNTER_CORS_ORIGINS", "app.example/path"),
        ("COUNTER_MAX_CONNECTIONS", "-5"),
        ("COUNTER_HEADER_TIMEOUT", "x"),
        ("COUNTER_IDLE_TIMEOUT", "x"),
        ("COUNTER_BODY_TIMEOUT", "x"),
        ("COUNTER_DRAIN_DELAY", "x"),
        ("COUNTER_DRAIN_TIMEOUT", "x"),
        ("COUNTER_LOG_FORMAT", "xml"),
        ("COUNTER_PUBLIC_URL", "counter.example.com"),
        ("COUNTER_OAUTH_TIMEOUT", "5"),
        ("COUNTER_OAUTH_COMPANY_CLIENT_ID", "é"),
        ("COUNTER_OAUTH_COMPANY_ISSUER", "http://login.example.com"),
    ];
    let launch = bad.iter().fold(Launch::bare(), |launch, (name, value)| launch.set(name, *value));
    for launch in [launch.clone(), launch.arguments(["check-config"])] {
        let ended = launch.run().await;
        assert_eq!(ended.code, USAGE, "{ended:?}");
        for (name, _) in bad {
            assert!(ended.stderr.contains(name), "{name} is not among the faults:\n{}", ended.stderr);
        }
        assert!(!ended.output().contains(CANARY), "{}", ended.output());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mongodb_needs_keys() {
    let ended = Launch::bare().set("COUNTER_STORE_URL", "mongodb://127.0.0.1:9/?replicaSet=x").run().await;
    assert_eq!(ended.code, USAGE, "{ended:?}");
    assert!(ended.stderr.contains("COUNTER_JWT_KEYS"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_leaves_the_embedded_store_closed() {
    let store = Store::fresh(Kind::Redb).await;
    // Where the keys would be generated: nobody can read them from a folder.
    std::fs::create_dir(store.directory().join("counter.jwt-keys")).unwrap();
    let ended = launch(&store).unset("COUNTER_JWT_KEYS").run().await;
    assert!(ended.code.is_some_and(|code| code != 0), "{ended:?}");
    assert!(ended.output().contains("jwt-keys"), "{ended:?}");
    assert!(store.directory().join("counter.redb").exists());
    // By this a start knows that the last process was killed, and that the whole file must be written again.
    assert!(!store.directory().join("counter.redb.pid").exists(), "the store was not closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_comes_from_one_place() {
    let directory = Directory::new();
    let file = directory.path().join("keys");
    std::fs::write(&file, format!("k1:{KEY_SECRET}\n")).unwrap();
    let with_file = Launch::bare().set("COUNTER_JWT_KEYS_FILE", file.to_str().unwrap());
    let ended = with_file.clone().arguments(["check-config"]).run().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let twice = with_file.set("COUNTER_JWT_KEYS", format!("k1:{KEY_SECRET}")).run().await;
    assert_eq!(twice.code, USAGE, "{twice:?}");
    let missing = Launch::bare().set("COUNTER_JWT_KEYS_FILE", "/nonexistent/keys").run().await;
    assert_eq!(missing.code, USAGE, "{missing:?}");
    assert!(missing.stderr.contains("COUNTER_JWT_KEYS_FILE"), "{}", missing.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_config_masks_secrets() {
    let launch = Launch::bare()
        .set("COUNTER_STORE_URL", format!("mongodb://user:{CANARY}@db.example/?replicaSet=rs0"))
        .set("COUNTER_JWT_KEYS", format!("k1:{CANARY}-{KEY_SECRET}"))
        .set("COUNTER_TOKEN_TTL", "90m")
        .arguments(["check-config"]);
    let ended = launch.run().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for shown in ["COUNTER_STORE_URL", "COUNTER_JWT_KEYS", "COUNTER_TOKEN_TTL", "90m", "COUNTER_LISTEN"] {
        assert!(ended.stdout.contains(shown), "{shown} is not in:\n{}", ended.stdout);
    }
    assert!(!ended.output().contains(CANARY), "{}", ended.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_words_on_the_command_line_are_refused() {
    for arguments in [["--colour", "blue"], ["serve", "--colour"], ["--jwt-keys", CANARY], ["reference", "nothing"]] {
        let ended = Launch::bare().arguments(arguments).run().await;
        assert_eq!(ended.code, USAGE, "{arguments:?}: {ended:?}");
    }
    let ended = Launch::bare().arguments(["dance"]).run().await;
    assert_eq!(ended.code, USAGE, "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_printed_is_a_failure() {
    for arguments in [&["reference", "metrics"][..], &["check-config"]] {
        let run = |stdout: Stdio| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_counter-api"));
            command.args(arguments).env_clear().stdout(stdout).stderr(Stdio::piped()).output().unwrap()
        };
        // What is written there meets a full disk.
        let full = run(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into());
        assert_eq!(full.status.code(), Some(1), "{full:?}");
        assert!(!full.stderr.is_empty());
        // A reader that has read enough is no failure.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let enough = run(writer.into());
        assert_eq!(enough.status.code(), Some(0), "{enough:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_wins_over_the_environment() {
    let store = Store::fresh(Kind::Redb).await;
    // An address that no machine has (RFC 5737), so that binding to it fails.
    let launch = launch(&store).set("COUNTER_LISTEN", "192.0.2.1:80");
    let failed = launch.run().await;
    assert!(failed.code.is_some_and(|code| code != 0), "{failed:?}");
    let service = Service::start(&launch.arguments(["--listen", "127.0.0.1:0"]), &store).await;
    assert!(service.address().ip().is_loopback());
}

#[tokio::test(flavor = "multi_thread")]
async fn healthcheck_asks_the_running_service() {
    let service = Service::fresh(Kind::Redb, &[]).await;
    let ask = Launch::bare().set("COUNTER_LISTEN", service.address().to_string()).arguments(["healthcheck"]);
    let healthy = ask.run().await;
    assert_eq!(healthy.code, Some(0), "{healthy:?}");
    service.kill9();
    let gone = ask.run().await;
    assert_eq!(gone.code, Some(1), "{gone:?}");
    assert!(gone.stderr.contains(&service.address().to_string()), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_without_logging_anyone_out() {
    let store = Store::fresh(Kind::Redb).await;
    let file = store.directory().join("keys");
    let (old, new) = (format!("old:{KEY_SECRET}"), format!("new:{KEY_SECRET}-2"));
    replace(&file, &old);
    let launch = launch(&store).unset("COUNTER_JWT_KEYS").set("COUNTER_JWT_KEYS_FILE", file.to_str().unwrap());
    let service = Service::start(&launch, &store).await;
    let client = service.client().await;
    let user = client.register().await;
    assert_eq!(key_id(&user.token), "old");

    replace(&file, &format!("{new},{old}"));
    let token = eventually("a token signed with the new key", async || {
        let login = client.login(&user.email, PASSWORD).await.expect(200);
        let token = login.json["token"].as_str().unwrap().to_owned();
        (key_id(&token) == "new").then_some(token)
    })
    .await;
    user.get("/v1/me").send().await.expect(200);
    client.get("/v1/me").token(&token).send().await.expect(200);

    replace(&file, "this is no list of keys");
    let failed =
        |line: &serde_json::Value| line["level"].as_str().is_some_and(|level| level != "INFO" && level != "DEBUG");
    let complaint = eventually("a complaint about the bad file", async || service.logs(failed).pop()).await;
    assert!(!complaint.to_string().contains("this is no list"), "{complaint}");
    user.get("/v1/me").send().await.expect(200);

    replace(&file, &new);
    eventually("the old key is gone", async || (user.get("/v1/me").send().await.status == 401).then_some(())).await;
    user.get("/v1/me").send().await.problem(401, "token_invalid");
    client.get("/v1/me").token(&token).send().await.expect(200);
}

/// Puts another file in its place, as Kubernetes does, so that nobody reads half of it.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, file).unwrap();
}

fn key_id(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.expect("a token names its key")
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_store_keeps_keys_of_its_own() {
    use std::os::unix::fs::PermissionsExt;

    let store = Store::fresh(Kind::Redb).await;
    let launch = launch(&store).unset("COUNTER_JWT_KEYS");
    let service = Service::start(&launch, &store).await;
    let user = service.client().await.register().await;
    let files = std::fs::read_dir(store.directory()).unwrap().flatten();
    let no_secret =
        |file: &std::fs::DirEntry| file.file_name() == "counter.redb" || file.file_name() == "counter.redb.pid";
    let keys: Vec<_> = files.filter(|file| !no_secret(file)).collect();
    assert!(!keys.is_empty(), "no keys are kept beside the store");
    for file in keys {
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?} has mode {mode:o}", file.path());
    }
    service.sigterm();
    assert_eq!(service.wait_exit(crate::support::PATIENCE).await, Some(0));
    let again = Service::start(&launch, &store).await;
    user.at(&again.client().await).get("/v1/me").send().await.expect(200);
}
