"""Which unit an expression has, found from the names of its metrics and what PromQL does to them.

A dimension is a pair of exponents, of seconds and of bytes, and whether it counts something. A panel whose unit is another
one shows milliseconds as hours.
"""

from dataclasses import dataclass

import promql_parser as promql

from board import walk


@dataclass(frozen=True)
class Dimension:
    """Exponents of seconds, bytes, and things that are counted."""

    seconds: int = 0
    bytes: int = 0
    things: int = 0

    def times(self, other, sign=1):
        return Dimension(self.seconds + sign * other.seconds, self.bytes + sign * other.bytes,
                         self.things + sign * other.things)


class Mismatch(Exception):
    """Two parts that cannot be added or compared."""


SECONDS, BYTES, THINGS, RATIO = Dimension(seconds=1), Dimension(bytes=1), Dimension(things=1), Dimension()
PER_SECOND = {"rate", "irate", "deriv"}
COUNTING = {"count", "changes", "resets", "count_over_time", "absent"}


def of_metric(name, values=False):
    """The dimension of a series; of what its buckets bound, if `values` says so."""
    histogram = name.endswith("_bucket") or name.endswith("_count")
    if histogram and not values:
        return THINGS
    if name == "tokio_worker_busy_seconds_total":
        # Summed over the workers: seconds of so many threads.
        return Dimension(seconds=1, things=1)
    if name == "k6_offered_rate":
        return Dimension(seconds=-1, things=1)
    base = name
    for suffix in ("_bucket", "_sum", "_total"):
        base = base.removesuffix(suffix)
    if base.endswith("_seconds") or base.startswith("k6_http_req_duration"):
        return SECONDS
    if base.endswith("_bytes"):
        return BYTES
    if base.endswith("ratio") or base.startswith("k6_") and base.endswith("_rate"):
        return RATIO
    return THINGS


def of(node):
    """The dimension of an expression; None is a plain number, which fits anything."""
    match node:
        case promql.NumberLiteral() | promql.StringLiteral():
            return None
        case promql.VectorSelector():
            return of_metric(node.name)
        case promql.MatrixSelector():
            return of(node.vector_selector)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return of(node.expr)
        case promql.AggregateExpr():
            return THINGS if str(node.op) in COUNTING else of(node.expr)
        case promql.Call():
            return of_call(node)
        case promql.BinaryExpr():
            return of_binary(node)
    raise AssertionError(f"no rule for {type(node).__name__}")


def of_call(node):
    name, args = node.func.name, list(node.args)
    if name == "histogram_quantile":
        return of_values(args[1])
    if name in ("time", "timestamp"):
        return SECONDS
    if name == "vector":
        return None
    if name in COUNTING:
        return THINGS
    dimension = of(args[0])
    return dimension.times(SECONDS, -1) if name in PER_SECOND else dimension


def of_values(node):
    """What the bounds of the buckets in here measure."""
    for part in walk(node):
        if isinstance(part, promql.VectorSelector):
            return of_metric(part.name, values=True)
    raise AssertionError("a quantile of nothing")


def of_binary(node):
    left, right, op = of(node.lhs), of(node.rhs), str(node.op)
    if op in ("*", "/"):
        return (left or RATIO).times(right or RATIO, 1 if op == "*" else -1)
    if left is None or right is None:
        return left or right
    if op in ("unless", "and"):
        return left
    if left != right:
        raise Mismatch(f"{op!r} joins {left} and {right}")
    return left


def fits(unit, dimension):
    """May a panel of this unit show an expression of this dimension?"""
    if dimension is None:
        return True
    bare = dimension.seconds == 0 and dimension.bytes == 0
    match unit:
        case "s":
            return dimension.seconds == 1 and dimension.bytes == 0
        case "bytes":
            return dimension.bytes == 1 and dimension.seconds == 0
        case "reqps" | "ops" | "cps":
            return dimension == Dimension(seconds=-1, things=1)
        case "percentunit":
            return bare and dimension.things == 0
        case "none":
            return bare
    return False
