"""The cluster on two hosts whose parts tests take away, and the eyes that are on it all the time."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from tests.hosts.commands import CommandFailed
from tests.hosts.hosts import Host
from tests.hosts.network import address_of
from tests.hosts.ray_cluster import DATA_DIR, RayCluster, two_hosts
from tests.hosts.waiting import wait_until
from zejzl_ray.cluster.names import SERVICES
from zejzl_ray.cluster.supervisor_record import SupervisorRecord
from zejzl_ray.cluster.topology import PLACES

SILENT_FAILOVER_S: Final = 15.0  # nothing tells that the machine is gone: it has to be missed
REJOIN_S: Final = 30.0
HOME_S: Final = 30.0
SLACK: Final = 3
OF_PC2: Final = tuple(service for service in SERVICES if PLACES[service].home == "pc2")
_FAILBACK_AFTER_S: Final = 3.0

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
            limit_s=SLACK * HOME_S,
            what="every service is at home",
        )
        return time.time() - began_at_s

    def failover_s(self, lost_at_s: float, limit_s: float) -> float:
        """Wait until all of pc2's services answer from mainpc; return how long it took."""
        came_at_s = [
            self.http.wait_for(service, lost_at_s, limit_s, lambda row: row["machine"] == "mainpc")
            for service in OF_PC2
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
                "members", healed_at_s, SLACK * REJOIN_S, lambda row: row["machines"] == ["mainpc", "pc2"]
            )
            - healed_at_s
        )

    def record(self, host: Host) -> SupervisorRecord:
        """Return what the supervisor of a host has written down."""
        return SupervisorRecord.model_validate_json(host.run(f"cat {DATA_DIR}/node.json").output)


@contextmanager
def a_cluster(prefix: str) -> Iterator[RayCluster]:
    """Start a cluster as ``ray up cluster.yaml`` does, whose ingress listens on mainpc's address too.

    Args:
        prefix: of every name.

    Raises:
        AssertionError: it did not start; holds the logs.
    """
    settings = {"ZEJZL_FAILBACK_AFTER_S": f"{_FAILBACK_AFTER_S:g}", "ZEJZL_BIND_HOST": address_of(11)}
    with two_hosts(prefix, has_replica=False, **settings) as cluster:
        try:
            cluster.up()
        except CommandFailed as error:
            raise AssertionError(f"{error}\n{cluster.logs()}") from None
        yield cluster


def a_stage(cluster: RayCluster) -> Stage:
    """Wait until every service of a cluster is ready and at home, and begin to watch it.

    Raises:
        AssertionError: it did not get so far; holds the logs.
    """
    try:
        wait_until(cluster.is_ready, limit_s=90, what="every service is ready")
        stage = Stage(cluster)
        stage.home_s()
    except (CommandFailed, AssertionError) as error:
        raise AssertionError(f"{error}\n{cluster.logs()}") from None
    return stage
