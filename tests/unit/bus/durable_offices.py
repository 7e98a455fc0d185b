"""Processes with a bus and durable mail, joined in memory; a process can be killed at any point, its stores stay."""

import asyncio
from collections import Counter
from typing import Any

from zejzl_ray.bus.course import RedeliveryOptions
from zejzl_ray.bus.durable_mail import DurableMail
from zejzl_ray.bus.frames import decode_delivered, decode_outgoing, encode_frame
from zejzl_ray.bus.inboxes import Inboxes
from zejzl_ray.bus.mailbox import Mailbox
from zejzl_ray.bus.message import Guarantee, Message
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.bus.ports import Delivered, Outgoing
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.bus.unacknowledged import AckOptions
from zejzl_ray.errors import AgentUnreachable, RequestTimedOut, SenderRefused, StoreUnavailable
from zejzl_ray.store import MemoryState, MemoryStore
from zejzl_ray.testing import ManualClock

REDELIVERY = RedeliveryOptions(
    first_delay_s=1,
    max_delay_s=4,
    asks_after_s=30,
    asks_at_most_every_s=30,
    jitter_ratio=0,
    max_deliveries=10**6,
)
ACKS = AckOptions(ack_timeout_s=60, first_delay_s=1, max_delay_s=4, jitter_ratio=0, max_deliveries=3)


def mail(number: int = 0, to: str = "reader", sender: str = "writer", **fields: Any) -> Message:
    return Message(
        from_agent=sender,
        to_agent=to,
        message_type="task",
        content={"number": number},
        guarantee=Guarantee.AT_LEAST_ONCE,
        **fields,
    )


class MortalStore(MemoryStore):
    """A store whose process can be killed, and that loses commits on demand."""

    def __init__(self, process: "Process", state: MemoryState) -> None:
        super().__init__(clock=process.world.clock, state=state)
        self._process = process

    async def commit(self, *args: Any, **kwargs: Any) -> None:
        process = self._process
        if process.gate is not None:
            await process.gate.wait()
        if process.is_dead or process.lose == "before":
            raise StoreUnavailable("lost before")
        await super().commit(*args, **kwargs)
        if process.lose == "after":
            raise StoreUnavailable("lost after")


class Process:
    """One process: a bus, durable mail, agents."""

    def __init__(self, world: "World", host: str, **options: Any) -> None:
        self.world = world
        self.host = host
        self.is_dead = False
        self.lose = ""  # "before" or "after": what becomes of commits
        self.gate: asyncio.Event | None = None
        self.office = PostOffice(clock=world.clock, host=host, directory=world, options=world.options)
        self.office.connect(Wire(self))
        self.inboxes = Inboxes(self.open_store, world.clock, ack_delay_s=0)
        self.mail = DurableMail(
            host,
            self.open_store,
            world.clock,
            inboxes=self.inboxes,
            redelivery=options.get("redelivery", REDELIVERY),
            acks=options.get("acks", ACKS),
        )
        self.office.keep(self.mail)

    async def open_store(self, namespace: str) -> MortalStore:
        if self.is_dead or not self.world.is_store_there:
            raise StoreUnavailable("no store")
        self.world.opened[namespace] += 1
        return MortalStore(self, self.world.states.setdefault(namespace, MemoryState()))

    def open_mailbox(self, agent: str, **options: Any) -> Mailbox:
        self.world.hosts[agent] = self.host
        return self.office.open_mailbox(agent, **options)

    async def take(self, agent: str = "reader") -> Message:
        return await self.office.receive(agent, 0)

    async def take_all(self, agent: str = "reader") -> list[Message]:
        taken = []
        while True:
            try:
                taken.append(await self.take(agent))
            except RequestTimedOut:
                return taken

    async def ack(self, message: Message, state: bytes | None = None) -> None:
        await self.office.ack(message, state=state)

    async def flush(self) -> None:
        """Store what is settled, which it would do by itself in a moment."""
        if self.mail.outbox is not None:
            await self.mail.outbox.flush()

    @property
    def unsettled(self) -> int:
        outbox = self.mail.outbox
        return -1 if outbox is None else len(outbox)

    def totals(self) -> dict[str, int]:
        assert self.mail.outbox is not None
        return dict(self.mail.outbox.totals())


class Wire:
    """A ``Transport`` to the other processes of a world."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def deliver(self, host: str, outgoing: Outgoing) -> Delivered:
        world, here = self._process.world, self._process
        frame = encode_frame(outgoing)
        await asyncio.sleep(0)
        there = world.processes.get(host)
        fault = world.faults.pop((here.host, host), "") or ("cut" if host in world.cut else "")
        if there is None or here.is_dead or there.is_dead or fault == "cut":
            raise AgentUnreachable("nobody there", "", {"host": host})
        if fault == "not let in":
            raise SenderRefused("who are you", "", {"host": host})
        delivered = await there.office.accept(here.host, decode_outgoing(frame), world)
        answer = encode_frame(delivered)
        await asyncio.sleep(0)
        if here.is_dead or there.is_dead or fault == "answer":
            raise AgentUnreachable("no answer", "", {"host": host})
        return decode_delivered(answer)

    def speakers(self, host: str) -> "World":
        return self._process.world

    def watch(self, host: str) -> None:
        self._process.world.watched.add((self._process.host, host))


class World:
    """Processes by host; also their directory, and who may write to whom."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.options = BusOptions(**options)
        self.states: dict[str, MemoryState] = {}
        self.opened: Counter[str] = Counter()
        self.processes: dict[str, Process] = {}
        self.hosts: dict[str, str] = {}
        self.why_not: dict[str, str] = {}  # sender -> why it may not write
        self.unproved: set[str] = set()  # of these, who has shown no proof yet
        self.watched: set[tuple[str, str]] = set()  # (who, whom) beside its own calls
        self.faults: dict[tuple[str, str], str] = {}  # of the next call from one host to another
        self.cut: set[str] = set()  # hosts that cannot be reached
        self.is_store_there = True

    async def start(self, host: str, *agents: str, **options: Any) -> Process:
        process = self.processes[host] = Process(self, host, **options)
        for agent in agents:
            process.open_mailbox(agent)
        if self.is_store_there:
            await process.mail.open()
        return process

    def kill(self, host: str, *, is_noticed: bool = True) -> None:
        """End a process: it does nothing any more, and its memory is gone."""
        self.processes.pop(host).is_dead = True
        if is_noticed:
            for other in self.processes.values():
                other.office.link(host).peer_gone("killed")

    async def rest(self, rounds: int = 60) -> None:
        """Let everything that can happen now happen."""
        for _ in range(rounds):
            await asyncio.sleep(0)

    async def go_on(self, seconds: float = 1.0) -> None:
        """Let time pass."""
        self.clock.advance(seconds)
        for process in self.processes.values():
            process.mail.tick()
            process.mail.retry_news()
        await self.rest()

    async def flush(self) -> None:
        for process in self.processes.values():
            await process.flush()

    # --- a directory, and speakers ---

    def locate(self, agent: str) -> str | None:
        return self.hosts.get(agent)

    def known_agents(self) -> list[str]:
        return sorted(self.hosts)

    def subscribers(self, topic: str) -> list[tuple[str, str]]:
        return []

    def why_refused(self, from_agent: str, box: Mailbox | None) -> str:
        return self.why_not.get(from_agent, "")

    def is_unproved(self, from_agent: str) -> bool:
        return from_agent in self.unproved


def numbers(messages: list[Message]) -> list[int]:
    return [message.content["number"] for message in messages]


async def pair(**options: object) -> tuple[World, Process, Process]:
    """Return a world with writer on host a, reader on host b."""
    world = World()
    a = await world.start("a", "writer", **options)
    b = await world.start("b", "reader", **options)
    return world, a, b


async def delivered(world: World, seconds: int = 6) -> None:
    """Let mail go its way; the first of an agent waits until its inbox is open."""
    await world.rest()
    for _ in range(seconds):
        await world.go_on()
