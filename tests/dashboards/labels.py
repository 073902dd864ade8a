"""Which labels the series of an expression bear, followed from the metrics through what PromQL does to them."""

import promql_parser as promql

from board import walk

SET_OPERATORS = {"or", "and", "unless"}


def survivors(node, known):
    """The labels that the series of an expression can bear; None for a number, which has none and fits any."""
    match node:
        case promql.NumberLiteral() | promql.StringLiteral():
            return None
        case promql.VectorSelector():
            return set(known[node.name].labels) if node.name in known else set()
        case promql.MatrixSelector():
            return survivors(node.vector_selector, known)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return survivors(node.expr, known)
        case promql.AggregateExpr():
            inner = survivors(node.expr, known) or set()
            if node.modifier is None:
                return set()
            named = set(node.modifier.labels)
            return inner & named if is_by(node) else inner - named
        case promql.Call():
            return of_call(node, known)
        case promql.BinaryExpr():
            left, right = survivors(node.lhs, known), survivors(node.rhs, known)
            return right if left is None else left if right is None else left | right
    raise AssertionError(f"no rule for {type(node).__name__}")


def of_call(node, known):
    if node.func.name in ("time", "scalar"):
        return None
    if node.func.name == "vector":
        return set()
    bearing = [labels for arg in node.args if (labels := survivors(arg, known)) is not None]
    left = set().union(*bearing)
    if node.func.name == "histogram_quantile":
        left.discard("le")
    if node.func.name == "label_replace":
        left.add(node.args[1].val)
    return left


def is_by(aggregation):
    return aggregation.modifier.type == promql.AggModifierType.By


def misfits(tree, known):
    """Labels that an expression groups, joins or replaces by, and that its series do not have."""
    for node in walk(tree):
        match node:
            case promql.AggregateExpr() if node.modifier:
                inner = survivors(node.expr, known) or set()
                for label in sorted(set(node.modifier.labels) - inner):
                    yield f"it groups by {label!r}, which its series do not have"
            case promql.Call() if node.func.name == "label_replace" and node.args[3].val:
                if node.args[3].val not in (survivors(node.args[0], known) or set()):
                    yield f"it replaces by {node.args[3].val!r}, which its series do not have"
            case promql.Call() if node.func.name == "histogram_quantile":
                if "le" not in (survivors(node.args[1], known) or set()):
                    yield "it takes a quantile of series without `le`"
            case promql.BinaryExpr():
                yield from of_join(node, known)


def of_join(node, known):
    left, right = survivors(node.lhs, known), survivors(node.rhs, known)
    if left is None or right is None:
        return
    matching = node.modifier.matching if node.modifier else None
    if matching is None:
        if str(node.op) not in SET_OPERATORS and left != right:
            yield f"{str(node.op)!r} joins series that differ in {', '.join(sorted(left ^ right))}"
        return
    named = set(matching.labels)
    if matching.type == promql.LabelModifierType.Include:
        for label in sorted(named - (left & right)):
            yield f"it joins on {label!r}, which one side does not have"
    else:
        if left - named != right - named:
            yield f"it joins series that differ in {', '.join(sorted((left ^ right) - named))}"
        for label in sorted(named - (left | right)):
            yield f"it ignores {label!r}, which neither side has"
