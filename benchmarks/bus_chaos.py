"""Mail while the processes of senders and receivers are killed at random, and an account of every message.

Run: ``python -m benchmarks.bus_chaos [--minutes 2] [--rate 5000] [--store redis] [--json]``. Two nodes, two hosts of
senders and two of receivers, one of each on either; a fifth of the mail is sent at least once, and kept in SQLite or in
a Redis that writes every commit to the disk. Every few seconds one process is killed (SIGKILL), and Ray starts it anew.
Exit code 1 when the account does not come out even.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.bus_machine import machine_line
from benchmarks.chaos_account import print_chaos
from benchmarks.chaos_agents import HUSH
from benchmarks.chaos_judge import Record, Verdict, judge, read_record, unsettled
from benchmarks.own_hosts import AgentToRun, Host, OwnHosts, own_hosts
from zejzl_ray.cluster.node_processes import find_node_processes
from zejzl_ray.log import configure_logging
from zejzl_ray.testing.redis_server import RedisServer

KEPT_EVERY: Final = 5
FIRST_KILL_S: Final = 3.0  # everybody has found everybody by then
LEAST_PAUSE_S: Final = 2.0
MEAN_PAUSE_S: Final = 5.0
BACK_LIMIT_S: Final = 60.0
SETTLE_LIMIT_S: Final = 90.0
SETTLED_S: Final = 2.0  # nothing has changed for so long


@dataclass(frozen=True, slots=True)
class Plan:
    """Who sends and who receives: host -> its machine and its agents."""

    senders: Mapping[str, tuple[str, tuple[str, ...]]]
    receivers: Mapping[str, tuple[str, tuple[str, ...]]]


FULL: Final = Plan(
    {"ChaosOut1": ("mainpc", ("Writer1",)), "ChaosOut2": ("pc2", ("Writer2",))},
    {"ChaosIn1": ("mainpc", ("Reader1", "Reader2")), "ChaosIn2": ("pc2", ("Reader3", "Reader4"))},
)
SMALL: Final = Plan({"ChaosOut1": ("mainpc", ("Writer1",))}, {"ChaosIn1": ("pc2", ("Reader1", "Reader2"))})


@dataclass(frozen=True, slots=True)
class Chaos:
    """What was done.

    Attributes:
        record: what everybody wrote down.
        verdict: what became of it.
        seconds: how long mail was sent.
        settle_s: how long it took afterwards until all mail that is kept was settled.
    """

    record: Record
    verdict: Verdict
    seconds: float
    settle_s: float


class Killer:
    """Kills processes of hosts, and nothing else.

    Args:
        folder: where the agents write down that they are up.
        agents: an agent of each host.
        cluster_id: of the cluster; only its processes are killed.
        hosts: all of them; they live as long as somebody holds them.
    """

    def __init__(self, folder: Path, agents: Sequence[str], cluster_id: str, hosts: Sequence[Host]) -> None:
        self._folder = folder
        self._agents = agents
        self._cluster_id = cluster_id
        self._hosts = hosts
        self.killed_s: dict[int, float] = {}

    def alive(self) -> dict[str, int]:
        """Return the process of each agent that is up."""
        found = {}
        for agent in self._agents:
            pids = {int(path.name.split(".")[1]) for path in self._folder.glob(f"{agent}.*.up")}
            running = pids - self.killed_s.keys()
            if running:
                found[agent] = max(running)
        return found

    def kill_one(self, roll: random.Random) -> None:
        """Kill one of those that are up, if any is."""
        alive = self.alive()
        own = {process.pid for process in find_node_processes(self._cluster_id)}
        choice = [pid for _, pid in sorted(alive.items()) if pid in own]
        if choice:
            pid = roll.choice(choice)
            self.killed_s[pid] = time.monotonic()
            os.kill(pid, signal.SIGKILL)

    def wait_for_all(self) -> None:
        """Wait until every host is back.

        Raises:
            TimeoutError: one is not.
        """
        deadline_s = time.monotonic() + BACK_LIMIT_S
        while missing := set(self._agents) - self.alive().keys():
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"not back within {BACK_LIMIT_S:.0f} s: {', '.join(sorted(missing))}")
            time.sleep(0.1)


def start_hosts(hosts: OwnHosts, folder: Path, rate: float, plan: Plan, store_url: str) -> Killer:
    """Start receivers, then senders; return who may kill them."""
    from benchmarks.chaos_host import ChaosHostActor

    notes = {"notes": str(folder)}
    readers = [name for _, names in plan.receivers.values() for name in names]
    writing = {"to": readers, "per_s": rate / len(plan.senders), "kept_every": KEPT_EVERY, **notes}
    started = []
    for kind, places, settings in (("Reader", plan.receivers, notes), ("Writer", plan.senders, writing)):
        for host, (machine, names) in places.items():
            agents = tuple(AgentToRun(name, f"benchmarks.chaos_agents:{kind}", settings) for name in names)
            started.append(
                hosts.start(host, machine, agents, store_url, actor=ChaosHostActor, is_lasting=True)
            )
    firsts = [names[0] for _, names in (*plan.receivers.values(), *plan.senders.values())]
    return Killer(folder, firsts, hosts.cluster_id, started)


def chaos(
    hosts: OwnHosts,
    folder: Path,
    seconds: float,
    rate: float,
    roll: random.Random,
    plan: Plan = FULL,
    *,
    store_url: str = "",
) -> Chaos:
    """Let mail flow, kill, let everything settle, and judge; ``store_url`` empty: the hosts keep mail in SQLite."""
    killer = start_hosts(hosts, folder, rate, plan, store_url)
    began_s = time.monotonic()
    next_s = began_s + FIRST_KILL_S
    while (now_s := time.monotonic()) < began_s + seconds:
        if now_s >= next_s:
            killer.kill_one(roll)
            next_s = time.monotonic() + LEAST_PAUSE_S + roll.expovariate(1 / (MEAN_PAUSE_S - LEAST_PAUSE_S))
        time.sleep(0.05)
    (folder / HUSH).touch()
    hushed_s = time.monotonic()
    killer.wait_for_all()
    record = _settled(folder, killer)
    return Chaos(record, judge(record), hushed_s - began_s, time.monotonic() - hushed_s)


def _settled(folder: Path, killer: Killer) -> Record:
    """Wait until nothing is under way, and return what was written down."""
    deadline_s = time.monotonic() + SETTLE_LIMIT_S
    before = -1
    while True:
        time.sleep(SETTLED_S)
        now = sum(path.stat().st_size for path in folder.glob("*.*.*"))
        is_over = time.monotonic() > deadline_s
        if now == before or is_over:
            record = read_record(folder, killer.killed_s)
            if is_over or not unsettled(record):
                return record
        before = now


def main() -> int:
    """Run and print; exit code 1 when something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=2.0, help="how long mail is sent")
    parser.add_argument("--rate", type=float, default=5000.0, help="messages a second, all senders together")
    parser.add_argument("--store", choices=("sqlite", "redis"), default="sqlite", help="where mail is kept")
    parser.add_argument("--seed", type=int, default=None, help="of who is killed when; another one each time")
    parser.add_argument("--keep", type=Path, default=None, help="folder for what everybody wrote down")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if arguments.minutes <= 0 or arguments.rate <= 0:
        parser.error("--minutes and --rate are above 0")
    configure_logging("WARNING")
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1_000_000)
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="zjc-", dir="/tmp"))
    folder.mkdir(parents=True, exist_ok=True)
    machine = machine_line()
    try:
        with ExitStack() as stack:
            store_url = stack.enter_context(RedisServer()).url if arguments.store == "redis" else ""
            hosts = stack.enter_context(own_hosts())
            roll = random.Random(seed)
            done = chaos(hosts, folder, arguments.minutes * 60, arguments.rate, roll, store_url=store_url)
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    if arguments.json:
        shown = {
            "machine": machine,
            "seed": seed,
            "store": arguments.store,
            "seconds": done.seconds,
            "settle_s": done.settle_s,
        }
        sys.stdout.write(json.dumps(shown | done.verdict.as_json(), indent=2) + "\n")
    else:
        print_chaos(
            done, f"mail while processes are killed, kept in {arguments.store}, seed {seed}; {machine}"
        )
    return 1 if done.verdict.faults else 0


if __name__ == "__main__":
    sys.exit(main())
