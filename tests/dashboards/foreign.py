"""Stand-ins for programs that are not started here: kube-state-metrics and k6, with the names and labels of theirs, and a
collector that takes spans and does nothing with them.

What comes from here says nothing about the service. It is served so that the panels of these programs have something to
draw, and so that their queries meet real names and labels.
"""

import math
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROUTES = {"/v1/next": 0.006, "/v1/current": 0.004, "/v1/counters/{name}/next": 0.009}


class Foreign:
    """Serves `/metrics` as kube-state-metrics and k6 would, and takes OTLP over HTTP."""

    def __init__(self):
        self.started, self.spike, self.collecting = time.monotonic(), False, True
        self.total = {"iterations": 0.0, "dropped": 0.0, "at": time.monotonic()}
        handler = type("Handler", (BaseHTTPRequestHandler,), {
            "do_GET": lambda request: self.scrape(request), "do_POST": lambda request: self.collect(request),
            "log_message": lambda *_: None, "protocol_version": "HTTP/1.1"})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        # Who asks may give up early, and that is no error here.
        self.server.handle_error = lambda *_: None
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.scrape_lock = threading.Lock()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def scrape(self, request):
        with self.scrape_lock:
            body = "".join(f"{line}\n" for line in self.lines()).encode()
        request.send_response(200)
        request.send_header("Content-Type", "text/plain; version=0.0.4")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def collect(self, request):
        length = int(request.headers.get("Content-Length") or 0)
        request.rfile.read(length)
        # An empty message of protobuf is what a collector answers that took everything.
        request.send_response(200 if self.collecting else 503)
        request.send_header("Content-Type", "application/x-protobuf")
        request.send_header("Content-Length", "0")
        request.end_headers()

    def lines(self):
        now = time.monotonic()
        wave = 1 + 0.2 * math.sin((now - self.started) / 7)
        pods = 5 if self.spike else 3
        kube = 'namespace="counter-api"'
        hpa = f'{kube},horizontalpodautoscaler="counter-api"'
        yield f'kube_deployment_spec_replicas{{{kube},deployment="counter-api"}} {pods}'
        yield f'kube_deployment_status_replicas_ready{{{kube},deployment="counter-api"}} {pods - int(now) % 2 * self.spike}'
        yield f"kube_horizontalpodautoscaler_spec_min_replicas{{{hpa}}} 3"
        yield f"kube_horizontalpodautoscaler_spec_max_replicas{{{hpa}}} 10"
        yield f"kube_horizontalpodautoscaler_status_current_replicas{{{hpa}}} {pods}"
        yield f"kube_horizontalpodautoscaler_status_desired_replicas{{{hpa}}} {5 if self.spike else 3}"
        for pod in range(3):
            restarts = int(pod == 0 and now - self.started > 60)
            labels = f'{kube},pod="counter-api-5d9c-{pod}",container="counter-api",uid="{pod}"'
            yield f"kube_pod_container_status_restarts_total{{{labels}}} {restarts}"

        rate = 90 * wave * (3 if self.spike else 1)
        self.total["iterations"] += rate * (now - self.total["at"])
        self.total["dropped"] += (20 if self.spike else 0) * (now - self.total["at"])
        self.total["at"] = now
        test = 'testid="2026-01-31-load",scenario="load"'
        yield f'k6_vus{{testid="2026-01-31-load"}} {int(20 * wave)}'
        yield 'k6_vus_max{testid="2026-01-31-load"} 50'
        yield f"k6_offered_rate{{{test}}} {rate + (20 if self.spike else 0)}"
        yield f"k6_iterations_total{{{test}}} {self.total['iterations']:.0f}"
        yield f"k6_dropped_iterations_total{{{test}}} {self.total['dropped']:.0f}"
        for name, seconds in ROUTES.items():
            labels = f'{test},name="{name}",method="POST",status="200",expected_response="true"'
            yield f"k6_http_reqs_total{{{labels}}} {self.total['iterations'] * 1.4 / len(ROUTES):.0f}"
            yield f"k6_http_req_duration_p95{{{labels}}} {seconds * wave * (3 if self.spike else 1)}"
            yield f"k6_http_req_duration_p99{{{labels}}} {seconds * 2 * wave * (3 if self.spike else 1)}"
            yield f"k6_http_req_failed_rate{{{labels}}} {0.002 if self.spike else 0}"
        for check in ("the number rises by one", "the answer is 200"):
            yield f'k6_checks_rate{{{test},check="{check}"}} {0.999 if self.spike else 1}'
