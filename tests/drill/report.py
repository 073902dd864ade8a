"""What a drill has found, as tables: for whoever looks on, and as a document."""

import os
import subprocess
import time

from harness import ROOT


def table(head, rows):
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip(), flush=True)


def markdown(head, rows):
    return "\n".join("| %s |" % " | ".join(row) for row in [head, ["---"] * len(head), *rows])


class Results:
    head = ["fault", "expected", "told", "fired, silenced", "told besides", "seconds", "expressions", "valid", "resolved", ""]

    def __init__(self, factor, intervals):
        self.factor, self.intervals, self.began = factor, intervals, time.time()
        self.quiet, self.trials, self.summary, self.outage = "", [], "", []

    def rows(self):
        return [trial.line for trial in self.trials]

    def write(self, path):
        facts = [
            ["date", time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(self.began))],
            ["commit", said("git", "describe", "--always", "--dirty")],
            ["command", "`make drill`, %.0f minutes" % ((time.time() - self.began) / 60)],
            ["cores, load average at the end", "%d, %.1f" % (os.cpu_count(), os.getloadavg()[2])],
            ["times of the rules", "divided by %g, those of a minute or less by 3 at most; scraped every %s, evaluated every %s" % (
                self.factor, *self.intervals)],
        ]
        with open(path, "w") as file:
            file.write(TEXT % (markdown(["fact", ""], facts), self.quiet, markdown(self.head, self.rows()), self.summary,
                               "\n".join("- " + line for line in self.outage)))


def said(*command):
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip() or "?"


TEXT = """# Results of the drill

<!-- Written by `make drill`. -->

One run of `make drill`, every fault; [README.md](README.md) says what was real and what must be seen.

%s

## Every fault

Before the first: %s.

- **expected**, **told**: alerts that must be told and were, without their `CounterApi`; a page has a `!`.
- **fired, silenced**: symptoms that must fire and must not be told, for their cause is.
- **told besides**: warnings that were true as well. In a row that ends with *slow* they may tell of the machine, and so may a page for
  latency: a replica's timers were late by 100 ms or more, as they are beside a build.
- **seconds**: from the fault to each alert of *told*, pages first. The rules' times are divided; the rest, such as how long the database
  takes to see that a member is gone, is not.
- **expressions**: how many alerts' expressions had rows just before the fault; and how many of those that should had some while it was on.
- **valid**: the event was one that PagerDuty takes, with the right texts, links and urgency. **resolved**: under the key that it was opened
  with.

%s

%s.

## With the shipped times, undivided

%s
"""
