//! What leaves by OTLP: spans, and log records where a setting asks for it.

use opentelemetry::KeyValue;
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{ExporterBuildError, LogExporter, SpanExporter, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use uuid::Uuid;

use super::{InitError, counted};
use crate::build_info::BUILD;
use crate::config::{OtlpProtocol, TelemetryConfig};
use crate::metrics;

/// Links a span may have. The SDK's own limit, 128, cuts silently, and a commit serves more calls than that.
const MAX_LINKS: u32 = 1_024;

/// There is always a provider, so that every request has a trace id; without an endpoint it samples nothing.
pub(super) fn tracer_provider(config: &TelemetryConfig, resource: Resource) -> Result<SdkTracerProvider, InitError> {
    let builder = SdkTracerProvider::builder().with_max_links_per_span(MAX_LINKS).with_resource(resource);
    let Some(protocol) = config.traces else {
        return Ok(builder.with_sampler(Sampler::AlwaysOff).build());
    };
    // Endpoint, headers, timeout and compression come from OTEL_EXPORTER_OTLP_*, sampler and batching from OTEL_TRACES_*
    // and OTEL_BSP_*: the SDK reads them.
    let exporter = match protocol {
        OtlpProtocol::HttpProtobuf => SpanExporter::builder().with_http().build(),
        OtlpProtocol::Grpc { tls: false } => SpanExporter::builder().with_tonic().build(),
        OtlpProtocol::Grpc { tls: true } => SpanExporter::builder().with_tonic().with_tls_config(tls()).build(),
    };
    Ok(builder.with_span_processor(counted::spans(exporter.map_err(refused)?, config.span_queue)).build())
}

/// The provider of log records, where they are to leave.
pub(super) fn logger_provider(
    config: &TelemetryConfig,
    resource: Resource,
) -> Result<Option<SdkLoggerProvider>, InitError> {
    let Some(protocol) = config.logs else { return Ok(None) };
    let exporter = match protocol {
        OtlpProtocol::HttpProtobuf => LogExporter::builder().with_http().build(),
        OtlpProtocol::Grpc { tls: false } => LogExporter::builder().with_tonic().build(),
        OtlpProtocol::Grpc { tls: true } => LogExporter::builder().with_tonic().with_tls_config(tls()).build(),
    };
    let processor = counted::logs(exporter.map_err(refused)?, config.log_queue);
    Ok(Some(SdkLoggerProvider::builder().with_resource(resource).with_log_processor(processor).build()))
}

/// Without this, gRPC trusts no certificate at all.
fn tls() -> ClientTlsConfig {
    ClientTlsConfig::new().with_enabled_roots()
}

fn refused(error: ExporterBuildError) -> InitError {
    InitError::Exporter(error.to_string())
}

/// Who we are: what the environment says, and where it says nothing, the crate's name and an instance of its own.
pub(super) fn resource(config: &TelemetryConfig) -> Resource {
    let mut builder = Resource::builder().with_attribute(KeyValue::new("service.version", BUILD.version));
    if !config.service_name_is_set {
        builder = builder.with_service_name(BUILD.name);
    }
    if !config.instance_id_is_set {
        builder = builder.with_attribute(KeyValue::new("service.instance.id", Uuid::new_v4().to_string()));
    }
    let resource = builder.build();
    let text = |key: &'static str| resource.get(&key.into()).map(|value| value.to_string()).unwrap_or_default();
    metrics::target_info(text("service.name"), text("service.version"), text("service.instance.id"));
    resource
}
