"""The faults: how each is made and undone, and who should hear of it."""

import dataclasses
import itertools
import json
import os
import signal
import threading
import time
import urllib.parse
from collections.abc import Callable

from harness import PATIENCE, fetch, wait_for
from world import KEYS, MOST, REPLICAS


@dataclasses.dataclass
class Fault:
    name: str
    begin: Callable
    end: Callable
    # Alerts that must fire: those that call somebody by night, those that are told by day, and those that a cause silences.
    pages: set = dataclasses.field(default_factory=set)
    warnings: set = dataclasses.field(default_factory=set)
    silenced: set = dataclasses.field(default_factory=set)
    # Warnings whose expressions must have rows. Whether they are told depends on the moment: the page silences them while it is on.
    beside: set = dataclasses.field(default_factory=set)
    # Warnings that may come too, for they are true as well, and depend on the moment.
    may: set = dataclasses.field(default_factory=set)
    # The stand-in said it, because no fault of a drill brings it about in a real process.
    stand_in: bool = False
    # What is done while all is well.
    prepare: Callable = lambda _world, _watch: None

    @property
    def expected(self):
        """(name, severity) of what must fire."""
        return {(name, "critical") for name in self.pages} | {(name, "warning") for name in self.warnings} | self.silenced_keys

    @property
    def expressions(self):
        """(name, severity) of those whose expressions must have rows."""
        return self.expected | {(name, "warning") for name in self.beside}

    @property
    def silenced_keys(self):
        return {(name, "critical" if name == "CounterApiHealthDown" else "warning") for name in self.silenced}


def nothing(_world, _watch):
    pass


def kill_all(world, _watch):
    world.kill_replicas(range(REPLICAS))


def revive_all(world, _watch):
    world.start_replicas(range(REPLICAS))


def kill_primary(world, _watch):
    world.primary = world.members.primary()
    world.members.kill(world.primary)


def revive_primary(world, _watch):
    world.members.start(world.primary)
    world.members.settle()


def lose_majority(world, _watch):
    primary = world.members.primary()
    world.lost = [member for member in range(3) if member != primary]
    for member in world.lost:
        world.members.kill(member)


def find_majority(world, watch):
    for member in world.lost:
        world.members.start(member)
    world.members.settle()
    scale_to(REPLICAS)(world, watch)


def slow_database(world, _watch):
    world.weather(delay=0.15)
    # More than the pools have connections, with calls that do not travel in batches.
    world.extra = world.callers("--crowd", 30, "--call", "list")


def fast_database(world, _watch):
    world.extra.end()
    world.weather(delay=0)


def overload(world, _watch):
    # What a commit takes across three sites; on one machine it takes too little for a crowd of this size to queue.
    world.weather(delay=0.02)
    world.extra = world.callers("--crowd", 150, "--call", "next")


def extra(*arguments, flooder=False):
    def begin(world, _watch):
        world.extra = world.callers(*arguments, tokens=world.flooder if flooder else None)

    return begin


def end_extra(world, _watch):
    world.extra.end()
    world.weather(delay=0)


def wrong_passwords(world, _watch):
    world.extra = world.callers("--wrong-passwords", 6, "--victim", world.victim)


def freeze_regions(count):
    def begin(world, _watch):
        for exporter in list(world.regions.values())[:count]:
            exporter.program.process.send_signal(signal.SIGSTOP)

    return begin


def thaw_regions(world, _watch):
    for exporter in world.regions.values():
        exporter.program.process.send_signal(signal.SIGCONT)


def descriptors_nearly_out(world, _watch):
    world.limits = world.limit_descriptors(0, 0.9)


def descriptors_enough(world, _watch):
    import resource

    resource.prlimit(world.pid(0), resource.RLIMIT_NOFILE, world.limits)


def roll(world, _watch):
    for replica in range(REPLICAS):
        world.kill_replicas([replica], signal.SIGTERM)
        world.start_replicas([replica])


def scale_to(count):
    def scale(world, watch):
        world.scale(count)
        watch.configure()

    return scale


def restart_again_and_again(world, watch):
    def born():
        """As it was scraped last; nothing where it was not there then."""
        return [sample["value"][1] for sample in watch.query('process_start_time_seconds{instance="127.0.0.1:%d"}' % world.admin[1])]

    for _ in range(3):
        before = born()
        world.kill_replicas([1])
        world.start_replicas([1])
        # One that lived between two scrapes would be none.
        wait_for("the restart is seen", lambda before=before: born() not in ([], before), PATIENCE)


def revoke_canary(world, _watch):
    status, _ = fetch(world.replicas[0].api + "/v1/logout", b"", {"Authorization": "Bearer " + world.canary.read_text()})
    assert status == 204, status


def renew_canary(world, _watch):
    form = urllib.parse.urlencode({"email": world.canary_address, "password": "correct horse battery"}).encode()
    status, answer = fetch(world.replicas[0].api + "/v1/login", form, {"Content-Type": "application/x-www-form-urlencoded"})
    assert status == 200, answer
    world.canary.write_text(json.loads(answer)["token"])


def stall(world, _watch):
    """A replica that gets no CPU for a fifth of a second, again and again."""
    world.stalling = threading.Event()
    pid = world.pid(1)

    def work():
        for _ in itertools.takewhile(lambda _: not world.stalling.is_set(), itertools.count()):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.3)
            os.kill(pid, signal.SIGCONT)
            time.sleep(1)

    world.staller = threading.Thread(target=work)
    world.staller.start()


def end_stall(world, _watch):
    world.stalling.set()
    world.staller.join()


def said(metric, value):
    return lambda world, _watch: world.stand_in.say(metric, value)


def recover(world, _watch):
    world.stand_in.recover()


BURNS = {"CounterApiErrorBudgetBurn", "CounterApiLatencyBudgetBurn"}
# A busy machine is slow, and a slow machine may say so.
SLOW = {"CounterApiStoreLatencyHigh", "CounterApiEventLoopStalled", "CounterApiLatencyBudgetBurn"}
SLOW_KEYS = {(name, severity) for name in SLOW for severity in ("warning", "critical")}
FAULTS = [
    Fault("a replica killed", lambda world, _: world.kill_replicas([1]), lambda world, _: world.start_replicas([1]),
          warnings={"CounterApiReplicaDown"}, may=SLOW),
    Fault("all replicas killed", kill_all, revive_all, pages={"CounterApiAbsent"}, silenced={"CounterApiHealthDown"}, may=SLOW),
    Fault("primary killed", kill_primary, revive_primary, warnings={"CounterApiDatabaseMemberDown"},
          may=SLOW | BURNS | {"CounterApiUnknownOutcomes"}),
    Fault("majority of MongoDB lost, 5 replicas", lose_majority, find_majority, prepare=scale_to(MOST), pages={"CounterApiStoreDown"},
          silenced={"CounterApiHealthDown", "CounterApiNoPrimary"}, beside={"CounterApiUnknownOutcomes"}, may=SLOW | BURNS),
    Fault("MongoDB slow", slow_database, fast_database, pages={"CounterApiLatencyBudgetBurn"},
          warnings={"CounterApiStoreLatencyHigh", "CounterApiPoolSaturated"}, beside={"CounterApiLatencyBudgetBurn"},
          may=SLOW | BURNS | {"CounterApiOverload", "CounterApiQueueBacklog"}),
    Fault("collector dead", lambda world, _: world.collector.stop(), lambda world, _: world.collector.start(),
          warnings={"CounterApiTelemetryLoss"}, may=SLOW),
    Fault("storm of wrong passwords", wrong_passwords, end_extra, warnings={"CounterApiAuthFailuresHigh"}, may=SLOW),
    Fault("one region cut off", freeze_regions(1), thaw_regions, warnings={"CounterApiRegionUnreachable", "CounterApiCanaryFailing"}, may=SLOW),
    Fault("all regions silent", freeze_regions(3), thaw_regions, pages={"CounterApiHealthDown"}, may=SLOW),
    Fault("overload", overload, end_extra, pages={"CounterApiErrorBudgetBurn"}, warnings={"CounterApiOverload", "CounterApiQueueBacklog"},
          beside={"CounterApiErrorBudgetBurn"},
          may=SLOW | BURNS | {"CounterApiPoolSaturated", "CounterApiConnectionsHigh", "CounterApiUnknownOutcomes", "CounterApiRateLimiting",
                              "CounterApiCanaryFailing"}),
    Fault("descriptors nearly out", descriptors_nearly_out, descriptors_enough, warnings={"CounterApiFileDescriptorsHigh"}, may=SLOW),
    Fault("certificate about to expire", lambda world, _: world.weather(certificate=str(world.certificates[10])),
          lambda world, _: world.weather(certificate=str(world.certificates[90])), warnings={"CounterApiCertificateExpiring"}, may=SLOW),
    Fault("rolling restart", roll, nothing, may=SLOW),
    Fault("scale-down", scale_to(REPLICAS - 1), scale_to(REPLICAS), may=SLOW),
    Fault("a replica cut off from MongoDB", lambda world, _: world.weather(cut_off=[world.pid(0)]), lambda world, _: world.weather(cut_off=[]),
          warnings={"CounterApiStoreDown"}, may=SLOW | BURNS | {"CounterApiDatabaseMemberDown", "CounterApiUnknownOutcomes"}),
    Fault("a crash loop", restart_again_and_again, nothing, warnings={"CounterApiRestarting"}, may=SLOW),
    Fault("a client that opens connections", extra("--connections", 540), end_extra, warnings={"CounterApiConnectionsHigh"}, may=SLOW),
    Fault("a client that floods", extra("--rate", 150, "--call", "current", flooder=True), end_extra, warnings={"CounterApiRateLimiting"},
          may=SLOW),
    Fault("a replica that stalls", stall, end_stall, warnings={"CounterApiEventLoopStalled"}, may=SLOW),
    Fault("new token keys are wrong", lambda world, _: world.keys.write_text("k1:short"), lambda world, _: world.keys.write_text(KEYS),
          warnings={"CounterApiSecretReloadFailed"}, may=SLOW),
    # Probed every 3 s from three regions, a wrong token is refused more often than once in 2 s; every 15 s it is not.
    Fault("the canary's token revoked", revoke_canary, renew_canary, warnings={"CounterApiCanaryFailing"},
          may=SLOW | {"CounterApiAuthFailuresHigh"}),
    Fault("nobody probes", lambda _, watch: watch.configure(without_jobs=["counter-api-probe"]), lambda _, watch: watch.configure(),
          warnings={"CounterApiProbesMissing"}, may=SLOW),
    Fault("fewer pods than wanted", said("kube_deployment_status_replicas_ready", 2), recover, warnings={"CounterApiReplicasLow"}, may=SLOW,
          stand_in=True),
    Fault("autoscaler at its maximum", said("kube_horizontalpodautoscaler_status_current_replicas", 10), recover,
          warnings={"CounterApiHpaMaxedOut"}, may=SLOW, stand_in=True),
    Fault("a panic", said("counter_api_panics_total", 3), recover, warnings={"CounterApiPanics"}, may=SLOW, stand_in=True),
    Fault("an OpenID provider is down", said("counter_api_oauth_sign_ins_total", 40), recover, warnings={"CounterApiOAuthProviderFailing"},
          may=SLOW, stand_in=True),
    Fault("memory nearly out", said("process_resident_memory_bytes", 500e6), recover, warnings={"CounterApiMemoryHigh"}, may=SLOW, stand_in=True),
]
