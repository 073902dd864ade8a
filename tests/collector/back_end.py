"""A back end as the products are, seen from a collector: OTLP over HTTP with protobuf. It keeps what it is sent."""

import gzip
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TRACES, METRICS, LOGS = ExportTraceServiceRequest, ExportMetricsServiceRequest, ExportLogsServiceRequest


@dataclass
class Request:
    """One request, decoded."""

    path: str
    headers: dict
    message: object


class BackEnd:
    """Takes each signal at its own path, from whoever brings these headers, and nothing else."""

    def __init__(self, paths=None, headers=None, encoding="gzip"):
        self.paths = paths or {"/v1/traces": TRACES, "/v1/metrics": METRICS, "/v1/logs": LOGS}
        self.headers = {name.lower(): value for name, value in (headers or {}).items()}
        self.encoding = encoding
        self.requests, self.refusals = [], []
        self.unavailable = 0
        self.lock = threading.Lock()
        back_end = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = back_end.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                self.send_response(status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, path, headers, body):
        """Answers with a status, as the real ones do."""
        with self.lock:
            if self.unavailable:
                self.unavailable -= 1
                return 503
            if any(headers.get(name) != value for name, value in self.headers.items()):
                return self.refuse(403, path, headers)
            if path not in self.paths:
                return self.refuse(404, path, headers)
            if headers.get("content-type") != "application/x-protobuf":
                return self.refuse(415, path, headers)
            if headers.get("content-encoding", "") != self.encoding:
                return self.refuse(400, path, headers)
            message = self.paths[path].FromString(gzip.decompress(body) if self.encoding == "gzip" else body)
            self.requests.append(Request(path, headers, message))
            return 200

    def refuse(self, status, path, headers):
        self.refusals.append((status, path, headers))
        return status

    def received(self, kind):
        """The messages of this kind so far."""
        with self.lock:
            return [request.message for request in self.requests if isinstance(request.message, kind)]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def eventually(what, check, seconds=30):
    """The first result of `check` that is true."""
    deadline = time.monotonic() + seconds
    while not (result := check()):
        assert time.monotonic() < deadline, f"in {seconds} s there was not: {what}"
        time.sleep(0.1)
    return result
