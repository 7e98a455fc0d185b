import asyncio
import json
from typing import Any

import pytest
import structlog

from tests.unit.agents.parties import bench
from tests.unit.agents.recorder import Counter, Recorder
from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.handlers import handles
from zejzl_ray.bus.handling import current
from zejzl_ray.bus.message import HIGH, LOW, Guarantee, Message
from zejzl_ray.errors import (
    DeadlineExceeded,
    Forbidden,
    HandlerFailed,
    InvalidInput,
    RequestTimedOut,
    StoreUnavailable,
)
from zejzl_ray.testing import ManualClock
from zejzl_ray.testing.agents import AgentHarness


async def test_what_a_handler_raises_is_told_by_code_and_never_by_its_text() -> None:
    async with AgentHarness(Recorder(), name="r") as harness:
        with pytest.raises(HandlerFailed) as caught:
            await harness.ask("raise")
        assert caught.value.message == "r could not handle the 'raise' message."
        assert "hunter2" not in str(caught.value)
        assert caught.value.details["agent"] == "r"
        with pytest.raises(Forbidden, match=r"not this one Ask for another\."):
            await harness.ask("forbid")
        with pytest.raises(HandlerFailed):
            await harness.ask("bad reply")
        await harness.tell("raise")  # no request: logged only
        assert (await harness.runner.info()).failed == 4
        series = harness.mail.figures.of("r", "raise")
        assert (series.failed, series.handling.count) == (2, 2)


async def test_lines_of_a_handler_carry_agent_request_and_cause() -> None:
    class Talker(Agent):
        async def on_message(self, message: Message) -> None:
            self.log.info("handling")

    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        async with AgentHarness(Talker(), name="t") as harness:
            message = Message("tester", "t", "x", {}, caused_by="msg-0")
            await harness.mail.send(message)
            await harness.settle()
    line = next(line for line in lines if line["event"] == "handling")
    assert (line["agent"], line["request_id"], line["caused_by"]) == ("t", message.id, "msg-0")


async def test_what_a_handler_sends_is_caused_by_what_it_handles() -> None:
    class Relay(Agent):
        async def on_message(self, message: Message) -> None:
            handling = current.get()
            assert handling is not None
            assert (handling.agent, handling.slot, handling.message) == ("relay", 0, message)
            assert [each.message for each in harness.handlings] == [message]
            await self.send("sink", "copied", {"n": 1}, priority=HIGH, deadline_s=5, metadata={"a": 1})
            await self.publish("news.x", "published", {"n": 2}, priority=LOW)

    clock = ManualClock()
    async with AgentHarness(Relay(), name="relay", clock=clock) as harness:
        message_id = await harness.tell("x")
        sent, published = harness.sent
        assert (sent.to_agent, sent.message_type, sent.content, sent.priority) == (
            "sink",
            "copied",
            {"n": 1},
            HIGH,
        )
        assert (sent.deadline_at_s, sent.metadata) == (clock.now_s() + 5, {"a": 1})
        assert (published.topic, published.content, published.priority) == ("news.x", {"n": 2}, LOW)
        assert message_id.startswith("msg")
        assert list(harness.handlings) == []
        assert harness.handlings.slots("relay") == 1
    assert harness.handlings.slots("relay") is None


async def test_as_many_handlers_run_at_once_as_there_are_slots() -> None:
    class Wide(Recorder):
        concurrency = 3

    async with bench() as b:
        agent = Wide()
        runner = await b.run(agent, "wide")
        asked = [asyncio.create_task(b.ask("wide", "held", n=n)) for n in range(4)]
        await agent.started.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        assert sorted(each.slot for each in b.handlings.of("wide")) == [0, 1, 2]
        assert len(b.office.mailbox("wide")) == 1
        assert (await runner.info()).busy == 3
        agent.gate.set()
        assert [reply.content for reply in await asyncio.gather(*asked)] == [{"done": True}] * 4
        await runner.stop()


async def test_a_handler_that_takes_too_long_is_ended_and_the_asking_agent_told() -> None:
    class Slow(Recorder):
        handler_timeout_s = 0.01

        @handles("own timeout")
        async def own(self, message: Message) -> None:
            raise RequestTimedOut("nobody answered me")

    agent = Slow()
    async with AgentHarness(agent, name="slow") as harness:
        with pytest.raises(DeadlineExceeded, match=r"did not finish the 'held' message within 0.01 s"):
            await harness.ask("held")
        assert agent.events == ["start", "cancelled"]
        with pytest.raises(RequestTimedOut, match="nobody answered me"):
            await harness.ask("own timeout")


async def test_a_handler_that_awaited_something_cancelled_does_not_end_its_slot() -> None:
    class Awaiting(Agent):
        @handles("cancelled")
        async def cancelled(self, message: Message) -> None:
            work = asyncio.create_task(asyncio.sleep(100))
            work.cancel()
            await work

        @handles("fine")
        async def fine(self, message: Message) -> None:
            """Nothing."""

    async with AgentHarness(Awaiting()) as harness:
        with pytest.raises(HandlerFailed):
            await harness.ask("cancelled")
        assert await harness.ask("fine") == {}


async def test_at_least_once_mail_is_acknowledged_after_its_handler_and_refused_when_it_failed() -> None:
    async with AgentHarness(Counter()) as harness:
        first = await harness.tell("count", guarantee=Guarantee.AT_LEAST_ONCE)
        second = await harness.tell("count", {"fails": True}, guarantee=Guarantee.AT_LEAST_ONCE)
        await harness.tell("count")
        assert harness.mail.acknowledged == [first]
        assert [refused for refused, _ in harness.mail.refused] == [second]


async def test_mail_whose_handler_was_ended_by_the_stop_is_refused() -> None:
    agent = Recorder()
    agent.drain_timeout_s = 0.01
    async with AgentHarness(agent) as harness:
        with pytest.raises(TimeoutError):
            await harness.tell("held", guarantee=Guarantee.AT_LEAST_ONCE, timeout_s=0.01)
        await harness.stop()
        assert [reason for _, reason in harness.mail.refused] == ["was stopped"]


async def test_state_goes_with_the_acknowledgement_where_the_agent_wants_it() -> None:
    class Careful(Counter):
        state_with_ack = True

    async with AgentHarness(Careful()) as harness:
        states: list[int | None] = []
        ack = harness.mail.ack

        async def noted_ack(message: Message, *, state: bytes | None = None) -> None:
            states.append(None if state is None else json.loads(state)["count"])
            await ack(message, state=state)

        harness.mail.ack = noted_ack  # type: ignore[method-assign] # this one object only
        await harness.tell("count", guarantee=Guarantee.AT_LEAST_ONCE)
        await harness.tell("count")
        await harness.tell("count", guarantee=Guarantee.AT_LEAST_ONCE)
        assert states == [1, 3]


async def test_mail_whose_state_cannot_be_written_is_refused() -> None:
    class Careless(Counter):
        state_with_ack = True

        def save_state(self) -> Any:
            return object()

    async with AgentHarness(Careless()) as harness:
        refused = await harness.tell("count", guarantee=Guarantee.AT_LEAST_ONCE)
        assert [each for each, _ in harness.mail.refused] == [refused]
        assert harness.mail.acknowledged == []


async def test_a_reply_that_cannot_be_sent_is_told_or_logged() -> None:
    async with AgentHarness(Counter()) as harness:
        respond, trouble = harness.mail.respond, [InvalidInput("too large")]

        async def troubled(request: Message, content: dict[str, Any], **options: Any) -> None:
            if trouble:
                raise trouble.pop()
            await respond(request, content, **options)

        harness.mail.respond = troubled  # type: ignore[method-assign] # this one object only
        with pytest.raises(InvalidInput, match="too large"):
            await harness.ask("count")
        trouble[:] = [InvalidInput("a"), InvalidInput("b")]
        with pytest.raises(RequestTimedOut):
            await harness.ask("count", timeout_s=0.01)
        assert await harness.ask("count") == {"count": 3}


async def test_an_acknowledgement_that_fails_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    async with AgentHarness(Counter()) as harness:

        async def away(*_: Any, **__: Any) -> None:
            raise StoreUnavailable("away")

        monkeypatch.setattr(harness.mail, "ack", away)
        monkeypatch.setattr(harness.mail, "nack", away)
        with structlog.testing.capture_logs() as lines:
            await harness.tell("count", guarantee=Guarantee.AT_LEAST_ONCE)
            await harness.tell("count", {"fails": True}, guarantee=Guarantee.AT_LEAST_ONCE)
        events = [line["event"] for line in lines]
        assert "could not be acknowledged and may come again" in events
        assert "could not be refused and may come again" in events
