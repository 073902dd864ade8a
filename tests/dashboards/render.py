"""Draws a dashboard's panels from their answers, at their places, into one picture: for a person to look at layout, order,
legends and scale. It is no Grafana, but it keeps to its grid, its units, its colours and its legends.
"""

import math
from dataclasses import dataclass

import matplotlib
from PIL import Image

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.colors import PowerNorm
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from answers import legend

DPI = 100
# A grid unit of Grafana is 30 pixels and a gap of 8.
UNIT, GAP = 38, 8
BACKGROUND, PANEL, INK, FAINT, GRID = "#111217", "#181b1f", "#ccccdc", "#8e8e9c", "#2c2f36"
CLASSIC = ["#73BF69", "#F2CC0C", "#8AB8FF", "#FF780A", "#F2495C", "#5794F2", "#B877D9", "#705DA0", "#37872D", "#FADE2A"]
SUFFIX = {"reqps": " req/s", "ops": " ops/s", "cps": " c/s", "none": ""}


def words(value, unit, decimals=None):
    """A number as Grafana would write it."""
    if value is None or not math.isfinite(value):
        return "–"
    if unit == "percentunit":
        return f"{value * 100:.{1 if decimals is None else decimals}f}%"
    if unit == "s":
        for size, name in ((604_800, "weeks"), (86_400, "days"), (3600, "hours"), (60, "mins"), (1, "s")):
            if abs(value) >= size:
                return f"{value / size:.3g} {name}"
        return f"{value * 1000:.3g} ms" if abs(value) >= 0.001 else f"{value * 1e6:.3g} µs" if value else "0 s"
    if unit == "bytes":
        for power, name in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
            if abs(value) >= 1024**power:
                return f"{value / 1024**power:.3g} {name}"
        return f"{value:.3g} B"
    text = f"{value:.{decimals}f}" if decimals is not None else f"{value:.3g}" if abs(value) < 1000 else f"{value / 1000:.3g} K"
    return text + SUFFIX[unit]


@dataclass(frozen=True)
class Size:
    """How wide the dashboard is, and how many pixels there are for each of its own."""

    width: int = 1280
    sharpness: int = 1


def draw(board, answers, marks, path, title, size=Size()):
    """One picture. `answers` are a panel's id to its answers, `marks` the annotations' (time, color, until)."""
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    height = (rows * UNIT) + 40
    figure = pyplot.figure(figsize=(size.width / DPI, height / DPI), dpi=DPI, facecolor=BACKGROUND)
    picture = Picture(figure, size.width, height, marks)
    picture.text(GAP, 12, board["title"], size=12, weight="bold")
    picture.text(size.width - GAP, 14, title, size=8, color=FAINT, align="right")
    for panel in board["panels"]:
        picture.panel(panel, answers.get(panel["id"], []))
    figure.savefig(path, dpi=DPI * size.sharpness, facecolor=BACKGROUND)
    pyplot.close(figure)
    # A palette is enough for flat areas and thin lines, and saves most of the bytes. Coverage keeps the colours of thin lines.
    image = Image.open(path).convert("RGB")
    image.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)


class Picture:
    def __init__(self, figure, width, height, marks):
        self.figure, self.width, self.height, self.marks = figure, width, height, marks
        self.column = width / 24

    def text(self, x, y, words, *, size=9, color=INK, align="left", weight="normal"):
        self.figure.text(x / self.width, 1 - y / self.height, words, size=size, color=color, ha=align, va="top", weight=weight)

    def axes(self, x, y, width, height):
        axes = self.figure.add_axes((x / self.width, 1 - (y + height) / self.height, width / self.width, height / self.height))
        axes.set_facecolor("none")
        for side in axes.spines.values():
            side.set_visible(False)
        axes.tick_params(colors=FAINT, labelsize=7, length=0)
        return axes

    def panel(self, panel, answers):
        box = panel["gridPos"]
        x, y = box["x"] * self.column + GAP / 2, box["y"] * UNIT + 40
        width, height = box["w"] * self.column - GAP, box["h"] * UNIT - GAP
        if panel["type"] == "row":
            self.text(x, y + 8, f"▾ {panel['title']}", size=10, weight="bold")
            return
        self.figure.patches.append(FancyBboxPatch(
            (x / self.width, 1 - (y + height) / self.height), width / self.width, height / self.height, boxstyle="square,pad=0", zorder=-3,
            facecolor=PANEL, edgecolor=GRID, linewidth=0.8, transform=self.figure.transFigure, figure=self.figure))
        self.text(x + 8, y + 7, panel["title"], size=8.5)
        inner = (x + 8, y + 30, width - 16, height - 38)
        {"timeseries": self.timeseries, "stat": self.stat, "table": self.table, "heatmap": self.heatmap,
         "state-timeline": self.states}[panel["type"]](panel, answers, *inner)

    def time_axis(self, axes, times):
        axes.set_xlim(times[0], times[-1])
        # On whole minutes, or on parts of one that a clock has.
        length = times[-1] - times[0]
        every = next(every for every in (15, 30, 60, 120, 300, 600) if length / every < 6)
        ticks = range(every, int(length), every)
        axes.set_xticks([times[0] + tick for tick in ticks], [f"{tick // 60}:{tick % 60:02}" for tick in ticks])

    def draw_marks(self, axes, times):
        for start, color, until in self.marks:
            if start < times[0] - 1 or start > times[-1]:
                continue
            axes.axvline(start, color=color, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.8)
            if until > start:
                # Above the data, and not over it.
                axes.axvspan(start, until, 1, 1.04, color=color, linewidth=0, clip_on=False)

    def timeseries(self, panel, answers, x, y, width, height):
        field, custom = panel["fieldConfig"]["defaults"], panel["fieldConfig"]["defaults"]["custom"]
        series = named_series(panel, answers)
        if panel["options"]["legend"]["placement"] == "right":
            beside = min(0.45 * width, 230)
            self.legend_beside(series, x + width - beside, y, beside, height, field["unit"])
            axes = self.axes(x + 48, y, width - 60 - beside, height - 18)
        else:
            lines = self.legend(series, x, y + height, width)
            axes = self.axes(x + 48, y, width - 52, height - 18 - 13 * lines)
        if not answers:
            return
        times = answers[0].times
        unit = field["unit"]
        stacked = custom["stacking"]["mode"] == "normal"
        base = [0.0] * len(times)
        for name, color, values in series:
            plain = [math.nan if value is None else value for value in values]
            if stacked:
                top = [low + (0 if math.isnan(value) else value) for low, value in zip(base, plain)]
                axes.fill_between(times, base, top, color=color, alpha=0.6, linewidth=0, step=None)
                axes.plot(times, top, color=color, linewidth=0.8)
                base = top
            else:
                how = "steps-post" if custom["lineInterpolation"] == "stepAfter" else "default"
                axes.plot(times, plain, color=color, linewidth=1.5, drawstyle=how)
        axes.set_ylim(bottom=0)
        low, high = axes.get_ylim()
        axes.set_ylim(0, max(high, custom.get("axisSoftMax", 0), 1e-9))
        if custom["thresholdsStyle"]["mode"] == "dashed":
            for step in field["thresholds"]["steps"]:
                if step["value"] is not None and step["value"] <= axes.get_ylim()[1]:
                    axes.axhline(step["value"], color=step["color"], linewidth=1, linestyle="--")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=field.get("decimals") == 0))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: words(value, unit, field.get("decimals"))))
        axes.grid(axis="both", color=GRID, linewidth=0.6)
        self.time_axis(axes, times)
        self.draw_marks(axes, times)

    def legend(self, series, x, bottom, width):
        """Names below the graph, in as many lines as they need; gives back how many."""
        entries, line, used = [[]], 0, 0
        for name, color, _ in series:
            needed = 24 + 6.2 * len(name)
            if used + needed > width and entries[-1]:
                entries.append([])
                used = 0
            entries[-1].append((used, name, color))
            used += needed
        shown = entries[:3]
        for line, row in enumerate(shown):
            y = bottom - 13 * (len(shown) - line) + 4
            for offset, name, color in row:
                self.figure.patches.append(Rectangle(
                    ((x + offset) / self.width, 1 - (y + 7) / self.height), 10 / self.width, 3 / self.height, facecolor=color, zorder=-1,
                    transform=self.figure.transFigure, figure=self.figure))
                self.text(x + offset + 13, y, name, size=7, color=INK)
        return len(shown)

    def legend_beside(self, series, x, y, width, height, unit):
        """Names and their highest values beside the graph, the highest first, as many as there is room for."""
        ranked = sorted(((max((value for value in values if value is not None and value == value), default=0), name, color)
                         for name, color, values in series), key=lambda entry: -entry[0])
        self.text(x + width, y, "Max", size=7, color=FAINT, align="right")
        for line, (highest, name, color) in enumerate(ranked[:int((height - 14) / 14)]):
            top = y + 15 + 14 * line
            self.figure.patches.append(Rectangle(
                (x / self.width, 1 - (top + 7) / self.height), 10 / self.width, 3 / self.height, facecolor=color, zorder=-1,
                transform=self.figure.transFigure, figure=self.figure))
            self.text(x + 13, top, shortened(name, int((width - 70) / 5)), size=7)
            self.text(x + width, top, words(highest, unit), size=7, align="right")

    def stat(self, panel, answers, x, y, width, height):
        field = panel["fieldConfig"]["defaults"]
        values = answers[0].series[0][1] if answers and answers[0].series else []
        last = next((value for value in reversed(values) if value is not None), None)
        text, color = mapped(field, last)
        background = panel["options"]["colorMode"].startswith("background")
        if background:
            self.figure.patches.append(Rectangle(
                ((x - 7) / self.width, 1 - (y + height + 7) / self.height), (width + 14) / self.width, (height + 9) / self.height,
                facecolor=color, zorder=-2, transform=self.figure.transFigure, figure=self.figure))
        if panel["options"]["graphMode"] == "area" and len(values) > 1:
            axes = self.axes(x - 7, y + height * 0.45, width + 14, height * 0.55 + 7)
            plain = [math.nan if value is None else value for value in values]
            axes.fill_between(range(len(plain)), plain, min(v for v in plain if v == v), color="white" if background else color,
                              alpha=0.2, linewidth=0)
            axes.set_xlim(0, len(plain) - 1)
            axes.set_xticks([])
            axes.set_yticks([])
        ink = "#111217" if background else color
        self.text(x + width / 2, y + height * 0.15, text, size=min(26, width / max(len(text), 4) * 1.05), color=ink,
                  align="center", weight="bold")

    def table(self, panel, answers, x, y, width, height):
        organize = next(step for step in panel["transformations"] if step["id"] == "organize")["options"]
        units = {override["matcher"]["options"]: prop["value"] for override in panel["fieldConfig"]["overrides"]
                 for prop in override["properties"] if prop["id"] == "unit"}
        rows = {}
        for answer in answers:
            column = f"Value #{answer.query.target['refId']}" if len(answers) > 1 else "Value"
            for labels, values in answer.series:
                key = tuple(sorted((name, value) for name, value in labels.items() if name != "__name__"))
                rows.setdefault(key, dict(key))[column] = values[-1]
        fields = sorted(organize["renameByName"], key=organize["indexByName"].get)
        titles = [organize["renameByName"][field] for field in fields]
        body = list(rows.values())
        if panel["options"]["sortBy"]:
            by = fields[titles.index(panel["options"]["sortBy"][0]["displayName"])]
            body.sort(key=lambda row: -(row.get(by) or 0))
        # Texts take what they need, numbers the rest.
        longest = [2 + max([len(titles[i])] + [len(str(row.get(field, ""))) if isinstance(row.get(field, ""), str) else 8
                                               for row in body]) for i, field in enumerate(fields)]
        edges = [x + width * sum(longest[:i]) / sum(longest) for i in range(len(fields))]
        for edge, title in zip(edges, titles):
            self.text(edge, y, title, size=8, color="#6E9FFF", weight="bold")
        for number, row in enumerate(body[:int((height - 20) / 22)]):
            top = y + 22 + 22 * number
            for edge, field, title in zip(edges, fields, titles):
                value = row.get(field)
                shown = value if isinstance(value, str) else words(value, units.get(title, "none"))
                self.text(edge, top, shown, size=8)

    def heatmap(self, panel, answers, x, y, width, height):
        if not answers or not answers[0].series:
            return
        answer = answers[0]
        buckets = sorted(answer.series, key=lambda series: float(series[0]["le"]))
        cells, below = [], [0.0] * len(answer.times)
        for _, values in buckets:
            plain = [value or 0.0 for value in values]
            cells.append([max(0.0, value - low) for value, low in zip(plain, below)])
            below = plain
        axes = self.axes(x + 48, y, width - 52, height - 18)
        top = max((max(row) for row in cells), default=1) or 1
        shown = [[math.nan if value <= 1e-9 else value for value in row] for row in cells]
        axes.pcolormesh(answer.times, range(len(cells) + 1), [row[:-1] for row in shown], cmap="cividis",
                        norm=PowerNorm(0.5, 0, top), rasterized=True)
        names = [words(float(labels["le"]), "s") if labels["le"] != "+Inf" else "+Inf" for labels, _ in buckets]
        axes.set_yticks([index + 1 for index in range(0, len(names), 2)], names[::2])
        self.time_axis(axes, answer.times)
        self.draw_marks(axes, answer.times)

    def states(self, panel, answers, x, y, width, height):
        field = panel["fieldConfig"]["defaults"]
        series = named_series(panel, answers)
        options = [option for mapping in field["mappings"] for option in mapping["options"].values()]
        lines = self.legend([(option["text"], option["color"], None) for option in options], x, y + height, width)
        axes = self.axes(x + 86, y, width - 90, height - 18 - 13 * lines)
        if not series:
            return
        times = answers[0].times
        step = times[1] - times[0]
        for row, (name, _, values) in enumerate(series):
            for at, value in zip(times, values):
                if value is not None:
                    axes.barh(row, step * 1.05, left=at, height=0.8, color=mapped(field, value)[1], linewidth=0)
        axes.set_yticks(range(len(series)), [shortened(name, 18) for name, _, _ in series])
        axes.invert_yaxis()
        self.time_axis(axes, times)
        self.draw_marks(axes, times)


def shortened(name, most):
    return name if len(name) <= most else f"{name[:most - 1]}…"


def named_series(panel, answers):
    """Each series' name, colour and values, in the order of Grafana's legend."""
    fixed = {override["matcher"]["options"]: prop["value"]["fixedColor"] for override in panel["fieldConfig"]["overrides"]
             for prop in override["properties"] if prop["id"] == "color"}
    found = []
    for answer in answers:
        for labels, values in answer.series:
            name = legend(answer.query.target["legendFormat"], labels)
            found.append((name, fixed.get(name, CLASSIC[len(found) % len(CLASSIC)]), values))
    return found


def mapped(field, value):
    """The text and the colour of a value."""
    color = field["thresholds"]["steps"][0]["color"]
    for step in field["thresholds"]["steps"]:
        if step["value"] is not None and value is not None and value >= step["value"]:
            color = step["color"]
    for mapping in field.get("mappings", []):
        options = mapping["options"]
        if mapping["type"] == "value" and value is not None and f"{value:g}" in options:
            return options[f"{value:g}"]["text"], options[f"{value:g}"]["color"]
        if mapping["type"] == "range" and value is not None:
            start, end = options["from"], options["to"]
            if (start is None or value >= start) and (end is None or value <= end):
                return options["result"]["text"], options["result"]["color"]
    return words(value, field["unit"], field.get("decimals")), color
