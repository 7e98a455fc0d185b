"""Ray as it comes on two test hosts: its own defaults, one detached actor with a home and a fallback."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.hosts.hosts import PROJECT, Host
from tests.hosts.network import Network
from tests.hosts.waiting import wait_until

_PORT: Final = 6379
_START_S: Final = 60.0
_NOTICE_S: Final = 150.0
_ENVIRONMENT: Final = {
    "PYTHONPATH": str(PROJECT),
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
}


class BareRay:
    """A head and a worker; started anew for every measurement.

    Args:
        mainpc: becomes the head.
        pc2: the worker, home of the actor.
    """

    def __init__(self, mainpc: Host, pc2: Host) -> None:
        self.mainpc = mainpc
        self.pc2 = pc2
        self._answers = mainpc.folder / "home" / "where.jsonl"

    def start(self) -> None:
        """Start both nodes and the actor, and wait until it answers from its home."""
        address = f"{self.mainpc.address}:{_PORT}"
        one = "--num-cpus=1 --object-store-memory=200000000"
        self.mainpc.run(
            f"ray start --head --port={_PORT} --node-ip-address={self.mainpc.address} {one} "
            "--include-dashboard=false --labels=machine=mainpc",
            timeout_s=_START_S,
        )
        self.pc2.run(
            f"ray start --address={address} --node-ip-address={self.pc2.address} {one} --labels=machine=pc2",
            timeout_s=_START_S,
        )
        self._answers.unlink(missing_ok=True)
        self.mainpc.run(
            f"setsid python -m benchmarks.bare_ray_probe ~/where.jsonl {address} >~/where.log 2>&1 </dev/null &"
        )
        wait_until(lambda: self._answered_s("pc2", 0.0), limit_s=_START_S, what="the actor answers from pc2")

    def failover_s(self, lost_s: float) -> float:
        """Wait until the actor answers from mainpc; return how long it took from a moment on."""
        answered_s = wait_until(
            lambda: self._answered_s("mainpc", lost_s),
            limit_s=_NOTICE_S,
            what="the actor answers from mainpc",
            every_s=0.1,
        )
        return answered_s - lost_s

    def stop(self) -> None:
        """Cut the power of both, and switch them on again with nothing running."""
        for host in (self.mainpc, self.pc2):
            host.kill()
            host.plug()
            host.boot()

    def _answered_s(self, machine: str, since_s: float) -> float:
        if not self._answers.exists():
            return 0.0
        rows = (json.loads(line) for line in self._answers.read_text().splitlines() if line.endswith("}"))
        found = (row["answered_s"] for row in rows if row["machine"] == machine and row["asked_s"] >= since_s)
        return next((float(answered_s) for answered_s in found), 0.0)


@contextmanager
def bare_ray(prefix: str) -> Iterator[BareRay]:
    """Make both hosts; nothing runs on them yet."""
    with Network(prefix) as network:
        names = {"mainpc": network.address(11), "pc2": network.address(12)}
        with (
            Host(network, "mainpc", 11, environment=_ENVIRONMENT, neighbours=names) as mainpc,
            Host(network, "pc2", 12, environment=_ENVIRONMENT, neighbours=names) as pc2,
        ):
            yield BareRay(mainpc, pc2)


def lose(host: Host, way: str) -> float:
    """Kill a host, cut its cable or freeze it; return when, monotonic seconds."""
    at_s = time.monotonic()
    {"killed": host.kill, "cut off": host.unplug, "frozen": host.freeze}[way]()
    return at_s


def heal(host: Host, way: str, start: str) -> None:
    """Undo it; a killed host boots and runs the command ``start``."""
    if way == "killed":
        host.boot()
        host.run(start)
    else:
        {"cut off": host.plug, "frozen": host.thaw}[way]()
