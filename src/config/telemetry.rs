//! Logs, traces and metrics: our settings of them, and OpenTelemetry's own variables.

use std::ffi::OsStr;

use axum::http::Uri;

use super::catalogue::{LOG, LOG_FORMAT, METRICS};
use super::parse;
use super::read::Reader;

/// Logs and traces.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// An EnvFilter.
    pub log_filter: String,
    /// JSON, or pretty, or as the terminal says.
    pub log_format: LogFormat,
    /// Whether metrics are kept.
    pub metrics: bool,
    /// How traces leave; nothing: not at all.
    pub traces: Option<OtlpProtocol>,
    /// Spans that may wait for their export.
    pub span_queue: usize,
    /// How log records leave beside standard output; nothing: not at all.
    pub logs: Option<OtlpProtocol>,
    /// Log records that may wait for their export.
    pub log_queue: usize,
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

/// How traces and log records leave.
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

// OpenTelemetry's own variables that the service heeds; the SDK reads the rest by itself.
const OTEL_DISABLED: &str = "OTEL_SDK_DISABLED";
const OTEL_TRACES_EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const OTEL_LOGS_EXPORTER: &str = "OTEL_LOGS_EXPORTER";
const OTEL_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const OTEL_TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const OTEL_LOGS_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT";
const OTEL_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const OTEL_TRACES_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
const OTEL_LOGS_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL";
const OTEL_SPAN_QUEUE: &str = "OTEL_BSP_MAX_QUEUE_SIZE";
const OTEL_LOG_QUEUE: &str = "OTEL_BLRP_MAX_QUEUE_SIZE";
const OTEL_SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const OTEL_RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// What the SDK lets wait for its export where nothing else is said.
const QUEUE: usize = 2048;

impl Reader<'_> {
    /// What is kept and told, where it leaves, and how.
    pub(super) fn telemetry(&mut self) -> Option<TelemetryConfig> {
        // Every line reads before any `?` gives up, so that all faults are found.
        let metrics = self.get(&METRICS, |t| parse::one_of(t, &[("on", true), ("off", false)]));
        let log_filter = self.get(&LOG, |t| parse::log_filter(t).map(|_| t.to_owned()));
        let log_format = self.get(&LOG_FORMAT, |t| {
            parse::one_of(t, &[("auto", LogFormat::Auto), ("json", LogFormat::Json), ("pretty", LogFormat::Pretty)])
        });
        let traces = match self.foreign(OTEL_TRACES_EXPORTER).as_deref() {
            Some("none") => Some(None),
            _ => self.otlp(OTEL_TRACES_ENDPOINT, OTEL_TRACES_PROTOCOL),
        };
        let logs = match self.foreign(OTEL_LOGS_EXPORTER).as_deref() {
            Some("otlp") => self.otlp(OTEL_LOGS_ENDPOINT, OTEL_LOGS_PROTOCOL),
            _ => Some(None),
        };
        Some(TelemetryConfig {
            log_filter: log_filter?,
            log_format: log_format?,
            metrics: metrics?,
            traces: traces?,
            span_queue: self.foreign(OTEL_SPAN_QUEUE).and_then(|size| size.parse().ok()).unwrap_or(QUEUE),
            logs: logs?,
            log_queue: self.foreign(OTEL_LOG_QUEUE).and_then(|size| size.parse().ok()).unwrap_or(QUEUE),
            service_name_is_set: self.foreign(OTEL_SERVICE_NAME).is_some() || self.resource_names("service.name"),
            instance_id_is_set: self.resource_names("service.instance.id"),
        })
    }

    /// How a signal leaves: by its own variables, or else by those of all signals.
    fn otlp(&mut self, own_endpoint: &str, own_protocol: &str) -> Option<Option<OtlpProtocol>> {
        let first = |names: [&str; 2]| {
            names.into_iter().find_map(|name| self.foreign(name).map(|value| (name.to_owned(), value)))
        };
        let endpoint = first([own_endpoint, OTEL_ENDPOINT]);
        let protocol = first([own_protocol, OTEL_PROTOCOL]);
        let off = self.foreign(OTEL_DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let (Some((name, endpoint)), false) = (endpoint, off) else { return Some(None) };
        let fits = endpoint.parse::<Uri>().is_ok_and(|uri| uri.authority().is_some() && uri.scheme().is_some());
        if !fits {
            // Not repeated: it can hold credentials.
            self.fault_of(format!("{name} must be a URL such as http://127.0.0.1:4318"));
        }
        match protocol {
            None => Some(Some(OtlpProtocol::HttpProtobuf)),
            Some((_, protocol)) if protocol == "http/protobuf" => Some(Some(OtlpProtocol::HttpProtobuf)),
            Some((_, protocol)) if protocol == "grpc" => {
                Some(Some(OtlpProtocol::Grpc { tls: endpoint.starts_with("https:") }))
            }
            Some((name, _)) => {
                self.fault_of(format!("{name} must be grpc or http/protobuf"));
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
        let value = self.sources.environment.get(OsStr::new(name))?;
        value.to_str().filter(|value| !value.is_empty()).map(str::to_owned)
    }
}
