#!/usr/bin/env python3
"""Takes numbers at a constant rate for a while and says whether any was lost, doubled or refused, and how long it was silent.

It registers a user of its own, so that the numbers of its counter must be 1, 2, 3 and so on. What it prints last is one line of
JSON. It ends with 1 if a number came twice, is missing without a call that can have taken it, or is behind the counter's end.

Each call goes out at its time, whether the ones before it have ended or not, as long as one of the threads is free.
"""

import argparse
import collections
import http.client
import json
import secrets
import select
import socket
import sys
import threading
import time
from urllib.parse import urlsplit

# A call that ends so may or may not have taken a number.
UNKNOWN = "unknown"
REFUSED = "refused"


class Caller:
    """One connection to the service, kept open or made anew for each call."""

    def __init__(self, url, keep_alive, timeout):
        self.host, self.port = url.hostname, url.port or 80
        self.keep_alive, self.timeout = keep_alive, timeout
        self.connection = None

    def call(self, method, path, body=None, headers=None):
        """The status and the body, or an exception that says whether anything was sent."""
        headers = dict(headers or {})
        if not self.keep_alive:
            headers["Connection"] = "close"
        # As every pool does: a connection that was closed while it was idle is not used again. One that is closed just then is.
        if self.connection is not None and select.select([self.connection.sock], [], [], 0)[0]:
            self.close()
        if self.connection is None:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
            try:
                connection.connect()
            except OSError as error:
                raise NothingSent(type(error).__name__) from error
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connection = connection
        try:
            self.connection.request(method, path, body, headers)
            response = self.connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Broken(type(error).__name__) from error
        if not self.keep_alive or response.will_close:
            self.close()
        return response.status, json.loads(text) if text else {}

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None


class NothingSent(Exception):
    """The connection could not be made."""


class Broken(Exception):
    """The connection broke after the call had left, perhaps."""


class Load:
    def __init__(self, options):
        self.options = options
        self.url = urlsplit(options.url)
        self.lock = threading.Lock()
        self.numbers = []
        self.ends = []
        self.failures = collections.Counter()
        self.failed_at = []
        self.unknown = 0
        self.latencies = []
        self.tickets = 0
        self.token = None

    def caller(self):
        return Caller(self.url, self.options.keep_alive, self.options.timeout)

    def register(self):
        """Or log in, where the user is there already."""
        caller = Caller(self.url, False, 30)
        email = self.options.email or f"load-{secrets.token_hex(6)}@example.com"
        body = json.dumps({"email": email, "password": "a long password"})
        for path in ("/v1/register", "/v1/login"):
            status, answer = caller.call("POST", path, body, {"Content-Type": "application/json"})
            if status in (200, 201):
                self.token = answer["token"]
                return
        raise SystemExit(f"no token: {status} {answer}")

    def current(self):
        deadline = time.monotonic() + 60
        while True:
            try:
                status, answer = Caller(self.url, False, 15).call("GET", "/v1/current", headers={"Authorization": f"Bearer {self.token}"})
                if status == 200:
                    return answer["value"]
            except (NothingSent, Broken):
                pass
            if time.monotonic() > deadline:
                raise SystemExit("the counter cannot be read")
            time.sleep(0.5)

    def run(self):
        self.register()
        first = self.current() + 1
        started = time.monotonic()
        threads = [threading.Thread(target=self.work, args=(started,)) for _ in range(self.options.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.report(first, self.current())

    def work(self, started):
        caller = self.caller()
        while True:
            with self.lock:
                ticket, self.tickets = self.tickets, self.tickets + 1
            at = started + ticket / self.options.rate
            if at - started >= self.options.seconds:
                break
            time.sleep(max(0.0, at - time.monotonic()))
            self.take(caller)
        caller.close()

    def take(self, caller):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Length": "0"}
        if self.options.keyed:
            headers["Idempotency-Key"] = secrets.token_hex(16)
        begun = time.monotonic()
        while True:
            number, outcome, kind = self.attempt(caller, headers)
            now = time.monotonic()
            with self.lock:
                if number is not None:
                    self.numbers.append(number)
                    self.ends.append(now)
                    self.latencies.append(now - begun)
                    return
                self.failures[kind] += 1
                self.failed_at.append(now)
                # A keyed call is repeated until it is definite; it is given up only as a fault of the service.
                if not self.options.keyed or now - begun > 60:
                    self.unknown += outcome == UNKNOWN
                    return
            time.sleep(0.2)

    def attempt(self, caller, headers):
        try:
            status, answer = caller.call("POST", "/v1/next", headers=headers)
        except NothingSent as error:
            return None, REFUSED, f"not connected: {error}"
        except Broken as error:
            return None, UNKNOWN, f"broken: {error}"
        except ValueError:
            return None, UNKNOWN, "no JSON"
        if status == 200:
            return answer["value"], None, None
        code = answer.get("code", "?")
        return None, UNKNOWN if code in ("outcome_unknown", "internal") else REFUSED, f"{status} {code}"

    def report(self, first, last):
        taken = sorted(self.numbers)
        doubled = len(taken) - len(set(taken))
        missing = (last - first + 1) - len(set(taken))
        beyond = sum(number > last or number < first for number in taken)
        ends = sorted(self.ends)
        silences = sorted((later - earlier for earlier, later in zip(ends, ends[1:])), reverse=True)
        latencies = sorted(self.latencies) or [0.0]
        wrong = doubled or beyond or missing > self.unknown
        result = {
            "calls": len(taken) + (0 if self.options.keyed else sum(self.failures.values())),
            "answered": len(taken),
            "failed_attempts": sum(self.failures.values()),
            "failures": dict(self.failures),
            "failing_for_s": round(max(self.failed_at) - min(self.failed_at), 2) if self.failed_at else 0,
            "longest_silence_s": round(silences[0], 2) if silences else None,
            "doubled": doubled,
            "missing": missing,
            "unknown_outcomes": self.unknown,
            "lost": beyond,
            "p50_ms": round(latencies[len(latencies) // 2] * 1000, 1),
            "p99_ms": round(latencies[len(latencies) * 99 // 100] * 1000, 1),
            "max_ms": round(latencies[-1] * 1000, 1),
            "counter": last,
            "verdict": "wrong" if wrong else "right",
        }
        print(json.dumps(result), flush=True)
        return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="such as http://192.168.49.2:30080")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rate", type=float, default=50, help="calls a second")
    parser.add_argument("--threads", type=int, default=20)
    parser.add_argument("--timeout", type=float, default=15, help="of one attempt, in seconds")
    parser.add_argument("--keep-alive", action="store_true", help="one connection for many calls, as pools do")
    parser.add_argument("--keyed", action="store_true", help="send an Idempotency-Key, and repeat until the outcome is definite")
    parser.add_argument("--email", help="of a user that may be there already")
    options = parser.parse_args()
    if not (0 < options.seconds <= 900 and 0 < options.rate <= 2000 and 0 < options.threads <= 200):
        parser.error("at most 900 seconds, 2000 calls a second, 200 threads")
    return Load(options).run()


if __name__ == "__main__":
    sys.exit(main())
