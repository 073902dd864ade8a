"""The committed dashboards, as what the checks look at: panels, queries, and their parsed PromQL."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import promql_parser as promql

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "dashboards"

# What Grafana puts in place of its own variables, for parsing alone.
SAMPLE = {"__rate_interval": "1m", "__interval": "15s", "__range": "1h"}
VARIABLE = re.compile(r"\$\{?(\w+)(?::\w+)?\}?")
LEGEND_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def expand(text, values):
    """The text with its variables replaced; a variable without a value stays, so that whoever parses it complains."""
    return VARIABLE.sub(lambda match: values.get(match[1], match[0]), text)


@dataclass
class Query:
    """One expression, and where it stands."""

    where: str
    expr: str
    target: dict
    panel: dict
    board: dict

    @property
    def legend_labels(self):
        return LEGEND_LABEL.findall(self.target.get("legendFormat", ""))

    def parsed(self):
        values = {**{name: ".+" for name in variables(self.board)}, **SAMPLE}
        return promql.parse(expand(self.expr, values))


def boards():
    """Every dashboard by its file's name."""
    found = {path.name: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
    assert found, f"no dashboard in {FOLDER}"
    return found


def variables(board):
    """The names of a dashboard's variables."""
    return [variable["name"] for variable in board["templating"]["list"]]


def all_values(board):
    """What Grafana writes for each variable while all of its values are chosen."""
    return {variable["name"]: variable["allValue"] for variable in board["templating"]["list"] if variable["type"] == "query"}


def panels(board):
    """Every panel but the headings, those in folded rows as well."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", [])
        else:
            yield panel


def queries(board):
    """Every expression of every panel."""
    for panel in panels(board):
        for target in panel["targets"]:
            where = f"{board['uid']}, panel {panel['title']!r}, query {target['refId']}"
            yield Query(where, target["expr"], target, panel, board)


def annotations(board):
    """Every annotation's expression."""
    for annotation in board["annotations"]["list"]:
        target = {"legendFormat": annotation["titleFormat"] + annotation["textFormat"], "refId": "Anno"}
        yield Query(f"{board['uid']}, annotation {annotation['name']!r}", annotation["expr"], target, annotation, board)


def children(node):
    """The parts of an expression."""
    match node:
        case promql.AggregateExpr():
            return [node.expr, *([node.param] if node.param is not None else [])]
        case promql.BinaryExpr():
            return [node.lhs, node.rhs]
        case promql.Call():
            return list(node.args)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return [node.expr]
        case promql.MatrixSelector():
            return [node.vector_selector]
    return []


def walk(node):
    """An expression and all of its parts."""
    yield node
    for child in children(node):
        yield from walk(child)


def selectors(node):
    """Every selector of an expression, as its metric's name and its matchers."""
    for part in walk(node):
        if isinstance(part, promql.VectorSelector):
            matchers = list(part.matchers.matchers)
            name = part.name or next((matcher.value for matcher in matchers if matcher.name == "__name__"), "")
            yield name, [matcher for matcher in matchers if matcher.name != "__name__"]
