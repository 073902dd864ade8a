"""What a viewer of the overview says of each fault, from which panel, and what the series of that panel must do for it."""

from board import all_values, boards, queries

# Fault, the sentence, the panel, the legend of its series, and what must hold of the series' values during it and before.
# Each is a list of series, each of them a list of values.
STORY = [
    ("load spike", "There are several times as many calls as usual, and they are answered.", "Requests", "answered",
     lambda during, before: most(during) > 2 * most(before)),
    ("wrong passwords", "Somebody is guessing passwords, and the rate limit turns most of it away.", "Refused", "rate limits",
     lambda during, before: most(during) > 10 and most(before) < 5),
    ("one replica saturated", "One replica is at its limit and the others are not: the load is not spread.",
     "Fullest limit of each replica", "{{instance}}", lambda during, before: one_alone(during) and most(before) < 0.5),
    ("MongoDB slow", "Calls are slow because the database is.", "Where the time goes (p99)", "store operation",
     lambda during, before: most(during) > 0.05 and most(during) > 2 * most(before)),
    ("primary killed", "MongoDB was without a primary for some seconds, and one member is gone.", "Database servers by role",
     "primary", lambda during, before: least(during) == 0 and least(before) == 1),
]

# Queries whose lines may stay flat in a run, by panel and query, each with the reason.
STILL = {
    ("Servers by role", "D"): "the set has no arbiter",
    ("Servers by role", "E"): "every member of the set is a known kind, but for moments",
    ("Log lines left out", "A"): "a file reads standard output, and is never too slow",
    ("Log lines left out", "B"): "only a machine that is busy enough repeats one warning 20 times a second",
    ("Requests for a connection", "B"): "only an outage longer than this one makes operations give up waiting",
    ("Panics", "A"): "a panic is a bug",
    ("Conflicts", "B"): "no replica dies in the run",
    ("Sign-ins through providers", "A"): "no provider of sign-ins is set up in the run",
    ("Failed by the provider", "A"): "no provider of sign-ins is set up in the run",
    ("Providers take (p95)", "A"): "no provider of sign-ins is set up in the run",
    ("Replicas scraped", "A"): "no replica dies in the run",
    ("Virtual users", "B"): "it is a setting of the load test",
    ("Autoscaler", "A"): "it is a setting of the autoscaler",
    ("Autoscaler", "B"): "it is a setting of the autoscaler",
    ("Tasks", "B"): "a scrape meets tasks that wait only where it comes in such a moment",
    ("Unknown outcomes", "A"): "only a write whose answer is lost with the primary ends so, and a run may have none",
    ("Unsure and repeated", "A"): "only a write whose answer is lost with the primary ends so, and a run may have none",
    ("Threads", "A"): "the blocking pool may have been warm before",
}


def most(series):
    return max((max(values) for values in series), default=0)


def least(series):
    return min((min(values) for values in series), default=0)


def one_alone(series):
    """Is one of them high, and twice as high as every other?"""
    highest = sorted((max(values) for values in series), reverse=True)
    return len(highest) > 1 and highest[0] > 0.6 and highest[0] > 2 * highest[1]


def may_stay(query):
    return STILL.get((query.panel["title"], query.target["refId"]), "")


def tell(asker, windows):
    """Each fault, its sentence, its panel, and what was seen of it there."""
    board = boards()["counter-api-overview.json"]
    everything = all_values(board)
    for fault, sentence, panel, legend, holds in STORY:
        query = next(query for query in queries(board)
                     if query.panel["title"] == panel and query.target["legendFormat"] == legend)
        answer = asker.answer(query, everything)
        start, end = windows[fault]
        during = values_between(answer, start, end)
        before = values_between(answer, start - 15, start - 1)
        seen = (f"{legend} was {least(before):.3g} to {most(before):.3g} before, "
                f"and {least(during):.3g} to {most(during):.3g} during it")
        yield fault, sentence, panel, seen if holds(during, before) else f"not seen: {seen}"


def values_between(answer, start, end):
    """What each series was in this time."""
    cut = ([value for at, value in zip(answer.times, values) if start <= at <= end and value is not None and value == value]
           for _, values in answer.series)
    return [values for values in cut if values]
