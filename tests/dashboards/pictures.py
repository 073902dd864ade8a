"""The pictures of a live run: one of each dashboard over all of it, and one of the overview's first rows for the README."""

from answers import Asker
from board import all_values, annotations, boards, queries
from render import Size, draw
from stack import SCRAPE

OVERVIEW = "counter-api-overview.json"
# Down to the panels that say why: what the README shows.
FIRST_ROWS = 16
README = Size(width=1080, sharpness=2)


def of_all(asker, answered, windows, folder):
    """Each dashboard over the whole run."""
    folder.mkdir(parents=True, exist_ok=True)
    order = ", ".join(f"{name} at {clock(at - asker.start)}" for name, (at, _) in windows.items())
    title = f"{round((asker.end - asker.start) / 60)} min: {order}"
    for board in boards().values():
        draw(board, by_panel(answered[board["uid"]]), marks(asker, board), folder / f"{board['uid']}.png", title)


def of_one_fault(url, start, fault, at, end, path):
    """The overview's first rows, up to a moment of the first fault."""
    asker = Asker(url, int(start), int(end), SCRAPE, SCRAPE)
    board = boards()[OVERVIEW]
    shown = [panel for panel in board["panels"] if panel["gridPos"]["y"] + panel["gridPos"]["h"] <= FIRST_ROWS]
    board = {**board, "panels": shown}
    answers = [asker.answer(query, all_values(board)) for query in queries(board)]
    title = f"{fault} at {clock(at - start)}; the month before is made up"
    draw(board, by_panel(answers), marks(asker, board), path, title, README)


def clock(seconds):
    return f"{round(seconds) // 60}:{round(seconds) % 60:02}"


def by_panel(answers):
    found = {}
    for answer in answers:
        found.setdefault(answer.query.panel["id"], []).append(answer)
    return found


def marks(asker, board):
    """What the annotations that are switched on mark: when, in which colour, and until when, or 0 for a moment."""
    found = []
    for annotation in annotations(board):
        if not annotation.panel["enable"]:
            continue
        color, answer = annotation.panel["iconColor"], asker.answer(annotation, all_values(board))
        for _, values in answer.series:
            if annotation.panel.get("useValueForTime"):
                found += [(value / 1000, color, 0) for value in {value for value in values if value}]
            else:
                found += [(begin, color, until) for begin, until in spells(answer.times, values)]
    return found


def spells(times, values):
    """The times during which there was a value, each from its first moment to its last."""
    found, before = [], None
    for at, value in zip(times, values):
        if value and before:
            found[-1][1] = at
        elif value:
            found.append([at, at])
        before = value
    return found
