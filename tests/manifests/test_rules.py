"""What no schema knows: that the parts of kubernetes/ fit to each other, to the service and to compose.yaml."""

import ipaddress
import json
import re
import unittest
from urllib.parse import urlsplit

import yaml
from rendered import BY_HAND, KUBERNETES, MADE, OVERLAYS, ROOT, SECRETS, containers, everything, named, objects, of_kind, pod_templates

# What the service may take beside the two settings: closing its queue, the last answers, closing the store, flushing (src/service.rs, src/cli.rs).
CLOSING = {"CLOSE_TIMEOUT": 2, "LAST_ANSWERS": 1, "FLUSH_TIMEOUT": 1}


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


def closing_seconds():
    source = (ROOT / "src/service.rs").read_text() + (ROOT / "src/cli.rs").read_text()
    return sum(times * int(re.search(rf"const {name}: Duration = Duration::from_secs\((\d+)\)", source)[1]) for name, times in CLOSING.items())


def settings_of(found):
    """The ConfigMap of the service."""
    return next(one["data"] for one in of_kind(found, "ConfigMap") if "COUNTER_LISTEN" in one["data"])


def matches(selector, labels):
    for name, value in (selector.get("matchLabels") or {}).items():
        if labels.get(name) != value:
            return False
    for expression in selector.get("matchExpressions") or []:
        if expression["operator"] != "In":
            raise AssertionError(f"unknown operator {expression['operator']}")
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True


def as_texts(things):
    """The same for the same things, in whatever order they and their keys are."""
    return sorted(json.dumps(thing, sort_keys=True) for thing in things)


class Overlays(unittest.TestCase):
    def each(self):
        return [objects(f"overlay/{overlay}") for overlay in OVERLAYS]

    def test_a_stop_has_the_time_that_it_takes(self):
        for found in self.each():
            settings = settings_of(found)
            pod = named(found, "Deployment", "counter-api")["spec"]["template"]["spec"]
            sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
            drain = seconds(settings["COUNTER_DRAIN_DELAY"]) + seconds(settings["COUNTER_DRAIN_TIMEOUT"])
            self.assertGreaterEqual(pod["terminationGracePeriodSeconds"], sleep + drain + closing_seconds())

    def test_probes_ask_what_they_are_for(self):
        for found in self.each():
            container = named(found, "Deployment", "counter-api")["spec"]["template"]["spec"]["containers"][0]
            asked = {probe: container[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
            self.assertEqual(asked, {"startupProbe": "/livez", "readinessProbe": "/readyz", "livenessProbe": "/livez"})
            router = (ROOT / "src/router.rs").read_text() + (ROOT / "src/api/health.rs").read_text()
            for path in set(asked.values()):
                self.assertIn(f'"{path}"', router)

    def test_ports_are_those_that_the_service_listens_on(self):
        for found in self.each():
            settings = settings_of(found)
            container = named(found, "Deployment", "counter-api")["spec"]["template"]["spec"]["containers"][0]
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            self.assertEqual(settings["COUNTER_LISTEN"], f"0.0.0.0:{ports['http']}")
            self.assertEqual(settings["COUNTER_ADMIN_LISTEN"], f"0.0.0.0:{ports['admin']}")

    def test_an_update_takes_no_replica_away(self):
        for found in self.each():
            spec = named(found, "Deployment", "counter-api")["spec"]
            self.assertEqual(spec["strategy"]["rollingUpdate"], {"maxSurge": 1, "maxUnavailable": 0})

    def test_the_autoscaler_alone_owns_the_number_of_replicas(self):
        for found in [objects(f"overlay/{overlay}") for overlay in OVERLAYS] + [objects("component/keda"), objects("component/hpa")]:
            self.assertEqual(len(of_kind(found, "HorizontalPodAutoscaler", "ScaledObject")), 1)
            self.assertNotIn("replicas", named(found, "Deployment", "counter-api")["spec"])
        self.assertEqual(named(objects("component/mongodb"), "Deployment", "counter-api")["spec"]["replicas"], 3)

    def test_keda_scales_as_the_hpa_does(self):
        hpa = named(objects("component/hpa"), "HorizontalPodAutoscaler", "counter-api")
        keda = named(objects("component/keda"), "ScaledObject", "counter-api")["spec"]
        config = keda["advanced"]["horizontalPodAutoscalerConfig"]
        # The same name, so that one takes over from the other.
        self.assertEqual(config["name"], hpa["metadata"]["name"])
        self.assertEqual(config["behavior"], hpa["spec"]["behavior"])
        self.assertEqual((keda["minReplicaCount"], keda["maxReplicaCount"]), (hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"]))

    def test_deleting_an_overlay_keeps_what_is_dear(self):
        for found in self.each():
            self.assertEqual(of_kind(found, "Namespace", "PersistentVolumeClaim", "Secret"), [])
        database = named(objects("overlay/minikube"), "StatefulSet", "mongodb")
        self.assertEqual(database["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"], "Retain")

    def test_minikube_is_as_its_guide_says(self):
        service = named(objects("overlay/minikube"), "Service", "api")
        self.assertEqual(service["spec"]["type"], "NodePort")

    def test_proxies_repeat_nothing(self):
        route = named(objects("overlay/production"), "HTTPRoute", "counter-api")
        for rule in route["spec"]["rules"]:
            self.assertEqual(rule["retry"]["attempts"], 0)
        ingresses = of_kind(objects("overlay/minikube"), "Ingress")
        self.assertEqual(len(ingresses), 2)
        for ingress in ingresses:
            self.assertEqual(ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-next-upstream"], "off")

    def test_codes_of_sign_ins_are_in_no_log(self):
        every, sign_in = (named(objects("overlay/minikube"), "Ingress", name) for name in ("counter-api", "counter-api-sign-in"))
        self.assertEqual(sign_in["metadata"]["annotations"]["nginx.ingress.kubernetes.io/enable-access-log"], "false")
        # The same host, or the other Ingress would serve it all.
        self.assertEqual([rule["host"] for rule in sign_in["spec"]["rules"]], [rule["host"] for rule in every["spec"]["rules"]])
        self.assertEqual([path["path"] for rule in sign_in["spec"]["rules"] for path in rule["http"]["paths"]], ["/v1/oauth/"])


class References(unittest.TestCase):
    def each(self):
        return [(name, objects(name)) for name in everything() if not name.startswith("file/")]

    def test_everything_is_in_the_namespace(self):
        for _, found in self.each():
            for one in found:
                self.assertEqual(one["metadata"].get("namespace"), "counter-api", one["metadata"]["name"])

    def test_what_pods_mount_is_there(self):
        claims = {objects("file/backup-claim.yaml")[0]["metadata"]["name"]}
        for name, found in self.each():
            # Backups and restores are of the component mongodb, whose account they use.
            beside = objects("component/mongodb") if name in ("component/backup", "restore") else []
            maps = {one["metadata"]["name"]: set(one["data"]) for one in of_kind(found, "ConfigMap")}
            accounts = {one["metadata"]["name"] for one in of_kind(found + beside, "ServiceAccount")}
            for workload, template in pod_templates(found):
                spec = template["spec"]
                self.assertIn(spec["serviceAccountName"], accounts)
                claimed = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
                volumes = {volume["name"] for volume in spec["volumes"]} | claimed
                for container in containers(template):
                    for mount in container.get("volumeMounts", []):
                        self.assertIn(mount["name"], volumes)
                    for source in container.get("envFrom", []):
                        self.assertIn(source["configMapRef"]["name"], maps)
                for volume in spec["volumes"]:
                    for source in volume.get("projected", {}).get("sources", [volume]):
                        if "secret" in source:
                            secret = source["secret"]
                            keys = SECRETS[secret.get("name") or secret["secretName"]]
                            self.assertLessEqual({item["key"] for item in secret.get("items", [])}, keys)
                        if "configMap" in source:
                            self.assertIn(source["configMap"]["name"], maps)
                        if "persistentVolumeClaim" in source:
                            self.assertIn(source["persistentVolumeClaim"]["claimName"], claims)

    def test_the_secrets_are_made_as_they_are_read(self):
        script = (KUBERNETES / "make-secrets").read_text()
        made = {name: set(re.findall(r"^([\w-]+): ", body, re.M)) for name, body in re.findall(r"^make_secret ([\w-]+) <<END\n(.*?)^END", script, re.M | re.S)}
        self.assertEqual(made, MADE)
        guide = (KUBERNETES / "README.md").read_text()
        for name, keys in BY_HAND.items():
            for key in keys:
                self.assertRegex(guide, rf"create secret generic {name} --from-file={re.escape(key)}=")

    def test_the_certificate_is_mounted_where_the_guide_says(self):
        pod = named(objects("component/mongodb-ca"), "Deployment", "counter-api")["spec"]["template"]["spec"]
        (mount,) = pod["containers"][0]["volumeMounts"]
        (item,) = [item for source in pod["volumes"][0]["projected"]["sources"] for item in source["secret"]["items"] if item["key"] == "ca.crt"]
        guide = (KUBERNETES / "README.md").read_text()
        self.assertEqual(set(re.findall(r"tlsCAFile=([\w./-]+)", guide)), {f"{mount['mountPath']}/{item['path']}"})

    def test_files_that_settings_name_are_mounted(self):
        for name, found in self.each():
            for _, template in pod_templates([one for one in found if one["metadata"]["name"] == "counter-api"]):
                (container,) = containers(template)
                given = settings_of(found) | {one["name"]: one.get("value", "") for one in container["env"]}
                (mount,) = container["volumeMounts"]
                (volume,) = [one for one in template["spec"]["volumes"] if one["name"] == mount["name"]]
                files = {f"{mount['mountPath']}/{item['path']}" for source in volume["projected"]["sources"] for item in source["secret"]["items"]}
                named = {value for setting, value in given.items() if setting.endswith("_FILE")}
                self.assertLessEqual({"/run/secrets/counter-api/store-url", "/run/secrets/counter-api/jwt-keys"}, named, name)
                self.assertLessEqual(named, files, name)

    def test_selectors_find_pods(self):
        for name, found in self.each():
            beside = objects("component/mongodb") + objects("component/backup") if name in ("component/backup", "component/mongodb") else []
            labels = [template["metadata"]["labels"] for _, template in pod_templates(found + beside)]
            selectors = [({"matchLabels": one["spec"]["selector"]}, one) for one in of_kind(found, "Service")]
            selectors += [(one["spec"]["selector"], one) for one in of_kind(found, "PodDisruptionBudget", "Deployment", "StatefulSet", "PodMonitor")]
            selectors += [(one["spec"]["podSelector"], one) for one in of_kind(found, "NetworkPolicy")]
            for selector, one in selectors:
                self.assertTrue(any(matches(selector, of) for of in labels), f"{one['kind']}/{one['metadata']['name']} selects nothing")

    def test_no_pod_can_speak_to_kubernetes(self):
        for _, found in self.each():
            for workload, template in pod_templates(found):
                self.assertIs(template["spec"]["automountServiceAccountToken"], False, workload["metadata"]["name"])

    def test_images_are_pinned_and_everywhere_the_same(self):
        images = set()
        for _, found in self.each():
            for _, template in pod_templates(found):
                images |= {container["image"] for container in containers(template)}
        compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
        images |= {service["image"] for service in compose["services"].values()}
        for image in images:
            self.assertRegex(image, r"^[\w./-]+:[\w.-]+$|@sha256:")
            self.assertFalse(image.endswith(":latest"), image)
        self.assertEqual(len({image for image in images if image.startswith("mongo:")}), 1, images)

    def test_settings_exist(self):
        reference = (ROOT / "docs/configuration.md").read_text()
        names = re.findall(r"^\| `(COUNTER_[A-Z_<>]+)`( \(`_FILE`\))?", reference, re.M)
        names = [name for name, _ in names] + [f"{name}_FILE" for name, has_file in names if has_file]
        # The part in brackets is the reader's own.
        known = re.compile("|".join(name.replace("<PROVIDER>", "[A-Z0-9_]+") for name in names))
        self.assertTrue(known.fullmatch("COUNTER_OAUTH_GITHUB_CLIENT_SECRET_FILE") and not known.fullmatch("COUNTER_OAUTH_GITHUB_SECRET"))
        files = [path for path in KUBERNETES.rglob("*") if path.is_file()] + [ROOT / "compose.yaml", ROOT / "Dockerfile"]
        files += [path for path in (ROOT / "compose").rglob("*") if path.is_file()]
        for path in files:
            for name in re.findall(r"\bCOUNTER_[A-Z0-9_]+\b", path.read_text()):
                # The build's own variable, no setting.
                if name != "COUNTER_REVISION":
                    self.assertRegex(name, rf"^(?:{known.pattern})$", path)


class Monitoring(unittest.TestCase):
    def setUp(self):
        self.found = objects("overlay/production")

    def test_every_dashboard_is_a_config_map_that_the_side_car_finds(self):
        maps = {name: one for one in of_kind(self.found, "ConfigMap") if one["metadata"].get("labels", {}).get("grafana_dashboard") == "1" for name in one["data"]}
        self.assertEqual(set(maps), {path.name for path in (ROOT / "dashboards").glob("*.json")})
        for name, one in maps.items():
            self.assertEqual(len(one["data"]), 1)
            self.assertEqual(one["data"][name], (ROOT / "dashboards" / name).read_text())
            # What a client-side `kubectl apply` could keep in its annotation.
            self.assertLess(len(one["data"][name].encode()), 256 * 1024, name)

    def test_every_rule_is_there(self):
        plain = [yaml.safe_load(path.read_text())["groups"] for path in sorted((ROOT / "monitoring/prometheus/rules").glob("*.yaml"))]
        rendered = [one["spec"]["groups"] for one in of_kind(self.found, "PrometheusRule")]
        self.assertEqual(as_texts(rendered), as_texts(plain))

    def test_jobs_are_called_as_the_rules_call_them(self):
        monitor = named(self.found, "PodMonitor", "counter-api")
        pod = named(self.found, "Deployment", "counter-api")["spec"]["template"]
        self.assertEqual(pod["metadata"]["labels"][monitor["spec"]["jobLabel"]], "counter-api")
        self.assertIn(monitor["spec"]["podMetricsEndpoints"][0]["port"], {port["name"] for port in pod["spec"]["containers"][0]["ports"]})
        self.assertEqual({one["spec"]["jobName"] for one in of_kind(self.found, "Probe")}, {"counter-api-probe", "counter-api-canary"})

    def test_probes_call_what_the_route_serves(self):
        route = named(self.found, "HTTPRoute", "counter-api")["spec"]
        probed = {urlsplit(url).hostname for one in of_kind(self.found, "Probe") for url in one["spec"]["targets"]["staticConfig"]["static"]}
        self.assertTrue(probed)
        self.assertLessEqual(probed, set(route["hostnames"]))
        # And there browsers sign in.
        signed_in = settings_of(objects("component/sign-in"))["COUNTER_PUBLIC_URL"]
        self.assertIn(urlsplit(signed_in).hostname, route["hostnames"])

    def test_the_alert_on_memory_knows_the_limit(self):
        pod = named(self.found, "Deployment", "counter-api")["spec"]["template"]["spec"]
        self.assertEqual(pod["containers"][0]["resources"]["limits"]["memory"], "512Mi")
        self.assertIn("512 * 1024 * 1024", (ROOT / "monitoring/prometheus/rules/runtime.yaml").read_text())

    def test_names_that_rules_and_dashboards_ask_for(self):
        text = (ROOT / "monitoring/prometheus/rules/kubernetes.yaml").read_text()
        for label, kind in (("deployment", "Deployment"), ("horizontalpodautoscaler", "HorizontalPodAutoscaler")):
            for name in set(re.findall(rf'{label}="([^"]+)"', text)):
                named(self.found, kind, name)


class Network(unittest.TestCase):
    def setUp(self):
        self.policies = of_kind(objects("overlay/minikube"), "NetworkPolicy")

    def into(self, labels):
        """The ways into a pod with these labels."""
        chosen = [one["spec"] for one in self.policies if matches(one["spec"]["podSelector"], labels) and "Ingress" in one["spec"]["policyTypes"]]
        return [rule for spec in chosen for rule in spec.get("ingress", [])]

    def test_nothing_is_allowed_by_default(self):
        deny = named(self.policies, "NetworkPolicy", "default-deny")["spec"]
        self.assertEqual(deny, {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})

    def test_mongodb_is_open_to_those_who_need_it(self):
        rules = self.into({"app.kubernetes.io/name": "mongodb"})
        self.assertEqual(len(rules), 1)
        (source,) = rules[0]["from"]
        self.assertEqual(set(source), {"podSelector"}, "pods of this namespace alone")
        self.assertEqual(
            set(source["podSelector"]["matchExpressions"][0]["values"]),
            {"counter-api", "mongodb", "mongodb-init", "mongodb-backup", "mongodb-restore"},
        )

    def test_the_admin_port_is_open_to_prometheus_alone(self):
        rules = [rule for rule in self.into({"app.kubernetes.io/name": "counter-api"}) if any(port["port"] in ("admin", 9464) for port in rule["ports"])]
        self.assertEqual(len(rules), 1)
        (source,) = rules[0]["from"]
        self.assertEqual(source["namespaceSelector"]["matchLabels"], {"kubernetes.io/metadata.name": "monitoring"})
        self.assertEqual(source["podSelector"]["matchLabels"], {"app.kubernetes.io/name": "prometheus"})

    def test_providers_of_sign_ins_are_outside(self):
        spec = named(objects("component/sign-in"), "NetworkPolicy", "allow-providers")["spec"]
        (rule,) = spec["egress"]
        (target,) = rule["to"]
        self.assertEqual([port["port"] for port in rule["ports"]], [443])
        # Private networks, where what is not ours would be, the metadata of the cloud's machines among them.
        inside = ["10.96.0.1", "172.20.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254"]
        shut = [ipaddress.ip_network(network) for network in target["ipBlock"]["except"]]
        for address in inside:
            self.assertTrue(any(ipaddress.ip_address(address) in network for network in shut), address)

    def test_every_way_in_has_its_way_out(self):
        out = [one["spec"] for one in self.policies if "Egress" in one["spec"]["policyTypes"] and one["spec"].get("egress")]
        for client in ("counter-api", "mongodb", "mongodb-init", "mongodb-backup", "mongodb-restore"):
            found = [
                target
                for spec in out
                if matches(spec["podSelector"], {"app.kubernetes.io/name": client})
                for rule in spec["egress"]
                for target in rule.get("to", [])
                if "podSelector" in target and matches(target["podSelector"], {"app.kubernetes.io/name": "mongodb"})
            ]
            self.assertTrue(found, f"{client} has no way to the database")


if __name__ == "__main__":
    unittest.main()
