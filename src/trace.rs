//! The trace that the code at work belongs to.

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use tracing::Span;

use crate::metrics::SpanIds;

/// The current span, where its trace is sampled. What nobody will see need not be noted.
pub fn sampled_span() -> Option<Span> {
    sampled_ids().map(|_| Span::current())
}

/// The current trace's id as it is told to callers, who may name it when they ask for help.
pub fn trace_id() -> String {
    Context::current().span().span_context().trace_id().to_string()
}

/// The ids of the current span, where its trace is sampled.
pub fn sampled_ids() -> Option<SpanIds> {
    let context = Context::current();
    let span = context.span();
    let span = span.span_context();
    span.is_sampled().then(|| SpanIds { trace_id: span.trace_id(), span_id: span.span_id() })
}
