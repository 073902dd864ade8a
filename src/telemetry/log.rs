//! One JSON object a line: `timestamp`, `level`, `message`, `target`, `trace_id`, `span_id`, `trace_flags`, then the event's
//! own fields. Flat, so that every log tool finds them.

use std::fmt;

use opentelemetry::trace::TraceContextExt;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
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
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut line = Members::with_capacity(512);
        line.add("timestamp", &Timestamp::now());
        line.add("level", level(*metadata.level()));
        // The SDK's own events have a name and no message.
        line.add("message", fields.message.as_deref().unwrap_or(metadata.name()));
        line.add("target", metadata.target());
        let context = opentelemetry::Context::current();
        let span = context.span();
        let span = span.span_context();
        if span.is_valid() {
            line.add("trace_id", &format_args!("{}", span.trace_id()));
            line.add("span_id", &format_args!("{}", span.span_id()));
            line.add("trace_flags", &format_args!("{:02x}", span.trace_flags().to_u8()));
        }
        line.append(fields.others);
        writer.write_str(line.object().ok_or(fmt::Error)?)?;
        writer.write_char('\n')
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// Members of a JSON object, written as they come: there is a line for every request.
#[derive(Default)]
struct Members(Vec<u8>);

impl Members {
    fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// A member that cannot be written is left out as a whole.
    fn add(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        let end = self.0.len();
        self.0.push(b',');
        let name = serde_json::to_writer(&mut self.0, name);
        self.0.push(b':');
        if name.and_then(|()| serde_json::to_writer(&mut self.0, value)).is_err() {
            self.0.truncate(end);
        }
    }

    fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// The object, where there is a member at all. What serde_json writes is UTF-8.
    fn object(&mut self) -> Option<&str> {
        *self.0.first_mut()? = b'{';
        self.0.push(b'}');
        std::str::from_utf8(&self.0).ok()
    }
}

#[derive(Default)]
struct Fields {
    message: Option<String>,
    others: Members,
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.others.add(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.add(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.add(field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.add(field.name(), &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = Some(value.to_owned()),
            name => self.others.add(name, value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = Some(format!("{value:?}")),
            name => self.others.add(name, &format_args!("{value:?}")),
        }
    }
}
