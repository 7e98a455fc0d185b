"""Registration and heartbeats of all agents of a process, by one timer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from zejzl_ray.agents.ports import Registrar
from zejzl_ray.clock import Clock, SystemClock
from zejzl_ray.contracts.agent_life import AgentHealth
from zejzl_ray.errors import AgentHeld, AgentNotFound
from zejzl_ray.log import get_logger

LEASE_PERIODS: Final = 3.0  # two heartbeats may fail before the lease runs out
_TOGETHER: Final = 0.25  # part of a period by which a heartbeat may come early, to go in one pass with others
_AT_ONCE: Final = 16
_REGISTER_AGAIN_S: Final = 1.0
_MOST_REASON: Final = 1024

_log = get_logger("agents")


@dataclass(eq=False, slots=True)
class Registrant:
    """One agent that is registered and kept alive.

    Attributes:
        name: of the agent.
        period_s: between two heartbeats.
        health: how it is.
        capabilities: told to the registry.
        metadata: told to the registry.
        on_lost: called when another process holds the agent by now; it is not kept alive any more then.
    """

    name: str
    period_s: float
    health: Callable[[], Awaitable[AgentHealth]]
    capabilities: tuple[str, ...] = ()
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    on_lost: Callable[[AgentHeld], None] | None = None
    is_registered: bool = False
    due_at_s: float = 0.0
    told_at_s: float | None = None
    problem: str = ""
    held: AgentHeld | None = None


class Heartbeats:
    """Registers agents and renews their leases; a registry that is away is tried again at each turn.

    Args:
        registrar: the registry.
        clock: monotonic time.
        call_timeout_s: longest call to the registry.
    """

    def __init__(
        self, registrar: Registrar, *, clock: Clock | None = None, call_timeout_s: float = 5.0
    ) -> None:
        self._registrar = registrar
        self._clock = clock or SystemClock()
        self._call_timeout_s = call_timeout_s
        self._members: dict[str, Registrant] = {}
        self._wake = asyncio.Event()
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._task: asyncio.Task[None] | None = None

    async def claim(self, member: Registrant) -> bool:
        """Register an agent and keep it alive until ``remove``; an earlier one of the same name is replaced.

        Its health is told from the next heartbeat on: call ``tell`` once the agent has started. Tries once and then
        goes on by itself; True when it is registered already.

        Raises:
            AgentHeld: another process holds it; it is not tried again.
        """
        self._members[member.name] = member
        member.due_at_s = self._clock.monotonic_s() + member.period_s
        await self._attempt(member, self._register)
        if (held := member.held) is not None:
            raise held
        if self._members.get(member.name) is member:
            if self._task is None or self._task.done():
                self._task = asyncio.get_running_loop().create_task(self._run(), name="heartbeats")
            self._wake.set()
        return member.is_registered

    async def tell(self, name: str) -> None:
        """Send a heartbeat of an agent now, and wait until the registry has it or could not be told."""
        member = self._members.get(name)
        if member is not None:
            await self._beat(member)

    async def remove(self, name: str) -> None:
        """Stop keeping an agent alive, and deregister it; safe to repeat, and never raises.

        Where the registry is away its lease runs out.
        """
        member = self._members.pop(name, None)
        if member is None or not member.is_registered:
            return
        try:
            async with asyncio.timeout(self._call_timeout_s):
                await self._registrar.deregister(name)
        except Exception as error:
            _log.warning("agent could not be deregistered", agent=name, error=str(error))

    def hurry(self, name: str) -> None:
        """Send the next heartbeat of an agent now, because its health has changed."""
        member = self._members.get(name)
        if member is not None:
            member.due_at_s = 0.0
            self._wake.set()

    def ages_s(self) -> dict[str, float]:
        """Return how long ago the registry heard of each agent; one that it never heard of is left out."""
        now_s = self._clock.monotonic_s()
        return {
            each.name: now_s - each.told_at_s for each in self._members.values() if each.told_at_s is not None
        }

    async def beat(self) -> int:
        """Send the heartbeats that are due now, or nearly; return how many."""
        now_s = self._clock.monotonic_s()
        due = [each for each in self._members.values() if each.due_at_s - _TOGETHER * each.period_s <= now_s]
        for each in due:  # before anybody waits, so that a second pass does not send them again
            each.due_at_s = now_s + each.period_s
        await asyncio.gather(*(self._beat(each) for each in due))
        return len(due)

    async def close(self) -> None:
        """End the timer; nobody is deregistered. Safe to repeat."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def _run(self) -> None:
        while self._members:
            self._wake.clear()
            now_s = self._clock.monotonic_s()
            wait_s = min(each.due_at_s for each in self._members.values()) - now_s
            if wait_s > 0:
                try:
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()
                except TimeoutError:
                    pass
                else:
                    continue
            await self.beat()

    async def _beat(self, member: Registrant) -> None:
        member.due_at_s = self._clock.monotonic_s() + member.period_s
        await self._attempt(member, self._tell)
        if member.held is not None and member.on_lost is not None:
            member.on_lost(member.held)

    async def _attempt(self, member: Registrant, call: Callable[[Registrant], Awaitable[None]]) -> None:
        """Make a call to the registry; what goes wrong is noted at the member."""
        problem = ""
        async with self._room:
            try:
                async with asyncio.timeout(self._call_timeout_s):
                    await call(member)
            except AgentHeld as error:
                member.held, member.is_registered = error, False
                if self._members.get(member.name) is member:
                    del self._members[member.name]
                return
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
        if problem and not member.problem:
            _log.warning("registry cannot be told of the agent", agent=member.name, error=problem)
        elif member.problem and not problem:
            _log.info("registry has been told of the agent again", agent=member.name)
        member.problem = problem
        # Nobody can find one that is not registered: it does not wait for its next heartbeat.
        if problem and not member.is_registered:
            member.due_at_s = min(member.due_at_s, self._clock.monotonic_s() + _REGISTER_AGAIN_S)

    async def _tell(self, member: Registrant) -> None:
        if not member.is_registered:
            await self._register(member)
        health = await member.health()
        reason = "; ".join(health.reasons)[:_MOST_REASON]
        try:
            await self._registrar.heartbeat(member.name, health.status, reason)
        except AgentNotFound:  # the registry has lost it, for example after the lease ran out
            if self._members.get(member.name) is not member:
                return  # removed meanwhile: it may be another host's by now
            member.is_registered = False
            await self._register(member)
            await self._registrar.heartbeat(member.name, health.status, reason)
        member.told_at_s = self._clock.monotonic_s()

    async def _register(self, member: Registrant) -> None:
        await self._registrar.register(
            member.name, member.capabilities, member.metadata, LEASE_PERIODS * member.period_s
        )
        if self._members.get(member.name) is member:
            member.is_registered = True
            member.told_at_s = self._clock.monotonic_s()
        elif member.name not in self._members:  # removed meanwhile
            await self._registrar.deregister(member.name)
