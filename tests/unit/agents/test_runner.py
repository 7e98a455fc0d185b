import asyncio
from typing import Any

import pytest

from tests.unit.agents.parties import bench
from tests.unit.agents.recorder import Counter, Recorder
from zejzl_ray.agents.handlers import handles
from zejzl_ray.agents.runner import StopReport
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.message import Message
from zejzl_ray.contracts.agent_life import LifeState
from zejzl_ray.errors import (
    BusClosed,
    Conflict,
    StoreUnavailable,
    UnknownAgent,
)
from zejzl_ray.testing.agents import AgentHarness


async def test_an_agent_starts_works_and_stops_in_order() -> None:
    async with bench() as b:
        agent = Recorder()
        runner = await b.run(agent, "recorder")
        assert runner.lifecycle.state.value == "running"
        assert b.registry.calls == [
            ("register", "recorder", ("recording",), {"agent_host": "h1", "subscriptions": ["news.>"]}, 30.0),
            ("heartbeat", "recorder", "healthy", ""),
        ]
        await b.tell("recorder", "x", n=1)
        await b.office.publish("news.today", Message("tester", "", "y", {"n": 2}))
        await b.ask("recorder", "z", n=3)
        assert await runner.stop("done") == StopReport()
        assert agent.events == ["start", "1", "2", "3", "stop"]
        assert runner.lifecycle.state.value == "stopped"
        assert b.registry.calls[-1] == ("deregister", "recorder")
        with pytest.raises(UnknownAgent):
            await b.tell("recorder", "x")
        assert await runner.stop() == StopReport()  # safe to repeat
        with pytest.raises(Conflict, match="started before"):
            await runner.start()
        assert agent.events[-1] == "stop"


async def test_stop_handles_what_is_in_the_mailbox() -> None:
    async with bench() as b:
        agent = Recorder()
        runner = await b.run(agent, "r")
        asked = asyncio.create_task(b.ask("r", "held"))
        await agent.started.wait()
        for n in range(20):
            await b.tell("r", "x", n=n)
        stopping = asyncio.create_task(runner.stop())
        await asyncio.sleep(0)
        assert runner.lifecycle.state is LifeState.DRAINING
        agent.gate.set()
        assert await stopping == StopReport()
        assert agent.events == ["start", "held", *map(str, range(20)), "stop"]
        assert (await asked).content == {"done": True}


async def test_stop_ends_a_handler_that_does_not_end_and_says_what_is_left() -> None:
    async with bench() as b:
        agent = Recorder()
        agent.drain_timeout_s = 0.02
        runner = await b.run(agent, "r")
        asked = asyncio.create_task(b.ask("r", "held"))
        await agent.started.wait()
        await b.tell("r", "x", n=1)
        waiting = asyncio.create_task(b.ask("r", "x"))
        await asyncio.sleep(0)
        assert await runner.stop() == StopReport(left=2, interrupted=1)
        with pytest.raises(BusClosed, match="r was stopped"):
            await asked
        with pytest.raises(BusClosed):
            await waiting
        assert agent.events == ["start", "cancelled", "stop"]
        assert b.office.dead_letters.counts()[DeadLetterReason.MAILBOX_CLOSED] == 2


async def test_stop_without_draining_leaves_the_mailbox() -> None:
    async with bench() as b:
        agent = Recorder()
        runner = await b.run(agent, "r")
        runner.pause()
        await b.tell("r", "x", n=1)
        assert await runner.stop(drains=False) == StopReport(left=1)
        assert agent.events == ["start", "stop"]


async def test_a_handler_that_ignores_its_end_does_not_hold_up_the_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stubborn(Recorder):
        drain_timeout_s = 0.01

        @handles("stubborn")
        async def stubborn(self, message: Message) -> None:
            self.started.set()
            while not self.gate.is_set():
                try:
                    await self.gate.wait()
                except asyncio.CancelledError:
                    self.events.append("ignored")

    monkeypatch.setattr("zejzl_ray.agents.slots.CANCEL_S", 0.01)
    async with bench() as b:
        agent = Stubborn()
        runner = await b.run(agent, "r")
        await b.tell("r", "stubborn")
        await agent.started.wait()
        assert (await runner.stop()).interrupted == 1
        assert "ignored" in agent.events
        agent.gate.set()
        await asyncio.sleep(0)


async def test_requests_of_other_processes_are_told_that_the_agent_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with bench() as b:
        told: list[tuple[str, dict[str, Any]]] = []

        async def respond(request: Message, content: dict[str, Any], **options: Any) -> None:
            told.append((request.from_agent, content))
            if request.from_agent == "gone":
                raise UnknownAgent("gone")

        runner = await b.run(Recorder(), "r")
        runner.pause()
        for sender in ("gone", "far", "tester"):
            b.office.mailbox("r").put(Message(sender, "r", "x", {}, correlation_id=f"c-{sender}"))
        monkeypatch.setattr(b.office, "respond", respond)
        assert (await runner.stop(drains=False)).left == 3
        assert [sender for sender, _ in told] == [
            "gone",
            "far",
        ]  # those of this process hear of it by the bus
        assert told[0][1]["error"] == "agent_unreachable"


async def test_a_stop_hook_that_fails_or_hangs_is_not_in_the_way() -> None:
    class BadStop(Recorder):
        drain_timeout_s = 0.01

        async def on_stop(self) -> None:
            if self.name == "hangs":
                await asyncio.sleep(100)
            raise ValueError("x")

    async with bench() as b:
        for name in ("raises", "hangs"):
            runner = await b.run(BadStop(), name)
            await runner.stop()
            assert runner.lifecycle.state is LifeState.STOPPED


async def test_a_stop_that_cannot_save_the_state_still_ends() -> None:
    async with AgentHarness(Counter()) as harness:
        harness.states.failure = StoreUnavailable("away")
        await harness.stop()
        assert harness.runner.lifecycle.state is LifeState.STOPPED
        assert harness.saved_state is None


async def test_a_reply_to_a_process_that_hangs_does_not_hold_up_the_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hang(*_: Any, **__: Any) -> None:
        await asyncio.sleep(100)

    monkeypatch.setattr("zejzl_ray.agents.place._TELL_S", 0.01)
    async with bench() as b:
        runner = await b.run(Recorder(), "r")
        runner.pause()
        b.office.mailbox("r").put(Message("far", "r", "x", {}, correlation_id="c-1"))
        monkeypatch.setattr(b.office, "respond", hang)
        assert (await runner.stop(drains=False)).left == 1
