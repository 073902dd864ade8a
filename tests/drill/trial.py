"""One fault, from quiet to quiet: what is looked at, and what is wrong with what was seen."""

import itertools
import time

import faults
from harness import Ended, wait_for

# How long to wait for a quiet moment before a fault.
CALM_WITHIN = 240
# Scaled: the longest `for` is 15 minutes, and what burns leaves the short window after 30.
PATIENCE = 3 * 30 * 60
STALLED = ("CounterApiEventLoopStalled", "warning")


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
        self.rows, self.problems, self.fired, self.slow, self.starved = set(), [], set(), set(), set()
        self.patience = max(PATIENCE / factor, 120)
        self.began, self.broken = time.monotonic(), False

    def run(self):
        """Tries it. What goes wrong is a row of the table, and not the end of the drill."""
        clock = [time.monotonic()]
        try:
            self.fault.prepare(self.world, self.watch)
            self.slow = settled(self.watch, self.fault.name)
            # Without calls there is no slow one, and no failed one.
            assert self.world.load.process.poll() is None, "the load has ended"
            # From here on what is seen counts.
            self.began = time.monotonic()
            clock.append(self.began)
            try:
                self.fault.begin(self.world, self.watch)
                self.until_told()
                clock.append(time.monotonic())
            finally:
                self.fault.end(self.world, self.watch)
            clock.append(time.monotonic())
            self.until_over()
        except (AssertionError, Ended, OSError, ValueError) as error:
            self.broken = True
            self.problems.append("broken off: %s" % error)
        self.judge()
        clock.append(time.monotonic())
        # How long until it was calm, until all was told, to undo the fault, and until it was over.
        self.line, self.seconds = self.row(), [after - before for before, after in itertools.pairwise(clock)]
        return self

    def look(self):
        rows = self.watch.rows()
        self.rows |= rows
        # A replica that gets no CPU, when that is not the fault: the machine is too slow just now, and calls are too.
        if STALLED in rows - self.fault.expected:
            self.starved |= faults.SLOW_KEYS
        self.fired |= self.watch.alerts()
        return {told.key for told in self.watch.incidents(self.began)}

    def until_told(self):
        """The expected alerts are told, or silenced where a cause should silence them; without any, for ten minutes (scaled)."""
        wanted, silenced = self.fault.expected - self.fault.silenced_keys, self.fault.silenced_keys
        end = time.monotonic() + (self.patience if wanted else max(600 / self.factor, 30))
        while time.monotonic() < end:
            told = self.look()
            if wanted and wanted <= told and silenced <= self.fired and self.fault.expressions <= self.rows:
                return
            time.sleep(1)

    def until_over(self):
        """What was told is taken back, and no budget burns so that it could still call somebody."""
        def over():
            self.look()
            if "critical" in {severity for _, severity in (self.watch.alerts() | self.watch.alerts("pending")) - self.slow - self.starved}:
                return False
            if self.watch.query('slo:current_burn_rate:ratio{slo="availability", window=~"5m|30m"} > 6'):
                return False
            # A slow burn is told until it has left windows of days, and is no news of this fault.
            return all(told.ended for told in self.watch.incidents(self.began)
                       if told.key not in self.slow | self.starved and (told.page or told.name not in faults.BURNS))

        try:
            wait_for("it is over", over, max(self.patience, 240), 2)
        except AssertionError:
            open_ones = [told.name for told in self.watch.incidents(self.began) if not told.ended]
            self.problems.append("not over: open %s, firing %s" % (open_ones, sorted(self.watch.alerts())))

    def judge(self):
        # What is told because of the machine is in the table, and no fault of the rules.
        excused = self.slow | self.starved
        fault, incidents = self.fault, self.watch.incidents(self.began)
        told = {each.key: each for each in incidents}
        self.told = told
        for key in fault.expressions & self.slow:
            self.problems.append("%s (%s) was on before the fault, for the machine is too slow: nothing is proved" % key)
        for key in fault.expressions - self.rows:
            self.problems.append("%s (%s): its expression had no rows" % key)
        for key in fault.expected - fault.silenced_keys - told.keys():
            self.problems.append("%s (%s) was not told" % key)
        for key in fault.silenced_keys - self.fired:
            self.problems.append("%s (%s) did not fire" % key)
        for name, severity in told.keys():
            if severity == "critical" and name not in fault.pages and (name, severity) not in excused:
                self.problems.append("%s called somebody" % name)
            if (name, severity) in fault.silenced_keys:
                self.problems.append("%s was not silenced" % name)
        self.unexpected = {name for name, severity in told if (name, severity) not in fault.expressions and name not in fault.may}
        for event in incidents:
            self.problems += ["%s: %s" % (event.name, what) for what in event.faults(self.watch.rules)]
            if event.page and not event.ended and event.key not in excused:
                self.problems.append("%s was not resolved" % event.name)
        if len(told) != len(incidents):
            self.problems.append("an alert was told with two keys")
        self.problems += ["the receiver refused: %s" % refused for refused in self.watch.receiver.pager.refused]
        if not all(right for _, right in self.watch.receiver.signs):
            self.problems.append("a sign of life was wrong")

    def row(self):
        wanted = self.fault.expected - self.fault.silenced_keys
        times = ["%.0f" % (self.told[key].first - self.began) for key in sorted(wanted & self.told.keys(), key=lambda key: key[1])]
        ours = [each for each in self.watch.incidents(self.began) if each.key in wanted]
        rows = "%s, then %d of %d" % ("none" if not self.slow else "%d" % len(self.slow), len(self.rows & self.fault.expressions),
                                      len(self.fault.expressions))
        return [self.fault.name + (" (stand-in)" if self.fault.stand_in else ""), names(wanted), names(self.told.keys() & wanted),
                names(self.fault.silenced_keys & self.fired), names(self.told.keys() - wanted), "/".join(times) or "-",
                rows if self.fault.expressions else "none",
                "-" if not ours else "yes" if not any(each.faults(self.watch.rules) for each in ours) else "NO",
                "-" if not ours else "yes" if all(each.ended for each in ours) else "NO",
                "FAILED" if self.problems else "ok, slow" if self.slow or self.starved else "ok"]


def names(keys):
    """Alerts as the table has them: short, and those that call somebody with a mark."""
    return ", ".join(sorted(name.removeprefix("CounterApi") + ("!" if severity == "critical" else "") for name, severity in keys)) or "-"
