"""Measuring a bus inside of one process: the old one and the post office through the same few functions."""

import asyncio
import time
from array import array
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.bus_baselines.old_bus import OldBus, OldMessage
from benchmarks.bus_mail import content_of, median, number_of, percentile, times
from benchmarks.bus_pacing import BURST, Beat
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.post_office import PostOffice

WINDOW: Final = 1000  # the sender waits for the receiver so often, so that no bus measures its longest queue
SENDER: Final = "sender"
RECEIVER: Final = "receiver"
LIMIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class LocalBus:
    """What is measured; every function is the bus's own, not a wrapper around it, except ``ask`` and ``answer``.

    Attributes:
        make: makes a message of (from, to, type, content).
        send: sends it.
        receive: takes the next one of an agent.
        ask: sends a request with this content and returns the reply.
        answer: takes one request and answers it.
    """

    make: Callable[[str, str, str, dict[str, Any]], Any]
    send: Callable[[Any], Awaitable[Any]]
    receive: Callable[[str], Awaitable[Any]]
    ask: Callable[[dict[str, Any]], Awaitable[Any]]
    answer: Callable[[], Awaitable[None]]


async def old_bus(agents: int = 2) -> LocalBus:
    """Return the old bus with that many agents."""
    bus = OldBus()
    for name in _names(agents):
        await bus.register_agent(name)

    async def answer() -> None:
        request = await bus.receive(RECEIVER)
        await bus.send_response(
            RECEIVER,
            request.from_agent,
            "observation_response",
            request.content,
            request.correlation_id or "",
        )

    async def ask(content: dict[str, Any]) -> OldMessage:
        return await bus.send_request(SENDER, RECEIVER, "observation", content)

    return LocalBus(OldMessage, bus.send, bus.receive, ask, answer)


async def post_office(agents: int = 2) -> LocalBus:
    """Return a post office with that many mailboxes and everything at its default."""
    office = PostOffice()
    for name in _names(agents):
        office.open_mailbox(name)

    async def answer() -> None:
        request = await office.receive(RECEIVER)
        await office.respond(request, request.content)

    async def ask(content: dict[str, Any]) -> Message:
        return await office.request(Message(SENDER, RECEIVER, "observation", content))

    return LocalBus(Message, office.send, office.receive, ask, answer)


async def rate(bus: LocalBus, given: list[dict[str, Any]]) -> float:
    """Return messages a second of one sender and one receiver; messages are made while the clock runs.

    Args:
        bus: it.
        given: ``contents`` of all messages.
    """
    messages = len(given)
    make, send, receive = bus.make, bus.send, bus.receive
    reached = asyncio.Event()
    last = -1

    async def take() -> None:
        nonlocal last
        for number in range(messages):
            last = number_of((await receive(RECEIVER)).content)
            if not (number + 1) % WINDOW:
                reached.set()

    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
        taking = group.create_task(take())
        await asyncio.sleep(0)
        began_s = time.perf_counter()
        for start in range(0, messages, WINDOW):
            for content in given[start : start + WINDOW]:
                await send(make(SENDER, RECEIVER, "observation", content))
            if start + WINDOW < messages:
                await reached.wait()
                reached.clear()
        await taking
        took_s = time.perf_counter() - began_s
    if last != messages - 1:
        raise RuntimeError(f"the last message was number {last}, not {messages - 1}")
    return messages / took_s


async def request_p50_s(bus: LocalBus, requests: int) -> float:
    """Return the median time of a request until its reply, one at a time, seconds."""

    async def serve() -> None:
        for _ in range(requests):
            await bus.answer()

    took_s = times(requests)
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
        group.create_task(serve())
        for number in range(requests):
            content = content_of(number)
            began_s = time.perf_counter()
            reply = await bus.ask(content)
            took_s[number] = time.perf_counter() - began_s
            assert reply.content == content
    return median(took_s)


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """What an open loop found: p95 in milliseconds, and how many did not arrive.

    Attributes:
        from_send_ms: from entering ``send`` to return of ``receive``.
        from_schedule_ms: from the time at which the burst was due.
        missing: messages that did not arrive.
        rate: messages a second that arrived.
    """

    from_send_ms: float
    from_schedule_ms: float
    missing: int
    rate: float


async def open_loop(bus: LocalBus, per_s: float, seconds: float) -> OpenLoop:
    """Send bursts of 16 on a schedule, whatever the receiver does, and time every message."""
    bursts = max(1, int(per_s * seconds / BURST))
    messages = bursts * BURST
    sent_s, came_s, due_s = times(messages), times(messages), times(messages)
    make, send, receive = bus.make, bus.send, bus.receive

    async def take() -> None:
        for _ in range(messages):
            message = await receive(RECEIVER)
            came_s[number_of(message.content)] = time.monotonic()

    async with asyncio.timeout(seconds + LIMIT_S), asyncio.TaskGroup() as group:
        group.create_task(take())
        with Beat(BURST / per_s) as beat:
            burst = 0
            while burst < bursts:
                for _ in range(min(await beat.ticks(), bursts - burst)):
                    was_due_s = beat.start_s + burst * beat.period_s
                    for number in range(burst * BURST, (burst + 1) * BURST):
                        message = make(SENDER, RECEIVER, "observation", content_of(number))
                        due_s[number] = was_due_s
                        sent_s[number] = time.monotonic()
                        await send(message)
                    burst += 1
    return summary(sent_s, came_s, due_s)


def summary(sent_s: "array[float]", came_s: "array[float]", due_s: "array[float]") -> OpenLoop:
    """Return what the times of all messages say; a time of arrival of 0 is one that did not arrive."""
    arrived = [number for number, at_s in enumerate(came_s) if at_s > 0]
    if not arrived:
        return OpenLoop(float("inf"), float("inf"), len(came_s), 0.0)
    return OpenLoop(
        percentile([came_s[number] - sent_s[number] for number in arrived], 0.95) * 1000,
        percentile([came_s[number] - due_s[number] for number in arrived], 0.95) * 1000,
        len(came_s) - len(arrived),
        len(arrived) / (max(came_s) - due_s[0]),
    )


def _names(agents: int) -> list[str]:
    return [SENDER, RECEIVER, *(f"agent-{number}" for number in range(agents - 2))]
