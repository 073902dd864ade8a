use super::*;

fn sources(pairs: &[(&str, &str)]) -> Sources {
    Sources {
        environment: pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect(),
        ..Sources::default()
    }
}

#[test]
fn defaults_alone_serve_on_the_embedded_store() {
    let config = Config::read(&Sources::default()).unwrap();
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert!(matches!(&config.store.target, StoreTarget::Redb(path) if path.ends_with("counter.redb")));
    assert!(matches!(&config.auth.keys, KeySource::Generated(path) if path.ends_with("counter.jwt-keys")));
    assert_eq!(config.auth.token_ttl, Duration::from_secs(36_000));
    assert_eq!(config.telemetry.traces, None);
}

#[test]
fn all_faults_come_in_one_go_and_name_their_settings() {
    let Faults(faults) = Config::read(&sources(&[
        ("COUNTER_LISTEN", "localhost"),
        ("COUNTER_TOKEN_TTL", "10 minutes"),
        ("COUNTER_STORE_URL", "mysql://user:hunter2@db"),
        ("COUNTER_AUTH_RATE_LIMIT", "0/s"),
        ("COUNTER_READ_CONCERN", "local"),
        ("COUNTER_TRUSTED_PROXIES", "10.0.0.0/8, everyone"),
        ("COUNTER_JWT_KEYS", "k1:tooshortasecret"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
    ]))
    .unwrap_err();
    let expected = [
        "COUNTER_LISTEN",
        "COUNTER_TOKEN_TTL",
        "COUNTER_STORE_URL",
        "COUNTER_AUTH_RATE_LIMIT",
        "COUNTER_READ_CONCERN",
        "COUNTER_TRUSTED_PROXIES",
        "COUNTER_JWT_KEYS",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    ];
    for name in expected {
        assert_eq!(faults.iter().filter(|fault| fault.starts_with(name)).count(), 1, "{name} in {faults:#?}");
    }
    assert_eq!(faults.len(), expected.len());
    assert!(!faults.concat().contains("hunter2") && !faults.concat().contains("tooshort"));
}

#[test]
fn a_wrong_connection_string_or_endpoint_is_a_fault_that_shows_nothing_of_it() {
    let keys = format!("k1:{}", "s".repeat(32));
    for uri in ["mongodb://ada:hunter2@", "mongodb://ada:hunter2@host/?hunter2=1", "mongodb://h:0:hunter2/"] {
        let Faults(faults) = Config::read(&sources(&[
            ("COUNTER_STORE_URL", uri),
            ("COUNTER_JWT_KEYS", &keys),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "hunter2 is no url"),
        ]))
        .unwrap_err();
        assert!(faults[0].starts_with("COUNTER_STORE_URL is not") || faults[1].starts_with("COUNTER_STORE_URL is not"));
        assert!(faults.len() == 2 && !faults.concat().contains("hunter2"), "{uri}: {faults:?}");
    }
}

#[test]
fn mongodb_needs_keys() {
    let Faults(faults) = Config::read(&sources(&[("COUNTER_STORE_URL", "mongodb://db")])).unwrap_err();
    assert!(faults.len() == 1 && faults[0].starts_with("COUNTER_JWT_KEYS is required"), "{faults:?}");
}

#[test]
fn a_flag_wins_and_an_empty_value_counts_as_none() {
    let mut sources = sources(&[("COUNTER_LISTEN", "127.0.0.1:1"), ("COUNTER_ADMIN_LISTEN", "")]);
    sources.flags.insert("COUNTER_LISTEN".into(), "127.0.0.1:2".into());
    let config = Config::read(&sources).unwrap();
    assert_eq!(config.http.listen.port(), 2);
    assert_eq!(config.http.admin_listen.port(), 9464);
}

#[test]
fn secrets_are_masked_where_settings_are_shown() {
    let keys = format!("k1:{}", "s".repeat(32));
    let config = Config::read(&sources(&[
        ("COUNTER_STORE_URL", "mongodb://ada:hunter2@db/?replicaSet=rs0"),
        ("COUNTER_JWT_KEYS", &keys),
    ]))
    .unwrap();
    let shown = config.describe();
    assert!(shown.contains("COUNTER_STORE_URL=mongodb://***\n") && shown.contains("COUNTER_JWT_KEYS=***\n"), "{shown}");
    assert!(!shown.contains("hunter2") && !shown.contains("sss"));
    assert!(!format!("{config:?}").contains("hunter2") && !format!("{config:?}").contains("sss"));
}

#[test]
fn every_default_parses() {
    for setting in SETTINGS.iter().filter(|setting| !setting.secret && !setting.default.is_empty()) {
        let read = Config::read(&sources(&[(setting.name, setting.default)]));
        assert!(read.is_ok(), "{}: {:?}", setting.name, read.err());
    }
}

#[test]
fn a_misspelt_setting_is_noticed() {
    let config = Config::read(&sources(&[("COUNTER_LISTN", "x"), ("COUNTER_API_PORT", "tcp://10.0.0.1:80")])).unwrap();
    assert_eq!(config.warnings, ["COUNTER_LISTN is set, but there is no such setting"]);
}
