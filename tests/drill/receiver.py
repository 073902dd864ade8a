"""Who is called: PagerDuty's Events API v2 as strict as its reference, and a dead man's switch."""

import json
import time

import pagerduty
from servers import Handler, Server

HIGH, LOW = "h" * 32, "l" * 32
TOKEN = "the token of the dead man's switch"


class Told:
    """One incident: what was said of one dedup key."""

    def __init__(self, events):
        self.events = events
        self.first, self.event = next(((when, event) for when, event in events if event["event_action"] == "trigger"), (None, None))
        self.name = self.event["payload"]["class"] if self.event else "?"
        self.page = self.event is not None and self.event["routing_key"] == HIGH
        self.key = (self.name, "critical" if self.page else "warning")
        self.ended = next((when for when, event in reversed(events) if event["event_action"] == "resolve"), None)
        if events[-1][1]["event_action"] != "resolve":
            self.ended = None

    def faults(self, alerts):
        """What is wrong with it, beyond what the API would refuse. `alerts` has the summary's beginning and links by name and severity."""
        if not self.event:
            return ["a resolve without a trigger"]
        event, payload = self.event, self.event["payload"]
        severity = "critical" if self.page else "warning"
        rule = alerts.get((self.name, severity))
        if not rule:
            return ["no such alert: %s (%s)" % (self.name, severity)]
        notes, said = rule["annotations"], json.dumps(event)
        found = {
            "severity": payload["severity"] == severity,
            "summary": payload["summary"].startswith(notes["summary"].split("{{")[0]) and "\n" not in payload["summary"],
            "component and group": (payload["component"], payload["group"]) == ("counter-api", "counter-api"),
            "details": bool(payload["custom_details"].get("firing")),
            "links": [link["href"] for link in event["links"]] == [notes["runbook_url"], notes["dashboard_url"]],
            "client": event["client"] == "counter-api in counter-api" and event["client_url"] == notes["dashboard_url"],
            "a hole in a template": "<no value>" not in said and "{{" not in said,
            "one routing key": {each["routing_key"] for _, each in self.events} == {event["routing_key"]},
        }
        return [what for what, right in found.items() if not right]


class Receiver:
    def __init__(self):
        self.pager, self.signs = pagerduty.Receiver(), []
        signs = self.signs

        class Switch(Handler):
            def do_POST(self):
                body = json.loads(self.body())
                right = (self.path == "/counter-api" and self.headers["Authorization"] == "Bearer " + TOKEN
                         and body["commonLabels"]["alertname"] == "Watchdog")
                signs.append((time.monotonic(), right))
                self.reply(200)

        self.switch = Server(Switch)

    def __enter__(self):
        self.pager.start()
        self.switch.start()
        return self

    def __exit__(self, *_):
        self.pager.stop()
        self.switch.stop()

    @property
    def pagerduty_url(self):
        return self.pager.endpoint.removesuffix("/v2/enqueue")

    @property
    def switch_url(self):
        return self.switch.url

    def incidents(self):
        by_key = {}
        for when, event in list(self.pager.events):
            by_key.setdefault(event["dedup_key"], []).append((when, event))
        return [Told(events) for events in by_key.values()]
