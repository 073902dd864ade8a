"""Sets the service on fire, one fault after the other, and looks at who is called.

    drill.py                                    every fault, scaled; then ten quiet minutes and two total outages with the shipped times
    drill.py --only NAME … [--factor 10]        the faults whose names hold a word, scaled
    drill.py --outage                           the second half alone
    drill.py --list

README.md says what is real, what is scaled, and what must be seen. The exit code is 1 if any of it was not. With --results FILE the tables
are written there as well.
"""

import argparse
import os
import signal
import sys
import tempfile
import time

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "monitoring")]

import faults  # noqa: E402
import report  # noqa: E402
from harness import Stage, wait_for  # noqa: E402
from trial import Trial, settled  # noqa: E402
from watch import Watch  # noqa: E402
from world import World  # noqa: E402

# Of scrapes and of evaluations. Not divided by the factor, which would leave a busy machine no time to answer.
INTERVALS = ("3s", "2s")
PAGE_WITHIN = 120
# After so many faults one after the other that could not be tried at all, the world is broken and the rest would be too.
GIVE_UP = 2
# What the members of MongoDB and Prometheus write in an hour, and more.
ROOM = 4 << 30


def calm(watch, world, seconds):
    """Quiet load: no alert but Watchdog. Answers what the machine is too slow for, and a line that says what was seen."""
    slow = settled(watch, "quiet load")
    began, before = time.monotonic(), len(watch.receiver.signs)
    while time.monotonic() < began + seconds:
        firing = watch.alerts()
        slow |= firing & faults.SLOW_KEYS
        assert firing <= slow, "under a quiet load: %s" % sorted(firing)
        time.sleep(2)
    told = {each.key for each in watch.incidents(began)} - slow
    assert not told, told
    signs = len(watch.receiver.signs) - before
    assert signs, "no sign of life for the dead man's switch"
    assert world.load.process.poll() is None, "the load has ended"
    line = "quiet load for %d s: no alert but Watchdog%s; %d signs of life; the expressions of the other %d alert rules are empty" % (
        seconds, "".join(" and, on this slow machine, %s (%s)" % key for key in sorted(slow)), signs, len(watch.rules) - 1 - len(slow))
    print(line, flush=True)
    return slow, line


def chosen(options):
    return [fault for fault in faults.FAULTS if not options.only or any(word in fault.name for word in options.only)]


def scaled(world, options, results):
    trials, broken = [], 0
    with Stage() as stage:
        watch = Watch(stage, world, options.factor, INTERVALS)
        results.quiet = calm(watch, world, options.quiet)[1]
        alerts = watch.rules.keys() - {("Watchdog", "none")}
    for fault in chosen(options):
        with Stage() as stage:
            trial = Trial(fault, Watch(stage, world, options.factor, INTERVALS), world, options.factor).run()
            trials.append(trial)
            print("%-38s %s; told after %s s; it took %s = %d s%s" % (
                fault.name, trial.line[-1], trial.line[5], " + ".join("%d" % part for part in trial.seconds), sum(trial.seconds),
                "".join("\n    " + problem for problem in trial.problems)), flush=True)
        broken = broken + 1 if trial.broken else 0
        if broken == GIVE_UP:
            print("drill: the rest is not tried")
            break
    results.trials = trials
    print("\nEvery time of the rules is divided by %g; scraped every %s, evaluated every %s. A page has a `!`.\n" % (options.factor, *INTERVALS))
    report.table(results.head, results.rows())
    unseen = set() if options.only else alerts - {key for trial in trials for key in trial.rows}
    unseen = ["%s (%s)" % key for key in sorted(unseen)]
    unexpected = sorted({name for trial in trials for name in trial.unexpected})
    names = {name for name, _ in alerts}
    results.summary = "%d faults; %d alerts told; warnings nobody expected: %s; %s" % (
        len(trials), sum(len(trial.told) for trial in trials), ", ".join(unexpected) or "none",
        "expressions that never had rows: " + ", ".join(unseen) if unseen else "of some alerts only" if options.only else
        "the expression of each of the %d alert rules (%d alerts, %d of them with two severities) was empty while all was well, and had rows while "
        "a fault was on" % (len(alerts), len(names), len(alerts) - len(names)))
    print("\n" + results.summary, flush=True)
    return len(trials) == len(chosen(options)) and not unseen and not any(trial.problems for trial in trials)


def is_absent(event):
    return event[1]["event_action"] == "trigger" and event[1]["payload"]["class"] == "CounterApiAbsent"


def outage(world, options, results):
    """With the shipped files and times: nothing is scaled."""
    with Stage() as stage:
        watch = Watch(stage, world, 1, None)
        slow, line = calm(watch, world, options.calm)
        results.outage, fine = [line], True
        for turn in ("first", "second, right after"):
            seen = len(watch.receiver.pager.events)
            began = time.monotonic()
            faults.kill_all(world, watch)
            when, event = wait_for("a page", lambda seen=seen: next(filter(is_absent, watch.receiver.pager.events[seen:]), None), 300)
            faults.revive_all(world, watch)
            revived = time.monotonic()
            # The worst moment for a second one is when the first is just over: Alertmanager still keeps its group.
            wait_for("its end", lambda: all(each.ended for each in watch.incidents() if each.name == "CounterApiAbsent"), 400)
            ended, incidents = time.monotonic(), watch.incidents()
            wrong = [fault for each in incidents for fault in each.faults(watch.rules)] + watch.receiver.pager.refused
            wrong += ["%s was told" % each.name for each in incidents if each.name != "CounterApiAbsent" and each.key not in slow]
            good = when - began < PAGE_WITHIN and not wrong
            fine &= good
            results.outage.append("total outage, %s: %s after %.0f s (at most %d), resolved %.0f s after the service was back%s: %s" % (
                turn, event["payload"]["class"], when - began, PAGE_WITHIN, ended - revived, " %s" % wrong if wrong else "",
                "ok" if good else "FAILED"))
            print(results.outage[-1], flush=True)
    return fine


def into_memory():
    """A drill is about who is called, and not about a disk that a build writes to as well."""
    memory = "/dev/shm"
    if "TMPDIR" not in os.environ and os.path.isdir(memory) and os.access(memory, os.W_OK):
        room = os.statvfs(memory)
        if room.f_bavail * room.f_frsize > ROOM:
            tempfile.tempdir = memory


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--only", nargs="*", default=[])
    arguments.add_argument("--factor", type=float, default=10)
    arguments.add_argument("--quiet", type=float, default=60, help="seconds of quiet load before the faults")
    arguments.add_argument("--calm", type=float, default=600, help="seconds of quiet load before the outages")
    arguments.add_argument("--outage", action="store_true")
    arguments.add_argument("--list", action="store_true")
    arguments.add_argument("--results")
    options = arguments.parse_args()
    if options.list:
        print("\n".join(fault.name for fault in chosen(options)))
        return
    # So that what was started is stopped, whoever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    into_memory()
    results, fine = report.Results(options.factor, INTERVALS), True
    with Stage() as stage:
        print("drill: starting the world", flush=True)
        started, world = time.monotonic(), World(stage)
        print("drill: it is there after %d s" % (time.monotonic() - started), flush=True)
        if not options.outage:
            fine &= scaled(world, options, results)
        if not options.only:
            fine &= outage(world, options, results)
    if options.results:
        results.write(options.results)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
