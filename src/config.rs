//! Settings: one catalogue, read from flags and the environment, all faults reported at once.
//!
//! A setting is written once, in [`SETTINGS`]: its flag, its place in `docs/configuration.md` and its default come from
//! there. A flag wins over the environment; a secret is never a flag, but can come from a file (`…_FILE`).

mod catalogue;
mod oauth;
mod parse;
mod read;
mod telemetry;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

use crate::auth::keyring::Keyring;
use crate::auth::oauth::OauthConfig;
use crate::store::{Rules, mongo, redb};
pub use catalogue::{SETTINGS, Setting, reference};
pub use parse::{Rate, duration as parse_duration, log_filter as parse_log_filter};
use read::Reader;
pub use telemetry::{LogFormat, OtlpProtocol, TelemetryConfig};

/// Everything that can be set, parsed.
#[derive(Debug)]
pub struct Config {
    /// Listeners and their deadlines.
    pub http: HttpConfig,
    /// The database.
    pub store: StoreConfig,
    /// Tokens.
    pub auth: AuthConfig,
    /// Sign-in through others.
    pub oauth: OauthConfig,
    /// What keeps one user from harming another.
    pub limits: LimitsConfig,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
    /// What is odd, but no fault.
    pub warnings: Vec<String>,
    shown: Vec<(String, String)>,
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
    /// Unready but serving, after the signal to stop.
    pub drain_delay: Duration,
    /// Then: how long what is under way may take to finish.
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
    /// What operations on counters do.
    pub rules: Rules,
    /// Calls that may wait for the store; beyond it they are refused.
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
            Self::Redb(_) => redb::SYSTEM,
            Self::MongoDb { .. } => mongo::SYSTEM,
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
    /// Of what tries passwords or signs in, for each client address.
    pub auth: Option<Rate>,
    /// Proxies whose word about the client's address is believed.
    pub trusted_proxies: Vec<IpNet>,
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
        let mut reader = Reader::new(sources);
        let config = reader.config();
        match config.filter(|_| reader.faults.is_empty()) {
            Some(config) => Ok(Self { warnings: unknown(sources), shown: reader.shown, ..config }),
            None => Err(Faults(reader.faults)),
        }
    }

    /// What is in use, secrets masked.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.shown {
            let _ = writeln!(text, "{name}={value}");
        }
        text
    }
}

/// Is there a setting of this name? Those of a provider of sign-ins are there for every name that one can have.
pub fn is_setting(name: &str) -> bool {
    SETTINGS.iter().any(|s| s.name == name || (s.secret && s.file_name() == name)) || oauth::provider(name).is_some()
}

/// Variables that look like settings and are none: most often a slip of the pen. A warning, not a fault, for Kubernetes
/// makes `COUNTER_API_…` variables for a Service named counter-api.
fn unknown(sources: &Sources) -> Vec<String> {
    let mut names: Vec<_> = sources
        .environment
        .keys()
        .filter_map(|name| name.to_str())
        .filter(|name| name.starts_with("COUNTER_") && !name.starts_with("COUNTER_API_") && !is_setting(name))
        .collect();
    names.sort_unstable();
    names.into_iter().map(|name| format!("{name} is set, but there is no such setting")).collect()
}

#[cfg(test)]
mod tests;
