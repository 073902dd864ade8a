//! The only place with store spans and store latencies: one CLIENT span and one observation for each attempt of each
//! operation, time-outs and dropped attempts included.
//!
//! Measured here rather than from the driver's command events: an attempt that times out emits no end event there, and
//! each start event decodes the whole command.

use std::future::Future;
use std::time::Instant;

use opentelemetry::trace::TraceContextExt;
use tracing::{Instrument, Span, field, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{ErrorType, StoreError};
use crate::metrics::{self, StoreAttempt};
use crate::trace;

/// Measures the operations of one store.
#[derive(Debug, Clone)]
pub struct Instrumented {
    system: &'static str,
    namespace: String,
    known_codes: &'static [i32],
}

impl Instrumented {
    /// For a store of this `db.system.name` and this database, whose server has these error codes that metrics tell apart.
    pub fn new(system: &'static str, namespace: impl Into<String>, known_codes: &'static [i32]) -> Self {
        metrics::store_at_zero(system);
        Self { system, namespace: namespace.into(), known_codes }
    }

    /// Runs one attempt of `operation` on `collection` within a span of its own. `attempt` is called inside of the
    /// span, so [`traceparent`] is that of the attempt there.
    pub async fn run<T, F>(
        &self,
        operation: &'static str,
        collection: &'static str,
        attempt: impl FnOnce() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        // Span names after the convention: "{operation} {collection}", and the operation alone where there is no collection.
        let name = format!("{operation} {collection}");
        let span = info_span!(
            "store",
            otel.name = name.trim_end(),
            otel.kind = "client",
            db.system.name = self.system,
            db.operation.name = operation,
            db.collection.name = Some(collection).filter(|name| !name.is_empty()),
            db.namespace = %self.namespace,
            db.response.status_code = field::Empty,
            error.type = field::Empty,
            otel.status_code = field::Empty,
        );
        let mut observation = Observation {
            labels: StoreAttempt {
                system: self.system,
                operation,
                collection,
                namespace: &self.namespace,
                code: None,
                known_codes: self.known_codes,
                error_type: Some(ErrorType::Cancelled),
            },
            span: span.clone(),
            started: Instant::now(),
        };
        let result = span.in_scope(attempt).instrument(span).await;
        observation.labels.error_type = result.as_ref().err().map(StoreError::kind);
        observation.labels.code = result.as_ref().err().and_then(StoreError::cause).and_then(|cause| cause.code);
        result
    }
}

/// Records itself when it is dropped: also when the attempt's future is.
struct Observation<'a> {
    labels: StoreAttempt<'a>,
    span: Span,
    started: Instant,
}

impl Drop for Observation<'_> {
    fn drop(&mut self) {
        if let Some(error_type) = self.labels.error_type {
            self.span.record("error.type", error_type.as_str());
            self.span.record("otel.status_code", "ERROR");
        }
        if let Some(code) = self.labels.code {
            self.span.record("db.response.status_code", code.to_string());
        }
        let of = self.span.in_scope(trace::sampled_ids);
        metrics::store_attempt(self.labels, self.started.elapsed(), of);
    }
}

/// The W3C `traceparent` of the current span, where it is sampled: for the comment of a MongoDB command, so that a slow
/// query in the server's log leads to its trace.
pub fn traceparent() -> Option<String> {
    let context = Span::current().context();
    let context = context.span().span_context().clone();
    context.is_sampled().then(|| format!("00-{}-{}-01", context.trace_id(), context.span_id()))
}
