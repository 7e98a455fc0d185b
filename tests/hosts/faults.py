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
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.hosts.crowd import Crowd
from tests.hosts.hosts import Host
from tests.hosts.ray_cluster import RayCluster
from tests.hosts.waiting import wait_until

KINDS: Final = ("actor", "raylet", "gcs", "redis", "host")
# From the fault on; what a client may notice of it has to be over by then, or counts as time without service.
_WINDOW_S: Final = 10.0
_PC2_WINDOW_S: Final = 15.0
_HEAD_WINDOW_S: Final = 45.0  # Ray is started again there (15 s), and the ingress after it (30 s)
_CUT_S: Final = (3.0, 12.0)
_ACTORS_S: Final = 30.0
# workers that wait for something to do, and parts of a raylet
_NO_ACTORS = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")


@dataclass(frozen=True, slots=True)
class Hit:
    """What was done.

    Attributes:
        what: to whom, in words.
        window_s: for how long clients may notice it.
    """

    what: str
    window_s: float = _WINDOW_S


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
        self._ways: Mapping[str, Callable[[], Hit]] = {
            "actor": self._actor,
            "raylet": self._raylet,
            "gcs": self._gcs,
            "redis": self._redis,
            "host": self._host,
        }

    def plant(self, kind: str) -> Hit:
        """Let one of ``KINDS`` happen; return to whom.

        Raises:
            AssertionError: no actor came up that could be killed.
        """
        return self._ways[kind]()

    def _actor(self) -> Hit:
        wait_until(self._actors, limit_s=_ACTORS_S, what="an actor is up")
        host, pid, title = self._roll.choice(self._actors())
        _kill(pid)
        return Hit(f"{title.split()[0]} on {host.name}")

    def _actors(self) -> list[tuple[Host, int, str]]:
        found = [
            (host, pid, title)
            for host in self._hosts
            for pid, title in _processes(host)
            if title.startswith("ray::") and not title.startswith(_NO_ACTORS)
        ]
        return sorted(found, key=lambda actor: (actor[0].name, actor[2]))

    def _raylet(self) -> Hit:
        host = self._roll.choice(self._hosts)
        _kill_program(host, "raylet/raylet")
        return Hit(
            f"raylet of {host.name}", _HEAD_WINDOW_S if host is self._cluster.mainpc else _PC2_WINDOW_S
        )

    def _gcs(self) -> Hit:
        _kill_program(self._cluster.mainpc, "gcs_server")
        return Hit("gcs_server of mainpc")

    def _redis(self) -> Hit:
        _kill_program(self._cluster.mainpc, "redis-server")
        away_s = self._roll.uniform(0.2, 3.0)
        time.sleep(away_s)
        self._cluster.start_redis()
        return Hit(f"Redis, away for {away_s:.1f} s")

    def _host(self) -> Hit:
        way = self._roll.choice(("power of mainpc", "killed", "cut off", "frozen"))
        if way == "power of mainpc":
            mainpc = self._cluster.mainpc
            mainpc.kill()
            mainpc.boot()
            self._cluster.start_redis()
            self._start_node(mainpc)
            return Hit("mainpc, all processes at once", _HEAD_WINDOW_S)
        pc2 = self._cluster.pc2
        if way == "killed":
            pc2.kill()
            pc2.boot()
            self._start_node(pc2)
            return Hit("pc2, all processes at once", _PC2_WINDOW_S)
        away_s = self._roll.uniform(*_CUT_S)
        (pc2.unplug if way == "cut off" else pc2.freeze)()
        try:
            time.sleep(away_s)
        finally:
            (pc2.plug if way == "cut off" else pc2.thaw)()
        return Hit(f"pc2, {way} for {away_s:.1f} s", _PC2_WINDOW_S)

    def _start_node(self, host: Host) -> None:
        # What deploy/systemd/zejzl-node.service runs; the host has no systemd.
        host.run("setsid zejzl node run >>~/run.log 2>&1 </dev/null &")
        self._crowd.start(host)


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
