//! One JSON object a line: `timestamp`, `level`, `message`, `target`, `trace_id`, `span_id`, `trace_flags`, then the event's
//! own fields. Flat, so that every log tool finds them.

use std::fmt;

use opentelemetry::trace::TraceContextExt;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::domain::Timestamp;

/// The format.
pub(super) struct Json;

/// Spans' fields are not written: the trace has them.
pub(super) struct NoFields;

impl<'writer> FormatFields<'writer> for NoFields {
    fn format_fields<R: RecordFields>(&self, _: Writer<'writer>, _: R) -> fmt::Result {
        Ok(())
    }
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let metadata = event.metadata();
        let mut line = Map::new();
        line.insert("timestamp".into(), json!(Timestamp::now()));
        line.insert("level".into(), json!(metadata.level().as_str().to_lowercase()));
        line.insert("message".into(), fields.0.remove("message").unwrap_or_default());
        line.insert("target".into(), json!(metadata.target()));
        let context = opentelemetry::Context::current();
        let context = context.span().span_context().clone();
        if context.is_valid() {
            line.insert("trace_id".into(), json!(context.trace_id().to_string()));
            line.insert("span_id".into(), json!(context.span_id().to_string()));
            line.insert("trace_flags".into(), json!(format!("{:02x}", context.trace_flags().to_u8())));
        }
        for (name, value) in fields.0 {
            // What the service says of the line itself is not overwritten by an event's field.
            line.entry(name).or_insert(value);
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn insert(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, json!(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, json!(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, json!(format!("{value:?}")));
    }
}
