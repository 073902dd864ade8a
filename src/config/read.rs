//! Reads the settings from flags, the environment and files, and gathers every fault on the way.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::catalogue::*;
use super::{AuthConfig, Config, HttpConfig, KeySource, LimitsConfig, Sources, StoreConfig, StoreTarget, parse};
use crate::auth::keyring::Keyring;
use crate::secret;
use crate::store::Rules;
use crate::store::mongo::check_uri;

/// Reads one setting after another.
pub(super) struct Reader<'a> {
    pub(super) sources: &'a Sources,
    pub(super) faults: Vec<String>,
    pub(super) shown: Vec<(String, String)>,
}

/// A secret's value and, where it came from a file, the file.
pub(super) type Secret = (SecretString, Option<PathBuf>);

impl<'a> Reader<'a> {
    pub(super) fn new(sources: &'a Sources) -> Self {
        Self { sources, faults: Vec::new(), shown: Vec::new() }
    }

    /// Everything, or nothing where there is a fault that leaves nothing to build with.
    pub(super) fn config(&mut self) -> Option<Config> {
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
        let telemetry = self.telemetry();
        let oauth = self.oauth();
        let target = self.target(store_url, database, linearizable_reads, comment);
        let keys = self.keys(jwt_keys, target.as_ref());

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
                rules: Rules { initial_value: initial_value?, counters_per_user: counters_per_user? },
                max_queue: usize::try_from(max_queue?).ok()?,
            },
            auth: AuthConfig { keys: keys?, issuer: issuer?, audience: audience?, token_ttl: token_ttl? },
            oauth: oauth?,
            limits: LimitsConfig { per_token: per_token?, auth: auth_rate?, trusted_proxies: trusted_proxies? },
            telemetry: telemetry?,
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
            if let Err(fault) = check_uri(&url) {
                self.fault(&STORE_URL, fault);
            }
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

    /// What is set: by flag, or else by the environment.
    pub(super) fn raw(&mut self, name: &str) -> Option<String> {
        if let Some(value) = self.sources.flags.get(name).filter(|value| !value.is_empty()) {
            return Some(value.clone());
        }
        let value = self.sources.environment.get(OsStr::new(name))?;
        match value.to_str() {
            Some(value) => Some(value.to_owned()).filter(|value| !value.is_empty()),
            None => {
                self.faults.push(format!("{name} must be UTF-8"));
                None
            }
        }
    }

    pub(super) fn get<T>(&mut self, setting: &Setting, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.get_or(setting.name, setting.default, parse)
    }

    /// The setting of this name, or else this default.
    pub(super) fn get_or<T>(
        &mut self,
        name: &str,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.raw(name).unwrap_or_else(|| default.to_owned());
        match parse(&text) {
            Ok(value) => {
                self.shown.push((name.to_owned(), text));
                Some(value)
            }
            Err(right) => {
                // What holds an @ may hold a password before it.
                let told =
                    if text.is_empty() || text.contains('@') { String::new() } else { format!(", not {text:?}") };
                self.fault_of(format!("{name} {right}{told}"));
                None
            }
        }
    }

    /// A secret from the environment, a file, or the default.
    fn secret(&mut self, setting: &Setting) -> Option<Secret> {
        self.secret_or(setting.name, setting.default)
    }

    /// The secret of this name, or else this default.
    pub(super) fn secret_or(&mut self, name: &str, default: &str) -> Option<Secret> {
        let of_file = format!("{name}_FILE");
        let (value, file) = (self.raw(name), self.raw(&of_file));
        let (secret, shown) = match (value, file) {
            (Some(_), Some(_)) => {
                self.fault_of(format!("{name} and {of_file} are both set: set one of them"));
                return None;
            }
            (Some(value), None) => {
                let shown = mask(&value);
                ((value.into(), None), shown)
            }
            (None, Some(path)) => match secret::read_file(Path::new(&path)) {
                Ok(value) if value.expose_secret().trim().is_empty() => {
                    self.faults.push(format!("{of_file} names {path:?}, which is empty"));
                    return None;
                }
                Ok(value) => ((value, Some(PathBuf::from(&path))), format!("(from the file {path})")),
                Err(error) => {
                    self.faults.push(format!("{of_file} names {path:?}, which cannot be read: {error}"));
                    return None;
                }
            },
            (None, None) if default.is_empty() => {
                self.shown.push((name.to_owned(), String::new()));
                return None;
            }
            (None, None) => ((default.into(), None), default.to_owned()),
        };
        self.shown.push((name.to_owned(), shown));
        Some(secret)
    }

    fn fault(&mut self, setting: &Setting, fault: &str) {
        self.fault_of(format!("{} {fault}", setting.name));
    }

    /// A variable of two signals that is wrong is one fault.
    pub(super) fn fault_of(&mut self, fault: String) {
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }
}

/// A secret as it may be shown: a path of the embedded store is none, of anything else only the scheme is left.
fn mask(value: &str) -> String {
    match value.split_once(':') {
        Some(("redb", _)) => value.to_owned(),
        Some((scheme @ ("mongodb" | "mongodb+srv"), _)) => format!("{scheme}://***"),
        _ => "***".to_owned(),
    }
}
