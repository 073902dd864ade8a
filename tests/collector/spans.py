"""Spans as text that can be compared: each below its parent, with everything that it says."""

import json
from dataclasses import dataclass

KINDS = ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"]


@dataclass
class Span:
    """One span, with its resource."""

    raw: object
    resource: dict

    @property
    def name(self):
        return self.raw.name

    @property
    def kind(self):
        return KINDS[self.raw.kind]

    @property
    def trace(self):
        return self.raw.trace_id.hex()

    @property
    def id(self):
        return self.raw.span_id.hex()

    @property
    def parent(self):
        return self.raw.parent_span_id.hex()

    @property
    def attributes(self):
        return attributes(self.raw.attributes)

    @property
    def links(self):
        return [(link.trace_id.hex(), link.span_id.hex()) for link in self.raw.links]

    @property
    def failed(self):
        return self.raw.status.code == 2

    def __str__(self):
        return f"{self.kind} {self.name}"


def of(messages):
    """All spans of these requests."""
    return [
        Span(span, attributes(resource_spans.resource.attributes))
        for message in messages
        for resource_spans in message.resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    ]


def attributes(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


def value(any_value):
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [value(each) for each in any_value.array_value.values]
    return getattr(any_value, kind) if kind else None


def tree(spans, trace, volatile=()):
    """The spans of one trace. `volatile` are kinds and attributes whose values are not the same each time."""
    known = {span.id: span for span in spans}
    own = sorted((span for span in spans if span.trace == trace), key=lambda span: span.raw.start_time_unix_nano)
    ids = {span.id for span in own}

    def lines(parent, depth):
        for span in own:
            if (span.parent if span.parent in ids else None) != parent:
                continue
            indent = "  " * depth
            yield f"{indent}{span}{' ERROR' if span.failed else ''}"
            for name, text in sorted(span.attributes.items()):
                yield f"{indent}  | {name} = {'…' if (span.kind, name) in volatile else json.dumps(text)}"
            for other_trace, other in span.links:
                target = str(known[other]) if other in known else "nowhere"
                yield f"{indent}  > {target}{' of another trace' if other_trace != trace else ''}"
            yield from lines(span.id, depth + 1)

    return "\n".join(lines(None, 0))
