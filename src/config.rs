//! Settings: one catalogue, read from flags and the environment, all faults reported at once.
//!
//! A setting is written once, in [`SETTINGS`]: its flag, its place in `docs/configuration.md` and its default come from
//! there. A flag wins over the environment; a secret is never a flag, but can come from a file (`…_FILE`).

mod parse;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};

use crate::auth::token::Keyring;
use crate::domain::CounterValue;
pub use parse::Rate;

/// One setting of the catalogue.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// What holds where nothing is set, as a text that would parse, or empty.
    pub default: &'static str,
    /// Is it a secret? Then it is no flag, can come from a file, and is masked wherever it is shown.
    pub secret: bool,
    /// What it means.
    pub help: &'static str,
}

impl Setting {
    /// `COUNTER_LISTEN` is `--listen`, `RUST_LOG` is `--rust-log`.
    pub fn flag(&self) -> String {
        self.name.strip_prefix("COUNTER_").unwrap_or(self.name).to_ascii_lowercase().replace('_', "-")
    }

    /// The variable that names a file with the value.
    pub fn file_name(&self) -> String {
        format!("{}_FILE", self.name)
    }
}

macro_rules! settings {
    ($($id:ident = $name:literal, $default:literal, $secret:literal, $help:literal;)*) => {
        $(static $id: Setting = Setting { name: $name, default: $default, secret: $secret, help: $help };)*
        /// Every setting, in the order of the documentation.
        pub static SETTINGS: &[&Setting] = &[$(&$id),*];
    };
}

settings! {
    LISTEN = "COUNTER_LISTEN", "127.0.0.1:8080", false,
        "Address of the API. Port 0 picks a free one, and the log line `listening` says which.";
    ADMIN_LISTEN = "COUNTER_ADMIN_LISTEN", "127.0.0.1:9464", false,
        "Address of the admin listener: `/metrics`, `/version`. Never make it public.";
    STORE_URL = "COUNTER_STORE_URL", "redb:data/counter.redb", true,
        "`redb:PATH` for the embedded store, or a `mongodb://` or `mongodb+srv://` URI of a replica set.";
    DATABASE = "COUNTER_DATABASE", "thinkific_challenge", false, "Name of the MongoDB database.";
    JWT_KEYS = "COUNTER_JWT_KEYS", "", true,
        "Keys of the tokens, `kid:secret[,kid:secret…]`: the first signs, all verify; a secret has at least 32 bytes. The file is read again when it changes. Required with MongoDB; with redb, keys are made at the first start and kept beside the store with mode 0600.";
    JWT_ISSUER = "COUNTER_JWT_ISSUER", "counter-api", false, "The claim `iss` of the tokens.";
    JWT_AUDIENCE = "COUNTER_JWT_AUDIENCE", "counter-api", false, "The claim `aud` of the tokens.";
    TOKEN_TTL = "COUNTER_TOKEN_TTL", "600m", false, "How long a token is valid: 1s to 365d.";
    INITIAL_VALUE = "COUNTER_INITIAL_VALUE", "0", false,
        "What a new counter stands at before its first `next`: 0 to 2^53 − 1.";
    COUNTERS_PER_USER = "COUNTER_COUNTERS_PER_USER", "100", false,
        "How many counters a user may have: 1 to 1,000,000. The default counter is always allowed.";
    REQUEST_TIMEOUT = "COUNTER_REQUEST_TIMEOUT", "10s", false, "Deadline of a request: 100ms to 5m.";
    STORE_TIMEOUT = "COUNTER_STORE_TIMEOUT", "5s", false,
        "Deadline of one store operation, retries included: 100ms to 5m.";
    MAX_QUEUE = "COUNTER_MAX_QUEUE", "10000", false,
        "Calls that may wait for the store; beyond it they are refused with 503 `overloaded`.";
    READ_CONCERN = "COUNTER_READ_CONCERN", "linearizable", false,
        "Read concern of `current` on MongoDB: `linearizable`, or `majority`, which is faster and may show an older value during a failover.";
    RATE_LIMIT = "COUNTER_RATE_LIMIT", "off", false,
        "Limit for each token, on each replica, for example `200/s`; bursts of the same size. `off` for none.";
    AUTH_RATE_LIMIT = "COUNTER_AUTH_RATE_LIMIT", "10/m", false,
        "Limit of register and login for each client address (an IPv6 client is its /64), on each replica. `off` for load tests.";
    TRUSTED_PROXIES = "COUNTER_TRUSTED_PROXIES", "", false,
        "CIDRs, separated by commas, of proxies whose `X-Forwarded-For` (or else `Forwarded`) is believed.";
    CORS_ORIGINS = "COUNTER_CORS_ORIGINS", "", false,
        "Origins, separated by commas, whose pages may call the API, or `*`.";
    MAX_CONNECTIONS = "COUNTER_MAX_CONNECTIONS", "10000", false,
        "Open connections on the API; beyond it new ones wait to be accepted.";
    HEADER_TIMEOUT = "COUNTER_HEADER_TIMEOUT", "10s", false,
        "Deadline of a connection's first request head.";
    BODY_TIMEOUT = "COUNTER_BODY_TIMEOUT", "10s", false, "Deadline of a request's body.";
    IDLE_TIMEOUT = "COUNTER_IDLE_TIMEOUT", "75s", false,
        "A connection without a request for so long is closed. Keep it above the idle time of the load balancer.";
    DRAIN_DELAY = "COUNTER_DRAIN_DELAY", "5s", false,
        "After SIGTERM: unready but still serving, so that load balancers notice.";
    DRAIN_TIMEOUT = "COUNTER_DRAIN_TIMEOUT", "25s", false,
        "Then: how long requests under way may take to finish.";
    MONGODB_COMMENT = "COUNTER_MONGODB_COMMENT", "on", false,
        "Whether sampled MongoDB commands bear their `traceparent` as a comment: `on` or `off`.";
    LOG = "RUST_LOG", "info", false,
        "What is logged, in the syntax of tracing-subscriber's EnvFilter, for example `info,counter_api=debug`.";
    LOG_FORMAT = "COUNTER_LOG_FORMAT", "auto", false, "`json`, `pretty`, or `auto`: pretty on a terminal.";
}

/// OpenTelemetry's own variables that the service heeds; the SDK reads the rest by itself.
const OTEL_DISABLED: &str = "OTEL_SDK_DISABLED";
const OTEL_EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const OTEL_ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const OTEL_PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const OTEL_QUEUE: &str = "OTEL_BSP_MAX_QUEUE_SIZE";
const OTEL_SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const OTEL_RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// Everything that can be set, parsed.
#[derive(Debug)]
pub struct Config {
    /// Listeners and their deadlines.
    pub http: HttpConfig,
    /// The database.
    pub store: StoreConfig,
    /// Tokens.
    pub auth: AuthConfig,
    /// What keeps one user from harming another.
    pub limits: LimitsConfig,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
    /// What is odd, but no fault.
    pub warnings: Vec<String>,
    shown: Vec<(&'static Setting, String)>,
}

/// Listeners and their deadlines.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Address of the API.
    pub listen: SocketAddr,
    /// Address of the admin listener.
    pub admin_listen: SocketAddr,
    /// Deadline of a request.
    pub request_timeout: Duration,
    /// Deadline of a connection's first request head.
    pub header_timeout: Duration,
    /// Deadline of a request's body.
    pub body_timeout: Duration,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// Open connections on the API.
    pub max_connections: usize,
    /// Unready but serving.
    pub drain_delay: Duration,
    /// Finishing what is under way.
    pub drain_timeout: Duration,
    /// Origins whose pages may call the API.
    pub cors_origins: Vec<String>,
}

/// The database.
#[derive(Debug)]
pub struct StoreConfig {
    /// Which one.
    pub target: StoreTarget,
    /// Deadline of one operation, retries included.
    pub timeout: Duration,
    /// What a new counter stands at.
    pub initial_value: CounterValue,
    /// How many counters a user may have.
    pub counters_per_user: u64,
    /// Calls that may wait for the store.
    pub max_queue: usize,
}

/// Which database.
#[derive(Debug)]
pub enum StoreTarget {
    /// The embedded store in this file.
    Redb(PathBuf),
    /// A MongoDB replica set.
    MongoDb {
        /// The connection string, which may hold a password.
        uri: SecretString,
        /// The database's name.
        database: String,
        /// Read concern of `current`: linearizable rather than majority.
        linearizable_reads: bool,
        /// Whether sampled commands bear their `traceparent`.
        comment: bool,
    },
}

impl StoreTarget {
    /// The value of `db.system.name`.
    pub fn system(&self) -> &'static str {
        match self {
            Self::Redb(_) => "redb",
            Self::MongoDb { .. } => "mongodb",
        }
    }
}

/// Tokens.
#[derive(Debug)]
pub struct AuthConfig {
    /// Where the keys are.
    pub keys: KeySource,
    /// The claim `iss`.
    pub issuer: String,
    /// The claim `aud`.
    pub audience: String,
    /// How long a token is valid.
    pub token_ttl: Duration,
}

/// Where the keys of the tokens are.
#[derive(Debug)]
pub enum KeySource {
    /// Given by the environment: they stay as they are.
    Fixed(Keyring),
    /// In a file that is read again when it changes.
    File(PathBuf, Keyring),
    /// In this file, which is made where it is not there.
    Generated(PathBuf),
}

/// What keeps one user from harming another.
#[derive(Debug, Clone)]
pub struct LimitsConfig {
    /// For each token.
    pub per_token: Option<Rate>,
    /// Of register and login, for each client address.
    pub auth: Option<Rate>,
    /// Proxies whose word about the client's address is believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// Logs and traces.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// An EnvFilter.
    pub log_filter: String,
    /// JSON, or pretty, or as the terminal says.
    pub log_format: LogFormat,
    /// How traces leave; nothing: not at all.
    pub traces: Option<OtlpProtocol>,
    /// Spans that may wait for their export.
    pub span_queue: usize,
    /// Whether the environment names the service.
    pub service_name_is_set: bool,
    /// Whether the environment tells this instance from others.
    pub instance_id_is_set: bool,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
    /// Pretty on a terminal, else JSON.
    Auto,
}

/// How traces leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// OTLP over gRPC; with TLS where the endpoint is https.
    Grpc {
        /// Whether the endpoint is https.
        tls: bool,
    },
    /// OTLP over HTTP with protobuf bodies.
    HttpProtobuf,
}

/// What is wrong with the settings: each fault names its setting and what would be right.
#[derive(Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        writeln!(f, "{count} setting{} wrong:", if count == 1 { " is" } else { "s are" })?;
        self.0.iter().try_for_each(|fault| writeln!(f, "  {fault}"))
    }
}

impl std::error::Error for Faults {}

/// Where values come from.
#[derive(Debug, Default)]
pub struct Sources {
    /// By the name of the environment variable that the flag stands for.
    pub flags: HashMap<String, String>,
    /// The process's environment.
    pub environment: HashMap<OsString, OsString>,
}

impl Sources {
    /// Flags, and this process's environment.
    pub fn from_process(flags: HashMap<String, String>) -> Self {
        Self { flags, environment: std::env::vars_os().collect() }
    }
}

impl Config {
    /// Reads every setting and reports all faults at once.
    pub fn read(sources: &Sources) -> Result<Self, Faults> {
        let mut reader = Reader { sources, faults: Vec::new(), shown: Vec::new() };
        let config = reader.config();
        match config.filter(|_| reader.faults.is_empty()) {
            Some(config) => Ok(Self { warnings: unknown(sources), shown: reader.shown, ..config }),
            None => Err(Faults(reader.faults)),
        }
    }

    /// What is in use, secrets masked.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (setting, value) in &self.shown {
            let _ = writeln!(text, "{}={value}", setting.name);
        }
        text
    }
}

/// Variables that look like settings and are none: most often a slip of the pen. A warning, not a fault, for Kubernetes
/// makes `COUNTER_API_…` variables for a Service named counter-api.
fn unknown(sources: &Sources) -> Vec<String> {
    let known = |name: &str| SETTINGS.iter().any(|s| s.name == name || (s.secret && s.file_name() == name));
    let mut names: Vec<_> = sources
        .environment
        .keys()
        .filter_map(|name| name.to_str())
        .filter(|name| name.starts_with("COUNTER_") && !name.starts_with("COUNTER_API_") && !known(name))
        .collect();
    names.sort_unstable();
    names.into_iter().map(|name| format!("{name} is set, but there is no such setting")).collect()
}

/// `docs/configuration.md`.
pub fn reference() -> String {
    let mut text = String::from(
        "# Settings\n\n\
         <!-- Printed by `counter-api reference settings`; change src/config.rs, then `make reference`. -->\n\n\
         Each setting is an environment variable, and a flag of the same name: `COUNTER_LISTEN` is `--listen`. The flag wins; an\n\
         empty value counts as none. A secret is never a flag: it is also read from a file, whose path is in the variable with\n\
         `_FILE` added (`--store-url-file` and `--jwt-keys-file` as flags). All faults are reported in one go, and the exit code is\n\
         64. `counter-api check-config` says what would be used, with secrets masked.\n\n\
         Durations are written `250ms`, `10s`, `5m`, `1h`, `7d`; rates `10/s`, `10/m`, `10/h`.\n\n\
         | setting | default | means |\n|---|---|---|\n",
    );
    for setting in SETTINGS {
        let file = if setting.secret { " (`_FILE`)" } else { "" };
        let default = if setting.default.is_empty() { "none".to_owned() } else { format!("`{}`", setting.default) };
        let _ = writeln!(text, "| `{}`{file} | {default} | {} |", setting.name, setting.help);
    }
    text.push_str(
        "\nTraces leave by OTLP when `OTEL_EXPORTER_OTLP_ENDPOINT` (or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`) is set, over\n\
         `OTEL_EXPORTER_OTLP_PROTOCOL` = `http/protobuf` (the default) or `grpc`. The other `OTEL_*` variables mean what the\n\
         [OpenTelemetry specification](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/) says:\n\
         `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`, `OTEL_BSP_*`,\n\
         `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_EXPORTER_OTLP_TIMEOUT`, `OTEL_TRACES_EXPORTER=none`, `OTEL_SDK_DISABLED=true`.\n",
    );
    text
}

struct Reader<'a> {
    sources: &'a Sources,
    faults: Vec<String>,
    shown: Vec<(&'static Setting, String)>,
}

/// A secret's value and, where it came from a file, the file.
type Secret = (SecretString, Option<PathBuf>);

impl Reader<'_> {
    /// Everything, or nothing where there is a fault that leaves nothing to build with.
    fn config(&mut self) -> Option<Config> {
        // Every line reads before any `?` gives up, so that all faults are found.
        let listen = self.get(&LISTEN, parse::address);
        let admin_listen = self.get(&ADMIN_LISTEN, parse::address);
        let store_url = self.secret(&STORE_URL);
        let database = self.get(&DATABASE, parse::database);
        let jwt_keys = self.secret(&JWT_KEYS);
        let issuer = self.get(&JWT_ISSUER, parse::text);
        let audience = self.get(&JWT_AUDIENCE, parse::text);
        let token_ttl = self.get(&TOKEN_TTL, |t| parse::duration(t, "1s", "365d"));
        let initial_value = self.get(&INITIAL_VALUE, parse::counter_value);
        let counters_per_user = self.get(&COUNTERS_PER_USER, |t| parse::integer(t, 1, 1_000_000));
        let request_timeout = self.get(&REQUEST_TIMEOUT, |t| parse::duration(t, "100ms", "5m"));
        let store_timeout = self.get(&STORE_TIMEOUT, |t| parse::duration(t, "100ms", "5m"));
        let max_queue = self.get(&MAX_QUEUE, |t| parse::integer(t, 1, 1_000_000));
        let linearizable_reads =
            self.get(&READ_CONCERN, |t| parse::one_of(t, &[("linearizable", true), ("majority", false)]));
        let per_token = self.get(&RATE_LIMIT, parse::rate);
        let auth_rate = self.get(&AUTH_RATE_LIMIT, parse::rate);
        let trusted_proxies = self.get(&TRUSTED_PROXIES, |t| parse::list(t, parse::network));
        let cors_origins = self.get(&CORS_ORIGINS, |t| parse::list(t, parse::origin));
        let max_connections = self.get(&MAX_CONNECTIONS, |t| parse::integer(t, 1, 1_000_000));
        let header_timeout = self.get(&HEADER_TIMEOUT, |t| parse::duration(t, "100ms", "5m"));
        let body_timeout = self.get(&BODY_TIMEOUT, |t| parse::duration(t, "100ms", "5m"));
        let idle_timeout = self.get(&IDLE_TIMEOUT, |t| parse::duration(t, "1s", "1h"));
        let drain_delay = self.get(&DRAIN_DELAY, |t| parse::duration(t, "0s", "5m"));
        let drain_timeout = self.get(&DRAIN_TIMEOUT, |t| parse::duration(t, "0s", "10m"));
        let comment = self.get(&MONGODB_COMMENT, |t| parse::one_of(t, &[("on", true), ("off", false)]));
        let log_filter = self.get(&LOG, parse::log_filter);
        let log_format = self.get(&LOG_FORMAT, |t| {
            parse::one_of(t, &[("auto", LogFormat::Auto), ("json", LogFormat::Json), ("pretty", LogFormat::Pretty)])
        });
        let traces = self.traces();
        let target = self.target(store_url, database, linearizable_reads, comment);
        let keys = self.keys(jwt_keys, target.as_ref());

        let telemetry = TelemetryConfig {
            log_filter: log_filter?,
            log_format: log_format?,
            traces: traces?,
            span_queue: self.foreign(OTEL_QUEUE).and_then(|size| size.parse().ok()).unwrap_or(2048),
            service_name_is_set: self.foreign(OTEL_SERVICE_NAME).is_some() || self.resource_names("service.name"),
            instance_id_is_set: self.resource_names("service.instance.id"),
        };
        Some(Config {
            http: HttpConfig {
                listen: listen?,
                admin_listen: admin_listen?,
                request_timeout: request_timeout?,
                header_timeout: header_timeout?,
                body_timeout: body_timeout?,
                idle_timeout: idle_timeout?,
                max_connections: usize::try_from(max_connections?).ok()?,
                drain_delay: drain_delay?,
                drain_timeout: drain_timeout?,
                cors_origins: cors_origins?,
            },
            store: StoreConfig {
                target: target?,
                timeout: store_timeout?,
                initial_value: initial_value?,
                counters_per_user: counters_per_user?,
                max_queue: usize::try_from(max_queue?).ok()?,
            },
            auth: AuthConfig { keys: keys?, issuer: issuer?, audience: audience?, token_ttl: token_ttl? },
            limits: LimitsConfig { per_token: per_token?, auth: auth_rate?, trusted_proxies: trusted_proxies? },
            telemetry,
            warnings: Vec::new(),
            shown: Vec::new(),
        })
    }

    fn target(
        &mut self,
        url: Option<Secret>,
        database: Option<String>,
        linearizable_reads: Option<bool>,
        comment: Option<bool>,
    ) -> Option<StoreTarget> {
        let (url, _) = url?;
        let text = url.expose_secret();
        if let Some(path) = text.strip_prefix("redb:").filter(|path| !path.is_empty()) {
            return Some(StoreTarget::Redb(PathBuf::from(path)));
        }
        if text.starts_with("mongodb://") || text.starts_with("mongodb+srv://") {
            return Some(StoreTarget::MongoDb {
                uri: url,
                database: database?,
                linearizable_reads: linearizable_reads?,
                comment: comment?,
            });
        }
        // The value may hold a password, so it is not repeated.
        self.fault(&STORE_URL, "must be redb:PATH, or a URI that begins with mongodb:// or mongodb+srv://");
        None
    }

    fn keys(&mut self, keys: Option<Secret>, target: Option<&StoreTarget>) -> Option<KeySource> {
        let Some((text, file)) = keys else {
            return match target? {
                StoreTarget::Redb(path) => Some(KeySource::Generated(path.with_extension("jwt-keys"))),
                StoreTarget::MongoDb { .. } => {
                    self.fault(&JWT_KEYS, "is required with MongoDB, so that every replica signs with the same keys; for example k1:$(openssl rand -hex 32)");
                    None
                }
            };
        };
        match Keyring::parse(&text) {
            Ok(keyring) => Some(match file {
                Some(path) => KeySource::File(path, keyring),
                None => KeySource::Fixed(keyring),
            }),
            Err(fault) => {
                self.fault(&JWT_KEYS, &fault.to_string());
                None
            }
        }
    }

    fn traces(&mut self) -> Option<Option<OtlpProtocol>> {
        let off = self.foreign(OTEL_DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || self.foreign(OTEL_EXPORTER).is_some_and(|value| value == "none");
        let endpoint = OTEL_ENDPOINTS.iter().find_map(|name| self.foreign(name));
        let (Some(endpoint), false) = (endpoint, off) else { return Some(None) };
        let protocol = OTEL_PROTOCOLS.iter().find_map(|name| self.foreign(name).map(|value| (*name, value)));
        match protocol.as_ref().map(|(_, value)| value.as_str()) {
            None | Some("http/protobuf") => Some(Some(OtlpProtocol::HttpProtobuf)),
            Some("grpc") => Some(Some(OtlpProtocol::Grpc { tls: endpoint.starts_with("https:") })),
            Some(_) => {
                let name = protocol.map_or(OTEL_PROTOCOLS[1], |(name, _)| name);
                self.faults.push(format!("{name} must be grpc or http/protobuf"));
                None
            }
        }
    }

    fn resource_names(&self, attribute: &str) -> bool {
        let attributes = self.foreign(OTEL_RESOURCE).unwrap_or_default();
        attributes.split(',').any(|pair| pair.split('=').next().is_some_and(|name| name.trim() == attribute))
    }

    /// A variable that is not ours.
    fn foreign(&self, name: &str) -> Option<String> {
        let value = self.sources.environment.get(std::ffi::OsStr::new(name))?;
        value.to_str().filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// What is set: by flag, or else by the environment.
    fn raw(&mut self, name: &str) -> Option<String> {
        if let Some(value) = self.sources.flags.get(name) {
            return Some(value.clone());
        }
        let value = self.sources.environment.get(std::ffi::OsStr::new(name))?;
        match value.to_str() {
            Some(value) => Some(value.to_owned()).filter(|value| !value.is_empty()),
            None => {
                self.faults.push(format!("{name} must be UTF-8"));
                None
            }
        }
    }

    fn get<T>(&mut self, setting: &'static Setting, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.raw(setting.name).unwrap_or_else(|| setting.default.to_owned());
        match parse(&text) {
            Ok(value) => {
                self.shown.push((setting, text));
                Some(value)
            }
            Err(right) => {
                self.fault(setting, &format!("{right}, not {text:?}"));
                None
            }
        }
    }

    /// A secret from the environment, a file, or the default.
    fn secret(&mut self, setting: &'static Setting) -> Option<Secret> {
        let value = self.raw(setting.name);
        let file = self.raw(&setting.file_name());
        let (secret, shown) = match (value, file) {
            (Some(_), Some(_)) => {
                self.fault(setting, &format!("and {} are both set: set one of them", setting.file_name()));
                return None;
            }
            (Some(value), None) => {
                let shown = mask(&value);
                ((value.into(), None), shown)
            }
            (None, Some(path)) => match read_secret_file(Path::new(&path)) {
                Ok(value) => ((value, Some(PathBuf::from(&path))), format!("(from the file {path})")),
                Err(error) => {
                    self.faults.push(format!("{} names {path:?}, which cannot be read: {error}", setting.file_name()));
                    return None;
                }
            },
            (None, None) if setting.default.is_empty() => {
                self.shown.push((setting, String::new()));
                return None;
            }
            (None, None) => ((setting.default.into(), None), setting.default.to_owned()),
        };
        self.shown.push((setting, shown));
        Some(secret)
    }

    fn fault(&mut self, setting: &Setting, fault: &str) {
        self.faults.push(format!("{} {fault}", setting.name));
    }
}

/// The contents of a secret's file, without the line end that editors add.
pub fn read_secret_file(path: &Path) -> Result<SecretString, std::io::Error> {
    std::fs::read_to_string(path).map(|text| text.trim_end_matches(['\r', '\n']).into())
}

/// A secret as it may be shown: a path of the embedded store is none, of anything else only the scheme is left.
fn mask(value: &str) -> String {
    match value.split_once(':') {
        Some(("redb", _)) => value.to_owned(),
        Some((scheme @ ("mongodb" | "mongodb+srv"), _)) => format!("{scheme}://***"),
        _ => "***".to_owned(),
    }
}

#[cfg(test)]
mod tests;
