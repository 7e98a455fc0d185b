"""Where mailboxes are: a copy of the registry's entries of hosted agents, kept up to date by its watch."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from zejzl_ray.agents.place import SUBSCRIPTIONS_KEY
from zejzl_ray.bus.topics import TopicTable
from zejzl_ray.contracts import orchestrator as wire
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.services import BY_SERVICE
from zejzl_ray.errors import RevisionCompacted, ZejzlError
from zejzl_ray.log import get_logger

HOST_KEY: Final = "agent_host"
_ABSENT: Final = frozenset({wire.AgentState.DECLARED, wire.AgentState.STOPPED})
_WATCH_S: Final = 20.0
_PAUSE_S: Final = 0.5
_log = get_logger("bus")


class MailDirectory:
    """A ``Directory`` of the bus that follows core_orchestrator.

    While the orchestrator is away the copy stays as it was.

    Attributes:
        is_read: whether the copy goes on from what was read.
        problem: why the registry is not followed; empty when it is.

    Args:
        caller: calls in this host's name.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._operations = BY_SERVICE[wire.SERVICE]
        self._hosts: dict[str, str] = {}
        self._topics = TopicTable()
        self._revision = 0
        self._boot = ""
        self._first_read = asyncio.Event()
        self.is_read = False
        self.problem = "core_orchestrator was not heard of yet: mail stays in this host"

    def locate(self, agent: str) -> str | None:
        """Return the host of an agent, None when no host is known to hold it."""
        return self._hosts.get(agent)

    def known_agents(self) -> Sequence[str]:
        """Return the agents that hosts hold, sorted."""
        return sorted(self._hosts)

    def subscribers(self, topic: str) -> Sequence[tuple[str, str]]:
        """Return (agent, host) of the subscribers of a topic."""
        return [(agent, self._hosts[agent]) for agent in self._topics.matching(topic) if agent in self._hosts]

    async def wait_until_read(self, timeout_s: float) -> bool:
        """Wait until the registry was read once; False when it was not in time."""
        try:
            await asyncio.wait_for(self._first_read.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Follow the registry until cancelled; begins anew after whatever goes wrong."""
        while True:
            try:
                if not self.is_read:
                    await self._read_all()
                await self._follow_once()
            except RevisionCompacted:
                self.is_read = False
            except Exception as error:
                is_own = isinstance(error, ZejzlError)
                reason = error.message if isinstance(error, ZejzlError) else repr(error)
                if not self.problem.endswith(reason):  # once, and not twice a second
                    _log.warning(
                        "the registry cannot be followed; mail goes by what is known",
                        reason=reason,
                        exc_info=None if is_own else error,
                    )
                self.problem = f"the registry cannot be followed: {reason}"
                self.is_read = False
                await asyncio.sleep(_PAUSE_S)
            else:
                self.problem = ""

    async def _read_all(self) -> None:
        snapshot = await self._caller.call(
            self._operations["get_snapshot"], wire.GetSnapshot(), CallContext()
        )
        assert isinstance(snapshot, wire.RegistrySnapshot)
        self._replace(snapshot.agents)
        self._revision, self._boot = snapshot.revision, snapshot.boot
        self.is_read = True
        self._first_read.set()

    async def _follow_once(self) -> None:
        request = wire.WatchAgents(from_revision=self._revision, timeout_s=_WATCH_S)
        batch = await self._caller.call(self._operations["watch_agents"], request, CallContext())
        assert isinstance(batch, wire.WatchBatch)
        for event in batch.events:
            if event.agent is None:
                self._forget(event.name)
            else:
                self._learn(event.agent)
        self._revision = batch.revision

    def _replace(self, agents: Iterable[wire.Agent]) -> None:
        known = set(self._hosts)
        for agent in agents:
            self._learn(agent)
            known.discard(agent.name)
        for name in known:
            self._forget(name)

    def _learn(self, agent: wire.Agent) -> None:
        host = agent.metadata.get(HOST_KEY)
        if not isinstance(host, str) or not host or agent.state in _ABSENT:
            self._forget(agent.name)
            return
        self._hosts[agent.name] = host
        patterns = agent.metadata.get(SUBSCRIPTIONS_KEY)
        wanted = {each for each in patterns if isinstance(each, str)} if isinstance(patterns, list) else set()
        had = {pattern for pattern, names in self._topics.patterns().items() if agent.name in names}
        for pattern in had - wanted:
            self._topics.unsubscribe(agent.name, pattern)
        for pattern in wanted - had:
            try:
                self._topics.subscribe(agent.name, pattern)
            except ZejzlError as error:
                _log.warning(
                    "a subscription cannot be used", agent=agent.name, pattern=pattern, reason=error.message
                )

    def _forget(self, name: str) -> None:
        self._hosts.pop(name, None)
        self._topics.remove(name)
