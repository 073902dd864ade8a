"""Small HTTP servers on the loopback interface, in a thread of the test."""

import http.server
import json
import ssl
import sys
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    """What each handler needs beyond its `do_GET` and `do_POST`."""

    def body(self):
        return self.rfile.read(int(self.headers["Content-Length"]))

    def reply(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    """Serves while it is started, or until its `with` is left; with TLS where it is given a file with key and certificate."""

    def __init__(self, handler, port=0, pem=None):
        super().__init__(("127.0.0.1", port), handler)
        if pem:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = "%s://localhost:%d" % ("https" if pem else "http", self.server_port)

    def start(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def stop(self):
        self.shutdown()
        self.server_close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def handle_error(self, *where):
        """Clients hang up on what is slow, and on certificates that they refuse; some are killed. All else is a fault of the test."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(*where)


class Answer(Server):
    """Answers everything alike, after a while, and keeps what it was asked: method, path and authorization. A body that is no bytes is JSON."""

    def __init__(self, status=200, body=b"", headers=(), delay=0.0, pem=None):
        self.requests = requests = []

        class Alike(Handler):
            def answer(self):
                requests.append((self.command, self.path, self.headers.get("Authorization")))
                time.sleep(delay)
                self.reply(status, body if isinstance(body, bytes) else json.dumps(body).encode(), headers)

            do_GET = do_POST = answer

        super().__init__(Alike, pem=pem)
