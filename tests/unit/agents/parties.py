"""A registry and a bench of agents, for the tests of this folder."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from pydantic import JsonValue

from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.heartbeats import Heartbeats
from zejzl_ray.agents.runner import AgentRunner, RunnerParts
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.clock import Clock
from zejzl_ray.contracts.orchestrator import HealthStatus
from zejzl_ray.errors import AgentHeld, AgentNotFound
from zejzl_ray.testing import ManualClock
from zejzl_ray.testing.agents import MemoryStates


async def until(is_true: Callable[[], bool]) -> None:
    """Wait until something holds that nobody tells of; 5 s at most."""
    async with asyncio.timeout(5):
        while not is_true():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.001)


class Registry:
    """A ``Registrar`` that writes down what it is told; ``elsewhere`` are agents that another process holds."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.known: set[str] = set()
        self.elsewhere: set[str] = set()
        self.trouble: Exception | None = None

    async def register(
        self, name: str, capabilities: tuple[str, ...], metadata: Mapping[str, JsonValue], lease_s: float
    ) -> None:
        self._raise()
        if name in self.elsewhere:
            raise AgentHeld(f"{name} is held by h2")
        self.known.add(name)
        self.calls.append(("register", name, capabilities, dict(metadata), lease_s))

    async def heartbeat(self, name: str, status: HealthStatus, reason: str) -> None:
        self._raise()
        if name not in self.known or name in self.elsewhere:
            raise AgentNotFound(f"no {name}")
        self.calls.append(("heartbeat", name, status.value, reason))

    async def deregister(self, name: str) -> None:
        self._raise()
        self.known.discard(name)
        self.calls.append(("deregister", name))

    def _raise(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    def kinds(self, name: str) -> list[str]:
        """What was asked about one agent, in order."""
        return [call[0] for call in self.calls if call[1] == name]


class Bench:
    """A bus, a registry and a state store; ``parts`` goes to runners."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.office = PostOffice(clock=self.clock)
        self.registry = Registry()
        self.heartbeats = Heartbeats(self.registry, clock=self.clock)
        self.states = MemoryStates()
        self.handlings = self.office.handlings
        self.parts = RunnerParts(
            self.office,
            clock=self.clock,
            heartbeats=self.heartbeats,
            state_store=self.states,
            figures=self.office.figures,
            handlings=self.handlings,
            metadata={"agent_host": "h1"},
        )
        self.office.open_mailbox("tester")

    async def run(self, agent: Agent, name: str) -> AgentRunner:
        """Start an agent; whoever calls stops it, where the end of the bus is not enough."""
        runner = AgentRunner(agent, self.parts, name=name)
        await runner.start()
        return runner

    async def ask(self, to: str, kind: str, **content: Any) -> Message:
        return await self.office.request(Message("tester", to, kind, content), 5.0)

    async def tell(self, to: str, kind: str, **content: Any) -> None:
        await self.office.send(Message("tester", to, kind, content))


@asynccontextmanager
async def bench(clock: Clock | None = None) -> AsyncIterator[Bench]:
    made = Bench(clock)
    try:
        yield made
    finally:
        await made.heartbeats.close()
        await made.office.close()
