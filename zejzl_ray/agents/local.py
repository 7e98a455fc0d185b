"""Agents of one process without a cluster: to try something, in a notebook or in a script."""

from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.factory import build_agent
from zejzl_ray.agents.host import AgentSet
from zejzl_ray.agents.runner import RunnerParts
from zejzl_ray.bus.deadlock_monitor import LocalDeadlockMonitor
from zejzl_ray.bus.durable_mail import DurableMail
from zejzl_ray.bus.inboxes import Inboxes
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.store import MemoryState, MemoryStore, Store

A = TypeVar("A", bound=Agent)


class LocalAgents:
    """A bus and its agents in this process; ``async with`` opens and closes both.

    The agents run as in a host of a cluster, with saved state, mail that is sent at least once, and the search for
    deadlocks. Nobody registers them or checks who may write to whom. To end in order by SIGTERM or SIGINT a program
    waits with ``await run_until_signalled(local.close)`` of ``zejzl_ray.agents.signals``.

    Args:
        options: sizes and time limits of the bus.
        dependencies: what constructors of agents may ask for, by name.
        open_store: opens a namespace of the store for kept mail and saved state; None: in memory, so it ends with this
            object.

    Attributes:
        office: the bus.
        agents: the agents, to stop, restart and look at.
        deadlocks: what was found, and who is told.
    """

    def __init__(
        self,
        *,
        options: BusOptions | None = None,
        dependencies: Mapping[str, object] | None = None,
        open_store: Callable[[str], Awaitable[Store]] | None = None,
    ) -> None:
        self.office = PostOffice(options=options)
        clock = self.office.clock
        self._memory: dict[str, MemoryState] = {}
        inboxes = Inboxes(open_store or self._in_memory, clock)
        self._durable = DurableMail("local", open_store or self._in_memory, clock, inboxes=inboxes)
        self.office.keep(self._durable)
        self.deadlocks = LocalDeadlockMonitor(self.office)
        parts = RunnerParts(
            self.office,
            clock=clock,
            state_store=inboxes,
            figures=self.office.figures,
            handlings=self.office.handlings,
        )
        self._dependencies = dict(dependencies or {})
        self.agents = AgentSet(parts)
        self.office.dead_letters.on_letter(self.agents.undelivered)

    async def __aenter__(self) -> Self:
        """Open the bus."""
        await self._durable.__aenter__()
        self.deadlocks.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the agents after they have handled their mail, then the bus."""
        await self.close()

    async def start(self, agent_class: type[A], name: str = "", **settings: Any) -> A:
        """Start an agent and return it, to have it write to others; a restart makes another one in its place.

        Args:
            agent_class: what it is.
            name: under which; default: the name of its class.
            settings: its own settings.

        Raises:
            AgentExists: there is one of this name.
            InvalidInput: it cannot be built, or its name is none.
        """
        made: list[A] = []

        def build() -> Agent:
            agent = build_agent(agent_class, settings, self._dependencies)
            assert isinstance(agent, agent_class)
            made[:] = [agent]
            return agent

        await self.agents.start_built(name or agent_class.__name__, build)
        return made[0]

    async def close(self) -> None:
        """Stop the agents after they have handled their mail, then the bus; safe to repeat."""
        await self.agents.close()
        await self.deadlocks.stop()
        await self._durable.close()
        await self.office.close()

    async def _in_memory(self, namespace: str) -> Store:
        state = self._memory.setdefault(namespace, MemoryState())
        return MemoryStore(clock=self.office.clock, state=state)
