import asyncio
from types import MappingProxyType
from typing import Any

import pytest
from pydantic import BaseModel

from tests.unit.agents.recorder import Counter, Recorder
from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.desk import is_request
from zejzl_ray.agents.handlers import handles
from zejzl_ray.bus.dead_letters import DeadLetter, DeadLetterReason
from zejzl_ray.bus.failures import FAILURE
from zejzl_ray.bus.message import NORMAL, Message
from zejzl_ray.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
)
from zejzl_ray.testing.agents import AgentHarness


async def test_an_agent_asks_others_and_hears_their_failures() -> None:
    class Plan(BaseModel):
        steps: int

    class Asker(Agent):
        @handles("plain")
        async def plain(self, message: Message) -> dict[str, Any]:
            return (await self.request("planner", "plan", {"goal": 1})).content

        @handles("typed")
        async def typed(self, message: Message) -> dict[str, Any]:
            plan = await self.ask("planner", "plan", {"goal": 1}, Plan)
            return {"doubled": 2 * plan.steps}

        @handles("real")
        async def real(self, message: Message) -> dict[str, Any]:
            return (await self.request("tester", "plan", timeout_s=5)).content

    async with AgentHarness(Asker()) as harness:
        harness.answer("planner", "plan", {"steps": 2})
        assert await harness.ask("plain") == {"steps": 2}
        assert await harness.ask("typed") == {"doubled": 4}
        assert harness.sent[0].content == {"goal": 1}
        harness.answer("planner", "plan", Forbidden("no plans today"))
        with pytest.raises(Forbidden, match="no plans today"):
            await harness.ask("plain")
        harness.answer("planner", "plan", lambda request: Plan(steps=request.content["goal"]))
        assert await harness.ask("plain") == {"steps": 1}
        harness.answer("planner", "plan", {"stops": 2})
        with pytest.raises(InvalidInput, match="does not fit Plan: steps: Field required"):
            await harness.ask("typed")

        asked = asyncio.create_task(harness.ask("real"))
        request = await harness.mail.receive("tester", 5)
        assert is_request(request)
        await harness.mail.respond(
            request, {"error": "conflict", "message": "busy", "remedy": ""}, message_type=FAILURE
        )
        with pytest.raises(Conflict, match="busy"):
            await asked


async def test_an_agent_hears_of_its_mail_that_did_not_arrive() -> None:
    class Listener(Agent):
        def __init__(self) -> None:
            self.letters: list[DeadLetter] = []

        async def on_undelivered(self, letter: DeadLetter) -> None:
            self.letters.append(letter)
            if letter.message.content:
                raise ValueError("x")

    agent = Listener()
    async with AgentHarness(agent, name="l") as harness:
        for content in ({}, {"n": 1}):
            letter = harness.mail.dead_letters.add(
                Message("l", "nobody", "x", content, NORMAL), DeadLetterReason.UNKNOWN_AGENT
            )
        await asyncio.sleep(0.001)
        assert [each.reason for each in agent.letters] == [letter.reason] * 2
        harness.mail.dead_letters.add(Message("other", "nobody", "x", {}), DeadLetterReason.UNKNOWN_AGENT)
        await asyncio.sleep(0)
        assert len(agent.letters) == 2


async def test_content_may_be_any_mapping_and_nothing_else() -> None:
    class Sender(Agent):
        async def on_message(self, message: Message) -> None:
            await self.send("sink", "x", MappingProxyType({"n": 1}))
            await self.send("sink", "x", [1])  # type: ignore[arg-type] # the fault under test

    async with AgentHarness(Sender()) as harness:
        with pytest.raises(InvalidInput, match="The content of a message is list"):
            await harness.ask("x")
        assert [mail.content for mail in harness.sent] == [{"n": 1}]


async def test_a_published_message_reaches_a_subscriber_in_the_harness() -> None:
    agent = Recorder()
    async with AgentHarness(agent) as harness:
        await harness.publish("news.today", "y", {"n": 7})
        await harness.publish("weather", "y", {"n": 8})
        assert agent.events == ["start", "7"]
        runner_started = (await harness.runner.info()).started_at_s
        assert runner_started is not None


async def test_state_is_restored_before_on_start_and_saved_before_the_end() -> None:
    class Announced(Counter):
        async def on_start(self) -> None:
            self.at_start = self.count

    agent = Announced()
    async with AgentHarness(agent, state={"count": 41}) as harness:
        assert agent.at_start == 41
        assert await harness.ask("count") == {"count": 42}
        second = Announced()
        await harness.restart(second)
        assert second.at_start == 42
        with pytest.raises(Conflict):
            await harness.restart(second)
    assert harness.saved_state == {"count": 42}
