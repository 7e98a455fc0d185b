"""One sending host and some receiving agents over stores that outlive them, and a model too simple to be wrong."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.unit.bus.durable_bench import mail
from zejzl_ray.bus.course import RedeliveryOptions
from zejzl_ray.bus.inbox import Inbox
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.outbox import Outbox
from zejzl_ray.bus.received import Receipt
from zejzl_ray.bus.redelivery import Redelivery
from zejzl_ray.errors import MailboxFull, StoreUnavailable
from zejzl_ray.store import Store
from zejzl_ray.testing import ManualClock

Open = Callable[[str], Awaitable[Store]]
NO_WAITS = RedeliveryOptions(
    first_delay_s=1, max_delay_s=2, asks_after_s=5, asks_at_most_every_s=5, max_deliveries=10**6
)


class Faulty:
    """A store that loses commits on demand; everything else is the store's."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.lose = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def commit(self, *args: Any, **kwargs: Any) -> None:
        if self.lose == "before":
            raise StoreUnavailable("lost before")
        await self.store.commit(*args, **kwargs)
        if self.lose == "after":
            raise StoreUnavailable("lost after")


@dataclass
class Agent:
    """The receiving end: its inbox, its mailbox, and its state: the numbers that it has handled."""

    name: str
    store: Faulty
    inbox: Inbox
    boot: int
    mailbox: list[Message] = field(default_factory=list)
    state: list[int] = field(default_factory=list)
    # (origin, sequence) of what is acknowledged durably and the sender was not told of
    news: list[tuple[str, int]] = field(default_factory=list)


class World:
    """The parts put together as a bus does it, without one; each step is one thing that can happen."""

    out_store: Faulty
    outbox: Outbox
    redelivery: Redelivery

    def __init__(self, open_store: Open, clock: ManualClock, names: tuple[str, ...] = ("a", "b")) -> None:
        self._open = open_store
        self.clock = clock
        self.names = names
        self.agents: dict[str, Agent] = {}
        self.boots = 0
        self._is_started = False
        self.next_number = 0
        self.promised: dict[int, str] = {}  # number -> agent; ``add`` has returned
        self.refused: set[int] = set()  # ``add`` has raised
        self.perhaps: set[int] = set()  # refused, and the process died before the store had answered
        self.handled: Counter[int] = Counter()
        self.excused: Counter[int] = Counter()  # died between handling and acknowledging
        self.acknowledged: set[int] = set()  # told so to a handler

    async def start(self) -> None:
        await self.crash_sender()
        for name in self.names:
            await self.crash_receiver(name)

    async def crash_sender(self) -> None:
        """Drop the outbox, whatever it was doing, and open it again."""
        self.perhaps |= self.refused
        if self._is_started:
            await self.out_store.close()
        self._is_started = True
        self.out_store = Faulty(await self._open("outbox.h"))
        self.redelivery = Redelivery(NO_WAITS, roll=lambda: 0.5)
        self.outbox = Outbox(self.out_store, "h", self.clock, capacity=60, on_commit=self._track)
        self._track(await self.outbox.start())

    async def crash_receiver(self, name: str) -> None:
        """Drop an agent with its mailbox and its memory, and start it again."""
        if (old := self.agents.get(name)) is not None:
            for number in old.state[len(json.loads(old.inbox.state or b"[]")) :]:
                self.excused[number] += 1
            await old.store.close()
            self.redelivery.lost(name, self.clock.now_s())
        self.boots += 1
        store = Faulty(await self._open(f"agent.{name}"))
        news: list[tuple[str, int]] = []
        inbox = Inbox(
            store,
            name,
            self.clock,
            window=200,
            on_commit=lambda told: news.extend(
                (origin, each) for origin, some in told.items() for each in some
            ),
        )
        state = await inbox.start()
        self.agents[name] = Agent(name, store, inbox, self.boots, state=json.loads(state or b"[]"), news=news)

    async def send(self, name: str, count: int, lose: str) -> None:
        self.out_store.lose = lose
        batch = [mail(self.next_number + each, to=name) for each in range(count)]
        self.next_number += count
        try:
            await self.outbox.add_all(batch)
        except (StoreUnavailable, MailboxFull):
            self.refused |= {message.content["number"] for message in batch}
        else:
            self.promised |= {message.content["number"]: name for message in batch}
        self.out_store.lose = ""

    async def deliver(self) -> None:
        """Send what is due, and tell each receiver from where on something is open."""
        now_s = self.clock.now_s()
        due = self.redelivery.due(now_s)
        assert not due.dead
        for name, sequences in due.send.items():
            agent = self.agents[name]
            agent.inbox.advance(self.outbox.origin, self.outbox.oldest_unsettled(name))
            for sequence in sequences:
                message = self.outbox.message(sequence)
                assert message is not None
                assert message.sequence == sequence
                receipt = agent.inbox.accept(self.outbox.origin, sequence)
                if receipt is Receipt.NEW:
                    agent.mailbox.append(message)
                if receipt in (Receipt.NEW, Receipt.HELD):
                    self.redelivery.taken([sequence], name, str(agent.boot), now_s)
                elif receipt is Receipt.ACKNOWLEDGED:
                    self.settle([sequence])
                else:
                    assert receipt is Receipt.FULL
                    self.redelivery.refused([sequence], now_s)

    async def handle(self, name: str, lose: str) -> None:
        """Handle one message and acknowledge it with the state that came of it."""
        agent = self.agents[name]
        if not agent.mailbox:
            return
        message = agent.mailbox.pop(0)
        number = message.content["number"]
        self.handled[number] += 1
        agent.state.append(number)
        agent.store.lose = lose
        try:
            state = json.dumps(agent.state).encode()
            await agent.inbox.acknowledge(self.outbox.origin, message.sequence, state=state)
            self.acknowledged.add(number)
        except StoreUnavailable:
            pass
        agent.store.lose = ""

    async def tell(self, name: str) -> None:
        """Tell the sender what was acknowledged."""
        news = self.agents[name].news
        self.settle([sequence for origin, sequence in news if origin == self.outbox.origin])
        news.clear()

    def settle(self, sequences: list[int]) -> None:
        self.outbox.settle(sequences)
        self.redelivery.settle(sequences)

    async def go_round(self, name: str) -> None:
        """Take one message all the way."""
        await self.deliver()
        await self.handle(name, "")
        await self.tell(name)
        await self.flush("")

    async def flush(self, lose: str) -> None:
        self.out_store.lose = lose
        try:
            await self.outbox.flush()
        except StoreUnavailable:
            assert lose
        self.out_store.lose = ""

    async def check_in_the_end(self) -> None:
        """Let everything come to rest, then compare."""
        for _ in range(40):
            self.clock.advance(10)
            await self.flush("")
            await self.deliver()
            for name in self.names:
                while self.agents[name].mailbox:
                    await self.handle(name, "")
                await self.agents[name].inbox.flush()
                await self.tell(name)
        await self.flush("")
        assert self.outbox.pending() == []
        assert len(self.redelivery) == 0
        handled: set[int] = set()
        for name in self.names:
            state = json.loads(self.agents[name].inbox.state or b"[]")
            # The effect on the saved state: every promised message, exactly once.
            assert len(state) == len(set(state))
            assert {number for number, to in self.promised.items() if to == name} <= set(state)
            assert all(number in self.promised or number in self.perhaps for number in state)
            handled |= set(state)
        assert self.acknowledged <= handled
        for number, times in self.handled.items():
            assert times <= 1 + self.excused[number]
        totals = self.outbox.totals()
        assert totals.get("acknowledged", 0) == len(handled)
        assert set(totals) <= {"acknowledged", "withdrawn"}

    async def close(self) -> None:
        await self.outbox.stop()
        await self.out_store.close()
        for agent in self.agents.values():
            await agent.inbox.stop()
            await agent.store.close()

    def _track(self, messages: Any) -> None:
        for message in messages:
            self.redelivery.track(message.sequence, message.to_agent, None, self.clock.now_s())
