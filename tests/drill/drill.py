"""Sets the service on fire, one fault after the other, and looks at who is called.

    drill.py [--only NAME …] [--factor 10] [--quiet SECONDS]   the faults, scaled; all of them, or those whose names hold a word
    drill.py --outage                                          a total outage and another right after it, with the shipped times
    drill.py --list

README.md says what is real, what is scaled, and what must be seen. The exit code is 1 if any of it was not.
"""

import argparse
import os
import signal
import sys
import time

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "monitoring")]

import faults  # noqa: E402
from harness import Stage, wait_for  # noqa: E402
from watch import Watch  # noqa: E402
from world import World  # noqa: E402

# Of scrapes and of evaluations. Not divided by the factor, which would leave a busy machine no time to answer.
INTERVALS = ("3s", "2s")
PAGE_WITHIN = 120
# How long to wait for a quiet moment before a fault.
CALM_WITHIN = 240
# Scaled: the longest `for` is 15 minutes, and what burns leaves the short window after 30.
PATIENCE = 3 * 30 * 60


def settled(watch, what):
    """Waits until the expressions of all alerts are empty. On a machine that stays too slow for that, those that say so are answered."""
    try:
        wait_for("all is well, before: " + what, lambda: not watch.trouble(), CALM_WITHIN, 2)
        return set()
    except AssertionError:
        wait_for("all is well but slow, before: " + what, lambda: watch.trouble() <= faults.SLOW_KEYS, CALM_WITHIN, 2)
        return watch.trouble()


class Trial:
    """One fault, from quiet to quiet."""

    def __init__(self, fault, watch, world, factor):
        self.fault, self.watch, self.world, self.factor = fault, watch, world, factor
        self.rows, self.problems, self.fired, self.slow = set(), [], set(), set()
        self.patience = max(PATIENCE / factor, 120)

    def run(self):
        self.quiet()
        # From here on what is seen counts.
        self.began = time.monotonic()
        try:
            self.fault.begin(self.world, self.watch)
            self.until_told()
        finally:
            self.fault.end(self.world, self.watch)
        self.healed = time.monotonic()
        self.until_over()
        self.judge()
        return self

    def quiet(self):
        """Every alert's expression is empty. A machine that is busy may be slow for a moment; it is waited for."""
        self.slow = settled(self.watch, self.fault.name)

    def look(self):
        self.rows |= self.watch.rows() if self.fault.expected - self.rows else set()
        self.fired |= self.watch.alerts()
        return {told.key for told in self.watch.incidents(self.began)}

    def until_told(self):
        """The expected alerts are told, or silenced where a cause should silence them; without any, for ten minutes (scaled)."""
        wanted, silenced = self.fault.expected - self.fault.silenced_keys, self.fault.silenced_keys
        end = time.monotonic() + (self.patience if wanted else max(600 / self.factor, 30))
        while time.monotonic() < end:
            told = self.look()
            if wanted and wanted <= told and silenced <= self.fired and self.fault.expected <= self.rows:
                return
            time.sleep(1)

    def until_over(self):
        """What was told is taken back, and no budget burns so that it could still call somebody."""
        def over():
            self.look()
            if "critical" in {severity for _, severity in (self.watch.alerts() | self.watch.alerts("pending")) - self.slow}:
                return False
            if self.watch.query('slo:current_burn_rate:ratio{slo="availability", window=~"5m|30m"} > 6'):
                return False
            # A slow burn is told until it has left windows of days, and is no news of this fault.
            return all(told.ended for told in self.watch.incidents(self.began)
                       if told.key not in self.slow and (told.page or told.name not in faults.BURNS))

        try:
            wait_for("it is over", over, max(self.patience, 240), 2)
        except AssertionError:
            open_ones = [told.name for told in self.watch.incidents(self.began) if not told.ended]
            self.problems.append("not over: open %s, firing %s" % (open_ones, sorted(self.watch.alerts())))

    def judge(self):
        fault, incidents = self.fault, self.watch.incidents(self.began)
        told = {each.key: each for each in incidents}
        self.told = told
        for key in fault.expected & self.slow:
            self.problems.append("%s (%s) was on before the fault, for the machine is too slow: nothing is proved" % key)
        for key in fault.expected - self.rows:
            self.problems.append("%s (%s): its expression had no rows" % key)
        for key in fault.expected - fault.silenced_keys - told.keys():
            self.problems.append("%s (%s) was not told" % key)
        for key in fault.silenced_keys - self.fired:
            self.problems.append("%s (%s) did not fire" % key)
        for name, severity in told.keys():
            if severity == "critical" and name not in fault.pages and (name, severity) not in self.slow:
                self.problems.append("%s called somebody" % name)
            if (name, severity) in fault.silenced_keys:
                self.problems.append("%s was not silenced" % name)
        self.unexpected = {name for name, severity in told if (name, severity) not in fault.expected and name not in fault.may}
        for event in incidents:
            self.problems += ["%s: %s" % (event.name, what) for what in event.faults(self.watch.rules)]
            if event.page and not event.ended and event.key not in self.slow:
                self.problems.append("%s was not resolved" % event.name)
        if len(told) != len(incidents):
            self.problems.append("an alert was told with two keys")
        self.problems += ["the receiver refused: %s" % refused for refused in self.watch.receiver.pager.refused]
        if not all(right for _, right in self.watch.receiver.signs):
            self.problems.append("a sign of life was wrong")

    def seconds(self, key):
        return self.told[key].first - self.began if key in self.told else None

    def row(self):
        wanted = self.fault.expected - self.fault.silenced_keys

        def names(keys):
            return ", ".join(sorted(name.removeprefix("CounterApi") + ("!" if severity == "critical" else "") for name, severity in keys)) or "-"

        times = ["%.0f" % self.seconds(key) for key in sorted(wanted, key=lambda key: key[1]) if self.seconds(key) is not None]
        ours = [each for each in self.watch.incidents(self.began) if each.key in wanted]
        return [self.fault.name + (" (stand-in)" if self.fault.stand_in else ""), names(wanted),
                names(self.told.keys() & wanted), names(self.fault.silenced_keys & self.fired), names(self.told.keys() - wanted),
                "/".join(times) or "-", "-" if not ours else "yes" if not any(each.faults(self.watch.rules) for each in ours) else "NO",
                "-" if not ours else "yes" if all(each.ended for each in ours) else "NO", "FAILED" if self.problems else "ok, slow" if self.slow else "ok"]


HEAD = ["fault", "expected", "told", "fired, silenced", "told besides", "seconds", "valid", "resolved", ""]


def table(rows):
    widths = [max(len(row[column]) for row in [HEAD, *rows]) for column in range(len(HEAD))]
    for row in [HEAD, ["-" * width for width in widths], *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip(), flush=True)


def calm(watch, seconds):
    """Quiet load: no alert but Watchdog. Answers what the machine is too slow for."""
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
    print("quiet load for %d s: no alert but Watchdog%s; %d signs of life; the expressions of the other %d alerts are empty" % (
        seconds, "".join(" and, on this slow machine, %s (%s)" % key for key in sorted(slow)), signs, len(watch.rules) - 1 - len(slow)), flush=True)


def chosen(options):
    return [fault for fault in faults.FAULTS if not options.only or any(word in fault.name for word in options.only)]


def scaled(world, options):
    with Stage() as stage:
        calm(Watch(stage, world, options.factor, INTERVALS, 0), options.quiet)
    trials = []
    for number, fault in enumerate(chosen(options), 1):
        with Stage() as stage:
            started = time.monotonic()
            trial = Trial(fault, Watch(stage, world, options.factor, INTERVALS, number), world, options.factor)
            trials.append(trial.run())
            trial.line = trial.row()
            print("%-34s %s, %d s; told after %s s%s" % (
                fault.name, trial.line[-1], time.monotonic() - started, trial.line[5], "".join("\n    " + problem for problem in trial.problems)),
                flush=True)
    print("\nEvery time of the rules is divided by %g; scraped every %s, evaluated every %s. A page has a `!`.\n" % (
        options.factor, *INTERVALS))
    table([trial.line for trial in trials])
    unexpected = sorted({name for trial in trials for name in trial.unexpected})
    rows = {key for trial in trials for key in trial.rows}
    print("\n%d faults; %d alerts told; expressions with rows while a fault was on: %d; warnings nobody expected: %s" % (
        len(trials), sum(len(trial.told) for trial in trials), len(rows), ", ".join(unexpected) or "none"))
    return not any(trial.problems for trial in trials)


def is_absent(event):
    return event[1]["event_action"] == "trigger" and event[1]["payload"]["class"] == "CounterApiAbsent"


def outage(world):
    """With the shipped files and times: nothing is scaled."""
    with Stage() as stage:
        watch = Watch(stage, world, 1, None, 0)
        slow = settled(watch, "outage")
        fine = True
        for turn in ("first", "second, right after"):
            seen = len(watch.receiver.pager.events)
            began = time.monotonic()
            faults.kill_all(world, watch)
            when, event = wait_for("a page", lambda seen=seen: next((each for each in watch.receiver.pager.events[seen:] if is_absent(each)), None), 300)
            faults.revive_all(world, watch)
            revived = time.monotonic()
            # The worst moment for a second one is when the first is just over: Alertmanager still keeps its group.
            ended = wait_for("its end", lambda: all(each.ended for each in watch.incidents() if each.name == "CounterApiAbsent") and time.monotonic(), 400)
            incidents = watch.incidents()
            wrong = [fault for each in incidents for fault in each.faults(watch.rules)] + watch.receiver.pager.refused
            good = when - began < PAGE_WITHIN and {each.name for each in incidents if each.key not in slow} == {"CounterApiAbsent"} and not wrong
            fine &= good
            print("total outage, %s: %s after %.0f s (at most %d), resolved %.0f s after the service was back%s: %s" % (
                turn, event["payload"]["class"], when - began, PAGE_WITHIN, ended - revived, " %s" % wrong if wrong else "",
                "ok" if good else "FAILED"), flush=True)
    return fine


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--only", nargs="*", default=[])
    arguments.add_argument("--factor", type=float, default=10)
    arguments.add_argument("--quiet", type=float, default=120)
    arguments.add_argument("--outage", action="store_true")
    arguments.add_argument("--list", action="store_true")
    options = arguments.parse_args()
    if options.list:
        print("\n".join(fault.name for fault in chosen(options)))
        return
    # So that what was started is stopped, whoever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Stage() as stage:
        print("drill: starting the world", flush=True)
        world = World(stage)
        fine = outage(world) if options.outage else scaled(world, options)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
