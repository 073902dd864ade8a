"""What can be said of the configurations without a collector. As a program: says what is wrong, and fails if anything is."""

import re
import sys

import configurations
from configurations import BACK_ENDS, COMPOSITIONS, FOLDER, SECTIONS, type_of

# What components are no longer called, most of which the collector still takes, with a warning; and what to use.
FORMER_TYPES = {
    "exporters": {
        "otlp": "otlp_grpc",
        "otlphttp": "otlp_http",
        "loadbalancing": "load_balancing",
        "prometheusremotewrite": "prometheus_remote_write",
        "logging": "debug",
        "jaeger": "otlp_grpc",
    },
    "processors": {
        "batch": "sending_queue.batch of each exporter",
        "k8sattributes": "k8s_attributes",
        "resourcedetection": "resource_detection",
        "cumulativetodelta": "cumulative_to_delta",
    },
    "connectors": {"spanmetrics": "span_metrics"},
}

# Settings that are deprecated: a section, a type, a key at any depth, and what to use.
FORMER_SETTINGS = [
    ("connectors", "span_metrics", "dimensions_cache_size", "aggregation_cardinality_limit"),
    ("exporters", "prometheus", "resource_to_telemetry_conversion", "resource_constant_labels"),
    ("exporters", "prometheus", "add_metric_suffixes", "translation_strategy"),
    ("processors", "tail_sampling", "invert_match", "a policy of the type not, or drop"),
    ("extensions", "health_check", "check_collector_pipeline", "nothing: it does not work"),
    ("exporters", "otlp_http", "batcher", "sending_queue.batch"),
    ("exporters", "otlp_grpc", "batcher", "sending_queue.batch"),
]

# The settings of load_balancing at 0.165, which cannot be had as a module: it is the one component that no collector checks.
LOAD_BALANCING = {
    "": {"routing_key", "routing_attributes", "protocol", "resolver", "timeout", "retry_on_failure", "sending_queue"},
    "protocol": {"otlp"},
    "resolver": {"static", "dns", "k8s", "aws_cloud_map"},
    "resolver.dns": {"hostname", "port", "interval", "timeout"},
    "resolver.k8s": {"service", "ports", "timeout", "return_hostnames"},
    "resolver.static": {"hostnames"},
}
ROUTING_KEYS = {"traces": {"traceID", "service", "attributes"}, "logs": {"traceID", "service", "resource", "attributes"}}

# The page that tells of a file's variables.
PAGES = {"README": ("loadbalancer", "gateway"), **{name: (name,) for name in BACK_ENDS}}

# What the connectors make of a signal.
CONNECTED = {"forward": lambda signal: signal, "span_metrics": {"traces": "metrics"}.get}

VARIABLE = re.compile(r"\$\{env:([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")
SECRET = re.compile(r"key|token|secret|password|authorization|credential", re.IGNORECASE)
# Headers that are no secret, and so may stand in a file.
PLAIN_HEADERS = {"dd-otel-metric-config"}


def faults():
    """Everything that is wrong, as sentences."""
    found = []
    files = {name: configurations.load(name) for name in ("loadbalancer", "gateway", *BACK_ENDS)}
    for name, configuration in files.items():
        found += [f"{name}.yaml: {fault}" for fault in faults_of_file(configuration)]
    for name, parts in COMPOSITIONS.items():
        found += [f"{name}: {fault}" for fault in faults_of_merge({part: files[part] for part in parts})]
        found += [f"{name}: {fault}" for fault in faults_of_whole(configurations.merged(files[part] for part in parts))]
    for page, parts in PAGES.items():
        text = (FOLDER / f"{page}.md").read_text()
        found += [f"{page}.md: {fault}" for fault in faults_of_page(text, [files[part] for part in parts])]
    return found


def faults_of_file(configuration):
    """What can be said of one file alone."""
    yield from former_names(configuration)
    yield from open_secrets(configuration)
    yield from unbounded_dimensions(configuration)
    for name, settings in configuration.get("processors", {}).items():
        if type_of(name) == "tail_sampling":
            yield from faults_of_policies(name, settings["policies"])
    for name, settings in configuration.get("exporters", {}).items():
        if type_of(name) == "load_balancing":
            yield from faults_of_load_balancing(name, settings)
        queue = settings["protocol"]["otlp"] if type_of(name) == "load_balancing" else settings
        if type_of(name) != "prometheus" and "batch" not in queue.get("sending_queue", {}):
            yield f"{name} has no sending_queue.batch: it would send each request by itself"


def former_names(configuration):
    for section in SECTIONS:
        for name in configuration.get(section, {}):
            if new := FORMER_TYPES.get(section, {}).get(type_of(name)):
                yield f"{section}: {name} is out of use; use {new}"
    for section, kind, key, new in FORMER_SETTINGS:
        for name, settings in configuration.get(section, {}).items():
            if type_of(name) == kind and any(place[-1] == key for place, _ in leaves(settings, inner=True)):
                yield f"{name}: {key} is deprecated; use {new}"
    if "address" in configuration.get("service", {}).get("telemetry", {}).get("metrics", {}):
        yield "service.telemetry.metrics.address is deprecated; use readers"


def open_secrets(configuration):
    for place, value in leaves(configuration):
        name = ".".join(map(str, place))
        for reference in re.findall(r"\$\{[^}]*\}?|\$[A-Za-z_]\w*", str(value)):
            if not VARIABLE.fullmatch(reference):
                yield f"{name}: {reference} is no variable of the environment"
        header = len(place) > 1 and place[-2] == "headers" and place[-1] not in PLAIN_HEADERS
        if header or (place[0] == "exporters" and SECRET.search(str(place[-1])) and place[-1] != "routing_key"):
            rest, variables = VARIABLE.sub("", str(value)), VARIABLE.findall(str(value))
            if not (re.fullmatch(r"([A-Za-z]+ )?", rest) and len(variables) == 1 and not variables[0][1]):
                yield f"{name} must come from the environment, and have no default"


def unbounded_dimensions(configuration):
    """Attributes of a span that a caller makes up must not become series."""
    for name, settings in configuration.get("connectors", {}).items():
        for dimension in settings.get("dimensions", []):
            if "glob" in dimension or re.match(r"url\.|client\.|user|db\.query", dimension["name"]):
                yield f"{name}: {dimension} is not bounded"


def faults_of_policies(name, policies):
    """A policy takes settings of another type, and unknown ones, without a word; it then matches everything, or nothing."""
    names = [policy["name"] for policy in policies]
    if len(set(names)) != len(names):
        yield f"{name}: two policies have one name"
    for policy in policies:
        if set(policy) != {"name", "type", policy["type"]}:
            yield f"{name}: the policy {policy['name']} must have settings for {policy['type']} and no others"
        elif policy["type"] == "and":
            yield from faults_of_policies(f"{name}.{policy['name']}", policy["and"]["and_sub_policy"])
        elif policy["name"] == "slower-than-the-objective" and policy["latency"]["threshold_ms"] != configurations.objective_ms():
            yield f"{name}: {policy['name']} is not the {configurations.objective_ms()} ms of monitoring/slo.yaml"


def faults_of_load_balancing(name, settings):
    for place, known in LOAD_BALANCING.items():
        inner = settings
        for key in filter(None, place.split(".")):
            inner = (inner or {}).get(key)
        for key in set(inner or ()) - known:
            yield f"{name}: there is no setting {place}.{key}"
    if len(settings.get("resolver", {})) != 1:
        yield f"{name}: there must be one resolver"
    if not isinstance(settings.get("resolver", {}).get("dns", {}).get("port", ""), str):
        yield f"{name}: resolver.dns.port must be a string"
    if "endpoint" in settings.get("protocol", {}).get("otlp", {}):
        yield f"{name}: protocol.otlp.endpoint is overwritten by the resolver"
    if settings.get("routing_key") not in set.intersection(*ROUTING_KEYS.values()):
        yield f"{name}: routing_key must be one that traces and logs can be routed by"


def faults_of_merge(files):
    """No two files may set the same thing: the second would silently replace the first, lists included."""
    owners = {}
    for file, configuration in files.items():
        for place, _ in leaves(configuration):
            # The components of a list belong to whoever has the list.
            place = place[: next((at for at, key in enumerate(place) if isinstance(key, int)), len(place))]
            if owners.setdefault(place, file) != file:
                yield f"{'.'.join(place)} is set by {owners[place]}.yaml and by {file}.yaml"


def faults_of_whole(configuration):
    """What can be said of a configuration that is started."""
    pipelines = configuration["service"]["pipelines"]
    roles = {"receivers": ("receivers", "connectors"), "processors": ("processors",), "exporters": ("exporters", "connectors")}
    used = {section: set() for section in SECTIONS}
    used["extensions"] |= set(configuration["service"].get("extensions", []))
    for pipeline, parts in pipelines.items():
        for role, names in parts.items():
            for name in names:
                section = next((section for section in roles[role] if name in configuration.get(section, {})), None)
                if section is None:
                    yield f"{pipeline}: {name} is not defined"
                else:
                    used[section].add(name)
        for role in ("receivers", "exporters"):
            if not parts.get(role):
                yield f"{pipeline} has no {role}"
        if set(parts["receivers"]) & set(configuration["receivers"]) and parts.get("processors", [None])[0] != "memory_limiter":
            yield f"{pipeline} takes data from outside, and does not begin with memory_limiter"
    for section in SECTIONS:
        for name in configuration.get(section, {}).keys() - used[section]:
            yield f"{section}: {name} is defined, and used nowhere"
    for name in used["extensions"] - configuration.get("extensions", {}).keys():
        yield f"extension {name} is not defined"
    for name in configuration.get("connectors", {}):
        yield from faults_of_connector(name, pipelines)


def faults_of_connector(name, pipelines):
    into = [pipeline for pipeline, parts in pipelines.items() if name in parts["exporters"]]
    out = [pipeline for pipeline, parts in pipelines.items() if name in parts["receivers"]]
    if not into or not out:
        yield f"{name} must be an exporter of one pipeline and a receiver of another"
    for pipeline in into:
        made = CONNECTED[type_of(name)](type_of(pipeline))
        for other in out:
            if type_of(other) != made:
                yield f"{name} cannot make {type_of(other)} of {type_of(pipeline)}"
        if type_of(name) == "span_metrics":
            yield from (f"{name} counts what {sampler} left over" for sampler in samplers_before(pipeline, pipelines))


def samplers_before(pipeline, pipelines):
    """The samplers of a pipeline, and of those that feed it."""
    parts = pipelines[pipeline]
    yield from (name for name in parts.get("processors", []) if "sampl" in name)
    for other, others in pipelines.items():
        if set(others["exporters"]) & set(parts["receivers"]):
            yield from samplers_before(other, pipelines)


def faults_of_page(page, configurations_told):
    """The page has a table of the variables of its files: | `NAME` | `default`, or words | means |."""
    used = {}
    for configuration in configurations_told:
        for _, value in leaves(configuration):
            for variable, default in VARIABLE.findall(str(value)):
                if used.setdefault(variable, default) != default:
                    yield f"{variable} has two defaults"
    told = dict(re.findall(r"^\| `([A-Z][A-Z0-9_]*)` \| (?:`([^`]*)`|[a-z ]*) \|", page, re.MULTILINE))
    for variable in sorted(used.keys() ^ told.keys()):
        yield f"{variable} is {'not in its table' if variable in used else 'in its table, and in no file'}"
    for variable in sorted(used.keys() & told.keys()):
        if used[variable] != told[variable]:
            yield f"the default of {variable} is {used[variable] or 'none'}"


def leaves(tree, place=(), inner=False):
    """Each value with the keys that lead to it; with `inner`, each map and list as well."""
    if isinstance(tree, (dict, list)):
        if inner and place:
            yield place, tree
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from leaves(value, (*place, key), inner)
    else:
        yield place, tree


if __name__ == "__main__":
    wrong = faults()
    for fault in wrong:
        print(f"check-collector-configs: {fault}", file=sys.stderr)
    sys.exit(1 if wrong else 0)
