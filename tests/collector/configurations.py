"""The configurations in monitoring/otel-collector: which files go together, how the collector merges them, and what is left of
one on a collector that has not every component."""

import pathlib
from dataclasses import dataclass

import yaml

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "monitoring" / "otel-collector"

BACK_ENDS = ("elastic", "datadog", "appdynamics", "jaeger", "prometheus")

# What the pages say to start. Prometheus takes no traces, and the gateway needs somewhere to send them.
COMPOSITIONS = {
    "loadbalancer": ("loadbalancer",),
    "elastic": ("gateway", "elastic"),
    "datadog": ("gateway", "datadog"),
    "appdynamics": ("gateway", "appdynamics"),
    "jaeger": ("gateway", "jaeger"),
    "prometheus": ("gateway", "jaeger", "prometheus"),
    "everything": ("gateway", *BACK_ENDS),
}

SECTIONS = ("extensions", "receivers", "processors", "connectors", "exporters")


def path(name):
    """The file of this name."""
    return FOLDER / f"{name}.yaml"


def load(name):
    """One file, as it stands: variables are not replaced."""
    return yaml.safe_load(path(name).read_text())


def objective_ms():
    """How long an answer may take by the latency objective."""
    slos = yaml.safe_load((FOLDER.parent / "slo.yaml").read_text())["slos"]
    return round(1000 * next(slo["threshold_seconds"] for slo in slos if slo["name"] == "latency"))


def merged(configurations):
    """Several configurations as the collector merges them: maps are joined, and of everything else the last wins."""

    def join(first, second):
        if not (isinstance(first, dict) and isinstance(second, dict)):
            return second
        return {**first, **{key: join(first[key], value) if key in first else value for key, value in second.items()}}

    result = {}
    for configuration in configurations:
        result = join(result, configuration)
    return result


def composition(name):
    """All files of a composition, merged."""
    return merged(load(file) for file in COMPOSITIONS[name])


def type_of(component):
    """`otlp_http` of `otlp_http/elastic`; the signal, of a pipeline."""
    return component.split("/")[0]


@dataclass
class Reduced:
    """A configuration without the components that a collector has not, and what was done to it."""

    configuration: dict
    notes: list


def reduced(configuration, available):
    """Leaves out what is not `available`, a set of types for each section.

    `load_balancing` becomes the exporter that it wraps, with the settings that it wraps it with, to one fixed gateway: so the
    rest of its configuration, and those settings, are run all the same.
    """
    configuration = merged([configuration])
    notes, missing = [], set()
    for section in SECTIONS:
        for name, settings in list(configuration.get(section, {}).items()):
            if type_of(name) in available[section]:
                continue
            del configuration[section][name]
            if (section, type_of(name)) == ("exporters", "load_balancing"):
                replacement = "otlp_grpc/" + name.replace("/", "-")
                endpoint = settings["resolver"]["dns"]["hostname"] + ":" + settings["resolver"]["dns"]["port"]
                configuration[section][replacement] = {"endpoint": endpoint, **settings["protocol"]["otlp"]}
                replace(configuration["service"]["pipelines"], name, [replacement])
                notes.append(f"{name} replaced by {replacement}, to one gateway")
            else:
                missing.add(name)
                notes.append(f"{name} left out")
    for name in missing:
        replace(configuration["service"]["pipelines"], name, [])
    service = configuration["service"]
    service["extensions"] = [name for name in service.get("extensions", []) if name not in missing]
    if missing:
        notes += [f"{name} left out with it" for name in without_dead_ends(configuration)]
    return Reduced(configuration, notes)


def without_dead_ends(configuration):
    """Takes out pipelines that have lost their beginning or their end, and connectors that led to or from them."""
    pipelines = configuration["service"]["pipelines"]
    while True:
        dead = [name for name, parts in pipelines.items() if not (parts["receivers"] and parts["exporters"])]
        for name in dead:
            del pipelines[name]
            yield name
        used = [{name for parts in pipelines.values() for name in parts[role]} for role in ("receivers", "exporters")]
        lost = configuration.get("connectors", {}).keys() - (used[0] & used[1])
        for name in sorted(lost):
            del configuration["connectors"][name]
            replace(pipelines, name, [])
            yield name
        if not (dead or lost):
            return


def replace(pipelines, old, new):
    """In each list of each pipeline."""
    for pipeline in pipelines.values():
        for role, names in pipeline.items():
            pipeline[role] = [each for name in names for each in (new if name == old else [name])]
