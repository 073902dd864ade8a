//! One JSON object a line: `timestamp`, `level`, `message`, `target`, `trace_id`, `span_id`, `trace_flags`, then the event's
//! own fields. Flat, so that every log tool finds them.

use std::fmt;

use opentelemetry::trace::TraceContextExt;
use serde::Serializer as _;
use serde_json::{Value, json};
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
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let mut line: Vec<(&'static str, Value)> = vec![
            ("timestamp", json!(Timestamp::now())),
            ("level", json!(metadata.level().as_str().to_lowercase())),
            // The SDK's own events have a name and no message.
            ("message", if fields.message.is_null() { json!(metadata.name()) } else { fields.message }),
            ("target", json!(metadata.target())),
        ];
        let context = opentelemetry::Context::current();
        let context = context.span().span_context().clone();
        if context.is_valid() {
            line.push(("trace_id", json!(context.trace_id().to_string())));
            line.push(("span_id", json!(context.span_id().to_string())));
            line.push(("trace_flags", json!(format!("{:02x}", context.trace_flags().to_u8()))));
        }
        line.extend(fields.others);
        let mut text = Vec::with_capacity(512);
        let mut json = serde_json::Serializer::new(&mut text);
        json.collect_map(line).map_err(|_| fmt::Error)?;
        // What serde_json writes is UTF-8.
        writer.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)?;
        writer.write_char('\n')
    }
}

#[derive(Default)]
struct Fields {
    message: Value,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn insert(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => self.message = value,
            name => self.others.push((name, value)),
        }
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
