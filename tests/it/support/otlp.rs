//! A collector that keeps the spans and log records that it is sent, over OTLP's gRPC or over its HTTP with protobuf.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// What the collector was sent so far.
#[derive(Clone, Default)]
struct Received {
    traces: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    logs: Arc<Mutex<Vec<ExportLogsServiceRequest>>>,
}

/// A collector on a free port. It lasts as long as the test's runtime.
pub(crate) struct Collector {
    address: SocketAddr,
    received: Received,
}

impl Collector {
    /// Speaks OTLP over gRPC.
    pub(crate) async fn grpc() -> Self {
        let (listener, address) = free_port().await;
        let received = Received::default();
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(received.clone()))
            .add_service(LogsServiceServer::new(received.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, received }
    }

    /// Speaks OTLP over HTTP/1.1 with protobuf.
    pub(crate) async fn http() -> Self {
        let (listener, address) = free_port().await;
        let received = Received::default();
        let accepting = received.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let received = accepting.clone();
                let answer = service_fn(move |request| received.clone().take_http(request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), answer));
            }
        });
        Self { address, received }
    }

    /// The endpoint for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The spans of one trace so far, each with its resource's attributes.
    pub(crate) fn trace(&self, trace_id: &str) -> Vec<(Span, Vec<KeyValue>)> {
        let received = self.received.traces.lock().unwrap();
        let resources = received.iter().flat_map(|request| &request.resource_spans);
        let spans = resources.flat_map(|of_resource| {
            let resource =
                of_resource.resource.as_ref().map(|resource| resource.attributes.clone()).unwrap_or_default();
            let spans = of_resource.scope_spans.iter().flat_map(|of_scope| of_scope.spans.clone());
            spans.map(move |span| (span, resource.clone()))
        });
        spans.filter(|(span, _)| hex(&span.trace_id) == trace_id).collect()
    }

    /// The log records of one trace so far.
    pub(crate) fn records(&self, trace_id: &str) -> Vec<LogRecord> {
        let received = self.received.logs.lock().unwrap();
        let scopes = received.iter().flat_map(|request| &request.resource_logs).flat_map(|logs| &logs.scope_logs);
        let records = scopes.flat_map(|logs| &logs.log_records);
        records.filter(|record| hex(&record.trace_id) == trace_id).cloned().collect()
    }

    /// Everything that came so far, as text to search in.
    pub(crate) fn text(&self) -> String {
        let (traces, logs) = (self.received.traces.lock().unwrap(), self.received.logs.lock().unwrap());
        format!("{traces:?}{logs:?}")
    }
}

async fn free_port() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.traces.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Received {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.logs.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

impl Received {
    async fn take_http(self, request: hyper::Request<Incoming>) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let answer = match path.as_str() {
            "/v1/traces" => {
                self.traces.lock().unwrap().push(ExportTraceServiceRequest::decode(body).unwrap());
                ExportTraceServiceResponse::default().encode_to_vec()
            }
            "/v1/logs" => {
                self.logs.lock().unwrap().push(ExportLogsServiceRequest::decode(body).unwrap());
                ExportLogsServiceResponse::default().encode_to_vec()
            }
            _ => panic!("nobody sends to {path}"),
        };
        Ok(hyper::Response::new(Full::new(answer.into())))
    }
}

/// Bytes of an id in lower-case hex.
pub(crate) fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A whole number.
pub(crate) fn integer(attributes: &[KeyValue], name: &str) -> Option<i64> {
    match attributes.iter().find(|attribute| attribute.key == name)?.value.as_ref()?.value.as_ref()? {
        any_value::Value::IntValue(number) => Some(*number),
        _ => None,
    }
}

/// The text of an attribute; numbers and flags as they are written.
pub(crate) fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == name)?.value.as_ref()?.value.as_ref()?;
    match value {
        any_value::Value::StringValue(text) => Some(text.clone()),
        any_value::Value::IntValue(number) => Some(number.to_string()),
        any_value::Value::BoolValue(flag) => Some(flag.to_string()),
        any_value::Value::DoubleValue(number) => Some(number.to_string()),
        _ => None,
    }
}
