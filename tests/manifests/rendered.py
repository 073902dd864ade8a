"""What kustomize makes of kubernetes/, once for all tests."""

import functools
import os
import subprocess
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "kubernetes"
KUSTOMIZE = ROOT / ".tools/bin/kustomize"
OVERLAYS = ("minikube", "production")
COMPONENTS = tuple(sorted(path.name for path in (KUBERNETES / "components").iterdir()))

# What is made in the cluster and stands in no file: by kubernetes/make-secrets,
MADE = {
    "counter-api-store": {"store-url"},
    "counter-api-jwt": {"jwt-keys"},
    "mongodb": {"keyfile", "root-password", "api-user", "api-password", "backup-password"},
}
# and by hand, as kubernetes/README.md says.
BY_HAND = {
    "counter-api-oauth": {"github"},
    "counter-api-mongodb-ca": {"ca.crt"},
}
SECRETS = MADE | BY_HAND


def kustomize(directory):
    """The text that kustomize writes, which is what `kubectl apply -k` applies."""
    done = subprocess.run([KUSTOMIZE, "build", str(directory)], capture_output=True, text=True)
    # A warning is a fault as well: it names what the next version refuses.
    if done.returncode != 0 or done.stderr:
        raise AssertionError(f"kustomize build {directory}: {done.stderr}")
    return done.stdout


@functools.cache
def text(name):
    """The text of an overlay, of `restore`, of a component on the base, or of a file that is applied by itself."""
    kind, _, which = name.partition("/")
    if kind == "file":
        return (KUBERNETES / which).read_text()
    if kind == "component":
        return on_base(which)
    return kustomize(KUBERNETES / "overlays" / which if kind == "overlay" else KUBERNETES / name)


def on_base(component):
    """A component as it is used, without what an overlay adds."""
    with tempfile.TemporaryDirectory() as directory:
        there = Path(os.path.relpath(KUBERNETES, Path(directory).resolve()))
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "counter-api",
            "resources": [str(there / "base")],
            "components": [str(there / "components" / component)],
            "images": [{"name": "counter-api", "newTag": "0.1.0"}],
        }
        Path(directory, "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return kustomize(directory)


def objects(name):
    """The objects in it."""
    return [found for found in yaml.safe_load_all(text(name)) if found]


def everything():
    """The names of all that can be applied."""
    names = [f"overlay/{overlay}" for overlay in OVERLAYS]
    names += [f"component/{component}" for component in COMPONENTS]
    return names + ["restore", "file/namespace.yaml", "file/backup-claim.yaml"]


def of_kind(found, *kinds):
    return [one for one in found if one["kind"] in kinds]


def named(found, kind, name):
    """The one object of that kind and name."""
    matching = [one for one in of_kind(found, kind) if one["metadata"]["name"] == name]
    if len(matching) != 1:
        raise AssertionError(f"{len(matching)} objects {kind}/{name}")
    return matching[0]


def pod_templates(found):
    """The pod template of each workload, with its workload."""
    for one in of_kind(found, "Deployment", "StatefulSet", "Job"):
        yield one, one["spec"]["template"]
    for one in of_kind(found, "CronJob"):
        yield one, one["spec"]["jobTemplate"]["spec"]["template"]


def containers(template):
    return template["spec"].get("initContainers", []) + template["spec"]["containers"]
