//! Logs, traces and the metrics recorder: set up before anything else, flushed after everything else.

mod counted;
mod flood;
mod level;
mod log;
mod otlp;

use std::any::Any;
use std::io::{BufWriter, IsTerminal as _};
use std::panic::PanicHookInfo;
use std::time::{Duration, Instant};

use opentelemetry::propagation::TextMapCompositePropagator;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Metadata};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use self::flood::FloodGate;
pub use self::flood::REQUESTS;
pub use self::level::{FilterError, LogFilter};
use crate::build_info::BUILD;
use crate::config::{LogFormat, TelemetryConfig};
use crate::metrics::{self, Exposition};

/// How often the recorder's histograms are brought up to date: samples pile up otherwise.
const UPKEEP_PERIOD: Duration = Duration::from_secs(5);

/// How often it is looked whether the runtime's timers are late.
const DELAY_PERIOD: Duration = Duration::from_millis(100);

/// Log lines that may wait to be written; beyond it, further ones are dropped and counted.
const LOG_BUFFER: usize = 16_384;

/// Bytes of log that are written at once where many lines wait.
const LOG_BLOCK: usize = 32 << 10;

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
    traces: SdkTracerProvider,
    logs: Option<SdkLoggerProvider>,
    /// Shows the metrics, where they are kept.
    pub metrics: Option<Exposition>,
    /// Says what is logged.
    pub log_filter: LogFilter,
    /// Counts the log lines that nobody took in time.
    dropped_lines: ErrorCounter,
    floods: FloodGate,
    /// Writes the last lines when it is dropped, for a second at most.
    log_guard: WorkerGuard,
}

/// Sets everything up. Must be called within the Tokio runtime: the gRPC exporter's channel lives there.
pub fn init(config: &TelemetryConfig, store: &'static str) -> Result<Telemetry, InitError> {
    let twice = |error: &dyn std::fmt::Display| InitError::Twice(error.to_string());
    // Without a recorder, what would be recorded is nothing.
    let metrics = config.metrics.then(metrics::install).transpose().map_err(|error| twice(&error))?;
    metrics::build_info(BUILD.version, BUILD.revision, BUILD.rustc, store);

    let resource = otlp::resource(config);
    let traces = otlp::tracer_provider(config, resource.clone())?;
    let logs = otlp::logger_provider(config, resource)?;
    opentelemetry::global::set_text_map_propagator(TextMapCompositePropagator::new(vec![
        Box::new(TraceContextPropagator::new()),
        Box::new(BaggagePropagator::new()),
    ]));
    let spans = tracing_opentelemetry::layer()
        .with_tracer(traces.tracer(OWN))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false)
        .with_level(false)
        // Events are log lines; as span events they would be there twice.
        .with_filter(Targets::new().with_target(OWN, LevelFilter::INFO))
        .with_filter(filter_fn(|metadata| metadata.is_span()));
    let (filter, log_filter) = LogFilter::new(&config.log_filter);
    let floods = FloodGate::default();
    let pretty = match config.log_format {
        LogFormat::Auto => std::io::stdout().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    // Written by a thread of its own: a reader of the log that stops must not stop the service. It flushes when no line waits.
    let stdout = BufWriter::with_capacity(LOG_BLOCK, std::io::stdout());
    let (writer, log_guard) = NonBlockingBuilder::default().buffered_lines_limit(LOG_BUFFER).finish(stdout);
    let dropped_lines = writer.error_counter();
    let lines = fmt::layer().with_writer(writer);
    let lines = if pretty {
        lines.with_target(false).boxed()
    } else {
        lines.event_format(log::Json).fmt_fields(log::NoFields).boxed()
    };
    // What is logged goes to both.
    let records = logs.as_ref().map(OpenTelemetryTracingBridge::new);
    let events =
        lines.and_then(records).with_filter(filter.and(floods.clone())).with_filter(filter_fn(is_ours_or_harmless));
    tracing_subscriber::registry().with(spans).with(events).try_init().map_err(|error| twice(&error))?;
    std::panic::set_hook(Box::new(panicked));
    Ok(Telemetry { traces, logs, metrics, log_filter, dropped_lines, floods, log_guard })
}

/// What other crates say below `info` can hold what callers sent, tokens included: it is never logged, whatever the filter.
fn is_ours_or_harmless(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with(OWN) || *metadata.level() <= Level::INFO
}

/// A panic is a log line like any other, with the trace in which it happened, and counted wherever it happens.
fn panicked(panic: &PanicHookInfo<'_>) {
    metrics::panicked();
    let text = panic_text(panic.payload()).unwrap_or("of another type");
    let location = panic.location().map(tracing::field::display);
    let thread = std::thread::current();
    tracing::error!(location, thread = thread.name(), "a panic: {text}");
}

/// What a panic says, where it says it in text.
pub fn panic_text(payload: &(dyn Any + Send)) -> Option<&str> {
    payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

impl Telemetry {
    /// Keeps the recorder's histograms, and the counts of lost log lines, up to date, for ever.
    pub fn keep_up(&self) {
        let (metrics, dropped_lines, floods) = (self.metrics.clone(), self.dropped_lines.clone(), self.floods.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(UPKEEP_PERIOD).await;
                metrics::log_lines_dropped(dropped_lines.dropped_lines() as u64);
                floods.report();
                if let Some(metrics) = metrics.clone() {
                    // It ends in a panic only if the recorder does; the next round tries again.
                    let _ = tokio::task::spawn_blocking(move || metrics.run_upkeep()).await;
                }
            }
        });
        tokio::spawn(async {
            loop {
                let due = Instant::now() + DELAY_PERIOD;
                tokio::time::sleep_until(due.into()).await;
                metrics::event_loop_delay(due.elapsed());
            }
        });
    }

    /// Sends what is left, for at most this long: a dead collector must not hold up the exit.
    pub async fn shutdown(self, timeout: Duration) {
        // While there are lines yet: what a flood has cost since it was last told.
        self.floods.report();
        let (traces, logs) = (self.traces, self.logs);
        // At once, for each may take the whole of it.
        tokio::join!(flush("spans", timeout, move || traces.shutdown_with_timeout(timeout)), async {
            if let Some(logs) = logs {
                flush("log records", timeout, move || logs.shutdown_with_timeout(timeout)).await;
            }
        });
        drop(self.log_guard);
    }
}

async fn flush(what: &'static str, timeout: Duration, shutdown: impl FnOnce() -> OTelSdkResult + Send + 'static) {
    let flushed = tokio::task::spawn_blocking(shutdown);
    let error = match tokio::time::timeout(timeout + Duration::from_secs(1), flushed).await {
        Ok(Ok(Ok(()))) => return,
        Ok(Ok(Err(error))) => error.to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(elapsed) => elapsed.to_string(),
    };
    tracing::warn!(error, what, "the last of what leaves by OTLP was not exported");
}
