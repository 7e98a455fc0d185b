"""What happens when a machine, a cable or the head is lost: how long nobody answers, and who comes back by itself.

Each test prints its time beside the bar and fails at three times the bar only: the two hosts share the cores of one
machine with whatever else runs on it. In this order; each leaves both machines in the cluster.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.hosts.commands import CommandFailed
from tests.hosts.hosts import Host
from tests.hosts.ray_cluster import DATA_DIR, RayCluster, two_hosts
from tests.hosts.waiting import wait_until
from zejzl_ray.cluster.names import CORE_ORCHESTRATOR, SERVICES
from zejzl_ray.cluster.supervisor_record import SupervisorRecord
from zejzl_ray.cluster.topology import PLACES

FAILOVER_S = 10.0
SILENT_FAILOVER_S = 15.0  # nothing tells that the machine is gone: it has to be missed
REJOIN_S = 30.0
LOOK_UP_S = 10.0
HEAD_RESTART_S = 15.0
INGRESS_S = 30.0
HOME_S = 30.0
FAILBACK_AFTER_S = 3.0
_SLACK = 3
_OF_PC2 = tuple(service for service in SERVICES if PLACES[service].home == "pc2")

pytestmark = pytest.mark.timeout(360)  # the first one waits for the cluster too

Tell = Callable[[str, float, float], None]

_ALIVE = "answer(sorted(n['Labels']['zejzl.io/machine'] for n in ray.nodes() if n['Alive']))"


class Probe:
    """A prober on a host, and what it has written so far."""

    def __init__(self, host: Host, name: str, way: str) -> None:
        self._file = host.folder / "home" / f"probe_{name}.jsonl"
        at = f"{host.home}/{self._file.name}"
        host.run(f"setsid python -m tests.hosts.prober {at} {way} >~/probe_{name}.log 2>&1 </dev/null &")
        try:
            wait_until(lambda: self._file.exists() and self.last("registry"), limit_s=40, what="it asks")
        except AssertionError:
            log = (host.folder / "home" / f"probe_{name}.log").read_text()
            raise AssertionError(f"the prober {name} found nothing out: {log[-2000:]}") from None

    def answers(self, what: str, since_s: float = 0.0) -> list[dict[str, Any]]:
        """Return the answers to what was asked after a moment, oldest first."""
        rows = [json.loads(line) for line in self._file.read_text().splitlines() if line.endswith("}")]
        return [row for row in rows if row["what"] == what and row["asked_at_s"] >= since_s]

    def last(self, what: str) -> dict[str, Any]:
        """Return the latest good answer, or nothing."""
        return next((row for row in reversed(self.answers(what)) if "error" not in row), {})

    def wait_for(
        self, what: str, since_s: float, limit_s: float, is_it: Callable[[dict[str, Any]], bool]
    ) -> float:
        """Wait for a good answer to a question asked after ``since_s``; return when it came."""
        return wait_until(
            lambda: next(
                (
                    float(row["answered_at_s"])
                    for row in self.answers(what, since_s)
                    if "error" not in row and is_it(row)
                ),
                0.0,
            ),
            limit_s=limit_s,
            what=f"{what} answers",
            every_s=0.2,
        )


class Stage:
    """The cluster, and the eyes that are on it all the time."""

    def __init__(self, cluster: RayCluster) -> None:
        self.cluster = cluster
        self.mainpc, self.pc2 = cluster.mainpc, cluster.pc2
        self.http = Probe(self.mainpc, "http", "http")
        self.ray = Probe(self.mainpc, "ray", f"{self.mainpc.address}:6379")

    def places(self) -> dict[str, tuple[str, int]]:
        """Return machine and process of each service, as it answered last."""
        found = {service: self.http.last(service) for service in SERVICES}
        return {service: (row["machine"], row["pid"]) for service, row in found.items() if row}

    def home_s(self) -> float:
        """Wait until every service has gone home by itself; return how long it took."""
        began_at_s = time.time()
        wait_until(
            lambda: (
                {name: machine for name, (machine, _) in self.places().items()}
                == {name: PLACES[name].home for name in SERVICES}
            ),
            limit_s=_SLACK * HOME_S,
            what="every service is at home",
        )
        return time.time() - began_at_s

    def failover_s(self, lost_at_s: float, limit_s: float) -> float:
        """Wait until all of pc2's services answer from mainpc; return how long it took."""
        came_at_s = [
            self.http.wait_for(service, lost_at_s, limit_s, lambda row: row["machine"] == "mainpc")
            for service in _OF_PC2
        ]
        return max(came_at_s) - lost_at_s

    def members(self) -> list[str]:
        """Return the machines that are alive to Ray."""
        found: list[str] = self.cluster.ask(_ALIVE)
        return found

    def rejoin_s(self, healed_at_s: float) -> float:
        """Wait until both machines are members; return how long it took."""
        return (
            self.ray.wait_for(
                "members", healed_at_s, _SLACK * REJOIN_S, lambda row: row["machines"] == ["mainpc", "pc2"]
            )
            - healed_at_s
        )

    def record(self, host: Host) -> SupervisorRecord:
        """Return what the supervisor of a host has written down."""
        return SupervisorRecord.model_validate_json(host.run(f"cat {DATA_DIR}/node.json").output)


@pytest.fixture(scope="module")
def stage(prefix: str) -> Iterator[Stage]:
    """A cluster of its own, with every service at home."""
    with two_hosts(f"{prefix}f", ZEJZL_FAILBACK_AFTER_S=f"{FAILBACK_AFTER_S:g}") as cluster:
        try:
            cluster.up()
            wait_until(
                lambda: cluster.mainpc.run("zejzl status --json", is_checked=False, timeout_s=30).status == 0,
                limit_s=90,
                what="every service is ready",
            )
        except (CommandFailed, AssertionError) as error:
            raise AssertionError(f"{error}\n{cluster.logs()}") from None
        stage = Stage(cluster)
        stage.home_s()
        yield stage


@pytest.fixture(autouse=True)
def _logs(stage: Stage) -> Iterator[None]:
    yield
    wait_until(lambda: stage.members() == ["mainpc", "pc2"], limit_s=60, what="both are members")


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Show a time beside its bar, whatever pytest does with output, and fail at three times the bar."""

    def show(what: str, took_s: float, bar_s: float) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n  {what}: {took_s:.1f} s (bar {bar_s:g} s)")
        assert took_s <= _SLACK * bar_s

    return show


def test_a_control_store_that_is_killed_is_back_before_anybody_misses_it(stage: Stage, tell: Tell) -> None:
    before = stage.places()
    killed_at_s = time.time()
    stage.mainpc.run("pkill -9 gcs_server")

    looked_up_at_s = stage.http.wait_for(
        "registry", killed_at_s, _SLACK * LOOK_UP_S, lambda row: row["found"] == "Responder"
    )
    wait_until(lambda: stage.record(stage.mainpc).restarts >= 1, limit_s=20, what="it was started again")
    assert stage.members() == ["mainpc", "pc2"]
    tell("registry look-up after the control store was killed", looked_up_at_s - killed_at_s, LOOK_UP_S)
    assert stage.places() == before
    assert stage.record(stage.mainpc).note == "gcs_server ended with -9"


def test_services_of_an_unplugged_machine_move_and_the_machine_joins_again(stage: Stage, tell: Tell) -> None:
    lost_at_s = time.time()
    stage.pc2.unplug()

    failover_s = stage.failover_s(lost_at_s, _SLACK * SILENT_FAILOVER_S)
    plugged_at_s = time.time()
    stage.pc2.plug()
    rejoin_s = stage.rejoin_s(plugged_at_s)

    tell("pc2 unplugged, its services answer from mainpc", failover_s, SILENT_FAILOVER_S)
    tell("pc2 plugged in, a member again", rejoin_s, REJOIN_S)


def test_services_of_a_frozen_machine_move_and_the_machine_joins_again(stage: Stage, tell: Tell) -> None:
    tell("every service at home again, one after the other", stage.home_s(), HOME_S)
    lost_at_s = time.time()
    stage.pc2.freeze()

    failover_s = stage.failover_s(lost_at_s, _SLACK * SILENT_FAILOVER_S)
    thawed_at_s = time.time()
    stage.pc2.thaw()
    rejoin_s = stage.rejoin_s(thawed_at_s)

    tell("pc2 frozen, its services answer from mainpc", failover_s, SILENT_FAILOVER_S)
    tell("pc2 thawed, a member again", rejoin_s, REJOIN_S)


def test_services_of_a_killed_machine_move_and_the_machine_joins_after_its_boot(
    stage: Stage, tell: Tell
) -> None:
    stage.home_s()
    lost_at_s = time.time()
    stage.pc2.kill()

    failover_s = stage.failover_s(lost_at_s, _SLACK * FAILOVER_S)
    stage.pc2.boot()
    booted_at_s = time.time()
    # What deploy/systemd/zejzl-node.service runs; the host has no systemd.
    stage.pc2.run("setsid zejzl node run >~/run.log 2>&1 </dev/null &")
    rejoin_s = stage.rejoin_s(booted_at_s)

    tell("pc2 killed, its services answer from mainpc", failover_s, FAILOVER_S)
    tell("pc2 booted, a member again", rejoin_s, REJOIN_S)


def test_services_of_pc2_keep_their_memory_when_the_head_is_killed_and_restarted(
    stage: Stage, tell: Tell
) -> None:
    stage.home_s()
    before = stage.places()
    token = f"{DATA_DIR}/token"
    stage.mainpc.run(f"scp -q {token} {stage.pc2.address}:{token.removeprefix('~/')}")
    from_pc2 = Probe(stage.pc2, "pc2", f"{stage.mainpc.address}:6379")
    before_it = stage.record(stage.mainpc)
    killed_at_s = time.time()
    # All of Ray on the head at once, its actors too; the supervisor stays, as it would be started by systemd.
    stage.mainpc.run("pkill -9 'raylet|gcs_server'; pkill -9 -f '^ray::|/ray/dashboard/|ray.util.client'")
    wait_until(
        lambda: _restarted(stage.record(stage.mainpc), before_it),
        limit_s=120,
        what="the head is up",
        every_s=0.1,
    )
    restarted_at_s = time.time()

    looked_up_at_s = from_pc2.wait_for(
        "registry", killed_at_s + 1, _SLACK * LOOK_UP_S, lambda row: row["found"] == "Responder"
    )
    by_http_s = stage.http.wait_for(CORE_ORCHESTRATOR, restarted_at_s, 60, lambda row: True)
    for service in _OF_PC2:
        stage.http.wait_for(service, restarted_at_s, 60, lambda row: row["machine"] == "pc2")
    tell("head killed, restarted", restarted_at_s - killed_at_s, HEAD_RESTART_S)
    tell("ingress answers after the restart", by_http_s - restarted_at_s, INGRESS_S)
    tell("registry look-up after the restart", max(0.0, looked_up_at_s - restarted_at_s), LOOK_UP_S)
    after = stage.places()
    assert {name: after[name] for name in _OF_PC2} == {name: before[name] for name in _OF_PC2}


def _restarted(record: SupervisorRecord, before: SupervisorRecord) -> bool:
    return record.state == "up" and record.restarts > before.restarts
