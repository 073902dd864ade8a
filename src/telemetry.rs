//! Logs, traces and the metrics recorder: set up before anything else, flushed after everything else.

mod log;
mod spans;

use std::io::{BufWriter, IsTerminal as _};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use opentelemetry::propagation::TextMapCompositePropagator;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithTonicConfig as _, tonic_types::transport::ClientTlsConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::{Level, Metadata, Span};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};
use uuid::Uuid;

use crate::build_info::BUILD;
use crate::config::{LogFormat, OtlpProtocol, TelemetryConfig};
use crate::metrics;

/// How often the recorder's histograms are brought up to date: samples pile up otherwise.
const UPKEEP_PERIOD: Duration = Duration::from_secs(5);

/// Log lines that may wait to be written; beyond it, further ones are dropped and counted.
const LOG_BUFFER: usize = 16_384;

/// Bytes of log that are written at once where many lines wait.
const LOG_BLOCK: usize = 32 << 10;

/// Links a span may have. The SDK's own limit, 128, cuts silently, and a commit serves more calls than that.
const MAX_LINKS: u32 = 1_024;

/// The crate's own spans and events; what its dependencies trace is not exported, for the exporter would trace itself.
const OWN: &str = env!("CARGO_CRATE_NAME");

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The exporter's settings do not fit together.
    #[error("the OTLP exporter cannot be made: {0}")]
    Exporter(String),
    /// Something else has set it up before.
    #[error("telemetry was set up twice: {0}")]
    Twice(String),
}

/// Telemetry that is at work. [`Telemetry::shutdown`] sends what is left.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// Counts the log lines that nobody took in time.
    pub dropped_lines: ErrorCounter,
    /// Writes the last lines when it is dropped, for a second at most.
    log_guard: WorkerGuard,
}

/// Sets everything up. Must be called within the Tokio runtime: the gRPC exporter's channel lives there.
pub fn init(config: &TelemetryConfig, store: &'static str) -> Result<Telemetry, InitError> {
    let metrics = metrics::install().map_err(|error| InitError::Twice(error.to_string()))?;
    metrics::build_info(BUILD.version, BUILD.revision, BUILD.rustc, store);

    let provider = tracer_provider(config)?;
    opentelemetry::global::set_text_map_propagator(TextMapCompositePropagator::new(vec![
        Box::new(TraceContextPropagator::new()),
        Box::new(BaggagePropagator::new()),
    ]));
    let traces = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(OWN))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false)
        .with_level(false)
        // Events are log lines; as span events they would be there twice.
        .with_filter(Targets::new().with_target(OWN, LevelFilter::INFO))
        .with_filter(filter_fn(|metadata| metadata.is_span()));
    let pretty = match config.log_format {
        LogFormat::Auto => std::io::stdout().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let filter = EnvFilter::try_new(&config.log_filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // Written by a thread of its own: a reader of the log that stops must not stop the service. It flushes when no line waits.
    let stdout = BufWriter::with_capacity(LOG_BLOCK, std::io::stdout());
    let (writer, log_guard) = NonBlockingBuilder::default().buffered_lines_limit(LOG_BUFFER).finish(stdout);
    let dropped_lines = writer.error_counter();
    let logs = fmt::layer().with_writer(writer);
    let logs = if pretty {
        logs.with_target(false).boxed()
    } else {
        logs.event_format(log::Json).fmt_fields(log::NoFields).boxed()
    };
    tracing_subscriber::registry()
        .with(traces)
        .with(logs.with_filter(filter).with_filter(filter_fn(is_ours_or_harmless)))
        .try_init()
        .map_err(|error| InitError::Twice(error.to_string()))?;
    Ok(Telemetry { provider, metrics, dropped_lines, log_guard })
}

/// What other crates say below `info` can hold what callers sent, tokens included: it is never logged, whatever the filter.
fn is_ours_or_harmless(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with(OWN) || *metadata.level() <= Level::INFO
}

impl Telemetry {
    /// Keeps the recorder's histograms, and the count of lost log lines, up to date, for ever.
    pub async fn upkeep(metrics: PrometheusHandle, dropped_lines: ErrorCounter) {
        loop {
            tokio::time::sleep(UPKEEP_PERIOD).await;
            metrics::log_lines_dropped(dropped_lines.dropped_lines() as u64);
            let metrics = metrics.clone();
            // It ends in a panic only if the recorder does; the next round tries again.
            let _ = tokio::task::spawn_blocking(move || metrics.run_upkeep()).await;
        }
    }

    /// Sends the spans that are left, for at most this long: a dead collector must not hold up the exit.
    pub async fn shutdown(self, timeout: Duration) {
        let provider = self.provider;
        let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(timeout));
        if let Ok(Ok(Err(error))) = tokio::time::timeout(timeout + Duration::from_secs(1), flushed).await {
            tracing::warn!(%error, "the last spans were not exported");
        }
        drop(self.log_guard);
    }
}

/// The current span, where its trace is sampled. What nobody will see need not be noted.
pub fn sampled_span() -> Option<Span> {
    Context::current().span().span_context().is_sampled().then(Span::current)
}

/// There is always a provider, so that every request has a trace id; without an endpoint it samples nothing.
fn tracer_provider(config: &TelemetryConfig) -> Result<SdkTracerProvider, InitError> {
    let resource = resource(config);
    let text = |key: &'static str| resource.get(&key.into()).map(|value| value.to_string()).unwrap_or_default();
    metrics::target_info(text("service.name"), text("service.version"), text("service.instance.id"));
    let builder = SdkTracerProvider::builder().with_max_links_per_span(MAX_LINKS);
    let Some(protocol) = config.traces else {
        return Ok(builder.with_resource(resource).with_sampler(Sampler::AlwaysOff).build());
    };
    // Endpoint, headers, timeout and compression come from OTEL_EXPORTER_OTLP_*, sampler and batching from OTEL_TRACES_*
    // and OTEL_BSP_*: the SDK reads them.
    let exporter = match protocol {
        OtlpProtocol::HttpProtobuf => SpanExporter::builder().with_http().build(),
        OtlpProtocol::Grpc { tls: false } => SpanExporter::builder().with_tonic().build(),
        // Without this, gRPC trusts no certificate at all.
        OtlpProtocol::Grpc { tls: true } => {
            SpanExporter::builder().with_tonic().with_tls_config(ClientTlsConfig::new().with_enabled_roots()).build()
        }
    };
    let exporter = exporter.map_err(|error| InitError::Exporter(error.to_string()))?;
    let processor = spans::counted(exporter, config.span_queue);
    Ok(builder.with_resource(resource).with_span_processor(processor).build())
}

/// Who we are: what the environment says, and where it says nothing, the crate's name and an instance of its own.
fn resource(config: &TelemetryConfig) -> Resource {
    let mut builder = Resource::builder().with_attribute(KeyValue::new("service.version", BUILD.version));
    if !config.service_name_is_set {
        builder = builder.with_service_name(BUILD.name);
    }
    if !config.instance_id_is_set {
        builder = builder.with_attribute(KeyValue::new("service.instance.id", Uuid::new_v4().to_string()));
    }
    builder.build()
}
