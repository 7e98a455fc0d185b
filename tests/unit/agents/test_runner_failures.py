import asyncio

import pytest

from tests.unit.agents.parties import bench, until
from tests.unit.agents.recorder import Recorder
from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.runner import AgentRunner, StopReport
from zejzl_ray.bus.message import Message
from zejzl_ray.contracts.agent_life import LifeState
from zejzl_ray.errors import (
    BusClosed,
    Conflict,
    DeadlineExceeded,
    HandlerFailed,
    InvalidInput,
    StoreUnavailable,
)
from zejzl_ray.testing.agents import AgentHarness


async def test_a_paused_agent_finishes_its_mail_and_takes_no_more_until_it_is_resumed() -> None:
    async with bench() as b:
        agent = Recorder()
        runner = await b.run(agent, "r")
        asked = asyncio.create_task(b.ask("r", "held"))
        await agent.started.wait()
        runner.pause("maintenance")
        await b.tell("r", "x", n=1)
        agent.gate.set()
        await asked
        await asyncio.sleep(0.001)
        assert agent.events == ["start", "held"]
        health = await runner.health()
        assert (health.status.value, health.reasons) == ("degraded", ("paused: maintenance",))
        with pytest.raises(Conflict, match=r"r is paused: pause is not possible now. Possible: resume"):
            runner.pause()
        runner.resume()
        await b.ask("r", "x", n=2)
        assert agent.events == ["start", "held", "1", "2"]
        runner.pause()
        runner.resume()  # before the waiting slot has noticed
        await b.ask("r", "x", n=3)
        assert agent.events[-1] == "3"
        await runner.stop()


async def test_a_fatal_exception_ends_the_agent_after_the_answer() -> None:
    async with bench() as b:
        agent = Recorder()
        runner = await b.run(agent, "r")
        with pytest.raises(HandlerFailed):
            await b.ask("r", "fatal")
        assert isinstance(await runner.crashed(), MemoryError)
        assert (runner.lifecycle.state, runner.lifecycle.reason) == (LifeState.FAILED, "MemoryError")
        health = await runner.health()
        assert (health.status.value, health.score) == ("unhealthy", 0.0)
        await runner.abandon()
        await runner.abandon()
        assert agent.events == ["start", "stop"]
        assert b.office.is_local("r")  # mail goes on to wait for the next one
        await runner.stop()
        assert not b.office.is_local("r")


async def test_an_agent_whose_mailbox_is_closed_has_failed() -> None:
    async with bench() as b:
        runner = await b.run(Recorder(), "r")
        await asyncio.sleep(0)
        b.office.close_mailbox("r")
        assert isinstance(await runner.crashed(), BusClosed)
        assert runner.lifecycle.reason == "The mailbox of r was closed."


async def test_an_idle_agent_goes_on_waiting_after_the_bus_gave_up() -> None:
    async with bench() as b:
        receive, turns = b.office.receive, 0

        async def hurried(agent: str, timeout_s: float | None = None) -> Message:
            nonlocal turns
            turns += 1
            return await receive(agent, 0.001 if turns < 3 else timeout_s)

        b.office.receive = hurried  # type: ignore[method-assign] # this one object only
        agent = Recorder()
        runner = await b.run(agent, "r")
        await until(lambda: turns >= 3)
        await b.ask("r", "x", n=1)
        assert agent.events == ["start", "1"]
        await runner.stop()


async def test_a_crashed_agent_gives_back_what_its_other_handlers_did() -> None:
    class Wide(Recorder):
        concurrency = 2

    agent = Wide()
    async with AgentHarness(agent) as harness:
        asked = asyncio.create_task(harness.ask("held"))
        await agent.started.wait()
        with pytest.raises(HandlerFailed):
            await harness.ask("fatal")
        await harness.runner.crashed()
        await harness.runner.abandon()
        with pytest.raises(BusClosed, match="Wide failed"):
            await asked
        assert agent.events == ["start", "cancelled", "stop"]


async def test_a_start_that_fails_leaves_nothing() -> None:
    class BadStart(Recorder):
        start_timeout_s = 0.01

        async def on_start(self) -> None:
            if self.name == "hangs":
                await asyncio.sleep(100)
            raise ValueError("no camera")

    async with bench() as b:
        agent = BadStart()
        runner = AgentRunner(agent, b.parts, name="raises")
        with pytest.raises(ValueError, match="no camera"):
            await runner.start()
        assert (runner.lifecycle.state, runner.lifecycle.reason) == (LifeState.FAILED, "ValueError")
        assert agent.events == ["stop"]
        assert b.registry.kinds("raises") == ["register", "deregister"]
        assert not b.office.is_local("raises")
        with pytest.raises(DeadlineExceeded, match=r"on_start of hangs did not end within 0.01 s"):
            await AgentRunner(BadStart(), b.parts, name="hangs").start()
        assert await runner.stop() == StopReport()
        assert runner.lifecycle.state is LifeState.STOPPED


async def test_a_topic_that_cannot_be_leaves_no_mailbox() -> None:
    class BadTopic(Agent):
        subscriptions = ("a..b",)

    async with bench() as b:
        with pytest.raises(InvalidInput):
            await AgentRunner(BadTopic(), b.parts, name="r").start()
        assert not b.office.is_local("r")


async def test_a_name_that_cannot_be_is_refused() -> None:
    async with bench() as b:
        with pytest.raises(InvalidInput, match="'no name' is no name of an agent"):
            AgentRunner(Recorder(), b.parts, name="no name")
        await AgentRunner(Recorder(), b.parts).start()
        with pytest.raises(Conflict, match="Recorder is open already"):
            await AgentRunner(Recorder(), b.parts).start()


async def test_a_registry_that_is_away_does_not_hold_up_the_start() -> None:
    async with bench() as b:
        b.registry.trouble = StoreUnavailable("away")
        runner = await b.run(Recorder(), "r")
        assert (await b.ask("r", "x")).content == {}
        b.registry.trouble = None
        await runner.stop()
        assert b.registry.calls == []  # never registered, so there is nothing to take back


async def test_a_time_out_of_a_hook_itself_is_not_taken_for_the_limit() -> None:
    class OwnLimit(Agent):
        async def on_start(self) -> None:
            raise TimeoutError("the camera")

    async with bench() as b:
        with pytest.raises(TimeoutError, match="the camera"):
            await AgentRunner(OwnLimit(), b.parts).start()
