"""Which agents are due for a probe, and where to knock."""

import asyncio
import heapq
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zejzl_ray.contracts.orchestrator import Agent
from zejzl_ray.orchestrator.endpoint import reachable_host
from zejzl_ray.orchestrator.ports import ProbeOutcome, Prober


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """Where one agent is probed."""

    name: str
    host: str
    port: int


class ProbeSchedule:
    """When each agent is probed next, spread over the period so that they do not all come at once.

    Args:
        period_s: pause between two probes of an agent.
    """

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._due: dict[str, float] = {}
        # (due, name); entries that _due does not confirm are out of date
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        """Return the number of agents that are probed."""
        return len(self._due)

    def add(self, name: str, now_s: float) -> None:
        """Probe this agent from now on; one that is probed already keeps its turn."""
        if name not in self._due:
            share = (zlib.crc32(name.encode()) % 1000) / 1000
            self._push(name, now_s + share * self._period_s)

    def drop(self, name: str) -> None:
        """Probe this agent no more; an absent one is no error."""
        self._due.pop(name, None)

    def take_due(self, now_s: float, limit: int) -> list[str]:
        """Return up to ``limit`` agents that are due, and plan their next turn one period from now."""
        taken: list[str] = []
        while self._heap and self._heap[0][0] <= now_s and len(taken) < limit:
            due_s, name = heapq.heappop(self._heap)
            if self._due.get(name) == due_s:
                taken.append(name)
        for name in taken:
            self._push(name, now_s + self._period_s)
        return taken

    def _push(self, name: str, due_s: float) -> None:
        self._due[name] = due_s
        heapq.heappush(self._heap, (due_s, name))


def target_of(agent: Agent, machine_address: str) -> ProbeTarget | None:
    """Return where to probe an agent: its health port before its port; None when it has neither."""
    port = agent.health_port if agent.health_port is not None else agent.port
    return (
        None if port is None else ProbeTarget(agent.name, reachable_host(agent.host, machine_address), port)
    )


async def probe_all(
    prober: Prober, targets: Sequence[ProbeTarget], *, concurrency: int, timeout_s: float
) -> Mapping[str, ProbeOutcome]:
    """Probe all targets, at most ``concurrency`` at the same time.

    Returns:
        Agent name -> what its probe found.
    """
    slots = asyncio.Semaphore(concurrency)
    outcomes: dict[str, ProbeOutcome] = {}

    async def probe(target: ProbeTarget) -> None:
        async with slots:
            outcomes[target.name] = await prober.probe(target.host, target.port, timeout_s)

    async with asyncio.TaskGroup() as group:
        for target in targets:
            group.create_task(probe(target))
    return outcomes
