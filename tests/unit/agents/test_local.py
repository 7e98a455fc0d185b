"""Agents of one process without a cluster."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from zejzl_ray import Agent, DeadLetter, Guarantee, LocalAgents, handles
from zejzl_ray.clock import SystemClock
from zejzl_ray.errors import AgentExists, BusClosed, DeadlockDetected, InvalidInput
from zejzl_ray.store import Store
from zejzl_ray.store.sqlite import SqliteStore


class Adder(Agent):
    """Adds, and remembers the sum."""

    state_with_ack = True

    def __init__(self, settings: dict[str, Any], log_book: list[str] | None = None) -> None:
        self.total: int = settings.get("start", 0)
        self.log_book = log_book
        self.is_called = asyncio.Event()

    @handles("add")
    async def add(self, content: dict[str, int]) -> dict[str, int]:
        self.total += content["number"]
        self.is_called.set()
        return {"total": self.total}

    def save_state(self) -> JsonValue:
        return self.total

    def load_state(self, state: JsonValue) -> None:
        assert isinstance(state, int)
        self.total = state


class Asker(Agent):
    """Asks, and hears what did not arrive."""

    def __init__(self) -> None:
        self.lost: asyncio.Queue[str] = asyncio.Queue(10)

    async def on_undelivered(self, letter: DeadLetter) -> None:
        self.lost.put_nowait(letter.reason.value)


async def test_two_agents_exchange_mail_and_requests() -> None:
    async with LocalAgents() as local:
        adder = await local.start(Adder, start=10)
        asker = await local.start(Asker, "someone")
        assert (await asker.request("Adder", "add", {"number": 5})).content == {"total": 15}
        assert adder.total == 15
        assert local.agents.names() == ("Adder", "someone")
    with pytest.raises(BusClosed):
        await local.office.receive("Adder")
    await local.close()


async def test_an_agent_hears_of_its_mail_that_did_not_arrive() -> None:
    async with LocalAgents() as local:
        asker = await local.start(Asker)
        await local.start(Adder)
        local.agents.pause("Adder")
        await asker.send("Adder", "add", {"number": 1})
        await local.agents.stop("Adder", drains=False)
        async with asyncio.timeout(5):
            assert await asker.lost.get() == "mailbox_closed"


async def test_mail_that_is_kept_is_handled_once_and_the_state_outlives_all_of_it(tmp_path: Path) -> None:
    async def open_store(namespace: str) -> Store:
        return await SqliteStore.open(tmp_path, namespace, clock=SystemClock(), timeout_s=5)

    for total in (7, 14):
        async with LocalAgents(open_store=open_store) as local:
            adder = await local.start(Adder)
            asker = await local.start(Asker)
            await asker.send("Adder", "add", {"number": 7}, guarantee=Guarantee.AT_LEAST_ONCE)
            async with asyncio.timeout(5):
                await adder.is_called.wait()
        assert adder.total == total


async def test_dependencies_reach_the_constructor_and_names_are_taken_once() -> None:
    book: list[str] = []
    async with LocalAgents(dependencies={"log_book": book}) as local:
        assert (await local.start(Adder)).log_book is book
        with pytest.raises(AgentExists):
            await local.start(Adder)
        with pytest.raises(InvalidInput):
            await local.start(Adder, "no name")


async def test_a_bus_that_was_not_opened_can_be_closed() -> None:
    await LocalAgents().close()


async def test_agents_that_wait_for_one_another_are_found_and_one_of_them_goes_on() -> None:
    class Waiter(Agent):
        @handles("go")
        async def go(self, content: dict[str, str]) -> dict[str, str]:
            try:
                return (await self.request(content["whom"], "go", {"whom": self.name})).content
            except DeadlockDetected:
                return {"ended": self.name}

    async with LocalAgents() as local:
        asker = await local.start(Asker)
        await local.start(Waiter, "one")
        await local.start(Waiter, "two")
        async with asyncio.timeout(10):
            answer = (await asker.request("one", "go", {"whom": "two"})).content
        assert answer["ended"] in ("one", "two")
        assert local.deadlocks.stats()["deadlocks_detected"] == 1
