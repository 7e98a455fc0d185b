"""A host's watch over its own process: blocked loops, calls made again, what it can say now."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.host import AgentSet
from zejzl_ray.agents.runner import RunnerParts
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.agent_host_watch import LOOP_EVENT, LOOP_TOPIC, HostWatch, readings_of
from zejzl_ray.cluster.host_news import tell_subscribers
from zejzl_ray.metrics.loop_watchdog import BlockedLoop
from zejzl_ray.resilience.retry import retry_with_backoff

WAIT_S = 10.0


class Export:
    """Stands for the export to Ray; runs until it is cancelled."""

    def __init__(self) -> None:
        self.has_begun = asyncio.Event()
        self.is_over = False

    async def run(self) -> None:
        self.has_begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.is_over = True


@pytest.fixture
async def office() -> AsyncIterator[PostOffice]:
    made = PostOffice(host="alpha")
    yield made
    await made.close()


@pytest.fixture
async def agents(office: PostOffice) -> AsyncIterator[AgentSet]:
    made = AgentSet(RunnerParts(mail=office))
    yield made
    await made.close()


async def until(check: Any) -> None:
    async with asyncio.timeout(WAIT_S):
        while not check():  # noqa: ASYNC110  another thread does it
            await asyncio.sleep(0.001)


async def test_a_blocked_loop_is_logged_with_its_stack_while_it_is_counted_and_told(
    office: PostOffice, agents: AgentSet
) -> None:
    office.open_mailbox("Listener")
    office.subscribe("Listener", LOOP_TOPIC)
    watch = HostWatch(office, agents, SystemClock(), limit_s=0.02)
    watch.start()
    watch.start()
    await asyncio.sleep(0)
    with capture_logs() as lines:
        ends_s = time.monotonic() + WAIT_S
        while not lines and time.monotonic() < ends_s:
            time.sleep(0.001)  # noqa: ASYNC251  what is tested
        (line,) = [line for line in lines if line["event"] == "event loop is blocked"]
        told = await office.receive("Listener", WAIT_S)
    assert "time.sleep(0.001)" in line["stack"]
    assert (told.topic, told.message_type, told.content["host"]) == (LOOP_TOPIC, LOOP_EVENT, "alpha")
    assert told.content["stack"] == line["stack"]
    assert told.content["blocked_s"] > 0
    assert office.figures.events.value("loop_blocks_total") == 1
    await watch.stop()
    await watch.stop()


async def test_calls_made_again_are_counted_by_what_they_do_until_the_stop(
    office: PostOffice, agents: AgentSet
) -> None:
    watch = HostWatch(office, agents, SystemClock())
    watch.start()

    async def shaky() -> None:
        raise ConnectionError

    async def fail() -> None:
        with pytest.raises(ConnectionError):
            await retry_with_backoff(shaky, max_attempts=3, base_delay=0.0, max_delay=0.0)()

    def counted() -> int:
        return office.figures.events.value("retries_total")

    await fail()
    await until(lambda: counted() == 2)
    ((name, label),) = [key for key in office.figures.events.values() if key[0] == "retries_total"]
    assert (name, "shaky" in label) == ("retries_total", True)
    await watch.stop()
    await fail()
    await asyncio.sleep(0)
    assert counted() == 2


async def test_the_export_runs_until_the_stop(office: PostOffice, agents: AgentSet) -> None:
    export: Any = Export()
    watch = HostWatch(office, agents, SystemClock(), export=export)
    watch.start()
    async with asyncio.timeout(WAIT_S):
        await export.has_begun.wait()
    assert not export.is_over
    await watch.stop()
    assert export.is_over


async def test_news_for_a_loop_that_is_closed_are_passed_over(office: PostOffice, agents: AgentSet) -> None:
    watch = HostWatch(office, agents, SystemClock())
    loop = asyncio.new_event_loop()
    loop.close()
    watch._noticed(loop, BlockedLoop(2.0, "stack", is_over=True))
    assert office.figures.events.value("loop_blocks_total") == 0


async def test_who_speaks_and_has_no_room_for_the_news_misses_them(office: PostOffice) -> None:
    office.open_mailbox("Only", capacity=1)
    office.subscribe("Only", LOOP_TOPIC)
    with capture_logs() as lines:
        for number in range(2):
            await tell_subscribers(office, LOOP_TOPIC, "news", {"n": number})
    assert [line["event"] for line in lines] == ["news cannot be told"]
    assert (await office.receive("Only", 1)).content == {"n": 0}


async def test_a_host_says_how_its_agents_are_now(office: PostOffice, agents: AgentSet) -> None:
    class Waits(Agent):
        async def on_message(self, message: Message) -> None: ...

    await agents.start_built("Waits", Waits)
    agents.pause("Waits")
    await office.send(Message("Waits", "Waits", "note", {}))
    said = readings_of(office, agents)
    assert said.agent_states == {"Waits": "paused"}
    assert said.pending_requests == 0
    assert said.heartbeat_ages_s == {}
    assert said.queue_depths.keys() == {"Waits"}


async def test_subscribers_are_told_once_whoever_speaks(office: PostOffice) -> None:
    await tell_subscribers(office, "zejzl.loops", "news", {"n": 0})  # nobody is there
    office.open_mailbox("First")
    office.subscribe("First", "zejzl.>")
    await tell_subscribers(office, "zejzl.loops", "news", {"n": 1})
    office.open_mailbox("Second")
    await tell_subscribers(office, "zejzl.loops", "news", {"n": 2})
    got = [await office.receive("First", 1) for _ in range(2)]
    assert [(each.from_agent, each.content["n"], each.topic) for each in got] == [
        ("First", 1, "zejzl.loops"),
        ("Second", 2, "zejzl.loops"),
    ]
    assert len(office.mailbox("First")) == len(office.mailbox("Second")) == 0
