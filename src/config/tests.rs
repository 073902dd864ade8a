use super::*;
use crate::auth::oauth::Dialect;

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
    sources.flags.insert("COUNTER_LISTEN".into(), String::new());
    assert_eq!(Config::read(&sources).unwrap().http.listen.port(), 1, "an empty flag counts as none too");
}

#[test]
fn a_secret_of_nothing_is_a_fault() {
    // A file that can be read, and holds nothing.
    let nothing = "/dev/null";
    for name in ["COUNTER_OAUTH_GITHUB_CLIENT_SECRET_FILE", "COUNTER_JWT_KEYS_FILE", "COUNTER_STORE_URL_FILE"] {
        let mut given = vec![(name, nothing)];
        if name.contains("GITHUB") {
            given.extend(&GITHUB[..2]);
        }
        let Faults(faults) = Config::read(&sources(&given)).unwrap_err();
        assert_eq!(faults, [format!("{name} names {nothing:?}, which is empty")]);
    }
}

#[test]
fn a_log_filter_that_says_no_level_is_a_fault() {
    for (filter, fits) in [
        ("info", true),
        ("OFF", true),
        ("warn,counter_api::service=info", true),
        ("wanr", false),
        ("counter_api", false),
        ("info,", true),
        (",", false),
        ("info,counter_api=", false),
        ("a=b=c", false),
    ] {
        assert_eq!(Config::read(&sources(&[("RUST_LOG", filter)])).is_ok(), fits, "{filter}");
    }
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
fn every_setting_is_read() {
    let shown = Config::read(&Sources::default()).unwrap().describe();
    for setting in SETTINGS {
        let line = format!("{}={}\n", setting.name, setting.default);
        assert!(shown.contains(&line), "{}: nothing reads it: see src/config/read.rs", setting.name);
    }
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

const GITHUB: [(&str, &str); 3] = [
    ("COUNTER_PUBLIC_URL", "https://counter.example.com/"),
    ("COUNTER_OAUTH_GITHUB_CLIENT_ID", "id"),
    ("COUNTER_OAUTH_GITHUB_CLIENT_SECRET", "hunter2"),
];

#[test]
fn a_known_provider_needs_an_id_and_a_secret() {
    let config = Config::read(&sources(&GITHUB)).unwrap();
    assert_eq!(config.oauth.public_url.as_deref(), Some("https://counter.example.com"));
    let [github] = &config.oauth.providers[..] else { panic!("{:?}", config.oauth) };
    assert_eq!((github.name.as_str(), github.display_name.as_str()), ("github", "GitHub"));
    assert_eq!((github.dialect, github.issuer.as_str()), (Dialect::GitHub, "https://github.com"));
    let shown = config.describe();
    assert!(shown.contains("COUNTER_OAUTH_GITHUB_CLIENT_ID=id\nCOUNTER_OAUTH_GITHUB_CLIENT_SECRET=***\n"), "{shown}");
    assert!(!format!("{config:?}{shown}").contains("hunter2") && config.warnings.is_empty());
}

#[test]
fn any_other_provider_needs_an_issuer_too() {
    let config = Config::read(&sources(&[
        ("COUNTER_PUBLIC_URL", "http://127.0.0.1:8080"),
        ("COUNTER_OAUTH_MY_COMPANY_CLIENT_ID", "id"),
        ("COUNTER_OAUTH_MY_COMPANY_CLIENT_SECRET", "secret"),
        ("COUNTER_OAUTH_MY_COMPANY_ISSUER", "http://[::1]:4000/realm/"),
        ("COUNTER_OAUTH_MY_COMPANY_SCOPES", "profile  openid"),
        ("COUNTER_OAUTH_UNUSED_CLIENT_ID", ""),
    ]))
    .unwrap();
    let [company] = &config.oauth.providers[..] else { panic!("{:?}", config.oauth) };
    assert_eq!((company.name.as_str(), company.display_name.as_str()), ("my-company", "My Company"));
    assert_eq!((company.issuer.as_str(), company.scopes.as_str()), ("http://[::1]:4000/realm/", "profile openid"));
}

#[test]
fn every_fault_of_every_provider_is_found() {
    let Faults(faults) = Config::read(&sources(&[
        ("COUNTER_OAUTH_GITHUB_CLIENT_ID", "id"),
        ("COUNTER_OAUTH_GITHUB_ISSUER", "http://github.example.com"),
        ("COUNTER_OAUTH_GOOGLE_CLIENT_SECRET", "hunter2"),
        ("COUNTER_OAUTH_GOOGLE_SCOPES", "email"),
        ("COUNTER_OAUTH_COMPANY_CLIENT_ID", "id"),
        ("COUNTER_OAUTH_COMPANY_CLIENT_SECRET_FILE", "/nowhere"),
        ("COUNTER_OAUTH_OTHER_ISSUER", "https://user:hunter2@other.example.com"),
        ("COUNTER_OAUTH_OTHER_CLIENT_ID", "id"),
        ("COUNTER_OAUTH_OTHER_CLIENT_SECRET", "secret"),
        ("COUNTER_OAUTH_TOKEN_CLIENT_ID", "id"),
        ("COUNTER_OAUTH_small_CLIENT_ID", "id"),
        ("COUNTER_OAUTH_MY-COMPANY_CLIENT_ID", "id"),
        ("COUNTER_OAUTH_TIMEOUT", "5"),
    ]))
    .unwrap_err();
    let expected = [
        "COUNTER_OAUTH_COMPANY_CLIENT_SECRET_FILE",
        "COUNTER_OAUTH_COMPANY_ISSUER",
        "COUNTER_OAUTH_GITHUB_CLIENT_SECRET",
        "COUNTER_OAUTH_GITHUB_ISSUER",
        "COUNTER_OAUTH_GOOGLE_CLIENT_ID",
        "COUNTER_OAUTH_GOOGLE_SCOPES",
        "COUNTER_OAUTH_MY-COMPANY_…",
        "COUNTER_OAUTH_OTHER_ISSUER",
        "COUNTER_OAUTH_TIMEOUT",
        "COUNTER_OAUTH_TOKEN_…",
        "COUNTER_OAUTH_small_…",
        "COUNTER_PUBLIC_URL",
    ];
    let mut found: Vec<_> = faults.iter().filter_map(|fault| fault.split([' ', ':']).next()).collect();
    found.sort_unstable();
    assert_eq!(found, expected, "{faults:#?}");
    assert!(!faults.concat().contains("hunter2"), "{faults:#?}");
}

#[test]
fn a_public_url_is_an_origin_that_secrets_may_be_sent_to() {
    for (url, fits) in [
        ("https://counter.example.com", true),
        ("http://localhost:8080", true),
        ("http://127.0.0.1", true),
        ("http://counter.example.com", false),
        ("https://counter.example.com/path", false),
        ("https://counter.example.com/?x", false),
        ("https://user@counter.example.com", false),
        ("counter.example.com", false),
        ("javascript:alert(1)", false),
    ] {
        assert_eq!(Config::read(&sources(&[("COUNTER_PUBLIC_URL", url)])).is_ok(), fits, "{url}");
    }
}
