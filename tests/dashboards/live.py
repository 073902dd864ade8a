"""Every expression of every panel, asked of a real Prometheus that scrapes three real replicas under load and trouble.

    live.py --binary target/debug/counter-api [--pictures DIR] [--keep]

Starts a replica set behind proxies, three replicas, Prometheus with the shipped rules (their windows shorter), and callers;
then one trouble after the other: MongoDB's primary killed, of which the README has a picture, a load spike, a storm of wrong
passwords, one replica saturated, MongoDB slow. In the end it asks every expression, with every variable expanded, over the whole
run, and fails on an error, an empty answer, a flat line where something should move, a number that its unit cannot have, or a
legend that names a label which is not there. And each trouble must show in the panel of the overview that is named for it.

kube-state-metrics and k6 are stand-ins (foreign.py), and the month before the run is made up (month.py); everything of the
service, MongoDB and Prometheus is real.
"""

import argparse
import json
import math
import shutil
import sys
import tempfile
import time
from pathlib import Path

import yaml

import month
import story
from answers import Asker, faults
from board import ROOT, all_values, annotations, boards, queries
from foreign import Foreign
from load import Load
from stack import SCRAPE, Blackbox, Prometheus, ReplicaSet, Service

CALM, TROUBLE = 25, 30
# Before the first of them, so that its picture shows what all being well looks like.
FIRST_CALM = 60
KEYS = "live:a-secret-of-the-live-run-of-32-bytes-or-more"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--binary", type=Path, default=ROOT / "target" / "debug" / "counter-api")
    arguments.add_argument("--prometheus", type=Path, default=ROOT / ".tools" / "prometheus" / "bin" / "prometheus")
    arguments.add_argument("--pictures", type=Path, help="draw each dashboard into this folder")
    arguments.add_argument("--keep", action="store_true", help="keep the folder with logs and data")
    arguments.add_argument("--again", type=Path, help="ask again what a run left in this folder, and start nothing else")
    options = arguments.parse_args()
    for program in (options.binary, options.prometheus):
        if not program.exists():
            raise SystemExit(f"{program} is missing: `make dashboards` builds or installs it")
    if options.again:
        return judged(options, options.again, Prometheus(options.prometheus, options.again, []))
    folder = Path(tempfile.mkdtemp(prefix="dashboards-"))
    try:
        return run(options, folder)
    finally:
        if options.keep:
            print(f"logs and data are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def run(options, folder):
    foreign = Foreign()
    mongo = ReplicaSet(folder)
    settings = {
        "COUNTER_STORE_URL": mongo.uri, "COUNTER_JWT_KEYS_FILE": str(folder / "keys"), "COUNTER_AUTH_RATE_LIMIT": "10/m",
        # Small enough that the run meets them.
        "COUNTER_MAX_QUEUE": "200", "COUNTER_MAX_CONNECTIONS": "500", "COUNTER_TRUSTED_PROXIES": "127.0.0.1/32",
        "COUNTER_IDLE_TIMEOUT": "15s", "COUNTER_HEADER_TIMEOUT": "5s", "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{foreign.address}",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1", "OTEL_BSP_SCHEDULE_DELAY": "500",
        "OTEL_LOGS_EXPORTER": "otlp", "OTEL_BLRP_SCHEDULE_DELAY": "500", "TOKIO_WORKER_THREADS": "2",
    }
    (folder / "keys").write_text(KEYS)
    replicas = [Service(options.binary, f"replica{number}", folder, settings) for number in range(3)]
    exporter = Blackbox(options.prometheus.with_name("prometheus-blackbox-exporter"), folder, replicas[0].api)
    month.write(options.prometheus.with_name("promtool"), folder, folder / "tsdb", time.time())
    prometheus = Prometheus(options.prometheus, folder, jobs(replicas, exporter, foreign))
    load = Load([replica.api for replica in replicas])
    time.sleep(10)
    start = time.time()
    windows = trouble(mongo, load, foreign, folder, replicas)
    time.sleep(CALM)
    end = time.time() - 2
    print(f"live: {int(end - start)} s, answers by status {load.stop()}")
    programs = [*(replica.program for replica in replicas), exporter.program, prometheus.program]
    for program in programs:
        program.alive()
    (folder / "run.json").write_text(json.dumps({"start": start, "end": end, "windows": windows}))
    result = judged(options, folder, prometheus)
    for program in programs:
        program.stop()
    mongo.stop()
    return result


def judged(options, folder, prometheus):
    """Asks everything about a run that is over, and says what is wrong with the answers."""
    about = json.loads((folder / "run.json").read_text())
    asker = Asker(prometheus.url, math.floor(about["start"]), math.floor(about["end"]), SCRAPE, SCRAPE)
    found, answered = judge(asker)
    for fault, sentence, panel, seen in story.tell(asker, about["windows"]):
        print(f"live: {fault}: {sentence!r} (panel {panel!r}: {seen})")
        if seen.startswith("not seen"):
            found.append(f"{fault}: the overview does not show it: {seen}")
    if options.pictures:
        # Needs matplotlib, which nobody needs who only asks.
        import pictures
        pictures.of_all(asker, answered, about["windows"], options.pictures)
        first, (at, _) = next(iter(about["windows"].items()))
        pictures.of_one_fault(prometheus.url, asker.start, first, at, at + TROUBLE, options.pictures / "readme.png")
    for finding in found:
        print(finding)
    asked = sum(len(answers) for answers in answered.values())
    empty = sum("the answer is empty" in finding for finding in found)
    print(f"live: {asked} expressions asked, {empty} empty, {len(found)} findings")
    return 1 if found else 0


def jobs(replicas, exporter, foreign):
    """The shipped scrape jobs with the addresses of this run, and one for the stand-ins. Each region asks another replica, for
    there is nothing before them that would choose one."""
    shipped = yaml.safe_load((ROOT / "monitoring" / "prometheus" / "prometheus.yaml").read_text())["scrape_configs"]
    for job in shipped:
        job.pop("scrape_timeout", None)
        if job["job_name"] == "counter-api":
            job["static_configs"][0]["targets"] = [replica.admin for replica in replicas]
            continue
        path = {"counter-api-probe": "/health", "counter-api-canary": "/v1/next"}[job["job_name"]]
        for replica, region in zip(replicas, job["static_configs"], strict=True):
            region["targets"] = [f"http://{replica.api}{path}"]
            region["labels"]["__blackbox"] = exporter.address
    return [*shipped, {"job_name": "stand-ins", "honor_labels": True, "static_configs": [{"targets": [foreign.address]}]}]


def trouble(mongo, load, foreign, folder, replicas):
    """Five faults, each with calm before it. Gives back when each of them was."""
    windows = {}

    def during(name, begin, end):
        time.sleep(CALM if windows else FIRST_CALM)
        print(f"live: {name}", flush=True)
        begin()
        at = time.time()
        time.sleep(TROUBLE)
        end()
        windows[name] = (at, time.time())

    def spike(on):
        load.switch("spike", on)
        foreign.spike = on
        # Half of the trouble of a collector that is dead falls into the spike.
        foreign.collecting = not on

    def kill():
        killed.append(mongo.primary())
        mongo.members[killed[0]].kill()

    def restart():
        mongo.members[killed[0]].start()
        mongo.healthy()

    killed = []
    during("primary killed", kill, restart)
    during("load spike", lambda: spike(True), lambda: spike(False))
    during("wrong passwords", lambda: load.switch("storm", True), lambda: load.switch("storm", False))
    (folder / "keys").write_text(f"{KEYS},next:another-secret-of-the-live-run-of-32-bytes")
    during("one replica saturated", lambda: load.switch("flood", True), lambda: load.switch("flood", False))
    during("MongoDB slow", lambda: mongo.proxies.slow(0.06), lambda: mongo.proxies.slow(0))
    return windows


def judge(asker):
    """Asks everything; gives back what is wrong, and the answers by dashboard and panel."""
    found, answered = [], {}
    for board in boards().values():
        listed = asker.variables(board)
        for name, values in listed.items():
            if not values:
                found.append(f"{board['uid']}, variable {name!r}: it finds nothing")
        everything = all_values(board)
        panels = answered.setdefault(board["uid"], [])
        for query in queries(board):
            try:
                answer = asker.answer(query, everything)
            except ValueError as error:
                found.append(f"{query.where}: {error}")
                continue
            panels.append(answer)
            found += faults(answer, story.may_stay(query))
            # One replica at a time must be answered as well, with labels that the legend names.
            for name, values in listed.items():
                if f"${name}" not in query.expr:
                    continue
                for value in values:
                    try:
                        alone = asker.answer(query, {**everything, name: value})
                    except ValueError as error:
                        found.append(f"{query.where}, with {name}={value}: {error}")
                        continue
                    found += [f"{fault}, with {name}={value}" for fault in faults(alone, "it is one of several")]
        for annotation in annotations(board):
            try:
                asker.answer(annotation, everything)
            except ValueError as error:
                found.append(f"{annotation.where}: {error}")
    return found, answered


if __name__ == "__main__":
    sys.exit(main())
