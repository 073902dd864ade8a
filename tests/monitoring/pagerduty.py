"""A receiver of PagerDuty's Events API v2 that is as strict as the API's reference: https://developer.pagerduty.com/docs/events-api-v2"""

import json
import re
import time

from servers import Handler, Server

ROUTING_KEY = "0123456789abcdef0123456789ABCDEF"


class Receiver(Server):
    """Keeps the events it took, and what was wrong with those it refused. `answers` are statuses to give first instead."""

    def __init__(self, answers=()):
        self.events, self.refused, self.pending = [], [], list(answers)
        receiver = self

        class Events(Handler):
            def do_POST(self):
                body = self.body()
                if receiver.pending:
                    self.say(receiver.pending.pop(0), {"status": "throttled"})
                    return
                faults = faults_of(self.path, self.headers, body)
                if faults:
                    receiver.refused.append(faults)
                    self.say(400, {"status": "invalid event", "message": "Event object is invalid", "errors": faults})
                    return
                event = json.loads(body)
                receiver.events.append((time.monotonic(), event))
                self.say(202, {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]})

            def say(self, status, answer):
                self.reply(status, json.dumps(answer).encode(), [("Content-Type", "application/json")])

        super().__init__(Events)
        self.endpoint = "http://127.0.0.1:%d/v2/enqueue" % self.server_port

    def of(self, key):
        """The events with this dedup key, in order."""
        return [event for _, event in self.events if event["dedup_key"] == key]


def faults_of(path, headers, body):
    """What the Events API v2 would refuse, and what it would take and cut off silently."""
    faults = []

    def check(right, fault):
        if not right:
            faults.append(fault)

    def text(value, most):
        return isinstance(value, str) and 0 < len(value) <= most

    check(path == "/v2/enqueue", "path %s" % path)
    check(headers.get("Content-Type") == "application/json", "content type")
    check(len(body) <= 512 * 1024, "more than 512 KB")
    try:
        event = json.loads(body)
        assert isinstance(event, dict)
    except (ValueError, AssertionError):
        return faults + ["no JSON object"]
    check(re.fullmatch(r"[0-9A-Za-z]{32}", str(event.get("routing_key"))), "routing_key")
    check(event.get("event_action") in ("trigger", "acknowledge", "resolve"), "event_action")
    check(text(event.get("dedup_key"), 255), "dedup_key")
    check(not set(event) - {"routing_key", "event_action", "dedup_key", "payload", "images", "links", "client", "client_url"}, "unknown field")
    payload = event.get("payload")
    if event.get("event_action") != "trigger" and payload is None:
        return faults
    if not isinstance(payload, dict):
        return faults + ["payload"]
    check(text(payload.get("summary"), 1024), "summary")
    check(text(payload.get("source"), 1024), "source")
    check(payload.get("severity") in ("critical", "error", "warning", "info"), "severity")
    for name in ("component", "group", "class"):
        check(name not in payload or text(payload[name], 1024), name)
    check(isinstance(payload.get("custom_details", {}), dict), "custom_details")
    check(not set(payload) - {"summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details"}, "unknown field")
    for link in event.get("links", []):
        check(text(link.get("href"), 2048) and link["href"].startswith("https://"), "link")
    return faults
