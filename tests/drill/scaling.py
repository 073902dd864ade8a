"""How the shipped files become those of a drill: what is changed, and a proof that nothing else is.

Rules: the durations of `for`, `keep_firing_for` and `interval`, of windows in brackets, and the age below which a replica counts as
young, are divided by one factor. Prometheus: intervals and addresses. Alertmanager: waits by the same factor, addresses, paths of keys.
What is no longer than a minute to begin with is divided by three at most: the time in which scrapes and probes see a fault is not divided,
and a cause must have been seen before its symptoms are told. With the factor 1 the rules are the shipped files, byte for byte.
"""

import re

import yaml

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = r"\d+[smhd]"
DELAYS = [rf"(?<=\bfor: ){DURATION}$", rf"(?<=keep_firing_for: ){DURATION}$", rf"(?<=group_wait: ){DURATION}$"]
SPANS = [rf"(?<=\binterval: ){DURATION}$", rf"(?<=\[){DURATION}(?=[\]:])", rf"(?<=:){DURATION}(?=\])",
         rf"(?<=group_interval: ){DURATION}$", rf"(?<=repeat_interval: ){DURATION}$"]
SHORT, SHORT_FACTOR = 60, 3
YOUNG = r"(?<=< )600$"


def seconds(duration):
    return int(duration[:-1]) * UNITS[duration[-1]]


def shorter(duration, factor):
    """In whole milliseconds, which Prometheus and Alertmanager both read."""
    return "%dms" % round(seconds(duration) * 1000 / factor)


def divided(text, factor):
    def delay(found):
        return shorter(found[0], min(factor, SHORT_FACTOR) if seconds(found[0]) <= SHORT else factor)

    if factor == 1:
        return text
    for patterns, change in ((DELAYS, delay), (SPANS, lambda found: shorter(found[0], factor))):
        for pattern in patterns:
            text = re.sub(pattern, change, text, flags=re.MULTILINE)
    return text


def rules(text, factor):
    scaled = divided(text, factor)
    if factor != 1:
        scaled = re.sub(YOUNG, "%g" % (600 / factor), scaled, flags=re.MULTILINE)
    assert without_times(text) == without_times(scaled), "more than times was changed"
    return scaled


def without_times(text):
    """What rules say but for times: each is a blank, and so is the age of a young replica."""
    blank = re.compile(r"(?<=\[)\d+m?[smhd](?=[\]:])|(?<=:)\d+m?[smhd](?=\])|(?<=< )\d+(\.\d+)?$", re.MULTILINE)
    groups = yaml.safe_load(text)["groups"]
    for group in groups:
        group.pop("interval", None)
        for rule in group["rules"]:
            for field in ("for", "keep_firing_for"):
                if field in rule:
                    rule[field] = ""
            rule["expr"] = blank.sub("", rule["expr"])
    return groups


def prometheus(text, rule_files, alertmanager, targets, stand_in, intervals=None):
    """The shipped configuration with other addresses, and where they are given, other intervals of scrapes and of evaluations.

    `targets` are, by job, lists of (target, labels). A job of the drill's own is added for what `stand_in` says.
    """
    config = yaml.safe_load(text)
    if intervals:
        config["global"].update(scrape_interval=intervals[0], scrape_timeout=intervals[0], evaluation_interval=intervals[1])
    config["rule_files"] = [str(path) for path in rule_files]
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager]
    for job in list(config["scrape_configs"]):
        name = job["job_name"]
        if name not in targets:
            config["scrape_configs"].remove(job)
            continue
        if intervals:
            job.pop("scrape_timeout", None)
        shipped = job["static_configs"][0]["labels"]
        job["static_configs"] = [
            {"targets": [target], "labels": {**{label: shipped[label] for label in ("namespace", "service")}, **labels}}
            for target, labels in targets[name]]
    config["scrape_configs"].append({"job_name": "stand-in", "honor_labels": True, "static_configs": [{"targets": [stand_in]}]})
    return yaml.safe_dump(config, sort_keys=False)


def alertmanager(text, directory, receiver, factor):
    text = divided(text, factor)
    for old, new in (("/etc/alertmanager/", "%s/" % directory), ("https://deadman.example.com", receiver.switch_url)):
        assert old in text, old
        text = text.replace(old, new)
    return "global:\n  pagerduty_url: %s/v2/enqueue\n%s" % (receiver.pagerduty_url, text)
