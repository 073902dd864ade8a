//! The catalogue: every setting once, with its default and its meaning.

use std::fmt::Write as _;

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
        $(pub(super) static $id: Setting = Setting { name: $name, default: $default, secret: $secret, help: $help };)*
        /// Every setting, in the order of the documentation.
        pub static SETTINGS: &[&Setting] = &[$(&$id),*];
    };
}

settings! {
    LISTEN = "COUNTER_LISTEN", "127.0.0.1:8080", false,
        "Address of the API. Port 0 picks a free one, and the log line `listening` says which.";
    ADMIN_LISTEN = "COUNTER_ADMIN_LISTEN", "127.0.0.1:9464", false,
        "Address of the admin listener: `/metrics`, `/version`, `/log-filter`. Never make it public.";
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
        "Calls that may wait for the store, 1 to 1,000,000; beyond it they are refused with 503 `overloaded`.";
    READ_CONCERN = "COUNTER_READ_CONCERN", "linearizable", false,
        "Read concern of `current` on MongoDB: `linearizable`, or `majority`, which is faster and may show an older value during a failover.";
    RATE_LIMIT = "COUNTER_RATE_LIMIT", "off", false,
        "Limit for each token, on each replica: 1 to 1,000,000 a second, minute or hour, for example `200/s`; bursts of the same size. `off` for none.";
    AUTH_RATE_LIMIT = "COUNTER_AUTH_RATE_LIMIT", "10/m", false,
        "Limit, written in the same way, of register, login, sign-in through a provider and deletion of an account, together, for each client address (an IPv6 client is its /64), on each replica. A sign-in through a provider counts twice: when the person comes back, and when the code is redeemed, each time that it is. `off` for load tests.";
    TRUSTED_PROXIES = "COUNTER_TRUSTED_PROXIES", "", false,
        "CIDRs, separated by commas, of proxies whose `X-Forwarded-For` (or else `Forwarded`) is believed.";
    CORS_ORIGINS = "COUNTER_CORS_ORIGINS", "", false,
        "Origins, separated by commas, whose pages may call the API, or `*`.";
    PUBLIC_URL = "COUNTER_PUBLIC_URL", "", false,
        "Where browsers reach the service, such as `https://counter.example.com`: no path, `http` on loopback only. Required where people sign in through a provider, whose redirect address is this and `/v1/oauth/<provider>/callback`.";
    OAUTH_TIMEOUT = "COUNTER_OAUTH_TIMEOUT", "5s", false,
        "Deadline of one call to a provider of sign-ins: 100ms to 30s.";
    MAX_CONNECTIONS = "COUNTER_MAX_CONNECTIONS", "10000", false,
        "Open connections on the API, 1 to 1,000,000; beyond it new ones wait to be accepted.";
    HEADER_TIMEOUT = "COUNTER_HEADER_TIMEOUT", "10s", false,
        "Deadline of a connection's first request head: 100ms to 5m.";
    BODY_TIMEOUT = "COUNTER_BODY_TIMEOUT", "10s", false, "Deadline of a request's body: 100ms to 5m.";
    IDLE_TIMEOUT = "COUNTER_IDLE_TIMEOUT", "75s", false,
        "A connection without a request for so long, 1s to 1h, is closed. Keep it above the idle time of the load balancer.";
    DRAIN_DELAY = "COUNTER_DRAIN_DELAY", "5s", false,
        "After SIGTERM: unready but still serving, so that load balancers notice, for 0s to 5m.";
    DRAIN_TIMEOUT = "COUNTER_DRAIN_TIMEOUT", "25s", false,
        "Then: how long requests under way may take to finish, 0s to 10m.";
    MONGODB_COMMENT = "COUNTER_MONGODB_COMMENT", "on", false,
        "Whether sampled MongoDB commands bear their `traceparent` as a comment: `on` or `off`.";
    METRICS = "COUNTER_METRICS", "on", false,
        "Whether metrics are kept: `on` or `off`. `off` is for measuring what they cost.";
    LOG = "RUST_LOG", "info", false,
        "What is logged: levels, and levels of targets as `target=level`, separated by commas, for example `info,counter_api=debug`. Other crates are never logged below `info`, for what they say there can hold secrets.";
    LOG_FORMAT = "COUNTER_LOG_FORMAT", "auto", false, "`json`, `pretty`, or `auto`: pretty on a terminal.";
}

/// The settings of each provider of sign-ins. `<PROVIDER>` is `GITHUB`, `GOOGLE`, `FACEBOOK`, or any name with an issuer.
/// They are read from the environment alone: flags cannot have names of the operator's own.
static PROVIDER_SETTINGS: &[Setting] = &[
    Setting {
        name: "COUNTER_OAUTH_<PROVIDER>_CLIENT_ID",
        default: "",
        secret: false,
        help: "What the provider calls this service. It switches the provider on.",
    },
    Setting {
        name: "COUNTER_OAUTH_<PROVIDER>_CLIENT_SECRET",
        default: "",
        secret: true,
        help: "The secret that the provider gave with it. Read at the start.",
    },
    Setting {
        name: "COUNTER_OAUTH_<PROVIDER>_ISSUER",
        default: "",
        secret: false,
        help: "The issuer of an OpenID Connect provider, whose discovery document says the rest; `http` on loopback only. Known for `GOOGLE`. For `GITHUB` the address of a GitHub Enterprise Server, for `FACEBOOK` another address for all of its calls.",
    },
    Setting {
        name: "COUNTER_OAUTH_<PROVIDER>_SCOPES",
        default: "",
        secret: false,
        help: "What is asked for, separated by spaces: `openid email`, and what serves the same purpose at `GITHUB` and `FACEBOOK`.",
    },
    Setting {
        name: "COUNTER_OAUTH_<PROVIDER>_DISPLAY_NAME",
        default: "",
        secret: false,
        help: "What the button says; otherwise made of the name.",
    },
];

/// `docs/configuration.md`.
pub fn reference() -> String {
    let mut text = String::from(
        "# Settings\n\n\
         <!-- Printed by `counter-api reference settings`; change src/config/catalogue.rs, then `make reference`. -->\n\n\
         Each setting is an environment variable, and a flag of the same name: `COUNTER_LISTEN` is `--listen`. The flag wins; an\n\
         empty value counts as none. A secret is never a flag: it is also read from a file, whose path is in the variable with\n\
         `_FILE` added (`--store-url-file` and `--jwt-keys-file` as flags). All faults are reported in one go, and the exit code is\n\
         64. `counter-api check-config` says what would be used, with secrets masked.\n\n\
         Durations are written `250ms`, `10s`, `5m`, `1h`, `7d`; rates `10/s`, `10/m`, `10/h`.\n\n\
         | setting | default | means |\n|---|---|---|\n",
    );
    for setting in SETTINGS.iter().copied().chain(PROVIDER_SETTINGS) {
        let file = if setting.secret { " (`_FILE`)" } else { "" };
        let default = if setting.default.is_empty() { "none".to_owned() } else { format!("`{}`", setting.default) };
        let _ = writeln!(text, "| `{}`{file} | {default} | {} |", setting.name, setting.help);
    }
    text.push_str(
        "\n`<PROVIDER>` is `GITHUB`, `GOOGLE`, `FACEBOOK`, or any other name (capitals, digits, `_`) with an issuer: see [sign-in](sign-in.md).\n\
         These are environment variables only.\n\n\
         Traces leave by OTLP when `OTEL_EXPORTER_OTLP_ENDPOINT` (or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`) is set, over\n\
         `OTEL_EXPORTER_OTLP_PROTOCOL` = `http/protobuf` (the default) or `grpc`. The other `OTEL_*` variables mean what the\n\
         [OpenTelemetry specification](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/) says:\n\
         `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`, `OTEL_BSP_*`,\n\
         `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_EXPORTER_OTLP_TIMEOUT`, `OTEL_TRACES_EXPORTER=none`, `OTEL_SDK_DISABLED=true`.\n\n\
         Log records leave the same way, beside standard output, with `OTEL_LOGS_EXPORTER=otlp` (and `OTEL_EXPORTER_OTLP_LOGS_ENDPOINT`,\n\
         `OTEL_EXPORTER_OTLP_LOGS_PROTOCOL`, `OTEL_BLRP_*`).\n",
    );
    text
}
