"""What a host of agents does while it is measured: sends, takes, asks and answers through its own bus.

Runs inside of the host's process, on its event loop, with the bus's own ``send`` and ``receive``; nothing is set up
differently from how agents use it. Times are monotonic.
"""

import asyncio
import os
import time
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.bus_mail import Arrivals, content_of, contents, median, number_of, times
from benchmarks.bus_pacing import BURST, Beat
from zejzl_ray.bus.message import Guarantee, Message
from zejzl_ray.contracts.agent_life import LifeState
from zejzl_ray.errors import ZejzlError

if TYPE_CHECKING:
    from zejzl_ray.cluster.agent_host import AgentHost  # it imports Ray

KIND = "observation"


@dataclass(frozen=True, slots=True)
class OpenSent:
    """What the sender of an open loop knows: when each was due and when ``send`` was entered, and its CPU."""

    due_s: "array[float]"
    sent_s: "array[float]"
    cpu: float


@dataclass(frozen=True, slots=True)
class OpenTaken:
    """What the receiver knows: when ``receive`` returned each, 0 for those that did not come; and its CPU."""

    came_s: "array[float]"
    cpu: float


class HostWork:
    """The work of one host.

    Args:
        host: it; its agents run.
    """

    def __init__(self, host: "AgentHost") -> None:
        self._host = host
        self._office = host.office

    async def wait_for_agents(self, names: tuple[str, ...], limit_s: float = 90.0) -> None:
        """Wait until all agents run.

        Raises:
            RuntimeError: one cannot be started; says why.
            TimeoutError: they do not in time.
        """
        async with asyncio.timeout(limit_s):
            while True:
                agents = {agent.name: agent for agent in (await self._host.list_held_agents()).agents}
                states = {agents[name].state if name in agents else None for name in names}
                if states == {LifeState.RUNNING}:
                    return
                if LifeState.FAILED in states:
                    raise RuntimeError(
                        "; ".join(f"{agent.name}: {agent.reason}" for agent in agents.values())
                    )
                await asyncio.sleep(0.1)

    async def keep_still(self, names: tuple[str, ...]) -> None:
        """Let agents take no mail any more, so that it can be received here."""
        for name in names:
            self._host.agents.pause(name, "is measured")

    async def greet(
        self, pairs: tuple[tuple[str, str], ...], kind: str = KIND, limit_s: float = 60.0
    ) -> None:
        """Send one message for each pair, as soon as the receiver's mailbox is known here."""
        async with asyncio.timeout(limit_s):
            for sender, receiver in pairs:
                while True:
                    try:
                        await self._office.send(Message(sender, receiver, kind, content_of(0)))
                        break
                    except ZejzlError:
                        await asyncio.sleep(0.1)

    async def metrics(self) -> dict[str, dict[str, Any]]:
        """Return what the agents count."""
        return {info.name: dict(info.metrics) for info in await self._host.agents.list()}

    async def tell_all(self, kind: str) -> None:
        """Send each agent of this host a message of a type."""
        for name in self._host.agents.names():
            await self._office.send(Message(name, name, kind, {}))

    async def letters(self) -> dict[str, int]:
        """Return how many dead letters there are, by their reason."""
        return {str(reason): count for reason, count in self._office.dead_letters.counts().items()}

    async def pid(self) -> int:
        """Return the process id."""
        return os.getpid()

    async def send(self, pairs: tuple[tuple[str, str], ...], count: int) -> float:
        """Send ``count`` messages from each sender to its receiver, a task each; return when the first was made."""
        given = contents(count * len(pairs))
        began_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for index, (sender, receiver) in enumerate(pairs):
                group.create_task(self._send(sender, receiver, given[index * count : (index + 1) * count]))
        return began_s

    async def _send(self, sender: str, receiver: str, given: list[dict[str, object]]) -> None:
        send = self._office.send
        for content in given:
            await send(Message(sender, receiver, KIND, content))

    async def take(
        self, receivers: tuple[str, ...], count: int, limit_s: float, *, acknowledges: bool = False
    ) -> tuple[float, int]:
        """Receive ``count`` messages for each receiver, a task each.

        Returns:
            When the last came (and was acknowledged), and how many are missing.
        """
        arrivals = Arrivals(count * len(receivers))
        try:
            async with asyncio.timeout(limit_s), asyncio.TaskGroup() as group:
                for receiver in receivers:
                    group.create_task(self._take(receiver, count, arrivals, acknowledges=acknowledges))
        except TimeoutError:
            pass
        return time.monotonic(), arrivals.missing

    async def _take(self, receiver: str, count: int, arrivals: Arrivals, *, acknowledges: bool) -> None:
        receive, ack = self._office.receive, self._office.ack
        for _ in range(count):
            message = await receive(receiver)
            arrivals.add(message.content)
            if acknowledges:
                await ack(message)

    async def send_durably(
        self, sender: str, receiver: str, count: int, under_way: int
    ) -> tuple[float, float]:
        """Send messages at least once, ``under_way`` of them at once.

        Returns:
            When the first was made, and when the last was durable.
        """
        given = iter(contents(count))
        send = self._office.send

        async def work() -> None:
            for content in given:  # shared: each takes the next
                await send(Message(sender, receiver, KIND, content, guarantee=Guarantee.AT_LEAST_ONCE))

        began_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(under_way):
                group.create_task(work())
        return began_s, time.monotonic()

    async def ask(self, sender: str, receiver: str, count: int) -> float:
        """Ask in turn; return the median time of a request until its reply, seconds."""
        took_s = times(count)
        for number in range(count):
            content = content_of(number)
            began_s = time.perf_counter()
            reply = await self._office.request(Message(sender, receiver, KIND, content), 30.0)
            took_s[number] = time.perf_counter() - began_s
            assert reply.content == content
        return median(took_s)

    async def answer(self, receiver: str, count: int) -> None:
        """Answer requests with their own content."""
        for _ in range(count):
            request = await self._office.receive(receiver, 60.0)
            await self._office.respond(request, request.content)

    async def send_openly(self, sender: str, receiver: str, per_s: float, messages: int) -> OpenSent:
        """Send bursts of 16 on a schedule, ``messages`` in all (a multiple of 16)."""
        due_s, sent_s = times(messages), times(messages)
        send, bursts = self._office.send, messages // BURST
        with Beat(BURST / per_s) as beat:
            before = _cpu_s()
            burst = 0
            while burst < bursts:
                for _ in range(min(await beat.ticks(), bursts - burst)):
                    was_due_s = beat.start_s + burst * beat.period_s
                    for number in range(burst * BURST, (burst + 1) * BURST):
                        message = Message(sender, receiver, KIND, content_of(number))
                        due_s[number] = was_due_s
                        sent_s[number] = time.monotonic()
                        await send(message)
                    burst += 1
            took_s = time.monotonic() - beat.start_s
            used_s = _cpu_s() - before
        return OpenSent(due_s, sent_s, used_s / took_s)

    async def take_openly(self, receiver: str, messages: int, limit_s: float) -> OpenTaken:
        """Receive ``messages`` and note when each came."""
        came_s = times(messages)
        receive = self._office.receive
        before, first_s = 0.0, 0.0
        try:
            async with asyncio.timeout(limit_s):
                for taken in range(messages):
                    message = await receive(receiver)
                    came_s[number_of(message.content)] = now_s = time.monotonic()
                    if not taken:
                        before, first_s = _cpu_s(), now_s
        except TimeoutError:
            pass
        return OpenTaken(came_s, (_cpu_s() - before) / max(1e-9, time.monotonic() - first_s))

    async def cpu(self, seconds: float) -> float:
        """Return the CPU of this process over a while in which the benchmark does nothing, 1 = a core."""
        before, began_s = _cpu_s(), time.monotonic()
        await asyncio.sleep(seconds)
        return (_cpu_s() - before) / (time.monotonic() - began_s)


def _cpu_s() -> float:
    used = psutil.Process().cpu_times()
    return float(used.user + used.system)
