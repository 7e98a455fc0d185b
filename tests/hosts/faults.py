"""Faults that a test plants on the two hosts: a process, a machine or a cable that is gone all at once.

Each returns what was done, in words, once a hand has done its part: Redis is started again as its unit would do it, a
machine that was killed boots and starts its node, the cable is back. What follows heals by itself.
"""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.hosts.crowd import Crowd
from tests.hosts.hosts import Host
from tests.hosts.ray_cluster import RayCluster

KINDS: Final = ("actor", "raylet", "gcs", "redis", "host")
# From the fault on; what a client may notice of it has to be over by then, or counts as time without service. A raylet
# may be the head's: then Ray is started again there (15 s), and the ingress after it (30 s).
WINDOW_S: Final[Mapping[str, float]] = {
    "actor": 10.0,
    "raylet": 45.0,
    "gcs": 10.0,
    "redis": 10.0,
    "host": 15.0,
}
_CUT_S = (3.0, 12.0)
# workers that wait for something to do, and parts of a raylet
_NO_ACTORS = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")


class Faults:
    """What may happen to a cluster.

    Args:
        cluster: with its node supervisors running.
        crowd: its clients on a killed machine are started again with it.
        roll: decides who is hit.
    """

    def __init__(self, cluster: RayCluster, crowd: Crowd, roll: random.Random) -> None:
        self._cluster = cluster
        self._hosts = (cluster.mainpc, cluster.pc2)
        self._crowd = crowd
        self._roll = roll
        self._ways: Mapping[str, Callable[[], str]] = {
            "actor": self._actor,
            "raylet": self._raylet,
            "gcs": self._gcs,
            "redis": self._redis,
            "host": self._host,
        }

    def plant(self, kind: str) -> str:
        """Let one of ``KINDS`` happen; return to whom."""
        return self._ways[kind]()

    def _actor(self) -> str:
        actors = [
            (host, pid, title)
            for host in self._hosts
            for pid, title in _processes(host)
            if title.startswith("ray::") and not title.startswith(_NO_ACTORS)
        ]
        if not actors:
            return "no actor was up"
        host, pid, title = self._roll.choice(sorted(actors, key=lambda found: (found[0].name, found[2])))
        _kill(pid)
        return f"{title.split()[0]} on {host.name}"

    def _raylet(self) -> str:
        host = self._roll.choice(self._hosts)
        _kill_program(host, "raylet/raylet")
        return f"raylet of {host.name}"

    def _gcs(self) -> str:
        _kill_program(self._cluster.mainpc, "gcs_server")
        return "gcs_server of mainpc"

    def _redis(self) -> str:
        _kill_program(self._cluster.mainpc, "redis-server")
        away_s = self._roll.uniform(0.2, 3.0)
        time.sleep(away_s)
        self._cluster.start_redis()
        return f"Redis, away for {away_s:.1f} s"

    def _host(self) -> str:
        pc2 = self._cluster.pc2
        way = self._roll.choice(("killed", "killed", "cut off", "frozen"))
        if way == "killed":
            pc2.kill()
            pc2.boot()
            # What deploy/systemd/zejzl-node.service runs; the host has no systemd.
            pc2.run("setsid zejzl node run >>~/run.log 2>&1 </dev/null &")
            self._crowd.start(pc2)
            return "pc2, all processes at once"
        away_s = self._roll.uniform(*_CUT_S)
        (pc2.unplug if way == "cut off" else pc2.freeze)()
        try:
            time.sleep(away_s)
        finally:
            (pc2.plug if way == "cut off" else pc2.thaw)()
        return f"pc2, {way} for {away_s:.1f} s"


def _processes(host: Host) -> list[tuple[int, str]]:
    found = []
    for pid in host.pids():
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found.append((pid, line.strip()))
    return found


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _kill_program(host: Host, program: str) -> None:
    for pid, line in _processes(host):
        if line.split(" ")[0].endswith(program):
            _kill(pid)
