//! What becomes of spans and log records, counted: the SDK drops them silently when its queue is full, and keeps the number
//! to itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::logs::Severity;
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{BatchLogProcessor, LogBatch, LogExporter, LogProcessor, SdkLogRecord};
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};

use crate::metrics::Signal;

/// What waits for its export, bounded by the SDK's own bound: refused here, nothing is dropped where nobody sees it.
#[derive(Debug, Clone)]
struct Queue {
    signal: Signal,
    bound: usize,
    pending: Arc<AtomicUsize>,
}

impl Queue {
    fn new(signal: Signal, bound: usize) -> Self {
        Self { signal, bound, pending: Arc::default() }
    }

    /// Is there room for one more?
    fn enter(&self) -> bool {
        let room = self
            .pending
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |pending| (pending < self.bound).then_some(pending + 1));
        self.signal.processed(room.is_err());
        room.is_ok()
    }

    fn leave(&self, count: usize) {
        self.pending.fetch_sub(count, Ordering::AcqRel);
    }
}

/// Something of the SDK, and the queue that is counted in front of it and behind it.
#[derive(Debug)]
struct Counted<T> {
    inner: T,
    queue: Queue,
}

/// A batch processor in front of this exporter, both counted. `bound` is the bound of the SDK's queue.
pub(super) fn spans(exporter: impl SpanExporter + 'static, bound: usize) -> impl SpanProcessor + 'static {
    let queue = Queue::new(Signal::Spans, bound);
    let exporter = Counted { inner: exporter, queue: queue.clone() };
    Counted { inner: BatchSpanProcessor::builder(exporter).build(), queue }
}

/// The same for log records.
pub(super) fn logs(exporter: impl LogExporter + 'static, bound: usize) -> impl LogProcessor + 'static {
    let queue = Queue::new(Signal::Logs, bound);
    let exporter = Counted { inner: exporter, queue: queue.clone() };
    Counted { inner: BatchLogProcessor::builder(exporter).build(), queue }
}

impl SpanProcessor for Counted<BatchSpanProcessor> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.queue.enter() {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.queue.leave(spans);
        let result = self.inner.export(batch).await;
        self.queue.signal.exported(spans as u64, result.is_err());
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl LogProcessor for Counted<BatchLogProcessor> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.queue.enter() {
            self.inner.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.inner.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Counted<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let records = batch.iter().count();
        self.queue.leave(records);
        let result = self.inner.export(batch).await;
        self.queue.signal.exported(records as u64, result.is_err());
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.inner.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
