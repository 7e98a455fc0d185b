"""Both hosts compute with everything they have; nobody may be taken for dead because of it."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.hosts.hosts import Host
from tests.hosts.ray_cluster import DATA_DIR, RayCluster
from zejzl_ray.cluster.supervisor_record import SupervisorRecord

_NODES: Final = """
answer([[node["NodeID"], node["Labels"]["zejzl.io/machine"], node["Alive"]] for node in ray.nodes()])
"""


@dataclass(frozen=True, slots=True)
class Lives:
    """Who lives: an equal value later means that nobody died, was taken for dead, or was started again.

    Attributes:
        nodes: Ray's id of each node that is alive.
        restarts: machine -> what its supervisor has started again so far.
    """

    nodes: frozenset[str]
    restarts: tuple[tuple[str, int], ...]


def lives(cluster: RayCluster) -> Lives:
    """Ask Ray and both supervisors."""
    nodes: list[list[Any]] = cluster.ask(_NODES)
    records = (
        (host.name, SupervisorRecord.model_validate_json(host.run(f"cat {DATA_DIR}/node.json").output))
        for host in (cluster.mainpc, cluster.pc2)
    )
    return Lives(
        frozenset(f"{machine} {node}" for node, machine, is_alive in nodes if is_alive),
        tuple((name, record.restarts) for name, record in records),
    )


@contextmanager
def full_cpu(cluster: RayCluster) -> Iterator[None]:
    """Keep every core busy from both hosts: each starts as many busy programs as the machine has cores."""
    hosts = (cluster.mainpc, cluster.pc2)
    count = os.cpu_count() or 1
    try:
        for host in hosts:
            for _ in range(count):
                host.run('setsid python -c "while True: pass" </dev/null >/dev/null 2>&1 &')
        yield
    finally:
        for host in hosts:
            _end(host)


def _end(host: Host) -> None:
    host.run("pkill -9 -f '^python -c while True'", is_checked=False)


def load_ratio(seconds: float) -> float:
    """Watch the machine for a while; return the share of its processor time that was used, 0 to 1."""
    before = _times()
    time.sleep(seconds)
    after = _times()
    total = sum(after) - sum(before)
    idle = (after[3] + after[4]) - (before[3] + before[4])
    return 1.0 - idle / total if total else 0.0


def _times() -> list[int]:
    with Path("/proc/stat").open() as file:
        return [int(number) for number in file.readline().split()[1:9]]
