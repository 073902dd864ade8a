"""Every object against the schemas of Kubernetes, and of the operators, strictly: what they do not know is a fault."""

import copy
import json
import re
import subprocess
import unittest

import kubernetes_validate
import yaml
from rendered import KUBERNETES, ROOT, everything, named, objects

# From the oldest that is promised to the newest that the validator knows.
VERSIONS = ("1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37")
NODE = ROOT / ".tools/crds"
# Kinds of operators whose schemas nobody publishes as a package; they stand in examples only.
UNKNOWN = {"mongodbcommunity.mongodb.com"}


def group(one):
    return one["apiVersion"].partition("/")[0] if "/" in one["apiVersion"] else ""


def is_of_operator(one):
    return "." in group(one) and not group(one).endswith(".k8s.io") or group(one) == "gateway.networking.k8s.io"


def check_operators(found):
    """The faults that crds.mjs finds."""
    script = ROOT / "tests/manifests/crds.mjs"
    done = subprocess.run(["node", str(script)], cwd=NODE, input=json.dumps(found), capture_output=True, text=True)
    if done.returncode not in (0, 1) or done.stderr:
        raise AssertionError(done.stderr)
    return done.stdout.strip()


def examples():
    """The objects in the guide's blocks."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", (KUBERNETES / "README.md").read_text(), re.M | re.S)
    return [one for block in blocks for one in yaml.safe_load_all(block) if group(one) not in UNKNOWN]


class Schemas(unittest.TestCase):
    def test_objects_of_kubernetes(self):
        checked = 0
        for name in everything():
            for one in objects(name):
                if not is_of_operator(one):
                    for version in VERSIONS:
                        kubernetes_validate.validate(one, version, strict=True)
                    checked += 1
        self.assertGreater(checked, 50)

    def test_an_unknown_field_of_kubernetes_is_found(self):
        wrong = copy.deepcopy(named(objects("overlay/minikube"), "Deployment", "counter-api"))
        wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 60
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)

    def test_objects_of_operators(self):
        found = [one for name in everything() for one in objects(name) if is_of_operator(one)] + examples()
        kinds = {one["kind"] for one in found}
        self.assertLessEqual({"HTTPRoute", "ScaledObject", "PrometheusRule", "AlertmanagerConfig", "PodMonitor", "Probe", "ExternalSecret"}, kinds)
        self.assertEqual(check_operators(found), "")

    def test_faults_in_objects_of_operators_are_found(self):
        unknown = copy.deepcopy(named(objects("component/keda"), "ScaledObject", "counter-api"))
        unknown["spec"]["maxReplicas"] = 3
        self.assertIn("maxReplicas", check_operators([unknown]))
        out_of_bounds = copy.deepcopy(named(objects("component/gateway"), "HTTPRoute", "counter-api"))
        out_of_bounds["spec"]["rules"][0]["backendRefs"][0]["port"] = 80000
        self.assertIn("port", check_operators([out_of_bounds]))


if __name__ == "__main__":
    unittest.main()
