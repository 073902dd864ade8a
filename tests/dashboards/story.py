"""What a viewer of the overview says of each fault, from which panel, and what the series of that panel must do for it."""

from board import all_values, boards, queries

# Fault, the sentence, the panel, the legend of its series, and what must hold of its values (during, before).
STORY = [
    ("load spike", "Several times as many calls as usual; they are answered.", "Requests", "answered",
     lambda during, before: max(during) > 2 * max(before)),
    ("wrong passwords", "Somebody is guessing passwords, and the rate limit turns most of it away.", "Refused", "rate limits",
     lambda during, before: max(during) > 10 and max(before) < 5),
    ("one replica saturated", "One replica is at its limit and the others are not: the load is not spread.",
     "Fullest limit of each replica", "{{instance}}",
     lambda during, before: max(during) > 0.6),
    ("MongoDB slow", "Calls are slow because the database is.", "Where the time goes (p99)", "store operation",
     lambda during, before: max(during) > 0.05 and max(during) > 3 * max(before)),
    ("primary killed", "MongoDB lost its primary for some seconds, and calls failed meanwhile.", "Database servers by role",
     "primary", lambda during, before: min(during) == 0 and min(before) == 1),
]

# Queries that need not move in the run, by panel and query, each with the reason.
STILL = {}

# Queries that one replica alone may answer with nothing.
EMPTY_ALONE = {}


def may_stay(query):
    return STILL.get((query.panel["title"], query.target["refId"]), "")


def may_be_empty_alone(query, variable):
    return EMPTY_ALONE.get((query.panel["title"], variable), "")


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
        seen = f"{legend} was {min(before):.3g} to {max(before):.3g} before, and {min(during):.3g} to {max(during):.3g} during it"
        yield fault, sentence, panel, seen if holds(during, before) else f"not seen: {seen}"


def values_between(answer, start, end):
    """Every value of every series in this time."""
    return [value for _, values in answer.series for at, value in zip(answer.times, values)
            if start <= at <= end and value is not None and value == value] or [0.0]
