"""Random histories of processes with durable mail that are killed, cut off and moved about, against a simple model."""

import asyncio
import logging
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.bus.durable_offices import ACKS, Process, World, mail
from zejzl_ray.bus.message import Message
from zejzl_ray.errors import RequestTimedOut, ZejzlError

HOSTS = ("a", "b", "c")
READERS = ("x", "y")
PATIENT = replace(ACKS, ack_timeout_s=1e9, max_deliveries=10**6)


class History:
    """One history, step by step; the model is what ``promised``, ``handled`` and ``excused`` say."""

    def __init__(self) -> None:
        self.world = World()
        self.promised: dict[int, str] = {}  # number -> host; ``send`` has returned
        self.perhaps: set[int] = set()  # ``send`` has raised or its process died: stored or not
        self.mortal: set[int] = set()  # with a deadline
        self.handled: Counter[int] = Counter()
        self.excused: Counter[int] = Counter()  # may be handled once more
        self.first: defaultdict[tuple[str, str], list[int]] = defaultdict(
            list
        )  # as they were handed out first
        self.taken: dict[tuple[str, str], list[Message]] = {}  # host, agent -> handled and not acknowledged
        self.unsure: dict[tuple[str, str], list[int]] = {}  # acknowledged, and that may not be stored
        self.sending: list[asyncio.Task[None]] = []
        self.next = 0
        self.was_disturbed = False

    async def begin(self) -> None:
        await self.start("a", "scribe-a", "x")
        await self.start("b", "scribe-b", "y")
        await self.start("c", "scribe-c")

    async def start(self, host: str, *agents: str) -> None:
        await self.world.start(host, *agents, acks=PATIENT)

    def holder(self, agent: str) -> Process | None:
        process = self.world.processes.get(self.world.hosts[agent])
        return process if process is not None and process.office.is_local(agent) else None

    # --- steps ---

    async def send(
        self, host: str, agent: str, count: int, lose: str, rounds: int, deadline_s: float
    ) -> None:
        process = self.world.processes[host]
        process.lose = lose
        for _ in range(count):
            number, self.next = self.next, self.next + 1
            deadline_at_s = None
            if deadline_s:
                self.mortal.add(number)
                deadline_at_s = self.world.clock.now_s() + deadline_s
            message = mail(number, to=agent, sender=f"scribe-{host}", deadline_at_s=deadline_at_s)
            self.sending.append(asyncio.create_task(self._send(process, number, message)))
        await self.world.rest(rounds)
        if lose:
            await self.world.rest()
            process.lose = ""

    async def _send(self, process: Process, number: int, message: Message) -> None:
        self.perhaps.add(number)
        try:
            await process.office.send(message)
        except ZejzlError:
            return
        if not process.is_dead:
            self.perhaps.discard(number)
            self.promised[number] = process.host

    async def take(self, agent: str) -> None:
        """Handle a message; it is acknowledged later, or not."""
        process = self.holder(agent)
        if process is None:
            return
        if not len(process.office.mailbox(agent)):
            return
        with suppress(RequestTimedOut):  # what was there has expired
            message = await process.take(agent)
            number = message.content["number"]
            self.handled[number] += 1
            if self.handled[number] == 1:
                self.first[message.from_agent, agent].append(number)
            self.taken.setdefault((process.host, agent), []).append(message)

    async def ack(self, agent: str, lose: str, rounds: int) -> None:
        process = self.holder(agent)
        if process is None or not (taken := self.taken.get((process.host, agent))):
            return
        message = taken.pop(0)
        process.lose = lose
        unsure = self.unsure.setdefault((process.host, agent), [])
        unsure.append(message.content["number"])
        await process.ack(message)
        await self.world.rest(rounds)
        if lose:
            await self.world.rest()
            process.lose = ""
        elif rounds > 20:
            unsure.clear()

    async def nack(self, agent: str) -> None:
        process = self.holder(agent)
        if process is not None and (taken := self.taken.get((process.host, agent))):
            message = taken.pop(0)
            self.excused[message.content["number"]] += 1
            await process.office.nack(message, "not now")

    async def kill(self, host: str, is_noticed: bool, rounds: int) -> None:
        self.was_disturbed = True
        agents = self.world.processes[host].office.agents()
        self.world.kill(host, is_noticed=is_noticed)
        for task in self.sending:
            if not task.done():
                await self.world.rest(5)
        for (where, _agent), messages in list(self.taken.items()):
            if where == host:
                for message in messages:
                    self.excused[message.content["number"]] += 1
                messages.clear()
        for (where, _agent), some in self.unsure.items():
            if where == host:
                self.excused.update(some)
                some.clear()
        await self.world.rest(rounds)
        await self.start(host, *agents)

    async def move(self, agent: str, host: str) -> None:
        """Stop an agent, and start it in another process, or in the same."""
        self.was_disturbed = True
        process = self.holder(agent)
        assert process is not None
        key = (process.host, agent)
        for message in self.taken.pop(key, []):
            self.excused[message.content["number"]] += 1
        process.office.close_mailbox(agent)
        await self.world.rest()  # it stores what was acknowledged before anybody else begins
        self.unsure.pop(key, None)
        self.world.processes[host].open_mailbox(agent)

    async def fault(self, here: str, there: str, kind: str) -> None:
        self.was_disturbed = True
        self.world.faults[here, there] = kind

    async def wait(self, seconds: float) -> None:
        await self.world.go_on(seconds)

    async def flush(self) -> None:
        await self.world.flush()

    # --- the end ---

    async def heal(self) -> None:
        self.world.faults.clear()
        for _ in range(40):
            await self.world.go_on(5)
            for agent in READERS:
                process = self.holder(agent)
                assert process is not None
                await process.inboxes.load(agent)
                while len(process.office.mailbox(agent)):
                    before = len(self.taken.get((process.host, agent), ()))
                    await self.take(agent)
                    if len(self.taken.get((process.host, agent), ())) == before:
                        break
                while self.taken.get((process.host, agent)):
                    await self.ack(agent, "", 1)
            await self.world.flush()
            await self.world.rest()
        await asyncio.gather(*self.sending)

    def check(self) -> None:
        totals: Counter[str] = Counter()
        for process in self.world.processes.values():
            assert process.unsettled == 0
            assert process.mail.held == 0
            totals.update(process.totals())
        del totals["withdrawn"]
        assert set(totals) <= {"acknowledged", "expired"}
        assert len(self.promised) <= sum(totals.values()) <= len(self.promised) + len(self.perhaps)
        for number in self.promised:
            assert self.handled[number] or number in self.mortal
        unhandled = [number for number in self.promised if not self.handled[number]]
        assert len(unhandled) <= totals["expired"]
        for number, times in self.handled.items():
            assert number in self.promised or number in self.perhaps
            assert times <= 1 + self.excused[number], number
        if not self.was_disturbed:
            for numbers in self.first.values():
                assert numbers == sorted(numbers)


hosts, readers = st.sampled_from(HOSTS), st.sampled_from(READERS)
loses = st.sampled_from(["", "", "", "before", "after"])
rounds = st.sampled_from([0, 1, 2, 3, 5, 8, 13, 60, 60])
sends = st.tuples(
    st.just("send"), hosts, readers, st.integers(1, 4), loses, rounds, st.sampled_from([0.0, 0.0, 0.0, 7.0])
)
steps = st.one_of(
    sends,
    sends,
    st.tuples(st.just("take"), readers),
    st.tuples(st.just("take"), readers),
    st.tuples(st.just("ack"), readers, loses, rounds),
    st.tuples(st.just("ack"), readers, loses, rounds),
    st.tuples(st.just("nack"), readers),
    st.tuples(st.just("kill"), hosts, st.booleans(), rounds),
    st.tuples(st.just("move"), readers, hosts),
    st.tuples(st.just("fault"), hosts, hosts, st.sampled_from(["cut", "answer"])),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 1.0, 2.0, 5.0, 40.0])),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 1.0, 2.0])),
    st.tuples(st.just("flush")),
)


async def run(history: list[tuple[Any, ...]]) -> History:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with patch("zejzl_ray.bus.in_order._PATIENCE_S", 0):
        it = History()
        await it.begin()
        for name, *arguments in history:
            await getattr(it, name)(*arguments)
        await it.heal()
        it.check()
    return it


@settings(max_examples=80, deadline=None)
@given(st.lists(steps, max_size=40))
def test_what_was_promised_is_delivered_or_a_dead_letter_and_nothing_is_handled_twice_without_a_reason(
    history: list[tuple[Any, ...]],
) -> None:
    asyncio.run(run(history))
