"""Two hosts whose head changes: who writes there, what was acknowledged, and who is what."""

import itertools
import json
import time
from typing import Any, Final

from tests.hosts.hosts import Host
from tests.hosts.ray_cluster import DATA_DIR, RayCluster
from tests.hosts.waiting import wait_until

TAKEOVER_S: Final = 30.0
SLACK: Final = 3

_WRITTEN = """
from zejzl_ray.sdk.connect import connect
with connect() as client:
    answer([agent.name for agent in client.list_agents(agent_type="load", timeout_s=20)])
"""


class Writer:
    """A writer on a host, and what it has noted so far."""

    def __init__(self, host: Host, prefix: str = "w") -> None:
        self._file = host.folder / "home" / f"written-{prefix}.jsonl"
        host.run(
            f"setsid python -m tests.hosts.writer ~/written-{prefix}.jsonl {prefix}-{host.name} "
            ">~/writer.log 2>&1 </dev/null &"
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return everything, oldest first."""
        if not self._file.exists():
            return []
        return [json.loads(line) for line in self._file.read_text().splitlines() if line.endswith("}")]

    def acknowledged(self) -> list[dict[str, Any]]:
        """Return what was acknowledged, oldest first."""
        return [row for row in self.rows() if "error" not in row]

    def first_after(self, moment_s: float, limit_s: float) -> float:
        """Wait for an acknowledgement later than a moment; return when it came."""
        return wait_until(
            lambda: next((float(row["at_s"]) for row in self.acknowledged() if row["at_s"] > moment_s), 0.0),
            limit_s=limit_s,
            what="a write is acknowledged",
            every_s=0.2,
        )


class HeadStage:
    """The cluster, and a writer on each machine."""

    def __init__(self, cluster: RayCluster) -> None:
        self.cluster = cluster
        self.mainpc, self.pc2 = cluster.mainpc, cluster.pc2
        self.writers = {"mainpc": Writer(self.mainpc), "pc2": Writer(self.pc2)}
        self.writers["mainpc"].first_after(0.0, 30.0)

    def wait_ready(self, host: Host, since_s: float) -> float:
        """Wait until ``zejzl status`` on a host shows every service ready; return the seconds since a moment."""
        wait_until(
            lambda: is_ready(host),
            limit_s=SLACK * TAKEOVER_S,
            what=f"every service is ready, asked on {host.name}",
            every_s=0.2,
        )
        return time.time() - since_s

    def acknowledged(self) -> list[dict[str, Any]]:
        """Return what both writers were told, in the order of time."""
        rows = [row for writer in self.writers.values() for row in writer.acknowledged()]
        return sorted(rows, key=lambda row: float(row["at_s"]))

    def longest_gap_s(self, since_s: float) -> float:
        """Return the longest time without an acknowledgement to anybody, from a moment on."""
        moments = [float(row["at_s"]) for row in self.acknowledged() if row["at_s"] > since_s - 1]
        return max(later - earlier for earlier, later in itertools.pairwise(moments))

    def lost(self, head: Host) -> set[str]:
        """Return which acknowledged writes the head does not have."""
        told = {str(row["name"]) for row in self.acknowledged()}
        return told - set(self.cluster.python(_WRITTEN, host=head))

    def services(self, head: Host) -> dict[str, str]:
        """Return the machine of each service."""
        status = json.loads(head.run("zejzl status --json", timeout_s=30).output)
        return {service["service"]: service["machine"] for service in status["services"]}

    def logs(self) -> str:
        """Return what there is to read after a failure."""
        return self.cluster.logs()


def is_ready(host: Host) -> bool:
    """Ask a host once; where nobody answers yet, the command itself takes its time for each service."""
    return host.run("timeout 20 zejzl status --json", is_checked=False, timeout_s=40).status == 0


def role_of(host: Host) -> tuple[str, str]:
    """Return role and state of the node of a host, as its supervisor has written them down."""
    found = host.run(f"cat {DATA_DIR}/node.json", is_checked=False)
    if found.status != 0:
        return "", ""
    record = json.loads(found.output)
    return str(record["node"]["role"]), str(record["state"])
