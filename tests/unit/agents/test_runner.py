import asyncio
import json
from typing import Any

import pytest
import structlog
from pydantic import JsonValue

from tests.unit.agents.parties import Bench, bench, until
from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.desk import is_request
from zejzl_ray.agents.handlers import handles
from zejzl_ray.agents.runner import AgentRunner, StopReport
from zejzl_ray.bus.dead_letters import DeadLetter, DeadLetterReason
from zejzl_ray.bus.failures import FAILURE
from zejzl_ray.bus.handling import current
from zejzl_ray.bus.message import HIGH, LOW, NORMAL, Guarantee, Message
from zejzl_ray.contracts.agent_life import LifeState
from zejzl_ray.errors import (
    BusClosed,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    HandlerFailed,
    InvalidInput,
    RequestTimedOut,
    StoreUnavailable,
    UnknownAgent,
)
from zejzl_ray.testing import ManualClock
from zejzl_ray.testing.agents import AgentHarness


class Recorder(Agent):
    """Writes down what it gets; can be held up."""

    subscriptions = ("news.>",)
    capabilities = ("recording",)
    drain_timeout_s = 0.3

    def __init__(self) -> None:
        self.events: list[str] = []
        self.gate = asyncio.Event()
        self.started = asyncio.Event()

    async def on_start(self) -> None:
        self.events.append("start")

    async def on_stop(self) -> None:
        self.events.append("stop")

    async def on_message(self, message: Message) -> dict[str, Any]:
        self.events.append(str(message.content.get("n", message.message_type)))
        return {}

    @handles("held")
    async def held(self, content: dict[str, Any]) -> dict[str, Any]:
        self.started.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.events.append("cancelled")
            raise
        self.events.append(f"held {content.get('n', '')}".strip())
        return {"done": True}

    @handles("raise")
    async def explode(self, message: Message) -> None:
        raise ValueError("the password is hunter2")

    @handles("forbid")
    async def forbid(self, message: Message) -> None:
        raise Forbidden("not this one", "Ask for another.")

    @handles("fatal")
    async def fatally(self, message: Message) -> None:
        raise MemoryError

    @handles("bad reply")
    async def bad_reply(self, message: Message) -> Any:
        return [1, 2]


async def test_an_agent_starts_works_and_stops_in_order() -> None:
    async with bench() as b:
        agent = Recorder()
        runner = AgentRunner(agent, b.parts, name="recorder")
        await runner.start()
        assert runner.lifecycle.state.value == "running"
        assert b.registry.calls == [
            ("register", "recorder", ("recording",), {"agent_host": "h1"}, 30.0),
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
        runner = AgentRunner(agent, b.parts, name="wide")
        await runner.start()
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


# --- stopping ---------------------------------------------------------------------------------------------------------


async def test_stop_handles_what_is_in_the_mailbox() -> None:
    async with bench() as b:
        agent = Recorder()
        runner = AgentRunner(agent, b.parts, name="r")
        await runner.start()
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
        runner = AgentRunner(agent, b.parts, name="r")
        await runner.start()
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
        runner = AgentRunner(agent, b.parts, name="r")
        await runner.start()
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
        runner = AgentRunner(agent, b.parts, name="r")
        await runner.start()
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

        runner = AgentRunner(Recorder(), b.parts, name="r")
        await runner.start()
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
            runner = AgentRunner(BadStop(), b.parts, name=name)
            await runner.start()
            await runner.stop()
            assert runner.lifecycle.state is LifeState.STOPPED


# --- starting ---------------------------------------------------------------------------------------------------------


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
        assert b.registry.calls == []
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
        runner = AgentRunner(Recorder(), b.parts, name="r")
        await runner.start()
        assert (await b.ask("r", "x")).content == {}
        b.registry.trouble = None
        await runner.stop()
        assert b.registry.calls == []  # never registered, so there is nothing to take back


# --- pausing ----------------------------------------------------------------------------------------------------------


async def test_a_paused_agent_finishes_its_mail_and_takes_no_more_until_it_is_resumed() -> None:
    async with bench() as b:
        agent = Recorder()
        runner = AgentRunner(agent, b.parts, name="r")
        await runner.start()
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


# --- failures ---------------------------------------------------------------------------------------------------------


async def test_a_fatal_exception_ends_the_agent_after_the_answer() -> None:
    async with bench() as b:
        agent = Recorder()
        runner = AgentRunner(agent, b.parts, name="r")
        await runner.start()
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
        runner = AgentRunner(Recorder(), b.parts, name="r")
        await runner.start()
        await asyncio.sleep(0)
        b.office.close_mailbox("r")
        assert isinstance(await runner.crashed(), BusClosed)
        assert runner.lifecycle.reason == "The mailbox of r was closed."


async def test_an_idle_agent_goes_on_waiting_after_the_bus_gave_up() -> None:
    class Impatient(Bench):
        """Its bus lets a receiver wait for a moment only."""

    b = Impatient()
    receive, turns = b.office.receive, 0

    async def hurried(agent: str, timeout_s: float | None = None) -> Message:
        nonlocal turns
        turns += 1
        return await receive(agent, 0.001 if turns < 3 else timeout_s)

    b.office.receive = hurried  # type: ignore[method-assign] # this one object only
    agent = Recorder()
    runner = AgentRunner(agent, b.parts, name="r")
    await runner.start()
    await until(lambda: turns >= 3)
    await b.ask("r", "x", n=1)
    assert agent.events == ["start", "1"]
    await runner.stop()
    await b.heartbeats.close()
    await b.office.close()


# --- at least once, and state -----------------------------------------------------------------------------------------


class Counter(Agent):
    """Counts, and keeps its count."""

    def __init__(self) -> None:
        self.count = 0

    @handles("count")
    async def add(self, content: dict[str, Any]) -> dict[str, int]:
        self.count += 1
        if content.get("fails"):
            raise ValueError("x")
        return {"count": self.count}

    def save_state(self) -> JsonValue:
        return {"count": self.count}

    def load_state(self, state: JsonValue) -> None:
        assert isinstance(state, dict)
        count = state["count"]
        assert isinstance(count, int)
        self.count = count


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


async def test_state_is_saved_before_the_acknowledgement_where_the_agent_wants_it() -> None:
    class Careful(Counter):
        state_with_ack = True

    async with AgentHarness(Careful()) as harness:
        order: list[str] = []
        save, ack = harness.states.save, harness.mail.ack

        async def noted_save(agent: str, data: bytes) -> None:
            order.append(f"save {json.loads(data)['count']}")
            await save(agent, data)

        async def noted_ack(message: Message) -> None:
            order.append("ack")
            await ack(message)

        harness.states.save = noted_save  # type: ignore[method-assign] # this one object only
        harness.mail.ack = noted_ack  # type: ignore[method-assign] # this one object only
        await harness.tell("count", guarantee=Guarantee.AT_LEAST_ONCE)
        await harness.tell("count")
        assert order == ["save 1", "ack"]
        harness.states.failure = StoreUnavailable("away")
        refused = await harness.tell("count", guarantee=Guarantee.AT_LEAST_ONCE)
        assert harness.mail.refused[0][0] == refused
        assert order == ["save 1", "ack", "save 3"]
        health = await harness.health()
        assert health.reasons == ("state: the state could not be saved: StoreUnavailable: away",)


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

        async def away(*_: Any) -> None:
            raise StoreUnavailable("away")

        monkeypatch.setattr(harness.mail, "ack", away)
        monkeypatch.setattr(harness.mail, "nack", away)
        with structlog.testing.capture_logs() as lines:
            await harness.tell("count", guarantee=Guarantee.AT_LEAST_ONCE)
            await harness.tell("count", {"fails": True}, guarantee=Guarantee.AT_LEAST_ONCE)
        events = [line["event"] for line in lines]
        assert "could not be acknowledged and may come again" in events
        assert "could not be refused and may come again" in events


# --- requests of the agent --------------------------------------------------------------------------------------------


async def test_an_agent_asks_others_and_hears_their_failures() -> None:
    from pydantic import BaseModel

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
